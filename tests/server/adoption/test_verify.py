# ruff: noqa: E501, S608 - a statement in one line
"""``db.adopt --verify``: the revision that a database is really at, whatever its stamp says."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.adoption.verify import Verified, verify
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Order"]


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    note: Mapped[str | None] = mapped_column(String(50))
"""
STEPS = {
    "a1": "CREATE TABLE orders (id serial PRIMARY KEY)",
    "b2": "ALTER TABLE orders ADD name varchar(50) NOT NULL DEFAULT ''",
    "c3": "UPDATE orders SET name = upper(name)",
    "d4": "ALTER TABLE orders ALTER name DROP DEFAULT",
    "e5": "ALTER TABLE orders ADD note varchar(50)",
}


@pytest.fixture
def shop(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Service, Dsn]:
    dsn = database(creates=True)
    service = monorepo.service("shop", MODELS, dsn)
    down = None
    for revision, sql in STEPS.items():
        monorepo.revision("shop", revision, down, f"op.execute({sql!r})")
        down = revision
    return service, dsn


def by_hand(dsn: Dsn, last: str, stamp: str | None) -> None:
    """Bring a database to a revision without Alembic, and stamp it."""
    statements = list(STEPS.values())[: list(STEPS).index(last) + 1]
    run_script(dsn, statements)
    if stamp is not None:
        run_script(
            dsn,
            ["CREATE TABLE alembic_version_shop (version_num varchar(32) NOT NULL CONSTRAINT alembic_version_shop_pkc PRIMARY KEY)",
             f"INSERT INTO alembic_version_shop VALUES ('{stamp}')"],
        )  # fmt: skip


def found(service: Service) -> Verified:
    verified = wait(verify(service))
    assert isinstance(verified, Verified)
    return verified


@pytest.mark.parametrize("stamp", ["a1", "e5", None, "gone"])
def test_the_revision_is_found_by_the_catalog_whatever_the_stamp_says(shop, stamp):
    service, dsn = shop
    by_hand(dsn, "d4", stamp)
    verified = found(service)
    assert (verified.revisions, verified.differences, verified.equal) == (("d4",), (), ())
    assert verified.stamped == ((stamp,) if stamp else ())
    assert not verified.is_right
    purge = " --purge" if stamp == "gone" else ""
    assert verified.command == f"inv db.stamp --service shop --revision d4{purge}"


def test_a_right_stamp_is_right_and_nothing_is_left(shop, monorepo, server):
    before = {row[0] for row in query(server.admin, "SELECT datname FROM pg_database")}
    by_hand(shop[1], "d4", "d4")
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert (ran.code, ran.out) == (0, f"shop: {shop[1].target} is at d4; its version table says d4\n"), ran.text
    assert {row[0] for row in query(server.admin, "SELECT datname FROM pg_database")} == before


@pytest.mark.parametrize("stamp", ["b2", "c3"])
def test_a_stamp_beside_a_revision_that_only_changes_rows_is_right_and_the_other_is_named(shop, monorepo, stamp):
    by_hand(shop[1], "c3", stamp)
    verified = found(shop[0])
    other = {"b2": "c3", "c3": "b2"}[stamp]
    assert (verified.revisions, verified.equal, verified.is_right) == ((stamp,), ((other,),), True)
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert ran.code == 0
    assert f"shop: at {other} the schema is the same: look at the rows that these revisions change" in ran.out


def test_of_two_equal_revisions_without_a_stamp_the_later_is_proposed_and_the_other_named(shop):
    by_hand(shop[1], "c3", None)
    verified = found(shop[0])
    assert (verified.revisions, verified.equal) == (("c3",), (("b2",),))


def test_tables_of_create_all_are_at_head_with_the_differences_that_remain(shop, monorepo):
    _, dsn = shop
    run_script(dsn, ["CREATE TABLE orders (id serial PRIMARY KEY, name varchar(40) NOT NULL, note varchar(50))"])
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    hint = "Is the database older than its history? `inv db.adopt --verify --service shop` finds its revision."
    assert (ran.code, "already exists [42P07]" in ran.err, hint in ran.err) == (1, True, True), ran.text
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert ran.code == 3
    lines = ran.out.splitlines()
    assert lines[0] == f"shop: {dsn.target} is at e5; its version table says nothing"
    assert len(lines) == 2
    assert lines[1].startswith("shop: column orders.name ")
    assert "Run: inv db.stamp --service shop --revision e5" in ran.err
    assert monorepo.inv("db.stamp", "--service", "shop", "--revision", "e5", "--yes").code == 0
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert ran.code == 3
    assert (
        "1 difference from its history. Run the SQL, or accept them: inv db.baseline --service shop --write" in ran.err
    )


def test_a_later_revision_that_creates_a_table_twice_is_only_a_failed_one(monorepo, database):
    monorepo.service("twice", dsn=database())
    monorepo.revision("twice", "a1", None, 'op.execute("CREATE TABLE a1 ()")')
    monorepo.revision("twice", "b2", "a1", 'op.execute("CREATE TABLE a1 ()")')
    ran = monorepo.inv("db.upgrade", "--service", "twice")
    assert (ran.code, "already exists [42P07]" in ran.err, "db.adopt" in ran.err) == (1, True, False), ran.text


def test_an_empty_database_is_at_base(shop):
    verified = found(shop[0])
    assert (verified.revisions, verified.is_right, verified.differences) == ((), True, ())


def test_a_history_that_can_be_replayed_in_part_is_compared_as_far_as_it_goes(shop, monorepo):
    service, dsn = shop
    monorepo.revision("shop", "f6", "e5", 'op.execute("SELECT 1/0")')
    by_hand(dsn, "d4", "b2")
    verified = found(service)
    assert verified.revisions == ("d4",)
    assert verified.problem is not None
    assert "division by zero" in verified.problem


@pytest.mark.parametrize("stamp", ["e5", "g7"])
def test_where_no_replayed_revision_has_the_catalog_no_stamp_is_proposed(shop, monorepo, stamp):
    service, dsn = shop
    monorepo.revision("shop", "f6", "e5", 'op.execute("SELECT 1/0")')
    monorepo.revision("shop", "g7", "f6", 'op.execute("ALTER TABLE orders ADD price int")')
    by_hand(dsn, "e5", stamp)
    run_script(dsn, ["ALTER TABLE orders ADD price int"])
    verified = found(service)
    assert not verified.is_found
    assert verified.as_json()["command"] is None
    ran = monorepo.process("db.adopt", "--verify", "--service", "shop")
    assert ran.code == 3, ran.text
    assert "is nearest to e5; its version table says" in ran.text
    assert "isn't found: the history was replayed only in part" in ran.text
    assert "division by zero" in ran.text
    assert "db.stamp" not in ran.text


def test_a_type_of_two_tables_is_created_once_as_in_an_upgrade_of_both_revisions(monorepo, database):
    """SQLAlchemy notes for one run which types it has created; each step is a run of its own."""
    dsn = database(creates=True)
    service = monorepo.service("shop", MODELS, dsn)
    down = None
    for revision, table in (("a1", "orders"), ("b2", "returns"), ("c3", "claims")):
        columns = (
            'sa.Column("id", sa.Integer, primary_key=True), sa.Column("state", sa.Enum("open", "shut", name="state"))'
        )
        back = f'op.drop_table("{table}")' + ("" if down else '\nop.execute("DROP TYPE state")')
        monorepo.revision("shop", revision, down, f'op.create_table("{table}", {columns})', back)
        down = revision
    wait(service_migrations.upgrade(service))
    verified = found(service)
    assert (verified.revisions, verified.differences, verified.is_right) == (("c3",), (), True)
    ran = monorepo.inv("db.baseline", "--service", "shop")
    assert [line for line in ran.text.splitlines() if "downgrade" in line] == []


def test_the_database_is_only_read(shop):
    by_hand(shop[1], "d4", "a1")
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    before = query(shop[1], tables)
    found(shop[0])
    assert query(shop[1], tables) == before
    assert query(shop[1], "SELECT version_num FROM alembic_version_shop")[0][0] == "a1"

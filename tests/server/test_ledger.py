"""What was run stands in the ledger, in the revision's own transaction; and the ledger is in nobody's way."""

import getpass
import json
import logging
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.errors import AccessDeniedError, MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

LEDGER = "migration_log_billing"


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    """A service with two revisions, at base."""
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 (id int)")', 'op.execute("DROP TABLE b2")')
    return monorepo.service("billing", dsn=dsn)


def entries(dsn: Dsn) -> list[tuple[str | None, ...]]:
    """Return direction, revision, from and to of each row, the oldest first."""
    sql = f"SELECT direction, revision, from_revision, to_revision FROM {LEDGER} ORDER BY id"  # noqa: S608
    return [tuple(row) for row in query(dsn, sql)]


def there(dsn: Dsn) -> bool:
    return bool(query(dsn, "SELECT to_regclass($1) IS NOT NULL", LEDGER)[0][0])


def exists(dsn: Dsn, table: str) -> bool:
    return bool(query(dsn, "SELECT to_regclass($1) IS NOT NULL", table)[0][0])


def test_each_revision_has_a_row_in_each_direction(service, dsn):
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "a1"))
    wait(service_migrations.stamp(service, "b2"))
    assert entries(dsn) == [
        ("upgrade", "a1", None, "a1"),
        ("upgrade", "b2", "a1", "b2"),
        ("downgrade", "b2", "b2", "a1"),
        ("stamp", "b2", "a1", "b2"),
    ]


def test_log_returns_the_newest_first_with_who_where_and_when(service):
    before = datetime.now(UTC)
    wait(service_migrations.upgrade(service))
    found = wait(service_migrations.log(service))
    assert [one.revision for one in found] == ["b2", "a1"]
    for one in found:
        assert (one.os_user, one.host) == (getpass.getuser(), socket.gethostname())
        assert one.version == "0.1.0"
        assert one.git_commit is None
        assert 0 < one.seconds < (datetime.now(UTC) - before).total_seconds()
        # the server's clock is this machine's; a millisecond is lost in rounding
        assert before.timestamp() - 0.1 < one.started.timestamp() < datetime.now(UTC).timestamp()
    assert found[1].started < found[0].started


def test_the_commit_of_a_checkout_is_written_down(service, monorepo):
    git = ("git", "-C", str(monorepo.root), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    wait(service_migrations.upgrade(service))
    assert {one.git_commit for one in wait(service_migrations.log(service))} == {head}


def test_a_revision_that_fails_has_no_row(service, dsn, monorepo):
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")\nop.execute("SELECT 1/0")')
    with pytest.raises(MigrationError, match="division by zero"):
        wait(service_migrations.upgrade(service))
    assert [row[1] for row in entries(dsn)] == ["a1", "b2"]
    assert not exists(dsn, "c3")


def test_a_first_revision_that_fails_leaves_no_ledger(monorepo, dsn):
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("SELECT 1/0")')
    with pytest.raises(MigrationError):
        wait(service_migrations.upgrade(service))
    assert not there(dsn)
    assert wait(service_migrations.log(service)) == ()


def test_where_there_is_nothing_to_do_no_ledger_is_made(service, dsn):
    wait(service_migrations.upgrade(service))
    query(dsn, f"DROP TABLE {LEDGER}")
    wait(service_migrations.upgrade(service))
    wait(service_migrations.upgrade(service, "b2"))
    assert not there(dsn)


def test_an_autocommit_block_has_a_row_too(service, dsn, monorepo):
    body = 'with op.get_context().autocommit_block():\n    op.execute("CREATE INDEX CONCURRENTLY i ON b2 (id)")'
    monorepo.revision("billing", "c3", "b2", body)
    wait(service_migrations.upgrade(service))
    assert entries(dsn)[-1] == ("upgrade", "c3", "b2", "c3")


def test_a_ledger_that_may_not_be_made_stops_no_upgrade(monorepo, database, server, caplog):
    owner = database()
    dsn = database(shared=owner)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(service))
    query(dsn, f"DROP TABLE {LEDGER}")
    query(replace(server.admin, database=owner.database), f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}", PUBLIC')
    monorepo.revision("billing", "b2", "a1", 'op.execute("ALTER TABLE billing ADD COLUMN b2 int")')
    monorepo.revision("billing", "c3", "b2", 'op.execute("ALTER TABLE billing ADD COLUMN c3 int")')
    with caplog.at_level(logging.WARNING, "service_migrations"):
        assert wait(service_migrations.upgrade(service)).after == ("c3",)
    query(dsn, "SELECT b2, c3 FROM billing")
    assert not there(dsn)
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "service_migrations.ledger.writer"]
    assert "permission denied for schema public" in warning


def test_a_row_that_is_refused_stops_no_revision(service, dsn, caplog):
    wait(service_migrations.upgrade(service, "a1"))
    query(dsn, f"ALTER TABLE {LEDGER} ADD CHECK (revision <> 'b2')")
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert exists(dsn, "b2")
    assert [row[1] for row in entries(dsn)] == ["a1"]
    assert "violates check constraint" in caplog.text


def test_a_ledger_with_a_trigger_is_left_alone(service, dsn, caplog):
    wait(service_migrations.upgrade(service, "a1"))
    query(dsn, "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END'")
    query(dsn, f"CREATE TRIGGER trap BEFORE INSERT ON {LEDGER} FOR EACH ROW EXECUTE FUNCTION trap()")
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert [row[1] for row in entries(dsn)] == ["a1"]
    assert f"DROP TRIGGER trap ON {LEDGER};" in caplog.text
    assert "sprung" not in caplog.text


def test_a_comparison_sees_neither_ones_own_ledger_nor_a_siblings_nor_one_that_is_left_over(
    monorepo, service, dsn, database
):
    other = monorepo.service("catalog", dsn=database(shared=dsn))
    monorepo.table_revision("catalog", "k1", None)
    for one in (service, other):
        wait(service_migrations.upgrade(one))
    query(dsn, "DROP TABLE b2")
    query(dsn, "CREATE TABLE migration_log_of_nobody (id int)")
    for one in (service, other):
        assert wait(service_migrations.check(one)).differences == ()


def test_a_model_whose_table_is_called_like_a_ledger_is_compared(monorepo, dsn):
    models = (monorepo.root / "services", "migration_logs")
    service = monorepo.service(models[1], dsn=dsn)
    monorepo.table_revision(models[1], "a1", None)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    query(dsn, f"ALTER TABLE {models[1]} DROP COLUMN name")
    assert wait(service_migrations.check(service)).differences


def test_the_ledger_is_in_the_schema_of_the_service(monorepo, dsn):
    models = """
    from sqlalchemy import MetaData
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    __all__ = ["Thing"]


    class Base(DeclarativeBase):
        metadata = MetaData(schema="own")


    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
    """
    service = monorepo.service("billing", models, dsn)
    monorepo.revision(
        "billing", "a1", None, 'op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True), schema="own")'
    )
    wait(service_migrations.upgrade(service))
    assert [row[0] for row in query(dsn, f"SELECT revision FROM own.{LEDGER}")] == ["a1"]  # noqa: S608
    assert [one.revision for one in wait(service_migrations.log(service))] == ["a1"]
    assert wait(service_migrations.check(service)).differences == ()


def test_an_engine_of_the_callers_works_too(service, dsn):
    async def run() -> tuple[service_migrations.Entry, ...]:
        engine = create_async_engine(dsn.url, connect_args=dsn.connect_args())
        try:
            await service_migrations.upgrade(service, engine=engine)
            return await service_migrations.log(service, engine=engine)
        finally:
            await engine.dispose()

    assert [one.revision for one in wait(run())] == ["b2", "a1"]


def test_the_sql_of_offline_mode_has_no_ledger(service):
    assert "migration_log" not in wait(service_migrations.sql(service, "head"))


@pytest.mark.usefixtures("service")
def test_alembics_own_upgrade_has_rows_too(dsn, monorepo):
    assert monorepo.inv("db.alembic", "--service", "billing", "--", "upgrade", "head").code == 0
    assert [row[1] for row in entries(dsn)] == ["a1", "b2"]


def test_a_ledger_that_may_not_be_read_is_one_line_with_the_grant(monorepo, service, dsn, database):
    wait(service_migrations.upgrade(service))
    stranger = database(shared=dsn)
    monorepo.service("billing", dsn=stranger)
    with pytest.raises(AccessDeniedError) as caught:
        wait(service_migrations.log(service))
    grant = str(caught.value).partition("can run: ")[2]
    query(dsn, grant)
    assert len(wait(service_migrations.log(service))) == 2


def test_the_task_prints_a_table_or_json(service, monorepo):
    ran = monorepo.inv("db.log")
    assert (ran.code, ran.out) == (0, "billing: nothing was run yet\n")
    assert monorepo.inv("db.log", "--json").out == '{\n  "billing": []\n}\n'
    wait(service_migrations.upgrade(service))
    ran = monorepo.inv("db.log", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)["billing"]
    assert [(one["revision"], one["direction"]) for one in found] == [("b2", "upgrade"), ("a1", "upgrade")]
    assert datetime.fromisoformat(found[0]["started"]).tzinfo
    rows = [line.split() for line in monorepo.inv("db.log").out.splitlines() if "upgrade" in line]
    assert [row[4:6] for row in rows] == [["a1", "b2"], ["base", "a1"]]


def test_no_name_of_a_service_makes_a_ledger_whose_name_is_cut(monorepo):
    longest = monorepo.service("x" * 43)
    assert len(f"{longest.version_table}_pkc") == 63
    assert len(f"{longest.ledger_table}_pkey") <= 63

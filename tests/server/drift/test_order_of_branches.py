"""A replay of branches: in the order of an upgrade to all heads, which a history may need without saying so."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.monorepo import Monorepo

NAMED = "op.execute('ALTER TABLE things RENAME CONSTRAINT things_pkey TO pk_things')"


def branches(monorepo: Monorepo) -> None:
    """Write a branch whose last revision needs what the other one does, as in a plain ``alembic upgrade heads``."""
    monorepo.revision("shop", "r1", None, "op.execute('CREATE TABLE things (id int PRIMARY KEY)')")
    for revision, down, label, body in (
        ("y1", "r1", "core", NAMED),
        ("b1", "r1", "files", "op.execute('CREATE TABLE files (id int)')"),
        ("b2", "b1", None, "op.execute('ALTER TABLE things DROP CONSTRAINT pk_things')"),
    ):
        path = monorepo.revision("shop", revision, down, body)
        if label:
            path.write_text(path.read_text() + f"\nbranch_labels = ({label!r},)\n")


def test_what_an_upgrade_runs_is_replayed(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", None, dsn)
    branches(monorepo)
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    assert ran.code == 0, ran
    for words in (["db.drift"], ["db.adopt", "--verify"], ["db.baseline"]):
        ran = monorepo.inv(*words, "--service", "shop")
        assert ran.code == 0, (words, ran)


@pytest.mark.parametrize("ahead", ["core", "files"])
def test_a_branch_that_a_database_has_in_part_is_replayed_in_the_order_of_an_upgrade(
    monorepo: Monorepo, database: Callable[..., Dsn], ahead: str
) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", None, dsn)
    branches(monorepo)
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    assert ran.code == 0, ran
    down = {"core": "y1", "files": "b2"}[ahead]
    monorepo.revision("shop", "n1", down, "op.execute('CREATE TABLE new (id int)')")
    for words in (["db.drift"], ["db.adopt", "--verify"]):
        ran = monorepo.inv(*words, "--service", "shop")
        assert ran.code == 0, (words, ran)
    query(dsn, "CREATE TABLE by_hand ()")
    ran = monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 3, ran
    assert "by_hand" in ran.out


def test_what_a_branch_depends_on_is_replayed_where_the_database_has_run_it(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """The comment on the table tells the order, which depends_on decides."""
    dsn = database(creates=True)
    monorepo.service("shop", None, dsn)
    monorepo.revision("shop", "r1", None, "op.execute('CREATE TABLE things (id int)')")
    for revision, down, more in (
        ("a1", "r1", "branch_labels = 'a'"),
        ("b1", "r1", "branch_labels = 'b'\ndepends_on = 'a1'"),
        ("a2", "a1", "depends_on = 'b1'"),
        ("b2", "b1", "depends_on = 'a2'"),
        ("a3", "a2", "depends_on = 'b2'"),
    ):
        path = monorepo.revision("shop", revision, down, f"op.execute(\"COMMENT ON TABLE things IS '{revision}'\")")
        path.write_text(path.read_text() + f"\n{more}\n")
    for target in ("b@head", "a2", "heads"):
        ran = monorepo.inv("db.upgrade", "--service", "shop", "--revision", target)
        assert ran.code == 0, ran
        for words in (["db.drift"], ["db.adopt", "--verify"]):
            ran = monorepo.inv(*words, "--service", "shop")
            assert ran.code == 0, (target, words, ran)


def test_an_order_that_cannot_be_replayed_hides_nothing_of_another_one(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", None, dsn)
    branches(monorepo)
    assert monorepo.inv("db.upgrade", "--service", "shop").code == 0
    query(dsn, "DROP TABLE files")
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert ran.code == 3, ran
    assert "is at b2, y1; its version table says b2, y1" in ran.out
    assert "CREATE TABLE public.files" in ran.out
    assert "only in part" not in ran.text
    query(dsn, "DELETE FROM alembic_version_shop")
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert "only in part" not in ran.text


@pytest.mark.parametrize("merged", [False, True])
def test_a_database_with_several_branches_in_part_is_found(
    monorepo: Monorepo, database: Callable[..., Dsn], merged: bool
) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", "__all__ = []", dsn)
    monorepo.table_revision("shop", "r1", None)
    for branch in "ab":
        for number in (1, 2, 3):
            down = f"{branch}{number - 1}" if number > 1 else "r1"
            path = monorepo.table_revision("shop", f"{branch}{number}", down, f"of_{branch}{number}")
            if number == 1 and not merged:
                path.write_text(path.read_text() + f"\nbranch_labels = {branch!r}\n")
    if merged:
        path = monorepo.revision("shop", "m1", "a3")
        path.write_text(path.read_text().replace("'a3'", "('a3', 'b3')"))
    for revision in ("a2", "b1"):
        assert monorepo.inv("db.upgrade", "--service", "shop", "--revision", revision).code == 0
    for words in (["db.drift"], ["db.adopt", "--verify"]):
        assert monorepo.inv(*words, "--service", "shop").code == 0
    query(dsn, "DELETE FROM alembic_version_shop")
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert ran.code == 3, ran
    assert "Run: inv db.alembic --service shop -- stamp a2 b1\n" in ran.err
    query(dsn, "DROP TABLE of_a1")
    ran = monorepo.inv("db.adopt", "--verify", "--service", "shop")
    assert "is at a2, b1; its version table says nothing" in ran.out
    assert "CREATE TABLE public.of_a1" in ran.out

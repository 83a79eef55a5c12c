"""What `concurrent_index` and `drop_concurrent_index` may not touch, and that each definition is known again."""

from collections.abc import Callable

import asyncpg
import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.catalog import statements
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

IMPORTS = "from service_migrations.safe import concurrent_index, drop_concurrent_index\n"
TABLES = ["CREATE TABLE t (id int, a int, b text)", "CREATE TABLE u (id int)"]
INDEX = "SELECT indrelid::regclass::text, indexrelid::oid::int FROM pg_index WHERE indexrelid = to_regclass('ix')"


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Service, Dsn, Callable[[str], Service]]:
    """A service whose database has the tables, and a function that writes its next revision."""
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, "\n".join(f"op.execute({table!r})" for table in TABLES))
    wait(service_migrations.upgrade(service))

    def revise(body: str) -> Service:
        monorepo.revision("billing", "b2", "a1", IMPORTS + body)
        return service

    return service, dsn, revise


def test_a_table_of_the_name_of_the_copy_is_kept(world) -> None:
    """The copy was another table's namesake, which was dropped in its place."""
    _, dsn, revise = world
    run_script(dsn, ["CREATE TABLE wanted_index (x int)", "INSERT INTO wanted_index VALUES (1)"])
    query(dsn, "CREATE INDEX ix ON t (a)")
    before = query(dsn, INDEX)
    wait(service_migrations.upgrade(revise("concurrent_index('ix', 't', ['a'])")))
    assert [tuple(row) for row in query(dsn, "SELECT x FROM wanted_index")] == [(1,)]
    assert query(dsn, INDEX) == before


SAME = {
    "INCLUDE": ("(a) INCLUDE (b)", "['a'], postgresql_include=['b']"),
    "a condition that names the table": ("(a) WHERE a > 0", "['a'], postgresql_where=sa.text('t.a > 0')"),
    "an expression that names the table": ("(lower(b))", "[sa.text('lower(t.b)')]"),
    "an order": ("(a DESC NULLS LAST)", "[sa.text('a DESC NULLS LAST')]"),
}


@pytest.mark.parametrize(("definition", "arguments"), SAME.values(), ids=SAME)
def test_an_index_that_a_run_has_left_is_kept(world, definition: str, arguments: str) -> None:
    """A run that ended between the build and the write of the version table could never be run again."""
    _, dsn, revise = world
    query(dsn, f"CREATE INDEX ix ON t {definition}")
    before = query(dsn, INDEX)
    wait(service_migrations.upgrade(revise(f"concurrent_index('ix', 't', {arguments})")))
    assert query(dsn, INDEX) == before


def test_an_index_of_another_table_is_not_dropped(world) -> None:
    _, dsn, revise = world
    query(dsn, "CREATE INDEX ix ON u (id)")
    before = query(dsn, INDEX)
    with pytest.raises(MigrationError, match="ix exists, and is one of u, not of t"):
        wait(service_migrations.upgrade(revise("drop_concurrent_index('ix', 't')")))
    assert query(dsn, INDEX) == before


@pytest.mark.parametrize("body", ["concurrent_index('ix', 't', ['a'])", "drop_concurrent_index('ix', 't')"])
def test_a_script_drops_no_index_of_another_table(world, body: str) -> None:
    _, dsn, revise = world
    query(dsn, "CREATE INDEX ix ON u (id)")
    before = query(dsn, INDEX)
    script = wait(service_migrations.sql(revise(body), "a1:head"))
    with pytest.raises(asyncpg.RaiseError, match="ix exists, and is one of another table, not of t"):
        run_script(dsn, statements(script))
    assert query(dsn, INDEX) == before


@pytest.mark.parametrize("left", ["", "CREATE INDEX ix ON t (id)"])
@pytest.mark.parametrize(
    ("body", "tables"), [("concurrent_index('ix', 't', ['a'])", ["t"]), ("drop_concurrent_index('ix', 't')", [])]
)
def test_a_script_replaces_what_a_run_has_left(world, body: str, tables: list[str], left: str) -> None:
    _, dsn, revise = world
    run_script(dsn, [left] if left else [])
    run_script(dsn, statements(wait(service_migrations.sql(revise(body), "a1:head"))))
    assert [row[0] for row in query(dsn, INDEX)] == tables


@pytest.mark.parametrize("body", ["concurrent_index(None, 't', ['a'])", "drop_concurrent_index('', 't')"])
def test_an_index_without_a_name_is_refused(world, body: str) -> None:
    """It was built, told to be INVALID, and built again under the same name by the next run."""
    _, dsn, revise = world
    with pytest.raises(MigrationError, match="an index needs a name here"):
        wait(service_migrations.upgrade(revise(body)))
    assert query(dsn, "SELECT FROM pg_index WHERE indrelid = 't'::regclass") == []

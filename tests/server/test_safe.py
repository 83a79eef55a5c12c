"""What authors of revisions use beside Alembic's operations."""

import threading

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.errors import ConfigurationError, MigrationError
from tests.support.catalog import statements
from tests.support.database import query, run_script, wait
from tests.support.monorepo import dsn_text
from tests.support.sessions import hold

BUILD = """
from service_migrations.safe import concurrent_index
concurrent_index("ix_billing_name", "billing", ["name"]{more})
"""
DROP = """
from service_migrations.safe import drop_concurrent_index
drop_concurrent_index("ix_billing_name", "billing")
"""
SHOWN = """op.execute(
        "CREATE TABLE {table} AS SELECT current_setting('lock_timeout') AS lock, "
        "current_setting('statement_timeout') AS statement"
    )
"""
INDEX = "SELECT indisvalid, indisunique, pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = to_regclass($1)"


@pytest.fixture
def billing(monorepo, database):
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "0001", None)
    wait(service_migrations.upgrade(service))

    def build(more=""):
        monorepo.revision("billing", "0002", "0001", BUILD.format(more=more), DROP)
        return wait(service_migrations.upgrade(service))

    return service, dsn, build


def indexes(dsn):
    return [tuple(row) for row in query(dsn, INDEX, "ix_billing_name")]


def test_an_index_is_built_valid_and_dropped_again(billing):
    service, dsn, build = billing
    build(", unique=True, postgresql_where=sa.text('id > 5')")
    ((valid, unique, definition),) = indexes(dsn)
    assert valid
    assert unique
    assert "WHERE (id > 5)" in definition
    wait(service_migrations.downgrade(service, "-1"))
    assert indexes(dsn) == []


def test_an_invalid_namesake_is_dropped_first(billing):
    _, dsn, build = billing
    query(dsn, "INSERT INTO billing (name) VALUES ('twice'), ('twice')")
    with pytest.raises(MigrationError, match="23505"):
        build(", unique=True")
    assert [row[0] for row in indexes(dsn)] == [False]
    query(dsn, "DELETE FROM billing WHERE id = 2")
    build(", unique=True")
    assert [row[:2] for row in indexes(dsn)] == [(True, True)]


def test_a_valid_namesake_that_is_the_same_index_is_kept(billing):
    _, dsn, build = billing
    query(dsn, "CREATE INDEX ix_billing_name ON billing (name)")
    before = query(dsn, "SELECT 'ix_billing_name'::regclass::oid")
    build()
    assert query(dsn, "SELECT 'ix_billing_name'::regclass::oid") == before


@pytest.mark.parametrize("other", ["(id)", "(name DESC)", "(lower(name))", "(name) WHERE id > 0"])
def test_a_valid_namesake_that_is_another_index_is_refused_and_kept(billing, other):
    service, dsn, build = billing
    query(dsn, f"CREATE INDEX ix_billing_name ON billing {other}")
    before = indexes(dsn)
    with pytest.raises(MigrationError, match="has another definition"):
        build()
    assert indexes(dsn) == before
    assert [state.revision for state in wait(service_migrations.current(service))] == ["0001"]


@pytest.mark.parametrize("unique", ["", "UNIQUE"])
def test_an_index_of_another_table_under_its_name_is_never_taken_for_it_nor_dropped(billing, unique):
    """The upgrade went to head, and the index was missing; one that was built meanwhile would have been dropped."""
    _, dsn, build = billing
    run_script(dsn, ["CREATE TABLE other (name text)", "INSERT INTO other VALUES ('twice'), ('twice')"])
    build_other = f"CREATE {unique} INDEX CONCURRENTLY ix_billing_name ON other (name)"
    if unique:
        with pytest.raises(asyncpg.UniqueViolationError):  # so that it is INVALID
            query(dsn, build_other)
    else:
        query(dsn, build_other)
    before = indexes(dsn)
    with pytest.raises(MigrationError, match="ix_billing_name exists, and is one of other, not of billing"):
        build()
    assert indexes(dsn) == before


def test_an_index_is_that_of_its_table_and_not_of_an_earlier_schema_of_the_search_path(billing, monorepo):
    service, dsn, build = billing
    script = ["CREATE SCHEMA app", "CREATE TABLE app.other (name text)"]
    run_script(dsn, [*script, "CREATE INDEX ix_billing_name ON app.other (name)"])
    monorepo.env("billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_SEARCH_PATH="app, public")
    places = "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid::regclass::text LIKE '%ix_billing_name'"
    build()
    assert {row[0] for row in query(dsn, places)} == {"app.other", "billing"}
    wait(service_migrations.downgrade(service, "-1"))
    assert [row[0] for row in query(dsn, places)] == ["app.other"]


def test_after_a_build_that_failed_and_was_caught_the_timeouts_are_as_before(billing, monorepo):
    """The next statement would have waited without end, and every query behind it."""
    service, dsn, _ = billing
    caught = """
from service_migrations.safe import concurrent_index
try:
    concurrent_index("ix_billing_name", "billing", ["absent"])
except sa.exc.DBAPIError:
    pass
"""
    monorepo.revision("billing", "0002", "0001", caught + SHOWN.format(table="shown"), DROP)
    wait(service_migrations.upgrade(service))
    assert tuple(query(dsn, "SELECT * FROM shown")[0]) == ("500ms", "0")


def test_a_build_is_not_cut_short_by_the_timeouts_of_other_statements(billing, monorepo):
    """It waits for every transaction that is older, here three times as long as a statement may wait or run."""
    _, dsn, build = billing
    monorepo.env(
        "billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_LOCK_TIMEOUT="300ms", MIGRATIONS_STATEMENT_TIMEOUT="300ms"
    )
    with hold(dsn, "INSERT INTO billing (name) VALUES ('old')") as old:
        timer = threading.Timer(0.9, old.start, ["COMMIT"])
        timer.start()
        assert build().seconds > 0.8
        timer.join()
    assert indexes(dsn)[0][0]


@pytest.mark.parametrize("over", ["settings", "engine"])
def test_after_a_build_the_timeouts_are_as_before(billing, monorepo, over):
    """Over an engine of the application's too, whose startup parameters aren't ours."""
    service, dsn, _ = billing
    monorepo.env("billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_STATEMENT_TIMEOUT="3m")
    monorepo.revision("billing", "0002", "0001", BUILD.format(more="") + SHOWN.format(table="shown"), DROP)
    monorepo.revision("billing", "0003", "0002", SHOWN.format(table="later"))
    wait(upgraded(service, dsn, over))
    for shown in ("SELECT * FROM shown", "SELECT * FROM later"):
        assert tuple(query(dsn, shown)[0]) == ("500ms", "3min")


async def upgraded(service, dsn, over):
    engine = create_async_engine(dsn.url, connect_args=dsn.connect_args()) if over == "engine" else None
    try:
        return await service_migrations.upgrade(service, engine=engine)
    finally:
        if engine:
            await engine.dispose()


def test_offline_mode_writes_the_same_steps(billing, database):
    service, dsn, build = billing
    build()
    other = database()
    run_script(other, statements(wait(service_migrations.sql(service, "head"))))
    assert indexes(other) == indexes(dsn)


@pytest.mark.parametrize("over", ["settings", "engine"])
def test_timeouts_hold_for_the_block_and_end_with_it(billing, monorepo, over):
    service, dsn, _ = billing
    monorepo.env("billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_STATEMENT_TIMEOUT="3m")
    body = f"""
    from service_migrations.safe import timeouts
    with timeouts(lock="250ms", statement="7m"):
        with timeouts(lock="1ms"):
            {SHOWN.format(table="innermost")}
        {SHOWN.format(table="inside")}
    {SHOWN.format(table="outside")}
    """
    monorepo.revision("billing", "0002", "0001", body)
    wait(upgraded(service, dsn, over))
    assert tuple(query(dsn, "SELECT * FROM innermost")[0]) == ("1ms", "7min")
    assert tuple(query(dsn, "SELECT * FROM inside")[0]) == ("250ms", "7min")
    # the first try's share of MIGRATIONS_LOCK_TIMEOUT, and the setting of statements
    assert tuple(query(dsn, "SELECT * FROM outside")[0]) == ("500ms", "3min")


def test_a_lock_timeout_without_end_is_refused(billing, monorepo):
    service, _, _ = billing
    monorepo.revision(
        "billing", "0002", "0001", "from service_migrations.safe import timeouts\nwith timeouts(lock='0'): pass"
    )
    with pytest.raises(ConfigurationError, match="must be more than nothing"):
        wait(service_migrations.upgrade(service))

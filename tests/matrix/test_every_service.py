"""Every service on disk, up and down its whole history, on the PostgreSQL of POSTGRES_VERSION."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

import service_migrations
from service_migrations.connection.connector import access
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import connect
from service_migrations.connection.version_table import ensure_schema
from service_migrations.history.revisions import History, read
from service_migrations.history.targets import walk
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import example
from tests.catalog import catalog, only_version_tables, seen, statements
from tests.conftest import query, run_script, wait
from tests.monorepo import dsn_text

SERVICES = discover()
DATABASES = {service: example(service).database for service in SERVICES}
SHARING = [service for service in SERVICES if list(DATABASES.values()).count(DATABASES[service]) > 1]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Service, Dsn], None]:
    """Aim a service at a database."""

    def aim(service: Service, dsn: Dsn) -> None:
        monkeypatch.setenv(f"{service.env_prefix}DATABASE_DSN", dsn_text(dsn))

    return aim


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_every_step_goes_down_and_up_again_with_rows_in_the_tables(service, database, at):
    """And the models, as well as a replay of the history, say the same as what is there then."""
    dsn = database(creates=True)
    at(service, dsn)
    rows = _rows(service)
    wait(_step_by_step(read(service), dsn, rows))
    assert not rows, "these rows are for revisions that the history doesn't have"
    assert wait(service_migrations.check(service)).differences == ()
    found = wait(service_migrations.drift(service))
    assert (found.pending, found.differences) == (0, ())
    wait(service_migrations.downgrade(service, "base"))
    assert only_version_tables(dsn)
    assert wait(service_migrations.drift(service)).differences == ()


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_online_and_offline_a_history_gives_what_the_models_say_and_base_leaves_nothing(service, database, at):
    dsn, offline = database(), database()
    at(service, dsn)
    outcome = wait(service_migrations.upgrade(service))
    assert len(outcome.applied) == len(wait(service_migrations.history(service)).revisions) > 0
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.upgrade(service)).applied == ()
    at_head = catalog(dsn)
    run_script(offline, statements(wait(service_migrations.sql(service, "head"))))
    assert catalog(offline) == at_head
    wait(service_migrations.downgrade(service, "base"))
    assert only_version_tables(dsn)
    wait(service_migrations.upgrade(service))
    assert catalog(dsn) == at_head


@pytest.mark.parametrize("service", SHARING, ids=str)
def test_a_service_leaves_its_siblings_in_a_shared_database_alone(service, database, at):
    """Whose histories, each of them, say of that database what is there."""
    siblings = [other for other in SHARING if other != service and DATABASES[other] == DATABASES[service]]
    dsn = database(creates=True)
    at(siblings[0], dsn)
    for one in (*siblings[1:], service):
        at(one, database(shared=dsn, creates=True))
    for sibling in siblings:
        wait(service_migrations.upgrade(sibling))
    before = catalog(dsn)
    wait(service_migrations.upgrade(service))
    for one in (service, *siblings):
        assert wait(service_migrations.check(one)).differences == ()
    query(dsn, "CREATE TABLE nobodys (id integer)")
    assert [str(one) for one in wait(service_migrations.drift(service)).differences] == [
        "table nobodys is here, and not in the history: DROP TABLE public.nobodys; -- This loses what is in it."
    ]
    query(dsn, "DROP TABLE nobodys")
    wait(service_migrations.downgrade(service, "base"))
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "base"))
    assert _but_version_table(service, catalog(dsn)) == before


def test_the_server_is_of_the_version_that_was_asked_for(server):
    assert query(server.admin, "SHOW server_version_num")[0][0].startswith(server.version)


async def _step_by_step(history: History, dsn: Dsn, rows: dict[str, list[str]]) -> None:
    """Go up, down and up again at each revision, oldest first, and fill the tables before the next.

    All over two connections: what a run does around its revisions is the same on each PostgreSQL, and the other tests
    do it too.
    """
    beside = await asyncpg.connect(**dsn.connect_args())
    try:
        async with process_lock(), connect(history, access(history.service)) as session:
            if session.schema:
                await ensure_schema(session.connection, session.schema)
            after = await seen(beside)
            for revision in reversed(history.revisions):
                before = after
                await session.run(walk(history, revision.revision))
                after = await seen(beside)
                assert await session.applied() == (revision.revision,)
                await session.run(walk(history, "-1", down=True))
                assert await session.applied() == revision.down_revision
                at_step = await seen(beside)
                assert _but_version_table(history.service, at_step) == _but_version_table(history.service, before)
                await session.run(walk(history, revision.revision))
                assert await seen(beside) == after
                for statement in rows.pop(revision.revision, ()):
                    await beside.execute(statement)
    finally:
        await beside.close()


def _rows(service: Service) -> dict[str, list[str]]:
    """Return the statements that fill a service's tables, by the revision that they can follow."""
    path = Path(__file__).parent / "rows" / f"{service}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _but_version_table(service: Service, lines: list[str]) -> list[str]:
    return [line for line in lines if f".{service.version_table}" not in line]

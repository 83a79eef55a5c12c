"""Every service on disk, up and down its whole history, on the PostgreSQL of POSTGRES_VERSION."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import migrations
from migrations.discovery import Service, discover
from migrations.dsn import Dsn
from migrations.examples import example
from tests.catalog import catalog, only_version_tables, statements
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
def test_a_history_goes_up_to_what_the_models_say(service, database, at):
    at(service, database())
    outcome = wait(migrations.upgrade(service))
    assert len(outcome.applied) == len(wait(migrations.history(service)).revisions) > 0
    assert wait(migrations.check(service)).differences == ()
    assert wait(migrations.upgrade(service)).applied == ()


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_every_step_goes_down_and_up_again_with_rows_in_the_tables(service, database, at):
    dsn = database()
    at(service, dsn)
    rows = _rows(service)
    for revision in reversed(wait(migrations.history(service)).revisions):
        before = catalog(dsn)
        wait(migrations.upgrade(service, revision.revision))
        after = catalog(dsn)
        assert [found.revision for found in wait(migrations.current(service))] == [revision.revision]
        wait(migrations.downgrade(service, "-1"))
        assert _but_version_table(service, catalog(dsn)) == _but_version_table(service, before)
        wait(migrations.upgrade(service, revision.revision))
        assert catalog(dsn) == after
        run_script(dsn, rows.pop(revision.revision, []))
    assert not rows, "these rows are for revisions that the history doesn't have"
    assert wait(migrations.check(service)).differences == ()
    wait(migrations.downgrade(service, "base"))
    assert only_version_tables(dsn)


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_base_leaves_nothing_and_head_is_reached_again(service, database, at):
    dsn = database()
    at(service, dsn)
    wait(migrations.upgrade(service))
    at_head = catalog(dsn)
    wait(migrations.downgrade(service, "base"))
    assert only_version_tables(dsn)
    wait(migrations.upgrade(service))
    assert catalog(dsn) == at_head


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_the_sql_of_offline_mode_gives_the_same_schema(service, database, at):
    online, offline = database(), database()
    at(service, online)
    wait(migrations.upgrade(service))
    run_script(offline, statements(wait(migrations.sql(service, "head"))))
    assert catalog(offline) == catalog(online)


@pytest.mark.parametrize("service", SHARING, ids=str)
def test_a_service_leaves_its_siblings_in_a_shared_database_alone(service, database, at):
    siblings = [other for other in SHARING if other != service and DATABASES[other] == DATABASES[service]]
    dsn = database()
    at(siblings[0], dsn)
    for sibling in siblings[1:]:
        at(sibling, database(shared=dsn))
    at(service, database(shared=dsn))
    for sibling in siblings:
        wait(migrations.upgrade(sibling))
    before = catalog(dsn)
    wait(migrations.upgrade(service))
    for one in (service, *siblings):
        assert wait(migrations.check(one)).differences == ()
    for revision in wait(migrations.history(service)).revisions:
        wait(migrations.downgrade(service, "-1"))
        wait(migrations.upgrade(service, revision.revision))
        wait(migrations.downgrade(service, "-1"))
    assert _but_version_table(service, catalog(dsn)) == before


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_a_database_is_as_its_history_says_also_after_going_down_and_up(service, database, at, server):
    dsn = database()
    query(server.admin, f'ALTER ROLE "{dsn.user}" CREATEDB')
    at(service, dsn)
    wait(migrations.upgrade(service))
    assert wait(migrations.drift(service)).differences == ()
    wait(migrations.downgrade(service, "base"))
    assert wait(migrations.drift(service)).differences == ()
    for revision in reversed(wait(migrations.history(service)).revisions):
        wait(migrations.upgrade(service, revision.revision))
        wait(migrations.downgrade(service, "-1"))
        wait(migrations.upgrade(service, revision.revision))
    found = wait(migrations.drift(service))
    assert (found.pending, found.differences) == (0, ())


@pytest.mark.parametrize("service", SHARING, ids=str)
def test_a_shared_database_is_as_the_history_of_each_service_says(service, database, at, server):
    siblings = [other for other in SHARING if DATABASES[other] == DATABASES[service]]
    dsn = database()
    for sibling in siblings:
        own = dsn if sibling == siblings[0] else database(shared=dsn)
        query(server.admin, f'ALTER ROLE "{own.user}" CREATEDB')
        at(sibling, own)
        wait(migrations.upgrade(sibling))
    assert wait(migrations.drift(service)).differences == ()
    query(dsn, "CREATE TABLE nobodys (id integer)")
    assert [str(one) for one in wait(migrations.drift(service)).differences] == [
        "table nobodys is here, and not in the history: DROP TABLE public.nobodys; -- This loses what is in it."
    ]


def test_the_server_is_of_the_version_that_was_asked_for(server):
    assert query(server.admin, "SHOW server_version_num")[0][0].startswith(server.version)


def _rows(service: Service) -> dict[str, list[str]]:
    """Return the statements that fill a service's tables, by the revision that they can follow."""
    path = Path(__file__).parent / "rows" / f"{service}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _but_version_table(service: Service, lines: list[str]) -> list[str]:
    return [line for line in lines if f".{service.version_table}" not in line]

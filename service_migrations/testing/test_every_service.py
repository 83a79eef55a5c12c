"""The tests of every service's whole history, up and down, on one PostgreSQL.

Each test has its own databases. Where a history needs the tables of siblings, which by their ``.env.example`` have the
same database, the siblings are upgraded first.
"""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import service_migrations
from service_migrations.databases.bootstrap import bootstrap_files
from service_migrations.drift.scratch import keep_objects
from service_migrations.errors import MigrationError
from service_migrations.history.baseline import read_baseline
from service_migrations.history.matrix_rows import ROWS, matrix_rows
from service_migrations.history.revisions import read as read_history
from service_migrations.history.sql.offline import render
from service_migrations.models.metadata import assemble, bookkeeping_schema
from service_migrations.monorepo import Monorepo, Service
from service_migrations.postgres import Server
from service_migrations.session.locks import process_lock
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.siblings import declared_siblings
from service_migrations.sql.quoting import quoted
from service_migrations.testing.databases import Databases, aimed
from service_migrations.testing.event_loop import wait
from service_migrations.testing.records import COMPARED, RECORDS, differences, leave, record
from service_migrations.testing.schema import connected, execute, run_script, schema
from service_migrations.testing.steps import go_step_by_step
from service_migrations.testing.turns import upgrade_in_turns

try:
    SERVICES = Monorepo.locate().select([])
    SHARING = [service for service in SERVICES if declared_siblings(service)]
except MigrationError as error:
    raise pytest.Collector.CollectError(str(error)) from None


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """An empty database of one test, that the settings of a service and its siblings lead to."""

    service: Service
    databases: dict[Service, Dsn]

    @property
    def dsn(self) -> Dsn:
        """The DSN of the service."""
        return self.databases[self.service]

    async def schema(self, *ignored: Service) -> list[str]:
        """Return the schema, without the version tables of some services."""
        async with connected(self.dsn) as connection:
            return await schema(connection, *ignored)

    async def execute(self, sql: str) -> None:
        """Run SQL as the service."""
        async with connected(self.dsn) as connection:
            await execute(connection, sql)

    async def run_script(self, script: str) -> None:
        """Run the SQL of offline mode as the service."""
        async with connected(self.dsn) as connection:
            await run_script(connection, script, self.service)


MakeDatabase = Callable[[Service], Coroutine[Any, Any, ServiceDatabase]]


@pytest.fixture
def make_database(postgres_server: Server) -> Iterator[MakeDatabase]:
    """Create databases, the last of which is that of a service and its siblings; they are dropped afterwards."""
    databases, names = Databases(postgres_server), list[str]()
    with ExitStack() as stack:

        async def make_one(service: Service) -> ServiceDatabase:
            group = (service, *declared_siblings(service))
            names.extend((databases.new_name(), databases.new_name()))
            dsns = await databases.create(group, names[-2])
            scratch = await databases.create((service,), names[-1])
            stack.enter_context(aimed(dsns, scratch))
            if bootstrap_files(group):
                await keep_objects(load(service))
            return ServiceDatabase(service, dsns)

        yield make_one

    async def drop() -> None:
        for name in names:
            await databases.drop(name)

    wait(drop)


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_every_step_goes_down_and_up_again_with_rows_in_the_tables(
    service: Service, make_database: MakeDatabase, pytestconfig: pytest.Config
) -> None:
    """The models and a replay of the history give the same schema."""
    rows = matrix_rows(service, str(pytestconfig.getini(ROWS)))

    async def go() -> None:
        database = await _database_with_needed_siblings(service, make_database)
        before = await database.schema(service)
        revisions = {revision.revision for revision in (await service_migrations.history(service)).revisions}
        assert rows.keys() <= revisions, "these rows are for revisions that the history doesn't have"
        irreversible = _accepted("downgrades", service)
        await go_step_by_step(service, database.dsn, rows, irreversible)
        assert (await service_migrations.check(service)).differences == ()
        drift = await service_migrations.drift(service)
        assert (drift.pending, drift.differences) == (0, ())
        if irreversible:
            return  # base can't be reached
        await service_migrations.downgrade(service, "base")
        assert await database.schema(service) == before
        assert (await service_migrations.drift(service)).differences == ()

    wait(go)


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_online_and_offline_a_history_gives_what_the_models_say_and_base_leaves_nothing(
    service: Service, make_database: MakeDatabase
) -> None:
    """Only the empty version table is left."""

    async def go() -> None:
        offline = None
        if accepted := _accepted("offline", service):
            await _refuse_more_than(accepted, service)
        else:
            offline = await _database_with_needed_siblings(service, make_database)
        online = await _database_with_needed_siblings(service, make_database)
        before = await online.schema(service)
        outcome = await service_migrations.upgrade(service)
        assert len(outcome.applied) == len((await service_migrations.history(service)).revisions)
        assert (await service_migrations.check(service)).differences == ()
        assert (await service_migrations.upgrade(service)).applied == ()
        at_head = await online.schema()
        if offline:  # last, since a revision that fails in both is named online
            await offline.run_script(await service_migrations.sql(service, "head"))
            assert await offline.schema() == at_head
        if _accepted("downgrades", service):
            return  # base can't be reached
        await service_migrations.downgrade(service, "base")
        assert await online.schema(service) == before
        await service_migrations.upgrade(service)
        assert await online.schema() == at_head

    wait(go)


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_every_revision_gives_the_same_schema_as_on_other_versions_of_postgresql(
    service: Service,
    make_database: MakeDatabase,
    postgres_server: Server,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Runs on other versions leave their schemas in pytest's cache; the summary says which were compared."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir(RECORDS) if cache else tmp_path

    async def go() -> None:
        database = await _database_with_needed_siblings(service, make_database)
        current = await record(service, database.dsn, postgres_server.version)
        for other in leave(current, folder, service):
            request.node.user_properties.append((COMPARED, other.postgres))
            different = differences(current, other)
            assert not different, "\n".join(different)

    wait(go)


@pytest.mark.parametrize("service", SHARING, ids=str)
def test_a_service_leaves_its_siblings_in_a_shared_database_alone(
    service: Service, make_database: MakeDatabase
) -> None:
    """The history of each of them still describes the database."""

    async def go() -> None:
        database, siblings = await make_database(service), declared_siblings(service)
        if any(_accepted("downgrades", member) for member in (service, *siblings)):
            pytest.skip("the baseline accepts revisions that can't be downgraded, so that base can't be reached")
        independent, _ = await upgrade_in_turns(siblings)
        dependent = [service, *(sibling for sibling in siblings if sibling not in independent)]  # they need its tables
        await _go_to_base(sibling for sibling in siblings if sibling not in independent)
        for member in dependent:
            await _create_schema(member, database)
        before = await database.schema(*dependent)
        upgrade_order = await _all_at_head(dependent)
        for upgraded in (*independent, *upgrade_order):
            assert (await service_migrations.check(upgraded)).differences == ()
        await database.execute("CREATE TABLE nobodys (id integer)")
        assert [str(difference) for difference in (await service_migrations.drift(service)).differences] == [
            (
                "table nobodys is in the database but not in the history: "
                "DROP TABLE public.nobodys; -- This loses what is in it."
            )
        ]
        await database.execute("DROP TABLE nobodys")
        await _go_to_base(reversed(upgrade_order))
        upgrade_order = await _all_at_head(dependent)
        await _go_to_base(reversed(upgrade_order))
        assert await database.schema(*dependent) == before

    wait(go)


def test_the_server_is_of_the_version_that_was_asked_for(postgres_server: Server) -> None:
    """POSTGRES_<version>_DSN may name a server of another version."""

    async def ask() -> int:
        async with Databases(postgres_server).connected() as admin:
            return int(await admin.fetchval("SHOW server_version_num")) // 10_000

    assert str(wait(ask)) == postgres_server.version


async def _database_with_needed_siblings(service: Service, make_database: MakeDatabase) -> ServiceDatabase:
    """Return an empty database, or one with siblings at head where the history fails without them."""
    database = await _empty_database(service, make_database)
    if not declared_siblings(service):
        return database
    _, errors = await upgrade_in_turns([service])
    database = await _empty_database(service, make_database)
    if not errors:
        return database
    at_head, _ = await upgrade_in_turns(declared_siblings(service))
    await _go_to_base(sibling for sibling in declared_siblings(service) if sibling not in at_head)
    return database


async def _empty_database(service: Service, make_database: MakeDatabase) -> ServiceDatabase:
    """Return a database with nothing but the schema of the version table."""
    database = await make_database(service)
    await _create_schema(service, database)
    return database


async def _create_schema(service: Service, database: ServiceDatabase) -> None:
    """Create the schema of a service's version table, which an upgrade creates and base keeps, as this service's role.

    That of the models may be created by the history.
    """
    if needed := bookkeeping_schema(service, assemble(service)):
        owned = ServiceDatabase(service, database.databases)
        await owned.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(needed)}")


async def _all_at_head(services: Sequence[Service]) -> list[Service]:
    order, errors = await upgrade_in_turns(services)
    for error in errors.values():
        raise error
    return order


async def _go_to_base(services: Iterable[Service]) -> None:
    for service in services:
        await service_migrations.downgrade(service, "base")


def _accepted(kind: str, service: Service) -> frozenset[str]:
    """Return the revisions that the baseline of a service accepts."""
    baseline, history = read_baseline(service), read_history(service)
    baseline.refuse_unknown(history)
    return baseline.revisions(kind, history)


async def _refuse_more_than(accepted: frozenset[str], service: Service) -> None:
    """Refuse a revision that can't be rendered offline, beside those that are accepted."""
    history = read_history(service)
    async with process_lock():
        rendered = render(history, tuple(reversed(history.revisions)), strict=False)
    errors = [f"{each.revision.path}: {each.error}" for each in rendered if each.error]
    assert [each.revision.path for each in rendered if each.error and each.revision.revision not in accepted] == [], (
        errors
    )

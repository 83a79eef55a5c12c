"""Every service of the monorepo, up and down its whole history, on one PostgreSQL.

Each test has databases of its own. Where the history of a service needs the tables of siblings, by their
``.env.example`` in the same database, these are there before it.
"""

import tomllib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Monorepo, Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.testing.databases import Databases, aimed, wait
from service_migrations.testing.plugin import ROWS
from service_migrations.testing.schema import connected, execute, run_script, schema
from service_migrations.testing.sharing import siblings_of
from service_migrations.testing.steps import go_step_by_step
from service_migrations.testing.turns import upgrade_in_turns

try:
    SERVICES = Monorepo.locate().select([])
    SHARING = [service for service in SERVICES if siblings_of(service)]
except MigrationError as error:
    raise pytest.Collector.CollectError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Place:
    """An empty database of a test's own, and one to replay a history in, to which a service and its siblings lead."""

    service: Service
    databases: dict[Service, Dsn]

    @property
    def dsn(self) -> Dsn:
        """How the service reaches it."""
        return self.databases[self.service]

    async def schema(self, *ignored: Service) -> list[str]:
        """Return what is there, but for the version tables of some services."""
        async with connected(self.dsn) as connection:
            return await schema(connection, *ignored)

    async def execute(self, sql: str) -> None:
        """Run SQL as the service."""
        async with connected(self.dsn) as connection:
            await execute(connection, sql)

    async def run_script(self, script: str) -> None:
        """Run a script as the service."""
        async with connected(self.dsn) as connection:
            await run_script(connection, script)


Places = Callable[[Service], Coroutine[Any, Any, Place]]


@pytest.fixture
def places(postgres_server: Server) -> Iterator[Places]:
    """Make databases, to the last of which a service and those that share it lead; they are dropped afterwards."""
    databases, names = Databases(postgres_server), list[str]()
    with ExitStack() as stack:

        async def make(service: Service) -> Place:
            group = (service, *siblings_of(service))
            names.extend((databases.new_name(), databases.new_name()))
            aims = await databases.create(group, names[-2])
            scratch = await databases.create((service,), names[-1])
            stack.enter_context(aimed(aims, scratch))
            return Place(service, aims)

        yield make

    async def drop() -> None:
        for name in names:
            await databases.drop(name)

    wait(drop)


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_every_step_goes_down_and_up_again_with_rows_in_the_tables(
    service: Service, places: Places, pytestconfig: pytest.Config
) -> None:
    """And the models, as well as a replay of the history, say the same as what is there then."""
    rows = _rows(service, str(pytestconfig.getini(ROWS)))

    async def go() -> None:
        place = await _with_what_it_needs(service, places)
        before = await place.schema(service)
        revisions = {revision.revision for revision in (await service_migrations.history(service)).revisions}
        assert rows.keys() <= revisions, "these rows are for revisions that the history doesn't have"
        await go_step_by_step(service, place.dsn, rows)
        assert (await service_migrations.check(service)).differences == ()
        drift = await service_migrations.drift(service)
        assert (drift.pending, drift.differences) == (0, ())
        await service_migrations.downgrade(service, "base")
        assert await place.schema(service) == before
        assert (await service_migrations.drift(service)).differences == ()

    wait(go)


@pytest.mark.parametrize("service", SERVICES, ids=str)
def test_online_and_offline_a_history_gives_what_the_models_say_and_base_leaves_nothing(
    service: Service, places: Places
) -> None:
    """Nothing but the version table, which is empty."""

    async def go() -> None:
        offline = await _with_what_it_needs(service, places)
        await offline.run_script(await service_migrations.sql(service, "head"))
        online = await _with_what_it_needs(service, places)
        before = await online.schema(service)
        outcome = await service_migrations.upgrade(service)
        assert len(outcome.applied) == len((await service_migrations.history(service)).revisions)
        assert (await service_migrations.check(service)).differences == ()
        assert (await service_migrations.upgrade(service)).applied == ()
        at_head = await online.schema()
        assert await offline.schema() == at_head
        await service_migrations.downgrade(service, "base")
        assert await online.schema(service) == before
        await service_migrations.upgrade(service)
        assert await online.schema() == at_head

    wait(go)


@pytest.mark.parametrize("service", SHARING, ids=str)
def test_a_service_leaves_its_siblings_in_a_shared_database_alone(service: Service, places: Places) -> None:
    """Whose histories, each of them, say of that database what is there."""

    async def go() -> None:
        place, siblings = await places(service), siblings_of(service)
        first, _ = await upgrade_in_turns(siblings)
        later = [service, *(one for one in siblings if one not in first)]  # which build on it, and come and go with it
        await _go_to_base(one for one in siblings if one not in first)
        before = await place.schema(*later)
        order = await _all_at_head(later)
        for one in (*first, *order):
            assert (await service_migrations.check(one)).differences == ()
        await place.execute("CREATE TABLE nobodys (id integer)")
        assert [str(one) for one in (await service_migrations.drift(service)).differences] == [
            (
                "table nobodys is in the database but not in the history: "
                "DROP TABLE public.nobodys; -- This loses what is in it."
            )
        ]
        await place.execute("DROP TABLE nobodys")
        await _go_to_base(reversed(order))
        order = await _all_at_head(later)
        await _go_to_base(reversed(order))
        assert await place.schema(*later) == before

    wait(go)


def test_the_server_is_of_the_version_that_was_asked_for(postgres_server: Server) -> None:
    """Whatever POSTGRES_<version>_DSN leads to."""

    async def ask() -> int:
        async with Databases(postgres_server).connected() as admin:
            return int(await admin.fetchval("SHOW server_version_num")) // 10_000

    assert str(wait(ask)) == postgres_server.version


async def _with_what_it_needs(service: Service, places: Places) -> Place:
    """Return a database with nothing in it, or with siblings at head where the history fails without them."""
    place = await places(service)
    if not siblings_of(service):
        return place
    _, errors = await upgrade_in_turns([service])
    place = await places(service)
    if not errors:
        return place
    at_head, _ = await upgrade_in_turns(siblings_of(service))
    await _go_to_base(one for one in siblings_of(service) if one not in at_head)
    return place


async def _all_at_head(services: Sequence[Service]) -> list[Service]:
    order, errors = await upgrade_in_turns(services)
    for error in errors.values():
        raise error
    return order


async def _go_to_base(services: Iterable[Service]) -> None:
    for service in services:
        await service_migrations.downgrade(service, "base")


def _rows(service: Service, folder: str) -> dict[str, list[str]]:
    """Return the statements that fill a service's tables, by the revision that they can follow."""
    path = service.root / folder / f"{service}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

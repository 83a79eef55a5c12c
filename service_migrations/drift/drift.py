"""Drift: what in a service's database is not as its history left it, whoever changed it, and what mends that."""

from collections.abc import Mapping
from dataclasses import dataclass

from service_migrations.catalog.objects import Key, Object, read
from service_migrations.connection.connector import Connector, connector_of
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import open_session
from service_migrations.drift.compare import Difference, compare
from service_migrations.drift.replay import replay
from service_migrations.drift.scratch import given_scratch, scratch
from service_migrations.errors import LockNotObtainedError, MigrationError
from service_migrations.history.revisions import read as read_history
from service_migrations.models.metadata import assemble, schema_of
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import Attribution
from service_migrations.ownership.candidates import from_catalog
from service_migrations.ownership.claimants import load_claimants
from service_migrations.ownership.survey import current_schema
from service_migrations.ownership.view import visible_objects
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load
from service_migrations.settings.siblings import siblings

__all__ = ["Drift", "drift"]

_DEFAULT_SCHEMA = "public"


@dataclass(frozen=True, slots=True)
class Drift:
    """How a service's database differs from its history, as far as that has been applied.

    ``revisions`` is where the database is, and what it was compared with; ``pending`` how many revisions follow.
    """

    service: str
    target: str
    revisions: tuple[str, ...]
    pending: int
    differences: tuple[Difference, ...]


async def drift(
    service: str | Service, *, grants: bool = False, settings: Settings | None = None, admin: Dsn | None = None
) -> Drift:
    """Compare a service's database with its history, replayed into a scratch database up to the same revision.

    The service's own database is only read. What a sibling claims is invisible, as in a comparison with the models.

    Args:
        service: its name.
        grants: compare owners and privileges too, which most histories leave to an administrator.
        settings: the service's, where they are loaded already.
        admin: an administrator who may make a scratch database, where the settings name none.

    Raises:
        AccessDeniedError: no scratch database may be made; the message says how to name one.
        DifferenceError: the database is at a revision that this history doesn't have.
        LockNotObtainedError: an upgrade ran at the same time.
        MigrationError: the database can't be read, or the history not be replayed.

    """
    history = read_history(service)
    settings = settings or load(history.service)
    way = connector_of(settings)
    async with open_session(history, way) as session:
        revisions = await session.applied()
        live = await read(session.connection)
        schema = await current_schema(session.connection)
        if await session.applied() != revisions:
            raise LockNotObtainedError(
                f"{way.target} was upgraded meanwhile.", service=history.service, hint="Run it again."
            )
    visible = await _visible(way, schema, live)
    differences = await _Replay(settings, settings.admin or admin, revisions).compared(live, visible, grants=grants)
    return Drift(str(history.service), way.target, revisions, len(history.pending(revisions)), differences)


async def _visible(connector: Connector, schema: str, live: tuple[Object, ...]) -> frozenset[Key]:
    """Return what a service sees of its database, by the rules that a comparison with the models asks too.

    Args:
        connector: of the service.
        schema: where its names without a schema are.
        live: the catalog of the database.

    Raises:
        ConfigurationError: the models of one that shares the database can't be assembled, or claim what this
            service's claim.

    """
    candidates = from_catalog(live)
    async with process_lock():
        claimants = load_claimants(connector, schema, candidates.values())
        claimants.refuse_two_for_one_object(connector.target, connector.service)
        visible = visible_objects(Attribution(claimants, candidates.values()), connector.service)
    return frozenset(key for key, candidate in candidates.items() if candidate in visible)


@dataclass(frozen=True, slots=True)
class _Replay:
    """The replay of one comparison: of the service alone, or with the siblings that it can't do without."""

    settings: Settings
    admin: Dsn | None
    revisions: tuple[str, ...]

    async def compared(
        self, live: tuple[Object, ...], visible: frozenset[Key], *, grants: bool
    ) -> tuple[Difference, ...]:
        service, theirs = self.settings.service, _sharing(self.settings)
        try:
            made = await self._made({service: self.revisions}, {})
        except MigrationError as error:
            # a foreign key into a sibling's table needs that table
            if error.exit_code != MigrationError.exit_code or not theirs:
                raise
            made = await self._made({service: self.revisions, **await _revisions(theirs)}, theirs)
        return compare(live, self._own(made), lambda found: found.key in visible, grants=grants)

    async def _made(
        self, revisions: Mapping[Service, tuple[str, ...]], theirs: Mapping[Service, Settings]
    ) -> dict[Key, tuple[Service, Object]]:
        if not any(revisions.values()):
            return {}
        settings = self.settings
        if settings.scratch is not None:
            lent = given_scratch(settings, settings.scratch)
        else:
            lent = scratch(settings, self.admin)
        async with lent as aimed:
            return await replay(aimed, revisions, theirs)

    def _own(self, made: Mapping[Key, tuple[Service, Object]]) -> list[Object]:
        service, schema = self.settings.service, schema_of(assemble(self.settings.service)) or _DEFAULT_SCHEMA
        books = {(schema, name) for name in (self.settings.version_table, service.ledger_table)}
        found = [one for maker, one in made.values() if maker == service]
        return [
            one for one in found
            if (one.schema, one.table or one.name) not in books and (one.part_of or ("",) * 3)[1:] not in books
        ]  # fmt: skip


def _sharing(settings: Settings) -> dict[Service, Settings]:
    """Return the siblings whose settings lead to the same database; one without settings has none."""
    found = siblings(settings.service, settings.databases, settings.sources)
    return {sibling.service: sibling.settings for sibling in found if sibling.settings is not None}


async def _revisions(services: Mapping[Service, Settings]) -> dict[Service, tuple[str, ...]]:
    """Return where each sibling's database is, asked with its own role: another's may not read its version table."""
    found = {}
    for service, settings in services.items():
        history = read_history(service)
        async with open_session(history, connector_of(settings)) as session:
            found[service] = await session.applied()
    return {service: revisions for service, revisions in found.items() if revisions}

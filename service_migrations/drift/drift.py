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
from service_migrations.models.claims import Claims
from service_migrations.models.metadata import assemble, schema_of
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import attribute
from service_migrations.ownership.owners import claimants
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load
from service_migrations.settings.siblings import siblings

__all__ = ["Drift", "drift"]

_DEFAULT_SCHEMA = "public"
_BOOKKEEPING = ("alembic_version", "migration_log")
"""What the tables of versions and ledgers begin with, of whichever service, also of one that is gone."""


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
        if await session.applied() != revisions:
            raise LockNotObtainedError(f"{history.service}: {way.target} was upgraded meanwhile. Run it again.")
    view = await _View.of(way, live)
    told = await _Replay(settings, settings.admin or admin, revisions).compared(live, view, grants=grants)
    return Drift(str(history.service), way.target, revisions, len(history.pending(revisions)), told)


@dataclass(frozen=True, slots=True)
class _View:
    """What a service sees of what stands by itself and isn't in its history: what it claims, or nobody does."""

    schemas: frozenset[str]
    hidden: frozenset[tuple[str, str, str]]

    @classmethod
    async def of(cls, way: Connector, live: tuple[Object, ...]) -> "_View":
        """Ask the models and histories of all that share the database."""
        async with process_lock():
            owned = attribute(live, claimants(way, live))
        own = Claims.of(assemble(way.service))
        schemas = {schema or _DEFAULT_SCHEMA for schema, _ in own.tables} | {_DEFAULT_SCHEMA}
        theirs = (one for one in owned if one.owner and way.service.name not in one.owner.split(", "))
        return cls(frozenset(schemas), frozenset((one.kind, one.schema, one.name) for one in theirs))

    def sees(self, one: Object) -> bool:
        """Whether an object counts."""
        return (
            (one.kind == "extension" or one.schema in self.schemas)
            and one.kind != "schema"
            and (one.kind, one.schema, one.name) not in self.hidden
            and not one.name.startswith(_BOOKKEEPING)
        )


@dataclass(frozen=True, slots=True)
class _Replay:
    """The replay of one comparison: of the service alone, or with the siblings that it can't do without."""

    settings: Settings
    admin: Dsn | None
    revisions: tuple[str, ...]

    async def compared(self, live: tuple[Object, ...], view: _View, *, grants: bool) -> tuple[Difference, ...]:
        service, theirs = self.settings.service, _sharing(self.settings)
        try:
            made = await self._made({service: self.revisions}, {})
        except MigrationError as error:
            # a foreign key into a sibling's table needs that table
            if error.exit_code != MigrationError.exit_code or not theirs:
                raise
            made = await self._made({service: self.revisions, **await _revisions(theirs)}, theirs)
        return compare(live, self._own(made), view.sees, grants=grants)

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

"""Drift: the differences between a service's database and its history, with the SQL that fixes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter

from service_migrations.catalog.objects import Key, Object, read
from service_migrations.connection.connector import Connector, connector_of
from service_migrations.databases.bootstrap import bootstrap_files
from service_migrations.drift.compare import Difference, compare, without_surplus_extensions
from service_migrations.drift.extensions import Extensions, MissingExtensionError
from service_migrations.drift.modelled import modelled_keys
from service_migrations.drift.replay import replay
from service_migrations.drift.scratch import scratch
from service_migrations.errors import LockNotObtainedError, MigrationError, UsageError
from service_migrations.history.baseline import read_baseline
from service_migrations.history.revisions import read as read_history
from service_migrations.models.claims import load_claims
from service_migrations.models.metadata import bookkeeping_schema
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import Attribution
from service_migrations.ownership.candidates import from_catalog
from service_migrations.ownership.claimants import load_claimants
from service_migrations.ownership.survey import current_schema
from service_migrations.ownership.view import visible_objects
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load
from service_migrations.settings.siblings import siblings

__all__ = [
    "Drift",
    "drift",
    "sibling_revisions",
    "sibling_settings",
    "visible_keys",
    "without_bookkeeping",
]

_DEFAULT_SCHEMA = "public"


@dataclass(frozen=True, slots=True)
class Drift:
    """The differences between a service's database and the applied part of its history.

    ``revisions`` are those of the database, with which it was compared; ``pending`` is the number that follow.
    """

    service: str
    target: str
    revisions: tuple[str, ...]
    pending: int
    differences: tuple[Difference, ...]
    accepted: tuple[Difference, ...] = ()
    """Those that the baseline accepts, and that ``differences`` doesn't have."""


async def drift(
    service: str | Service, *, grants: bool = False, settings: Settings | None = None, admin: Dsn | None = None
) -> Drift:
    """Compare a service's database with its history, replayed into a scratch database up to the same revision.

    The service's own database is only read. Objects that a sibling claims are invisible, as in `db.check`. Extensions
    that the history needs and doesn't create are those of the database.

    Args:
        service: the service or its name.
        grants: compare owners and privileges too, which most histories leave to an administrator.
        settings: the service's, if they were loaded already.
        admin: an administrator who may create a scratch database and extensions, if the settings have none.

    Raises:
        AccessDeniedError: no role may create a scratch database; the hint describes how to name one.
        DifferenceError: this history doesn't have the revision of the database.
        UsageError: the history can't be replayed; the message has the revision's file and line.
        LockNotObtainedError: an upgrade ran at the same time.
        MigrationError: the database can't be read.

    """
    history = read_history(service)
    settings = settings or load(history.service)
    connector = connector_of(settings)
    async with open_session(history, connector) as session:
        revisions = await session.applied()
        live = await read(session.connection)
        schema = current_schema(session.connection)
        modelled = modelled_keys(session.metadata, schema)
        if await session.applied() != revisions:
            raise LockNotObtainedError(
                f"{connector.target} was upgraded meanwhile.", service=history.service, hint="Run it again."
            )
    visible = await visible_keys(connector, schema, live)
    admin = settings.admin or admin
    is_alone = not siblings(settings.service, settings.databases, settings.sources)
    differences = await _Replay(settings, admin, revisions, Extensions(live, admin), is_alone, modelled).compared(
        live, visible, grants=grants
    )
    new, accepted = read_baseline(history.service).split("drift", differences, attrgetter("entry"))
    return Drift(str(history.service), connector.target, revisions, len(history.pending(revisions)), new, accepted)


async def visible_keys(connector: Connector, schema: str, live: tuple[Object, ...]) -> frozenset[Key]:
    """Return the keys of the objects that a service sees, by the same rules as in a comparison with models.

    Args:
        connector: of the service.
        schema: that of its names without one.
        live: the catalog of the database.

    Raises:
        ConfigurationError: the models of a service that shares the database can't be assembled, or claim an
            object of this service.

    """
    candidates = from_catalog(live)
    async with process_lock():
        claimants = load_claimants(connector, schema, candidates.values())
        claimants.refuse_two_for_one_object(connector.target, connector.service)
        visible = visible_objects(Attribution(claimants, candidates.values()), connector.service)
    return frozenset(key for key, candidate in candidates.items() if candidate in visible)


@dataclass(frozen=True, slots=True)
class _Replay:
    """The replay for one comparison: of the service alone, or with the siblings that it depends on."""

    settings: Settings
    admin: Dsn | None
    revisions: tuple[str, ...]
    extensions: Extensions
    is_alone: bool
    modelled: frozenset[Key]

    async def compared(
        self, live: tuple[Object, ...], visible: frozenset[Key], *, grants: bool
    ) -> tuple[Difference, ...]:
        differences, replayed = await self._compared_once(live, visible, grants=grants)
        others = without_surplus_extensions(differences)
        if not others or not self.extensions.differ_from(replayed):
            return differences
        # a history may do without an extension that isn't there, or create it in another schema
        self.extensions.stop_at_base(self.settings.service)
        try:
            with_extensions, _ = await self._compared_once(live, visible, grants=grants)
        except UsageError:
            return differences
        return with_extensions if len(without_surplus_extensions(with_extensions)) < len(others) else differences

    async def _compared_once(
        self, live: tuple[Object, ...], visible: frozenset[Key], *, grants: bool
    ) -> tuple[tuple[Difference, ...], frozenset[Key]]:
        """Return the differences, and the keys of all that the scratch database had."""
        since = datetime.now(UTC)
        replayed, initial = await self._replayed()
        seen = visible - initial  # no history creates what an administrator does in a new database
        extensions = {key.name for key in initial if key.kind == "extension"}

        def sees(item: Object) -> bool:
            return item.key in seen and not (item.kind == "extension" and item.name in extensions)

        differences = compare(
            live, self._own(replayed), sees, grants=grants, alone=self.is_alone, modelled=self.modelled, since=since
        )
        return differences, initial | replayed.keys()

    async def _replayed(self) -> tuple[dict[Key, tuple[Service, Object]], frozenset[Key]]:
        service, siblings_by_service = self.settings.service, sibling_settings(self.settings)
        try:
            try:
                return await self._replayed_in_scratch({service: self.revisions}, {})
            except MigrationError as error:
                # a foreign key to a sibling's table needs that table
                if error.exit_code != MigrationError.exit_code or not siblings_by_service:
                    raise
            revisions = {service: self.revisions, **await sibling_revisions(siblings_by_service)}
            return await self._replayed_in_scratch(revisions, siblings_by_service)
        except MigrationError as error:
            raise self.extensions.failure(error) from error

    async def _replayed_in_scratch(
        self, revisions: Mapping[Service, tuple[str, ...]], sibling_settings: Mapping[Service, Settings]
    ) -> tuple[dict[Key, tuple[Service, Object]], frozenset[Key]]:
        settings = self.settings
        if not any(revisions.values()) and not bootstrap_files(revisions):
            return {}, frozenset()
        while True:
            try:
                async with scratch(settings, self.admin) as scratch_settings:
                    return await replay(
                        scratch_settings, revisions, sibling_settings, self.extensions, alone=self.is_alone
                    )
            except MissingExtensionError:
                continue

    def _own(self, replayed: Mapping[Key, tuple[Service, Object]]) -> list[Object]:
        service = self.settings.service
        own = [item for creator, item in replayed.values() if creator == service]
        own = without_bookkeeping(own, service, self.settings.version_table)
        return [item for item in own if not _is_ignored(service, item)]


def _is_ignored(service: Service, item: Object) -> bool:
    """Whether a service ignores an object of its history, or the object that it is part of."""
    if item.kind in ("schema", "extension"):
        return False
    names = [(item.schema, item.table or item.name.partition("(")[0]), *([item.part_of[1:]] if item.part_of else [])]
    return any(service.ignored_by(*name) for name in names)


def without_bookkeeping(objects: Iterable[Object], service: Service, version_table: str) -> list[Object]:
    """Return the objects without the version table and the ledger of a service, and the parts of both."""
    (claims,) = load_claims([service]).values()
    schema = bookkeeping_schema(service, claims.metadata) or _DEFAULT_SCHEMA
    tables = {(schema, name) for name in (version_table, service.ledger_table)}
    placed = ((item, (item.schema, item.table or item.name), (item.part_of or ("",) * 3)[1:]) for item in objects)
    return [item for item, table, parent in placed if not tables & {table, parent}]


def sibling_settings(settings: Settings) -> dict[Service, Settings]:
    """Return the siblings whose settings lead to the same database; a sibling without settings is left out."""
    sharing = siblings(settings.service, settings.databases, settings.sources)
    return {sibling.service: sibling.settings for sibling in sharing if sibling.settings is not None}


async def sibling_revisions(settings_by_service: Mapping[Service, Settings]) -> dict[Service, tuple[str, ...]]:
    """Return the revisions of siblings, each read with its own role: another may not read its version table."""
    revisions = {}
    for service, settings in settings_by_service.items():
        history = read_history(service)
        async with open_session(history, connector_of(settings)) as session:
            revisions[service] = await session.applied()
    return {service: applied for service, applied in revisions.items() if applied}

"""Siblings: the services that share a database. Only they can have created, or claim, an object in it.

A service in another database may have a table of the same name, which is another table. What shares a database by the
committed ``.env.example`` alone is the same on every machine.
"""

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from service_migrations.catalog.own_path import default_of
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.database import Database
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import example
from service_migrations.settings.model import Settings, databases, load_unchecked
from service_migrations.settings.sources import Sources

__all__ = [
    "Sibling",
    "declared_groups",
    "declared_siblings",
    "declared_user",
    "default_schema",
    "sharing",
    "siblings",
    "version_tables_of_siblings",
]

_PUBLIC = "public"


@dataclass(frozen=True, slots=True, order=True)
class Sibling:
    """Another service that has, or may have, the same database.

    Attributes:
        service: the other service.
        certain: whether it surely has the database.
        schema: the schema of its names without a schema.
        version_table: the name of its version table.
        settings: its settings, where they lead to this database; else None.

    """

    service: Service
    certain: bool
    schema: str = field(compare=False)
    version_table: str = field(compare=False)
    settings: Settings | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """The databases of one service, by its settings on this machine and by its .env.example."""

    databases: frozenset[Database]
    schema: str
    settings: Settings | None
    declared: str | None


_known_by_sources: "WeakKeyDictionary[Sources, dict[Service, _Known]]" = WeakKeyDictionary()
"""What was read for each service: in a command for all services, each needs all the others."""


def siblings(
    service: Service, own: frozenset[Database], sources: Sources, tables: Collection[str] = ()
) -> tuple[Sibling, ...]:
    """Return the services that share a service's database, in alphabetical order; nothing is connected to.

    A service is a sibling if its settings lead to the same database. Without settings on this machine its .env.example
    decides: it is a sibling unless that names another database. Two services whose examples name one database are
    always siblings, whatever the settings on this machine are.

    Settings are weak evidence: a host has several names, and a machine often has the settings of one service only. A
    service whose version table or ledger is in the database was migrated in it, so it is a sibling too; the name of a
    version table that several services have shows nothing.

    Args:
        service: the service.
        own: the databases of its settings, or that of an engine of the caller's.
        sources: what its settings were read from.
        tables: the names of the tables in the database, where they are known.

    """
    others = sources.of_siblings()
    declared = _known(service, sources).declared
    result = []
    services = discover(service.root)
    distinct = _distinct_version_tables(services)
    for other in services:
        if other == service:
            continue
        known = _known(other, others)
        is_declared = known.declared is not None and known.declared == declared
        is_same = any(database.may_be(other_database) for database in own for other_database in known.databases)
        if known.databases:
            is_certain, is_sibling = is_same, is_same or is_declared
        else:
            is_certain = is_declared or known.declared in {database.name for database in own}
            is_sibling = is_certain or known.declared is None
        # a name from MIGRATIONS_VERSION_TABLE is no evidence: in two databases it may be used by two services
        has_table = other.version_table in distinct and other.version_table in tables
        if is_sibling or has_table or other.ledger_table in tables:
            settings = known.settings if is_same else None
            version_table = known.settings.version_table if known.settings else other.version_table
            result.append(Sibling(other, is_certain, known.schema, version_table, settings))
    return tuple(result)


def sharing(settings: Settings) -> tuple[Settings, ...]:
    """Return the settings of the services that surely share a service's database; nothing is connected to."""
    others = siblings(settings.service, settings.databases, settings.sources)
    return tuple(other.settings for other in others if other.settings is not None)


def version_tables_of_siblings(
    service: Service, version_table: str, own: frozenset[Database], sources: Sources
) -> frozenset[str]:
    """Return the names of the version tables in a service's database that are other services'; nothing is connected to.

    A name that several services have, such as ``alembic_version``, is a sibling's only where that one surely shares the
    database.

    Args:
        service: the service.
        version_table: the name of its version table.
        own: as of ``siblings``.
        sources: as of ``siblings``.

    """
    names = _distinct_version_tables(discover(service.root)) - {service.version_table}
    names |= {sibling.version_table for sibling in siblings(service, own, sources) if sibling.certain}
    return names - {version_table}


def declared_siblings(service: Service) -> tuple[Service, ...]:
    """Return the other services whose examples name the same database; none without an example."""
    own = _declared(service)
    others = ((other, _declared(other)) for other in discover(service.root) if other != service)
    return tuple(other for other, dsn in others if own and dsn and dsn.database == own.database)


def declared_groups(services: Collection[Service]) -> list[tuple[Service, ...]]:
    """Return the groups whose examples share a database and have one of these services, each with all that share it."""
    groups: dict[str, list[Service]] = {}
    for service in discover(next(iter(services)).root) if services else ():
        dsn = _declared(service)
        groups.setdefault(f"database {dsn.database}" if dsn else f"service {service}", []).append(service)
    return [tuple(group) for group in groups.values() if not set(group).isdisjoint(services)]


def declared_user(service: Service) -> str:
    """Return the role of a service's example, which several services may share, or else the service's name."""
    own = _declared(service)
    return own.user if own else service.name


def _distinct_version_tables(services: Collection[Service]) -> frozenset[str]:
    """Return the names of version tables that only one service has."""
    counts = Counter(service.version_table for service in services)
    return frozenset(name for name, count in counts.items() if count == 1)


def default_schema(service: Service, sources: Sources) -> str:
    """Return the schema of a service's names without a schema: the first of its search_path."""
    return _known(service, sources).schema


def _known(service: Service, sources: Sources) -> _Known:
    known_by_service = _known_by_sources.setdefault(sources, {})
    if service not in known_by_service:
        known_by_service[service] = _read(service, sources)
    return known_by_service[service]


def _read(service: Service, sources: Sources) -> _Known:
    example_dsn = _declared(service)
    declared = example_dsn.database if example_dsn else None
    try:
        collected = sources.collect(service)
    except MigrationError:
        return _Known(frozenset(), _PUBLIC, None, declared)
    settings = None
    with suppress(MigrationError):
        settings = load_unchecked(service, sources)
    schema = default_of(collected["MIGRATIONS_SEARCH_PATH"][0].value)
    return _Known(databases(collected), schema, settings, declared)


def _declared(service: Service) -> Dsn | None:
    try:
        return example(service)
    except MigrationError:
        return None

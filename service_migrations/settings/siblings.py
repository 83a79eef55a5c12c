"""Siblings: which services share a database. Only those can have made, or claim, what a comparison finds there.

A service in another database may have a table of the same name, and says nothing of it.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.database import Database
from service_migrations.settings.example import example
from service_migrations.settings.model import Settings, databases, load_unchecked
from service_migrations.settings.sources import Sources

__all__ = ["Sibling", "default_schema", "siblings"]

_PUBLIC = "public"


@dataclass(frozen=True, slots=True, order=True)
class Sibling:
    """Another service that has the same database, or of which that can't be excluded.

    Attributes:
        service: the other service.
        certain: whether it surely has it.
        schema: where its names without a schema are.
        version_table: the name of its version table.
        settings: its settings, where they lead to this database.

    """

    service: Service
    certain: bool
    schema: str = field(compare=False)
    version_table: str = field(compare=False)
    settings: Settings | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one service's database: from its settings on this machine, and from its .env.example."""

    databases: frozenset[Database]
    schema: str
    settings: Settings | None
    declared: str | None


_known: "WeakKeyDictionary[Sources, dict[Service, _Known]]" = WeakKeyDictionary()
"""What was read of each service: in a command for all services, each is asked for by all the others."""


def siblings(
    service: Service, own: frozenset[Database], sources: Sources, tables: Collection[str] = ()
) -> tuple[Sibling, ...]:
    """Return the services that share a service's database, in alphabetical order; nothing is connected to.

    A sibling shares it if their settings lead to one database. One without settings on this machine is judged by its
    .env.example: it shares unless that names another database. Two services whose examples name one database are
    declared to share it, and are never taken for strangers, wherever this machine's settings lead.

    Settings prove little: a host has several names, and a machine often has the settings of one service only. One whose
    version table or ledger is in the database was migrated there, so it can't be excluded, whatever its settings say.

    Args:
        service: the service.
        own: where its settings lead, or an engine of the caller's.
        sources: what its settings were read from.
        tables: the names of those that are in the database, where that is known.

    """
    others = sources.of_siblings()
    declared = _of(service, sources).declared
    found = []
    for other in discover(service.root):
        if other == service:
            continue
        theirs = _of(other, others)
        agreed = theirs.declared is not None and theirs.declared == declared
        leads_here = any(one.may_be(another) for one in own for another in theirs.databases)
        if theirs.databases:
            certain, shares = leads_here, leads_here or agreed
        else:
            certain = agreed or theirs.declared in {one.name for one in own}
            shares = certain or theirs.declared is None
        # a name of MIGRATIONS_VERSION_TABLE proves nothing: in two databases it may be two services'
        if shares or other.version_table in tables or other.ledger_table in tables:
            settings = theirs.settings if leads_here else None
            version_table = theirs.settings.version_table if theirs.settings else other.version_table
            found.append(Sibling(other, certain, theirs.schema, version_table, settings))
    return tuple(found)


def default_schema(service: Service, sources: Sources) -> str:
    """Return the schema that a service's names without one are in: the first of its search_path."""
    return _of(service, sources).schema


def _of(service: Service, sources: Sources) -> _Known:
    known = _known.setdefault(sources, {})
    if service not in known:
        known[service] = _read(service, sources)
    return known[service]


def _read(service: Service, sources: Sources) -> _Known:
    declared = None
    with suppress(MigrationError):
        declared = example(service).database
    try:
        found = sources.collect(service)
    except MigrationError:
        return _Known(frozenset(), _PUBLIC, None, declared)
    settings = None
    with suppress(MigrationError):
        settings = load_unchecked(service, sources)
    names = (name.strip().strip('"') for name in found["MIGRATIONS_SEARCH_PATH"][0].value.split(","))
    schema = next((name for name in names if name and name != "$user"), _PUBLIC)
    return _Known(databases(found), schema, settings, declared)

"""Which services share a database: only those can have made, or claim, what a comparison finds there.

A service in another database may have a table of the same name, and says nothing of it.
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from sqlalchemy import URL

from service_migrations.connection.connector import Connector
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.settings.example import example
from service_migrations.settings.sources import KEYS, collect

__all__ = ["Database", "Sibling", "default_schema", "sharing"]

_PUBLIC = "public"

_known: dict[tuple[object, ...], "_Settled"] = {}
"""What was read of a service, until its files or variables change: a run asks for each service many times."""

_examples: dict[tuple[object, ...], str | None] = {}


@dataclass(frozen=True, slots=True)
class Database:
    """One database, by its name and the places where it may be; a place that isn't known is anywhere."""

    name: str
    places: frozenset[object]

    @classmethod
    def of(cls, dsn: Dsn) -> "Database":
        """Return the database that a DSN leads to."""
        # a socket is this machine too: of two services one may use it, and the other one TCP
        hosts = tuple(("localhost" if host.startswith("/") else host, port) for host, port in dsn.hosts)
        places, _ = replace(dsn, hosts=hosts).identity
        return cls(dsn.database, cast("frozenset[object]", places))

    @classmethod
    def at(cls, url: URL) -> "Database":
        """Return the database of an engine."""
        if not url.host:
            return cls(url.database or "", frozenset())
        return cls.of(Dsn(url.username or "", url.database or "", ((url.host, url.port or 5432),)))

    def may_be(self, other: "Database") -> bool:
        """Whether both can be one database; of several hosts one in common is enough."""
        apart = self.places and other.places and not self.places & other.places
        return self.name == other.name and not apart


@dataclass(frozen=True, slots=True, order=True)
class Sibling:
    """Another service that has the same database, or of which that can't be excluded.

    ``certain`` says which of the two; ``schema`` is where its names without a schema are.
    """

    service: Service
    certain: bool
    schema: str


@dataclass(frozen=True, slots=True)
class _Settled:
    databases: frozenset[Database]
    schema: str


def sharing(access: Connector, tables: Collection[str] = ()) -> tuple[Sibling, ...]:
    """Return the siblings that share a service's database, in alphabetical order; nothing is connected to.

    A sibling shares it if their settings lead to one database. One without settings on this machine is judged by its
    .env.example: it shares unless that names another database. Two services whose examples name one database are
    declared to share it, and are never taken for strangers, wherever this machine's settings lead.

    Settings prove little: a host has several names, and a machine often has the settings of one service only. One whose
    version table or ledger is in the database was migrated there, so it can't be excluded, whatever its settings say.

    Args:
        access: the service's way to its database, which may be an engine of the caller's.
        tables: the names of those that are in the database, where that is known.

    """
    # a bare variable is meant for the selected service: it says nothing of its siblings
    outside = {name: value for name, value in os.environ.items() if name not in KEYS}
    mine = {Database.at(access.engine.url)} if access.engine is not None else set[Database]()
    if access.settings is not None:
        mine = {Database.of(access.settings.dsn), *_settled(access.service, os.environ).databases}
    declared = _declared(access.service)
    found = []
    for other in discover(access.service.root):
        if other == access.service:
            continue
        theirs = _settled(other, outside)
        named = _declared(other)
        agreed = named is not None and named == declared
        if theirs.databases:
            certain = any(one.may_be(another) for one in mine for another in theirs.databases)
            shares = certain or agreed
        else:
            certain = agreed or named in {one.name for one in mine}
            shares = certain or named is None
        # a name of MIGRATIONS_VERSION_TABLE proves nothing: in two databases it may be two services'
        if shares or other.version_table in tables or other.ledger_table in tables:
            found.append(Sibling(other, certain, theirs.schema))
    return tuple(found)


def default_schema(service: Service) -> str:
    """Return the schema that a service's names without one are in: the first of its search_path."""
    return _settled(service, os.environ).schema


def _settled(service: Service, environment: Mapping[str, str]) -> _Settled:
    names = [name for key in KEYS for name in (service.env_prefix + key, key)]
    given = hash(tuple(environment.get(name) for name in names))  # not the values: they hold passwords
    stamps = tuple(_stamp(path) for path in (service.env_file, service.root / ".env"))
    key = (service, given, stamps)
    if key not in _known:
        _known[key] = _read(service, environment)
    return _known[key]


def _read(service: Service, environment: Mapping[str, str]) -> _Settled:
    """Read what a service's DSNs lead to: its own and the direct one, of the highest layer that has one.

    Both are one database, and a pooler stands before one of them. None where there are no settings, or wrong ones.
    """
    try:
        found = collect(service, environment)
    except MigrationError:
        return _Settled(frozenset(), _PUBLIC)
    names = (name.strip().strip('"') for name in found["MIGRATIONS_SEARCH_PATH"][0].value.split(","))
    schema = next((name for name in names if name and name != "$user"), _PUBLIC)
    given = [*found["DATABASE_DIRECT_DSN"], *found["DATABASE_DSN"]]
    databases = set()
    for setting in given:
        if setting.origin.layer == max(one.origin.layer for one in given):
            with suppress(MigrationError):
                databases.add(Database.of(parse(setting.value, setting.key)))
    return _Settled(frozenset(databases), schema)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _declared(service: Service) -> str | None:
    """Return the name of the database in a service's example, None where that can't be told."""
    stamp = _stamp(service.env_example)
    key = (service, "example", service.env_example, stamp)
    if key not in _examples:
        try:
            _examples[key] = example(service).database
        except MigrationError:
            _examples[key] = None
    return _examples[key]

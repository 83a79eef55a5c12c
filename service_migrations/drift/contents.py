"""What a scratch database contains: its objects, those that stay in it, and how it is emptied of the others."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from service_migrations.databases.admin import connected
from service_migrations.drift.extensions import read_objects
from service_migrations.drift.repair import keyword
from service_migrations.errors import MigrationError
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.sql.quoting import literal

__all__ = [
    "MARKED",
    "MARK_SCHEMA",
    "READ_MARK",
    "Item",
    "Kept",
    "empty",
    "extensions_of",
    "kept_by",
    "mark",
    "objects_of",
    "without",
]

MARK_SCHEMA = "migrations_scratch"
"""The schema that marks a scratch database as ours while it is in use; its comment names what stays in it."""

READ_MARK = f"""
    SELECT coalesce(obj_description(oid, 'pg_namespace'), '[]') FROM pg_namespace WHERE nspname = '{MARK_SCHEMA}'
"""  # noqa: S608 - a constant

_OTHERS = """
    WITH own AS (
        SELECT 'pg_event_trigger'::regclass AS classid, oid, evtowner AS owner FROM pg_event_trigger
        UNION ALL SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_publication
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvowner FROM pg_foreign_server
        UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict
        UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_opfamily
        UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass
        UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator
        UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_conversion
        UNION ALL SELECT 'pg_collation'::regclass, oid, collowner FROM pg_collation
        UNION ALL SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata
    )
    SELECT o.type, coalesce(o.schema, '') AS schema, o.identity, CASE o.type
        WHEN 'large object' THEN format('SELECT lo_unlink(%s)', own.oid)
        ELSE format('DROP %s IF EXISTS %s CASCADE', upper(replace(o.type, '-', ' ')), o.identity) END AS statement
    FROM own CROSS JOIN pg_identify_object(own.classid, own.oid, 0) o
    WHERE own.oid >= 16384 AND pg_has_role(own.owner, 'MEMBER')
        AND coalesce(o.schema, '') NOT IN ('pg_catalog', 'information_schema')
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = own.classid AND e.objid = own.oid AND e.deptype = 'e')
"""
"""What the catalog of objects doesn't have, of the role itself: what an administrator has made stays."""

_UNDEFINED = ("42P01", "42704", "42883", "3F000")
"""Undefined table, type or other object, function, schema: it was dropped with another object."""


MARKED = ("schema", MARK_SCHEMA, MARK_SCHEMA)
"""What stays where the mark does."""


class Item(NamedTuple):
    """An object of a scratch database, and the statement that drops it.

    ``is_in_catalog``: whether it was emptied of such objects from the beginning.
    """

    kind: str
    schema: str
    name: str
    statement: str
    is_in_catalog: bool = True

    @property
    def identity(self) -> tuple[str, ...]:
        """Its kind, schema and name."""
        return self.kind, self.schema, self.name


@dataclass(frozen=True)
class Kept:
    """What stays in a scratch database: kind, schema and name of each object.

    ``former`` are those of a mark of an older version of this library: kind and name. Nothing is known of the kinds
    that it didn't see, so these stay too.
    """

    identities: list[tuple[str, ...]]
    former: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def marker(self) -> bool:
        """Whether the mark stays."""
        return MARKED in self.identities or MARKED[:2] in self.former

    def has(self, item: Item) -> bool:
        """Whether an object stays."""
        if self.former and not item.is_in_catalog:
            return True
        return item.identity in self.identities or (item.kind, item.name) in self.former


def kept_by(marker: str) -> Kept | None:
    """Return what stays; None where the text is another one."""
    with suppress(ValueError, TypeError):
        value = json.loads(marker)
        if isinstance(value, list) and {type(each) for each in value} <= {list}:
            names = [tuple(map(str, each)) for each in value]
            identities, former = ([each for each in names if len(each) == length] for length in (3, 2))
            if len(identities) + len(former) == len(names):
                return Kept(identities, former)
    return None


def extensions_of(objects: list[Item]) -> Kept:
    """Return the extensions and their schemas."""
    extensions = [item for item in objects if item.kind == "extension"]
    schemas = dict.fromkeys(item.schema for item in extensions)
    return Kept([*(item.identity for item in extensions), *(("schema", schema, schema) for schema in schemas)])


def without(objects: list[Item], kept: Kept) -> list[Item]:
    """Return the objects that don't stay."""
    return [item for item in objects if not kept.has(item)]


async def mark(connection: "asyncpg.Connection", kept: Kept) -> None:
    """Mark the database as ours while it is in use, with what stays in it."""
    async with connection.transaction():
        await connection.execute(f"CREATE SCHEMA {MARK_SCHEMA}")
        await connection.execute(f"COMMENT ON SCHEMA {MARK_SCHEMA} IS {literal(json.dumps(kept.identities))}")


async def objects_of(settings: Settings, connection: "asyncpg.Connection") -> list[Item]:
    """Return the objects of a database that are no part of another, without the schema public."""
    objects = await read_objects(settings)
    independent = [item for item in objects if item.part_of is None and item.extension is None]
    others = [
        Item(kind, schema, name, sql, is_in_catalog=False)
        for kind, schema, name, sql in await connection.fetch(_OTHERS)
    ]
    return [
        *others,
        *(
            Item(item.kind, item.schema, item.name, f"DROP {keyword(item)} IF EXISTS {item.address} CASCADE")
            for item in independent
            if item.kind != "schema" or item.name not in ("public", MARK_SCHEMA)
        ),
    ]


async def empty(
    connection: "asyncpg.Connection", objects: list[Item], settings: Settings, administrator: Dsn | None
) -> None:
    """Drop objects; an administrator drops what the role may not.

    Raises:
        MigrationError: one can't be dropped.

    """
    for item in objects:
        try:
            try:
                await connection.execute(item.statement)
            except asyncpg.InsufficientPrivilegeError:
                if administrator is None:
                    raise
                await _as_administrator(settings, administrator, item.statement)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _UNDEFINED:
                raise MigrationError(f"The scratch database can't be emptied of {item.name}: {error}.") from error


async def _as_administrator(settings: Settings, administrator: Dsn, statement: str) -> None:
    async with connected(settings, administrator) as connection:
        await connection.execute(statement)

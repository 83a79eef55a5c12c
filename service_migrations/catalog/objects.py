"""The objects of a database, read from pg_catalog: a value for each, with its parent.

Neither Alembic's nor SQLAlchemy's reflection sees functions, triggers, policies, views' texts or what an extension
created. The statement is in objects.sql. Two equal lists are two equal schemas: names and expressions are deparsed with
nothing on the search_path, so the same object has the same text for every role and database. Only ``read_own`` takes
the service's search_path, for texts that a revision has to contain.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import OWN_PATH
from service_migrations.sql.quoting import escaped

__all__ = ["Catalog", "Dependency", "Grant", "Key", "Object", "read", "read_own"]

_TEXT = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
_QUERY = text(escaped(_TEXT).replace("{search_path}", ":search_path"))
_DEPENDENCIES = text(escaped(Path(__file__).with_name("dependencies.sql").read_text(encoding="utf-8")))

_PINNED = {
    # these decide how constants inside expressions are printed
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    "search_path": OWN_PATH,
    # the planner overestimates these queries, and to compile them takes a server with LLVM seconds
    "jit": "off",
}
_PINS = "SELECT " + ", ".join(f"pg_catalog.set_config('{key}', '{value}', true)" for key, value in _PINNED.items())


class Key(NamedTuple):
    """The identity of an object in its database.

    ``table`` is what the name is unique in: a table, a view, or the domain of a domain constraint; else None. The name
    of a function has its arguments: ``normalise(text)``.
    """

    kind: str
    schema: str
    table: str | None
    name: str


class Dependency(NamedTuple):
    """What an object depends on.

    ``automatic``: it is dropped with the other, without CASCADE. ``by_default``: it is a column, and only its default
    depends on the other.
    """

    key: Key
    automatic: bool
    by_default: bool


class Grant(NamedTuple):
    """One privilege; ``grantee`` is a quoted role, PUBLIC for everybody, and None for the owner."""

    grantee: str | None
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a database, outside the system's schemas.

    Its ``kind`` is PostgreSQL's word: schema, extension, table (a partitioned one and a partition too), foreign
    table, view, materialized view, column, constraint, index, sequence, enum, domain, domain constraint, composite
    type, range type, base type, function, procedure, aggregate, trigger, rule, policy, statistics.

    ``address`` is the name in SQL: qualified and quoted; of a column, a constraint, a trigger, a rule and a policy
    the own name only. ``facts`` is all that can differ between two objects of one key, apart from comment, owner and
    grants. ``place`` is no such fact: a column's number in its table, or a number that grows with the time at which
    an object was created.

    ``part_of`` is the object that it is created and dropped with: the table of a column, constraint, index, trigger,
    rule, policy or statistics object, the table of a sequence that a column owns, the parent of a partition.
    ``extension`` is the one that it is a member of, or that its table is. ``defaults`` are the grants that a new object
    of its kind and owner gets in its schema, where nobody grants or revokes anything. ``uses`` is what it depends on;
    only ``read`` reads it. ``not_null`` is the quoted name of a column's NOT NULL, which is a constraint from
    PostgreSQL 18 on.
    """

    kind: str
    schema: str
    table: str | None
    name: str
    address: str
    facts: Mapping[str, Any] = field(hash=False)
    part_of: tuple[str, str, str] | None = None
    extension: str | None = None
    owner: str = ""
    comment: str | None = None
    grants: tuple[Grant, ...] = ()
    place: int = 0
    defaults: tuple[Grant, ...] = ()
    uses: tuple[Dependency, ...] = field(default=(), compare=False, repr=False)
    not_null: str | None = field(default=None, compare=False)

    @property
    def key(self) -> Key:
        """Its identity in the database."""
        return Key(self.kind, self.schema, self.table, self.name)

    @property
    def definition(self) -> str | None:
        """Its text as the server deparses it: of a view the query, of a constraint the text after its name.

        Of an index, a function, a procedure, a trigger, a rule and a statistics object it is the whole CREATE. None
        for a kind that has no such text.
        """
        definition = self.facts.get("definition")
        return None if definition is None else str(definition)


class Catalog:
    """The objects of one database, by key and by parent."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self.by_key: Mapping[Key, Object] = {item.key: item for item in objects}
        self._parts: dict[tuple[str, str, str], list[Object]] = {}
        for item in self.by_key.values():
            if item.part_of:
                self._parts.setdefault(item.part_of, []).append(item)

    def parent(self, part: Object) -> Object | None:
        """Return the object that another is part of, where the catalog has it."""
        if part.part_of is None:
            return None
        kind, schema, name = part.part_of
        return self.by_key.get(Key(kind, schema, None, name))

    def parts(self, whole: Object, *kinds: str) -> list[Object]:
        """Return an object's parts of these kinds, by place and name."""
        parts = self._parts.get((whole.kind, whole.schema, whole.name), [])
        return sorted((part for part in parts if part.kind in kinds), key=lambda part: (part.place, part.name))

    def all_parts(self, whole: Object) -> list[Object]:
        """Return an object's parts of all kinds, by kind, place and name."""
        parts = self._parts.get((whole.kind, whole.schema, whole.name), [])
        return sorted(parts, key=lambda part: (part.kind, part.place, part.name))

    def on(self, part: Object) -> str:
        """Return the address of a part's parent, which SQL names after ON."""
        parent = self.parent(part)
        return parent.address if parent else part.address


async def read(connection: AsyncConnection) -> tuple[Object, ...]:
    """Return every object of a database, ordered by kind and name. Read-only, for any role.

    Its transaction has ended when it returns; none may be open before.
    """
    try:
        await connection.execute(text(_PINS))
        rows = (await connection.execute(_QUERY, {"search_path": ""})).all()
        dependencies = (await connection.execute(_DEPENDENCIES)).all()
    finally:
        await connection.rollback()
    uses = _uses(rows, dependencies)
    return tuple(_object(row, tuple(uses.get(_key(row), ()))) for row in rows)


def _uses(rows: Sequence[Any], dependencies: Sequence[Any]) -> dict[Key, list[Dependency]]:
    """Return what each object depends on."""
    keys = {(row.classid, row.oid, row.subid): _key(row) for row in rows}
    uses: dict[Key, list[Dependency]] = {}
    for row in dependencies:
        key, used = (
            keys.get((row.classid, row.oid, row.subid)),
            keys.get((row.used_classid, row.used_oid, row.used_subid)),
        )
        if key is not None and used is not None and key != used:
            uses.setdefault(key, []).append(Dependency(used, row.automatic, row.is_default))
    return uses


def read_own(connection: Connection, path: str) -> tuple[Object, ...]:
    """Return the objects in the words of a search_path. The connection's transaction stays as it is."""
    connection.exec_driver_sql("SAVEPOINT objects")
    try:
        connection.execute(text(_PINS))
        rows = connection.execute(_QUERY, {"search_path": path}).all()
    finally:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT objects")
        connection.exec_driver_sql("RELEASE SAVEPOINT objects")
    return tuple(_object(row) for row in rows)


def _key(row: Any) -> Key:
    return Key(row.kind, row.schema, row.tbl, row.name)


def _object(row: Any, uses: tuple[Dependency, ...] = ()) -> Object:
    facts = json.loads(row.facts)
    not_null = facts.pop("not_null_constraint", None)  # where the server chose it, a restored one may have another
    return Object(
        kind=row.kind,
        schema=row.schema,
        table=row.tbl,
        name=row.name,
        address=row.address,
        facts=MappingProxyType(facts),
        part_of=(row.parent_kind, row.parent_schema, row.parent) if row.parent else None,
        extension=row.extension,
        owner=row.owner,
        comment=row.comment,
        grants=tuple(Grant(*grant) for grant in json.loads(row.grants or "[]")),
        place=row.place,
        defaults=tuple(Grant(*grant) for grant in json.loads(row.defaults or "[]")),
        uses=uses,
        not_null=not_null,
    )

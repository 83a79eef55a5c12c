"""Objects that somebody moved to another schema, and partitions that got another name.

Each is a difference, and all else is compared as if they were back.

Dropped there and created here, a table would lose its rows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from service_migrations.catalog.creation import keyword
from service_migrations.catalog.objects import Catalog, Key, Object
from service_migrations.sql.quoting import quoted

__all__ = ["Move", "is_equal", "moved_back"]

_ROUTINES = ("function", "procedure", "aggregate")
_RELATIONS = ("table", "foreign table", "view", "materialized view", "sequence", "index")
_TYPES = ("enum", "domain", "composite type", "range type", "base type")
_KINDS = (
    *_TYPES,
    "extension",
    *_ROUTINES,
    "table",
    "foreign table",
    "view",
    "materialized view",
    "sequence",
    "statistics",
)
"""The kinds that ALTER … SET SCHEMA knows, types before what has them in its name."""

_MOVES_WITH = ("column", "constraint", "domain constraint", "index", "sequence", "trigger", "rule", "policy")
"""The parts that are in the schema of what they are part of."""


@dataclass(frozen=True, slots=True)
class Move:
    """An object of the history that the database has in another schema, or a partition with another name."""

    live: Object
    expected: Object

    @property
    def text(self) -> str:
        """Where it is, or its name, for a message."""
        if self.live.name != self.expected.name:
            return f"has the name {self.live.name} in the database, {self.expected.name} in the history"
        return f"is in the schema {self.live.schema} in the database, {self.expected.schema} in the history"

    @property
    def sql(self) -> str:
        """The SQL that moves it back."""
        if self.live.name != self.expected.name:
            return f"ALTER TABLE {self.live.address} RENAME TO {quoted(self.expected.name)};"
        return f"ALTER {keyword(self.live)} {self.live.address} SET SCHEMA {quoted(self.expected.schema)};"


def moved_back(
    live: Catalog, expected: Catalog, sees: Callable[[Object], bool], *, alone: bool
) -> tuple[Catalog, list[Move]]:
    """Return the catalog of the database as it is after the moves back, and these.

    Args:
        live: the catalog of the database.
        expected: that of the replayed history.
        sees: whether an object of the database counts that isn't in the history.
        alone: whether an equal table of the same owner counts too, which no other service can have.

    """
    moves = []
    while move := _next_move(live, expected, sees, alone=alone) or _next_rename(live, expected):
        moves.append(move)
        live = _after(move, live)
    return live, moves


def _next_move(live: Catalog, expected: Catalog, sees: Callable[[Object], bool], *, alone: bool) -> Move | None:
    missing = [item for item in expected.by_key.values() if item.kind in _KINDS and item.key not in live.by_key]
    if not missing:
        return None
    surplus: dict[tuple[str, str], list[Object]] = {}
    for item in live.by_key.values():
        if item.kind in _KINDS and item.key not in expected.by_key:
            surplus.setdefault((item.kind, item.name), []).append(item)
    for item in sorted(missing, key=lambda each: _KINDS.index(each.kind)):
        candidates = [
            other
            for other in surplus.get((item.kind, item.name), ())
            if not _moves_with_another(other)
            and (
                sees(other)
                or _is_part_of_known(other, live, expected)
                or (alone and is_equal(other, item, live, expected))
            )
        ]
        if len(candidates) == 1 and _has_room(candidates[0], item, live):
            return Move(candidates[0], item)
    return None


def _next_rename(live: Catalog, expected: Catalog) -> Move | None:
    """Return a partition that only the database has, with one of its bound and schema that only the history has."""
    for item in expected.by_key.values():
        parent = expected.parent(item) if "bound" in item.facts and item.key not in live.by_key else None
        whole = live.by_key.get(parent.key) if parent is not None and item.kind == "table" else None
        for other in live.parts(whole, "table") if whole is not None else ():
            has_its_place = (other.facts.get("bound"), other.schema) == (item.facts["bound"], item.schema)
            if has_its_place and other.key not in expected.by_key and _is_free(item, live):
                return Move(other, item)
    return None


def _is_free(item: Object, live: Catalog) -> bool:
    """Whether nothing in its schema has the name of a table."""
    same = [other for other in live.by_key.values() if (other.schema, other.name) == (item.schema, item.name)]
    return not any(other.kind in (*_RELATIONS, *_TYPES) for other in same)


def is_equal(item: Object, expected: Object, live: Catalog, history: Catalog) -> bool:
    """Whether two tables of one name have one owner and equal columns."""
    tables = ((item, live), (expected, history))
    columns, others = (
        [(column.name, column.facts["type"]) for column in catalog.parts(table, "column")] for table, catalog in tables
    )
    return item.kind == expected.kind == "table" and item.owner == expected.owner and columns == others


def _moves_with_another(item: Object) -> bool:
    return item.kind == "sequence" and item.part_of is not None


def _is_part_of_known(item: Object, live: Catalog, expected: Catalog) -> bool:
    parent = live.parent(item)
    return parent is not None and parent.key in expected.by_key


def _has_room(item: Object, expected: Object, live: Catalog) -> bool:
    """Whether the schema is there, and nothing in it has a name of the object or of its parts."""
    if Key("schema", expected.schema, None, expected.schema) not in live.by_key:
        return False
    kinds = _RELATIONS if item.kind in _RELATIONS else _TYPES if item.kind in _TYPES else (item.kind,)
    names = {item.name, *(part.name for part in live.all_parts(item) if part.kind in ("index", "sequence"))}
    return not any(
        other.schema == expected.schema and other.kind in kinds and other.name in names
        for other in live.by_key.values()
    )


def _after(move: Move, live: Catalog) -> Catalog:
    """Return a catalog with an object in its former schema or name, also where the texts of others name it."""
    item, schema, new = move.live, move.expected.schema, move.expected.name
    whole = (item.kind, item.schema, item.name)
    is_renamed = new != item.name
    moving = {item.key} | {part.key for part in live.all_parts(item) if part.kind in _MOVES_WITH}
    names = [_unqualified(each, live) for each in (live.by_key[key] for key in moving) if "." in each.address]
    words = {f"{quoted(item.schema)}.{name}": f"{quoted(schema)}.{name}" for name in names if name}
    if is_renamed:
        words = {item.address: f"{quoted(schema)}.{quoted(new)}"}
    pattern = re.compile(rf'(?<![\w".$])(?:{"|".join(map(re.escape, words))})(?![\w"$])') if words else None

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda match: words[match[0]], value) if pattern else value
        if isinstance(value, Mapping):
            return {renamed(key): renamed(each) for key, each in value.items()}
        return [renamed(each) for each in value] if isinstance(value, list) else value

    keys = {}
    for key in live.by_key:
        name = renamed(key.name) if key.kind in _ROUTINES else key.name
        keys[key] = key._replace(schema=schema if key in moving else key.schema, name=name)
    if is_renamed:
        parts = [part.key for part in live.all_parts(item) if part.table == item.name]
        keys |= {key: Key(key.kind, key.schema, new, key.name) for key in parts}
        keys[item.key] = Key(item.kind, schema, None, new)
    return Catalog(_renamed(each, keys, whole, move.expected, renamed) for each in live.by_key.values())


def _renamed(
    item: Object,
    keys: Mapping[Key, Key],
    whole: tuple[str, str, str],
    moved: Object,
    renamed: Callable[[Any], Any],
) -> Object:
    key, part_of = keys[item.key], item.part_of
    return replace(
        item,
        schema=key.schema,
        table=key.table,
        name=key.name,
        address=renamed(item.address),
        facts=MappingProxyType(renamed(dict(item.facts))),
        part_of=(whole[0], moved.schema, moved.name) if part_of == whole else part_of,
        uses=tuple(used._replace(key=keys.get(used.key, used.key)) for used in item.uses),
    )


def _unqualified(item: Object, live: Catalog) -> str | None:
    """Return the quoted name in texts; None where it is also that of another, as of an overloaded function."""
    if item.kind not in _ROUTINES:
        return quoted(item.name)
    name = item.name.partition("(")[0]
    others = [each for each in live.by_key.values() if each.kind in _ROUTINES and each.schema == item.schema]
    is_overloaded = sum(each.name.partition("(")[0] == name for each in others) > 1
    return None if is_overloaded else quoted(name)

"""What objects depend on, in the database and in the history, and the SQL that drops and recreates one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service_migrations.catalog.objects import Catalog, Key, Object
from service_migrations.drift.repair import create_with_parts, drop
from service_migrations.sql.quoting import one_line

__all__ = ["DEFAULT", "ROUTINES", "Catalogs", "column_of", "unique_name", "uses_of"]

ROUTINES = ("function", "procedure", "aggregate")
DEFAULT = "default"
"""The kind in the key of a column's default, which is no object of a catalog."""

_RELATIONS = ("table", "foreign table", "view", "materialized view", "sequence", "index",
              "enum", "domain", "composite type", "range type", "base type")  # fmt: skip
"""The kinds whose names are unique within a schema."""


@dataclass(frozen=True, slots=True)
class Catalogs:
    """The catalog of the database, and that which the history makes."""

    live: Catalog
    expected: Catalog

    def needs(self, keys: Iterable[Key]) -> list[Key]:
        """Return what objects of the history depend on, directly or not; what others depend on comes first."""
        start, needed = list(keys), dict[Key, None]()

        def walk(key: Key) -> None:
            item = self.expected.by_key.get(column_of(key))
            if item is None:
                return
            for (used, user), _ in uses_of(item, self.expected):
                if item.kind == "sequence" and used.kind == "column":
                    continue  # that only owns it
                if (user == key or key.kind != DEFAULT) and used not in seen:
                    seen.add(used)
                    walk(used)
                    needed[used] = None

        seen = set(start)
        for key in start:
            walk(key)
        return list(needed)

    def is_part_of(self, key: Key, whole: Key) -> bool:
        """Whether an object of the database is part of another."""
        item: Object | None = self.live.by_key[column_of(key)]
        while item is not None and item.key != whole:
            item = self.live.parent(item)
        return item is not None

    def is_expected(self, key: Key) -> bool:
        """Whether the history has an object, or the default of a column."""
        item = self.expected.by_key.get(column_of(key))
        return item is not None and (key.kind != DEFAULT or "default" in item.facts)

    def is_implicit(self, key: Key) -> bool:
        """Whether an object of the history is made with another."""
        item = self.expected.by_key[column_of(key)]
        parent = self.expected.parent(item)
        return bool(
            item.facts.get("inherited")
            or (item.kind == "index" and "constraint" in item.facts)
            or (item.kind == "sequence" and "identity" in item.facts)
            or (item.kind != "statistics" and parent is not None and parent.kind in ("view", "materialized view"))
        )

    def whole(self, key: Key) -> Key | None:
        """Return what an object of the history is part of; None where it stands alone."""
        item = self.expected.by_key.get(column_of(key))
        parent = self.expected.parent(item) if item else None
        return parent.key if parent else None

    def drop(self, key: Key) -> str:
        """Return the SQL that drops an object of the database."""
        item = self.live.by_key[column_of(key)]
        if key.kind == DEFAULT:
            return f"ALTER TABLE {self.live.on(item)} ALTER COLUMN {item.address} DROP DEFAULT;"
        return drop(item, self.live)

    def create(self, key: Key) -> str:
        """Return the SQL that creates an object of the history."""
        item = self.expected.by_key[column_of(key)]
        if key.kind == DEFAULT:
            alter = f"ALTER TABLE {self.expected.on(item)} ALTER COLUMN {item.address}"
            return one_line(f"{alter} SET DEFAULT {item.facts['default']};")
        return create_with_parts(item, self.expected, self.live)


def uses_of(item: Object, catalog: Catalog) -> Iterator[tuple[tuple[Key, Key], bool]]:
    """Yield what an object depends on, with the key of what depends on it, itself or its default, and how."""
    parent = catalog.parent(item)
    if parent is not None:
        yield (parent.key, item.key), True
    for used, automatic, by_default in item.uses:
        key = item.key._replace(kind=DEFAULT) if by_default else item.key
        if used != column_of(key):
            yield (used, key), automatic


def column_of(key: Key) -> Key:
    """Return the key of a column where the key is that of its default."""
    return key._replace(kind="column") if key.kind == DEFAULT else key


def unique_name(item: Object) -> tuple[str, str]:
    """Return what has to be unique in a schema; of a routine without its arguments, whose names can't change."""
    if item.kind in _RELATIONS:
        return item.schema, item.name
    if item.kind in ROUTINES:
        return item.schema, item.name.partition("(")[0] + "()"
    return item.schema, repr(item.key)

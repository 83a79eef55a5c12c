"""The objects of a database that a service can own, with the facts that decide it."""

from collections.abc import Iterable
from dataclasses import dataclass

from service_migrations.catalog.objects import Key, Object
from service_migrations.sql.created import ObjectName

__all__ = ["Candidate", "from_catalog"]

_KINDS = {
    "table": "table",
    "foreign table": "table",
    "view": "view",
    "materialized view": "view",
    "sequence": "sequence",
    "index": "index",
    "enum": "type",
    "domain": "type",
    "composite type": "type",
    "range type": "type",
    "base type": "type",
    "function": "function",
    "procedure": "function",
    "aggregate": "function",
    "schema": "schema",
    "extension": "extension",
}
"""The kinds that have an owner, by the names that histories use; a column or constraint has its table's."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that a service can own.

    ``kind`` is PostgreSQL's word, ``name`` the name in models and histories: that of a function has no arguments.
    ``extension`` is the one that it is a member of. ``parent`` is the object that it is part of: the table of an
    index, of a sequence that a column owns, of a partition or of another table that inherits.
    """

    kind: str
    name: ObjectName
    extension: str | None = None
    parent: ObjectName | None = None

    @property
    def is_view(self) -> bool:
        """Whether a class can be mapped onto it, though it is no table of the models."""
        return self.kind in ("view", "materialized view", "foreign table")


def from_catalog(catalog: Iterable[Object]) -> dict[Key, Candidate]:
    """Return the candidates among all objects of a database, by their key in the catalog."""
    objects = [item for item in catalog if item.kind in _KINDS and (item.kind, item.name) != ("schema", "public")]
    names = {(item.kind, item.schema, item.name): _name(item) for item in objects}
    tables = {item.address: _name(item) for item in objects if _KINDS[item.kind] == "table"}
    candidates = {}
    for item in objects:
        parents = [names[item.part_of]] if item.part_of in names else []
        parents += [tables[address] for address in item.facts.get("inherits") or () if address in tables]
        candidates[item.key] = Candidate(item.kind, _name(item), item.extension, parents[0] if parents else None)
    return candidates


def _name(item: Object) -> ObjectName:
    if item.kind in ("schema", "extension"):
        return ObjectName(item.kind, item.name, item.name)
    kind = _KINDS[item.kind]
    return ObjectName(kind, item.schema, item.name.partition("(")[0] if kind == "function" else item.name)

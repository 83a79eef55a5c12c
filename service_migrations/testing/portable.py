"""The objects of a schema without what each PostgreSQL describes differently by nature, to compare its versions."""

import re
from collections.abc import Iterable

from service_migrations.catalog.objects import Catalog, Object

__all__ = ["portable"]

_QUALIFIER = re.compile(r"""(?P<constant>'(?:[^'\\]|''|\\.)*')|(?<![\w".])(?:[^\W\d]\w*|"(?:[^"]|"")+")\.(?=[\w"])""")
"""A constant, or a name and the dot behind it. PostgreSQL writes a backslash in E'…' only, and doubled."""

_IDENTITY = "identity"

_UNQUALIFIED = ("view", "materialized view", "rule", "function", "procedure")
"""What PostgreSQL deparses from a parsed query: from 16 on it leaves out qualifiers that aren't needed."""


def portable(objects: Iterable[Object]) -> dict[str, str]:
    """Return the description of each object by its name, the same on every version where the objects are.

    Left out are, with owners and privileges: the members and versions of extensions, which are the server's; clones of
    constraints, indexes and triggers on partitions, whose names each version chooses in its own way; the identity of a
    partition's column, which it has from 17 on; qualifiers in queries.
    """
    catalog = Catalog(item for item in objects if item.extension is None)
    return {_name(item): _description(item, catalog) for item in catalog.by_key.values() if not _is_clone(item)}


def _is_clone(item: Object) -> bool:
    return bool(item.facts.get("inherited")) and item.kind in ("constraint", "index", "trigger")


def _name(item: Object) -> str:
    return f"{item.kind} {'.'.join(part for part in (item.schema, item.table, item.name) if part)}"


def _description(item: Object, catalog: Catalog) -> str:
    facts = dict(item.facts)
    if item.kind == "extension":
        facts.pop("version")
    parent = catalog.parent(item)
    if item.kind == "column" and parent is not None and "bound" in parent.facts:
        facts.pop(_IDENTITY, None)
    if item.kind in _UNQUALIFIED and "definition" in facts:
        facts["definition"] = _QUALIFIER.sub(lambda match: match["constant"] or "", facts["definition"])
    words = [f"{key} {facts[key]}" for key in sorted(facts)]
    return "; ".join([*words, *([f"comment {item.comment}"] if item.comment else [])])

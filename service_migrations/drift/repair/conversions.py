"""What ALTER COLUMN … TYPE needs behind USING, and what a person has to know of it."""

import re

from service_migrations.autogenerate.changes.types import arrays
from service_migrations.autogenerate.changes.types.conversions import (
    are_ranges,
    can_change_values,
    checked,
    through,
    warning,
)
from service_migrations.catalog.objects import Catalog, Object
from service_migrations.drift.repair.change import Pair

__all__ = ["notes", "using"]

_TEXTS = ("text", "character varying", "character", "bpchar", "name")
"""Types to and from which every other one has a cast."""
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_JSON = ("json", "jsonb")
_TIME, _TIMETZ = "time without time zone", "time with time zone"
_TIMESTAMP, _TIMESTAMPTZ = "timestamp without time zone", "timestamp with time zone"

_CASTS: dict[str, tuple[str, ...]] = {
    "smallint": (*_NUMBERS, "oid"),
    "integer": (*_NUMBERS, "boolean", '"char"', "oid", "money", "bit"),
    "bigint": (*_NUMBERS, "oid", "money", "bit"),
    "numeric": (*_NUMBERS, "money"),
    "real": _NUMBERS,
    "double precision": _NUMBERS,
    "boolean": ("integer",),
    '"char"': ("integer",),
    "oid": ("integer", "bigint"),
    "money": ("numeric",),
    "bit": ("integer", "bigint", "bit varying"),
    "bit varying": ("bit",),
    "json": ("jsonb",),
    "jsonb": ("json", "boolean", *_NUMBERS),
    "date": (_TIMESTAMP, _TIMESTAMPTZ),
    _TIMESTAMP: ("date", _TIMESTAMPTZ, _TIME),
    _TIMESTAMPTZ: ("date", _TIMESTAMP, _TIME, _TIMETZ),
    _TIME: (_TIMETZ, "interval"),
    _TIMETZ: (_TIME,),
    "interval": (_TIME,),
    "inet": ("cidr",),
    "cidr": ("inet",),
    "macaddr": ("macaddr8",),
    "macaddr8": ("macaddr",),
    "box": ("point", "polygon", "lseg", "circle"),
    "circle": ("point", "polygon", "box"),
    "lseg": ("point",),
    "path": ("polygon",),
    "point": ("box",),
    "polygon": ("point", "path", "box", "circle"),
    "xid8": ("xid",),
    **{f"{name}range": (f"{name}multirange",) for name in ("int4", "int8", "num", "ts", "tstz", "date")},
}
"""The casts between types of PostgreSQL that every version has, without those to and from text."""


def using(pair: Pair) -> str:
    """Return the USING of a column that has another type; an empty text where the server needs none."""
    table = pair.expected_catalog.parent(pair.expected)
    if "generated" in pair.live.facts or (table is not None and table.kind == "foreign table"):
        return ""  # the expression is converted, or there are no rows
    if third := _by_third_type(pair):
        return f" USING {third}"
    old, new = (each.facts["type"] for each in (pair.live, pair.expected))
    value, before, after = _value(pair)
    if can_change_values(before, after):
        return f" USING {checked(value, before, after, new)}"
    if _base(old) == _base(new) and old.endswith("[]") == new.endswith("[]"):
        return ""
    if new.startswith("character") and (old.endswith("[]") or not new.endswith("[]")):
        return ""  # any type can be assigned to it, and a cast would truncate a value that is too long
    return f" USING {value}" if before == after else f" USING {value}::{new}"


def notes(pair: Pair) -> str | None:
    """Return what a person has to know of the change of a type, in one line; None where no value changes."""
    if not using(pair) and _base(pair.live.facts["type"]) != "character":
        return None
    value, before, after = _value(pair)
    old, new = _types(pair)
    if are_ranges(old, new):
        before = old
    lines = []
    if not _has_cast(old, new) and not are_ranges(old, new) and not {"."} & {*old, *new}:
        lines.append(f"PostgreSQL has no cast from {old} to {new}: read what is behind USING first.")
    warnings = arrays.warning(value, old, new) or (None if _by_third_type(pair) else warning(value, before, after))
    for line in (warnings or "").splitlines():
        text = line.removeprefix("WARNING: ")
        if not text.startswith("To round or cut "):
            lines.append(re.sub("^This fails", "It fails", f"{text[0].upper()}{text[1:]}"))
    return " ".join(lines) or None


def _by_third_type(pair: Pair) -> str | None:
    """Return the expression that leads to the new type by way of a third one, where no cast does."""
    before, after = _types(pair)
    name, kind = pair.expected.address, pair.expected.facts["type"]
    if elements := arrays.of_elements(name, before, after, kind):
        return elements
    if _has_cast(before, after):
        return None
    array = arrays.of_json(name, before, after, kind) if before in _JSON else None
    return array or through(name, before, after, kind)


def _value(pair: Pair) -> tuple[str, str, str]:
    """Return the expression that is cast, its type, and the one that it gets."""
    name, (before, after) = pair.expected.address, _types(pair)
    if _has_cast(before, after) or (are_ranges(before, after) and can_change_values(before, after)):
        return name, before, after
    if after in _JSON and not before.endswith("citext"):
        return f"to_{after}({name})", after, after
    if before in _JSON and _base(after) not in (*_NUMBERS, "boolean") and not after.endswith("[]"):
        # a string without its quotes; null, which is none, is read as a text that fails
        return f"coalesce({name} #>> '{{}}', {name}::text)", "text", after
    text = "text[]" if before.endswith("[]") and after.endswith("[]") else "text"
    return f"{name}::{text}", text, after


def _has_cast(before: str, after: str) -> bool:
    """Whether the server has a cast; one of a type outside pg_catalog, such as an enum, is counted as none.

    Such a type has one to and from text at least.
    """
    if "." in before or "." in after:
        return False
    old, new = _base(before), _base(after)
    if before.endswith("[]") != after.endswith("[]"):
        return (new if before.endswith("[]") else old) in _TEXTS
    return old == new or old in _TEXTS or new in _TEXTS or new in _CASTS.get(old, ())


def _base(kind: str) -> str:
    """Return a type without its length, the fields of an interval and the brackets of an array."""
    base = re.sub(r"\(.*?\)", "", kind.rstrip("[]"))
    return "interval" if base.startswith("interval ") else base


def _types(pair: Pair) -> tuple[str, str]:
    """Return the types that the values have: where that of a column is a domain, the one under it."""
    return _stored(pair.live, pair.live_catalog), _stored(pair.expected, pair.expected_catalog)


def _stored(column: Object, catalog: Catalog) -> str:
    kind = str(column.facts["type"])
    domains = {item.address: str(item.facts["type"]) for item in catalog.by_key.values() if item.kind == "domain"}
    while (base := kind.removesuffix("[]")) in domains:
        kind = f"{domains[base]}{kind[len(base) :]}"
    return kind

"""Bounds of partitions: whether the server refuses to attach one beside another."""

import re
from decimal import Decimal
from math import gcd, inf
from typing import Any

from service_migrations.catalog.objects import Catalog, Object

__all__ = ["in_the_way"]

_LITERAL = r"'(?:[^']|'')*'"
_VALUE = re.compile(rf"{_LITERAL}|[^\s,()']+")
_RANGE = re.compile(rf"FOR VALUES FROM \(((?:{_LITERAL}|[^'()])*)\) TO \(((?:{_LITERAL}|[^'()])*)\)")
_NUMBERS = ("smallint", "integer", "bigint", "numeric")
_TIMES = ("date", "timestamp")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?(?:\+00)?")
"""One that is sorted as its text is, in the format that the catalog is read with."""

_Limit = list[tuple[float, Any]]


def in_the_way(partition: Object, catalog: Catalog, live_catalog: Catalog) -> list[Object]:
    """Return the partitions that only the database has, and beside which one of the history can't be attached.

    Those of which that isn't known, as text is sorted by a collation, are left out.
    """
    parent = catalog.parent(partition)
    live = live_catalog.by_key.get(parent.key) if parent else None
    if parent is None or live is None or live.facts.get("partition_key") != parent.facts.get("partition_key"):
        return []
    types = _types(parent, catalog)
    return [
        other
        for other in live_catalog.parts(live, "table", "foreign table")
        if "bound" in other.facts
        and other.key not in catalog.by_key
        and _overlap(partition.facts["bound"], other.facts["bound"], types)
    ]


def _types(parent: Object, catalog: Catalog) -> list[str]:
    """Return the types of the columns of a partition key; an empty one for an expression."""
    columns = {column.address: str(column.facts["type"]) for column in catalog.parts(parent, "column")}
    _, _, key = parent.facts["partition_key"].partition(" (")
    return [columns.get(name, "") for name in key.removesuffix(")").split(", ")]


def _overlap(bound: str, other: str, types: list[str]) -> bool:
    """Whether two bounds certainly overlap."""
    if bound == other:
        return True
    if bound.startswith("FOR VALUES IN ") and other.startswith("FOR VALUES IN "):
        return bool(_values(bound, "FOR VALUES IN ") & _values(other, "FOR VALUES IN "))
    if bound.startswith("FOR VALUES WITH ") and other.startswith("FOR VALUES WITH "):
        (modulus, remainder), (modulus_2, remainder_2) = (map(int, re.findall(r"\d+", each)) for each in (bound, other))
        return (remainder - remainder_2) % gcd(modulus, modulus_2) == 0
    ranges = _RANGE.fullmatch(bound), _RANGE.fullmatch(other)
    if ranges[0] is None or ranges[1] is None:
        return False
    (start, end), (start_2, end_2) = ([_limit(text, types) for text in each.groups()] for each in ranges if each)
    if start is None or end is None or start_2 is None or end_2 is None:
        return ranges[0][1] == ranges[1][1] or ranges[0][2] == ranges[1][2]
    return start < end_2 and start_2 < end


def _values(bound: str, head: str) -> set[str]:
    return set(_VALUE.findall(bound.removeprefix(head)))


def _limit(text: str, types: list[str]) -> _Limit | None:
    """Return a limit of a range, to be compared with another; None where only the server can."""
    limit: _Limit = []
    for value, kind in zip(_VALUE.findall(text), types, strict=False):
        plain = value.strip("'")
        if plain in ("MINVALUE", "MAXVALUE"):
            limit.append((-inf if plain == "MINVALUE" else inf, ""))
            return limit  # what follows it doesn't count
        if kind.startswith(_NUMBERS) and re.fullmatch(r"-?\d+(?:\.\d+)?", plain):
            limit.append((0, Decimal(plain)))
        elif kind.startswith(_TIMES) and _TIME.fullmatch(plain):
            limit.append((0, plain))
        else:
            return None
    return limit

"""Conversions between two types of a column in which a value can change: it is rounded, cut, or read in a time zone."""

import re
from dataclasses import dataclass

__all__ = ["can_change_values", "checked", "warning"]

_INTEGERS = {"smallint": 2, "integer": 4, "bigint": 8}
"""With their sizes in bytes."""
_FLOATS = {"real": 3, "double precision": 6}
"""With the size in bytes of the integers that they certainly hold."""
_MICROSECONDS = 6
"""The digits of a second that PostgreSQL keeps where a type names none."""

_TYPE = re.compile(
    r"(?P<base>numeric|timestamp|time|interval|[a-z ]+?)(?P<fields> (?:year|month|day|hour|minute|second)[a-z ]*)?"
    r"(?:\((?P<first>\d+)(?:,(?P<second>-?\d+))?\))?(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)"
)


@dataclass(frozen=True, slots=True)
class _Type:
    """A type as ``format_type`` writes it, in its parts."""

    base: str
    fields: str
    first: int | None
    second: int | None
    zone: bool

    @classmethod
    def of(cls, text: str) -> "_Type | None":
        """Return the parts of a type, of the elements where it is an array; None where it is none of those here."""
        match = _TYPE.fullmatch(text)
        if match is None:
            return None
        first, second = (int(part) if part else None for part in match.group("first", "second"))
        return cls(match["base"], match["fields"] or "", first, second, match["zone"] == " with time zone")

    @property
    def scale(self) -> int | None:
        """The digits behind the point of a numeric; None for any number of them."""
        return None if self.first is None else self.second or 0

    @property
    def precision(self) -> int:
        """The digits of a second."""
        return _MICROSECONDS if self.first is None else self.first


def can_change_values(before: str, after: str) -> bool:
    """Whether a cast between two types may change a value, where it neither fails nor keeps it.

    Only numbers, dates and times are known here. A longer text is no case of it: an assignment of it fails.
    """
    old, new = _Type.of(before), _Type.of(after)
    if old is None or new is None:
        return False
    return _numbers(old, new) or _times(old, new)


def checked(name: str, before: str, after: str) -> str:
    """Return an expression for USING that fails on a value which the cast would change; the error has the value.

    Args:
        name: the column's name, quoted.
        before: its type.
        after: its new type.

    """
    return (
        f"CASE WHEN {name}::{after}::{before} IS NOT DISTINCT FROM {name} THEN {name}::{after} "
        f"ELSE concat({name}, ' would change')::{after} END"
    )


def warning(name: str, before: str, after: str) -> str | None:
    """Return what a person has to know of a conversion; None where no value changes."""
    old, new = _Type.of(before), _Type.of(after)
    if (before.rstrip("[]"), after.rstrip("[]")) == ("json", "jsonb"):
        return "WARNING: jsonb keeps the last of several equal keys, and neither their order nor white space."
    lines = []
    if can_change_values(before, after):
        lines.append(
            f"WARNING: this fails on a row that {after} can't hold as it is.\n"
            f"To round or cut such values, write: USING {name}::{after}"
        )
    if old and new and {old.base, new.base} <= {"timestamp", "date"} and old.zone != new.zone:
        lines.append(
            "WARNING: the result depends on the TimeZone of the session.\n"
            f"To name one, write: USING {name} AT TIME ZONE 'UTC'"
        )
    return "\n".join(lines) or None


def _numbers(old: _Type, new: _Type) -> bool:
    if new.base in _INTEGERS:
        # a number that is too large fails
        return old.base in _FLOATS or (old.base == "numeric" and old.scale != 0)
    if new.base in _FLOATS:
        exact = _INTEGERS.get(old.base, 0) <= _FLOATS[new.base] if old.base in _INTEGERS else False
        return not exact and (
            old.base in _INTEGERS or old.base == "numeric" or (old.base, new.base) == ("double precision", "real")
        )
    if new.base != "numeric":
        return False
    if old.base == "numeric":
        return new.scale is not None and (old.scale is None or new.scale < old.scale)
    # a float has more digits than its cast to numeric keeps
    return old.base in _FLOATS or (old.base in _INTEGERS and (new.scale or 0) < 0)


def _times(old: _Type, new: _Type) -> bool:
    if old.base == "timestamp":
        return new.base in ("date", "time") or (new.base == "timestamp" and new.precision < old.precision)
    if old.base == "time":
        loses_zone = old.zone and not new.zone
        return new.base in ("time", "interval") and (new.precision < old.precision or loses_zone)
    if old.base == "interval":
        narrower = new.precision < old.precision or (new.fields and new.fields != old.fields)
        return new.base == "time" or (new.base == "interval" and bool(narrower))
    return False

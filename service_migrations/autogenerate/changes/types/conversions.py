"""Conversions between two types of a column in which a value can change: it is rounded, cut, or read in a time zone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["are_ranges", "can_change_values", "checked", "through", "warning", "warning_of_digits"]

_INTEGERS = {"smallint": 2, "integer": 4, "bigint": 8}
"""With their sizes in bytes."""
_FLOATS = {"real": 3, "double precision": 6}
"""With the size in bytes of the integers that they certainly hold."""
_NUMBERS = (*_INTEGERS, *_FLOATS, "numeric")
_SIGNS = (("oid", "integer"), ("integer", "oid"))
"""Types of the same bits, of which one has a sign."""
_MICROSECONDS = 6
"""The digits of a second that PostgreSQL keeps where a type names none."""
_TEXTS = ("text", "character varying", "character", "citext")
_JSON = ("json", "jsonb")
_WHOLE = {
    "numeric": "numeric",
    "real": "numeric",
    "double precision": "numeric",
    "smallint": "numeric",
    "integer": "numeric",
    "bigint": "numeric",
    "boolean": "boolean",
    "date": "timestamp with time zone",
    "timestamp": "timestamp with time zone",
    "time": "time with time zone",
    "interval": "interval",
    "bit": "bit varying",
}
"""The type of each kind that takes whatever a text or a JSON value says, without rounding or cutting it."""

_RANGES = {
    f"{name}{kind}": bound
    for kind in ("range", "multirange")
    for name, bound in {
        "int4": "integer",
        "int8": "bigint",
        "num": "numeric",
        "ts": "timestamp without time zone",
        "tstz": "timestamp with time zone",
        "date": "date",
    }.items()
}
"""With the types of their bounds. Two of them have no cast: one is read from the other's text."""

_TYPE = re.compile(
    r"(?P<base>numeric|timestamp|time|interval|[a-z0-9 ]+?)(?P<fields> (?:year|month|day|hour|minute|second)[a-z ]*)?"
    r"(?:\((?P<first>\d+)(?:,(?P<second>-?\d+))?\))?(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)"
)

_TIME_ALONE = """'^[ "]*t?([0-9]{1,2}(:[0-9]{2}){1,2}([.][0-9]*)?|[0-9]{6}([.][0-9]*)?) *([ap]m)?[ "]*$'"""
"""The texts of a time without a date or a zone, as a regular expression: a cast ignores both."""

_VARYING = re.compile(r"character varying\((\d+)\)")


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

    A text that is too long fails, but not if only blanks are too many: those are cut (PostgreSQL documentation,
    Character Types).
    """
    old, new = _Type.of(before), _Type.of(after)
    if old is None or new is None:
        return False
    if _are_ranges(old, new):
        return can_change_values(_RANGES[old.base], _RANGES[new.base])
    return _numbers(old, new) or _times(old, new) or _blanks(old, new) or _others(old, new) or _is_read(old, new)


def are_ranges(before: str, after: str) -> bool:
    """Whether both types are ranges, of which one is read from the other's text."""
    old, new = _Type.of(before), _Type.of(after)
    return old is not None and new is not None and _are_ranges(old, new)


def checked(name: str, before: str, after: str, kind: str) -> str:
    """Return an expression for USING that fails on a value which the cast would change; the error has the value.

    Args:
        name: the column's name, quoted.
        before: its type, that under a domain.
        after: its new type, that under a domain.
        kind: its new type as it is named.

    """
    changed = f"concat({name}, ' would change')"
    if (length := _VARYING.fullmatch(after)) is not None:
        # no cast, which would cut it: this is assigned, and too long
        return f"CASE WHEN length({name}) > {length[1]} THEN {changed} ELSE {name} END"
    if after.startswith(("bit(", "character(")) and not after.endswith("[]"):
        # the error of bits has only the first digit that is none, and a text would be cut
        changed += "::integer"
    old, new = _Type.of(before), _Type.of(after)
    if old is not None and new is not None and _are_ranges(old, new):
        text = f"text{_dimensions(after)}"
        # equal texts of one type are equal values, also where the type is in an array
        kept = f"{name}::{text}::{after}::{text}::{before}::text IS NOT DISTINCT FROM {name}::text"
        return f"CASE WHEN {kept} THEN {name}::{text}::{kind} ELSE {changed}::{kind} END"
    return f"CASE WHEN {_kept(name, before, after)} THEN {name}::{kind} ELSE {changed}::{kind} END"


def through(name: str, before: str, after: str, kind: str) -> str | None:
    """Return an expression for USING by way of a third type; None where no such type is known.

    PostgreSQL casts a truth value to an integer and to no other number, bits to an integer or a bigint, and money to
    numeric alone. Their texts are no numbers, or another one: B'101' is 5. The arguments are those of ``checked``.
    """
    old, new = _Type.of(before), _Type.of(after)
    if old is None or new is None or before.endswith("[]") or after.endswith("[]"):
        return None
    if old.base == "boolean" and new.base in _NUMBERS:
        return f"{name}::integer::{kind}"
    if old.base in ("money", "bit") and new.base in _NUMBERS:
        middle = "numeric" if old.base == "money" else "bigint"
        value = f"{name}::{middle}"
    elif old.base in _NUMBERS and new.base in ("boolean", "bit"):
        middle, value = "integer" if new.base == "boolean" else "bigint", name
    else:
        return None
    changed = f"concat({name}, ' would change')" + ("::integer" if new.base == "bit" else "")
    kept = f"{name}::{middle}::{after}::{middle} IS NOT DISTINCT FROM {value}"
    return f"CASE WHEN {kept} THEN {name}::{middle}::{kind} ELSE {changed}::{kind} END"


def warning_of_digits(name: str, before: str, after: str) -> str | None:
    """Return what a person has to know where the text of a number is read as a time, or that of bits as a number."""
    old, new = _Type.of(before), _Type.of(after)
    if old is not None and new is not None and old.base == "bit varying" and new.base in _NUMBERS:
        return "WARNING: bits are read as the digits of a decimal number, such as B'101' as 101."
    if old is None or new is None or old.base not in _NUMBERS:
        return None
    if new.base == "interval":
        return (
            f"WARNING: each number is read as seconds. To name another unit, write: USING {name} * interval '1 minute'"
        )
    if new.base in ("date", "time", "timestamp"):
        return "WARNING: the digits of each number are read as those of a date or a time, such as 1130 as 11:30."
    return None


def warning(name: str, before: str, after: str) -> str | None:
    """Return what a person has to know of a conversion; None where no value changes."""
    old, new = _Type.of(before), _Type.of(after)
    if old is None or new is None:
        return None
    lines = []
    if new.base == "jsonb" and old.base in ("json", *_TEXTS):
        lines.append("WARNING: jsonb keeps the last of several equal keys, and neither their order nor white space.")
    if can_change_values(before, after):
        lines.append(
            f"WARNING: this fails on a row that {after} can't hold as it is."
            + ("" if _are_ranges(old, new) else f"\nTo round or cut such values, write: USING {name}::{after}")
        )
    if (old.base, new.base, new.zone) == ("time", "time", True) and not old.zone:
        lines.append("WARNING: each time gets the zone of the session's TimeZone.")
    if {old.base, new.base} <= {"timestamp", "date"} and old.zone != new.zone:
        lines.append(
            "WARNING: the result depends on the TimeZone of the session.\n"
            f"To name one, write: USING {name} AT TIME ZONE 'UTC'"
        )
    if _are_ranges(old, new) and _has_zone(old) != _has_zone(new):
        lines.append("WARNING: the result depends on the TimeZone of the session.")
    if old.base == "character" and new.base in ("text", "character varying"):
        lines.append("WARNING: the blanks that fill a value up to its length are cut off, and with them its own.")
    if old.base in _TEXTS:
        lines += _warnings_of_text(name, new)
    if old.base == "bytea" and new.base in _TEXTS:
        lines.append(
            f"WARNING: the text is in hexadecimal digits. To decode it, write: USING convert_from({name}, 'UTF8')"
        )
    return "\n".join(lines) or None


def _warnings_of_text(name: str, new: _Type) -> Iterator[str]:
    """Yield what a person has to know where a text becomes another type."""
    if new.base in ("timestamp", "time") and new.zone:
        yield "WARNING: a text that names no time zone is read in the TimeZone of the session."
    if new.base == "time" and new.zone:
        yield "WARNING: a date in a text is lost."
    if new.base in ("date", "timestamp") or _RANGES.get(new.base, "").startswith(("date", "timestamp")):
        yield (
            "WARNING: whether 01/02/2026 is in January or in February depends on the DateStyle of the session, and\n"
            "a word such as now or tomorrow becomes the time of this revision."
        )
    if new.base in (*_INTEGERS, "numeric"):
        yield "WARNING: zeros before a number are lost, as those of a postcode."
    if new.base == "money":
        yield "WARNING: what is less than the smallest unit of money is rounded."
    if new.base == "bytea":
        yield (
            f"WARNING: \\ in a text is read as an escape. To take it as it is, write: USING convert_to({name}, 'UTF8')"
        )
    if _RANGES.get(new.base, "integer") not in (*_INTEGERS, "numeric"):
        yield f"WARNING: what {new.base} doesn't have, such as a time or its zone, is cut off the bounds in a text."
    if new.base == "hstore":
        yield "WARNING: hstore keeps one of several equal keys, and not their order."
    if new.base == "tsvector":
        yield (
            "WARNING: the words of a text are taken as they are, without their order and repetitions.\n"
            f"To parse it, write: USING to_tsvector('english', {name})"
        )


def _are_ranges(old: _Type, new: _Type) -> bool:
    return old.base in _RANGES and new.base in _RANGES


def _has_zone(kind: _Type) -> bool:
    return _RANGES[kind.base].endswith(" with time zone")


def _dimensions(kind: str) -> str:
    """Return the brackets of an array type."""
    return kind[len(kind.rstrip("[]")) :]


def _kept(name: str, before: str, after: str) -> str:
    """Return the condition on which a value is the same afterwards."""
    old, new = _Type.of(before), _Type.of(after)
    if old is not None and new is not None and (old.base, new.base) == ("timestamp", "time"):
        return f"{name} IS NULL"  # no cast leads back to a date
    if old is not None and new is not None and (old.base, new.base) in _SIGNS:
        whole = f"bigint{_dimensions(after)}"
        return f"{name}::{after}::{whole} IS NOT DISTINCT FROM {name}::{whole}"
    if old is None or new is None or not _is_read(old, new):
        return f"{name}::{after}::{before} IS NOT DISTINCT FROM {name}"
    array = _dimensions(after)
    # a float's text has all of its digits, its cast to numeric only the certain ones
    shown = f"::text{array}" if new.base in _FLOATS else ""
    whole = f"{_WHOLE[new.base]}{array}"
    kept = f"{name}::{after}{shown}::{whole} IS NOT DISTINCT FROM {name}::{whole}"
    if old.base == "jsonb":
        has_null = f"'null'::jsonb = ANY ({name})" if before.endswith("[]") else f"{name}::text = 'null'"
        kept = f"({has_null}) IS NOT TRUE AND {kept}"
    if new.base == "time" and not new.zone:  # of '2026-01-02 10:00' either of these types reads the time alone
        alone = f"({name}::text ~* {_TIME_ALONE}) IS NOT FALSE"
        if array:
            alone = f"{name}::{after}::interval{array} IS NOT DISTINCT FROM {name}::interval{array}"
        kept = f"{kept} AND {alone}"
    return kept


def _is_read(old: _Type, new: _Type) -> bool:
    """Whether the values are written in a text or in JSON, and the new type reads less than they may say."""
    if old.base == "jsonb":
        return new.base in (*_NUMBERS, "boolean")  # from PostgreSQL 18 on, null becomes NULL
    if old.base not in _TEXTS:
        return False
    if new.base in ("timestamp", "time"):
        return not new.zone or new.precision < _MICROSECONDS
    if new.base == "interval":
        return bool(new.fields) or new.precision < _MICROSECONDS
    return new.base in ("date", "bit", *_FLOATS) or (new.base == "numeric" and new.scale is not None)


def _blanks(old: _Type, new: _Type) -> bool:
    """Whether blanks at the end of a text may be lost."""
    if old.base not in ("text", "character varying", "citext"):
        return False
    shorter = new.first is not None and (old.first is None or new.first < old.first)
    return new.base == "character" or (new.base == "character varying" and shorter)


def _others(old: _Type, new: _Type) -> bool:
    """Whether a host in a network, a fraction of a sum of money, a bit or which number it was may be lost."""
    if new.base == "money":
        return old.base == "numeric"
    if old.base == "money":
        return new.base == "numeric" and new.scale is not None
    return (old.base, new.base) in (("inet", "cidr"), ("integer", "boolean"), *_SIGNS) or (
        old.base in _INTEGERS and new.base == "bit"
    )


def _numbers(old: _Type, new: _Type) -> bool:
    if new.base in _INTEGERS:
        # a number that is too large fails
        return old.base in _FLOATS or (old.base == "numeric" and old.scale != 0)
    if new.base in _FLOATS:
        exact = old.base in _INTEGERS and _INTEGERS[old.base] <= _FLOATS[new.base]
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

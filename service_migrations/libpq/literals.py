"""Parameters as the constants that psycopg2 writes into the text of a statement.

psycopg2 sends no parameters: PostgreSQL reads ``'3' * interval '1 day'``, and infers the type of the constant where it
stands. A text has no type, a list is an ``ARRAY[…]``, and a tuple is the list of an ``IN`` (psycopg2's documentation,
Adaptation of Python values to SQL types). Everything else is written by psycopg in the same way.
"""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap, Loader, RecursiveDumper
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import Range, RangeDumper, RangeInfo
from psycopg.types.string import ByteaLoader, BytesDumper, StrDumperUnknown, TextLoader

__all__ = ["adapt", "constant", "take_registered"]

_OF_PSYCOPG2 = (
    "psycopg2._json.Json",
    "psycopg2._range.Range",
    "psycopg2._range.NumericRange",
    "psycopg2._range.DateRange",
    "psycopg2._range.DateTimeRange",
    "psycopg2._range.DateTimeTZRange",
    "psycopg2.extensions.AsIs",
    "psycopg2.extensions.Binary",
)
"""The classes with which a revision may have wrapped a value; psycopg2 doesn't have to be installed."""

_OF_PYTHON = ("builtins", "datetime", "decimal")
_OF_PSYCOPG2S_C = ("psycopg2.extensions", "psycopg2._psycopg")
"""The modules of the adapters that psycopg2 has for Python's own types."""

_LISTS = (
    *("bool", "bytea", '"char"', "name", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "text"),
    *("bpchar", "varchar", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "inet", "cidr"),
    *("macaddr", "uuid", "json", "jsonb"),
)
"""The types of which psycopg2 reads an array as a list, as do SQLAlchemy's dialect and the ranges."""

_TEXT_ARRAYS = tuple(
    info.array_oid
    for info in psycopg.adapters.types
    if info.array_oid and info.name not in _LISTS and not isinstance(info, RangeInfo | MultirangeInfo)
)


class _List(RecursiveDumper):
    """A list, which has no type of its own where no element shows one."""

    def dump(self, obj: Any) -> bytes:
        return self.quote(obj)

    def quote(self, obj: Any) -> bytes:
        if all(element is None for element in obj):
            return b"'{%s}'" % b",".join(b"NULL" for _ in obj)
        return b"ARRAY[%s]" % self._joined(obj)

    def _joined(self, elements: Iterable[Any]) -> bytes:
        return b", ".join(self._tx.as_literal(element) for element in elements)


class _Tuple(_List):
    """A tuple: the list of an IN."""

    def quote(self, obj: Any) -> bytes:
        return b"(%s)" % self._joined(obj)


class _Bytes(BytesDumper):
    """Bytes in hexadecimal: libpq's own escapes depend on the connection that the process has used last."""

    def quote(self, obj: Any) -> bytes:
        return rb"'\x%s'" % bytes(obj).hex().encode()


class _Range(RangeDumper):
    """A range without a type: PostgreSQL doesn't cast one of a type to another type of ranges."""

    def upgrade(self, obj: Any, format: Any) -> Any:  # noqa: A002 - psycopg's name
        dumper = super().upgrade(obj, format)
        dumper.oid = 0
        return dumper


class _OfPsycopg2(RecursiveDumper):
    """A value that a class of psycopg2 has wrapped, or for which a revision has registered an adapter there."""

    def dump(self, obj: Any) -> bytes:
        return self.quote(obj)

    def quote(self, obj: Any) -> bytes:
        adapted = obj if hasattr(obj, "getquoted") else psycopg2_adapted(obj)
        # without a connection of its own, psycopg2 writes a text in Latin-1, and each backslash twice
        json: Any = sys.modules.get("psycopg2._json")
        if json and isinstance(adapted, json.Json) and type(adapted).getquoted is json.Json.getquoted:
            return self._text(adapted.dumps(adapted.adapted))
        match f"{type(adapted).__module__}.{type(adapted).__name__}":
            case "psycopg2.extensions.QuotedString" if isinstance(adapted.adapted, str):
                return self._text(adapted.adapted)
            case "psycopg2.extensions.Binary":
                return _Bytes(bytes, self._tx).quote(adapted.adapted) + b"::bytea"
            case "psycopg2._psycopg.List":
                return _List(list, self._tx).quote(adapted.adapted)
            case "psycopg2.extras.Inet":
                return self._text(adapted.addr) + b"::inet"
        return bytes(adapted.getquoted())

    def _text(self, text: str) -> bytes:
        return bytes(StrDumperUnknown(str, self._tx).quote(text))


class _Binary(bytes):
    """Bytes that were read; psycopg2 has a memoryview."""

    def tobytes(self) -> bytes:
        """Return the bytes, as a memoryview does."""
        return bytes(self)


class _BinaryLoader(ByteaLoader):
    """A value of bytea."""

    def load(self, data: Any) -> _Binary:
        return _Binary(super().load(bytes(data)))


_OFFSET = re.compile(rb"(?<=\d)(?P<sign>[+-])(?P<hours>\d\d)(?::(?P<minutes>\d\d)(?::(?P<seconds>\d\d))?)?$")
"""What is behind a timestamp in ISO format."""


class _Loader(Loader):
    """A value that psycopg's own loader of its type reads too."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._loader: Any = psycopg.adapters.get_loader(oid, pq.Format.TEXT)(oid, context)  # type: ignore[misc]


class _DateLoader(_Loader):
    """A date, of which psycopg2 reads infinity as the last one that Python has."""

    greatest: Any = date.max
    least: Any = date.min

    def load(self, data: Any) -> Any:
        if bytes(data[-1:]) == b"y":
            return self.least if bytes(data[:1]) == b"-" else self.greatest
        return self._loader.load(data)


class _TimestampLoader(_DateLoader):
    """A timestamp without a time zone."""

    greatest, least = datetime.max, datetime.min  # noqa: DTZ901 - psycopg2's have no time zone either


class _TimestamptzLoader(_DateLoader):
    """A timestamp with a time zone, which has the fixed offset that the server writes.

    In the session's time zone, half a year later would be an hour earlier or later than with psycopg2; and of a zone
    that Python doesn't know, as after ``SET TIME ZONE 5``, psycopg reads UTC.
    """

    greatest, least = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        local = psycopg.adapters.types["timestamp"].oid
        self._local: Any = psycopg.adapters.get_loader(local, pq.Format.TEXT)(local, context)  # type: ignore[misc]

    def load(self, data: Any) -> Any:
        if (offset := _OFFSET.search(bytes(data))) is None:
            return super().load(data)
        hours, minutes, seconds = (int(part or 0) for part in offset.group("hours", "minutes", "seconds"))
        difference = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        zone = timezone(-difference if offset["sign"] == b"-" else difference)
        return self._local.load(bytes(data)[: offset.start()]).replace(tzinfo=zone)


class _TimeLoader(_Loader):
    """A time, of which psycopg2 reads 24:00 as midnight: Python has no such hour."""

    def load(self, data: Any) -> Any:
        text = bytes(data)
        return self._loader.load(b"00" + text[2:] if text.startswith(b"24") else text)


_RANGES = {
    "int4range": "NumericRange",
    "int8range": "NumericRange",
    "numrange": "NumericRange",
    "daterange": "DateRange",
    "tsrange": "DateTimeRange",
    "tstzrange": "DateTimeTZRange",
}
"""The class in which psycopg2 reads a range of each type."""


class _RangeLoader(_Loader):
    """A range: one of psycopg2's, which equals no other, where a revision has imported these."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._name = _RANGES[psycopg.adapters.types[oid].name]

    def load(self, data: Any) -> Any:
        value: Range[Any] = self._loader.load(data)
        if (module := sys.modules.get("psycopg2._range")) is None:
            return value
        if value.isempty:
            return getattr(module, self._name)(empty=True)
        return getattr(module, self._name)(value.lower, value.upper, value.bounds)


def psycopg2_adapted(value: Any) -> Any:
    """Return the adapter that psycopg2 has for a value.

    Raises:
        psycopg.ProgrammingError: it has none, or no revision has imported psycopg2.

    """
    extensions: Any = sys.modules.get("psycopg2.extensions")
    try:
        if extensions:
            return extensions.adapt(value)
    except sys.modules["psycopg2"].ProgrammingError:
        pass
    raise psycopg.ProgrammingError(f"cannot adapt type {type(value).__name__!r}")


def take_registered(*maps: AdaptersMap) -> None:
    """Let psycopg write what a revision has registered with psycopg2 as that does, also of an ``Enum`` or a list."""
    extensions: Any = sys.modules.get("psycopg2.extensions")
    for (kind, _), adapter in extensions.adapters.items() if extensions else ():
        is_own = kind.__module__ not in _OF_PYTHON or getattr(adapter, "__module__", None) not in _OF_PSYCOPG2S_C
        if is_own:
            for adapters in maps:
                adapters.register_dumper(kind, _OfPsycopg2)


def adapt(adapters: AdaptersMap) -> AdaptersMap:
    """Let psycopg write and read values as psycopg2 does, in a map of a connection or of no connection."""
    adapters.register_dumper(str, StrDumperUnknown)
    adapters.register_dumper(list, _List)
    adapters.register_dumper(tuple, _Tuple)
    adapters.register_dumper(Range, _Range)
    for of_bytes in (bytes, bytearray, memoryview):
        adapters.register_dumper(of_bytes, _Bytes)
    for name in _OF_PSYCOPG2:
        adapters.register_dumper(name, _OfPsycopg2)
    adapters.register_dumper(object, _OfPsycopg2)
    adapters.register_loader("date", _DateLoader)
    adapters.register_loader("timestamp", _TimestampLoader)
    adapters.register_loader("timestamptz", _TimestamptzLoader)
    for name in ("time", "timetz"):
        adapters.register_loader(name, _TimeLoader)
    for name in _RANGES:
        adapters.register_loader(name, _RangeLoader)
    for name in ("inet", "cidr", "record"):
        adapters.register_loader(name, TextLoader)
    for oid in _TEXT_ARRAYS:
        adapters.register_loader(oid, TextLoader)
    adapters.register_loader("bytea", _BinaryLoader)
    return adapters


_ADAPTERS = adapt(AdaptersMap(psycopg.adapters))


def constant(value: Any) -> str:
    """Return the constant of SQL that is sent for a value.

    Raises:
        psycopg.Error: no constant can be written for a value of this class.

    """
    take_registered(_ADAPTERS)
    return sql.Literal(value).as_string(_ADAPTERS).lstrip()

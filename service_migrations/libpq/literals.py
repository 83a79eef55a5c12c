"""Parameters as the constants that psycopg2 writes into the text of a statement.

psycopg2 sends no parameters: PostgreSQL reads ``'3' * interval '1 day'``, and infers the type of the constant where it
stands. A text has no type, a list is an ``ARRAY[…]``, and a tuple is the list of an ``IN`` (psycopg2's documentation,
Adaptation of Python values to SQL types). Everything else is written by psycopg in the same way.
"""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.adapt import AdaptersMap, Dumper, RecursiveDumper
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import Range, RangeDumper, RangeInfo
from psycopg.types.string import ByteaLoader, BytesDumper, StrDumperUnknown, TextLoader

__all__ = ["adapt", "constant"]

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


class _OfPsycopg2(Dumper):
    """A value that a class of psycopg2 has wrapped, which knows its constant."""

    def dump(self, obj: Any) -> bytes:
        return self.quote(obj)

    def quote(self, obj: Any) -> bytes:
        adapted = obj.getquoted if hasattr(obj, "getquoted") else psycopg2_adapted(obj).getquoted
        return bytes(adapted())


class _Binary(bytes):
    """Bytes that were read; psycopg2 has a memoryview."""

    def tobytes(self) -> bytes:
        """Return the bytes, as a memoryview does."""
        return bytes(self)


class _BinaryLoader(ByteaLoader):
    """A value of bytea."""

    def load(self, data: Any) -> _Binary:
        return _Binary(super().load(bytes(data)))


def psycopg2_adapted(value: Any) -> Any:
    """Return the adapter that psycopg2 has for a value of a class of its own."""
    from psycopg2.extensions import adapt as adapted  # type: ignore[import-untyped]  # noqa: PLC0415 - it may be absent

    return adapted(value)


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
    return sql.Literal(value).as_string(_ADAPTERS).lstrip()

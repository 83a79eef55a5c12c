"""Values in PostgreSQL's text format, each the value that asyncpg (0.32) encodes in the binary one.

It depends on the type of the parameter: a datetime without a time zone is another instant as a timestamptz. A float is
the number that is written, as the connection's dialect sends it.
"""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

from asyncpg import BitString, Range
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Dialect,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.ranges import AbstractMultiRange, AbstractRange
from sqlalchemy.types import NULLTYPE, TypeEngine

from service_migrations._sqlalchemy import undecorated

__all__ = ["ConstantError", "constant"]


class ConstantError(ValueError):
    """A value that a parameter of a type can't have."""


def constant(value: Any, column_type: TypeEngine[Any], dialect: Dialect) -> str:
    """Return the text of a value, which isn't None, as it is after the type's bind processor.

    Args:
        value: the value.
        column_type: the type of the dialect, without decorators; one that has no codec here leaves the text to the
            class of the value, as PostgreSQL infers the type of such a parameter.
        dialect: asyncpg's.

    Raises:
        ConstantError: asyncpg would refuse the value.

    """
    if isinstance(column_type, ARRAY):
        return _array(value, undecorated(column_type.item_type, dialect), dialect)
    if isinstance(column_type, AbstractMultiRange):
        return f"{{{','.join(_range(each, column_type) for each in _sized(value))}}}"
    if isinstance(column_type, AbstractRange) or isinstance(value, Range):
        return _range(value, column_type)
    codec = _codec_of_type(column_type)
    if codec is None and isinstance(value, _LISTS):
        return _array(value, column_type, dialect)
    try:
        return (codec or _codec_of_class(value))(value)
    except ConstantError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ConstantError(" ".join(str(error).split())) from error


def _codec_of_type(column_type: TypeEngine[Any]) -> Callable[[Any], str] | None:
    match column_type:
        case DateTime():
            return _timestamptz if column_type.timezone else _timestamp
        case Time():
            return _timetz if column_type.timezone else _time
        case Float():
            return _single if 0 < (column_type.precision or 0) <= _SINGLE else _double
    return next((codec for types, codec in _BY_TYPE.items() if isinstance(column_type, types)), None)


def _codec_of_class(value: Any) -> Callable[[Any], str]:
    for classes, codec in _BY_CLASS.items():
        if isinstance(value, classes):
            return codec
    raise ConstantError("no constant can be written for a value of this class")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ConstantError(f"expected str, got {type(value).__name__}")
    if "\0" in value:
        raise ConstantError("a text can't contain NUL")
    return value


def _integer(value: Any) -> str:
    if not hasattr(value, "__int__") and not hasattr(value, "__index__"):
        raise ConstantError(f"{type(value).__name__} can't be interpreted as an integer")
    return str(int(value))


def _boolean(value: Any) -> str:
    if not isinstance(value, bool):
        raise ConstantError(f"a boolean is required (got type {type(value).__name__})")
    return str(value).lower()


def _double(value: Any) -> str:
    if isinstance(value, str | bytes):
        raise ConstantError(f"must be real number, not {type(value).__name__}")
    return repr(float(value))


def _single(value: Any) -> str:
    _double(value)
    return repr(struct.unpack("f", struct.pack("f", float(value)))[0])


def _numeric(value: Any) -> str:
    written = float.__repr__(value) if isinstance(value, float) else value  # the connection's dialect sends the same
    number = written if isinstance(written, Decimal) else Decimal(written)
    return "NaN" if number.is_nan() else str(number)


def _bytes(value: Any) -> str:
    if isinstance(value, str):
        raise ConstantError("a bytes-like object is required, not str")
    return f"\\x{memoryview(value).tobytes().hex()}"


def _bits(value: Any) -> str:
    bits = value if isinstance(value, BitString) else BitString.frombytes(bytes(value))
    return bits.as_string().replace(" ", "")


def _date(value: Any) -> str:
    day = date.fromordinal(value.toordinal())
    return {date.max: "infinity", date.min: "-infinity"}.get(day) or day.isoformat()


def _timestamp(value: Any) -> str:
    moment = _datetime(value)
    if moment.tzinfo is not None:
        raise ConstantError("can't subtract offset-naive and offset-aware datetimes")
    return _INFINITIES.get(moment) or moment.isoformat(" ")


def _timestamptz(value: Any) -> str:
    if value in _INFINITIES:
        return _INFINITIES[value]
    return _datetime(value).astimezone(timezone.utc).isoformat(" ")  # noqa: UP017 - the same in all Pythons


def _datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - as asyncpg takes it
    raise ConstantError(f"expected a datetime.date or datetime.datetime instance, got {type(value).__name__}")


def _time(value: Any) -> str:
    return time(value.hour, value.minute, value.second, value.microsecond).isoformat()


def _timetz(value: Any) -> str:
    if value.tzinfo is None or value.tzinfo.utcoffset(None) is None:
        raise ConstantError("a time with a fixed offset is required")
    return time(value.hour, value.minute, value.second, value.microsecond, _offset(value)).isoformat()


def _offset(value: Any) -> timezone:
    return timezone(value.tzinfo.utcoffset(None))


def _interval(value: Any) -> str:
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


def _uuid(value: Any) -> str:
    UUID(str(value))
    return str(value)


def _array(value: Any, item_type: TypeEngine[Any], dialect: Dialect) -> str:
    return f"{{{','.join(_element(each, item_type, dialect) for each in _sized(value))}}}"


def _sized(value: Any) -> Collection[Any]:
    if isinstance(value, str | bytes | bytearray | memoryview | dict) or not isinstance(value, Collection):
        raise ConstantError(f"a sized iterable container expected (got type {type(value).__name__})")
    return value


def _element(value: Any, item_type: TypeEngine[Any], dialect: Dialect) -> str:
    if value is None:
        return "NULL"
    is_multirange = isinstance(item_type, AbstractMultiRange)
    if isinstance(value, _LISTS) and not (is_multirange and _is_ranges(value)):
        return _array(value, item_type, dialect)
    return _quoted(constant(value, item_type, dialect))


def _is_ranges(value: Iterable[Any]) -> bool:
    return all(isinstance(each, Range) for each in value)


def _range(value: Any, range_type: TypeEngine[Any]) -> str:
    if isinstance(value, list | tuple):
        value = Range(*value, upper_inc=True, empty=not value)
    if not isinstance(value, Range):
        raise ConstantError(f"list, tuple or Range object expected (got type {type(value).__name__})")
    if value.isempty:
        return "empty"
    bound_type = _BOUNDS.get(range_type.__visit_name__.upper().replace("MULTI", ""), NULLTYPE)
    codec = _codec_of_type(bound_type) or _codec_of_class(value.lower if value.upper is None else value.upper)
    lower, upper = ("" if bound is None else _quoted(codec(bound)) for bound in (value.lower, value.upper))
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_SINGLE = 24
"""The number of bits up to which PostgreSQL takes FLOAT for a real."""

_LISTS = (list, set, frozenset)
"""The classes of lists in lists; asyncpg takes a tuple there for a record."""

_INFINITIES = {datetime.max: "infinity", datetime.min: "-infinity"}  # noqa: DTZ901 - asyncpg's have no time zone

_BOUNDS: Mapping[str, TypeEngine[Any]] = {
    "INT4RANGE": Integer(),
    "INT8RANGE": Integer(),
    "NUMRANGE": Numeric(),
    "DATERANGE": Date(),
    "TSRANGE": DateTime(),
    "TSTZRANGE": DateTime(timezone=True),
}
"""The types of the bounds of a range."""

_BY_TYPE: Mapping[Any, Callable[[Any], str]] = {
    (String, JSON): _string,
    Integer: _integer,
    Numeric: _numeric,
    Boolean: _boolean,
    LargeBinary: _bytes,
    Date: _date,
    postgresql.INTERVAL: _interval,
    postgresql.BIT: _bits,
    Uuid: _uuid,
}
"""The codecs of the types that asyncpg encodes in one way."""

_BY_CLASS: Mapping[Any, Callable[[Any], str]] = {
    bool: _boolean,
    int: _integer,
    float: _double,
    Decimal: _numeric,
    (bytes, bytearray, memoryview): _bytes,
    datetime: lambda value: _timestamp(value) if value.tzinfo is None else _timestamptz(value),
    date: _date,
    time: lambda value: _time(value) if value.tzinfo is None else _timetz(value),
    timedelta: _interval,
    BitString: _bits,
    (UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network): str,
    str: _string,
}
"""The codecs of values for a parameter whose type PostgreSQL infers."""

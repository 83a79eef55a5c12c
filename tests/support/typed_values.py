"""Values of every type of SQLAlchemy and of its PostgreSQL dialect, and the statements that a revision stores them by.

The tests copy this file into their monorepo, where revisions import it.
"""

# ruff: noqa: DTZ001, DTZ901 - values without a time zone are among the values
import enum
import ipaddress
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op
from asyncpg import BitString as DriverBitString, Range as DriverRange
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import Range

__all__ = ["CASES", "SETUP", "WAYS", "WITHOUT_VALUES", "store"]

SETUP = ["CREATE EXTENSION hstore", "CREATE EXTENSION citext", "CREATE TYPE mood AS ENUM ('it''s', 'a%:b\\c', 'sad')"]
SETUP += ["CREATE DOMAIN cents AS integer CHECK (VALUE >= 0)"]
_BIT_STRING: Any = getattr(pg, "BitString", str)  # since SQLAlchemy 2.1
_TEXTS = [
    "",
    "it's",
    'say "x"',
    "100%",
    "%(a)s %% :a ::b \\: $1 ?",
    "back\\slash \\n",
    "two\nlines\tand -- so",
    "é€漢",
    "NULL",
]
_FLOATS = [0.1, 0.1 + 0.2, 1e300, 5e-324, -0.0, 123456789.123456789, float("nan"), float("inf"), float("-inf"), -1.5, 3]
_DECIMALS = [Decimal("1.50"), Decimal("-0.00"), Decimal("1E+5"), Decimal("1E-20"), Decimal("NaN"), Decimal("sNaN")]
_DECIMALS += [Decimal("12345678901234567890.123456789"), Decimal(-1)]
_DATES = [date(2024, 2, 29), date(1, 1, 2), date.max, date.min, datetime(2024, 1, 1, 23, 59)]
_MOMENTS = [datetime(2024, 3, 31, 2, 30, 0, 1), datetime.max, datetime.min, datetime(1, 2, 3), date(2024, 1, 1)]
_ZONED = [
    *_MOMENTS,
    datetime(2024, 3, 31, 2, 30, 0, 654321, UTC),
    datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")),
    datetime(2024, 1, 1, tzinfo=timezone(-timedelta(hours=9, minutes=30))),
]
_TIMES = [time(0), time(23, 59, 59, 999999), time(12, 30)]
_TIMES_WITH_ZONE = [time(12, 30, 1, 5, UTC), time(1, tzinfo=timezone(timedelta(hours=5, minutes=53, seconds=28)))]
_TIMES_WITH_ZONE += [time(1, tzinfo=timezone(-timedelta(hours=3, minutes=30)))]
_SPANS = [timedelta(days=1, seconds=5), timedelta(0), timedelta(days=-1, seconds=86395, microseconds=7)]
_SPANS += [
    timedelta(seconds=-5),
    timedelta(microseconds=-1),
    timedelta(days=400, hours=30),
    timedelta(weeks=-3, seconds=1),
]
_JSON: list[Any] = [
    {"it's": 'say "x" \\ % :a\n'},
    [1, 1.5, None, True],
    "text",
    None,
    sa.JSON.NULL,
    sa.null(),
    0,
    {},
    [],
]
_UUID = UUID("12345678-9abc-def0-1234-56789abcdef0")


class _State(enum.Enum):
    NEW = "new one"
    OLD = "it's"


class _Upper(sa.TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, _: sa.Dialect) -> str | None:
        return value and value.upper()


class _InSql(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "text"

    def bind_expression(self, bindvalue: sa.BindParameter[str]) -> sa.ColumnElement[str]:
        return sa.func.reverse(sa.cast(bindvalue, sa.Text))


def _ranges(kind: type, low: Any, high: Any) -> list[Any]:
    return [
        Range(low, high),
        Range(low, high, bounds="(]"),
        Range(None, high),
        Range(low, None),
        Range(None, None),
        Range(empty=True),
        (low, high),
        *([DriverRange(low, high, upper_inc=True)] if kind is pg.NUMRANGE else []),
    ]


def _multiranges(low: Any, middle: Any, high: Any) -> list[Any]:
    return [[], [Range(low, middle)], [Range(None, low), Range(middle, high)], pg.ranges.MultiRange([Range(low, None)])]


_DAYS = (date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1))
_INSTANTS = tuple(datetime(2024, month, 1, 12, 0, 0, 5) for month in (1, 2, 3))
_UTC = tuple(moment.replace(tzinfo=UTC) for moment in _INSTANTS)
_NUMBERS = (Decimal("1.10"), Decimal("2.20"), Decimal("3.30"))

REFUSED: list[tuple[Any, str, list[Any]]] = [
    (sa.Integer(), "integer", ["1", date(2024, 1, 1), [1]]),
    (sa.String(), "text", [7, True, b"a", date(2024, 1, 1), ["a"], {"a": 1}]),
    (sa.Float(), "double precision", ["1.5"]),
    (sa.Numeric(), "numeric", ["one", b"1"]),
    (sa.Boolean(), "boolean", ["yes", 2]),
    (sa.LargeBinary(), "bytea", ["text", 5]),
    (sa.Date(), "date", ["2024-01-01", 5]),
    (sa.DateTime(), "timestamp", [datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01"]),
    (sa.DateTime(timezone=True), "timestamptz", ["2024-01-01", 5]),
    (sa.Time(), "time", ["12:00"]),
    (sa.Time(timezone=True), "timetz", [time(12), time(12, tzinfo=ZoneInfo("Europe/Paris"))]),
    (sa.Interval(), "interval", ["1 day", 5]),
    (sa.Uuid(as_uuid=False), "uuid", ["no uuid"]),
    (sa.Enum("it's", "sad", name="mood"), "mood", [5]),
    (pg.ARRAY(sa.Integer()), "integer[]", [["1"], {"a": 1}]),
    (pg.ARRAY(sa.String()), "text[]", [["a", 1], [["a"], [1]]]),
    (pg.INT4RANGE(), "int4range", [Range("a", "b"), 5, "[1,5)"]),
    (pg.INT4MULTIRANGE(), "int4multirange", [5, "{[1,5)}", [5]]),
    (sa.types.NullType(), "jsonb", [{"a": 1}]),
]
"""The same, with values that the driver refuses."""

CASES: list[tuple[Any, str, list[Any]]] = [
    (sa.Integer(), "bigint", [0, 1, -1, 2147483647, -2147483648, True, 5.9, Decimal(7)]),
    (sa.INTEGER(), "text", []),
    (sa.SmallInteger(), "smallint", [32767, -32768]),
    (sa.SMALLINT(), "integer", [5]),
    (sa.BigInteger(), "bigint", [5, 9223372036854775807, -9223372036854775808]),
    (sa.BIGINT(), "numeric", [5]),
    (pg.OID(), "oid", [5, 4294967295]),
    (sa.Boolean(), "boolean", [True, False, 1, 0]),
    (sa.BOOLEAN(), "boolean", [True]),
    (sa.Float(), "double precision", _FLOATS),
    (sa.Float(), "numeric", [0.1, 0.1 + 0.2, 1e22, Decimal("0.12345678901234567890")]),
    (sa.Float(24), "double precision", [0.1, 1.5, 16777217.0]),
    (sa.FLOAT(53), "double precision", [0.1]),
    (sa.REAL(), "real", [0.1, 3.4e38, 1e-45]),
    (sa.Double(), "double precision", _FLOATS),
    (sa.DOUBLE(), "double precision", [0.1]),
    (sa.DOUBLE_PRECISION(), "double precision", [0.1]),
    (sa.Numeric(), "numeric", [*_DECIMALS, 0.1, 5, "1.25"]),
    (sa.Numeric(10, 2), "numeric", [Decimal("1.005"), Decimal("1.5"), 0.125]),
    (sa.NUMERIC(asdecimal=False), "numeric", [0.1]),
    (sa.DECIMAL(6, 3), "numeric(6, 1)", [Decimal("1.0550")]),
    (sa.String(), "text", _TEXTS),
    (sa.String(5), "varchar(5)", ["12345", "1234     "]),
    (sa.Text(), "text", _TEXTS),
    (sa.TEXT(), "text", ["a"]),
    (sa.Unicode(), "text", ["é"]),
    (sa.UnicodeText(), "text", ["é"]),
    (sa.VARCHAR(), "text", ["a "]),
    (sa.CHAR(4), "char(4)", ["a", "a "]),
    (sa.CHAR(), "text", ["ab"]),
    (pg.CITEXT(), "citext", ["It's"]),
    (sa.LargeBinary(), "bytea", [b"", b"\x00\xff'\\", bytearray(b"a"), memoryview(b"bc")]),
    (pg.BYTEA(), "bytea", [b"\\x00"]),
    (sa.PickleType(), "bytea", [None]),
    (sa.Date(), "date", _DATES),
    (sa.DATE(), "timestamp", [date(2024, 1, 1)]),
    (sa.DateTime(), "timestamp", _MOMENTS),
    (sa.DateTime(timezone=True), "timestamptz", _ZONED),
    (sa.DateTime(timezone=True), "timestamp", _ZONED),
    (sa.TIMESTAMP(), "timestamp", _MOMENTS),
    (pg.TIMESTAMP(timezone=True, precision=0), "timestamptz", _ZONED[5:]),
    (sa.Time(), "time", [*_TIMES, *_TIMES_WITH_ZONE]),
    (sa.Time(timezone=True), "timetz", _TIMES_WITH_ZONE),
    (sa.TIME(), "time", _TIMES),
    (pg.TIME(timezone=True, precision=3), "timetz", _TIMES_WITH_ZONE),
    (sa.Interval(), "interval", _SPANS),
    (sa.Interval(native=False), "timestamp", _SPANS),
    (pg.INTERVAL(), "interval", _SPANS),
    (pg.INTERVAL(fields="DAY TO SECOND", precision=3), "interval", _SPANS),
    (sa.JSON(), "json", _JSON),
    (sa.JSON(none_as_null=True), "json", _JSON),
    (pg.JSON(), "json", _JSON),
    (pg.JSONB(), "jsonb", _JSON),
    (pg.JSONPATH(), "jsonpath", ["$.a[*] ? (@ > 1)"]),
    (sa.Enum("it's", "a%:b\\c", "sad", name="mood"), "mood", ["it's", "a%:b\\c", None]),
    (sa.Enum(_State, native_enum=False), "text", [_State.NEW, _State.OLD]),
    (pg.ENUM("it's", "a%:b\\c", "sad", name="mood", create_type=False), "mood", ["sad"]),
    (pg.DOMAIN("cents", sa.Integer()), "cents", [5]),
    (sa.Uuid(), "uuid", [_UUID]),
    (sa.Uuid(as_uuid=False), "uuid", [str(_UUID)]),
    (sa.Uuid(native_uuid=False), "text", [_UUID]),
    (sa.UUID(), "uuid", [_UUID]),
    (pg.BIT(4), "bit(4)", [_BIT_STRING("0101"), "1111", DriverBitString("0001")]),
    (pg.BIT(varying=True), "bit varying", [_BIT_STRING("01"), _BIT_STRING("")]),
    (
        pg.INET(),
        "inet",
        ["10.0.0.1", "10.0.0.1/8", "::1", ipaddress.ip_address("10.1.1.1"), ipaddress.ip_interface("1.1.1.1/9")],
    ),
    (pg.CIDR(), "cidr", ["10.0.0.0/8", ipaddress.ip_network("fe80::/10")]),
    (pg.MACADDR(), "macaddr", ["08:00:2b:01:02:03"]),
    (pg.MACADDR8(), "macaddr8", ["08:00:2b:01:02:03:04:05"]),
    (pg.MONEY(), "money", ["12.34", "-1,000.00"]),
    (pg.TSVECTOR(), "tsvector", ["it''s:1A 'a b':2", "fat rat"]),
    (pg.TSQUERY(), "tsquery", ["fat & (rat | 'it''s')"]),
    (pg.REGCLASS(), "regclass", ["pg_class"]),
    (pg.REGCONFIG(), "regconfig", ["english"]),
    (pg.HSTORE(), "hstore", [{"it's": 'say "x" \\', "b": None}, {}]),
    (pg.ARRAY(sa.Integer()), "integer[]", [[1, None, -3], [], [[1, 2], [3, 4]], None, (1, 2), {5}]),
    (sa.ARRAY(sa.Text()), "text[]", [_TEXTS, [None, "NULL", "null", "{}", ",", " a "], [["a"], ["b"]]]),
    (pg.ARRAY(sa.Float()), "float8[]", [_FLOATS]),
    (pg.ARRAY(sa.Numeric()), "numeric[]", [[Decimal("NaN"), Decimal("1.50")]]),
    (pg.ARRAY(sa.LargeBinary()), "bytea[]", [[b"\x00\\'\"", b""]]),
    (pg.ARRAY(sa.Boolean()), "boolean[]", [[True, False, None]]),
    (pg.ARRAY(sa.DateTime(timezone=True)), "timestamptz[]", [_ZONED]),
    (pg.ARRAY(sa.Interval()), "interval[]", [_SPANS]),
    (pg.ARRAY(pg.JSONB()), "jsonb[]", [[{"a": 'it\'s "x"'}, [1]]]),
    (pg.ARRAY(sa.Uuid()), "uuid[]", [[_UUID]]),
    (pg.ARRAY(_Upper()), "text[]", [["a", None]]),
    (pg.ARRAY(sa.Enum("it's", "a%:b\\c", "sad", name="mood")), "mood[]", [["it's", "a%:b\\c"]]),
    (pg.ARRAY(pg.INT4RANGE()), "int4range[]", [[Range(1, 5), Range(empty=True), Range(None, 3)]]),
    (pg.INT4RANGE(), "int4range", _ranges(pg.INT4RANGE, 1, 5)),
    (pg.INT8RANGE(), "int8range", _ranges(pg.INT8RANGE, 1, 2**40)),
    (pg.NUMRANGE(), "numrange", _ranges(pg.NUMRANGE, *_NUMBERS[:2])),
    (pg.DATERANGE(), "daterange", _ranges(pg.DATERANGE, *_DAYS[:2])),
    (pg.TSRANGE(), "tsrange", _ranges(pg.TSRANGE, *_INSTANTS[:2])),
    (pg.TSTZRANGE(), "tstzrange", [*_ranges(pg.TSTZRANGE, *_UTC[:2]), Range(*_INSTANTS[:2])]),
    (pg.INT4MULTIRANGE(), "int4multirange", _multiranges(1, 5, 9)),
    (pg.INT8MULTIRANGE(), "int8multirange", _multiranges(1, 5, 2**40)),
    (pg.NUMMULTIRANGE(), "nummultirange", _multiranges(*_NUMBERS)),
    (pg.DATEMULTIRANGE(), "datemultirange", _multiranges(*_DAYS)),
    (pg.TSMULTIRANGE(), "tsmultirange", _multiranges(*_INSTANTS)),
    (pg.TSTZMULTIRANGE(), "tstzmultirange", _multiranges(*_UTC)),
    (_Upper(), "text", ["it's", None]),
    (_InSql(), "text", ["it's", None]),
    (sa.types.NullType(), "integer[]", [[1, 2]]),
    (sa.types.NullType(), "text[]", [["it's", None]]),
    (sa.types.NullType(), "date", [date(2024, 1, 1)]),
    *REFUSED,
]
"""A type of a parameter, the type of its column in the database, and values."""

WITHOUT_VALUES = {
    "no type of PostgreSQL's": "BINARY BLOB CLOB DATETIME NCHAR NVARCHAR VARBINARY",
    "the base of others": "AbstractMultiRange AbstractRange AbstractSingleRange NamedType TypeDecorator TypeEngine "
    "TupleType UserDefinedType Variant MatchType",
    "another name": "INT DECIMAL _Binary",
}
"""Types that have no values of their own."""


def _bulk(table: sa.TableClause, _: Any, number: int, value: Any) -> None:
    op.bulk_insert(table, [{"n": number, "way": "bulk", "v": value}])


def _one_by_one(table: sa.TableClause, _: Any, number: int, value: Any) -> None:
    op.bulk_insert(table, [{"n": number, "way": "one_by_one", "v": value}], multiinsert=False)


def _insert(table: sa.TableClause, _: Any, number: int, value: Any) -> None:
    op.execute(table.insert().values(n=number, way="insert", v=value))


def _update(table: sa.TableClause, _: Any, number: int, value: Any) -> None:
    op.execute(table.update().where(table.c.n == number, table.c.way == "update").values(v=value))


def _text(table: sa.TableClause, type_: Any, number: int, value: Any) -> None:
    clause = sa.text(f"INSERT INTO {table.name} (n, way, v) VALUES (:n, 'text', :v)")  # noqa: S608 - of this file
    op.execute(clause.bindparams(sa.bindparam("v", value, type_=type_), n=number))


def _executed(table: sa.TableClause, _: Any, number: int, value: Any) -> None:
    op.get_bind().execute(table.insert(), {"n": number, "way": "executed", "v": value})


def _executed_many(table: sa.TableClause, _: Any, number: int, value: Any) -> None:
    row = {"n": number, "way": "executed_many", "v": value}
    op.get_bind().execute(table.insert(), [row, {**row, "n": number + 1000}])


WAYS: tuple[Callable[[sa.TableClause, Any, int, Any], None], ...] = (
    _bulk,
    _one_by_one,
    _insert,
    _update,
    _text,
    _executed,
    _executed_many,
)


def store() -> None:
    """Store all values in every way, and what is refused before a server sees it in the table ``refused``."""
    for statement in SETUP:
        op.execute(sa.text(statement.replace(":", "\\:")))
    op.execute("CREATE TABLE refused (i integer, way text, n integer, why text)")
    for index, (type_, column_type, values) in enumerate(CASES):
        name = f"t{index}"
        op.execute(f"CREATE TABLE {name} (n integer, way text, v {column_type})")
        table = sa.table(name, sa.column("n", sa.Integer), sa.column("way", sa.String), sa.column("v", type_))
        nulls = [] if isinstance(type_, pg.JSONPATH) else [None]  # a path of JSON is a list, which is empty here
        for number, value in enumerate([*values, *nulls]):
            for way in WAYS if number < 2 or value is None else (_bulk, _text):
                if way is _update:
                    op.execute(table.insert().values(n=number, way="update"))
                _try(way, index, table, type_, number, value)


def _try(way: Callable[..., None], index: int, table: sa.TableClause, type_: Any, number: int, value: Any) -> None:
    savepoint = nullcontext() if op.get_context().as_sql else op.get_bind().begin_nested()
    try:
        with savepoint:
            way(table, type_, number, value)
    except sa.exc.SQLAlchemyError as error:
        refused = sa.table(
            "refused", *(sa.column(name, sa.String) for name in ("way", "why")), sa.column("i"), sa.column("n")
        )
        why = f"{type_!r} {value!r}: {error}"
        op.execute(refused.insert().values(i=index, way=way.__name__, n=number, why=why))

"""A change of a type changes no value in silence: the revision fails on the row that would change, both ways."""

from collections.abc import Callable

import asyncpg
import pytest

import service_migrations
from service_migrations.autogenerate.changes.types.conversions import can_change_values
from service_migrations.errors import MigrationError
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *

__all__ = ["metadata", "things"]
metadata = MetaData()
things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("value", {kind}))
"""
LOSSY = {
    "scale": ("Numeric(12, 4)", "Numeric(12, 2)", "1.2345", "1.2300"),
    "no scale": ("Numeric", "Numeric(12, 2)", "1.005", "1.25"),
    "float to integer": ("Float(53)", "Integer", "2.7", "2"),
    "numeric to bigint": ("Numeric", "BigInteger", "12345.678", "12345"),
    "double to real": ("Float(53)", "REAL", "0.123456789012", "0.5"),
    "double to numeric": ("Float(53)", "Numeric(30, 20)", "0.12345678901234568", "0.5"),
    "bigint to double": ("BigInteger", "Float(53)", "9007199254740993", "9007199254740992"),
    "integer to real": ("Integer", "REAL", "16777217", "16777216"),
    "timestamp to date": ("TIMESTAMP", "Date", "'2026-01-02 23:30'", "'2026-01-02'"),
    "timestamptz to date": ("DateTime(timezone=True)", "Date", "'2026-01-02 23:30+00'", "'2026-01-02'"),
    "precision of a timestamp": ("TIMESTAMP", "TIMESTAMP(precision=0)", "'2026-01-02 23:30:00.65'", "'2026-01-02'"),
    "precision of a time": ("TIME(precision=6)", "TIME(precision=3)", "'10:00:00.1234'", "'10:00:00.123'"),
    "fields of an interval": ("Interval", "INTERVAL(fields='DAY')", "'1 day 05:06:07'", "'3 days'"),
    "text to a scale": ("Text", "Numeric(12, 2)", "'1.2345'", "'1.50'"),
    "text to date": ("Text", "Date", "'2026-01-02 23:30'", "'2026-01-02'"),
    "text to a precision of a timestamp": (
        "Text",
        "TIMESTAMP(precision=0)",
        "'2026-01-02 23:30:00.65'",
        "'2026-01-02 00:00:00'",
    ),
    "text with a zone to timestamp": ("String(40)", "TIMESTAMP", "'2026-01-02 23:30+05'", "'2026-01-02 23:30:00'"),
    "text with a zone to time": ("Text", "TIME", "'10:00+05'", "'10:00:00'"),
    "text to fields of an interval": ("Text", "INTERVAL(fields='DAY')", "'1 day 05:06:07'", "'3 days'"),
    "json to a scale": ("JSON", "Numeric(6, 1)", "'1.25'", "'2.0'"),
    "json to real": ("JSON", "REAL", "'0.123456789012'", "'0.5'"),
    "json to date": ("JSONB", "Date", """'"2026-01-02 23:30"'""", "NULL"),
    "oid to integer": ("OID", "Integer", "4294967295", "7"),
    "integer to oid": ("Integer", "OID", "-1", "7"),
    "blanks at the end of a text": ("Text", "CHAR(9)", "'ab '", "'ab'"),
    "blanks at the end of a longer text": ("String(8)", "String(3)", "'abc '", "'abc'"),
    "blanks at the end of any text": ("Text", "String(3)", "'abc  '", "'abc'"),
    "a text that is too long": ("String(8)", "CHAR(3)", "'abcd'", "'ab'"),
    "an array of texts": ("ARRAY(Text)", "ARRAY(String(3))", """'{"abc ",d}'""", "'{abc,NULL}'"),
    "text to real": ("Text", "REAL", "'0.123456789012'", "'0.1234567'"),
    "text to double": ("Text", "Float(53)", "'0.12345678901234568999'", "'0.1'"),
    "text to bits": ("Text", "BIT(3)", "'10111'", "'101'"),
    "text to an array": ("Text", "ARRAY(Numeric(6, 1))", "'{1.25}'", "'{1.5,NULL}'"),
    "jsonb to integer": ("JSONB", "Integer", "'1.5'", "'2'"),
    "a null of jsonb to integer": ("JSONB", "Integer", "'null'", "NULL"),
    "a null of jsonb to boolean": ("JSONB", "Boolean", "'null'", "'true'"),
    "a null of jsonb to numeric": ("JSONB", "Numeric", "'null'", "'1.5'"),
    "a null in an array of jsonb": ("ARRAY(JSONB)", "ARRAY(Integer)", "ARRAY['1', 'null']::jsonb[]", "'{1,NULL}'"),
    "jsonb to a scale": ("JSONB", "Numeric(6, 1)", "'1.25'", "'2.0'"),
    "jsonb to real": ("JSONB", "REAL", "'0.123456789012'", "'0.5'"),
    "integer to bits": ("Integer", "BIT(3)", "77", "5"),
    "money to a scale": ("MONEY", "Numeric(8, 1)", "'12.34'", "'12.30'"),
    "integer to boolean": ("Integer", "Boolean", "2", "1"),
    "numeric to money": ("Numeric(8, 4)", "MONEY", "12.3456", "12.34"),
    "a host in a network": ("INET", "CIDR", "'10.0.0.1/8'", "'10.0.0.0/8'"),
    "times in a range": (
        "TSRANGE",
        "DATERANGE",
        "'[2026-01-02 23:30, 2026-01-04)'",
        "'[2026-01-02, 2026-01-04)'",
    ),
    "times in a range with a zone": (
        "TSTZRANGE",
        "DATERANGE",
        "'[2026-01-02 23:30+00, 2026-01-04)'",
        "'[2026-01-02, 2026-01-04)'",
    ),
    "times in ranges": (
        "TSMULTIRANGE",
        "DATEMULTIRANGE",
        "'{[2026-01-02, 2026-01-04 00:01)}'",
        "'{[2026-01-02, 2026-01-04)}'",
    ),
    "an array of ranges": (
        "ARRAY(TSRANGE)",
        "ARRAY(DATERANGE)",
        """'{"[2026-01-02, 2026-01-04 00:01)"}'""",
        """'{"[2026-01-02, 2026-01-04)"}'""",
    ),
    "numbers in a range": ("NUMRANGE", "INT8RANGE", "'[1, 3]'", "'[1, 3)'"),
    "a date in a text": ("Text", "TIME", "'2026-01-02 10:00'", "'10:00:00'"),
    "a date in a text of JSON": ("JSONB", "TIME(precision=0)", """'"2026-01-02 10:00"'""", "NULL"),
    "bigint to boolean": ("BigInteger", "Boolean", "2", "1"),
    "numeric to boolean": ("Numeric(4, 1)", "Boolean", "0.5", "1"),
    "money to integer": ("MONEY", "Integer", "12.50", "12"),
    "a scale in an array of JSON": ("JSONB", "ARRAY(Numeric(6, 1))", "'[1.25]'", "'[1.5, null]'"),
    "brackets in an array of JSON": ("JSONB", "ARRAY(Text)", """'["[a]"]'""", """'["a", "{", "\\"", "", null]'"""),
    "an escape in an array of JSON": ("JSON", "ARRAY(Text)", r"""'["a\nb"]'""", "NULL"),
    "a text in an array of JSON that is too long": ("JSONB", "ARRAY(String(2))", """'["abc"]'""", """'["ab"]'"""),
    "an object of JSON": ("JSONB", "ARRAY(Text)", """'{"a": "b"}'""", "'[]'"),
    "array": ("ARRAY(Numeric(6, 3))", "ARRAY(Numeric(6, 1))", "'{1.234}'", "'{1.5,NULL}'"),
}


@pytest.mark.parametrize(("before", "after", "changed", "kept"), LOSSY.values(), ids=LOSSY)
def test_a_value_that_the_new_type_cannot_hold_stops_the_revision(
    monorepo: Monorepo, database: Callable[..., Dsn], before: str, after: str, changed: str, kept: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=before), dsn)
    first_upgrade(monorepo, service)
    query(dsn, f"INSERT INTO things VALUES (1, {kept}), (2, NULL), (3, {changed})")  # noqa: S608
    rows = query(dsn, "SELECT * FROM things ORDER BY id")
    remodel(monorepo, service, MODELS.format(kind=after))
    code = written(monorepo, service)
    assert "WARNING: this fails on a row that" in code
    with pytest.raises(MigrationError, match=r'would change|too long for type character varying\(3\)|: "null"'):
        wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT * FROM things ORDER BY id") == rows
    query(dsn, "DELETE FROM things WHERE id = 3")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT * FROM things ORDER BY id") == rows[:2]


@pytest.mark.parametrize("before", ["TIMESTAMP", "DateTime(timezone=True)"])
def test_a_date_is_not_lost_where_no_cast_leads_back(
    monorepo: Monorepo, database: Callable[..., Dsn], before: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=before), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "INSERT INTO things VALUES (1, NULL), (2, '2026-01-02 23:30')")
    remodel(monorepo, service, MODELS.format(kind="TIME"))
    assert "WARNING: this fails on a row that" in written(monorepo, service)
    with pytest.raises(MigrationError, match=r"2026-01-02 23:30:00.* would change"):
        wait(service_migrations.upgrade(service))
    query(dsn, "DELETE FROM things WHERE id = 2")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


TIMES_OF_DAY = ["10:00", "10:00 PM", " 04:05:06.789 ", "040506", "24:00", "t10:00"]


def test_a_text_of_a_time_becomes_one(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind="Text"), dsn)
    first_upgrade(monorepo, service)
    for number, value in enumerate([*TIMES_OF_DAY, None]):
        query(dsn, "INSERT INTO things VALUES ($1, $2)", number, value)
    expected = query(dsn, "SELECT value::time::text FROM things ORDER BY id")
    remodel(monorepo, service, MODELS.format(kind="TIME"))
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT value::text FROM things ORDER BY id") == expected


def test_a_date_in_an_array_of_texts_is_not_lost(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind="ARRAY(Text)"), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "INSERT INTO things VALUES (1, '{10:00,NULL}'), (2, '{2026-01-02 10:00}')")
    remodel(monorepo, service, MODELS.format(kind="ARRAY(TIME)"))
    written(monorepo, service)
    with pytest.raises(MigrationError, match="2026-01-02 10:00"):
        wait(service_migrations.upgrade(service))
    query(dsn, "DELETE FROM things WHERE id = 2")
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT value::text FROM things")[0][0] == "{10:00:00,NULL}"


ARRAYS = {
    "ARRAY(Integer)": "'{{1,NULL},{2,3}}'",
    "ARRAY(Boolean)": "'{t,NULL,f}'",
    "ARRAY(Text)": """ARRAY['a', '"', '1,2', 'null', NULL, ' {x} ', 'it''s']""",
    "ARRAY(Uuid)": "ARRAY[gen_random_uuid()]",
    "ARRAY(DateTime(timezone=True))": "ARRAY[now()]",
    "ARRAY(Float(53))": "'{0.1,1e300}'",
}


@pytest.mark.parametrize("json", ["JSON", "JSONB"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_becomes_json_and_one_again(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str, json: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=kind), dsn)
    first_upgrade(monorepo, service)
    query(dsn, f"INSERT INTO things VALUES (1, {ARRAYS[kind]}), (2, '{{}}'), (3, NULL)")  # noqa: S608
    rows = query(dsn, "SELECT * FROM things ORDER BY id")
    remodel(monorepo, service, MODELS.format(kind=json))
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT * FROM things ORDER BY id") == rows


@pytest.mark.parametrize("kind", ["SmallInteger", "Integer", "BigInteger", "Numeric(3, 1)", "REAL", "Float(53)"])
def test_a_truth_value_becomes_a_number_and_one_again(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind="Boolean"), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "INSERT INTO things VALUES (1, true), (2, false), (3, NULL)")
    rows = query(dsn, "SELECT * FROM things ORDER BY id")
    remodel(monorepo, service, MODELS.format(kind=kind))
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert [row[0] for row in query(dsn, "SELECT value FROM things ORDER BY id")] == [1, 0, None]
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT * FROM things ORDER BY id") == rows


@pytest.mark.parametrize("kind", ["SmallInteger", "Integer", "BigInteger", "Numeric(3)", "REAL"])
def test_bits_become_the_number_that_they_are_and_bits_again(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind="BIT(8)"), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "INSERT INTO things VALUES (1, B'00000101'), (2, B'11111111'), (3, NULL)")
    rows = query(dsn, "SELECT * FROM things ORDER BY id")
    remodel(monorepo, service, MODELS.format(kind=kind))
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert [row[0] for row in query(dsn, "SELECT value FROM things ORDER BY id")] == [5, 255, None]
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT * FROM things ORDER BY id") == rows


DOMAINS = {
    "from a domain": ("DOMAIN('outer', Numeric(8, 3))", "Numeric(8, 1)"),
    "to a domain": ("Numeric(8, 3)", "DOMAIN('tenths', Numeric(8, 1))"),
    "between domains": ("DOMAIN('outer', Numeric(8, 3))", "DOMAIN('tenths', Numeric(8, 1))"),
}


@pytest.mark.parametrize(("before", "after"), DOMAINS.values(), ids=DOMAINS)
def test_under_a_domain_is_the_type_that_counts(
    monorepo: Monorepo, database: Callable[..., Dsn], before: str, after: str
) -> None:
    dsn = database()
    query(dsn, "CREATE DOMAIN thousandths AS numeric(8,3)")
    query(dsn, 'CREATE DOMAIN "outer" AS thousandths CHECK (VALUE > 0)')
    query(dsn, "CREATE DOMAIN tenths AS numeric(8,1)")
    service = monorepo.service("shop", MODELS.format(kind=before), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "INSERT INTO things VALUES (1, 1.5), (2, NULL), (3, 1.234)")
    remodel(monorepo, service, MODELS.format(kind=after))
    assert "WARNING: this fails on a row that numeric(8,1)" in written(monorepo, service)
    with pytest.raises(MigrationError, match="would change"):
        wait(service_migrations.upgrade(service))
    query(dsn, "DELETE FROM things WHERE id = 3")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


WIDER = [
    ("Integer", "BigInteger"),
    ("SmallInteger", "Numeric(12, 2)"),
    ("Numeric(12, 2)", "Numeric(14, 4)"),
    ("REAL", "Float(53)"),
    ("Date", "TIMESTAMP"),
    ("TIMESTAMP(precision=0)", "TIMESTAMP"),
    ("SmallInteger", "REAL"),
    ("Integer", "Float(53)"),
    ("Text", "Interval"),
    ("CIDR", "INET"),
    ("String(5)", "String(9)"),
    ("String(5)", "Text"),
    ("CHAR(5)", "CHAR(6)"),
    ("MONEY", "Numeric"),
    ("Integer", "MONEY"),
    ("INT4RANGE", "INT8RANGE"),
    ("INT4RANGE", "NUMRANGE"),
    ("DATERANGE", "TSRANGE"),
]


@pytest.mark.parametrize(("before", "after"), WIDER)
def test_a_wider_type_needs_no_check(monorepo: Monorepo, database: Callable[..., Dsn], before: str, after: str) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=before), dsn)
    first_upgrade(monorepo, service)
    remodel(monorepo, service, MODELS.format(kind=after))
    upgrade = written(monorepo, service).partition("def downgrade")[0]
    assert "CASE" not in upgrade
    assert "WARNING" not in upgrade
    wait(service_migrations.upgrade(service))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("TIMESTAMP", "DateTime(timezone=True)", "depends on the TimeZone of the session"),
        ("DateTime(timezone=True)", "TIMESTAMP", "depends on the TimeZone of the session"),
        ("JSON", "JSONB", "keeps the last of several equal keys"),
        ("Text", "JSONB", "keeps the last of several equal keys"),
        ("Text", "DateTime(timezone=True)", "is read in the TimeZone of the session"),
        ("Text", "TIME(timezone=True)", "is read in the TimeZone of the session"),
        ("TIME", "TIME(timezone=True)", "gets the zone of the session's TimeZone"),
        ("ARRAY(TIME)", "ARRAY(TIME(timezone=True))", "gets the zone of the session's TimeZone"),
        ("Text", "MONEY", "smallest unit of money is rounded"),
        ("Float(53)", "MONEY", "smallest unit of money is rounded"),
        ("Text", "Integer", "zeros before a number"),
        ("JSON", "Integer", "zeros before a number"),
        ("String(5)", "Numeric", "zeros before a number"),
        ("CHAR(5)", "String(5)", "with them its own"),
        ("CHAR(5)", "Text", "with them its own"),
        ("ARRAY(CHAR(5))", "ARRAY(Text)", "with them its own"),
        ("Text", "LargeBinary", "in a text is read as an escape"),
        ("LargeBinary", "Text", "is in hexadecimal digits"),
        ("TSTZRANGE", "TSRANGE", "depends on the TimeZone of the session"),
        ("DATERANGE", "TSTZRANGE", "depends on the TimeZone of the session"),
        ("Text", "DATERANGE", "is cut off the bounds in a text"),
        ("Text", "TSVECTOR", "without their order and repetitions"),
        ("Text", "Date", "depends on the DateStyle of the session"),
        ("JSON", "TIMESTAMP", "depends on the DateStyle of the session"),
        ("Text", "TSTZRANGE", "depends on the DateStyle of the session"),
        ("Text", "TIME(timezone=True)", "a date in a text is lost"),
    ],
)
def test_what_cannot_be_seen_in_a_value_is_said_in_the_file(
    monorepo: Monorepo, database: Callable[..., Dsn], before: str, after: str, says: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=before), dsn)
    first_upgrade(monorepo, service)
    remodel(monorepo, service, MODELS.format(kind=after))
    assert says in written(monorepo, service).partition("def downgrade")[0]
    wait(service_migrations.upgrade(service))


TYPES = (
    (
        "smallint,integer,bigint,real,double precision,numeric,numeric(4,0),numeric(6,2),timestamp without time zone,"
        "timestamp(0) without time zone,date,time without time zone,interval,interval(0),money,inet,cidr,bit(3),"
        "macaddr,macaddr8,boolean,timestamp with time zone,time with time zone"
    )
    .replace(",0)", ";0)")
    .replace(",2)", ";2)")
    .split(",")
)
VALUES = ("0", "1", "1.5", "1.005", "16777217", "9007199254740993", "0.1234567890123456789", "-3.75", "1234.5678")
TIMES = ("2026-01-02", "2026-01-02 03:04:05.678901", "03:04:05.678901", "1 day 02:03:04.5")
OTHERS = ("10.0.0.1/8", "10.0.0.0/8", "08:00:2b:01:02:03", "08:00:2b:01:02:03:04:05", "10111")


async def _is_said_by(connection: asyncpg.Connection, converted: str, value: str) -> bool:
    """Whether the text of a converted value says all that the text of the value did."""
    texts = await connection.fetchrow(f"SELECT {converted}::text, {value}::text")
    assert texts is not None
    return bool(texts[0] == texts[1])


def test_whatever_changes_a_value_without_an_error_is_known(database: Callable[..., Dsn]) -> None:
    """The oracle is the server: every cast between every two of these types, with values of both kinds."""
    dsn = database()

    async def try_all() -> list[str]:
        unknown = []
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            for before in (kind.replace(";", ",") for kind in TYPES):
                for after in (kind.replace(";", ",") for kind in TYPES):
                    for value in (*VALUES, *TIMES, *OTHERS):
                        cast = f"'{value}'::{before}"
                        try:
                            await connection.fetchval(f"SELECT {cast}::{after}")
                        except asyncpg.PostgresError:
                            continue
                        try:
                            same = await connection.fetchval(f"SELECT {cast}::{after}::{before} = {cast}")
                        except asyncpg.PostgresError:  # there is no way back
                            same = after == "money" or await _is_said_by(connection, f"{cast}::{after}", cast)
                        if not same and not can_change_values(before, after):
                            unknown.append(f"{before} -> {after}: {value}")
        finally:
            await connection.close()
        return unknown

    assert wait(try_all()) == []

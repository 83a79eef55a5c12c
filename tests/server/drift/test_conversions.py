"""The SQL of drift for a column of another type: it runs and keeps each value, and its note has the rest."""

import pytest
from asyncpg import PostgresError

from service_migrations.drift.repair import conversions
from service_migrations.postgres import Server
from tests.support.comparison import catalog, differences_from
from tests.support.database import make_database, query, run_script
from tests.support.shop import split

ENUM = "CREATE TYPE e AS ENUM ('a')"
ZONE = "TimeZone of the session"

CONVERTED: dict[str, tuple[str, str, str, str, str]] = {
    "json that became a number": ("numeric", "json", "1.50", "1.50", "no cast from numeric to json"),
    "json that became a date": ("date", "json", "2020-01-01", '"2020-01-01"', "no cast from date to json"),
    "json that became an array": ("integer[]", "json", "{1,2}", "[1,2]", "no cast"),
    "an array that became json": ("json", "integer[]", "[1, null]", "{1,NULL}", "no cast from json to integer[]"),
    "an array of texts that became jsonb": ("jsonb", "text[]", '["a,b"]', '{"a,b"}', "no cast"),
    "json that became a text": ("text", "json", '{"a":  1}', '{"a":  1}', ""),
    "jsonb that became a boolean": ("boolean", "jsonb", "true", "true", "no cast"),
    "jsonb that became an enum": ("e", "jsonb", "a", '"a"', ""),
    "a number that became json": ("json", "numeric", "5.5", "5.5", "no cast from json to numeric"),
    "an integer that became json": ("json", "integer", "5", "5", "no cast"),
    "a date that became json": ("json", "date", '"2020-01-01"', "2020-01-01", "no cast from json to date"),
    "a date that became jsonb": ("jsonb", "date", '"2020-01-01"', "2020-01-01", "no cast"),
    "an enum that became json": ("json", "e", '"a"', "a", ""),
    "a number that became a boolean": ("boolean", "numeric", "true", "1", "no cast"),
    "a boolean that became a number": ("numeric", "boolean", "1", "true", "no cast"),
    "a number with a point that became a boolean": ("numeric(3,1)", "boolean", "1.0", "true", "no cast"),
    "a smallint that became bits": ("smallint", "bit(8)", "5", "00000101", "no cast"),
    "bits that became a smallint": ("bit(8)", "smallint", "00000101", "5", "no cast"),
    "money that became an integer": ("money", "integer", "5", "5", "no cast"),
    "a time with a zone": ("time", "timetz", "10:00", "10:00:00+00", "gets the zone of the session's TimeZone"),
    "a timestamp with a zone": ("timestamp", "timestamptz", "2020-01-01", "2020-01-01 00:00:00+00", ZONE),
    "a timestamp without a zone": ("timestamptz", "timestamp", "2020-01-01Z", "2020-01-01 00:00:00", ZONE),
    "a date that became a timestamp": ("timestamptz", "date", "2020-01-01Z", "2020-01-01", ZONE),
    "a range of larger numbers": ("int4range", "int8range", "[1,5)", "[1,5)", ""),
    "a range without a zone": ("tstzrange", "tsrange", "[2020-01-01Z,)", '["2020-01-01 00:00:00",)', ZONE),
    "bytes that became a text": ("bytea", "text", r"\x41", r"\x41", "hexadecimal"),
    "an element that became an array": ("integer[]", "integer", "{7}", "7", "It fails on an array"),
    "an array that became its element": ("integer", "integer[]", "7", "{7}", "no cast from integer to integer[]"),
    "an enum that became an array": ("e[]", "e", "{a}", "a", "It fails on an array"),
    "a text that became an array": ("text", "text[]", "{a,b}", "{a,b}", "It fails on a text"),
    "a domain": ("numeric", "d", "1.25", "1.25", "It fails on a row"),
    "a domain that became its type": ("d", "numeric(9,2)", "1.25", "1.25", ""),
}
"""The type in the database, that in the history, a value before and after, and a part of the note."""

REFUSED = {
    "what a domain rounds": ("numeric", "d", "1.255"),
    "what a domain in an array rounds": ("numeric[]", "d[]", "{1.255}"),
    "a string that is no number": ("json", "numeric", '"5"'),
    "a number with too many digits": ("json", "numeric(3,1)", "5.55"),
    "the null of JSON": ("json", "date", "null"),
    "a time in a string": ("jsonb", "date", '"2020-01-01 10:00"'),
    "brackets in a text of JSON": ("jsonb", "text[]", '["[a]"]'),
    "an object of JSON": ("jsonb", "text[]", '{"a": "b"}'),
    "a date": ("timestamptz", "timetz", "2020-01-01Z"),
    "bits": ("smallint", "bit(2)", "5"),
    "a time in a text": ("text", "time", "2020-01-01 10:00"),
    "a part of a sum of money": ("money", "integer", "5.50"),
    "a number that is no truth value": ("smallint", "boolean", "2"),
    "two elements": ("integer[]", "integer", "{1,2}"),
    "no element": ("integer[]", "integer", "{}"),
    "a text of no array": ("text", "text[]", "a"),
    "a zone": ("timetz", "interval", "10:00+05"),
}


def changed(server: Server, live: str, history: str, *values: str) -> tuple[str, list[str], list[tuple[object, ...]]]:
    """Run the SQL for a column of another type; return its line, what differs still, and the values."""
    wanted, dsn = make_database(server), make_database(server)
    for each, kind in ((wanted, history), (dsn, live)):
        run_script(each, [ENUM, "CREATE DOMAIN d AS numeric(5, 2)", f"CREATE TABLE t (c {kind})"])
    expected = catalog(wanted)
    run_script(dsn, [f"INSERT INTO t VALUES ('{value}')" for value in values])  # noqa: S608 - of the values above
    [difference] = differences_from(expected, dsn)
    try:
        run_script(dsn, ["SET TimeZone = 'UTC'", *split(difference.sql or "")])
    finally:
        values_left = query(dsn, "SELECT c::text FROM t")
    return str(difference), [str(each) for each in differences_from(expected, dsn)], values_left


@pytest.mark.parametrize(("live", "history", "before", "after", "note"), CONVERTED.values(), ids=list(CONVERTED))
def test_the_sql_for_another_type_runs_and_keeps_the_value(
    server: Server, live: str, history: str, before: str, after: str, note: str
) -> None:
    line, rest, values = changed(server, live, history, before)
    assert rest == []
    assert values == [(after,)]
    assert note in line.partition("; -- ")[2]
    assert bool(note) == ("; -- " in line)


@pytest.mark.parametrize(("live", "history", "value"), REFUSED.values(), ids=list(REFUSED))
def test_the_sql_for_another_type_fails_on_a_row_that_would_change(
    server: Server, live: str, history: str, value: str
) -> None:
    assert changed(server, live, history)[1:] == ([], [])
    with pytest.raises(PostgresError):
        changed(server, live, history, value)


def test_the_server_has_every_cast_that_is_counted_on(server: Server) -> None:
    existing = query(server.admin, "SELECT format_type(castsource, NULL), format_type(casttarget, NULL) FROM pg_cast")
    counted = [(source, target) for source, targets in conversions._CASTS.items() for target in targets]
    assert {pair for pair in counted if pair[0] != pair[1]} <= {tuple(row) for row in existing}

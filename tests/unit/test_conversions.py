"""Which conversions can change a value, what is checked then, and what is said: the server tests run each of a kind."""

import pytest

from service_migrations.autogenerate.changes.types.conversions import (
    are_ranges,
    can_change_values,
    checked,
    through,
    warning,
    warning_of_digits,
)

TZ, NO_TZ = "with time zone", "without time zone"

CHANGED = {
    "integer": ["real", "oid", "boolean", "bit(3)", "numeric(4,-2)"],
    "bigint": ["real", "double precision", "bit(3)"],
    "real": ["integer", "smallint", "numeric", "numeric(30,20)"],
    "double precision": ["bigint", "real", "numeric"],
    "numeric": ["integer", "bigint", "real", "double precision", "numeric(6,2)", "numeric(4)", "money"],
    "numeric(6,2)": ["integer", "numeric(8,1)", "numeric(8,0)", "money"],
    f"timestamp {NO_TZ}": ["date", f"time {NO_TZ}", f"timestamp(3) {NO_TZ}", f"timestamp(0) {TZ}"],
    f"timestamp(3) {TZ}": ["date", f"timestamp(2) {TZ}"],
    f"time {NO_TZ}": [f"time(3) {NO_TZ}", "interval(3)"],
    f"time {TZ}": [f"time {NO_TZ}", "interval", f"time(5) {TZ}"],
    "interval": ["interval(3)", "interval day", f"time {NO_TZ}"],
    "interval day to hour": ["interval year", f"time {NO_TZ}"],
    "text": [
        *("character(9)", "character varying(3)", "real", "double precision", "date", "bit(3)", "numeric(6,1)"),
        *(f"timestamp {NO_TZ}", f"timestamp(3) {TZ}", f"time {NO_TZ}", f"time(0) {TZ}", "interval(3)", "interval day"),
    ],
    "character varying(8)": ["character(9)", "character varying(7)", "date"],
    "character varying": ["character varying(7)", "date"],
    "character(5)": ["date", "numeric(4)"],
    "citext": ["character(9)", "character varying(3)", "date"],
    "jsonb": [
        *(
            "boolean",
            "smallint",
            "integer",
            "bigint",
            "real",
            "double precision",
            "numeric",
            "numeric(6,1)",
            "numeric(6)",
        )
    ],
    "money": ["numeric(8,1)"],
    "inet": ["cidr"],
    "oid": ["integer"],
    "tsrange": ["daterange"],
    "numrange": ["int4range", "int8range"],
    "tsmultirange": ["datemultirange"],
    "numeric(6,3)[]": ["numeric(6,1)[]"],
}
KEPT = {
    "smallint": ["integer", "real", "double precision", "numeric", "numeric(6,2)"],
    "integer": ["smallint", "bigint", "double precision", "numeric", "numeric(4,0)", "money", "text"],
    "bigint": ["integer", "oid", "boolean"],
    "real": ["double precision", "real", "text"],
    "numeric(4,0)": ["integer", "numeric(6)"],
    "numeric(6,2)": ["numeric", "numeric(8,2)", "numeric(9,3)", "text"],
    "date": [f"timestamp {NO_TZ}", f"timestamp {TZ}", "text", "app.kind"],
    f"timestamp(3) {NO_TZ}": [f"timestamp(3) {NO_TZ}", f"timestamp {NO_TZ}", f"timestamp(4) {TZ}", "text"],
    f"timestamp {TZ}": [f"timestamp {NO_TZ}", f"timestamp(6) {NO_TZ}"],
    f"time(3) {NO_TZ}": [f"time {NO_TZ}", f"time(3) {TZ}", "interval", "interval(3)", "text"],
    f"time {TZ}": [f"time {TZ}", f"time(6) {TZ}", "text"],
    "interval(3)": ["interval", "interval(4)", "text"],
    "interval day": ["interval day", "interval", "text"],
    "text": [
        *("character varying", "citext", "numeric", "integer", "bytea", "boolean", "money", "interval", "interval(6)"),
        *(f"timestamp {TZ}", f"timestamp(6) {TZ}", f"time {TZ}", f"time(6) {TZ}", "int4range", "jsonb"),
    ],
    "character varying(3)": ["character varying(3)", "character varying(8)", "text"],
    "character(5)": ["character(3)", "text"],
    "jsonb": ["text", "character varying(9)"],
    "json": ["jsonb", "text"],
    "money": ["numeric", "text", "character varying(9)"],
    "cidr": ["inet"],
    "boolean": ["integer"],
    "bit(3)": ["integer", "bit(2)"],
    "int4range": ["int8range", "numrange", "text"],
    "int8range": ["int4range"],
    "daterange": ["tsrange", "tstzrange"],
    "numeric(6,1)[]": ["numeric(6,3)[]"],
    "app.kind": ["date", "text"],
    "macaddr8": ["macaddr"],
}


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(before, after) for before, others in table.items() for after in others]


@pytest.mark.parametrize(("before", "after"), pairs(CHANGED))
def test_a_conversion_that_rounds_cuts_or_reads_less_can_change_a_value(before: str, after: str) -> None:
    assert can_change_values(before, after)
    text = warning("v", before, after)
    assert text is not None
    assert f"WARNING: this fails on a row that {after} can't hold as it is." in text
    assert (f"To round or cut such values, write: USING v::{after}" in text) is (not are_ranges(before, after))


@pytest.mark.parametrize(("before", "after"), pairs(KEPT))
def test_a_conversion_that_keeps_or_refuses_every_value_needs_no_check(before: str, after: str) -> None:
    assert not can_change_values(before, after)
    assert "can't hold as it is" not in (warning("v", before, after) or "")


@pytest.mark.parametrize(
    ("before", "after", "are"),
    [
        ("int4range", "nummultirange", True),
        ("int4range", "text", False),
        ("text", "int4range", False),
        ("app.kind", "int4range", False),
        ("int4range", "app.kind", False),
    ],
)
def test_ranges_are_two_of_the_servers_own_ranges(before: str, after: str, are: bool) -> None:
    assert are_ranges(before, after) is are


NO_NULL = "(v::text = 'null') IS NOT TRUE"
SAME = "IS NOT DISTINCT FROM"
ZONES_OF_TIMES = f"v::time {NO_TZ}[]::time {TZ}[] {SAME} v::time {TZ}[]"


@pytest.mark.parametrize(
    ("before", "after", "kept", "otherwise"),
    [
        ("numeric(6,3)", "numeric(6,1)", f"v::numeric(6,1)::numeric(6,3) {SAME} v", ""),
        ("text", "character(9)", f"v::character(9)::text {SAME} v", "::integer"),
        ("text", "character(9)[]", f"v::character(9)[]::text {SAME} v", ""),
        ("text", "date", f"v::date::timestamp with time zone {SAME} v::timestamp with time zone", ""),
        ("text", "real", f"v::real::text::numeric {SAME} v::numeric", ""),
        ("jsonb", "double precision", f"{NO_NULL} AND v::double precision::text::numeric {SAME} v::numeric", ""),
        (
            "jsonb[]",
            "bigint[]",
            f"('null'::jsonb = ANY (v)) IS NOT TRUE AND v::bigint[]::numeric[] {SAME} v::numeric[]",
            "",
        ),
        ("jsonb", "integer", f"{NO_NULL} AND v::integer::numeric {SAME} v::numeric", ""),
        ("text", "numeric(6,1)[]", f"v::numeric(6,1)[]::numeric[] {SAME} v::numeric[]", ""),
        ("text", "real[]", f"v::real[]::text[]::numeric[] {SAME} v::numeric[]", ""),
        ("text", "bit(3)", f"v::bit(3)::bit varying {SAME} v::bit varying", "::integer"),
        ("text", "interval day", f"v::interval day::interval {SAME} v::interval", ""),
        ("integer", "oid", f"v::oid::bigint {SAME} v::bigint", ""),
        ("oid[]", "integer[]", f"v::integer[]::bigint[] {SAME} v::bigint[]", ""),
        (f"timestamp {NO_TZ}", f"time {NO_TZ}", "v IS NULL", ""),
        ("text", f"time {NO_TZ}[]", f"{ZONES_OF_TIMES} AND v::time {NO_TZ}[]::interval[] {SAME} v::interval[]", ""),
        (f"time {TZ}", f"time {NO_TZ}", f"v::time {NO_TZ}::time {TZ} {SAME} v", ""),
        ("app.kind", "text", f"v::text::app.kind {SAME} v", ""),
        ("text", "app.kind", f"v::app.kind::text {SAME} v", ""),
        ("int4range", "app.kind", f"v::app.kind::int4range {SAME} v", ""),
    ],
)
def test_a_value_is_converted_if_it_is_the_same_afterwards(before: str, after: str, kept: str, otherwise: str) -> None:
    expected = f"CASE WHEN {kept} THEN v::a_domain ELSE concat(v, ' would change'){otherwise}::a_domain END"
    assert checked("v", before, after, "a_domain") == expected


def test_a_text_is_assigned_to_a_shorter_one_without_a_cast_that_would_cut_it() -> None:
    expected = "CASE WHEN length(v) > 3 THEN concat(v, ' would change') ELSE v END"
    assert checked("v", "text", "character varying(3)", "a_domain") == expected


@pytest.mark.parametrize("array", ["", "[]"])
def test_a_range_is_read_from_the_text_of_the_other_one(array: str) -> None:
    text = f"text{array}"
    kept = f"v::{text}::daterange{array}::{text}::tsrange{array}::text {SAME} v::text"
    expected = f"CASE WHEN {kept} THEN v::{text}::a_domain ELSE concat(v, ' would change')::a_domain END"
    assert checked("v", f"tsrange{array}", f"daterange{array}", "a_domain") == expected


@pytest.mark.parametrize(
    ("before", "after", "using"),
    [
        ("boolean", "smallint", "v::integer::a_domain"),
        (
            "smallint",
            "boolean",
            (
                f"CASE WHEN v::integer::boolean::integer {SAME} v THEN v::integer::a_domain "
                "ELSE concat(v, ' would change')::a_domain END"
            ),
        ),
        (
            "money",
            "bigint",
            (
                f"CASE WHEN v::numeric::bigint::numeric {SAME} v::numeric THEN v::numeric::a_domain "
                "ELSE concat(v, ' would change')::a_domain END"
            ),
        ),
        (
            "smallint",
            "bit(3)",
            (
                f"CASE WHEN v::bigint::bit(3)::bigint {SAME} v THEN v::bigint::a_domain "
                "ELSE concat(v, ' would change')::integer::a_domain END"
            ),
        ),
        (
            "bit(3)",
            "smallint",
            (
                f"CASE WHEN v::bigint::smallint::bigint {SAME} v::bigint THEN v::bigint::a_domain "
                "ELSE concat(v, ' would change')::a_domain END"
            ),
        ),
        ("bit varying", "smallint", None),
        ("boolean[]", "smallint[]", None),
        ("boolean", "text", None),
        ("money", "date", None),
        ("app.kind", "smallint", None),
    ],
)
def test_a_third_type_leads_where_no_cast_does(before: str, after: str, using: str | None) -> None:
    assert through("v", before, after, "a_domain") == using


def test_bits_of_any_number_that_become_a_decimal_number_are_named() -> None:
    assert "B'101' as 101" in str(warning_of_digits("v", "bit varying(8)", "integer"))
    assert warning_of_digits("v", "bit(8)", "integer") is warning_of_digits("v", "bit varying(8)", "text") is None


WORDS = {
    "hstore keeps one of several equal keys": (
        [("text", "hstore"), ("character varying(9)", "hstore")],
        [("hstore", "text"), ("jsonb", "hstore")],
    ),
    "depends on the DateStyle of the session": (
        [("text", "date"), ("citext", f"timestamp {NO_TZ}"), ("text", f"timestamp {TZ}"), ("text", "daterange")],
        [("text", f"time {NO_TZ}"), ("text", "int4range"), ("text", "interval"), ("date", "text")],
    ),
    "jsonb keeps the last of several equal keys": (
        [("json", "jsonb"), ("text", "jsonb"), ("character varying(9)", "jsonb")],
        [("jsonb", "json"), ("json", "text"), ("bytea", "jsonb")],
    ),
    "each time gets the zone of the session's TimeZone": (
        [(f"time {NO_TZ}", f"time {TZ}"), (f"time(3) {NO_TZ}", f"time(3) {TZ}")],
        [(f"time {TZ}", f"time {TZ}"), (f"time {TZ}", f"time {NO_TZ}"), (f"time {NO_TZ}", "interval")],
    ),
    "the result depends on the TimeZone of the session": (
        [
            (f"timestamp {NO_TZ}", f"timestamp {TZ}"),
            (f"timestamp {TZ}", f"timestamp {NO_TZ}"),
            (f"timestamp {TZ}", "date"),
            ("date", f"timestamp {TZ}"),
            ("tstzrange", "tsrange"),
            ("daterange", "tstzrange"),
        ],
        [
            (f"timestamp {TZ}", f"timestamp(3) {TZ}"),
            (f"timestamp {NO_TZ}", "date"),
            (f"timestamp {TZ}", f"time {NO_TZ}"),
            (f"time {TZ}", f"time {NO_TZ}"),
            ("tsrange", "daterange"),
            ("text", f"timestamp {TZ}"),
        ],
    ),
    "USING v AT TIME ZONE 'UTC'": (
        [(f"timestamp {NO_TZ}", f"timestamp {TZ}")],
        [("tstzrange", "tsrange"), (f"timestamp {NO_TZ}", "date")],
    ),
    "and with them its own": (
        [("character(5)", "text"), ("character(5)", "character varying(5)")],
        [("character(5)", "character(6)"), ("text", "character varying(5)"), ("character(5)", "integer")],
    ),
    "USING convert_from(v, 'UTF8')": (
        [("bytea", "text"), ("bytea", "character varying(9)")],
        [("text", "bytea"), ("bytea", "bytea"), ("jsonb", "text")],
    ),
    "a text that names no time zone is read in the TimeZone of the session": (
        [("text", f"timestamp {TZ}"), ("character(20)", f"time {TZ}")],
        [("text", f"timestamp {NO_TZ}"), ("text", "date"), ("json", f"timestamp {TZ}")],
    ),
    "zeros before a number are lost": (
        [("text", "smallint"), ("text", "integer"), ("text", "bigint"), ("citext", "numeric"), ("text", "numeric(5)")],
        [("text", "real"), ("jsonb", "integer"), ("text", "money")],
    ),
    "what is less than the smallest unit of money is rounded": (
        [("text", "money")],
        [("numeric", "money"), ("text", "numeric")],
    ),
    "\\ in a text is read as an escape. To take it as it is, write: USING convert_to(v, 'UTF8')": (
        [("text", "bytea")],
        [("text", "date"), ("bytea", "text")],
    ),
    "is cut off the bounds in a text": (
        [("text", "daterange"), ("text", "tsrange"), ("text", "datemultirange")],
        [
            ("text", "int4range"),
            ("text", "int8range"),
            ("text", "numrange"),
            ("text", "date"),
            ("tsrange", "daterange"),
        ],
    ),
    "To parse it, write: USING to_tsvector('english', v)": ([("text", "tsvector")], [("text", "date")]),
}


@pytest.mark.parametrize("words", WORDS)
def test_what_no_value_shows_is_said_where_it_matters_and_nowhere_else(words: str) -> None:
    matters, others = WORDS[words]
    assert [pair for pair in matters if words not in (warning("v", *pair) or "")] == []
    assert [pair for pair in others if words in (warning("v", *pair) or "")] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("integer", "bigint"), ("text", "boolean"), ("app.kind", "date"), ("date", "app.kind"), ("text", "text")],
)
def test_of_most_conversions_nothing_is_said(before: str, after: str) -> None:
    assert warning("v", before, after) is None

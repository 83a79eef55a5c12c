"""What is used of psycopg and of SQLAlchemy's dialects for it beside their documentation."""

import datetime as dt
import decimal
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from psycopg import AsyncClientCursor, pq
from psycopg.types.range import Range
from sqlalchemy import JSON, Date, DateTime, Enum, Integer, LargeBinary, String, Uuid, literal
from sqlalchemy.dialects.postgresql import ARRAY, INT8RANGE
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from service_migrations.libpq.dialect import Dialect
from service_migrations.libpq.literals import constant

CONSTANTS: tuple[tuple[Any, str], ...] = (
    ("it's", "'it''s'"),
    (1, "1"),
    (True, "true"),
    (None, "NULL"),
    (decimal.Decimal("1.50"), "1.50"),
    ([1, None], "ARRAY[1, NULL]"),
    ([], "'{}'"),
    ([None], "'{NULL}'"),
    (("a", "b"), "('a', 'b')"),
    (dt.date(2024, 1, 2), "'2024-01-02'::date"),
    (b"\x01", r"'\x01'::bytea"),
    (Range(1, 5), "'[1,5)'"),
    (Range(dt.date(2024, 1, 1), None), "'[2024-01-01,)'"),
)


def constants_are_those_of_psycopg2() -> None:
    for value, expected in CONSTANTS:
        assert constant(value) == expected, value


def parameters_have_the_casts_that_they_have_over_psycopg2() -> None:
    types = (String, Integer, Date, DateTime, JSON, ARRAY(Integer), Enum("a", name="e"), Uuid, LargeBinary, INT8RANGE)
    expressions = [literal(None, of_type) for of_type in types]
    assert [str(each.compile(dialect=Dialect())) for each in expressions] == [
        str(each.compile(dialect=PGDialect_psycopg2())) for each in expressions
    ]
    assert "::" not in str(literal("x").compile(dialect=Dialect()))


def several_results_can_be_read_one_by_one() -> None:
    assert callable(AsyncClientCursor.nextset)
    assert callable(AsyncClientCursor.mogrify)


def the_options_of_libpq_are_known_with_their_variables() -> None:
    variables = {option.envvar: option.keyword for option in pq.Conninfo.get_defaults()}
    assert variables[b"PGPASSFILE"] == b"passfile"


USES: tuple[Callable[[], None], ...] = (
    constants_are_those_of_psycopg2,
    parameters_have_the_casts_that_they_have_over_psycopg2,
    several_results_can_be_read_one_by_one,
    the_options_of_libpq_are_known_with_their_variables,
)


@pytest.mark.parametrize("use", USES, ids=[use.__name__ for use in USES])
def test_psycopg_still_does_what_it_is_used_for(use: Callable[[], None]) -> None:
    try:
        use()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, the version is the news
        installed = f"psycopg {version('psycopg')}, SQLAlchemy {version('sqlalchemy')}"
        pytest.fail(f"{installed}: {use.__name__}: {type(error).__name__}: {error}")

"""A column that becomes an array of its type, and its values the elements: none changes, both ways."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import ARRAY, BIT, DOMAIN, INET, INT4RANGE, JSONB

__all__ = ["metadata", "things"]
metadata = MetaData()
things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("value", {kind}))
"""
VALUES = {
    "Integer": "7",
    "BigInteger": "-9000000000",
    "Boolean": "true",
    "Numeric(6, 2)": "1.50",
    "Float(53)": "1e300",
    "Uuid": "gen_random_uuid()",
    "Date": "'2026-01-02'",
    "DateTime(timezone=True)": "now()",
    "Interval": "'1 day 05:00'",
    "INET": "'10.0.0.1/8'",
    "INT4RANGE": "'[1,5)'",
    "JSONB": """'{"a": [1, null]}'""",
    "JSON": """'{"a":  1, "a": 2}'""",
    "LargeBinary": r"'\x0041'",
    "BIT(3)": "B'101'",
    "Enum('new', 'very old', name='state')": "'very old'",
}


@pytest.mark.parametrize("kind", VALUES)
def test_each_value_becomes_an_array_of_one_and_itself_again(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=kind), dsn)
    first_upgrade(monorepo, service)
    query(dsn, f"INSERT INTO things VALUES (1, {VALUES[kind]}), (2, NULL)")  # noqa: S608
    rows = query(dsn, "SELECT id, value::text FROM things ORDER BY id")
    remodel(monorepo, service, MODELS.format(kind=f"ARRAY({kind})"))
    code = written(monorepo, service)
    assert "# Each value becomes an array of one." in code
    assert "# WARNING: this fails on an array that hasn't just one element." in code
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert query(dsn, "SELECT id, value[1]::text FROM things ORDER BY id") == rows
    assert query(dsn, "SELECT cardinality(value) FROM things ORDER BY id") == [(1,), (None,)]
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT id, value::text FROM things ORDER BY id") == rows


@pytest.mark.parametrize("kind", ["Integer", "JSONB", "Enum('a', 'b', name='state')"])
@pytest.mark.parametrize("array", ["{%s,%s}", "{}", "{NULL}", "{{%s}}", "[0:0]={%s}"])
def test_an_array_that_has_not_just_one_element_stops_the_revision(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str, array: str
) -> None:
    element = {"I": "5", "J": '"{}"', "E": "a"}[kind[0]]
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=f"ARRAY({kind})"), dsn)
    first_upgrade(monorepo, service)
    value = array.replace("%s", element)
    query(dsn, f"INSERT INTO things VALUES (1, '{value}')")  # noqa: S608
    rows = query(dsn, "SELECT * FROM things")
    remodel(monorepo, service, MODELS.format(kind=kind))
    written(monorepo, service)
    with pytest.raises(MigrationError, match="would change"):
        wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT * FROM things") == rows
    query(dsn, "DELETE FROM things")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


@pytest.mark.parametrize("kind", ["Text", "String(20)", "CHAR(3)"])
def test_a_text_is_read_as_that_of_an_array_and_the_file_has_the_other_way(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str
) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=kind), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "INSERT INTO things VALUES (1, 'abc')")
    remodel(monorepo, service, MODELS.format(kind=f"ARRAY({kind})"))
    code = written(monorepo, service)
    assert "# WARNING: this fails on a text that isn't that of an array, such as {a,b}." in code
    assert "# To make each value an array of one, write: USING ARRAY[value]" in code
    with pytest.raises(MigrationError, match="malformed array literal"):
        wait(service_migrations.upgrade(service))
    query(dsn, "UPDATE things SET value = '{a}'")
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT value[1]::text FROM things") == [("a",)]


@pytest.mark.parametrize(
    ("before", "after"),
    [("String(20)", "String(30)"), ("String(20)", "Text"), ("CHAR(3)", "Text"), ("String(20)", "String(10)")],
)
def test_an_array_of_texts_that_stays_one_is_no_text(
    monorepo: Monorepo, database: Callable[..., Dsn], before: str, after: str
) -> None:
    service = monorepo.service("shop", MODELS.format(kind=f"ARRAY({before})"), database())
    first_upgrade(monorepo, service)
    remodel(monorepo, service, MODELS.format(kind=f"ARRAY({after})"))
    assert "array of one" not in written(monorepo, service)

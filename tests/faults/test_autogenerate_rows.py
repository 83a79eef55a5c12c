"""What becomes of rows in what autogenerate writes: none is cut, and what counts goes on where it was."""

from collections.abc import Callable

import pytest

import migrations
from migrations.dsn import Dsn
from migrations.errors import MigrationError
from tests.conftest import query, wait
from tests.faults.test_facts_comparison import remodel, written
from tests.monorepo import Monorepo

MODELS = """
from sqlalchemy import Column, Enum, Identity, Integer, MetaData, String, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

__all__ = ["metadata", "things"]
metadata = MetaData({metadata})
things = Table("things", metadata, Column("a", {kind}), {rest})
"""


def models(kind: str, rest: str = "", metadata: str = "") -> str:
    """Return models of one table with a column ``a``."""
    return MODELS.format(kind=kind, rest=rest, metadata=metadata)


@pytest.fixture
def service(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., tuple[migrations.Service, Dsn]]:
    """Take a new database to some models, give it rows, and write what leads to other models."""
    dsn = database()

    def go(before: str, after: str, rows: str = "") -> tuple[migrations.Service, Dsn]:
        made = monorepo.service("billing", before, dsn)
        written(monorepo, made, "before")
        wait(migrations.upgrade(made))
        if rows:
            query(dsn, rows)
        remodel(monorepo, made, after)
        written(monorepo, made, "after")
        return made, dsn

    return go


ROWS = "SELECT * FROM things"
ROW = "INSERT INTO things VALUES ('abcdefgh')"
ROW_OF_AN_ARRAY = "INSERT INTO things VALUES ('{abcdefgh}')"
SHORTER = {
    "length": ("String(9)", "String(5)", ROW),
    "length where there was none": ("Text", "String(5)", ROW),
    "labels": ("Enum('x', 'abcdefgh', native_enum=False)", "Enum('x', 'y', native_enum=False)", ROW),
    "array": ("ARRAY(String(9))", "ARRAY(String(5))", ROW_OF_AN_ARRAY),
    "other type": ("JSONB", "String(3)", "INSERT INTO things VALUES ('[12345]')"),
    "other type without a cast": ("Text", "ARRAY(String(5))", ROW_OF_AN_ARRAY),
}


@pytest.mark.parametrize(("longer", "shorter", "row"), SHORTER.values(), ids=SHORTER)
def test_a_value_that_is_too_long_for_the_new_type_stops_the_upgrade(longer, shorter, row, service) -> None:
    made, dsn = service(models(longer), models(shorter), row)
    before = query(dsn, ROWS)
    with pytest.raises(MigrationError, match="value too long for type"):
        wait(migrations.upgrade(made))
    assert query(dsn, ROWS) == before


@pytest.mark.parametrize(("longer", "shorter", "row"), SHORTER.values(), ids=SHORTER)
def test_a_value_that_is_too_long_for_the_former_type_stops_the_downgrade(longer, shorter, row, service) -> None:
    made, dsn = service(models(shorter), models(longer))
    wait(migrations.upgrade(made))
    query(dsn, row)
    before = query(dsn, ROWS)
    with pytest.raises(MigrationError, match="value too long for type"):
        wait(migrations.downgrade(made, "-1"))
    assert query(dsn, ROWS) == before


@pytest.mark.parametrize("kind", ["String(9)", "String", "Text"])
def test_a_type_that_takes_more_rewrites_no_row(kind, service) -> None:
    file = "SELECT relfilenode FROM pg_class WHERE relname = 'things'"
    made, dsn = service(models("String(5)"), models(kind), "INSERT INTO things VALUES ('abc')")
    before = query(dsn, file)
    wait(migrations.upgrade(made))
    assert query(dsn, file) == before

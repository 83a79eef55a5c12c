"""What becomes of rows in what autogenerate writes: none is cut, and what counts goes on where it was."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel, written
from tests.support.catalog import statements
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

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
def service(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., tuple[service_migrations.Service, Dsn]]:
    """Take a new database to some models, give it rows, and write what leads to other models."""
    dsn = database()

    def go(before: str, after: str, rows: str = "") -> tuple[service_migrations.Service, Dsn]:
        made = monorepo.service("billing", before, dsn)
        written(monorepo, made, "before")
        wait(service_migrations.upgrade(made))
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
    with pytest.raises(MigrationError, match=r"value too long for type|would change"):
        wait(service_migrations.upgrade(made))
    assert query(dsn, ROWS) == before


@pytest.mark.parametrize(("longer", "shorter", "row"), SHORTER.values(), ids=SHORTER)
def test_a_value_that_is_too_long_for_the_former_type_stops_the_downgrade(longer, shorter, row, service) -> None:
    made, dsn = service(models(shorter), models(longer))
    wait(service_migrations.upgrade(made))
    query(dsn, row)
    before = query(dsn, ROWS)
    with pytest.raises(MigrationError, match=r"value too long for type|would change"):
        wait(service_migrations.downgrade(made, "-1"))
    assert query(dsn, ROWS) == before


@pytest.mark.parametrize("kind", ["String(9)", "String", "Text"])
def test_a_type_that_takes_more_rewrites_no_row(kind, service) -> None:
    file = "SELECT relfilenode FROM pg_class WHERE relname = 'things'"
    made, dsn = service(models("String(5)"), models(kind), "INSERT INTO things VALUES ('abc')")
    before = query(dsn, file)
    wait(service_migrations.upgrade(made))
    assert query(dsn, file) == before


# what counts

COUNTS = {
    "plain": 'Column("id", Integer, primary_key=True, autoincrement=False)',
    "serial": 'Column("id", Integer, primary_key=True)',
    "identity": 'Column("id", Integer, Identity(), primary_key=True)',
    "always": 'Column("id", Integer, Identity(always=True), primary_key=True)',
}
TURNS = [
    (count, other)
    for count in COUNTS
    for other in COUNTS
    if count != other and {count, other} != {"identity", "always"}
]


def inserted(dsn: Dsn, counts: str, number: int) -> int:
    """Add a row, with this number where none is counted, and return which it got."""
    row = f"(id) VALUES ({number})" if counts == "plain" else "DEFAULT VALUES"
    return int(query(dsn, f"INSERT INTO things {row} RETURNING id")[0][0])


@pytest.mark.parametrize(("before", "after"), TURNS)
def test_a_key_that_counts_otherwise_goes_on_behind_the_rows_in_both_directions(before, after, service) -> None:
    here, there = (models("Text", COUNTS[name]) for name in (before, after))
    made, dsn = service(here, there)
    for number in (1, 2, 3):
        inserted(dsn, before, number)
    wait(service_migrations.upgrade(made))
    assert inserted(dsn, after, 4) == 4
    wait(service_migrations.downgrade(made, "-1"))
    assert inserted(dsn, before, 5) == 5


@pytest.mark.parametrize("names", [("id", "things"), ("I 'd", "The things")])
@pytest.mark.parametrize(("before", "after"), [turn for turn in TURNS if "plain" not in turn])
def test_the_numbers_of_deleted_rows_are_not_given_again_in_either_direction(before, after, names, service) -> None:
    column, table = names
    here, there = (
        models("Text", COUNTS[name].replace('"id"', f'"{column}"')).replace('Table("things"', f'Table("{table}"')
        for name in (before, after)
    )
    made, dsn = service(here, there)

    def number() -> int:
        (row,) = query(dsn, f'INSERT INTO "{table}" DEFAULT VALUES RETURNING "{column}"')  # noqa: S608 - constants
        query(dsn, f'DELETE FROM "{table}"')  # noqa: S608 - a constant
        return int(row[0])

    assert [number() for _ in range(3)] == [1, 2, 3]
    head = query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0]
    run_script(dsn, statements(wait(service_migrations.sql(made, f"{head}:head"))))
    assert number() == 4
    wait(service_migrations.downgrade(made, "-1"))
    assert number() == 5
    wait(service_migrations.upgrade(made))
    assert number() == 6
    assert wait(service_migrations.check(made)).differences == ()


def test_a_sequence_that_counted_below_the_new_range_is_left_behind(service) -> None:
    after = COUNTS["identity"].replace("Identity()", "Identity(start=100)")
    made, dsn = service(models("Text", COUNTS["serial"]), models("Text", after))
    assert inserted(dsn, "serial", 0) == 1
    wait(service_migrations.upgrade(made))
    assert inserted(dsn, "identity", 0) == 100


def test_a_sequence_that_never_counted_begins_at_its_start(service) -> None:
    made, dsn = service(models("Text", COUNTS["serial"]), models("Text", COUNTS["identity"]))
    wait(service_migrations.upgrade(made))
    assert inserted(dsn, "identity", 0) == 1


@pytest.mark.parametrize(
    ("identity", "rows", "number"),
    [
        ("", "", 1),
        ("", "VALUES (-7)", 1),
        ("start=100", "", 100),
        ("start=100", "VALUES (3)", 100),
        ("start=100", "VALUES (3), (200)", 201),
        ("start=100, increment=10", "VALUES (130)", 140),
        ("start=1, maxvalue=9", "VALUES (4), (700)", 5),
        ("start=-1, increment=-1", "", -1),
        ("start=-1, increment=-1", "VALUES (-3), (50)", -4),
    ],
)
def test_an_identity_begins_where_it_says_or_behind_the_rows_that_it_could_have_counted(
    identity, rows, number, service
) -> None:
    after = COUNTS["identity"].replace("Identity()", f"Identity({identity})")
    made, dsn = service(
        models("Text", COUNTS["plain"]), models("Text", after), f"INSERT INTO things (id) {rows}" if rows else ""
    )
    wait(service_migrations.upgrade(made))
    assert inserted(dsn, "identity", 0) == number


@pytest.mark.parametrize("counts", ["serial", "identity"])
def test_a_key_of_odd_names_counts_on_also_by_offline_sql(counts, service) -> None:
    before, after = (
        models("Text", COUNTS[name].replace('"id"', '"I \'d"'), "schema='Odd Sch'").replace(
            'Table("things"', 'Table("The things"'
        )
        for name in ("plain", counts)
    )
    made, dsn = service(before, after)
    add = 'INSERT INTO "Odd Sch"."The things" '
    query(dsn, f'{add} ("I \'d") VALUES (41)')
    here = query(dsn, 'SELECT version_num FROM "Odd Sch".alembic_version_billing')[0][0]
    run_script(dsn, statements(wait(service_migrations.sql(made, f"{here}:head"))))
    assert query(dsn, f'{add} DEFAULT VALUES RETURNING "I \'d"') == [(42,)]


def test_a_set_not_null_says_which_rows_make_it_fail(service, monorepo: Monorepo) -> None:
    service(models("Integer"), models("Integer, nullable=False"))
    (path,) = (monorepo.root / "migrations/versions/billing").glob("*_after.py")
    before, _, after = path.read_text(encoding="utf-8").partition("SET NOT NULL")
    assert before.splitlines()[-2].strip() == "# Rows with NULL in a make this fail: fill them first."
    assert "Rows with NULL" not in after

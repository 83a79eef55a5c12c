"""Changes of types beside others: the file's comments are true, and each of its steps runs on rows."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

OTHER = "Enum('new', 'old', name='other')"


@pytest.fixture
def changed(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., tuple[Service, str, Dsn]]:
    """Take a new database to some models, run SQL in it, and return the file that leads to other models."""
    dsn = database()

    def change(before: str, after: str, *statements: str) -> tuple[Service, str, Dsn]:
        service = monorepo.service("billing", before, dsn)
        first_upgrade(monorepo, service)
        run_script(dsn, list(statements))
        remodel(monorepo, service, after)
        return service, written(monorepo, service, "after"), dsn

    return change


def _up_and_down(service: Service) -> None:
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))


@pytest.mark.parametrize(("kind", "cast"), [(OTHER, "other"), (f"ARRAY({OTHER})", "other[]")])
@pytest.mark.parametrize("schema", ["", "theirs"])
def test_a_text_becomes_an_enum_of_a_new_type_by_its_cast(kind: str, cast: str, schema: str, changed) -> None:
    text = "Text" if "[]" not in cast else "ARRAY(Text)"
    value = "'old'" if "[]" not in cast else "'{old}'"
    if schema:
        kind, cast = kind.replace("name=", f"schema='{schema}', name="), f"{schema}.{cast}"
    service, code, dsn = changed(
        models(f"Column('value', {text})"),
        models(f"Column('value', {kind})"),
        f"INSERT INTO things (value) VALUES ({value})",  # noqa: S608 - a constant
        *([f"CREATE SCHEMA {schema}"] if schema else []),
    )
    upgrade, downgrade = code.split("def downgrade")
    assert f"TYPE {cast} USING value::{cast}" in upgrade
    assert "no cast" not in upgrade
    assert "USING" not in downgrade
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT value::text FROM things") == [(value[1:-1],)]
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT value::text FROM things") == [(value[1:-1],)]


def test_a_text_that_becomes_an_enum_may_have_the_value_that_is_added_with_it(changed) -> None:
    state = "Column('value', state), Column('past', ARRAY(state))"
    service, code, dsn = changed(
        models("Column('value', Text), Column('past', ARRAY(Text))"),
        models(state, labels=("new", "old", "last")),
        "INSERT INTO things (value, past) VALUES ('last', '{last}')",
    )
    assert "autocommit_block" in code
    _up_and_down(service)
    assert query(dsn, "SELECT value, past FROM things") == [("last", ["last"])]


GONE = {
    "dropped": "",
    "of another type": "Column('gone', Text)",
    "an array of another type": "Column('gone', ARRAY(Text))",
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE.keys())
def test_only_the_rows_of_columns_that_keep_the_type_are_named_beside_a_removed_value(gone: str, changed) -> None:
    kind = "ARRAY(state)" if "ARRAY" in gone else "state"
    former = "'{old}'" if "ARRAY" in gone else "'old'"
    service, code, _ = changed(
        models(f"Column('gone', {kind})"),
        models(*([gone] if gone else []), labels=("new",)),
        f"INSERT INTO things (state, gone) VALUES ('new', {former})",  # noqa: S608 - a constant
    )
    assert code.count("# UPDATE things SET ") == 1
    assert "# UPDATE things SET state = …" in code
    _up_and_down(service)


def test_a_column_that_comes_with_a_value_is_not_named_by_its_downgrade(changed) -> None:
    service, code, _ = changed(models(), models("Column('past', ARRAY(state))", labels=("new", "old", "last")))
    assert "# UPDATE things SET state = …" in code
    assert "SET past" not in code
    _up_and_down(service)


def test_a_generated_column_that_the_downgrade_recreates_is_not_in_its_way(changed) -> None:
    computed, boolean = (
        "Column('is_new', Boolean, Computed(\"state = 'new'\", persisted=True))",
        "from sqlalchemy import Boolean\n",
    )
    service, code, _ = changed(boolean + models(computed), boolean + models(computed, labels=("new", "old", "last")))
    assert "uses the type" not in code
    _up_and_down(service)


def test_a_downgrade_names_what_uses_the_generated_column_that_it_drops(changed) -> None:
    service, code, dsn = changed(
        models("Column('twice', Integer, Computed('number * 2', persisted=True))"),
        models("Column('twice', Integer)"),
        "CREATE VIEW seen AS SELECT twice FROM things",
    )
    assert "# The view public.seen uses twice: drop it before, and create it again after." in code
    wait(service_migrations.upgrade(service))
    query(dsn, "DROP VIEW seen")
    wait(service_migrations.downgrade(service, "-1"))


KEPT = {
    "longer": ("String(9)", "String(20)", "COMPRESSION pglz"),
    "shorter": ("String(20)", "String(9)", "STORAGE EXTERNAL"),
    "text": ("String(9)", "Text", "STORAGE PLAIN"),
    "collation": ("Text", "Text(collation='C')", "STORAGE MAIN"),
    "array of an enum": ("ARRAY(Text)", "ARRAY(state)", "STORAGE EXTERNAL"),
    "numeric": ("Text", "Numeric(9, 2)", "STORAGE EXTERNAL"),
    "fixed length": ("Text", "Integer", "STORAGE EXTERNAL"),
    "new enum": ("Text", OTHER, "COMPRESSION pglz"),
}


@pytest.mark.parametrize(("before", "after", "setting"), KEPT.values(), ids=KEPT.keys())
def test_a_column_of_another_type_keeps_its_storage_and_compression(
    before: str, after: str, setting: str, changed
) -> None:
    service, _, dsn = changed(
        *(models(f"Column('value', {kind})") for kind in (before, after)),
        f"ALTER TABLE things ALTER COLUMN value SET {setting}, ALTER COLUMN value SET STATISTICS 7",
    )
    former = catalog(dsn)
    storage = (
        "SELECT attstorage::text, attcompression::text, attstattarget FROM pg_attribute "
        "WHERE attrelid = 'things'::regclass AND attname = 'value'"
    )
    expected = query(dsn, storage)
    wait(service_migrations.upgrade(service))
    if after not in ("Integer", OTHER):  # these have no storage to choose
        assert query(dsn, storage) == expected
    wait(service_migrations.downgrade(service, "-1"))
    assert differences(former, catalog(dsn)) == []


def test_a_key_that_prevents_a_comparison_of_the_own_table_is_no_other_services(monorepo: Monorepo, database) -> None:
    unique = "UniqueConstraint('number', name='uq_number'{})"
    refers = "lines = Table('lines', metadata, Column('number', ForeignKey('things.number')))\n"
    before, after = (models(unique.format(more)) + refers for more in ("", ", deferrable=True"))
    before, after = (text.replace('"things"]', '"things", "lines"]') for text in (before, after))
    service = monorepo.service("billing", before, database())
    first_upgrade(monorepo, service)
    remodel(monorepo, service, after)
    with pytest.raises(MigrationError, match="own lines isn't compared") as raised:
        written(monorepo, service, "after")
    assert "service" not in str(raised.value).partition("uq_number")[2]


ARRAYS = {
    "text": ("ARRAY(Text)", "JSONB", "'{}', '{a,\"b c\",NULL}'", ["[]", '["a", "b c", null]']),
    "integer": ("ARRAY(Integer)", "JSON", "'{}', '{1,2}'", ["[]", "[1,2]"]),
    "two dimensions": ("ARRAY(Integer)", "JSONB", "'{{1},{2}}', NULL", ["[[1], [2]]", None]),
}


@pytest.mark.parametrize(("before", "after", "values", "expected"), ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_becomes_a_json_array(
    before: str, after: str, values: str, expected: list[str | None], changed
) -> None:
    json = "from sqlalchemy.dialects.postgresql import JSON, JSONB\n"
    service, code, dsn = changed(
        json + models(f"Column('value', {before})"),
        json + models(f"Column('value', {after})"),
        *(f"INSERT INTO things (value) VALUES ({value})" for value in values.split(", ", 1)),  # noqa: S608 - constants
    )
    assert "no cast" not in code.split("def downgrade")[0]
    wait(service_migrations.upgrade(service))
    assert [row[0] for row in query(dsn, "SELECT value::text FROM things ORDER BY id")] == expected


@pytest.mark.parametrize("kind", ["JSON", "JSONB"])
def test_an_object_does_not_become_an_array(kind: str, changed) -> None:
    json = "from sqlalchemy.dialects.postgresql import JSON, JSONB\n"
    service, _, dsn = changed(
        json + models(f"Column('value', {kind})"),
        json + models("Column('value', ARRAY(Text))"),
        "INSERT INTO things (value) VALUES ('{}')",
    )
    with pytest.raises(MigrationError, match="would change"):
        wait(service_migrations.upgrade(service))
    query(dsn, "UPDATE things SET value = NULL")
    wait(service_migrations.upgrade(service))


@pytest.mark.parametrize(
    ("kind", "after", "said"),
    [
        ("Integer", "Interval", "read as seconds. To name another unit, write: USING value * interval '1 minute'"),
        ("Numeric", "Interval", "read as seconds"),
        ("BigInteger", "Date", "digits of each number"),
        ("SmallInteger", "Time", "digits of each number"),
        ("Double", "DateTime(timezone=True)", "digits of each number"),
    ],
)
def test_a_number_that_becomes_a_time_is_named(kind: str, after: str, said: str, changed) -> None:
    types = "from sqlalchemy import Date, DateTime, Double, Interval, Time\n"
    _, code, _ = changed(types + models(f"Column('value', {kind})"), types + models(f"Column('value', {after})"))
    assert said in code

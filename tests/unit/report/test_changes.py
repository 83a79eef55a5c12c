"""What revisions change in tables, read from their SQL."""

import pytest

from service_migrations.report.changes import ReferenceChange, TableChanges


def changed(*sql: str) -> dict[str, tuple[str, dict[str, tuple[str, str]]]]:
    tables = TableChanges().apply(sql).tables
    return {
        name: (table.change, {column: (change.type, change.change) for column, change in table.columns.items()})
        for name, table in tables.items()
    }


def test_a_new_table_has_its_columns_keys_and_references() -> None:
    sql = (
        "CREATE TABLE public.lines (\n id UUID NOT NULL, \n price NUMERIC(12, 2) DEFAULT '0' NOT NULL, "
        "at TIMESTAMP WITH TIME ZONE, owner int REFERENCES owners (id), \n CONSTRAINT pk PRIMARY KEY (id), "
        "CONSTRAINT fk FOREIGN KEY(id, price) REFERENCES shop.invoices (a, b) ON DELETE CASCADE, CHECK (price > 0)\n)"
    )
    lines = TableChanges().apply([sql]).tables["lines"]
    assert lines.change == "new"
    assert {name: change.type for name, change in lines.columns.items()} == {
        "id": "uuid",
        "price": "numeric(12, 2)",
        "at": "timestamp with time zone",
        "owner": "int",
    }
    assert [name for name, change in lines.columns.items() if change.is_key] == ["id"]
    assert lines.references == [
        ReferenceChange(("owner",), "owners"),
        ReferenceChange(("id", "price"), "shop.invoices"),
    ]


@pytest.mark.parametrize(
    ("sql", "column", "change"),
    [
        ("ALTER TABLE pets ADD COLUMN age int NOT NULL", "age", ("int", "added")),
        ("ALTER TABLE pets ADD COLUMN IF NOT EXISTS age int", "age", ("int", "added")),
        ('ALTER TABLE pets ADD "Größe" text[]', "Größe", ("text[]", "added")),
        ("ALTER TABLE IF EXISTS ONLY pets DROP COLUMN IF EXISTS age CASCADE", "age", ("", "dropped")),
        ("ALTER TABLE pets ALTER age TYPE bigint USING age::bigint", "age", ("bigint", "another type")),
        ("ALTER TABLE pets ALTER COLUMN age SET DATA TYPE bigint", "age", ("bigint", "another type")),
        ("ALTER TABLE pets ALTER COLUMN age SET NOT NULL", "age", ("", "NOT NULL")),
        ("ALTER TABLE pets ALTER COLUMN age DROP NOT NULL", "age", ("", "no longer NOT NULL")),
        ("ALTER TABLE pets ALTER COLUMN age SET DEFAULT 3", "age", ("", "another default")),
        ("ALTER TABLE pets ALTER COLUMN age DROP DEFAULT", "age", ("", "no default")),
        ("ALTER TABLE pets RENAME COLUMN old TO age", "age", ("", "renamed from old")),
        ("ALTER TABLE pets RENAME old TO age", "age", ("", "renamed from old")),
    ],
)
def test_a_changed_column_says_what_changed(sql: str, column: str, change: tuple[str, str]) -> None:
    assert changed(sql) == {"pets": ("changed", {column: change})}


def test_what_is_undone_leaves_no_change() -> None:
    assert changed("CREATE TABLE pets (id int); DROP TABLE pets") == {}
    assert changed("ALTER TABLE pets ADD age int", "ALTER TABLE pets DROP age") == {"pets": ("changed", {})}


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE pets; CREATE TABLE pets (id int)",
        "CREATE TABLE others (id int); DROP TABLE pets; ALTER TABLE others RENAME TO pets",
    ],
)
def test_a_table_that_is_made_again_is_dropped_all_the_same(sql: str) -> None:
    assert changed(sql) == {"pets": ("dropped, and new", {"id": ("int", "")})}
    assert changed(sql, "DROP TABLE pets") == {"pets": ("dropped", {})}


@pytest.mark.parametrize(
    "sql", ["DROP age, ADD age text", "ADD other text; ALTER TABLE pets DROP age; ALTER TABLE pets RENAME other TO age"]
)
def test_a_column_that_is_made_again_is_dropped_all_the_same(sql: str) -> None:
    assert changed(f"ALTER TABLE pets {sql}") == {"pets": ("changed", {"age": ("text", "dropped, and added")})}


def test_a_column_that_is_renamed_and_dropped_is_named_as_the_database_has_it() -> None:
    assert changed("ALTER TABLE pets RENAME age TO years; ALTER TABLE pets DROP years") == {
        "pets": ("changed", {"age": ("", "dropped")})
    }


def test_a_table_of_a_schema_that_is_renamed_stays_there() -> None:
    tables = TableChanges().apply(["ALTER TABLE zoo.cats RENAME TO pets; ALTER TABLE zoo.pets ADD age int"]).tables
    assert {name: table.former for name, table in tables.items()} == {"zoo.pets": "zoo.cats"}
    tables = TableChanges().apply(["ALTER TABLE zoo.pets RENAME TO cats; ALTER TABLE zoo.cats RENAME TO pets"]).tables
    assert {name: table.former for name, table in tables.items()} == {"zoo.pets": ""}


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("ALTER TABLE zoo.cats SET SCHEMA farm; ALTER TABLE farm.cats ADD age int", {"farm.cats": "zoo.cats"}),
        ("ALTER TABLE cats SET SCHEMA farm; ALTER TABLE farm.cats RENAME TO pets", {"farm.pets": "cats"}),
        ("ALTER TABLE zoo.cats SET SCHEMA public", {"cats": "zoo.cats"}),
        ('ALTER TABLE IF EXISTS cats SET SCHEMA "F.x"', {'"F.x".cats': "cats"}),
        ("ALTER TABLE cats SET SCHEMA farm; ALTER TABLE farm.cats SET SCHEMA public", {"cats": ""}),
    ],
)
def test_a_table_that_gets_another_schema_is_known_by_its_former_name(sql: str, names: dict[str, str]) -> None:
    assert {name: table.former for name, table in TableChanges().apply([sql]).tables.items()} == names


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE pets AS SELECT 1 AS id",
        "CREATE UNLOGGED TABLE IF NOT EXISTS pets AS TABLE cats WITH NO DATA",
        "CREATE TABLE pets PARTITION OF cats FOR VALUES FROM (1) TO (2)",
        "CREATE TABLE pets OF animal",
    ],
)
def test_a_table_whose_columns_are_those_of_others_is_new(sql: str) -> None:
    assert changed(sql) == {"pets": ("new", {})}


def test_a_table_that_is_there_is_not_made_by_if_not_exists() -> None:
    sql = "ALTER TABLE pets ADD age int; CREATE TABLE IF NOT EXISTS pets (id int, name text)"
    assert changed(sql) == {"pets": ("changed", {"age": ("int", "added")})}


def test_a_dropped_table_is_named_as_the_database_has_it() -> None:
    assert changed("ALTER TABLE cats RENAME TO pets; DROP TABLE pets, zoo.dogs CASCADE") == {
        "cats": ("dropped", {}),
        "zoo.dogs": ("dropped", {}),
    }


def test_a_renamed_table_keeps_what_it_was_called() -> None:
    tables = TableChanges().apply(["ALTER TABLE cats ADD age int; ALTER TABLE cats RENAME TO pets"]).tables
    assert {name: table.former for name, table in tables.items()} == {"pets": "cats"}
    assert tables["pets"].columns["age"].change == "added"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMPORARY TABLE pets (id int)",
        "CREATE TEMP TABLE pets AS SELECT 1",
        "SELECT 'DROP TABLE pets'",
        "CREATE INDEX ON pets (id)",
        "ALTER TABLE pets DROP CONSTRAINT fk",
        "ALTER TABLE pets RENAME CONSTRAINT a TO b",
    ],
)
def test_what_changes_no_column_is_no_change(sql: str) -> None:
    assert changed(sql) == {}


def test_an_added_foreign_key_is_a_reference_of_a_table_that_stays() -> None:
    table = (
        TableChanges()
        .apply(['ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY ("B c") REFERENCES b (id) NOT VALID'])
        .tables["a"]
    )
    assert (table.change, table.columns, table.references) == ("changed", {}, [ReferenceChange(("B c",), "b")])

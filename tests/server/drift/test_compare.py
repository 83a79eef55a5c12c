"""What counts as a difference, under which name, and what is noted beside it."""

from collections.abc import Callable

import pytest

from service_migrations.catalog.objects import Object
from service_migrations.drift.compare import Difference, compare
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.comparison import PUBLIC, catalog
from tests.support.database import make_database, query, run_script
from tests.support.shop import inside

SURPLUS = "is in the database but not in the history"
MISSING = "is in the history but not in the database"


def seen_in_public(item: Object) -> bool:
    return item.schema == "public" and item.key != PUBLIC


def seen(item: Object) -> bool:
    return item.key != PUBLIC


def compared(
    server: Server, history: list[str], by_hand: list[str], sees: Callable[[Object], bool] = seen
) -> tuple[Dsn, tuple[Difference, ...]]:
    """Return a database that was changed by hand, and its differences from the history."""
    wanted, dsn = (inside(server, make_database(server)) for _ in range(2))
    for each in (wanted, dsn):
        run_script(each, history)
    run_script(dsn, by_hand)
    return dsn, compare(catalog(dsn), catalog(wanted), sees)


def lines(differences: tuple[Difference, ...]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.text) for each in differences]


def test_a_view_in_the_place_of_a_table_is_not_altered_into_it(server: Server) -> None:
    """Both have a column of one name, of which the view's can't be altered."""
    table = "CREATE TABLE t (id integer NOT NULL DEFAULT 1)"
    _, differences = compared(server, [table], ["DROP TABLE t", "CREATE VIEW t AS SELECT 1::bigint AS id"])
    assert lines(differences) == [("view", "t", SURPLUS), ("table", "t", MISSING)]


@pytest.mark.parametrize(
    ("by_hand", "kind", "name"),
    [
        ("CREATE INDEX by_hand ON m (id)", "index", "by_hand"),
        ("CREATE TRIGGER by_hand INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION f()", "trigger", "v.by_hand"),
        ("CREATE RULE by_hand AS ON INSERT TO v DO INSTEAD NOTHING", "rule", "v.by_hand"),
    ],
)
def test_what_was_put_on_a_view_of_the_history_counts(server: Server, by_hand: str, kind: str, name: str) -> None:
    history = [
        "CREATE VIEW v AS SELECT 1 AS id",
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS id",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ]
    dsn, differences = compared(server, history, [by_hand])
    assert lines(differences) == [(kind, name, SURPLUS)]
    run_script(dsn, [differences[0].sql or ""])


def test_a_foreign_table_that_became_a_partition_is_no_difference(server: Server) -> None:
    history = [
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE TABLE t (id integer) PARTITION BY LIST (id)",
    ]
    partition = "CREATE FOREIGN TABLE t_1 PARTITION OF t FOR VALUES IN (1) SERVER s"
    assert compared(server, history, [partition])[1] == ()


def test_a_partitioned_table_that_was_dropped_comes_back_with_its_partitions(server: Server) -> None:
    history = [
        "CREATE TABLE t (id integer) PARTITION BY LIST (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)",
    ]
    dsn, differences = compared(server, history, ["DROP TABLE t"])
    assert lines(differences) == [("table", "t", MISSING), ("table", "t_1", MISSING)]
    run_script(dsn, [each.sql or "" for each in differences])
    query(dsn, "INSERT INTO t_1 VALUES (1)")


def test_a_schema_and_an_extension_have_one_name_and_their_objects_two(server: Server) -> None:
    history = ["CREATE SCHEMA area", "CREATE EXTENSION citext SCHEMA area", "CREATE TABLE area.t ()"]
    _, differences = compared(server, history, ["DROP SCHEMA area CASCADE"])
    assert lines(differences) == [
        ("schema", "area", MISSING),
        ("extension", "citext", MISSING),
        ("table", "area.t", MISSING),
    ]


@pytest.mark.parametrize(
    ("column", "note"),
    [
        ("integer NOT NULL", "Rows need a value first."),
        ("integer", None),
        ("integer NOT NULL GENERATED ALWAYS AS (id + 1) STORED", None),
        ("integer GENERATED ALWAYS AS IDENTITY", None),
    ],
)
def test_rows_need_a_value_where_nothing_else_gives_them_one(server: Server, column: str, note: str | None) -> None:
    _, differences = compared(
        server, [f"CREATE TABLE t (id integer, other {column})"], ["ALTER TABLE t DROP COLUMN other"]
    )
    assert lines(differences) == [("column", "t.other", MISSING)]
    assert differences[0].note == note


@pytest.mark.parametrize(
    ("history", "by_hand", "is_named"),
    [
        ([], ["ALTER TABLE t SET SCHEMA archive"], True),
        ([], ["ALTER TABLE t SET SCHEMA archive", "ALTER TABLE archive.t ALTER x TYPE varchar(9)"], False),
        ([], ["CREATE TABLE other.t (LIKE t)", "ALTER TABLE t SET SCHEMA archive"], False),
        ([], ["ALTER TABLE t SET SCHEMA archive", "ALTER TABLE archive.t RENAME TO u"], False),
        (["CREATE TABLE archive.t (LIKE t)"], ["DROP TABLE t"], False),
    ],
    ids=["moved", "with another column", "one of two", "renamed too", "of the history"],
)
def test_the_one_equal_table_of_an_unseen_schema_may_be_the_missing_one(
    server: Server, history: list[str], by_hand: list[str], *, is_named: bool
) -> None:
    """Whose table that is isn't known, so that it is for a person to say."""
    before = ["CREATE SCHEMA archive", "CREATE SCHEMA other", "CREATE TABLE t (id integer, x text)", *history]
    dsn, differences = compared(server, before, by_hand, seen_in_public)
    assert lines(differences) == [("table", "t", MISSING)]
    move = "ALTER TABLE archive.t SET SCHEMA public;"
    note = f"An equal one is in the schema archive. If it was moved, run this instead: {move}"
    assert differences[0].note == (note if is_named else None)
    if is_named:
        run_script(dsn, [move])


TABLE = "CREATE TABLE t (id integer, x text)"
OTHER_NAMES: dict[str, tuple[list[str], list[str], str | None]] = {
    "a column": ([TABLE], ["ALTER TABLE t RENAME x TO y"], "ALTER TABLE public.t RENAME COLUMN y TO x;"),
    "a column of another type": ([TABLE], ["ALTER TABLE t DROP x", "ALTER TABLE t ADD y varchar(9)"], None),
    "a column that may be one of two": (
        ["CREATE TABLE t (id integer, x text, z text)"],
        ["ALTER TABLE t RENAME x TO y", "ALTER TABLE t DROP z"],
        None,
    ),
    "a column beside its like": (["CREATE TABLE t (id integer, x integer)"], ["ALTER TABLE t ADD y integer"], None),
    "a table": ([TABLE], ["ALTER TABLE t RENAME TO u"], "ALTER TABLE public.u RENAME TO t;"),
    "a table of other columns": ([TABLE], ["DROP TABLE t", "CREATE TABLE u (id integer, y text)"], None),
    "a table that may be one of two": (
        [TABLE, "CREATE TABLE s (LIKE t)"],
        ["ALTER TABLE t RENAME TO u", "DROP TABLE s"],
        None,
    ),
    "a table of another schema": (
        ["CREATE SCHEMA archive", TABLE.replace(" t ", " archive.t ")],
        ["DROP TABLE archive.t", TABLE.replace(" t ", " u ")],
        None,
    ),
    "a table with the columns of a view": (
        ["CREATE VIEW v AS SELECT 1 AS id"],
        ["DROP VIEW v", "CREATE TABLE u (id integer)"],
        None,
    ),
}


@pytest.mark.parametrize(("history", "by_hand", "rename"), OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_what_only_the_database_has_may_be_the_one_missing_thing_that_is_equal(
    server: Server, history: list[str], by_hand: list[str], rename: str | None
) -> None:
    dsn, differences = compared(server, history, by_hand)
    [note] = [each.note for each in differences if each.text == SURPLUS]
    loses = "This loses what is in it."
    assert note == (f"{loses} If it was only renamed, run this instead: {rename}" if rename else loses)
    if rename:
        run_script(dsn, [rename])

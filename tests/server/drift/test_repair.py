"""Every kind of change by hand: seen in a line that names the object, and fixed by the SQL of that line."""

import pytest
from asyncpg import PostgresError, StringDataRightTruncationError

from service_migrations.catalog.objects import Object
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.changes import CASES
from tests.support.comparison import catalog, differences_from
from tests.support.database import make_database, query, run_script
from tests.support.shop import Shop, split

ROW = "INSERT INTO customers (email, name, score) VALUES ('a@b', 'A', 1)"
ONE_OF_EACH = {line.split()[0]: (by_hand, line) for by_hand, line in CASES.values()}
"""The last change of each kind of object, by the kind."""


@pytest.mark.parametrize(("by_hand", "line"), CASES.values(), ids=list(CASES))
def test_what_was_changed_by_hand_is_seen_and_mended(
    server: Server, shop_at_head: Dsn, history_of_the_shop: tuple[Object, ...], by_hand: list[str], line: str
) -> None:
    dsn = make_database(server, copied=shop_at_head)
    run_script(dsn, [ROW, *by_hand])
    differences = differences_from(history_of_the_shop, dsn)
    lines = [str(difference) for difference in differences]
    assert [text for text in lines if text.startswith(line)], "\n".join(lines)
    assert all("\n" not in text for text in lines)
    run_script(dsn, [statement for each in differences if each.sql for statement in split(each.sql)])
    assert [str(difference) for difference in differences_from(history_of_the_shop, dsn)] == []
    query(server.admin, f'DROP DATABASE "{dsn.database}" WITH (FORCE)')


@pytest.mark.parametrize(("by_hand", "line"), ONE_OF_EACH.values(), ids=list(ONE_OF_EACH))
def test_the_history_that_is_replayed_is_what_a_database_differs_from(
    shop: Shop, by_hand: list[str], line: str
) -> None:
    shop.by_hand(ROW, *by_hand)
    differences = shop.drift().differences
    assert [text for text in map(str, differences) if text.startswith(line)], "\n".join(map(str, differences))
    shop.fix(differences)
    assert [str(difference) for difference in shop.drift().differences] == []


@pytest.mark.parametrize("kind", ["text", "varchar(999)"])
def test_the_sql_for_another_type_cuts_no_value(shop: Shop, kind: str) -> None:
    shop.by_hand(
        f"ALTER TABLE customers ALTER COLUMN email TYPE {kind}",
        "INSERT INTO customers (email) VALUES (repeat('long', 100))",
    )
    differences = shop.drift().differences
    assert [difference.name for difference in differences] == ["customers.email"]
    with pytest.raises(StringDataRightTruncationError):
        shop.fix(differences)
    assert query(shop.dsn, "SELECT length(email) FROM customers") == [(400,)]


@pytest.mark.parametrize(
    ("column", "kind", "kept", "lost"),
    [
        ("orders.total", "numeric", "1.25", "1.255"),
        ("orders.total", "numeric(12, 4)", "1.25", "1.255"),
        ("orders.total", "double precision", "1.25", "1.255"),
        ("orders.total", "text", "1.25", "1.255"),
        ("customers.since", "timestamp", "2026-01-02", "2026-01-02 03:04:05"),
        ("customers.email", "text", "a@b ", f"a@b{' ' * 400}"),
    ],
    ids=["scale", "fewer digits", "float", "text", "date", "blanks"],
)
def test_the_sql_for_another_type_changes_no_value(shop: Shop, column: str, kind: str, kept: str, lost: str) -> None:
    table, _, name = column.partition(".")
    order = "INSERT INTO orders (customer) VALUES (1)"
    alter = f"ALTER TABLE {table} ALTER COLUMN {name}"
    setting = f"UPDATE {table} SET {name} = "  # noqa: S608 - of the names above
    values = f"SELECT DISTINCT {name}::text FROM {table}"  # noqa: S608 - of the names above
    depends = [order, "DROP MATERIALIZED VIEW totals CASCADE"] if table == "orders" else []
    shop.by_hand(ROW, *depends, f"{alter} DROP DEFAULT, ALTER COLUMN {name} TYPE {kind}")
    shop.by_hand(f"{setting} '{lost}'")
    before = query(shop.dsn, values)
    differences = shop.drift().differences
    [told] = [str(difference) for difference in differences if difference.name == column]
    assert "It fails on a row that " in told
    with pytest.raises(PostgresError):
        shop.fix(differences)
    assert query(shop.dsn, values) == before
    shop.by_hand(f"{setting} '{kept}'")
    shop.fix(differences)
    assert shop.drift().differences == ()
    assert query(shop.dsn, values) == [(kept,)]


NUMBERED = {
    "renamed": ["ALTER SEQUENCE orders_id_seq RENAME TO numbers_of_orders"],
    "dropped": ["DROP SEQUENCE orders_id_seq CASCADE"],
    "replaced by an identity": [
        "ALTER TABLE orders ALTER id DROP DEFAULT",
        "DROP SEQUENCE orders_id_seq",
        "ALTER TABLE orders ALTER id ADD GENERATED ALWAYS AS IDENTITY (START WITH 100)",
    ],
    "no longer owned": ["ALTER SEQUENCE orders_id_seq OWNED BY NONE", "ALTER SEQUENCE orders_id_seq RENAME TO n"],
}


@pytest.mark.parametrize("by_hand", NUMBERED.values(), ids=NUMBERED)
def test_a_sequence_that_is_created_again_goes_on_behind_the_rows(shop: Shop, by_hand: list[str]) -> None:
    order = "INSERT INTO orders (customer, state) VALUES (1, 'paid') RETURNING id"
    shop.by_hand(ROW, order, order, *by_hand)
    shop.fix(shop.drift().differences)
    assert shop.drift().differences == ()
    assert query(shop.dsn, order) == [(3,)]


def test_an_attribute_that_has_another_name_is_lost_by_no_sql_that_does_not_say_so(shop: Shop) -> None:
    shop.by_hand(ROW, "UPDATE customers SET home = ROW('a', 'b')", "ALTER TYPE place RENAME ATTRIBUTE town TO city")
    [line] = map(str, shop.drift().differences)
    assert "-- This loses what is in it. If it was only renamed, run this instead: " in line
    shop.by_hand(line.rpartition(": ")[2])
    assert shop.drift().differences == ()
    assert query(shop.dsn, "SELECT (home).town FROM customers") == [("b",)]


def test_the_name_of_an_attribute_in_the_middle_is_given_back(shop: Shop) -> None:
    shop.by_hand(ROW, "UPDATE customers SET home = ROW('a', 'b')", "ALTER TYPE place RENAME ATTRIBUTE street TO road")
    [line] = map(str, shop.drift().differences)
    shop.by_hand(line.rpartition("instead: ")[2])
    assert shop.drift().differences == ()
    assert query(shop.dsn, "SELECT (home).street FROM customers") == [("a",)]


MOVED = {
    "a table": ["ALTER TABLE orders SET SCHEMA archive"],
    "a table that others refer to": ["ALTER TABLE customers SET SCHEMA archive"],
    "a partition": ["ALTER TABLE events_2020 SET SCHEMA archive"],
    "a partition with another name": [
        "ALTER TABLE events_2020 RENAME TO old",
        "ALTER TABLE old SET SCHEMA archive",
    ],
    "a table that was changed": [
        "ALTER TABLE orders SET SCHEMA archive",
        "ALTER TABLE archive.orders DROP CONSTRAINT fk_customer",
        "ALTER TABLE archive.orders SET (fillfactor = 50)",
        "DROP INDEX archive.ix_orders_customer",
    ],
}


@pytest.mark.parametrize("by_hand", MOVED.values(), ids=MOVED)
def test_a_table_that_was_moved_to_another_schema_is_moved_back_with_its_rows(shop: Shop, by_hand: list[str]) -> None:
    shop.by_hand(
        ROW,
        "INSERT INTO orders (customer) VALUES (1)",
        "INSERT INTO events (at) VALUES ('2020-05-05')",
        "CREATE SCHEMA archive",
        *by_hand,
    )
    differences = shop.drift().differences
    assert not [text for text in map(str, differences) if " DROP TABLE " in text or " CREATE TABLE " in text]
    assert " SET SCHEMA " in str(differences[0])
    shop.fix(differences)
    assert [str(difference) for difference in shop.drift().differences] == []
    counts = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), (SELECT count(*) FROM events)"
    assert query(shop.dsn, counts) == [(1, 1, 1)]


def test_the_table_of_another_is_not_moved(shop: Shop) -> None:
    shop.by_hand("CREATE SCHEMA archive", "CREATE TABLE archive.orders (id integer)", "DROP TABLE orders CASCADE")
    differences = shop.drift().differences
    assert not [text for text in map(str, differences) if "SET SCHEMA" in text]
    shop.fix(differences)
    assert shop.drift().differences == ()
    assert query(shop.dsn, "SELECT count(*) FROM archive.orders") == [(0,)]


def test_what_a_views_columns_have_comes_back_with_the_view(server: Server, shop_at_head: Dsn) -> None:
    dsn, other = (make_database(server, copied=shop_at_head) for _ in range(2))
    view = "CREATE VIEW open_orders AS SELECT id, customer FROM orders WHERE state = 'open'"
    settings = ["ALTER VIEW open_orders ALTER id SET DEFAULT 7", "COMMENT ON COLUMN open_orders.id IS 'number'"]
    run_script(dsn, settings)
    dropped = ["DROP VIEW open_orders", "DROP MATERIALIZED VIEW totals"]
    run_script(other, [*dropped, "ALTER TABLE orders ALTER customer TYPE bigint", view, *settings])
    wanted = [catalog(dsn), catalog(other)]
    run_script(dsn, ["DROP VIEW open_orders"])
    for history in [*wanted, wanted[0]]:
        differences = differences_from(history, dsn)
        run_script(dsn, [statement for each in differences if each.sql for statement in split(each.sql)])
        assert [str(difference) for difference in differences_from(history, dsn)] == []

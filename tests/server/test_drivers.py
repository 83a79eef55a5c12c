"""Revisions that were written for psycopg2 do the same over the driver psycopg as over psycopg2 itself."""

import re
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from psycopg import pq
from sqlalchemy import URL, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import service_migrations
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.health.doctor import examine
from service_migrations.libpq.conninfo import Connections
from service_migrations.settings.dsn import Dsn, parse
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

SETUP = """
CREATE TYPE state AS ENUM ('open', 'paid');
CREATE TABLE orders (id int PRIMARY KEY, amount int, note text, day date, at timestamp, zoned timestamptz,
                     j json, jb jsonb, tags text[], state state, price numeric, span int8range, raw bytea, host inet);
INSERT INTO orders (id, amount, note, day) VALUES (1, 10, 'a', '2024-01-01'), (2, 20, 'b', '2024-02-01');
CREATE SEQUENCE numbers;
"""

COMMANDS = {
    "two_commands": 'op.execute("ALTER TABLE orders ADD COLUMN a integer; ALTER TABLE orders ADD COLUMN b integer")',
    "two_commands_of_text": 'op.execute(sa.text("UPDATE orders SET amount = 1; DELETE FROM orders WHERE id = 2"))',
    "two_commands_of_the_driver": 'bind.exec_driver_sql("UPDATE orders SET amount = 1; DELETE FROM orders")',
    "two_commands_with_parameters": """
        bind.execute(sa.text("UPDATE orders SET note = :n; DELETE FROM orders WHERE id = :i"), {"n": "x", "i": 2})
    """,
    "a_select_first": "op.execute(\"SELECT setval('numbers', 7); UPDATE orders SET amount = nextval('numbers')\")",
    "bodies_in_dollars": """
        op.execute('''DO $$ BEGIN UPDATE orders SET note = 'a;b'; END $$;
        CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS $f$ SELECT 2 * n; $f$''')
        op.execute("UPDATE orders SET amount = twice(amount)")
    """,
    "a_dump_of_a_table": '''
        op.execute("""
        -- dumped; by hand
        SET client_min_messages = warning;
        CREATE TABLE lines (id int, note text DEFAULT ';');
        INSERT INTO lines VALUES (1, 'it''s; so'), (2, E'a\\\\nb');
        COMMENT ON TABLE lines IS '50% of it';
        """)
    ''',
    "the_result_of_the_last_command": """
        found = bind.execute(sa.text("SELECT 1; SELECT 5")).scalar()
        op.execute(f"UPDATE orders SET amount = {found}")
    """,
    "rows_of_a_last_command": """
        changed = bind.execute(sa.text("SELECT 1; UPDATE orders SET amount = 0")).rowcount
        op.execute(f"UPDATE orders SET price = {changed}")
    """,
}

PARAMETERS = {
    "a_text_for_an_integer": 'op.execute(orders.update().values(amount=sa.literal("0")))',
    "a_text_for_json": "op.execute(orders.update().values(j=sa.literal('{\"a\": 1}')))",
    "json_build_object": "bind.execute(sa.text(\"UPDATE orders SET jb = json_build_object('k', :p)\"), {'p': 'v'})",
    "a_text_for_an_id": 'bind.execute(sa.text("DELETE FROM orders WHERE id = :id"), {"id": "1"})',
    "an_integer_for_a_text": 'bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": 7})',
    "a_text_for_a_date": 'bind.execute(sa.text("UPDATE orders SET day = :d"), {"d": "2025-05-05"})',
    "an_aware_moment_for_a_timestamp": """
        moment = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
        op.execute("SET timezone = 'UTC'")
        bind.execute(sa.text("UPDATE orders SET at = :m, zoned = :m"), {"m": moment})
    """,
    "rows_with_texts_for_dates": """
        op.bulk_insert(orders, [{"id": 3, "day": "2024-01-01"}, {"id": 4, "day": "2024-03-03"}])
    """,
    "days_times_an_interval": """
        bind.execute(sa.text("UPDATE orders SET day = day + :d * interval '1 day'"), {"d": "3"})
    """,
    "a_default": 'bind.execute(sa.text("ALTER TABLE orders ALTER COLUMN amount SET DEFAULT :x"), {"x": 3})',
    "a_comment": 'op.execute(sa.text("COMMENT ON TABLE orders IS :x").bindparams(x="it\'s"))',
    "a_view": 'bind.execute(sa.text("CREATE VIEW seen AS SELECT :x AS n"), {"x": 1})',
    "a_materialized_view": 'bind.execute(sa.text("CREATE MATERIALIZED VIEW seen AS SELECT :x AS n"), {"x": 1})',
    "a_date_constant": 'op.execute(sa.text("UPDATE orders SET day = DATE :d").bindparams(d="2025-05-05"))',
    "a_function_of_several_types": """
        bind.execute(sa.text("UPDATE orders SET note = to_char(:d, 'YYYY')"), {"d": datetime.date(2024, 1, 1)})
    """,
    "an_operator_of_several_types": 'bind.execute(sa.text("UPDATE orders SET amount = :a + :b"), {"a": 1, "b": 2})',
    "an_integer_to_be_selected": """
        found = bind.execute(sa.text("SELECT :a"), {"a": 1}).scalar()
        op.execute(f"UPDATE orders SET amount = {found}")
    """,
    "a_tuple_in_in": 'bind.execute(sa.text("DELETE FROM orders WHERE id IN :ids"), {"ids": (1, 7)})',
    "a_tuple_of_texts_in_in": 'bind.execute(sa.text("DELETE FROM orders WHERE note IN :n"), {"n": ("a", "x")})',
    "a_list_for_any": 'bind.execute(sa.text("DELETE FROM orders WHERE id = ANY(:ids)"), {"ids": [1, 7]})',
    "a_list_of_texts_for_unnest": """
        bind.execute(sa.text("UPDATE orders SET note = x FROM unnest(:n) WITH ORDINALITY u (x, i) WHERE i = id"),
                     {"n": ["first", "second"]})
    """,
    "a_list_for_an_array": 'bind.execute(sa.text("UPDATE orders SET tags = :t"), {"t": ["x", None, "y;%s"]})',
    "an_empty_list": 'bind.execute(sa.text("UPDATE orders SET tags = :t"), {"t": []})',
    "a_text_for_an_enum": 'bind.execute(sa.text("UPDATE orders SET state = :s"), {"s": "paid"})',
    "a_null": 'bind.execute(sa.text("UPDATE orders SET note = :n, amount = :n"), {"n": None})',
    "a_case": """
        bind.execute(sa.text("UPDATE orders SET amount = CASE WHEN :flag THEN :a ELSE 0 END"), {"flag": True, "a": "5"})
    """,
    "a_decimal_and_bytes": """
        bind.execute(sa.text("UPDATE orders SET price = :p, raw = :b, amount = :neg - 1"),
                     {"p": decimal.Decimal("1.50"), "b": b"\\\\x00'", "neg": -3})
    """,
    "text_with_every_character": """
        bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": "it's 50% \\\\ \\"x\\" :y %s $1 é\\n"})
    """,
    "a_colon_and_a_percent_sign": "op.execute(\"UPDATE orders SET note = '50% \\\\:x'\")",
    "values_of_types": """
        op.execute(orders.update().values(jb={"a": [1, None]}, tags=["a", "b"], span=Range(1, 5), price=1.5))
    """,
    "several_sets_of_values": """
        bind.execute(sa.text("UPDATE orders SET note = :n WHERE id = :i"), [{"n": 1, "i": "1"}, {"n": 2, "i": "2"}])
    """,
}

CURSORS = {
    "no_rows_of_a_cursor": """
        cursor = bind.connection.cursor()
        cursor.execute("SELECT id FROM orders ORDER BY id")
        none, rest = cursor.fetchmany(0), cursor.fetchall()
        cursor.execute(f"UPDATE orders SET amount = {len(none) * 10 + len(rest)}")
    """,
    "no_rows_of_a_cursor_of_the_servers": """
        cursor = bind.connection.cursor("named")
        cursor.execute("SELECT id FROM orders ORDER BY id")
        none, rest = cursor.fetchmany(0), cursor.fetchall()
        cursor.close()
        op.execute(f"UPDATE orders SET amount = {len(none) * 10 + len(rest)}")
    """,
    "a_cursor": """
        cursor = bind.connection.cursor()
        cursor.execute("SELECT id FROM orders WHERE id > %s ORDER BY id", (0,))
        for (number,) in cursor.fetchall():
            cursor.execute("UPDATE orders SET amount = %(n)s WHERE id = %(i)s", {"n": number * 100, "i": number})
    """,
    "a_cursor_in_a_block": """
        with bind.connection.cursor() as cursor:
            cursor.executemany("UPDATE orders SET note = %s WHERE id = %s", [("x", 1), ("y", 2)])
            cursor.execute("SELECT note FROM orders WHERE note LIKE '%%' ORDER BY id LIMIT %s", (5,))
            notes = [row[0] for row in cursor]
        op.execute(f"UPDATE orders SET tags = ARRAY{notes}")
    """,
    "parameters_of_the_driver": 'bind.exec_driver_sql("UPDATE orders SET note = %s WHERE id = %s", ("x", 1))',
    "percent_signs_without_parameters": "bind.connection.cursor().execute(\"UPDATE orders SET note = '50%'\")",
    "execute_values": """
        from psycopg2.extras import Json, execute_values
        cursor = bind.connection.cursor()
        execute_values(cursor, "INSERT INTO orders (id, note) VALUES %s", [(5, "five"), (6, "six")])
        cursor.execute("UPDATE orders SET jb = %s", (Json({"a": 1}),))
    """,
    "composed_sql": """
        from psycopg2 import sql
        cursor = bind.connection.cursor()
        update = sql.SQL("UPDATE {table} SET {column} = {value} WHERE id = %s").format(
            table=sql.Identifier("public", "orders"), column=sql.Identifier("note"), value=sql.Literal("it's"))
        cursor.execute(update, (1,))
        values = sql.SQL(", ").join([sql.Placeholder("a"), sql.Placeholder("b")])
        cursor.execute(sql.SQL("INSERT INTO orders (id, note) VALUES ({})").format(values), {"a": 3, "b": "c"})
    """,
    "rows_with_names": """
        from psycopg2.extras import DictCursor, NamedTupleCursor, RealDictCursor
        query = "SELECT id, note FROM orders ORDER BY id"
        with bind.connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(query)
            notes = [row["note"] for row in cursor]
        with bind.connection.cursor(cursor_factory=DictCursor) as cursor:
            cursor.execute(query)
            notes += [row["note"] + str(row[0]) + ",".join(row.keys()) for row in cursor.fetchall()]
        with bind.connection.cursor("named", cursor_factory=NamedTupleCursor) as cursor:
            cursor.execute(query)
            notes += [row.note for row in cursor]
        op.execute(f"UPDATE orders SET tags = ARRAY{notes}")
    """,
    "attributes_of_a_connection_and_a_cursor": """
        connection = bind.connection
        cursor = connection.cursor()
        cursor.execute("DO $x$ BEGIN RAISE NOTICE 'it is %', 5; END $x$")
        cursor.callproc("generate_series", [1, 3])
        found = [cursor.fetchall(), cursor.query, cursor.closed, connection.notices[-1:]]
        cursor.execute("UPDATE orders SET note = %s", ("x",))
        found += [cursor.query, connection.server_version >= 140000, connection.get_backend_pid() > 0]
        found += [connection.get_parameter_status("server_encoding")]
        cursor.close()
        found += [cursor.closed]
        bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": repr(found)})
    """,
    "a_row_as_a_value": """
        found = bind.execute(sa.text("SELECT ROW(id, note) FROM orders ORDER BY id LIMIT 1")).scalar()
        bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": found})
    """,
    "bytes_that_are_read": """
        bind.execute(sa.text("UPDATE orders SET raw = :b"), {"b": b"a\\x00b"})
        found = bind.execute(sa.text("SELECT raw FROM orders ORDER BY id LIMIT 1")).scalar()
        bind.execute(sa.text("UPDATE orders SET raw = :b || 'c', note = :n"),
                     {"b": found, "n": f"{found.tobytes()} {bytes(found)} {len(found)}"})
    """,
    "arrays_of_every_type": """
        query = sa.text(
            "SELECT format_type(typelem, NULL), typname FROM pg_type WHERE typcategory = 'A' AND typelem > 0 AND "
            "typnamespace = CAST('pg_catalog' AS regnamespace) AND typname !~ '(range|vector)$' ORDER BY 2")
        found = []
        for element, name in bind.execute(query).all():
            value = bind.execute(sa.text(f"SELECT CAST('{{NULL}}' AS pg_catalog.{name})")).scalar()
            found.append(f"{element} {value!r}")
        bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": "; ".join(found)})
    """,
    "a_type_that_asks_the_dialect": """
        class Encoded(sa.types.TypeDecorator):
            impl = sa.Text

            def load_dialect_impl(self, dialect):
                return dialect.type_descriptor(sa.Text())

        op.create_table("encoded", sa.Column("a", Encoded))
    """,
    "the_drivers_own_connection": """
        for connection in (bind.connection.driver_connection, bind.connection.dbapi_connection):
            with connection.cursor() as cursor:
                cursor.execute("UPDATE orders SET note = coalesce(note, '') || %s", ("x",))
            with connection.cursor(name="portions") as cursor:
                cursor.itersize = 1
                cursor.execute("SELECT id FROM orders")
                total = sum(row[0] for row in cursor)
            op.execute(f"UPDATE orders SET amount = coalesce(amount, 0) + {total}")
    """,
    "copy_from_and_to": """
        cursor = bind.connection.cursor()
        cursor.copy_from(io.StringIO("7\\tseven\\n8\\t\\\\N\\n"), "orders", columns=("id", "note"))
        output = io.StringIO()
        cursor.copy_expert("COPY (SELECT id, note FROM orders ORDER BY id) TO STDOUT WITH CSV", output)
        cursor.execute("UPDATE orders SET note = %s", (output.getvalue(),))
    """,
    "portions_of_rows": """
        query = sa.text("SELECT id FROM orders WHERE id > :i")
        with bind.execute(query, {"i": "0"}, execution_options={"yield_per": 1}) as r:
            total = sum(row[0] for part in r.partitions() for row in part)
        op.execute(f"UPDATE orders SET amount = {total}")
    """,
}

ENDS = {
    "a_swallowed_error_of_a_savepoint": """
        try:
            with bind.begin_nested():
                bind.exec_driver_sql("INSERT INTO orders (id) VALUES (1)")
        except sa.exc.IntegrityError:
            op.execute("UPDATE orders SET note = 'there already'")
    """,
    "the_class_of_an_error": """
        try:
            with bind.begin_nested():
                bind.execute(sa.text("SELECT CAST('x' AS int)"))
        except sa.exc.DataError:
            op.execute("UPDATE orders SET note = 'no number'")
    """,
    "the_code_and_the_text_of_an_error": """
        for id, query in enumerate(("SELECT 1 / 0", "SELECT * FROM nowhere", "INSERT INTO orders VALUES (1)"), 10):
            try:
                with bind.begin_nested():
                    bind.execute(sa.text(query))
            except sa.exc.DBAPIError as error:
                note = f"{error.orig.pgcode} {error.orig.diag.message_primary} {type(error.orig).__name__}"
                note += error.orig.pgerror.splitlines()[0]
                bind.execute(sa.text("INSERT INTO orders (id, note) VALUES (:i, :n)"), {"i": id, "n": note})
    """,
    "an_error_that_is_caught_as_one_of_psycopg2": """
        import psycopg2
        from psycopg2.errors import UniqueViolation
        cursor = bind.connection.cursor()
        cursor.execute("SAVEPOINT a")
        try:
            cursor.execute("SELECT * FROM nowhere")
        except psycopg2.errors.UndefinedTable as error:
            cursor.execute("ROLLBACK TO SAVEPOINT a")
            cursor.execute("UPDATE orders SET note = %s", (f"{error.pgcode} {error.diag.severity}",))
        try:
            with bind.begin_nested():
                op.execute("INSERT INTO orders (id) VALUES (1)")
        except sa.exc.IntegrityError as error:
            assert isinstance(error.orig, UniqueViolation)
            assert isinstance(error.orig, psycopg2.IntegrityError)
            op.execute("UPDATE orders SET amount = 7")
    """,
    "a_commit_by_statement": """
        op.execute("COMMIT")
        op.execute("CREATE INDEX CONCURRENTLY ix ON orders (amount)")
        op.execute("ALTER TYPE state ADD VALUE 'shipped'")
    """,
    "a_script_with_its_own_transaction": """
        op.execute("BEGIN; UPDATE orders SET note = 'x'; COMMIT;")
        op.execute("UPDATE orders SET amount = 5")
    """,
    "an_autocommit_block": """
        with op.get_context().autocommit_block():
            op.execute("CREATE INDEX CONCURRENTLY ix ON orders (amount)")
            op.execute("UPDATE orders SET note = 'x'; UPDATE orders SET amount = 1")
    """,
}

READ = {
    "infinite_dates": """
        query = "SELECT CAST(:i AS date), CAST(:i AS timestamp), CAST(:i AS timestamptz)"
        for each in ("infinity", "-infinity"):
            found = bind.execute(sa.text(query), {"i": each}).one()
            bind.execute(sa.text("UPDATE orders SET tags = coalesce(tags, '{}') || :n"), {"n": [repr(found)]})
            bind.execute(sa.text("UPDATE orders SET day = :d, at = :a"), {"d": found[0], "a": found[1]})
    """,
    "a_moment_half_a_year_later": """
        op.execute("SET timezone = 'Europe/Berlin'")
        moment = bind.execute(sa.text("SELECT CAST('2024-02-15 12:00+00' AS timestamptz)")).scalar()
        later = moment + datetime.timedelta(days=180)
        bind.execute(sa.text("UPDATE orders SET zoned = :z, note = :n"), {"z": later, "n": repr(moment)})
    """,
    "moments_of_an_array_and_of_a_range": """
        op.execute("SET timezone = 'America/New_York'")
        query = "SELECT ARRAY[CAST('2024-02-15' AS timestamptz), '2024-07-15'], tstzrange('2024-02-15', '2024-07-15')"
        moments, span = bind.execute(sa.text(query)).one()
        found = [repr(moment) for moment in (*moments, span.lower, span.upper)]
        bind.execute(sa.text("UPDATE orders SET tags = :n"), {"n": found})
    """,
    "moments_of_a_zone_without_a_name": """
        query = "SELECT CAST('2024-02-15 12:00+00' AS timestamptz), ARRAY[CAST('0900-07-15 12:00+00' AS timestamptz)]"
        for zone in ("'5'", "'-3:30'", "INTERVAL '-08:00' HOUR TO MINUTE", "'EST5EDT'", "'Europe/Amsterdam'"):
            op.execute(f"SET TIME ZONE {zone}")
            found = bind.execute(sa.text(query)).one()
            bind.execute(sa.text("UPDATE orders SET tags = coalesce(tags, '{}') || :n"), {"n": [repr(found)]})
            bind.execute(sa.text("UPDATE orders SET zoned = :z"), {"z": found[1][0]})
    """,
    "the_last_moment_of_a_day": """
        query = "SELECT CAST('24:00' AS time), CAST('24:00+02' AS timetz), ARRAY[CAST('24:00' AS time), '23:59']"
        found = [repr(value) for value in bind.execute(sa.text(query)).one()]
        bind.execute(sa.text("UPDATE orders SET tags = :n"), {"n": found})
    """,
    "ranges_by_the_driver": """
        import psycopg2.extras
        query = (
            "SELECT int4range(1, 5), int8range(1, NULL, '()'), numrange(1.5, 2), CAST('empty' AS daterange),"
            " tsrange('2024-01-01', '2024-02-01'), tstzrange('2024-01-01', '2024-02-01'), ARRAY[int4range(2, 3)]"
        )
        row = bind.exec_driver_sql(query).one()
        assert row[0] == psycopg2.extras.NumericRange(1, 5) and 4 in row[0]
        found = [repr(value) for value in row]
        bind.execute(sa.text("UPDATE orders SET span = :r, tags = :n"), {"r": row[1], "n": found})
        assert bind.execute(sa.select(orders.c.span)).scalars().first() == Range(2, None)
    """,
    "no_number_of_a_row": """
        found = bind.execute(sa.text("UPDATE orders SET amount = 1")).lastrowid
        bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": repr(found)})
    """,
}

ADAPTED = {
    "a_class_with_an_adapter": """
        from psycopg2.extensions import AsIs, register_adapter
        class Price: pass
        register_adapter(Price, lambda price: AsIs("7.5"))
        bind.execute(sa.text("UPDATE orders SET price = :p"), {"p": Price()})
    """,
    "a_dict_with_an_adapter": """
        from psycopg2.extensions import adapters, ISQLQuote, register_adapter
        from psycopg2.extras import Json
        register_adapter(dict, Json)
        bind.execute(sa.text("UPDATE orders SET jb = :j"), {"j": {"a": [1, "it's"]}})
        del adapters[dict, ISQLQuote]
    """,
    "a_class_that_adapts_itself": """
        class Note:
            def __conform__(self, protocol):
                return self
            def getquoted(self):
                return b"'itself'"
        import psycopg2.extensions
        bind.execute(sa.text("UPDATE orders SET note = :n"), {"n": Note()})
    """,
    "classes_of_pythons_own_with_an_adapter": """
        import enum
        from psycopg2.extensions import adapt, adapters, AsIs, ISQLQuote, register_adapter
        from psycopg2.extras import Inet, Json
        class State(enum.Enum):
            PAID = "paid"
        class Note(str): pass
        class Amount(int): pass
        register_adapter(State, lambda state: adapt(state.value))
        register_adapter(Note, lambda note: adapt(note.upper() + chr(92)))
        register_adapter(Amount, lambda amount: AsIs(amount * 2))
        register_adapter(set, lambda values: adapt(sorted(values)))
        query = "UPDATE orders SET state = :s, note = :n, amount = :a, tags = :t, host = :h"
        values = {"s": State.PAID, "n": Note("x"), "a": Amount(4), "t": {"b", chr(92)}, "h": Inet("10.0.0.1")}
        bind.execute(sa.text(query), values)
        register_adapter(list, Json)
        bind.execute(sa.text("UPDATE orders SET jb = :j"), {"j": [1, {"a": None}]})
        from psycopg2._psycopg import List
        register_adapter(list, List)
        del adapters[set, ISQLQuote]
    """,
    "json_of_a_subclass": """
        import json
        from psycopg2.extras import Json
        class AsItIs(Json):
            def dumps(self, value):
                return json.dumps(value, ensure_ascii=False)
        bind.execute(sa.text("UPDATE orders SET jb = :j"), {"j": AsItIs({"a": "é中" + chr(92)})})
    """,
    "texts_beyond_latin_1": """
        import json
        from psycopg2.extensions import QuotedString
        from psycopg2.extras import Json
        as_it_is = Json({"a": "é中"}, dumps=lambda value: json.dumps(value, ensure_ascii=False))
        bind.execute(sa.text("UPDATE orders SET jb = :j, note = :n"), {"j": as_it_is, "n": QuotedString("é中")})
    """,
}

STATEMENTS = {**COMMANDS, **PARAMETERS, **CURSORS, **READ, **ADAPTED, **ENDS}

HEAD = """
import datetime, decimal, io
from sqlalchemy.dialects.postgresql import ARRAY, INT8RANGE, JSONB, NUMRANGE, Range
orders = sa.table("orders", *(sa.column(n, t) for n, t in dict(
    id=sa.Integer, amount=sa.Integer, day=sa.Date, j=sa.JSON, jb=JSONB, tags=ARRAY(sa.Text), span=INT8RANGE,
    price=sa.Numeric).items()))
bind = op.get_bind()
"""


_ROWS = "SELECT to_json(t)::text FROM"


def state(dsn: Dsn) -> dict[str, Any]:
    """Return what a revision may have changed."""
    tables = [
        row[0]
        for row in query(
            dsn,
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
            "AND relname NOT LIKE 'alembic%' AND relname NOT LIKE 'migration_log%' ORDER BY 1",
        )
    ]
    return {
        "rows": {table: sorted(row[0] for row in query(dsn, f"{_ROWS} {table} t")) for table in tables},
        "columns": query(
            dsn,
            "SELECT attrelid::regclass::text, attname, atttypid::regtype::text FROM pg_attribute "
            "WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relname NOT LIKE 'alembic%' AND relname NOT LIKE '%migration_log%') ORDER BY 1, 2",
        ),
        "others": query(dsn, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"),
        "enum": query(dsn, "SELECT enum_range(NULL::state)::text"),
    }


def run_over_psycopg2(dsn: Dsn, body: str) -> None:
    """Run the body of a revision over psycopg2, as plain Alembic does."""
    (host, port), *_ = dsn.hosts
    url = URL.create("postgresql+psycopg2", dsn.user, dsn.password, host, port, dsn.database)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        names: dict[str, Any] = {"op": Operations(context), "sa": __import__("sqlalchemy")}
        with context.begin_transaction(_per_migration=True):
            exec(compile(body, "<revision>", "exec"), names)  # noqa: S102 - the table of this file
    engine.dispose()


@pytest.fixture
def psycopg_service(monorepo: Monorepo, database: Callable[..., Dsn]) -> Dsn:
    """A service whose driver is psycopg, with a first revision."""
    configured = monorepo.root / "pyproject.toml"
    table = '[tool.service-migrations.service.billing]\ndriver = "psycopg"\n\n'
    content = configured.read_text(encoding="utf-8")
    configured.write_text(content.replace("[tool.alembic]", table + "[tool.alembic]"), encoding="utf-8")
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "r001", None, f"op.execute('''{SETUP}''')")
    return dsn


@pytest.mark.parametrize("name", STATEMENTS)
def test_what_psycopg2_carries_does_the_same_over_psycopg(
    name: str, monorepo: Monorepo, psycopg_service: Dsn, database: Callable[..., Dsn]
) -> None:
    body = dedent(HEAD) + dedent(STATEMENTS[name])
    monorepo.revision("billing", "r002", "r001", body)
    expected = database()
    run_over_psycopg2(expected, f"op.execute('''{SETUP}''')")
    run_over_psycopg2(expected, body)

    outcome = wait(service_migrations.upgrade(monorepo.find("billing")))

    assert outcome.after == ("r002",)
    assert state(psycopg_service) == state(expected)


OFFLINE = [name for name in (*COMMANDS, *PARAMETERS) if not re.search("found|rowcount|_sql", STATEMENTS[name])]
"""Those that need no answer, of which there is none offline."""


@pytest.mark.parametrize("name", OFFLINE)
def test_a_script_stores_what_psycopg_stores(
    name: str, monorepo: Monorepo, psycopg_service: Dsn, database: Callable[..., Dsn]
) -> None:
    monorepo.revision("billing", "r002", "r001", dedent(HEAD) + dedent(STATEMENTS[name]))
    service = monorepo.find("billing")
    wait(service_migrations.upgrade(service, "r001"))
    (planned,) = wait(service_migrations.plan(service)).revisions
    scripted = database()
    run_script(scripted, [SETUP, planned.sql])

    wait(service_migrations.upgrade(service))

    assert state(psycopg_service) == state(scripted)


def test_a_class_without_an_adapter_is_named(monorepo: Monorepo, psycopg_service: Dsn) -> None:
    body = 'class Price: pass\nop.get_bind().execute(sa.text("UPDATE orders SET price = :p"), {"p": Price()})'
    monorepo.revision("billing", "r002", "r001", body)
    with pytest.raises(MigrationError, match="cannot adapt type 'Price'"):
        wait(service_migrations.upgrade(monorepo.find("billing")))
    assert query(psycopg_service, "SELECT count(*) FROM orders WHERE price IS NOT NULL") == [(0,)]


def test_an_engine_of_the_callers_carries_them_too(monorepo: Monorepo, psycopg_service: Dsn) -> None:
    body = "".join(dedent(STATEMENTS[name]) + "\n" for name in ("two_commands", "a_text_for_an_integer", "a_cursor"))
    monorepo.revision("billing", "r002", "r001", dedent(HEAD) + body)
    (host, port), *_ = psycopg_service.hosts
    url = URL.create(
        "postgresql+psycopg", psycopg_service.user, psycopg_service.password, host, port, psycopg_service.database
    )

    async def upgrade() -> Any:
        engine = create_async_engine(url)
        try:
            outcome = await service_migrations.upgrade(monorepo.find("billing"), engine=engine)
            async with engine.connect() as connection:  # the application's own connections are as before
                value = await connection.scalar(text("SELECT CAST(:n AS text)"), {"n": "x"})
            return outcome, value, engine.pool.status()
        finally:
            await engine.dispose()

    outcome, value, status = wait(upgrade())
    assert outcome.after == ("r002",)
    assert value == "x"
    assert "Current Checked out connections: 0" in status


@pytest.mark.usefixtures("psycopg_service")
def test_an_engine_of_the_other_driver_is_refused(monorepo: Monorepo) -> None:
    engine = create_async_engine("postgresql+asyncpg://app:x@localhost:1/billing")
    with pytest.raises(UsageError, match=r"connects with asyncpg, and a migration needs psycopg\. Make it with"):
        wait(service_migrations.upgrade(monorepo.find("billing"), engine=engine))


@pytest.mark.parametrize(
    ("driver", "code", "answer"),
    [("psycopg", 78, 'pip install "service-migrations[psycopg]"'), ("asyncpg", 0, "nothing to do")],
)
@pytest.mark.usefixtures("psycopg_service")
def test_without_the_package_a_service_with_that_driver_is_78(
    driver: str, code: int, answer: str, monorepo: Monorepo
) -> None:
    configured = monorepo.root / "pyproject.toml"
    text_ = configured.read_text(encoding="utf-8")
    configured.write_text(text_.replace('driver = "psycopg"', f'driver = "{driver}"'), encoding="utf-8")
    monorepo.revision("billing", "r001", None, "pass")
    if driver == "asyncpg":
        wait(service_migrations.upgrade(monorepo.find("billing")))
    (monorepo.root / "psycopg.py").write_text("raise ModuleNotFoundError('No module', name='psycopg')")

    ran = monorepo.process("db.upgrade", "--service", "billing")

    assert ran.code == code, ran.text
    assert answer in ran.text
    assert "Traceback" not in ran.text


@pytest.mark.usefixtures("psycopg_service")
def test_the_libpq_of_the_machine_is_as_good_as_that_of_psycopgs_wheels(
    monorepo: Monorepo, psycopg_service: Dsn
) -> None:
    """Without the extra ``binary``, psycopg uses the machine's, often an older one, which knows fewer parameters."""
    old = {"PSYCOPG_IMPL": "python"}
    monorepo.revision("billing", "r002", "r001", "op.create_table('extra', sa.Column('id', sa.Integer))")
    ran = monorepo.process("db.upgrade", "--service", "billing", env=old)
    assert ran.code == 0, ran.text
    assert query(psycopg_service, "SELECT to_regclass('extra')::text")[0][0] == "extra"


@pytest.mark.parametrize(("name", "value"), [("load_balance_hosts", "random"), ("sslnegotiation", "postgres")])
def test_a_parameter_that_a_libpq_is_too_old_for_is_named_unless_it_says_the_default(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [option for option in pq.Conninfo.get_defaults() if option.keyword.decode() != name]
    monkeypatch.setattr("psycopg.pq.Conninfo.get_defaults", lambda: options)
    dsn = parse(f"postgresql://app:app@localhost/app?{name}={value}", "the test")
    if value == "random":
        with pytest.raises(ConfigurationError, match=rf"^The libpq that psycopg uses here is [\d.]+, .* {name} of the"):
            Connections(dsn, 10, {})
    else:
        Connections(dsn, 10, {})


@pytest.mark.usefixtures("psycopg_service")
def test_where_nothing_is_to_do_psycopg_is_not_imported(monorepo: Monorepo) -> None:
    assert wait(service_migrations.upgrade(monorepo.find("billing"))).after == ("r001",)
    (monorepo.root / "psycopg.py").write_text("raise ModuleNotFoundError('No module', name='psycopg')")
    for words in (("--list",), ("db.upgrade", "--service", "billing")):
        ran = monorepo.process(*words)
        assert ran.code == 0, ran.text


@pytest.fixture
def asyncpg_service(monorepo: Monorepo, database: Callable[..., Dsn]) -> Dsn:
    """A service whose driver is asyncpg, with a first revision."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    commands = [command for command in SETUP.split(";") if command.strip()]
    monorepo.revision("billing", "r001", None, "\n".join(f"op.execute({command!r})" for command in commands))
    return dsn


@pytest.mark.usefixtures("asyncpg_service")
@pytest.mark.parametrize(
    "name",
    [
        "two_commands",
        "two_commands_of_text",
        "two_commands_of_the_driver",
        "a_text_for_an_integer",
        "json_build_object",
        "a_text_for_an_id",
        "an_integer_for_a_text",
        "a_text_for_a_date",
        "an_aware_moment_for_a_timestamp",
        "a_tuple_in_in",
        "parameters_of_the_driver",
        "a_cursor",
        "copy_from_and_to",
        "a_default",
        "a_comment",
        "a_view",
        "a_materialized_view",
        "a_date_constant",
        "a_function_of_several_types",
        "an_operator_of_several_types",
    ],
)
def test_over_asyncpg_a_failure_of_this_kind_names_the_driver_and_the_setting(name: str, monorepo: Monorepo) -> None:
    monorepo.revision("billing", "r002", "r001", dedent(HEAD) + dedent(STATEMENTS[name]))
    with pytest.raises(MigrationError, match=r"^billing: migrations/versions/billing/r002\.py:\d+: ") as caught:
        wait(service_migrations.upgrade(monorepo.find("billing")))
    assert caught.value.exit_code == 1
    assert "asyncpg" in caught.value.hint
    assert 'set driver = "psycopg"' in caught.value.hint
    assert "It was rolled back." in caught.value.hint


def test_over_asyncpg_the_values_of_an_enum_without_a_name_have_the_type_of_the_column(
    monorepo: Monorepo, asyncpg_service: Dsn
) -> None:
    body = """
        table = sa.table("orders", sa.column("id", sa.Integer), sa.column("note", sa.Enum), sa.column("state", sa.Enum))
        rows = [{"id": number, "note": "n", "state": "open"} for number in (7, 8)]
        op.bulk_insert(table, rows)
        op.execute(table.update().where(table.c.state == "open", table.c.note == "n").values(state="paid"))
    """
    monorepo.revision("billing", "r002", "r001", dedent(body))
    wait(service_migrations.upgrade(monorepo.find("billing")))
    rows = query(asyncpg_service, "SELECT id, note, state::text FROM orders WHERE state = 'paid' ORDER BY id")
    assert [tuple(row) for row in rows] == [(7, "n", "paid"), (8, "n", "paid")]


FLOATS = """
columns = "id int, n numeric, m numeric(10, 2), f float8, r real, ns numeric[], fs float8[], s numrange"
op.execute(f"CREATE TABLE numbers_of ({columns})")
statement = sa.text("INSERT INTO numbers_of VALUES (:i, :v, :m, :f, :r, :l, :k)")
for i, v in enumerate((0.1, 2.675, -0.0, 1e300, 5e-324, 1 / 3, float("nan"))):
    m, r = (v, v) if 0.01 < v < 9 else (1.005, 0.1)
    bind.execute(statement, {"i": i, "v": v, "m": m, "f": v, "r": r, "l": [v, 0.1], "k": [v]})
types = {"n": sa.Numeric, "m": sa.Numeric(10, 2), "f": sa.Float, "r": sa.REAL}
types |= {"ns": sa.ARRAY(sa.Numeric), "fs": sa.ARRAY(sa.Float), "s": NUMRANGE}
table = sa.table("numbers_of", *(sa.column(*item) for item in types.items()))
row = {"n": 0.1, "m": 2.675, "f": 0.1, "r": 0.1, "ns": [0.1, 2.675], "fs": [0.1], "s": Range(0.1, None)}
op.bulk_insert(table, [row, row | {"n": 2.675}])
op.execute(table.insert().values(row))
"""


def test_over_asyncpg_a_float_is_the_number_that_is_written(
    monorepo: Monorepo, asyncpg_service: Dsn, database: Callable[..., Dsn]
) -> None:
    body = dedent(HEAD) + FLOATS
    monorepo.revision("billing", "r002", "r001", body)
    expected = database()
    run_over_psycopg2(expected, f"op.execute('''{SETUP}''')")
    run_over_psycopg2(expected, body)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    rows = "SELECT n::text FROM numbers_of n ORDER BY n::text"
    assert [row[0] for row in query(asyncpg_service, rows)] == [row[0] for row in query(expected, rows)]


@pytest.mark.usefixtures("psycopg_service")
def test_over_psycopg_a_percent_that_asyncpg_sends_as_it_is_is_named(monorepo: Monorepo) -> None:
    body = """op.get_bind().exec_driver_sql("SELECT format('%I', 'a')")"""
    monorepo.revision("billing", "r002", "r001", body)
    with pytest.raises(
        MigrationError, match=r"r002\.py:\d+: only .* got '%I'\. A % in exec_driver_sql\(\) .* write %%\."
    ):
        wait(service_migrations.upgrade(monorepo.find("billing")))


@pytest.mark.usefixtures("asyncpg_service")
def test_plan_and_doctor_name_what_asyncpg_wont_take(monorepo: Monorepo) -> None:
    body = 'op.execute("SELECT 1; SELECT 2")\nop.execute(f"SELECT {1}; SELECT 2")\nop.execute("SELECT 1")'
    monorepo.revision("billing", "r002", "r001", body)
    service = monorepo.find("billing")
    plan = wait(service_migrations.plan(service))
    findings = [finding for revision in plan.revisions for finding in revision.findings if finding.rule == "driver"]
    first, second = findings
    assert second.line == (first.line or 0) + 1
    assert first.path == second.path == "migrations/versions/billing/r002.py"
    assert "asyncpg takes one command at a time" in second.message

    texts = [finding.text for finding in wait(examine(service)) if "asyncpg" in finding.text]
    assert len(texts) == 1
    assert f"r002.py:{first.line}: asyncpg takes one command at a time" in texts[0]


@pytest.mark.usefixtures("psycopg_service")
def test_a_percent_sign_that_psycopg_takes_for_a_parameter_is_told_with_what_to_write(monorepo: Monorepo) -> None:
    body = "op.get_bind().exec_driver_sql(\"SELECT '%d' LIKE %(all)s\", {'all': 'x'})"
    monorepo.revision("billing", "r002", "r001", body)
    with pytest.raises(MigrationError) as caught:
        wait(service_migrations.upgrade(monorepo.find("billing")))
    hint = (
        "A % in exec_driver_sql() is the beginning of a parameter, except over asyncpg: write %%. It was rolled back."
    )
    assert hint in str(caught.value)


@pytest.mark.parametrize("fixture", ["asyncpg_service", "psycopg_service"])
@pytest.mark.parametrize("follows", ['op.execute("SELECT 1")', "pass"], ids=["a_statement", "nothing"])
def test_after_a_swallowed_error_the_first_error_is_named_with_its_line(
    fixture: str, follows: str, monorepo: Monorepo, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(fixture)
    body = 'try:\n    op.create_index("orders_pkey", "orders", ["amount"])\nexcept Exception:\n    print("there")\n'
    path = monorepo.revision("billing", "r002", "r001", body + follows)
    line = 1 + path.read_text(encoding="utf-8").splitlines().index(
        '        op.create_index("orders_pkey", "orders", ["amount"])'
    )
    with pytest.raises(MigrationError) as caught:
        wait(service_migrations.upgrade(monorepo.find("billing")))
    text_ = str(caught.value)
    assert '[25P02]. The first error was relation "orders_pkey" already exists [42P07]' in text_
    assert f"migrations/versions/billing/r002.py:{line}" in text_
    assert "begin_nested()" in text_

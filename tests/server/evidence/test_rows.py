"""Made rows: valid against types, keys, CHECKs and generated columns; what can't be filled is named."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from service_migrations.evidence.rows import Rows
from tests.support.database import make_database
from tests.support.version import VERSION

TABLES = {
    "types": "a smallint, b bigint, c numeric(6,2), d real, e text, f varchar(3), g char(2), h date, i timestamptz, "
    "j interval, k jsonb, l bytea, m inet, n uuid, o bool, p int[], q tsrange, r bit(4), s time, t mood, u money",
    "required": "a uuid NOT NULL, b text NOT NULL, c mood NOT NULL, d timestamp NOT NULL, e text[] NOT NULL",
    "identity": "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a + 1) STORED",
    "serial": "id serial PRIMARY KEY, a text DEFAULT 'x' NOT NULL",
    "text key": "id varchar(20) PRIMARY KEY",
    "two keys": "a int, b mood, PRIMARY KEY (a, b)",
    "expression": "email text NOT NULL, EXCLUDE (email WITH =), UNIQUE (email)",
    "foreign key": "id int PRIMARY KEY, r int NOT NULL REFERENCES parent",
    "one to one": "id int PRIMARY KEY REFERENCES parent",
    "association": "a int REFERENCES parent, b int REFERENCES parent, PRIMARY KEY (a, b)",
    "itself": "id int PRIMARY KEY, r int REFERENCES x",
    "composite": "id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES pair",
    "email": "e text NOT NULL UNIQUE CHECK (e ~ '^[^@]+@[^@]+$'), CHECK (lower(e) = e)",
    "slug": "s text UNIQUE CHECK (s ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$')",
    "currency": "c char(3) NOT NULL CHECK (c ~ '^[A-Z]{3}$')",
    "choice": "k text NOT NULL CHECK (k IN ('card', 'cash')), n int CHECK (n > 10 AND n < 20)",
    "order beside a default": "a timestamptz NOT NULL DEFAULT now(), b timestamptz NOT NULL, CHECK (b > a)",
    "order": "a date, b date, CHECK (b >= a), c int, d int, CHECK (c < d)",
    "either": "a int, b int, CHECK ((a IS NULL) <> (b IS NULL))",
    "depends": "s mood NOT NULL, at timestamptz, CHECK (s <> 'sad' OR at IS NOT NULL)",
    "domain": "a positive NOT NULL, b positive",
    "array": "a text[] CHECK (cardinality(a) <= 3)",
    "length": "a text CHECK (length(a) BETWEEN 5 AND 8)",
    "all digits behind the point": "a numeric(2, 2) NOT NULL, b numeric(20, 18)",
    "names of ours": "combination_ int CHECK (combination_ > 5), row_number_ int, g int CHECK (g > 7)",
}
OF_NEWER_SERVERS = {
    "more digits behind the point than there are": (15, "a numeric(2, 4) NOT NULL"),
    "digits before the point that are rounded": (15, "a numeric(3, -1) NOT NULL"),
}
UNFILLABLE = {
    "contradiction": ("a int NOT NULL CHECK (a <> a)", "no value is known for (a <> a)"),
    "itself": ("id int PRIMARY KEY, r int NOT NULL REFERENCES x", "r refers to x, which has no rows"),
    "type": ("a pg_lsn NOT NULL", "no value is known for a, of type pg_lsn"),
    "few": ("a bool PRIMARY KEY", "x has 2 rows: its unique columns take no more"),
}
SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b));
"""
COUNT = 50


@pytest.fixture(scope="module")
def dsn(server):
    return replace(make_database(server), user=server.admin.user, password=server.admin.password)


def filled(dsn, columns: str, *rows: str) -> tuple[int, list[str]]:
    async def run() -> tuple[int, list[str]]:
        connection = await asyncpg.connect(**dsn.connect_args())
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(f"{SETUP} CREATE TABLE x ({columns})")
            maker = Rows(connection, COUNT, {"r": rows}, [])
            await maker.add("r")
            return await connection.fetchval("SELECT count(*) FROM x"), maker.notes
        finally:
            await transaction.rollback()
            await connection.close()

    return asyncio.run(run())


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_a_table_is_filled_with_valid_rows(dsn, columns: str) -> None:
    assert filled(dsn, columns) == (COUNT, [])


@pytest.mark.parametrize(("since", "columns"), OF_NEWER_SERVERS.values(), ids=OF_NEWER_SERVERS)
def test_so_is_one_of_a_type_that_older_servers_lack(dsn, since: int, columns: str) -> None:
    if int(VERSION) < since:
        pytest.skip(f"PostgreSQL {since} brings it")
    assert filled(dsn, columns) == (COUNT, [])


@pytest.mark.parametrize("columns", ["row_number_ int UNIQUE, g int NOT NULL", "row_number_ int, g int CHECK (g > 0)"])
def test_columns_may_have_names_that_the_statement_could_have(dsn, columns: str) -> None:
    assert filled(dsn, columns, "INSERT INTO x VALUES (1, 1)") == (COUNT, [])


def test_an_error_may_have_no_message(dsn) -> None:
    function = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''; END $$"
    trigger = "CREATE TRIGGER no BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION no()"
    assert filled(dsn, "a int", function, trigger) == (0, ["x can't be filled: RaiseError"])


@pytest.mark.parametrize(("columns", "reason"), UNFILLABLE.values(), ids=UNFILLABLE)
def test_a_table_that_cannot_be_filled_is_named_with_the_reason(dsn, columns: str, reason: str) -> None:
    _, notes = filled(dsn, columns)
    assert len(notes) == 1
    assert reason in notes[0]


def test_the_teams_own_rows_are_the_pattern_of_the_others(dsn) -> None:
    columns = "id int PRIMARY KEY, slug text UNIQUE CHECK (slug ~ '^[a-z0-9-]+$'), odd json CHECK (odd->>'k' = 'v')"
    assert filled(dsn, columns, """INSERT INTO x VALUES (1, 'acme', '{"k": "v"}')""") == (COUNT, [])


def test_own_rows_that_multiply_the_made_ones_are_left_out_and_named(dsn) -> None:
    count, notes = filled(
        dsn, "a int", "INSERT INTO x SELECT 1 FROM generate_series(1, 100) g, generate_series(1, 100) h"
    )
    assert (count, notes) == (COUNT, ["rows that follow r are left out: beside the made rows they would be 10000"])

"""What SQL leaves in its session is read from the SQL: settings, a role, temporary tables."""

import pytest

from service_migrations.sql.session_state import restoring

RESET, TEMPORARY, ROLE = ["RESET ALL"], ["CLOSE ALL", "DISCARD TEMP"], ["RESET ROLE"]
PREPARED = ["DEALLOCATE ALL"]
LEFT = {
    "SET lock_timeout = 0": RESET,
    "set session lock_timeout to '5s'": RESET,
    "SET TIME ZONE 'UTC'": RESET,
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": RESET,
    "SELECT pg_catalog.set_config('search_path', '', false)": RESET,
    "SELECT set_config(name, '', b) FROM t": RESET,
    "INSERT INTO t SELECT set_config('a.b', 'c', false)": RESET,
    "SET ROLE app": ROLE,
    "SET SESSION ROLE app": ROLE,
    "SELECT set_config('role', 'app', false)": ROLE,
    "SET SESSION AUTHORIZATION app": ["RESET SESSION AUTHORIZATION"],
    "CREATE TEMP TABLE t (a int)": TEMPORARY,
    "CREATE LOCAL TEMPORARY TABLE t AS SELECT 1": TEMPORARY,
    "CREATE TABLE pg_temp.t (a int)": TEMPORARY,
    "SELECT 1 INTO TEMP t": TEMPORARY,
    "CREATE OR REPLACE TEMP VIEW v AS SELECT 1": TEMPORARY,
    "PREPARE p (int) AS SELECT $1": PREPARED,
    "DO $$ BEGIN EXECUTE 'PREPARE p AS SELECT 1'; END $$": PREPARED,
    "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1": ["CLOSE ALL"],
    "DO $$ BEGIN SET lock_timeout = 0; END $$": RESET,
    "DO $$ BEGIN IF true THEN PERFORM set_config('lock_timeout', '0', false); END IF; END $$": RESET,
    "DO $$ BEGIN EXECUTE 'SET ROLE app'; END $$": ROLE,
    "DO $$ BEGIN CREATE TEMP TABLE t (a int); END $$": TEMPORARY,
    "SET ROLE app; CREATE TEMP TABLE t (a int); SET lock_timeout = 0": [*RESET, *TEMPORARY, *ROLE],
}
NOTHING_LEFT = (
    "SET LOCAL lock_timeout = 0",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "PREPARE TRANSACTION 'one'",
    "DECLARE c CURSOR FOR SELECT 1",
    "SELECT set_config('lock_timeout', '0', true)",
    "UPDATE t SET role = 1",
    "INSERT INTO t VALUES ('SET lock_timeout = 0')",
    "CREATE TABLE temperatures (temp int, temporary int)",
    "ALTER TABLE t SET (fillfactor = 70)",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1'",
    "DO $$ BEGIN UPDATE t SET a = 1; END $$",
    "DO $$ BEGIN SET LOCAL lock_timeout = 0; END $$",
    "-- SET lock_timeout = 0",
    "",
)


@pytest.mark.parametrize(("sql", "statements"), LEFT.items(), ids=LEFT)
def test_what_sql_leaves_is_put_back(sql: str, statements: list[str]) -> None:
    assert restoring(sql) == statements


@pytest.mark.parametrize("sql", NOTHING_LEFT)
def test_what_leaves_nothing_needs_nothing(sql: str) -> None:
    assert restoring(sql) == []

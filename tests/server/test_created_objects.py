"""What a script is said to create beside what a server then has."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from service_migrations.sql.created import Created
from tests.support.database import query, run_script

SCRIPTS = [
    "SELECT 1 AS a INTO kept",
    "SELECT (SELECT 1 AS a) AS a INTO UNLOGGED TABLE s.kept",
    "WITH w AS (INSERT INTO old VALUES (1) RETURNING a) SELECT * INTO TABLE kept FROM w",
    "WITH w AS (SELECT 1 AS a) INSERT INTO old SELECT a FROM w",
    "SELECT 1 AS a INTO TEMP gone",
    "SELECT 1 AS a INTO LOCAL TEMPORARY TABLE gone",
    "DO $$ DECLARE kept int; BEGIN SELECT 1 INTO kept; END $$",
    f"CREATE TABLE {'x' * 70} (a int)",
    f'CREATE TABLE "{"é" * 40}" (a int); CREATE TABLE b (a int)',
    f"CREATE TABLE {'x' * 70} (a int); ALTER TABLE {'x' * 65} RENAME TO {'Y' * 64}",
    f"CREATE TABLE {'x' * 70} (a int); DROP TABLE {'X' * 63}",
    "CREATE TABLE ÄPFEL (a int); CREATE TABLE İ (a int); CREATE TABLE ΣΑΣ (a int)",
    "SET search_path TO s; CREATE TABLE kept (a int); RESET search_path; CREATE TABLE other (a int)",
    "SET search_path TO s; SET search_path TO DEFAULT; CREATE TABLE kept (a int)",
    "SET search_path TO s; RESET ALL; CREATE TABLE kept (a int)",
    "SET search_path TO s; SET CONSTRAINTS ALL DEFERRED; CREATE TABLE kept (a int)",
    'SET search_path TO "$user", s; CREATE TABLE kept (a int)',
    "SET SCHEMA 's'; CREATE TABLE kept (a int)",
    "SELECT pg_catalog.set_config('search_path', 's, public', false); CREATE TABLE kept (a int)",
    "SELECT set_config('work_mem', '1MB', false); CREATE TABLE kept (a int)",
    "CREATE SCHEMA t CREATE TABLE a (a int) CREATE TABLE b (a int) GRANT SELECT ON a TO PUBLIC; CREATE TABLE c (a int)",
    "CREATE SCHEMA AUTHORIZATION CURRENT_USER CREATE TABLE {role}.a (a int)",
]


@pytest.mark.parametrize("script", SCRIPTS, ids=[script[:50] for script in SCRIPTS])
def test_what_a_script_creates_is_what_the_server_has(script: str, database: Callable[[], Dsn]) -> None:
    dsn = database()
    script = script.replace("{role}", '"' + dsn.user.replace('"', '""') + '"')
    run_script(dsn, ["CREATE SCHEMA s; CREATE TABLE old (a int)"])
    run_script(dsn, [script])
    rows = query(
        dsn,
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)' AND c.relname <> 'old'",
    )
    created = Created("public")
    created.apply(script)
    tables = {(schema, name) for kind, schema, name in created.objects if kind == "table"}
    assert tables == {(row["nspname"], row["relname"]) for row in rows}

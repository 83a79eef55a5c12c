"""What loses rows on a server, with nothing in its text that names a loss: a plan has to say so."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from service_migrations.plan.classes import Class
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.lexer import statements
from tests.support.database import query, run_script

LOSSES = {
    "a loop over what it deletes": "DO $$ DECLARE r record; BEGIN FOR r IN DELETE FROM t RETURNING id LOOP "
    "UPDATE u SET id = id WHERE id > 0; END LOOP; END $$",
    "a loop over what a text deletes": "DO $$ DECLARE r record; BEGIN "
    "FOR r IN EXECUTE 'DELETE FROM t RETURNING id' LOOP NULL; END LOOP; END $$",
    "a cursor on what a text deletes": "DO $$ DECLARE c refcursor; r record; BEGIN "
    "OPEN c FOR EXECUTE 'DELETE FROM t RETURNING id'; FETCH c INTO r; CLOSE c; END $$",
    "a table behind a temporary one": "CREATE TEMP TABLE t AS SELECT 1 AS id; DELETE FROM public.t",
    "a table behind a former temporary one": "CREATE TEMP TABLE t (id int) ON COMMIT DROP; DELETE FROM t",
    "a schema that got a table": "CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; DROP SCHEMA s CASCADE",
    "a schema that got a view": "CREATE SCHEMA s; ALTER MATERIALIZED VIEW v SET SCHEMA s; DROP SCHEMA s CASCADE",
    "a table that got a partition": "CREATE TABLE p (id int) PARTITION BY LIST (id); "
    "ALTER TABLE p ATTACH PARTITION t DEFAULT; DROP TABLE p",
    "a table that got a child": "CREATE TABLE p (id int); ALTER TABLE t INHERIT p; DELETE FROM p",
    "a schema that got a table in a block": "CREATE SCHEMA s;\nDO $$ BEGIN ALTER TABLE t SET SCHEMA s; END $$;\n"
    "DROP SCHEMA s CASCADE",
    "a schema that got and lost a table in one block": "CREATE SCHEMA s;\n"
    "DO $$ BEGIN ALTER TABLE t SET SCHEMA s; DROP SCHEMA s CASCADE; END $$",
    "a schema that got a table from a text": "CREATE SCHEMA s;\nDO $$ BEGIN "
    "EXECUTE format('ALTER TABLE %I SET SCHEMA %I', 't', 's'); END $$;\nDROP SCHEMA s CASCADE",
    "a schema that got a table from a variable": "CREATE SCHEMA s;\nDO $$ DECLARE way text := "
    "'ALTER TABLE t SET SCHEMA s'; BEGIN EXECUTE way; END $$;\nDROP SCHEMA s CASCADE",
    "a schema that got a table from a procedure": "CREATE SCHEMA s;\nCREATE PROCEDURE p() LANGUAGE sql AS "
    "$$ALTER TABLE t SET SCHEMA s$$;\nCALL p();\nDROP SCHEMA s CASCADE",
    "a table that got a partition in a block": "CREATE TABLE p (id int) PARTITION BY LIST (id);\n"
    "DO $$ BEGIN ALTER TABLE p ATTACH PARTITION t DEFAULT; END $$;\nDROP TABLE p",
    "a table that got any partition from a text": "CREATE TABLE p (id int) PARTITION BY LIST (id);\n"
    "DO $$ BEGIN EXECUTE format('ALTER TABLE %I ATTACH PARTITION t DEFAULT', 'p'); END $$;\nDROP TABLE p",
    "a table whose name a block gave to another": "CREATE TABLE p (id int);\n"
    "DO $$ BEGIN ALTER TABLE p RENAME TO q; ALTER TABLE t RENAME TO p; END $$;\nDROP TABLE p",
    "a table whose new namesake a block dropped": "CREATE TABLE p (id int);\n"
    "DO $$ BEGIN DROP TABLE p; ALTER TABLE t RENAME TO p; END $$;\nDROP TABLE p",
    "a table with a dot in the name of a new one": 'CREATE TABLE "public.t" (id int); DROP TABLE public.t',
    "a table in a schema with the name of a new one": "CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; "
    'CREATE TABLE "s.t" (id int); DROP TABLE s.t',
    "a table dropped with its new child": "CREATE TABLE p (id int); ALTER TABLE t INHERIT p; DROP TABLE p CASCADE",
}


@pytest.mark.parametrize("way", LOSSES)
def test_a_loss_of_what_was_there_before_is_seen(way: str, database: Callable[[], Dsn]) -> None:
    dsn, scope, found = database(), Scope(), set()
    run_script(dsn, ["CREATE TABLE t (id int)", "CREATE TABLE u (id int)", "INSERT INTO t VALUES (1), (2)"])
    run_script(dsn, ["CREATE MATERIALIZED VIEW v AS SELECT 1 AS id"])
    texts = LOSSES[way].split(";\n" if "$$" in LOSSES[way] else "; ")
    run_script(dsn, texts)
    is_there = query(dsn, "SELECT to_regclass('t') IS NOT NULL AND to_regclass('v') IS NOT NULL")[0][0]
    assert not is_there or query(dsn, "SELECT count(*) FROM t")[0][0] == 0
    for statement in statements(";\n".join(texts)):
        if "former" in way:  # each is of a revision of its own
            scope.start_revision()
        found |= {kind for kind, _ in classify(statement.tokens, scope)}
        scope.record(statement.tokens)
    assert Class.DESTRUCTIVE in found


GENERATED = "CREATE TABLE t (a text, b {0} GENERATED ALWAYS AS ({1}) STORED)"
TAKEN = {
    "ACCESS METHOD x": (
        "CREATE ACCESS METHOD x TYPE TABLE HANDLER heap_tableam_handler",
        "CREATE TABLE t (a int) USING x",
    ),
    "COLLATION x": ('CREATE COLLATION x FROM "C"', "CREATE TABLE t (a text COLLATE x)"),
    "FOREIGN DATA WRAPPER x": (
        "CREATE FOREIGN DATA WRAPPER x",
        "CREATE SERVER s FOREIGN DATA WRAPPER x",
        "CREATE FOREIGN TABLE t (a int) SERVER s",
    ),
    "FUNCTION f(text)": (
        "CREATE FUNCTION f(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'",
        GENERATED.format("int", "f(a)"),
    ),
    "LANGUAGE x": (
        "CREATE TRUSTED LANGUAGE x HANDLER plpgsql_call_handler",
        "CREATE FUNCTION f(text) RETURNS int IMMUTABLE LANGUAGE x AS 'BEGIN RETURN 1; END'",
        GENERATED.format("int", "f(a)"),
    ),
    "OPERATOR ## (text, text)": (
        "CREATE OPERATOR ## (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
        GENERATED.format("bool", "a ## a"),
    ),
    "OPERATOR CLASS x USING btree": (
        "CREATE OPERATOR CLASS x FOR TYPE int4 USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int4, int4)",
        "CREATE TABLE t (a int) PARTITION BY RANGE (a x)",
    ),
    "SERVER s": (
        "CREATE FOREIGN DATA WRAPPER x",
        "CREATE SERVER s FOREIGN DATA WRAPPER x",
        "CREATE FOREIGN TABLE t (a int) SERVER s",
    ),
    "TEXT SEARCH CONFIGURATION x": (
        "CREATE TEXT SEARCH CONFIGURATION x (COPY = simple)",
        GENERATED.format("tsvector", "to_tsvector('x'::regconfig, a)"),
    ),
}
"""What columns and tables can depend on, and one that does."""


@pytest.mark.parametrize("named", TAKEN)
def test_what_takes_columns_with_it_is_seen(named: str, server: Server, database: Callable[[], Dsn]) -> None:
    dsn = replace(server.admin, database=database().database)
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('t') AND attnum > 0 AND NOT attisdropped"
    run_script(dsn, list(TAKEN[named]))
    before, text = query(dsn, columns)[0][0], f"DROP {named} CASCADE"
    run_script(dsn, [text])
    assert query(dsn, columns)[0][0] < before
    (statement,) = statements(text)
    assert Class.DESTRUCTIVE in {kind for kind, _ in classify(statement.tokens, Scope())}

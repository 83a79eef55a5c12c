"""What loses rows on a server, with nothing in its text that names a loss: a plan has to say so."""

from collections.abc import Callable

import pytest

from service_migrations.plan.classify import Class, classify
from service_migrations.plan.novelty import Scope
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
    "a table dropped with its new child": "CREATE TABLE p (id int); ALTER TABLE t INHERIT p; DROP TABLE p CASCADE",
}


@pytest.mark.parametrize("way", LOSSES)
def test_a_loss_of_what_was_there_before_is_seen(way: str, database: Callable[[], Dsn]) -> None:
    dsn, scope, found = database(), Scope(), set()
    run_script(dsn, ["CREATE TABLE t (id int)", "CREATE TABLE u (id int)", "INSERT INTO t VALUES (1), (2)"])
    run_script(dsn, ["CREATE MATERIALIZED VIEW v AS SELECT 1 AS id"])
    texts = LOSSES[way].split("; ") if "$$" not in LOSSES[way] else [LOSSES[way]]
    run_script(dsn, texts)
    is_there = query(dsn, "SELECT to_regclass('t') IS NOT NULL AND to_regclass('v') IS NOT NULL")[0][0]
    assert not is_there or query(dsn, "SELECT count(*) FROM t")[0][0] == 0
    for statement in statements("; ".join(texts)):
        if "former" in way:  # each is of a revision of its own
            scope.look_ahead([])
        found |= {kind for kind, _ in classify(statement.tokens, scope)}
        scope.record(statement.tokens)
    assert Class.DESTRUCTIVE in found

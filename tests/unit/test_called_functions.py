"""The functions that a plan creates and calls: their bodies are seen, and only where they are called."""

from pathlib import Path

import pytest

from service_migrations.history.revisions import read
from service_migrations.plan.classes import Class
from service_migrations.plan.review import judge
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.lexer import statements
from tests.support.monorepo import Monorepo

B, D, L, X = Class.BREAKING, Class.DATA, Class.LOCKS, Class.DESTRUCTIVE
F = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {}; END $$;"
DROPS, TRUNCATES = F.format("DROP TABLE t"), F.format("TRUNCATE t")
ROWS, INSERTS = "SELECT * FROM f() AS x", "INSERT INTO f (a) VALUES (1)"


def classes(text: str) -> set[Class]:
    """Return the classes of statements, each of which knows those before it."""
    scope, found = Scope(), set()
    for statement in statements(text):
        found |= {kind for kind, _ in classify(statement.tokens, scope)}
        scope.record(statement.tokens)
    return found


CALLED = {
    f"{DROPS} SELECT f()": {B, X},
    f"{DROPS} SELECT public.f()": {B, X},
    DROPS + ROWS: {B, X},
    f"{TRUNCATES} DO $$ BEGIN PERFORM f(); END $$": {X},
    f"{TRUNCATES} CREATE FUNCTION g() RETURNS void LANGUAGE sql AS 'SELECT f()'; SELECT g()": {X},
    f"{TRUNCATES} DROP FUNCTION h; SELECT f()": {B, X},
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING 1'; SELECT pg_temp.f()": {D, X},
    "CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC DELETE FROM t; END; CALL f()": {D, X},
    F.format("ALTER TABLE t SET UNLOGGED") + "SELECT f()": {L},
    F.format("REINDEX TABLE t") + "SELECT f()": {L},
    "SELECT query_to_xml('DELETE FROM t RETURNING 1', true, true, '')": {D, X},
    "DO $$ BEGIN PERFORM public.dblink_exec('dbname=a', 'DROP TABLE t'); END $$": {B, X},
    "SELECT dblink_exec('dbname=a', a_text)": {D},
    "WITH a AS (SELECT dblink_exec('TRUNCATE t')) SELECT 1": {X},
    F.format("EXECUTE format('ALTER TABLE %I DROP COLUMN a', x)") + "SELECT f()": {B, X},
    f"CREATE SCHEMA s; {F.format('ALTER TABLE t SET SCHEMA s')} SELECT f(); DROP SCHEMA s CASCADE": {B, X},
}
NOT_CALLED = {
    "SELECT * FROM dblink('dbname=a', 'SELECT 1') AS a (b int)": set(),
    "SELECT query_to_xml('SELECT 1', true, true, '')": set(),
    DROPS: set(),
    f"{DROPS} DROP FUNCTION f()": set(),
    f"{DROPS} CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()": set(),
    DROPS + INSERTS: {D},
    f"{DROPS} SELECT g.f()": set(),
    f"{DROPS} COMMENT ON FUNCTION f() IS 'DROP TABLE t'": set(),
    F.format("PERFORM f()") + "SELECT f()": set(),
    " ".join(["CREATE TABLE v (id int);", F.format("DELETE FROM v"), "SELECT f()"]): {D},
    "CREATE FUNCTION f() RETURNS void LANGUAGE c AS 'a', 'b'; SELECT f()": set(),
    "CREATE PROCEDURE f() LANGUAGE plpython3u AS 'x'; CALL f()": {D},
    "SELECT f()": set(),
    "CALL f()": {D},
}


@pytest.mark.parametrize("text", CALLED)
def test_what_a_function_of_the_plan_does_when_it_is_called_is_seen(text: str) -> None:
    """A revision that made a function, called it and dropped it was additive."""
    assert classes(text) == CALLED[text]


@pytest.mark.parametrize("text", NOT_CALLED)
def test_what_is_not_called_does_nothing(text: str) -> None:
    assert classes(text) == NOT_CALLED[text]


def test_with_nothing_pending_no_revision_is_read_again(monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file of a history of thousands was, for the functions in it."""
    service = monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    history = read(service)

    def refuse(path: Path) -> bytes:
        raise AssertionError(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert judge(history, []) == []

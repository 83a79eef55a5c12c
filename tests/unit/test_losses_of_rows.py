"""The statements that empty a table or a column: also by a condition of constants, by CASCADE, and in a list."""

import pytest

from service_migrations.plan.classes import Class
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.lexer import statements

D, X = Class.DATA, Class.DESTRUCTIVE

ALWAYS = ["(1 = 1) AND true", "true OR a = 1", "1 < 2", "2 > 1 AND (('x' = 'x'))", "a = 1 OR (NOT false)"]
SOMETIMES = ["1 > 2", "true AND a = 1", "a = 1 OR b", "1 = 2 OR false", "a < 2", "a BETWEEN 1 AND 2", "a = a"]
EMPTIES = ["(a, b) = (1, NULL)", "(a, b) = ROW (NULL, 1)", "a = (SELECT NULL)", "(b, a) = (SELECT NULL, 1)"]
FILLS = ["(a, b) = (1, 2)", "(a, b) = (SELECT c, d FROM u)", "(a, b) = ROW (1, coalesce(NULL, 2))", "a = (SELECT 1)"]


def classes(text: str) -> set[Class]:
    """Return the classes of statements, without what breaks running code."""
    scope, found = Scope(), set()
    for statement in statements(text):
        found |= {kind for kind, _ in classify(statement.tokens, scope)}
        scope.record(statement.tokens)
    return found - {Class.BREAKING}


@pytest.mark.parametrize("condition", ALWAYS)
def test_a_condition_of_constants_takes_all(condition: str) -> None:
    assert classes(f"DELETE FROM t WHERE {condition}") == {D, X}  # noqa: S608
    assert classes(f"UPDATE t SET a = NULL WHERE {condition}") == {D, X}  # noqa: S608


@pytest.mark.parametrize("condition", SOMETIMES)
def test_another_condition_may_take_some(condition: str) -> None:
    assert classes(f"DELETE FROM t WHERE {condition}") == {D}  # noqa: S608


@pytest.mark.parametrize("assignment", EMPTIES)
def test_a_column_is_emptied_in_a_list_too(assignment: str) -> None:
    assert classes(f"UPDATE t SET {assignment}") == {D, X}  # noqa: S608


@pytest.mark.parametrize("assignment", FILLS)
def test_a_list_of_values_empties_nothing(assignment: str) -> None:
    assert classes(f"UPDATE t SET {assignment}") == {D}  # noqa: S608


def test_truncate_cascade_of_a_new_table_takes_an_earlier_one_with_it() -> None:
    """The foreign key of an earlier table may lead to it."""
    new = "CREATE TABLE v (id int PRIMARY KEY); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES v NOT VALID;"
    assert classes(f"{new} TRUNCATE v") == set()
    assert classes(f"{new} TRUNCATE v CASCADE") == {X}


def test_a_column_of_the_plan_is_dropped_without_a_loss() -> None:
    assert classes("ALTER TABLE t ADD COLUMN a int; ALTER TABLE t DROP COLUMN a") == set()
    assert classes("ALTER TABLE t ADD COLUMN a int; ALTER TABLE t DROP COLUMN b") == {X}
    assert classes("ALTER TABLE t ADD COLUMN IF NOT EXISTS a int; ALTER TABLE t DROP COLUMN a") == {X}
    assert classes("ALTER TYPE t ADD ATTRIBUTE a int; ALTER TYPE t DROP ATTRIBUTE a") == {X}

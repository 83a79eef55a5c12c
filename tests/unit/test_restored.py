"""What a statement takes, and what it sets again, where nobody knows whether it runs."""

import pytest

from service_migrations.plan.database.grants import given
from service_migrations.plan.database.key_changes import named_in
from service_migrations.plan.database.restored import restored, taken
from service_migrations.plan.statements.columns import words_of
from service_migrations.sql.dynamic import UNKNOWN
from service_migrations.sql.lexer import Token, statements


def tokens(sql: str) -> list[Token]:
    (statement,) = statements(sql)
    return list(statement.tokens)


TAKEN = {
    "DROP TABLE a": [("table", "a")],
    "DROP VIEW IF EXISTS a, s.b CASCADE": [("view", "a"), ("view", "s.b")],
    "DROP TABLE a RESTRICT": [("table", "a")],
    "DROP MATERIALIZED VIEW a": [("view", "a")],
    "DROP FOREIGN TABLE a": [("table", "a")],
    "ALTER TABLE a RENAME TO b": [("table", "a")],
    "ALTER TABLE a SET SCHEMA s": [("table", "a")],
    "ALTER FOREIGN TABLE a RENAME TO b": [("table", "a")],
    "ALTER MATERIALIZED VIEW a SET SCHEMA s": [("view", "a")],
    "ALTER TABLE a ADD COLUMN rename int": [],
    "ALTER TABLE a RENAME COLUMN b TO c": [],
    "DROP TABLE": [],
    "CREATE TABLE a (drop int)": [],
}
RESTORED = {
    "GRANT SELECT ON a TO b": ["grant select on a to b"],
    "COMMENT ON TABLE a IS NULL": ["comment on table a is null"],
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO b": ["alter default privileges grant select on tables to b"],
    "ALTER PUBLICATION p ADD TABLE a": ["alter publication p add table a"],
    "CREATE TABLE a (b int)": ["create or replace table a ( b int )"],
    "CREATE OR REPLACE VIEW a AS SELECT": ["create or replace view a as select"],
    "CREATE TEMP TABLE a (b int)": [],
    "CREATE TEMPORARY TABLE a (b int)": [],
    "CREATE LOCAL TEMP TABLE a (b int)": [],
    "CREATE OR REPLACE TEMPORARY VIEW a AS SELECT": [],
    "ALTER TABLE a RENAME TO b": ["create or replace table b"],
    "ALTER TABLE s.a RENAME TO b": ["create or replace table s . b"],
    "ALTER VIEW a SET SCHEMA s": ["create or replace view s . a"],
    "ALTER MATERIALIZED VIEW a RENAME TO b": ["create or replace view b"],
    "ALTER FOREIGN TABLE a RENAME TO b": ["create or replace table b"],
    "ALTER FUNCTION a(int) RENAME TO b": ["create or replace function b"],
    "ALTER INDEX a RENAME TO b": [f"alter table {UNKNOWN} add constraint b"],
    "ALTER TABLE a RENAME COLUMN b TO c": ["alter table a add column c"],
    "ALTER TABLE a RENAME b TO c": ["alter table a add column c"],
    "ALTER TABLE a RENAME CONSTRAINT b TO c": ["alter table a add constraint c"],
    "ALTER TABLE a ADD COLUMN b int, DROP COLUMN c, ALTER b SET DEFAULT 1": [
        "alter table a add column b int",
        "alter table a alter b set default 1",
    ],
    "ALTER TABLE a REPLICA IDENTITY DEFAULT": [],
    "ALTER TABLE a REPLICA IDENTITY NOTHING": [],
    "ALTER TABLE a REPLICA IDENTITY FULL": ["alter table a replica identity full"],
    "ALTER TABLE a ENABLE TRIGGER ALL": ["alter table a enable trigger all"],
    "DROP TABLE a": [],
    "ALTER TABLE": [],
}


@pytest.mark.parametrize("sql", TAKEN)
def test_what_a_statement_takes(sql: str) -> None:
    assert list(taken(tokens(sql))) == TAKEN[sql]


@pytest.mark.parametrize("sql", RESTORED)
def test_what_a_statement_sets_again(sql: str) -> None:
    assert [" ".join(token.value for token in again) for again in restored(tokens(sql))] == RESTORED[sql]


IGNORED = ("asc", "desc", "nulls", "first", "last", "text", "is", "not", "null", "and", "or", "true", "false")


@pytest.mark.parametrize("word", IGNORED)
def test_words_that_any_key_may_have_name_nothing(word: str) -> None:
    assert named_in(tokens(f"a {word} b")) == {"a", "b"}
    assert named_in(tokens(f'a "{word.upper()}" b')) == {"a", word.upper(), "b"}


ALL = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, USAGE, EXECUTE"
NEEDED = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"}
GRANTS = {
    f"GRANT {ALL} ON ALL TABLES IN SCHEMA s TO a, b": (NEEDED, {"a", "b"}),
    "GRANT ALL ON ALL TABLES IN SCHEMA s TO a": (NEEDED, {"a"}),
    f"GRANT {ALL} ON ALL FUNCTIONS IN SCHEMA s TO a": ({"EXECUTE"}, {"a"}),
    f"GRANT {ALL} ON ALL PROCEDURES IN SCHEMA s TO a": ({"EXECUTE"}, {"a"}),
    f"GRANT {ALL} ON ALL ROUTINES IN SCHEMA s TO a": ({"EXECUTE"}, {"a"}),
    f"GRANT {ALL} ON ALL SEQUENCES IN SCHEMA s TO a": (set(), {"a"}),
    f"GRANT {ALL} ON TYPES TO a": (set(), {"a"}),
    f"GRANT {ALL} ON SCHEMAS TO a": (set(), {"a"}),
    "GRANT SELECT, INSERT (x) ON t TO a WITH GRANT OPTION": ({"SELECT", "INSERT"}, {"a"}),
    "GRANT UPDATE (functions) ON t TO a": ({"UPDATE"}, {"a"}),
}


@pytest.mark.parametrize("sql", GRANTS)
def test_what_a_grant_gives_to_whom(sql: str) -> None:
    statement = tokens(sql)
    assert given(statement, words_of(statement)) == GRANTS[sql]

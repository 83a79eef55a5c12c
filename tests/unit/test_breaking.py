"""What breaks the code that runs now, read from the statement; and that `db.compat` measures the same."""

import pytest

from service_migrations.plan.revision_text import revision_text
from service_migrations.plan.statements import constraints as module
from service_migrations.plan.statements.classify import Class, classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.lexer import statements
from tests.support.breaking import breaking
from tests.support.running_code import BREAKING, HARMLESS


@pytest.mark.parametrize("verb", ["DROP {}", "ALTER {} RENAME TO x"])
@pytest.mark.parametrize("kind", ["view", "materialized view", "sequence", "text search parser"])
def test_the_whole_kind_of_what_is_gone_is_named(verb: str, kind: str) -> None:
    (message,) = breaking(verb.format(f"{kind.upper()} a.n"))
    assert message.startswith(f"Statements that use {kind} a.n fail")


BREAKS = [
    *("DROP TABLE t", "DROP TABLE IF EXISTS a.t CASCADE", "DROP VIEW v", "DROP MATERIALIZED VIEW v", "DROP SEQUENCE s"),
    *("DROP FOREIGN TABLE t", "DROP FUNCTION f(int)", "DROP PROCEDURE p", "DROP AGGREGATE g(int)", "DROP ROUTINE f"),
    *("DROP TYPE d", "DROP DOMAIN d", "DROP SCHEMA s", "DROP EXTENSION e", "DROP ROLE r", "DROP USER r"),
    *("DROP OPERATOR + (int, int)", "DROP CAST (a AS b)", "DROP COLLATION c", "DROP POLICY p ON t"),
    *("DROP TEXT SEARCH CONFIGURATION c", "ALTER TEXT SEARCH DICTIONARY e RENAME TO w"),
    *("DROP OWNED BY r", "DROP DATABASE d", "CREATE TABLE v (a int); DROP TABLE v, t"),
    *(
        "ALTER TABLE t DROP a",
        "ALTER TABLE IF EXISTS ONLY t DROP COLUMN IF EXISTS a CASCADE",
        "ALTER TYPE d DROP ATTRIBUTE a",
    ),
    *("ALTER FOREIGN TABLE t DROP COLUMN a", "ALTER TABLE t ADD b int, DROP a"),
    *("ALTER TABLE t RENAME TO u", "ALTER TABLE t RENAME a TO b", 'ALTER TABLE t RENAME COLUMN "a" TO b'),
    *("ALTER VIEW v RENAME TO w", "ALTER VIEW v RENAME COLUMN a TO b", "ALTER MATERIALIZED VIEW v RENAME TO w"),
    *("ALTER TYPE d RENAME VALUE 'a' TO 'b'", "ALTER TYPE d RENAME TO e", "ALTER TYPE d RENAME ATTRIBUTE a TO b"),
    *("ALTER TYPE d ADD ATTRIBUTE b int", "ALTER FUNCTION f(a int) RENAME TO g", "ALTER SEQUENCE s RENAME TO u"),
    *("ALTER SCHEMA s RENAME TO u", "ALTER TABLE t SET SCHEMA u", "ALTER FUNCTION f(int) SET SCHEMA u"),
    *("ALTER DOMAIN d SET NOT NULL", "ALTER DOMAIN d ADD CHECK (VALUE > 0) NOT VALID", "ALTER DOMAIN d RENAME TO e"),
    *("ALTER TABLE t ADD c int NOT NULL", "ALTER TABLE t ADD COLUMN IF NOT EXISTS c text NOT NULL DEFAULT NULL"),
    *("ALTER TABLE t ADD c int PRIMARY KEY", "ALTER TABLE t ADD c int CHECK (c IS NOT NULL)"),
    *("ALTER TABLE t ADD c int DEFAULT 0 UNIQUE", "ALTER TABLE t ALTER a SET NOT NULL", "ALTER TABLE t ADD NOT NULL a"),
    "ALTER TABLE t ADD CONSTRAINT k NOT NULL a NOT VALID",
    *("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)", "ALTER TABLE t ADD CHECK (a > 0) NOT VALID"),
    *(
        "ALTER TABLE t ADD UNIQUE (a)",
        "ALTER TABLE t ADD CONSTRAINT k UNIQUE (a, b)",
        "ALTER TABLE t ADD PRIMARY KEY (a)",
    ),
    *("ALTER TABLE t ADD PRIMARY KEY USING INDEX i", "ALTER TABLE t ADD EXCLUDE USING gist (a WITH &&)"),
    *(
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)",
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u NOT VALID",
    ),
    *(
        "CREATE UNIQUE INDEX ON t (lower(a))",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t USING btree (a) WHERE b",
    ),
    *(
        "ALTER TABLE t ALTER a TYPE varchar(5)",
        "ALTER TABLE t ALTER COLUMN a SET DATA TYPE int",
        "ALTER TABLE t ALTER a TYPE bigint USING a::bigint",
    ),
    *(
        "ALTER TABLE t ALTER a DROP DEFAULT",
        "ALTER TABLE t ALTER a DROP IDENTITY",
        "ALTER TABLE t ALTER a DROP EXPRESSION",
    ),
    *("ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY", "ALTER TABLE t ALTER a SET GENERATED ALWAYS"),
    *(
        "REVOKE SELECT ON t FROM r",
        "REVOKE ALL ON ALL TABLES IN SCHEMA s FROM r",
        "REVOKE INSERT (a), UPDATE ON TABLE t FROM PUBLIC",
    ),
    *("REVOKE EXECUTE ON FUNCTION f(int, int) FROM PUBLIC", "REVOKE a FROM b", "REVOKE USAGE ON SCHEMA s FROM r"),
    *("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER TABLE t FORCE ROW LEVEL SECURITY"),
    *("CREATE POLICY p ON t AS RESTRICTIVE USING (a)", "ALTER POLICY p ON t USING (false)"),
    *("CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", "ALTER TABLE t ALTER CONSTRAINT k ENFORCED"),
    "CREATE OR REPLACE RULE r AS ON INSERT TO t DO INSTEAD (INSERT INTO u VALUES (1))",
    *("DO $$ BEGIN DROP TABLE t; END $$", "DO $$ BEGIN IF a THEN CREATE UNIQUE INDEX i ON t (a); END IF; END $$"),
    *("DO $$ BEGIN EXECUTE 'ALTER TABLE t RENAME TO u'; END $$", "DO $$ BEGIN REVOKE SELECT ON t FROM r; END $$"),
    # what the plan has created, and old code meets all the same
    "ALTER TABLE t ADD c int; ALTER TABLE t ALTER c SET NOT NULL",
    "ALTER TABLE t ADD c int NOT NULL DEFAULT 0; ALTER TABLE t ALTER c DROP DEFAULT",
    "ALTER TABLE t ADD c int DEFAULT 0; ALTER TABLE t ADD UNIQUE (c)",
    "ALTER TABLE t ADD c int; ALTER TABLE t ADD CHECK (c IS NOT NULL)",
    "ALTER TABLE t ADD c int; ALTER TABLE t ADD CHECK (c > 0 OR a > 0)",
    "ALTER TABLE t ADD c int; ALTER TABLE t ADD UNIQUE NULLS NOT DISTINCT (c)",
    "ALTER TABLE t ADD c int; ALTER TABLE t ADD PRIMARY KEY (c)",
    "CREATE OR REPLACE VIEW v AS SELECT 1; DROP VIEW v",
    "CREATE TABLE IF NOT EXISTS t (a int); ALTER TABLE t DROP a",
    "DROP TYPE d; CREATE TYPE d AS ENUM ('a')",
    "DROP VIEW v; CREATE TABLE v (a int)",
    "ALTER TABLE t RENAME TO u; CREATE TABLE t (a int)",
    "CREATE TABLE v (a int); ALTER TABLE t RENAME TO u; ALTER TABLE v RENAME TO t",
    "ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT 1; ALTER TABLE u DROP a",
]
BREAKS_AFTER = {
    "ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u": "DROP VIEW t",
    "DROP VIEW v; CREATE VIEW v AS SELECT 1": "DROP VIEW v",
    "DROP FUNCTION f(int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'": "DROP FUNCTION f",
}
"""A revision that breaks nothing, and a later one of the same plan that does."""

PASSES = [
    *("CREATE TABLE v (a int PRIMARY KEY, b int NOT NULL CHECK (b > 0) REFERENCES t)", "CREATE VIEW v AS SELECT 1"),
    "CREATE TABLE v (a int); CREATE UNIQUE INDEX ON v (a); ALTER TABLE v ADD b int NOT NULL, ALTER a SET NOT NULL",
    *("CREATE TABLE v (a int); ALTER TABLE v RENAME TO w; ALTER TABLE w DROP a; DROP TABLE w",),
    *(
        "CREATE TABLE s.t (a int); ALTER TABLE s.t SET SCHEMA u; ALTER TABLE u.t DROP a",
        "CREATE VIEW v AS SELECT 1; DROP VIEW v",
        "CREATE SEQUENCE s; DROP SEQUENCE s",
        "CREATE TYPE d AS (a int); DROP TYPE d",
    ),
    "CREATE FUNCTION f() RETURNS int RETURN 1; REVOKE ALL ON FUNCTION f() FROM PUBLIC; DROP FUNCTION f()",
    *(
        "CREATE TABLE v (a int); REVOKE ALL ON v FROM PUBLIC",
        "CREATE ROLE r; DROP ROLE r",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ),
    *("CREATE TABLE v (a int); ALTER TABLE v ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON v AS RESTRICTIVE",),
    *(
        "ALTER TABLE t ADD c int",
        "ALTER TABLE t ADD c int NOT NULL DEFAULT 0",
        "ALTER TABLE t ADD c serial PRIMARY KEY",
    ),
    *(
        "ALTER TABLE t ADD c int GENERATED ALWAYS AS IDENTITY NOT NULL",
        "ALTER TABLE t ADD c uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE",
    ),
    *("ALTER TABLE t ADD c int UNIQUE CHECK (c > 0) REFERENCES u", "ALTER TABLE t ADD c int; ALTER TABLE t DROP c"),
    *("ALTER TABLE t ADD c int; ALTER TABLE t RENAME c TO d; ALTER TABLE t ALTER d TYPE smallint",),
    "ALTER TABLE t ADD c int; ALTER TABLE t ALTER c SET DEFAULT 0, ALTER c SET NOT NULL",
    "ALTER TABLE t ADD c int DEFAULT 0; ALTER TABLE t ALTER c DROP DEFAULT",
    "ALTER TABLE t ADD c int; ALTER TABLE t ADD CHECK (c IS NULL OR c > 0), ADD FOREIGN KEY (c) REFERENCES u",
    "ALTER TABLE t ADD c int; CREATE UNIQUE INDEX ON t (a, c); ALTER TABLE t ADD CONSTRAINT k UNIQUE (c)",
    "ALTER TABLE t ADD c int NOT NULL DEFAULT 0; ALTER TABLE t ADD CHECK (c IS NOT NULL)",
    *(
        "ALTER TABLE t DROP CONSTRAINT k",
        "ALTER TABLE t RENAME CONSTRAINT k TO l",
        "ALTER TABLE t VALIDATE CONSTRAINT k",
    ),
    *(
        "ALTER TABLE t ADD UNIQUE USING INDEX i",
        "ALTER TABLE t ADD CHECK (a > 0) NOT ENFORCED",
        "CREATE INDEX i ON t (a)",
    ),
    *(
        "ALTER TABLE t ALTER a TYPE text",
        "ALTER TABLE t ALTER a TYPE bigint",
        "ALTER TABLE t ALTER a SET DATA TYPE character varying",
    ),
    *("ALTER TABLE t ALTER a SET DEFAULT 1", "ALTER TABLE t ALTER a DROP NOT NULL, ALTER a DROP DEFAULT"),
    *("ALTER TABLE t ALTER a ADD GENERATED BY DEFAULT AS IDENTITY", "ALTER TABLE t ALTER a SET STATISTICS 9"),
    *("ALTER TYPE d ADD VALUE 'x'", "ALTER DOMAIN d DROP NOT NULL", "ALTER DOMAIN d VALIDATE CONSTRAINT k"),
    *("DROP INDEX i", "DROP TRIGGER g ON t", "ALTER INDEX i RENAME TO j", "ALTER TRIGGER g ON t RENAME TO h"),
    *("REVOKE GRANT OPTION FOR SELECT ON t FROM r", "GRANT SELECT ON t TO r", "COMMENT ON TABLE t IS 'DROP TABLE t'"),
    *("ALTER POLICY p ON t RENAME TO q", "ALTER TABLE t ALTER CONSTRAINT k NOT ENFORCED"),
    *(
        "CREATE RULE r AS ON DELETE TO t DO ALSO NOTHING",
        "CREATE TABLE v (a int); CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING",
    ),
    *("ALTER TABLE t DISABLE ROW LEVEL SECURITY", "CREATE POLICY p ON t USING (true)", "ALTER SEQUENCE s RESTART"),
    *("DELETE FROM t", "TRUNCATE t", "UPDATE t SET a = NULL", "LOCK TABLE t", "CREATE OR REPLACE VIEW v AS SELECT 1"),
    *("", "(", "ALTER", "ALTER TABLE", "ALTER TABLE t", "ALTER TABLE t ADD", "ALTER TABLE t ALTER", "DROP", "REVOKE x"),
    *BREAKS_AFTER,
]


@pytest.mark.parametrize("text", BREAKS)
def test_what_running_code_uses_and_no_longer_has_breaks_it(text: str) -> None:
    assert len(breaking(text)) == 1


@pytest.mark.parametrize("text", PASSES)
def test_what_is_new_or_only_adds_breaks_nothing(text: str) -> None:
    assert breaking(text) == []


@pytest.mark.parametrize(("before", "text"), BREAKS_AFTER.items())
def test_what_took_the_name_of_something_is_used_by_running_code(before: str, text: str) -> None:
    scope = Scope()
    for body in (before, text):
        tokens = [statement.tokens for statement in statements(body)]
        scope.look_ahead(tokens)
        found = []
        for statement in tokens:
            found += [message for kind, message in classify(statement, scope) if kind is Class.BREAKING]
            scope.record(statement)
        assert bool(found) is (body == text)


def test_not_null_that_a_check_of_the_plan_proves_breaks_nothing_more() -> None:
    check = "ALTER TABLE t ADD CONSTRAINT k CHECK (a IS NOT NULL)"
    assert len(breaking(f"{check}; ALTER TABLE t ALTER a SET NOT NULL")) == len(breaking(check)) == 1


MEASURED_ONLY = {"a trigger that refuses": "what a function does isn't seen"}
"""What `db.compat` finds, and the class can't."""

SUSPECTED = {
    "a wider type": "the statement doesn't have the type of before, as an alter_column() with existing_type has",
    "a check that always held": "which values the code writes isn't in the text",
}
"""What the class suspects, and `db.compat` acquits."""


@pytest.mark.parametrize("change", BREAKING)
def test_the_class_has_what_compat_measures(change: str) -> None:
    assert bool(breaking(BREAKING[change][0])) is (change not in MEASURED_ONLY)


@pytest.mark.parametrize("change", HARMLESS)
def test_the_class_hasnt_what_compat_lets_pass(change: str) -> None:
    assert bool(breaking(HARMLESS[change])) is (change in SUSPECTED)


# The text of a revision file

WIDER = [
    ("sa.String(50)", "sa.String(200)"), ("sa.String(length=50)", "sa.Text()"), ("sa.VARCHAR(5)", "sa.String()"),
    ("sa.Integer()", "sa.BigInteger()"), ("sa.SmallInteger", "sa.Integer"), ("sa.INTEGER()", "sa.BIGINT()"),
    ("sa.Numeric(10, 2)", "sa.Numeric(12, 4)"), ("sa.Numeric(precision=10, scale=2)", "sa.Numeric()"),
]  # fmt: skip
NARROWER = [
    ("sa.String(200)", "sa.String(50)"), ("sa.Text()", "sa.String(50)"), ("sa.BigInteger()", "sa.Integer()"),
    ("sa.Numeric(10, 2)", "sa.Numeric(10, 4)"), ("sa.Numeric(10, 2)", "sa.Numeric(9, 2)"),
    ("sa.Uuid()", "sa.String(50)"),
    ("sa.String(LENGTH)", "sa.String(50)"), ("sa.Integer()", "sa.Numeric(5, 2)"), ("None", "sa.String(9)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "is_wider"), [(*pair, True) for pair in WIDER] + [(*pair, False) for pair in NARROWER]
)
def test_a_type_that_takes_all_that_the_one_of_before_took_is_wider(tmp_path, before, after, is_wider) -> None:
    file = tmp_path / "r.py"
    file.write_text(
        f"op.alter_column(\n    't', 'a', existing_type={before},\n    type_={after},\n)\n", encoding="utf-8"
    )
    assert revision_text(file).widenings == (frozenset({1, 2, 3, 4}) if is_wider else frozenset())
    file.write_text(
        f"op.alter_column('t', 'a', existing_type={before}, type_={after}, postgresql_using='b')\n", encoding="utf-8"
    )
    assert revision_text(file).widenings == frozenset()


@pytest.mark.parametrize("word", sorted(module._CONDITION_WORDS))
def test_a_word_of_a_condition_is_no_column(word: str) -> None:
    """A CHECK of new columns alone, which have their default in what running code inserts, refuses nothing."""
    added = "ALTER TABLE t ADD n int DEFAULT 1, ADD CONSTRAINT c CHECK (n {} 0)"
    assert breaking(added.format(word)) == []
    assert breaking(added.format(f'"{word}"'))

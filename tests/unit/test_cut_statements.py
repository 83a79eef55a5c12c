"""A statement that PostgreSQL refuses, such as one that was cut short, stops no plan: the server says what is wrong."""

from collections.abc import Iterator, Sequence

import pytest

from service_migrations.plan.database.changes import Changes
from service_migrations.plan.database.names import Names, StatementPlace
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.lexer import Token, statements

PLACE = StatementPlace("a1", "a1.py", 1, 1)
STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS own.t (id int PRIMARY KEY, a text DEFAULT upper('x') REFERENCES u (id), UNIQUE (a))",
    "CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (2)",
    "CREATE TEMPORARY TABLE t AS SELECT 1",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (lower(a)) WHERE a > 0",
    "CREATE OR REPLACE VIEW own.v AS SELECT count(*) FROM t JOIN u ON u.id = t.id WHERE t.a > 0",
    "CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA",
    "CREATE OR REPLACE FUNCTION own.f(IN a int DEFAULT 1, OUT b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TRIGGER g BEFORE INSERT OR UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE OR REPLACE RULE r AS ON INSERT TO t DO INSTEAD NOTHING",
    "CREATE POLICY p ON t AS RESTRICTIVE FOR SELECT TO reader USING (a > 0)",
    "CREATE PUBLICATION p FOR TABLE t, own.u WITH (publish = 'update')",
    "CREATE SEQUENCE s AS int INCREMENT BY 1 MAXVALUE 7 OWNED BY t.id",
    "CREATE TYPE e AS ENUM ('a', 'b')",
    "ALTER PUBLICATION p ADD TABLE t, TABLES IN SCHEMA own",
    "ALTER TABLE ONLY own.t ADD COLUMN IF NOT EXISTS n int NOT NULL DEFAULT 1, DROP COLUMN IF EXISTS m CASCADE",
    "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (id) ON DELETE CASCADE NOT VALID",
    "ALTER TABLE t ADD CONSTRAINT c UNIQUE NULLS NOT DISTINCT (a, b) DEFERRABLE INITIALLY DEFERRED",
    "ALTER TABLE t ALTER COLUMN a TYPE bigint USING a::bigint, ALTER b SET DEFAULT now(), ALTER c DROP NOT NULL",
    "ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY (START WITH 1), ALTER b SET STORAGE external",
    "ALTER TABLE t RENAME COLUMN a TO b",
    "ALTER TABLE t RENAME TO other",
    "ALTER TABLE t SET SCHEMA own",
    "ALTER TABLE t REPLICA IDENTITY USING INDEX i",
    "ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1, 2)",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY, OWNER TO other, DISABLE TRIGGER ALL",
    "ALTER TYPE e ADD VALUE IF NOT EXISTS 'c' BEFORE 'a'",
    "ALTER TYPE e RENAME VALUE 'a' TO 'b'",
    "ALTER DOMAIN d RENAME CONSTRAINT c TO e",
    "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0) NOT VALID",
    "ALTER SEQUENCE s AS smallint INCREMENT BY -1 MAXVALUE 7",
    "ALTER FUNCTION f(int) SET SCHEMA own",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA own GRANT SELECT ON TABLES TO reader",
    "ALTER ROLE app SET search_path TO own",
    "DROP MATERIALIZED VIEW IF EXISTS own.v, w CASCADE",
    "DROP FUNCTION f(int), g()",
    "DROP INDEX CONCURRENTLY IF EXISTS i",
    "GRANT SELECT (a), UPDATE ON TABLE own.t, u TO reader WITH GRANT OPTION",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA own TO PUBLIC",
    "REVOKE GRANT OPTION FOR ALL PRIVILEGES ON SEQUENCE s FROM reader CASCADE",
    "REVOKE ALL ON t FROM reader",
    "COMMENT ON MATERIALIZED VIEW own.v IS 'x'",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY v WITH NO DATA",
    "UPDATE ONLY t AS x SET a = DEFAULT, (b, c) = (1, 2) FROM u WHERE x.id = u.id RETURNING *",
    "DELETE FROM t USING u WHERE t.id = u.id",
    "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
    "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM gone",
    "TRUNCATE TABLE ONLY t, u RESTART IDENTITY CASCADE",
    "LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT",
    "CLUSTER t USING i",
    "VACUUM (FULL, ANALYZE) t",
    "REINDEX (TABLESPACE x) TABLE CONCURRENTLY t",
    "REASSIGN OWNED BY a TO b",
    "CALL p(1, 'x')",
    "SELECT f(1), setval('s', 1) FROM t",
)


def parts(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield a statement's beginnings, its ends, and what is left of it without one token."""
    for at in range(len(tokens) + 1):
        yield from (tokens[:at], tokens[at:], [*tokens[:at], *tokens[at + 1 :]])


@pytest.mark.parametrize("sql", STATEMENTS)
def test_what_is_left_of_a_statement_has_its_classes_or_none(sql: str) -> None:
    (statement,) = statements(sql)
    for part in parts(statement.tokens):
        scope = Scope()
        scope.look_ahead([part])
        assert all(len(reason) == 2 for reason in classify(part, scope)), part


@pytest.mark.parametrize("sql", STATEMENTS)
def test_what_is_left_of_a_statement_is_recorded(sql: str) -> None:
    (statement,) = statements(sql)
    for part in parts(statement.tokens):
        changes = Changes(Names("public"), Names("public"))
        changes.record(part, PLACE)
        changes.record_text(part, PLACE)
        assert not any(name is None for name in changes.relations.left), part

"""The classes of the plan against what a real server does: each statement runs in a transaction that is rolled back."""

import asyncio
from dataclasses import dataclass, replace

import asyncpg
import pytest

from service_migrations.evidence.locks import Mode
from service_migrations.evidence.observer import LOOK, Look
from service_migrations.history.revision import Revision
from service_migrations.history.sql.offline import Piece, Rendered
from service_migrations.plan.classes import Class
from service_migrations.plan.review import planned, reviews
from service_migrations.plan.squawk_text import warnings_of
from tests.support.database import make_database

ROWS = 1000
SETUP = """
CREATE SCHEMA attic; CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE spare AS ENUM ('x');
CREATE DOMAIN positive AS int; CREATE DOMAIN checked AS int CHECK (VALUE > 0);
ALTER DOMAIN positive ADD CONSTRAINT late CHECK (VALUE > 0) NOT VALID;
CREATE TABLE u (id int PRIMARY KEY);
CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, n int, b text, c varchar(50), d positive, m mood DEFAULT 'sad',
    s int GENERATED ALWAYS AS (id * 2) STORED, j json, u_id int, CONSTRAINT late CHECK (a > 0) NOT VALID);
ALTER TABLE t ADD CONSTRAINT n_set CHECK (n IS NOT NULL) NOT VALID;
INSERT INTO u SELECT g FROM generate_series(1, 1000) g;
INSERT INTO t (id, a, n, b, c, d, u_id) SELECT g, g, g, 'b' || g, 'c' || g, g, g FROM generate_series(1, 1000) g;
ALTER TABLE t ADD CONSTRAINT u_late FOREIGN KEY (u_id) REFERENCES u NOT VALID;
CREATE INDEX t_a ON t (a); CREATE UNIQUE INDEX t_b ON t (b); CREATE INDEX t_m ON t (n);
CREATE TABLE p (id int NOT NULL) PARTITION BY RANGE (id); CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (5000);
INSERT INTO p SELECT g FROM generate_series(1, 1000) g;
CREATE TABLE q (id int NOT NULL); INSERT INTO q SELECT g FROM generate_series(5000, 6000) g;
CREATE MATERIALIZED VIEW seen AS SELECT id FROM t; CREATE VIEW shown AS SELECT id FROM u;
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER hush BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION quiet();
ANALYZE;
"""
L, D, X = Class.LOCKS, Class.DATA, Class.DESTRUCTIVE

AGREES = [
    *("CREATE TABLE v (id int PRIMARY KEY)", "CREATE TABLE v AS SELECT * FROM t", "CREATE VIEW w AS SELECT * FROM t"),
    *("ALTER TABLE t ADD COLUMN x int", "ALTER TABLE t ADD COLUMN x int DEFAULT 5", "COMMENT ON TABLE t IS 'x'"),
    *("ALTER TABLE t ADD COLUMN x timestamptz DEFAULT now()", "ALTER TABLE t ADD COLUMN x int NOT NULL DEFAULT 1"),
    *("ALTER TABLE t ADD COLUMN x float DEFAULT random()", "ALTER TABLE t ADD COLUMN x serial"),
    "ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE t ADD COLUMN x int GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE t ADD COLUMN x int GENERATED ALWAYS AS (a + 1) STORED",
    "ALTER TABLE t ADD COLUMN x int CHECK (x > 0)",
    "ALTER TABLE t ADD COLUMN x int REFERENCES u (id)",
    "ALTER TABLE t ADD COLUMN x int UNIQUE",
    *("ALTER TABLE t ALTER COLUMN b SET NOT NULL", "ALTER TABLE t ALTER COLUMN a DROP NOT NULL"),
    *("ALTER TABLE t ALTER COLUMN n SET DEFAULT 3", "ALTER TABLE t ALTER COLUMN m DROP DEFAULT"),
    *("ALTER TABLE t ALTER COLUMN a TYPE bigint", "ALTER TABLE t ALTER COLUMN b TYPE varchar(10)"),
    *("ALTER TABLE t ALTER COLUMN a SET STATISTICS 500", "ALTER TABLE t ALTER COLUMN b SET STORAGE EXTERNAL"),
    "ALTER TABLE t ALTER COLUMN s DROP EXPRESSION",
    *("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)", "ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID"),
    *("ALTER TABLE t VALIDATE CONSTRAINT late", "ALTER TABLE t VALIDATE CONSTRAINT u_late"),
    "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u",
    "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u NOT VALID",
    *("ALTER TABLE t ADD CONSTRAINT k UNIQUE (a)", "ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX t_b"),
    "ALTER TABLE t ADD CONSTRAINT k EXCLUDE USING btree (a WITH =)",
    "ALTER TABLE t ADD EXCLUDE (a WITH =)",
    *("ALTER TABLE q ADD PRIMARY KEY (id)", "ALTER TABLE t DROP CONSTRAINT late", "ALTER TABLE t RENAME a TO x"),
    *("ALTER TABLE t RENAME TO x", "ALTER TABLE t SET (fillfactor = 70)", "ALTER TABLE t SET SCHEMA attic"),
    *("ALTER TABLE q SET UNLOGGED", "ALTER TABLE t CLUSTER ON t_a", "ALTER TABLE t ENABLE ROW LEVEL SECURITY"),
    *("ALTER TABLE t DISABLE TRIGGER hush", "ALTER TABLE t REPLICA IDENTITY FULL", "DROP TRIGGER hush ON t"),
    *("ALTER TABLE p ATTACH PARTITION q FOR VALUES FROM (5000) TO (9000)", "ALTER TABLE p DETACH PARTITION p_1"),
    *("CREATE INDEX i ON t (c)", "CREATE UNIQUE INDEX i ON t (c)", "CREATE INDEX i ON t (a) WHERE a > 990"),
    *("DROP INDEX t_a", "ALTER INDEX t_a RENAME TO i", "REINDEX INDEX t_a", "REINDEX TABLE t", "CLUSTER t USING t_a"),
    *("ALTER TYPE mood ADD VALUE 'x'", "ALTER TYPE mood RENAME VALUE 'sad' TO 'x'", "ALTER TYPE mood RENAME TO x"),
    *("ALTER DOMAIN positive ADD CONSTRAINT k CHECK (VALUE > 0)", "ALTER DOMAIN positive SET DEFAULT 1"),
    *("ALTER DOMAIN positive SET NOT NULL", "ALTER DOMAIN positive ADD CHECK (VALUE > 0) NOT VALID"),
    "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION quiet()",
    "ALTER DOMAIN positive VALIDATE CONSTRAINT late",
    *(
        "REFRESH MATERIALIZED VIEW seen",
        "CREATE MATERIALIZED VIEW x AS SELECT * FROM t",
        "ANALYZE t",
        "GRANT SELECT ON t TO public",
    ),
    *("UPDATE t SET n = 1", "INSERT INTO u SELECT g FROM generate_series(2000, 2100) g", "DELETE FROM t WHERE id = 3"),
    *("WITH d AS (DELETE FROM t WHERE id < 9 RETURNING id) SELECT count(*) FROM d", "DELETE FROM t", "TRUNCATE t"),
    *("DO $$ BEGIN UPDATE t SET n = 2 WHERE id < 9; END $$", "DROP TABLE t CASCADE", "ALTER TABLE t DROP COLUMN b"),
    *("DROP TYPE mood CASCADE", "SELECT count(*) FROM t"),
    "ALTER TABLE t ADD COLUMN x timestamptz DEFAULT timezone('utc', now())",
    "ALTER TABLE t ADD COLUMN x timestamp DEFAULT (now() AT TIME ZONE 'utc')",
    *("ALTER TABLE t ADD COLUMN x date DEFAULT CURRENT_DATE", "ALTER TABLE t ADD COLUMN x int DEFAULT -1"),
    *("ALTER TABLE t ADD COLUMN x text DEFAULT upper('x')", "ALTER TABLE t ADD COLUMN x int DEFAULT (1 + 2)"),
    "ALTER TABLE t ADD COLUMN x date DEFAULT now() CONSTRAINT x_set NOT NULL",
    "ALTER TABLE t ADD COLUMN x timestamptz DEFAULT clock_timestamp()",
    "ALTER TABLE t ADD COLUMN x text DEFAULT md5(random()::text)",
    *("CREATE INDEX i ON ONLY p (id)", "TRUNCATE u CASCADE"),
    "ALTER TABLE t ADD COLUMN x int; ALTER TABLE t DROP COLUMN x",
    "CREATE TABLE v (LIKE p); ALTER TABLE p ATTACH PARTITION v FOR VALUES FROM (5000) TO (6000)",
    "CREATE TABLE v (id int); DROP TABLE v",
    "DO $$ BEGIN ALTER TABLE t ALTER COLUMN a TYPE bigint; END $$",
    "DO $$ BEGIN ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0); END $$",
    "DO $$ BEGIN ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID; END $$",
    "DO $$ BEGIN ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid(); END $$",
    "DO $$ BEGIN ALTER TABLE t ADD COLUMN x int; END $$",
    "DO $$ BEGIN EXECUTE 'CREATE INDEX i ON t (c)'; END $$",
    "DO $$ BEGIN IF true THEN ALTER TABLE t ADD UNIQUE (a); END IF; END $$",
    "DO $$ BEGIN REINDEX TABLE t; END $$",
    "DO $$ BEGIN CREATE TABLE v (id int); CREATE INDEX i ON v (id); END $$",
]
"""Statements whose classes are what the server does."""

DISAGREES = {
    "ALTER TABLE t ALTER COLUMN c TYPE varchar(100)": "the text of the statement doesn't have the type of before",
    "ALTER TABLE t ALTER COLUMN c TYPE text": "the text of the statement doesn't have the type of before",
    "LOCK TABLE u": "how long it is held depends on what follows in the revision",
    "DROP TYPE spare": "whether columns have the type isn't in the text of the statement",
    "ALTER TABLE t ADD COLUMN x checked": "whether a domain has a CHECK isn't in the text of the statement",
    "ALTER TABLE q SET TABLESPACE pg_default": "where the table is isn't in the text of the statement",
}
"""Statements whose classes are others, and why: the plan reads statements, and not the catalog of the database."""


@dataclass(frozen=True)
class Measured:
    """What a statement did."""

    rewrites: bool
    blocks_and_reads: bool
    changed: int
    lost: bool

    @property
    def classes(self) -> set[str]:
        found = {L} if self.rewrites or self.blocks_and_reads else set()
        found |= {D} if self.changed else set()
        return {str(kind) for kind in found | ({X} if self.lost else set())}


@pytest.fixture(scope="module")
def measured(server) -> dict[str, Measured]:
    dsn = replace(make_database(server), user=server.admin.user, password=server.admin.password)
    return asyncio.run(_measure_all(dsn))


async def _measure_all(dsn) -> dict[str, Measured]:
    connection = await asyncpg.connect(**dsn.connect_args())
    try:
        await connection.execute(SETUP)
        return {sql: await _measure(connection, sql) for sql in (*AGREES, *DISAGREES)}
    finally:
        await connection.close()


async def _measure(connection, sql: str) -> Measured:
    look = LOOK.format(pid="pg_backend_pid()", schema="none", ignored="ARRAY[]::name[]")
    columns = (
        "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND attnum > 0 AND NOT attisdropped"
    )
    transaction = connection.transaction()
    await transaction.start()
    try:
        before, width = Look.parse(await connection.fetchval(look)), await connection.fetchval(columns)
        await connection.execute(sql)
        after = Look.parse(await connection.fetchval(look))
        known, tables = before.names, {oid for oid in before.files if oid in after.files}
        read = {oid: after.read[oid] - before.read[oid] for oid in known if oid in after.read}
        changed = {oid: after.changed[oid] - before.changed[oid] for oid in known if oid in after.changed}
        is_there = ("public", "t") in after.names.values()
        emptied = is_there and not await connection.fetchval("SELECT EXISTS (SELECT FROM t)")
        return Measured(
            rewrites=not sql.startswith("TRUNCATE") and any(before.files[oid] != after.files[oid] for oid in tables),
            blocks_and_reads=max(read.values(), default=0) >= ROWS
            and any(mode >= Mode.SHARE for oid, mode in after.locks.items() if oid in known),
            changed=sum(changed.values()) if not sql.startswith(("ALTER", "CLUSTER", "CREATE", "REFRESH")) else 0,
            lost=emptied or len(after.names) < len(known) or (await connection.fetchval(columns)) < width,
        )
    finally:
        await transaction.rollback()


@pytest.fixture(scope="module")
def classes(server) -> dict[str, set[str]]:
    return asyncio.run(_classify_all(server.version))


async def _classify_all(version: str) -> dict[str, set[str]]:
    results = {}
    for sql in (*AGREES, *DISAGREES):
        rendered = Rendered(Revision("r", (), "", "r.py", is_head=True), [Piece(f"{sql};", 1)])
        (review,) = reviews(None, [rendered])  # type: ignore[arg-type]
        revision = planned(review, await warnings_of(review.lines, version))
        results[sql] = set(revision.classes) & {str(L), str(D), str(X)}
    return results


def test_the_class_of_each_statement_is_what_the_server_does(measured, classes) -> None:
    wrong = {sql: (classes[sql], measured[sql]) for sql in AGREES if classes[sql] != measured[sql].classes}
    assert not wrong, "\n".join(f"{sql}: {pair}" for sql, pair in wrong.items())


@pytest.mark.parametrize("sql", DISAGREES)
def test_what_disagrees_still_does_and_has_a_reason(measured, classes, sql: str) -> None:
    assert classes[sql] != measured[sql].classes

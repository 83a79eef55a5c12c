"""What a plan says of what the database has and a revision takes, beside what the server does then to running code."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.history.revision import Revision
from service_migrations.history.sql.offline import Piece, Rendered
from service_migrations.plan.classes import Class
from service_migrations.plan.database.findings import database_findings
from service_migrations.plan.review import PlanFinding
from service_migrations.postgres import Server, throwaway
from service_migrations.settings.dsn import Dsn
from tests.support.database import make_database, make_roles, query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.proxy import proxy
from tests.support.version import VERSION

QUERY = 3
"""BEGIN, the query, and the end of its transaction."""
ROLES = ("plan_reader", "plan_group", "plan_owner")
OTHER = """
CREATE FUNCTION other() RETURNS int LANGUAGE plpgsql AS $$ DECLARE c int := 1; BEGIN
SELECT t.d INTO c FROM t JOIN u ON u.id = t.id LIMIT 1; RAISE NOTICE 'plain %', c; RETURN c; END $$
"""
SETUP = [
    "CREATE SCHEMA attic",
    "CREATE TABLE typing (a int)",
    *("CREATE TABLE t (id int PRIMARY KEY, a int, b int, c text, d int, CONSTRAINT uq UNIQUE (a, b))",),
    *("CREATE UNIQUE INDEX t_c ON t (lower(c))", "CREATE UNIQUE INDEX t_d ON t (d) WHERE d > 0"),
    *("CREATE TABLE u (id int PRIMARY KEY, a int, c text)", "CREATE TABLE bare (a int)", "CREATE TABLE plain (a int)"),
    *("CREATE VIEW v AS SELECT * FROM t", "CREATE VIEW w AS SELECT * FROM u", "COMMENT ON VIEW w IS 'w'"),
    "GRANT SELECT, UPDATE ON v TO plan_reader",
    "GRANT SELECT (a) ON plain TO plan_reader",
    "CREATE FUNCTION h() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    *("REVOKE EXECUTE ON FUNCTION h() FROM PUBLIC", "GRANT EXECUTE ON FUNCTION h() TO plan_reader"),
    "CREATE FUNCTION ghostly() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT u.gone FROM ghost, u); END'",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "CREATE FUNCTION alias() RETURNS text LANGUAGE sql AS $$ SELECT 'from' plain $$",
    "CREATE FUNCTION ins() RETURNS void LANGUAGE sql AS 'INSERT INTO bare VALUES (1)'",
    "CREATE FUNCTION typed() RETURNS int LANGUAGE plpgsql AS 'DECLARE x typing.a%TYPE; BEGIN RETURN 1; END'",
    "CREATE FUNCTION rowed() RETURNS int LANGUAGE plpgsql AS 'DECLARE x typing%ROWTYPE; BEGIN RETURN 1; END'",
    "CREATE FUNCTION one(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION two(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER g INSTEAD OF INSERT ON w FOR EACH ROW EXECUTE FUNCTION quiet()",
    "ALTER VIEW w ALTER a SET DEFAULT 3",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT x.c FROM u AS x LIMIT 1); END'",
    "CREATE FUNCTION e() RETURNS int LANGUAGE sql AS 'SELECT a FROM plain LIMIT 1'",
    "CREATE FUNCTION caller() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN e(); END'",
    # these name the same words, and mean something else
    OTHER,
    "CREATE FUNCTION cte() RETURNS int LANGUAGE sql AS 'WITH plain AS (SELECT 1 AS a) SELECT a FROM plain'",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.c := upper(NEW.c); RETURN NEW; END'",
    "CREATE TRIGGER s BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION stamp()",
    "INSERT INTO t VALUES (1, 1, 1, 'x', 1)",
    "INSERT INTO u VALUES (1, 1, 'x')",
]


class Case(NamedTuple):
    """SQL of a revision, a statement of running code that fails after it, with which codes, and what the plan says."""

    sql: str
    running: str = "SELECT 1"
    code: str = ""
    said: str = ""


READ = "SET ROLE plan_reader; SELECT count(*) FROM v"
RUN = "SET ROLE plan_reader; SELECT h()"
NEW_VIEW = "CREATE VIEW v AS SELECT id, a FROM t"
TAKEN = "ALTER VIEW v RENAME TO old_v"
AGAIN = "DROP VIEW w; CREATE VIEW w AS SELECT * FROM u"
NEW_FUNCTION = "DROP FUNCTION h(); CREATE FUNCTION h() RETURNS int LANGUAGE sql AS 'SELECT 2'"
NEW_N = "CREATE FUNCTION n() RETURNS int LANGUAGE sql AS 'SELECT 1'"
PRIVILEGES = [
    Case(f"DROP VIEW v; {NEW_VIEW}", READ, "42501", "plan_reader that need SELECT, UPDATE on v fail"),
    Case(f"{TAKEN}; {NEW_VIEW}", READ, "42501", "plan_reader that need SELECT, UPDATE on v fail"),
    Case("CREATE VIEW n AS SELECT 1; DROP VIEW v; ALTER VIEW n RENAME TO v", READ, "42501", "need SELECT, UPDATE"),
    Case(f"DROP VIEW v; {NEW_VIEW}; GRANT UPDATE ON v TO plan_reader", READ, "42501", "that need SELECT on v"),
    Case(f"DROP VIEW v; {NEW_VIEW}; GRANT ALL ON v TO plan_owner", READ, "42501", "need SELECT, UPDATE on v"),
    Case(f"DROP VIEW v; {NEW_VIEW}; COMMENT ON VIEW v IS 'grant'", READ, "42501", "need SELECT, UPDATE on v"),
    Case(
        "CREATE VIEW attic.v AS SELECT 1; DROP VIEW v; ALTER VIEW attic.v SET SCHEMA public", READ, "42501", "on v fail"
    ),
    Case(f"DROP VIEW v; {NEW_VIEW}; GRANT SELECT, UPDATE ON v TO plan_reader", READ),
    Case(f"DROP VIEW v; {NEW_VIEW}; GRANT ALL ON public.v TO plan_group", READ),
    Case(f"DROP VIEW v; {NEW_VIEW}; GRANT ALL PRIVILEGES ON TABLE v TO PUBLIC", READ),
    Case(f"DROP VIEW v; {NEW_VIEW}; GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO plan_reader", READ),
    Case(f"CREATE VIEW n AS SELECT 1; GRANT ALL ON n TO plan_reader; {TAKEN}; ALTER VIEW n RENAME TO v", READ),
    Case(f"DROP VIEW v; {NEW_VIEW}; DO $$ BEGIN GRANT ALL ON v TO plan_reader; END $$", READ),
    Case(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO plan_reader; DROP VIEW v; {NEW_VIEW}", READ),
    *(
        Case(sql, READ, "42501", "plan_reader that need SELECT, UPDATE on v fail")
        for sql in (
            f"DROP VIEW v; {NEW_VIEW}; GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO plan_reader",
            f"ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO plan_reader; DROP VIEW v; {NEW_VIEW}",
            f"DROP VIEW v; {NEW_VIEW}; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO plan_reader",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO plan_reader; DROP VIEW v; {NEW_VIEW}",
            f"{NEW_N}; DROP VIEW v; {NEW_VIEW}; GRANT ALL ON FUNCTION n() TO plan_reader",
        )
    ),
    Case(
        f"DROP VIEW v; {NEW_VIEW}; DO $$ DECLARE a text := 'v'; BEGIN "
        "EXECUTE format('GRANT ALL ON %I TO plan_reader', a); END $$",
        READ,
        said="isn't looked for",
    ),
    Case(f"DROP VIEW v; {NEW_VIEW}; DO $$ BEGIN EXECUTE format('GRANT ALL ON %I TO plan_reader', 'v'); END $$", READ),
    Case("CREATE OR REPLACE VIEW v AS SELECT * FROM t", READ),
    Case(f"{TAKEN}; ALTER VIEW old_v RENAME TO v", READ),
    Case(
        "ALTER TABLE plain RENAME TO p; CREATE VIEW plain AS SELECT 1 AS a",
        *("SET ROLE plan_reader; SELECT a FROM plain", "42501", "that need SELECT on plain fail"),
    ),
    Case(NEW_FUNCTION, RUN, said="Everybody may run the new h"),
    Case(f"{NEW_FUNCTION}; REVOKE ALL ON FUNCTION h() FROM PUBLIC", RUN, "42501", "that need EXECUTE on h fail"),
    Case(f"{NEW_FUNCTION}; REVOKE ALL ON FUNCTION h() FROM PUBLIC; GRANT EXECUTE ON ROUTINE h TO plan_group", RUN),
    Case("CREATE OR REPLACE FUNCTION h() RETURNS int LANGUAGE sql AS 'SELECT 2'", RUN),
    *(Case(AGAIN, said=said) for said in ("the trigger g", "the default of a", "what the former one had: its comment")),
    Case(
        f"{AGAIN}; COMMENT ON VIEW w IS 'x'; ALTER VIEW w ALTER COLUMN a SET DEFAULT 4; "
        "CREATE TRIGGER g INSTEAD OF INSERT ON w FOR EACH ROW EXECUTE FUNCTION quiet()"
    ),
]
JOINED = "ALTER TABLE u RENAME TO x; CREATE VIEW u AS SELECT x.* FROM x JOIN t USING (id)"
WRITE = "UPDATE u SET a = 2"
LIKE_ONE = "RETURNS int LANGUAGE sql AS 'SELECT 1'"
LIKE_T = "CREATE TABLE n (LIKE t INCLUDING ALL); DROP VIEW v; DROP TABLE t; ALTER TABLE n RENAME TO t"
REPLACING = [
    Case(LIKE_T, said="The new t isn't replicated: the publication ei had the former one"),
    Case(LIKE_T, said="The new t loses what the former one had: its row level security"),
    Case(f"{LIKE_T}; ALTER PUBLICATION ei ADD TABLE t; ALTER TABLE t ENABLE ROW LEVEL SECURITY"),
    Case("CREATE TEMPORARY TABLE plain (a int); ALTER TABLE plain RENAME a TO b; DROP TABLE plain", "SELECT e()"),
    Case("DROP TABLE IF EXISTS ghost; ALTER TABLE u DROP COLUMN IF EXISTS gone"),
    Case(JOINED, WRITE, "55000", "Statements that change u fail: the new view"),
    Case(f"{JOINED}; CREATE RULE r AS ON UPDATE TO u DO INSTEAD NOTHING", WRITE),
    Case("DROP VIEW w; ALTER TABLE u RENAME TO x; CREATE VIEW u AS SELECT id, a, c FROM x WHERE a > 0", WRITE),
    Case(
        f"CREATE FUNCTION one(a int, b int DEFAULT 1) {LIKE_ONE}", "SELECT one(1)", "42725", "Calls of one with 1 argum"
    ),
    Case(
        f"CREATE OR REPLACE FUNCTION two(integer) {LIKE_ONE}", "SELECT two(1)", "42725", "Calls of two with 1 argument"
    ),
    Case(f"CREATE OR REPLACE FUNCTION one(number int4) {LIKE_ONE}", "SELECT one(1)", "42P13"),
    Case(f"CREATE OR REPLACE FUNCTION one(a int4) {LIKE_ONE}", "SELECT one(1)"),
    Case(f"DROP FUNCTION one(int); CREATE FUNCTION one(a int, b int DEFAULT 1) {LIKE_ONE}", "SELECT one(1)"),
    Case(f"CREATE FUNCTION one(a int, b int) {LIKE_ONE}", "SELECT one(1)"),
    Case(f"CREATE FUNCTION one(a text, b int DEFAULT 1) {LIKE_ONE}", "SELECT one(1)"),
]
UPSERT = "INSERT INTO t VALUES (2, 1, 1) ON CONFLICT (b, a) DO NOTHING"
UPSERT_C = "INSERT INTO t VALUES (2) ON CONFLICT (lower(c)) DO NOTHING"
UPSERT_D = "INSERT INTO t VALUES (2) ON CONFLICT (d) WHERE d > 0 DO NOTHING"
BY_NAME = "ON CONFLICT ON CONSTRAINT uq on t fails: no constraint has this name"
"""By its columns, the key is found."""
NO_UQ = "ALTER TABLE t DROP CONSTRAINT uq"
KEYS = [
    Case(NO_UQ, UPSERT, "42P10", "INSERT … ON CONFLICT (a, b) on t fails"),
    Case(f"{NO_UQ}, ADD CONSTRAINT uq UNIQUE (a)", UPSERT, "42P10", "ON CONFLICT (a, b)"),
    Case(f"{NO_UQ}; CREATE UNIQUE INDEX i ON t (a, b) WHERE a > 0", UPSERT, "42P10", "for all rows"),
    Case(f"{NO_UQ}, ADD UNIQUE (a, b) DEFERRABLE", UPSERT, "55000", "ON CONFLICT (a, b)"),
    Case("DROP INDEX t_c", UPSERT_C, "42P10", "ON CONFLICT (lower(c)) on t fails"),
    Case("DROP INDEX IF EXISTS public.t_d", UPSERT_D, "42P10", "ON CONFLICT (d) WHERE … on t fails"),
    Case("ALTER TABLE u DROP CONSTRAINT u_pkey", "SELECT id, c FROM u GROUP BY id", "42803", "ON CONFLICT (id) on u"),
    Case(f"{NO_UQ}; ALTER TABLE t ADD CONSTRAINT k UNIQUE (b, a) NOT DEFERRABLE", UPSERT, said=BY_NAME),
    Case(f"CREATE UNIQUE INDEX i ON t USING btree (b, a) INCLUDE (d); {NO_UQ}", UPSERT, said=BY_NAME),
    Case(f"{NO_UQ}; CREATE UNIQUE INDEX i ON t (a, b); ALTER TABLE t ADD UNIQUE USING INDEX i", UPSERT, said=BY_NAME),
    Case(f"{NO_UQ}; DO $$ BEGIN CREATE UNIQUE INDEX i ON t (a, b); END $$", UPSERT, said=BY_NAME),
    Case(f"{NO_UQ}, ADD CONSTRAINT uq UNIQUE (a, b); {NO_UQ}", UPSERT, "42P10", "ON CONFLICT (a, b)"),
    Case(f"{NO_UQ}, ADD UNIQUE (a, b); ALTER TABLE t DROP CONSTRAINT t_a_b_key", UPSERT, "42P10", "ON CONFLICT (a, b)"),
    Case(f"{NO_UQ}; CREATE UNIQUE INDEX i ON t (a, b); DROP INDEX i", UPSERT, "42P10", "ON CONFLICT (a, b)"),
    Case(
        f"{NO_UQ}; CREATE UNIQUE INDEX i ON t (a, b); ALTER TABLE t ADD CONSTRAINT uq UNIQUE USING INDEX i; {NO_UQ}",
        *(UPSERT, "42P10", "ON CONFLICT (a, b)"),
    ),
    Case("DROP INDEX t_c; CREATE UNIQUE INDEX t_c ON t (LOWER(c)); DROP INDEX t_c", UPSERT_C, "42P10", "(lower(c))"),
    Case("DROP INDEX t_c; CREATE UNIQUE INDEX t_c ON t (LOWER(c))", UPSERT_C),
    Case("DROP INDEX t_d; CREATE UNIQUE INDEX k ON t (d) WHERE (d > 0)", UPSERT_D),
    Case("DROP INDEX t_d; CREATE UNIQUE INDEX k ON t (d)", UPSERT_D),
    Case("CREATE TABLE n (a int CONSTRAINT x UNIQUE); ALTER TABLE n DROP CONSTRAINT x"),
    Case("ALTER TABLE t ADD CONSTRAINT x CHECK (a > 0) NOT VALID; ALTER TABLE t DROP CONSTRAINT x", UPSERT),
]
NEW_E = "CREATE OR REPLACE FUNCTION e() RETURNS int LANGUAGE sql AS 'SELECT z FROM plain'"
KEPT_P = "ALTER TABLE plain RENAME TO p; CREATE VIEW plain AS SELECT * FROM p; GRANT SELECT ON plain TO plan_reader"
BODIES = [
    Case("ALTER TABLE u RENAME c TO z", "SELECT f()", "42703", "The function f isn't replaced and names u.c: its next"),
    Case("ALTER TABLE u DROP c CASCADE", "INSERT INTO u VALUES (2)", "42703", "stamp isn't replaced and names u.c: "),
    Case("DROP VIEW w; ALTER TABLE u RENAME TO z", "SELECT f()", "42P01", "The function f isn't replaced and names u"),
    Case("ALTER TABLE u RENAME id TO z", "SELECT other()", "42703", "The function other isn't replaced and names u.id"),
    Case("ALTER TABLE plain RENAME a TO z", "SELECT e()", "42703", "The function e isn't replaced and names plain.a"),
    Case("DROP FUNCTION e()", "SELECT caller()", "42883", "The function caller isn't replaced and names e()"),
    Case("ALTER FUNCTION e() RENAME TO z", "SELECT caller()", "42883", "caller isn't replaced and names e()"),
    Case("DROP FUNCTION e(); DROP FUNCTION caller(); DROP TABLE plain", "SELECT cte()"),
    Case(f"ALTER TABLE plain RENAME a TO z; {NEW_E}", "SELECT e()"),
    Case("ALTER TABLE plain SET SCHEMA attic", "SELECT e()", "42P01", "The function e isn't replaced and names plain:"),
    Case("ALTER TABLE bare RENAME TO z", "SELECT ins()", "42P01", "The function ins isn't replaced and names bare:"),
    Case("ALTER TABLE typing RENAME TO z", "SELECT typed()", "42P01 42601", "typed isn't replaced and names typing:"),
    Case("ALTER TABLE typing RENAME TO z", "SELECT rowed()", "42P01", "rowed isn't replaced and names typing:"),
    Case(
        "ALTER TABLE typing RENAME a TO z", "SELECT typed()", "42703 42601", "typed isn't replaced and names typing.a:"
    ),
    Case(KEPT_P, "SELECT e()"),
    Case("ALTER TABLE plain RENAME a TO z; ALTER TABLE plain ADD a int", "SELECT e()"),
    Case("ALTER TABLE t RENAME c TO z", "SELECT other()"),
]
NO_KEY = "it has no replica identity any more"
NO_PKEY = "ALTER TABLE u DROP CONSTRAINT u_pkey"
PUBLISHED = [
    Case(NO_PKEY, "UPDATE u SET a = 2", "55000", f"the publication ep has it, and {NO_KEY}"),
    Case("DROP VIEW w; ALTER TABLE u DROP id", "DELETE FROM u", "55000", NO_KEY),
    Case("CREATE TABLE n AS SELECT 1 AS a", "DELETE FROM n", "55000", "the new n fail: the publication ep has it"),
    Case("CREATE TABLE n (a int); ALTER TABLE n RENAME TO m", "DELETE FROM m", "55000", "it has no primary key"),
    Case(f"{NO_PKEY}, ADD PRIMARY KEY (a)", "UPDATE u SET c = ''", said="ON CONFLICT (id)"),
    Case(f"{NO_PKEY}, REPLICA IDENTITY FULL", "UPDATE u SET c = ''", said="ON CONFLICT (id)"),
    Case("ALTER TABLE u RENAME id TO z", "UPDATE u SET c = NULL", said="names u.id"),
    Case("CREATE TABLE n (a int PRIMARY KEY)", "DELETE FROM n"),
    Case("CREATE TABLE n (a int); ALTER TABLE n ADD CONSTRAINT k PRIMARY KEY (a)", "DELETE FROM n"),
    Case("CREATE TABLE n (a int); ALTER TABLE n ADD id serial PRIMARY KEY", "DELETE FROM n"),
    Case("CREATE TABLE n (a int); ALTER TABLE n REPLICA IDENTITY FULL", "DELETE FROM n"),
    Case("CREATE TEMPORARY TABLE n (a int)", "DELETE FROM n"),
    Case("CREATE UNLOGGED TABLE n (a int)", "DELETE FROM n"),
    Case("CREATE TABLE n (LIKE u INCLUDING ALL)", "DELETE FROM n"),
    Case("CREATE TABLE n (a int); DROP TABLE n"),
]
ADDED = [
    Case(
        "CREATE PUBLICATION eq FOR TABLE bare", "DELETE FROM bare", "55000", "DELETE of bare fail: the publication eq"
    ),
    Case("ALTER PUBLICATION ei ADD TABLE ONLY u, bare", "DELETE FROM bare", "55000", "bare fail: the publication ei"),
    Case("ALTER PUBLICATION ei SET TABLE bare", "DELETE FROM bare", "55000", "bare fail: the publication ei"),
    Case("CREATE PUBLICATION eq FOR TABLE t, u", "DELETE FROM t"),
    Case("CREATE PUBLICATION eq FOR TABLE bare WITH (publish = 'insert')", "DELETE FROM bare"),
    Case("CREATE PUBLICATION eq FOR TABLE bare; ALTER TABLE bare REPLICA IDENTITY FULL", "DELETE FROM bare"),
]


@pytest.fixture(scope="module")
def roles(server: Server) -> None:
    make_roles(server, *ROLES)
    query(server.admin, "GRANT plan_group TO plan_reader")


@pytest.fixture(scope="module")
def present(server: Server, roles: None) -> Dsn:  # noqa: ARG001 - the roles are granted something
    return made(server)


@pytest.fixture(scope="module")
def published(server: Server, roles: None) -> Dsn:  # noqa: ARG001 - as above
    dsn = made(server)
    query(dsn, "CREATE PUBLICATION ep FOR ALL TABLES")
    return dsn


def made(server: Server) -> Dsn:
    """Return a new database with what a revision may take; only a superuser publishes all tables."""
    dsn = replace(make_database(server), user=server.admin.user, password=server.admin.password)
    run_script(dsn, SETUP)
    run_script(dsn, ["CREATE PUBLICATION ei FOR TABLE t"])
    return dsn


async def judged(dsn: Dsn, sql: str) -> list[PlanFinding]:
    """Return what is found of a revision."""
    engine = create_async_engine(dsn.url, connect_args=dsn.connect_args())
    rendered = Rendered(Revision("b2", (), "", "b2.py", is_head=True), [Piece(sql, 1)])
    try:
        async with engine.connect() as connection:
            findings = await database_findings(connection, [rendered])
            assert not connection.in_transaction()
    finally:
        await engine.dispose()
    return list(findings.get("b2", ()))


async def code_after(dsn: Dsn, sql: str, running: str) -> str:
    """Return the SQLSTATE of a statement after a revision, in a transaction that is rolled back."""
    connection = await asyncpg.connect(**dsn.connect_args())
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(sql)
        await connection.execute(running)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    else:
        return ""
    finally:
        await transaction.rollback()
        await connection.close()


def check(dsn: Dsn, case: Case) -> None:
    findings = asyncio.run(judged(dsn, case.sql))
    if case.said:
        assert any(case.said in finding.message for finding in findings), findings
    else:
        assert findings == []
    assert asyncio.run(code_after(dsn, case.sql, case.running)) in (case.code.split() or [""])


@pytest.mark.parametrize("case", [*PRIVILEGES, *REPLACING, *KEYS, *BODIES, *ADDED], ids=lambda case: case.sql)
def test_what_a_revision_takes_is_said_where_running_code_fails(present: Dsn, case: Case) -> None:
    check(present, case)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.sql)
def test_a_published_table_without_an_identity_is_said(published: Dsn, case: Case) -> None:
    check(published, case)


def test_a_revoke_takes_only_from_its_roles(server: Server, roles: None) -> None:  # noqa: ARG001 - as above
    dsn = made(server)
    query(dsn, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO plan_reader")
    revoke = f"DROP VIEW v; {NEW_VIEW}; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM"
    check(dsn, Case(f"{revoke} plan_owner", READ))
    check(dsn, Case(f"{revoke} plan_reader", READ, "42501", "plan_reader that need SELECT, UPDATE on v fail"))


def test_one_fault_is_one_finding(present: Dsn) -> None:
    (key,) = asyncio.run(judged(present, NO_PKEY))
    assert "ON CONFLICT (id) on u" in key.message  # and no publication has the table
    (table,) = asyncio.run(judged(present, "ALTER TABLE plain RENAME a TO z; ALTER TABLE plain RENAME TO p"))
    assert "The function e isn't replaced and names plain:" in table.message


@pytest.mark.skipif(int(VERSION) < 15, reason="publications of schemas are of 15")
def test_a_publication_of_a_schema_has_its_new_tables(server: Server) -> None:
    dsn = made(server)
    query(dsn, "CREATE PUBLICATION es FOR TABLES IN SCHEMA public")
    check(dsn, Case("CREATE TABLE n (a int)", "DELETE FROM n", "55000", "the new n fail: the publication es has it"))
    check(dsn, Case("CREATE TABLE attic.n (a int)", "DELETE FROM attic.n"))


@pytest.fixture
def service(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service in a schema of its own, with a unique key and a function; and its DSN."""
    dsn = database()
    monorepo.service("billing", dsn=dsn, MIGRATIONS_SEARCH_PATH="own")
    query(dsn, "CREATE SCHEMA own")
    base = ["CREATE TABLE own.t (id int PRIMARY KEY, a int, b int CONSTRAINT uq UNIQUE)"]
    base.append("CREATE FUNCTION own.f() RETURNS int LANGUAGE sql AS 'SELECT a FROM own.t'")
    monorepo.revision("billing", "a1", None, "\n".join(f"op.execute({sql!r})" for sql in base))
    wait(service_migrations.upgrade(monorepo.find("billing")))
    monorepo.revision("billing", "b2", "a1", 'op.drop_constraint("uq", "t")\nop.execute("SELECT 1")')
    monorepo.revision("billing", "c3", "b2", 'op.execute("ALTER TABLE own.t RENAME a TO z")', "pass")
    return monorepo, dsn


def test_the_plan_has_each_finding_at_its_revision_and_line(service: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = service
    plan = wait(service_migrations.plan(monorepo.find("billing")))
    b2, c3 = plan.revisions
    assert b2.classes == (Class.BREAKING, Class.IRREVERSIBLE)
    assert [(each.line, each.message) for each in b2.findings if each.kind == Class.BREAKING] == [
        (10, "INSERT … ON CONFLICT (b) on t fails: no unique key for all rows has these columns any more.")
    ]
    assert "The function f isn't replaced and names t.a: its next call fails." in [each.message for each in c3.findings]


@pytest.fixture(scope="module")
def far() -> Iterator[Server]:
    """A server under an address that isn't this machine's name."""
    with throwaway(VERSION, settings={"listen_addresses": "127.0.0.1,127.0.0.2"}) as server:
        yield server


def test_an_upgrade_is_refused_for_what_the_database_has(monorepo: Monorepo, far: Server) -> None:
    query(far.admin, "CREATE DATABASE shop")
    dsn = replace(far.admin, hosts=(("127.0.0.2", far.admin.hosts[0][1]),), database="shop")
    query(dsn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("CREATE TABLE t (id int, a int CONSTRAINT uq UNIQUE)")')
    wait(service_migrations.upgrade(service))
    monorepo.revision("billing", "b2", "a1", 'op.drop_constraint("uq", "t")', "pass")
    with pytest.raises(UsageError, match=r"b2.py:10: .* would break .*: INSERT … ON CONFLICT \(a\) on t fails"):
        wait(service_migrations.upgrade(service, allow=()))
    wait(service_migrations.upgrade(service, allow=["breaking"]))


def test_the_server_is_asked_once_more_and_only_where_something_is_taken(service: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = service
    with proxy(dsn) as (between, through):
        billing = monorepo.service("billing", dsn=through, MIGRATIONS_SEARCH_PATH="own")
        counts = []
        for sql in ("CREATE TABLE n (id int PRIMARY KEY)", "DROP TABLE t"):
            monorepo.revision("billing", "b2", "a1", f'op.execute("{sql}")')
            before = between.asked
            wait(service_migrations.plan(billing, "b2"))
            counts.append(between.asked - before)
    assert counts[1] - counts[0] <= QUERY

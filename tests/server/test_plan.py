"""The plan: what is pending, which class it has and where it stands; and the upgrade that refuses to destroy data."""

import json
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.monorepo import discover
from service_migrations.plan import squawk
from service_migrations.plan.review import PlanFinding, PlannedRevision
from service_migrations.postgres import VERSIONS, Server, throwaway
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.lexer import requalified, statements
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text

BASE = """
op.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b text)")
op.execute("CREATE TABLE u (id int PRIMARY KEY)")
op.execute("CREATE INDEX t_a ON t (a)")
op.execute("CREATE TYPE spare AS ENUM ('x')")
op.execute("CREATE TYPE pair AS (one int, two int)")
op.execute("CREATE SCHEMA attic")
op.execute("CREATE MATERIALIZED VIEW seen AS SELECT id FROM t")
op.execute("CREATE UNIQUE INDEX seen_id ON seen (id)")
op.execute("CREATE TABLE parts (id int) PARTITION BY LIST (id)")
op.execute("CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)")
op.execute("CREATE TABLE loose (id int)")
op.execute("CREATE PROCEDURE proc() LANGUAGE sql AS 'SELECT 1'")
"""

A, D, C, L, X = "additive", "data", "concurrent", "locks long or rewrites", "destructive"
B = "breaking"
CASES = [
    ("CREATE TABLE v (id int)", {A}),
    ("CREATE TABLE v (id int); CREATE INDEX v_id ON v (id); ALTER TABLE v ADD CHECK (id > 0)", {A}),
    ("CREATE TABLE v (id int); DROP TABLE v", {A}),
    ("CREATE TABLE v (id int); ALTER TABLE v RENAME TO w; ALTER TABLE w ALTER id TYPE bigint", {A}),
    ("CREATE TABLE IF NOT EXISTS t (id int); ALTER TABLE t ALTER a TYPE bigint", {L}),
    ("ALTER TABLE t ADD COLUMN c text", {A}),
    ("ALTER TABLE t ADD COLUMN c text DEFAULT 'x' NOT NULL", {A}),
    ("ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0) NOT VALID", {B}),
    ("ALTER TABLE t DROP CONSTRAINT t_pkey", {B}),
    ("ALTER TABLE t ALTER b DROP NOT NULL, ALTER b DROP DEFAULT", {A}),
    ("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; DROP TABLE t; END $$", {A}),
    ("CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC; DELETE FROM t; SELECT 1; END", {A}),
    ("COMMENT ON TABLE t IS 'DROP TABLE t; DELETE FROM t; -- /*'", {A}),
    ("SELECT 1 /* DROP TABLE t; /* TRUNCATE t; */ */ -- DELETE FROM t", {A}),
    ('ALTER TABLE t ADD COLUMN "drop" int', {A}),
    ("SELECT E'\\'; DROP TABLE t; --'", {A}),
    ("INSERT INTO u VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 1", {D}),
    ("UPDATE t SET a = 1", {D}),
    ("DELETE FROM t WHERE a = 1", {D}),
    ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE", {D}),
    ("WITH gone AS (DELETE FROM t WHERE a = 1 RETURNING id) INSERT INTO u SELECT id FROM gone", {D}),
    ("DO $$ BEGIN UPDATE t SET a = 1; END $$", {D}),
    ("DO 'BEGIN EXECUTE ''UPDATE t SET a = 1''; END'", {D}),
    ("DO $$ DECLARE change text := 'DROP TABLE u'; BEGIN EXECUTE change; END $$", {B, D, X}),
    ("DO $$ BEGIN EXECUTE 'ALTER TABLE t ' || CASE WHEN true THEN 'DROP COLUMN b' END; END $$", {B, X}),
    ("DO $$ BEGIN PERFORM 1; END $$", {A}),
    ("CALL proc()", {D}),
    ("DELETE FROM t", {D, X}),
    ("DELETE FROM t USING (SELECT 1 WHERE true) AS one", {D, X}),
    ("DO $$ BEGIN IF true THEN DROP TABLE t CASCADE; END IF; END $$", {B, X}),
    ("WITH gone AS (DELETE FROM t RETURNING id) SELECT 1 FROM gone WHERE true", {D, X}),
    ("TRUNCATE t", {X}),
    ("DROP TABLE u", {B, X}),
    ("CREATE TABLE v (id int); DROP TABLE v, u", {B, X}),
    ("drop /* really */ table public.u", {B, X}),
    ("ALTER TABLE t DROP COLUMN b", {B, X}),
    ("ALTER TABLE t ADD COLUMN c int, DROP b", {B, X}),
    ("ALTER TYPE pair DROP ATTRIBUTE two", {B, X}),
    ("DROP TYPE spare", {B, X}),
    ("DROP SCHEMA attic", {B, X}),
    ("@CREATE INDEX CONCURRENTLY t_b ON t (b)", {C}),
    ("@DROP INDEX CONCURRENTLY t_a", {C}),
    ("@REINDEX INDEX CONCURRENTLY t_a", {C}),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY seen", {C}),
    ("REFRESH MATERIALIZED VIEW seen", {L}),
    ("ALTER TABLE t ALTER a TYPE bigint", {L}),
    ("ALTER TABLE t ALTER a SET NOT NULL", {B, L}),
    ("ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0)", {B, L}),
    ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)", {B, L}),
    ("ALTER TABLE t ADD UNIQUE (a)", {B, L}),
    ("CREATE INDEX t_b ON t (b)", {L}),
    ("REINDEX TABLE t", {L}),
    ("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()", {L}),
    ("ALTER TABLE t ADD COLUMN c serial", {L}),
    ("ALTER TABLE t ADD COLUMN c int CHECK (c > 0)", {L}),
    ("ALTER TABLE t SET UNLOGGED", {L}),
    ("ALTER TABLE parts ATTACH PARTITION loose FOR VALUES IN (2)", {L}),
    ("LOCK TABLE t", {L}),
    ("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT k", {B, L}),
]


def sql_up(statement: str) -> str:
    """Return the body of upgrade() that runs statements one by one, outside a transaction where they begin with @."""
    if statement.startswith("@"):
        return f"with op.get_context().autocommit_block():\n    op.execute({statement[1:]!r})"
    # a body with semicolons stays one statement
    pieces = (
        [statement]
        if "$$" in statement or "ATOMIC" in statement or "'" in statement or "/*" in statement
        else statement.split("; ")
    )
    return "\n".join(f"op.execute({piece!r})" for piece in pieces)


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service whose database is at a1."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, BASE)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    return monorepo, dsn


def planned(monorepo: Monorepo, revision: str = "head", name: str = "billing") -> service_migrations.Plan:
    return wait(service_migrations.plan(monorepo.find(name), revision))


def only(plan: service_migrations.Plan) -> PlannedRevision:
    assert [revision.revision for revision in plan.revisions] == ["b2"]
    return plan.revisions[0]


def found(revision: PlannedRevision, rule: str) -> PlanFinding:
    matches = [finding for finding in revision.findings if finding.rule == rule]
    assert len(matches) == 1, revision.findings
    return matches[0]


# Classes


@pytest.mark.parametrize(("statement", "expected"), CASES, ids=[case[0][:60] for case in CASES])
def test_a_statement_has_its_classes_and_really_runs(world, server, statement, expected):
    if int(server.version) < 15 and statement.startswith("MERGE"):
        pytest.skip("MERGE is of PostgreSQL 15")
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1", sql_up(statement), "op.execute('SELECT 1')")
    plan = planned(monorepo)
    assert set(only(plan).classes) == expected
    assert plan.findings == ()
    assert plan.current == ("a1",)
    assert wait(service_migrations.upgrade(monorepo.find("billing"))).applied == ("b2",)


def test_a_required_column_locks_and_dropping_a_database_destroys(world):
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("ALTER TABLE t ADD COLUMN c int NOT NULL")', "op.f('x')")
    assert only(planned(monorepo)).classes == (L, B)
    monorepo.revision("billing", "b2", "a1", 'op.execute("DROP DATABASE other")', "op.f('x')")
    assert only(planned(monorepo)).classes == (B, X)


PURGES = "CREATE OR REPLACE FUNCTION purge() RETURNS int LANGUAGE sql AS $$ DELETE FROM t RETURNING 1 $$"
COUNTS = "CREATE OR REPLACE FUNCTION purge() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$"


@pytest.mark.parametrize(
    ("earlier", "back", "call", "classes"),
    [
        (PURGES, COUNTS, "SELECT purge()", {D, X}),
        (PURGES, COUNTS, "DO $$ BEGIN PERFORM public.purge(); END $$", {D, X}),
        (COUNTS, PURGES, "SELECT purge()", {A}),
    ],
)
def test_a_function_that_an_earlier_revision_created_does_what_its_body_does(
    monorepo: Monorepo, database: Callable[..., Dsn], earlier: str, back: str, call: str, classes: set[str]
) -> None:
    """The plan knew the functions of its own revisions only, and what the others deleted was additive."""
    monorepo.service("billing", dsn=database())
    bodies = [f"op.execute({sql!r})" for sql in (earlier, back)]
    monorepo.revision("billing", "a1", None, f'op.execute("CREATE TABLE t (id int)")\n{bodies[0]}', bodies[1])
    wait(service_migrations.upgrade(monorepo.find("billing")))
    monorepo.revision("billing", "b2", "a1", f"op.execute({call!r})", "op.execute('SELECT 1')")
    assert set(only(planned(monorepo)).classes) == classes
    monorepo.revision("billing", "b2", "a1", f"op.execute({COUNTS!r})\nop.execute({call!r})", "op.execute('SELECT 1')")
    assert not {D, X} & set(only(planned(monorepo)).classes)


def test_a_column_of_a_domain_with_a_constraint_of_an_earlier_revision_locks(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    body = 'op.execute("CREATE TABLE t AS SELECT 1 AS id")\nop.execute("CREATE DOMAIN d AS int CHECK (VALUE > 0)")'
    monorepo.revision("billing", "a1", None, body)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    monorepo.revision(
        "billing", "b2", "a1", 'op.execute("ALTER TABLE t ADD a d")', 'op.execute("ALTER TABLE t DROP a")'
    )
    assert set(only(planned(monorepo)).classes) == {L}
    file = query(dsn, "SELECT pg_relation_filenode('t')")
    wait(service_migrations.upgrade(monorepo.find("billing")))
    assert query(dsn, "SELECT pg_relation_filenode('t')") != file


@pytest.mark.parametrize(
    ("validate", "expected"), [("VALIDATE CONSTRAINT present", (A,)), ("ALTER a SET DEFAULT 1", (L, B))]
)
def test_not_null_is_additive_where_an_earlier_revision_has_validated_it(world, validate, expected):
    monorepo, _ = world
    back = "op.execute('SELECT 1')"
    check = "ALTER TABLE t ADD CONSTRAINT present CHECK (a IS NOT NULL) NOT VALID"
    monorepo.revision("billing", "b2", "a1", f"op.execute({check!r})", back)
    monorepo.revision("billing", "c3", "b2", f'op.execute("ALTER TABLE t {validate}")', back)
    monorepo.revision("billing", "d4", "c3", 'op.execute("ALTER TABLE t ALTER a SET NOT NULL")', back)
    plan = planned(monorepo)
    assert [revision.classes for revision in plan.revisions] == [(B,), (A,), expected]


def test_an_index_on_a_table_of_an_earlier_pending_revision_locks_nothing(world):
    monorepo, _ = world
    back = "op.execute('SELECT 1')"
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE v (id int, a int)")', back)
    monorepo.revision("billing", "c3", "b2", 'op.create_index("v_a", "v", ["a"])\nop.drop_column("v", "id")', back)
    assert [revision.classes for revision in planned(monorepo).revisions] == [(A,), (A,)]
    wait(service_migrations.upgrade(monorepo.find("billing"), "b2"))
    assert [revision.classes for revision in planned(monorepo).revisions] == [(L, B, X)]


@pytest.mark.parametrize(
    ("back", "why"),
    [("pass", "empty"), ('"""Nothing."""', "empty"), ("raise NotImplementedError", "raises"), (None, "no downgrade()")],
)
def test_a_revision_that_cant_be_taken_back_is_irreversible(world, back, why):
    monorepo, _ = world
    path = monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE v (id int)")', back or "pass")
    if back is None:
        path.write_text(path.read_text(encoding="utf-8").partition("def downgrade")[0], encoding="utf-8")
    revision = only(planned(monorepo))
    assert revision.classes == (A, "irreversible")
    assert why in found(revision, "irreversible").message


def test_a_merge_has_nothing_to_take_back(world):
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("SELECT 1")', 'op.execute("SELECT 1")')
    monorepo.revision("billing", "b3", "a1", 'op.execute("SELECT 2")', 'op.execute("SELECT 1")')
    with pytest.raises(UsageError, match="has 2 heads"):
        planned(monorepo)
    path = monorepo.revision("billing", "m4", "b2")
    path.write_text(path.read_text(encoding="utf-8").replace("'b2'", "('b2', 'b3')"), encoding="utf-8")
    plan = planned(monorepo)
    assert {revision.revision: (revision.classes, revision.sql) for revision in plan.revisions} == {
        "b2": ((A,), "SELECT 1;"),
        "b3": ((A,), "SELECT 2;"),
        "m4": ((A,), ""),
    }
    assert plan.revisions[-1].revision == "m4"


# SQL, lines, and what can't be rendered


def test_a_finding_has_the_line_of_the_file_and_that_of_the_sql(world):
    monorepo, _ = world
    up = '''
    op.execute("COMMENT ON TABLE t IS 'one\\ntwo é'")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY t_b ON t (b)")
    op.execute("""
        ALTER TABLE t
            DROP COLUMN b
    """)
    op.alter_column(
        "t", "a",
        type_=sa.BigInteger(),
    )
    '''
    path = monorepo.revision("billing", "b2", "a1", up)
    revision = only(planned(monorepo))
    sql, text = revision.sql.splitlines(), path.read_text(encoding="utf-8").splitlines()
    expected = [
        ("concurrent", "CREATE INDEX CONCURRENTLY", "CREATE INDEX CONCURRENTLY"),
        ("ban-drop-column", "DROP COLUMN b", 'op.execute("""'),
        ("breaking", "ALTER TABLE t", 'op.execute("""'),
        ("changing-column-type", "ALTER TABLE t ALTER COLUMN a TYPE BIGINT", "op.alter_column("),
        ("irreversible", None, "def downgrade"),
    ]
    assert [noted.rule for noted in revision.findings] == [rule for rule, _, _ in expected]
    for rule, in_sql, in_file in expected:
        finding = found(revision, rule)
        assert finding.path == "migrations/versions/billing/b2.py"
        assert in_file in text[finding.line - 1]
        assert finding.sql_line is None if in_sql is None else in_sql in sql[finding.sql_line - 1]


def test_the_sql_is_that_of_the_revision_alone(world):
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1", sql_up("@CREATE INDEX CONCURRENTLY t_b ON t (b)"))
    monorepo.revision("billing", "c3", "b2", 'op.add_column("t", sa.Column("c", sa.Text))')
    plan = planned(monorepo)
    assert [revision.sql for revision in plan.revisions] == [
        "CREATE INDEX CONCURRENTLY t_b ON t (b);",
        "ALTER TABLE t ADD COLUMN c TEXT;",
    ]
    assert [revision.message for revision in plan.revisions] == ["b2.", "c3."]


def test_a_concurrent_build_inside_a_transaction_is_found(world):
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE INDEX CONCURRENTLY t_b ON t (b)")')
    found(only(planned(monorepo)), "ban-concurrent-index-creation-in-transaction")
    monorepo.revision("billing", "b2", "a1", sql_up("@CREATE INDEX CONCURRENTLY t_b ON t (b)"))
    assert {finding.rule for finding in only(planned(monorepo)).findings} == {"concurrent", "irreversible"}


def test_a_revision_that_needs_a_connection_is_read_instead_of_rendered(world):
    monorepo, _ = world
    up = """
    op.execute("CREATE TABLE v (id int)")
    for row in op.get_bind().execute(sa.text("SELECT id FROM t")):
        op.execute("UPDATE t SET a = 1")
    op.drop_column("t", "b")
    """
    path = monorepo.revision("billing", "b2", "a1", up, 'op.execute("TRUNCATE t")')
    revision = only(planned(monorepo))
    assert revision.classes == (D, B, X)
    assert revision.sql == "CREATE TABLE v (id int);\n\nSELECT id FROM t;"
    text = path.read_text(encoding="utf-8").splitlines()
    for rule, shown in (("offline", "get_bind"), ("data", "UPDATE"), ("destructive", "drop_column")):
        assert shown in text[found(revision, rule).line - 1]


@pytest.mark.parametrize(
    "question",
    [
        "if not op.get_context().as_sql:",
        "from alembic import context\nif not context.is_offline_mode():",
        "try:\n    rows = op.get_bind().execute(sa.select(1)).all()\nexcept AttributeError:\n    rows = []\nif rows:",
    ],
)
def test_what_a_revision_does_with_a_connection_alone_is_read(world, question):
    monorepo, _ = world
    up = f'op.execute("CREATE TABLE v (id int)")\n{question}\n    op.drop_column("t", "b")'
    monorepo.revision("billing", "b2", "a1", up, "pass")
    revision = only(planned(monorepo))
    assert revision.classes == (B, X, "irreversible")
    assert "more with a connection" in found(revision, "offline").message
    monorepo.revision("billing", "b2", "a1", f"{question}\n    sorted([])", "pass")
    assert only(planned(monorepo)).classes == ("irreversible",)  # and not additive: nobody knows


def test_of_the_line_that_could_not_be_rendered_all_is_read(world):
    monorepo, _ = world
    loop = """
    for row in op.get_bind().execute(sa.text("SELECT 't' AS t")): op.execute(f"ALTER TABLE {row.t} DROP COLUMN b")
    """
    monorepo.revision("billing", "b2", "a1", loop)
    revision = only(planned(monorepo))
    assert revision.classes == (B, X, "irreversible")


@pytest.mark.parametrize("script", [None, "#!/bin/sh\necho broken >&2\nexit 7\n", "#!/no/such/interpreter\n"])
def test_without_squawk_a_plan_says_so_and_has_the_other_classes(world, tmp_path, monkeypatch, script):
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("ALTER TABLE t ALTER a TYPE bigint, DROP b")', "op.f('x')")
    assert only(planned(monorepo)).classes == (L, B, X)
    if script is not None:
        (tmp_path / "squawk").write_text(script, encoding="utf-8")
        (tmp_path / "squawk").chmod(0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = planned(monorepo)
    assert only(plan).classes == (B, X)
    (trouble,) = plan.findings
    assert "squawk" in trouble.message


def test_squawk_knows_every_rule_that_has_a_class():
    program = shutil.which("squawk", path=sysconfig.get_path("scripts"))
    assert program
    text = Path(program).read_bytes()
    assert squawk._CLASSES
    for rule in [*squawk._CLASSES, *squawk._IGNORED]:
        assert rule.encode() in text, rule


def test_a_text_is_split_where_postgresql_splits_it():
    text = "SELECT ';' ; SELECT $a$ ; $$ ; $a$;\n/* /* ; */ ; */ SELECT \";\", E'\\';' -- ;\n;; SELECT (1;2)"
    assert [(statement.line, statement.end) for statement in statements(text)] == [(1, 1), (1, 1), (2, 3), (3, 3)]


# From the database's present revision


def test_nothing_pending_is_an_empty_plan(world):
    monorepo, dsn = world
    plan = planned(monorepo)
    assert plan == service_migrations.Plan("billing", dsn.target, ("a1",), (), ())
    ran = monorepo.inv("db.plan", "--service", "billing", "--exit-code")
    assert (ran.code, ran.out) == (0, f"billing: nothing to do, {dsn.target} is at a1\n")


def test_a_plan_changes_nothing(monorepo, database):
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    assert [revision.revision for revision in planned(monorepo).revisions] == ["a1"]
    assert tables(dsn) == set()


def test_a_plan_ends_at_the_revision_that_is_asked_for(world):
    monorepo, _ = world
    monorepo.revision("billing", "b2", "a1")
    monorepo.revision("billing", "c3", "b2")
    assert [revision.revision for revision in planned(monorepo).revisions] == ["b2", "c3"]
    assert [revision.revision for revision in planned(monorepo, "b2").revisions] == ["b2"]
    assert [revision.revision for revision in planned(monorepo, "+1").revisions] == ["b2"]
    with pytest.raises(UsageError, match="no-such"):
        planned(monorepo, "no-such")


@pytest.mark.parametrize("service", discover(), ids=str)
def test_the_history_of_each_service_is_planned_from_empty(service, database, monkeypatch):
    monkeypatch.setenv(f"{service.env_prefix}DATABASE_DSN", dsn_text(database()))
    plan = wait(service_migrations.plan(service))
    history = wait(service_migrations.history(service))
    assert [revision.revision for revision in plan.revisions] == [
        revision.revision for revision in reversed(history.revisions)
    ]
    assert plan.findings == ()
    for revision in plan.revisions:
        assert revision.sql
        assert "alembic_version" not in revision.sql
        assert set(revision.classes) <= {A, D, C, "irreversible"}, revision
        assert not {finding.rule for finding in revision.findings} & {"offline", "syntax-error"}
        filled, indexed = " fill " in f" {revision.message.lower()} ", "CONCURRENTLY" in revision.sql
        assert (D in revision.classes, C in revision.classes) == (
            filled or revision.message.startswith("Give"),
            indexed,
        ), revision.message


@pytest.mark.parametrize(("name", "at", "contracting"), [("billing", "77e075ecbc50", "ada942a7b8b7"),
                                                       ("inventory", "2e917ff29109", "8a794e2ee0da")])  # fmt: skip
def test_a_contraction_is_destructive_where_the_table_was_there(name, at, contracting, database, monkeypatch):
    (service,) = [plain_service for plain_service in discover() if plain_service.name == name]
    monkeypatch.setenv(f"{service.env_prefix}DATABASE_DSN", dsn_text(database()))
    wait(service_migrations.upgrade(service, at))
    plan = wait(service_migrations.plan(service))
    assert [revision.revision for revision in plan.revisions if X in revision.classes] == [contracting]


# The task


@pytest.fixture
def behind(world: tuple[Monorepo, Dsn]) -> tuple[Monorepo, Dsn]:
    """Add a destructive revision, which is pending."""
    monorepo, dsn = world
    up = 'op.drop_column("t", "b")\n# allow breaking: no code reads it'
    monorepo.revision("billing", "b2", "a1", up, 'op.execute("SELECT 1")')
    return monorepo, dsn


def test_db_plan_shows_revisions_findings_and_sql(behind):
    monorepo, _ = behind
    ran = monorepo.inv("db.plan", "--service", "billing")
    assert ran.code == 0, ran.text
    assert [line.split() for line in ran.out.splitlines() if line.startswith("b2")] == [["b2", "b2.", f"{B},", X]]
    assert "migrations/versions/billing/b2.py:10: ban-drop-column: " in ran.out
    assert "migrations/versions/billing/b2.py:10: breaking: Statements that name t.b fail: " in ran.out
    assert "b2.py: it is allowed to break the code that runs now: no code reads it\n" in ran.out
    assert "ALTER TABLE t DROP COLUMN b;" not in ran.out
    assert "ALTER TABLE t DROP COLUMN b;" in monorepo.inv("db.plan", "--service", "billing", "--sql").out
    assert "Running upgrade" not in ran.err
    assert monorepo.inv("db.plan", "--service", "billing", "--exit-code").code == 3


def test_db_plan_prints_json(behind):
    monorepo, dsn = behind
    ran = monorepo.inv("db.plan", "--json", "--exit-code")
    assert ran.code == 3
    (plan,) = json.loads(ran.out)
    assert (plan["service"], plan["target"], plan["current"]) == ("billing", dsn.target, ["a1"])
    (revision,) = plan["revisions"]
    assert revision["revision"] == "b2"
    assert (revision["classes"], revision["allowed"]) == ([B, X], "no code reads it")
    assert revision["sql"] == "ALTER TABLE t DROP COLUMN b;"
    assert (revision["findings"][0]["line"], revision["findings"][0]["sql_line"]) == (10, 1)


def test_a_server_that_is_down_is_one_line_and_69_and_stops_no_other_plan(behind):
    monorepo, dsn = behind
    monorepo.service("catalog", dsn=replace(dsn, hosts=(("127.0.0.1", 1),)))
    monorepo.table_revision("catalog", "c1", None)
    alone = monorepo.inv("db.plan", "--service", "catalog")
    assert (alone.code, alone.out, len(alone.err.splitlines())) == (69, "", 1), alone.text
    both = monorepo.inv("db.plan", "--exit-code", "--json")
    assert both.code == 69
    assert [row["service"] for row in json.loads(both.out)] == ["billing"]
    assert both.err.splitlines()[-1] == "1 of 2 services has a problem."


def test_a_revision_of_several_services_is_refused(behind, database):
    monorepo, _ = behind
    monorepo.service("catalog", dsn=database())
    ran = monorepo.inv("db.plan", "--revision", "b2")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)


# What an upgrade refuses


@pytest.fixture(scope="module")
def far() -> Iterator[Server]:
    """A server that also listens on an address that isn't among the names of this machine."""
    with throwaway(VERSIONS[-1], settings={"listen_addresses": "127.0.0.1,127.0.0.2"}) as server:
        yield server


@pytest.fixture
def remote(monorepo: Monorepo, far: Server) -> tuple[Monorepo, Dsn]:
    """A service on a target that isn't local, with a destructive revision pending."""
    name = f"far_{query(far.admin, 'SELECT count(*) FROM pg_database')[0][0]}"  # noqa: S608
    query(far.admin, f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    query(far.admin, f"CREATE DATABASE {name} OWNER {name}")
    dsn = Dsn(name, name, (("127.0.0.2", far.admin.hosts[0][1]),), "secret")
    query(replace(far.admin, database=name), f"GRANT ALL ON SCHEMA public TO {name}")
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("CREATE TABLE t (id int, b text)")')
    wait(service_migrations.upgrade(monorepo.find("billing")))
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE v (id int)")')
    monorepo.revision("billing", "c3", "b2", 'op.drop_column("t", "b")')
    return monorepo, dsn


def at(dsn: Dsn) -> list[str]:
    return [row[0] for row in query(dsn, "SELECT version_num FROM alembic_version_billing")]


def test_what_is_lost_with_a_connection_alone_is_refused_on_a_target_that_is_not_local(remote):
    monorepo, dsn = remote
    monorepo.revision("billing", "c3", "b2", 'if not op.get_context().as_sql:\n    op.drop_column("t", "b")')
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, at(dsn)) == (2, ["a1"]), ran.text
    assert "--allow breaking --allow destructive" in ran.err or "--allow destructive --allow breaking" in ran.err


def test_a_destructive_plan_is_refused_on_a_target_that_is_not_local(remote):
    monorepo, dsn = remote
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 2, ran.text
    (line,) = [line for line in ran.err.splitlines() if "destroy" in line]
    for part in ("billing", dsn.target, "c3", "--allow destructive", "versions/billing/c3.py:10"):
        assert part in line
    assert "Running upgrade" not in ran.err
    assert "Traceback" not in ran.text
    assert (at(dsn), tables(dsn) & {"t", "v"}) == (["a1"], {"t"})
    assert monorepo.inv("db.upgrade", "--service", "billing", "--allow", "data").code == 2
    assert at(dsn) == ["a1"]
    ran = monorepo.inv("db.upgrade", "--service", "billing", "--allow", "destructive")
    assert (ran.code, "would break the code that runs now: Statements that name t.b fail" in ran.err) == (2, True), (
        ran.text
    )
    assert at(dsn) == ["a1"]


def test_allow_destructive_runs_it_and_may_be_repeated(remote):
    monorepo, dsn = remote
    ran = monorepo.inv("db.upgrade", "--service", "billing", "--allow", "breaking", "--allow", "destructive")
    assert ran.code == 0, ran.text
    assert at(dsn) == ["c3"]


@pytest.mark.parametrize("target", ["-1", "a1", "base"])
def test_a_destructive_downgrade_is_refused_on_a_target_that_is_not_local(remote, target):
    monorepo, dsn = remote
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE v (id int)")', 'op.execute("DROP TABLE v")')
    wait(service_migrations.upgrade(monorepo.find("billing"), "b2"))
    words = ("db.downgrade", "--service", "billing", "--revision", target, "--yes")
    ran = monorepo.inv(*words)
    assert ran.code == 2, ran.text
    (line,) = [line for line in ran.err.splitlines() if "destroy" in line]
    for part in ("billing", dsn.target, "the downgrade of", "b2", "--allow destructive", "versions/billing/b2.py:14"):
        assert part in line
    assert (at(dsn), tables(dsn) & {"t", "v"}) == (["b2"], {"t", "v"})
    assert monorepo.inv(*words, "--allow", "destructive").code == 0
    assert "v" not in tables(dsn)


def test_a_class_that_a_downgrade_would_not_heed_is_refused(remote):
    monorepo, dsn = remote
    words = ("db.downgrade", "--service", "billing", "--revision", "base", "--yes", "--allow", "edited")
    ran = monorepo.inv(*words)
    assert ran.code == 2, ran.text
    assert "--allow 'edited': there is no such class." in ran.err
    assert at(dsn) == ["a1"]


def test_a_downgrade_that_destroys_nothing_is_not_refused(remote):
    monorepo, dsn = remote
    monorepo.revision("billing", "b2", "a1", "op.execute('DROP TABLE IF EXISTS x')", "op.execute('CREATE TABLE x ()')")
    wait(service_migrations.upgrade(monorepo.find("billing"), "b2"))
    ran = monorepo.inv("db.downgrade", "--service", "billing", "--revision", "-1", "--yes")
    assert ran.code == 0, ran.text
    assert at(dsn) == ["a1"]


def test_what_comes_before_a_destructive_revision_is_not_refused(remote):
    monorepo, dsn = remote
    assert monorepo.inv("db.upgrade", "--service", "billing", "--revision", "b2").code == 0
    assert at(dsn) == ["b2"]
    assert monorepo.inv("db.upgrade", "--service", "billing", "--revision", "+1").code == 2
    assert at(dsn) == ["b2"]


def test_an_application_is_not_refused(remote):
    monorepo, dsn = remote
    wait(service_migrations.upgrade(monorepo.find("billing")))
    assert at(dsn) == ["c3"]
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0


def test_a_local_target_is_not_refused(behind):
    monorepo, dsn = behind
    assert dsn.is_local
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 0, ran.text
    assert at(dsn) == ["b2"]


@pytest.mark.parametrize("words", [(), ("--sql",), ("--allow", "destructive")])
def test_an_unknown_class_is_refused_before_anything_is_done(behind, words):
    monorepo, dsn = behind
    ran = monorepo.inv("db.upgrade", "--service", "billing", "--allow", "nonsense", *words)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "'nonsense'" in ran.err
    assert "destructive" in ran.err
    assert at(dsn) == ["a1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARRAY['open']::extra.mood[]", "ARRAY['open']::x[]"),
        ('CAST(a AS "extra"."mood"), Extra . MOOD', "CAST(a AS x), x"),
        ("extra.mood /* extra.mood */ -- extra.mood", "x /* extra.mood */ -- extra.mood"),
        ("'extra.mood' || $a$extra.mood$a$", "'extra.mood' || $a$extra.mood$a$"),
        ('extra.moody, other.extra.mood, "Extra".mood', 'extra.moody, other.extra.mood, "Extra".mood'),
    ],
)
def test_something_of_a_schema_is_called_otherwise_in_a_text(text, expected):
    assert requalified(text, "extra", "mood", "x") == expected

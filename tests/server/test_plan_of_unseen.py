"""What a plan says of a database where not all that one of its revisions runs is known."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.plan.classes import Class
from service_migrations.plan.result import Plan
from service_migrations.postgres import Server, throwaway
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.version import VERSION

SETUP = [
    "CREATE TABLE t (id int PRIMARY KEY, a int, b int CONSTRAINT uq UNIQUE)",
    "CREATE TABLE u (id int PRIMARY KEY, c text)",
    "CREATE VIEW v AS SELECT id FROM t",
    "GRANT SELECT ON v TO PUBLIC",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT a FROM t'",
    "CREATE FUNCTION g() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT c FROM u); END'",
]
UNSEEN = "What it takes from what the database has isn't looked for, since not all that it runs is known."
READS = 'for row in op.get_bind().execute(sa.text("SELECT id, a FROM t")).fetchall():\n    '
BACKFILL = READS + 'op.execute(f"UPDATE t SET b = {row.id}")'  # noqa: S608 - a test's
ASKS = "if not op.get_context().as_sql:\n    op.execute('UPDATE t SET b = 1')"
BLOCK = "op.execute(\"DO $$ BEGIN EXECUTE format('ALTER TABLE %I DROP COLUMN x', current_user); END $$\")"
VARIABLE = "op.execute('DO $$ DECLARE x text; BEGIN EXECUTE x; END $$')"
NO_KEY = 'op.drop_constraint("uq", "t")'
NO_A = 'op.execute("ALTER TABLE t RENAME a TO z")'
NO_C = 'op.alter_column("u", "c", new_column_name="z")'
KEY = "INSERT … ON CONFLICT (b) on t fails: no unique key for all rows has these columns any more."
F = "The function f isn't replaced and names t.a: its next call fails."
G = "The function g isn't replaced and names u.c: its next call fails."
NEW_G = "op.execute(\"CREATE OR REPLACE FUNCTION g() RETURNS text LANGUAGE sql AS 'SELECT z FROM u'\")"
VIEW = 'op.execute("DROP VIEW v")\nop.execute("CREATE VIEW v AS SELECT id FROM t")'
V = "Statements of PUBLIC that need SELECT on v fail: the new v doesn't have the privileges of the former one."
GRANT = "op.execute(f'GRANT SELECT ON v TO PUBLIC')"

GRANTS = "op.execute(\"DO $$ BEGIN EXECUTE format('GRANT SELECT ON %I TO PUBLIC', current_user); END $$\")"
FEW = "op.execute(\"DO $$ BEGIN EXECUTE format('GRANT SELECT ON %I_old TO PUBLIC', current_user); END $$\")"
LOOP = READS + 'op.execute(f"GRANT {row.a} ON {row.id} TO {row.b}")'


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    made = database()
    run_script(made, SETUP)
    return made


def planned(monorepo: Monorepo, dsn: Dsn, *revisions: str) -> Plan:
    """Plan revisions with these bodies on the database of ``SETUP``."""
    before = None
    service = monorepo.service("billing", dsn=dsn)
    for number, body in enumerate(revisions):
        monorepo.revision("billing", f"r{number}", before, body)
        before = f"r{number}"
    plan: Plan = wait(service_migrations.plan(service))
    return plan


TAKES = 'op.execute("DROP VIEW v; DROP FUNCTION g(); ALTER TABLE t DROP CONSTRAINT uq; REVOKE SELECT ON v FROM PUBLIC")'
NEW_V = 'op.execute("CREATE VIEW v AS SELECT id FROM t")'
NEW_KEY = f'{NO_KEY}\nop.create_unique_constraint("uq", "t", ["b"])'
KEYS = READS + 'op.execute(f"ALTER TABLE {row.id} ADD CONSTRAINT uq UNIQUE ({row.a})")'
BACK_C = 'op.execute("ALTER TABLE u RENAME z TO c")'
CASES: dict[str, tuple[list[str], list[list[str]]]] = {
    "a revision before one that reads rows": ([NO_KEY, BACKFILL], [[KEY], [UNSEEN]]),
    "a revision behind it": ([BACKFILL, NO_KEY], [[UNSEEN], [KEY]]),
    "both": ([NO_A, BACKFILL, NO_C], [[F], [UNSEEN], [G]]),
    "one that asks whether it has a connection": ([NO_A, ASKS, NO_C], [[F], [UNSEEN], [G]]),
    "a block whose statement is put together": ([NO_A, BLOCK, NO_C], [[F], [UNSEEN], [G]]),
    "a block whose statement is a variable": ([NO_A, VARIABLE, NO_C], [[F], [UNSEEN], [G]]),
    "alone": ([BACKFILL], [[UNSEEN]]),
    "itself": ([f"{NO_KEY}\n{BACKFILL}"], [[UNSEEN]]),
    "what its text sets again": ([NO_C, f"{BACKFILL}\n{NEW_G}"], [[], [UNSEEN]]),
    "what its text sets again, with another part": ([VIEW, f"{BACKFILL}\n{GRANT}"], [[], [UNSEEN]]),
    "a block that grants on what isn't known": ([VIEW, GRANTS], [[], [UNSEEN]]),
    "a block that grants on what isn't known before": ([GRANTS, VIEW], [[UNSEEN], [V]]),
    "a block that grants on names that don't fit": ([VIEW, FEW], [[V], [UNSEEN]]),
    "a loop that grants on what isn't known": ([VIEW, LOOP], [[], [UNSEEN]]),
    "what its text takes": (["op.execute('SELECT 1')", f"{BACKFILL}\n{TAKES}"], [[], [UNSEEN]]),
    "what its text takes of a view that is granted again": (
        [f"{VIEW}\n{GRANT}", f"{BACKFILL}\n{TAKES}"],
        [[], [UNSEEN]],
    ),
    "what its text takes and the next one makes": ([f'{BACKFILL}\nop.execute("DROP VIEW v")', NEW_V], [[UNSEEN], [V]]),
    "what its text sets again of another name": ([NO_C, f"{BACKFILL}\n{BACK_C}"], [[], [UNSEEN]]),
    "a key that one revision makes again and the next one drops": ([NEW_KEY, NO_KEY], [[], [KEY]]),
    "a loop that makes keys of what isn't known": ([NO_KEY, KEYS], [[], [UNSEEN]]),
    "what it doesn't set again": ([VIEW, BACKFILL], [[V], [UNSEEN]]),
    "a block that drops": (["op.execute('DO $$ BEGIN ALTER TABLE t RENAME a TO z; END $$')"], [[F]]),
    "a block that grants something else": (
        [VIEW, "op.execute('DO $$ BEGIN GRANT SELECT ON u TO PUBLIC; END $$')"],
        [[V], []],
    ),
    "a default privilege of something else": (
        ["op.execute('ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC')", VIEW],
        [[], [V]],
    ),
    "a default privilege": (["op.execute('ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC')", VIEW], [[], []]),
    "a default privilege of the schema": (
        ["op.execute('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC')", VIEW],
        [[], []],
    ),
    "a block that changes rows of a table that isn't known": (
        ["op.execute(\"DO $$ BEGIN EXECUTE format('UPDATE %I SET a = 1', current_user); END $$\")", NO_KEY],
        [[], [KEY]],
    ),
}


@pytest.mark.parametrize(("revisions", "expected"), CASES.values(), ids=CASES)
def test_what_isnt_known_of_one_revision_hides_nothing_of_the_others(
    monorepo: Monorepo, dsn: Dsn, revisions: list[str], expected: list[list[str]]
) -> None:
    plan = planned(monorepo, dsn, *revisions)
    texts = (KEY, F, G, V, UNSEEN)
    messages = [[each.message for each in revision.findings if each.message in texts] for revision in plan.revisions]
    assert messages == expected


def test_a_text_that_only_the_downgrade_uses_takes_nothing(monorepo: Monorepo, dsn: Dsn) -> None:
    run_script(dsn, ["CREATE FUNCTION h() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM v'"])
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, f"{VIEW}\n{GRANT}")
    path = monorepo.revision("billing", "b2", "a1", BACKFILL, "op.execute(DROP_V)")
    path.write_text(path.read_text(encoding="utf-8") + '\n\nDROP_V = "DROP VIEW v"\n', encoding="utf-8")
    a1, b2 = wait(service_migrations.plan(monorepo.find("billing"))).revisions
    assert [each.message for each in a1.findings if each.kind == Class.BREAKING] == []
    assert [each.message for each in b2.findings if each.kind == Class.BREAKING] == []


def test_what_isnt_looked_for_has_the_line_that_hides_it(monorepo: Monorepo, dsn: Dsn) -> None:
    plan = planned(monorepo, dsn, f'op.execute("SELECT 1")\n{BACKFILL}', f'op.execute("SELECT 1")\n{VARIABLE}')
    for revision, hidden in zip(plan.revisions, ("fetchall", "EXECUTE x"), strict=True):
        (finding,) = (each for each in revision.findings if each.message == UNSEEN)
        assert finding.kind is None
        assert finding.line is not None
        text = (monorepo.root / revision.path).read_text(encoding="utf-8").splitlines()
        assert hidden in text[finding.line - 1]


def test_an_upgrade_is_refused_for_a_revision_beside_one_that_reads_rows(monorepo: Monorepo) -> None:
    with throwaway(VERSION, settings={"listen_addresses": "127.0.0.1,127.0.0.2"}) as far:
        query(far.admin, "CREATE DATABASE shop")
        dsn = far_dsn(far)
        run_script(dsn, SETUP)
        query(dsn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        service = monorepo.service("billing", dsn=dsn)
        monorepo.revision("billing", "a1", None, BACKFILL)
        monorepo.revision("billing", "b2", "a1", NO_KEY)
        with pytest.raises(UsageError, match=r"b2.py:10: .* would break .*: INSERT … ON CONFLICT \(b\) on t fails"):
            wait(service_migrations.upgrade(service, allow=()))
        wait(service_migrations.upgrade(service, allow=["breaking"]))


def far_dsn(far: Server) -> Dsn:
    """Return the DSN of a server under an address that isn't this machine's name."""
    return replace(far.admin, hosts=(("127.0.0.2", far.admin.hosts[0][1]),), database="shop")

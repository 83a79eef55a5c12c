"""What a plan says of constraints that lose their names, beside what the server does then to what names them."""

from collections.abc import Callable
from typing import NamedTuple

import asyncpg
import pytest

import service_migrations
from service_migrations.plan.classes import Class
from service_migrations.settings.dsn import Dsn
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo

UPSERT = "INSERT INTO t AS n (id, a) VALUES (9, 9) ON CONFLICT ON CONSTRAINT uq DO UPDATE SET b = n.b"
OTHER = "INSERT INTO p VALUES (1) ON CONFLICT ON CONSTRAINT both_have DO NOTHING"
SETUP = [
    *("CREATE TABLE q (id int PRIMARY KEY)", "INSERT INTO q SELECT generate_series(1, 9)"),
    "CREATE TABLE p (id int PRIMARY KEY, CONSTRAINT both_have UNIQUE (id))",
    "CREATE TABLE t (id int PRIMARY KEY, a int, b int, CONSTRAINT uq UNIQUE (a), CONSTRAINT positive CHECK (a > 0))",
    'ALTER TABLE t ADD CONSTRAINT "Odd name" UNIQUE (b), ADD CONSTRAINT apart EXCLUDE (b WITH =)',
    "ALTER TABLE t ADD CONSTRAINT later FOREIGN KEY (b) REFERENCES p (id) DEFERRABLE, ADD UNIQUE (a, b)",
    "CREATE UNIQUE INDEX plain ON t (id, a)",
    f"CREATE FUNCTION put() RETURNS void LANGUAGE sql AS '{UPSERT}'",
    "CREATE FUNCTION defer() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET CONSTRAINTS later DEFERRED; END'",
    "CREATE FUNCTION loose() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE t DROP CONSTRAINT positive; END'",
    *(f"ALTER TABLE {table} ADD CONSTRAINT twice FOREIGN KEY (id) REFERENCES q DEFERRABLE" for table in ("t", "p")),
    "CREATE FUNCTION twice() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET CONSTRAINTS twice DEFERRED; END'",
    f"CREATE FUNCTION other() RETURNS void LANGUAGE sql AS '{OTHER}'",
    "INSERT INTO t VALUES (1, 1, NULL)",
]


class Case(NamedTuple):
    """SQL of a revision, a statement of running code, the code with which it fails then, and what the plan says."""

    sql: str
    running: str
    code: str = ""
    said: tuple[str, ...] = ()


def upsert(name: str, table: str = "t") -> str:
    return f"INSERT INTO {table} (id) VALUES (2) ON CONFLICT ON CONSTRAINT {name} DO NOTHING"  # noqa: S608 - a test's


def fails(name: str) -> str:
    return f"INSERT … ON CONFLICT ON CONSTRAINT {name} on t fails: no constraint has this name any more."


PUT = "The function put isn't replaced and names the constraint uq of t: its next call fails."
DEFER = "The function defer isn't replaced and names the constraint later of t: its next call fails."
LOOSE = "The function loose isn't replaced and names the constraint positive of t: its next call fails."
NEW_PUT = "CREATE OR REPLACE FUNCTION put() RETURNS void LANGUAGE sql AS 'SELECT'"
RENAMED = "ALTER TABLE t RENAME CONSTRAINT uq TO uq_t_a"
TWICE = "The function twice isn't replaced and names the constraint twice of t: its next call fails."
BOTH = "The function other isn't replaced and names the constraint both_have of p: its next call fails."
TWICE_P = TWICE.replace("of t", "of p")
AGAIN = "ALTER TABLE t DROP CONSTRAINT uq; ALTER TABLE t ADD CONSTRAINT uq UNIQUE (a)"
CASES = [
    Case(RENAMED, "SELECT put()", "42704", (fails("uq"), PUT)),
    Case(f"{RENAMED}; {NEW_PUT}", upsert("uq"), "42704", (fails("uq"),)),
    Case("ALTER INDEX uq RENAME TO uq_t_a", "SELECT put()", "42704", (fails("uq"), PUT)),
    Case("ALTER TABLE t DROP CONSTRAINT uq, ADD CONSTRAINT n UNIQUE (a)", "SELECT put()", "42704", (fails("uq"), PUT)),
    Case(
        "ALTER TABLE t DROP CONSTRAINT uq; CREATE UNIQUE INDEX uq ON t (a)", "SELECT put()", "42704", (fails("uq"), PUT)
    ),
    Case("ALTER TABLE t DROP CONSTRAINT uq", "SELECT put()", "42704", (PUT,)),
    Case('ALTER TABLE t RENAME CONSTRAINT "Odd name" TO odd', upsert('"Odd name"'), "42704", (fails("Odd name"),)),
    Case("ALTER TABLE t RENAME CONSTRAINT t_pkey TO pk_t", upsert("t_pkey"), "42704", (fails("t_pkey"),)),
    Case("ALTER TABLE t DROP CONSTRAINT apart", upsert("apart"), "42704", (fails("apart"),)),
    Case("ALTER TABLE t RENAME CONSTRAINT later TO fk", "SELECT defer()", "42704", (DEFER,)),
    Case("ALTER TABLE t RENAME CONSTRAINT positive TO ck", "SELECT loose()", "42704", (LOOSE,)),
    # it is given and taken again, or what gets the name is no constraint of the table
    Case(f"{AGAIN}; ALTER TABLE t DROP CONSTRAINT uq", "SELECT put()", "42704", (PUT,)),
    Case(f"{AGAIN}; ALTER TABLE t RENAME CONSTRAINT uq TO n", "SELECT put()", "42704", (fails("uq"), PUT)),
    Case(f"{AGAIN}; ALTER INDEX uq RENAME TO n", "SELECT put()", "42704", (fails("uq"), PUT)),
    Case(f"{RENAMED}; ALTER TABLE t DROP CONSTRAINT uq_t_a", "SELECT put()", "42704", (PUT,)),
    Case(
        "ALTER TABLE t DROP CONSTRAINT uq; CREATE UNIQUE INDEX i ON t (a); ALTER INDEX i RENAME TO uq",
        *("SELECT put()", "42704", (fails("uq"), PUT)),
    ),
    Case(
        "ALTER TABLE t DROP CONSTRAINT uq; ALTER INDEX both_have RENAME TO uq",
        *("SELECT put()", "42704", (PUT, fails("both_have").replace("on t", "on p"), BOTH)),
    ),
    Case("ALTER TABLE t DROP CONSTRAINT twice", "SELECT twice()"),
    Case(
        "ALTER TABLE t DROP CONSTRAINT twice; ALTER TABLE p DROP CONSTRAINT twice",
        *("SELECT twice()", "42704", (TWICE, TWICE_P)),
    ),
    # the name is there afterwards, or nobody needs it
    Case(f"{AGAIN}; ALTER TABLE t DROP CONSTRAINT uq; ALTER TABLE t ADD CONSTRAINT uq UNIQUE (a)", "SELECT put()"),
    Case(f"{RENAMED}; ALTER INDEX uq_t_a RENAME TO uq", "SELECT put()"),
    Case("ALTER INDEX uq RENAME TO x; ALTER TABLE t RENAME CONSTRAINT x TO uq", "SELECT put()"),
    Case("ALTER TABLE t DROP CONSTRAINT uq, ADD CONSTRAINT uq UNIQUE (a)", "SELECT put()"),
    Case(f"{RENAMED}; ALTER TABLE t RENAME CONSTRAINT uq_t_a TO uq", "SELECT put()"),
    Case("ALTER INDEX uq RENAME TO x; ALTER INDEX public.x RENAME TO uq", "SELECT put()"),
    Case(
        "CREATE UNIQUE INDEX x ON t (a); ALTER TABLE t DROP CONSTRAINT uq; ALTER INDEX x RENAME TO uq; "
        "ALTER TABLE t ADD UNIQUE USING INDEX uq",
        "SELECT put()",
    ),
    Case("ALTER TABLE t DROP CONSTRAINT t_a_b_key, ADD UNIQUE (a, b)", upsert("t_a_b_key")),
    Case("ALTER INDEX plain RENAME TO simple", "INSERT INTO t (id, a) VALUES (2, 2) ON CONFLICT (id, a) DO NOTHING"),
    Case("ALTER TABLE t DROP CONSTRAINT later, ADD CONSTRAINT later CHECK (b > 0)", upsert("uq")),
    Case("ALTER TABLE t RENAME CONSTRAINT positive TO both_have", upsert("both_have", "p"), said=(LOOSE,)),
    Case("ALTER TABLE t DROP CONSTRAINT IF EXISTS ghost", upsert("uq")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sql)
def test_what_names_a_constraint_is_said_where_it_fails(
    monorepo: Monorepo, database: Callable[..., Dsn], case: Case
) -> None:
    dsn = database()
    run_script(dsn, SETUP)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, "\n".join(f"op.execute({each!r})" for each in case.sql.split("; ")))
    (revision,) = wait(service_migrations.plan(service)).revisions
    texts = ("INSERT … ON CONFLICT ON", "isn't replaced")
    found = [each for each in revision.findings if any(text in each.message for text in texts)]
    assert {each.message for each in found} == set(case.said)
    assert {each.kind for each in found} <= {Class.BREAKING}
    wait(service_migrations.upgrade(service))
    assert code_of(dsn, case.running) == case.code


def code_of(dsn: Dsn, sql: str) -> str:
    """Return the SQLSTATE of a statement; empty where it doesn't fail."""
    try:
        run_script(dsn, [sql])
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return ""


def test_a_key_for_which_postgresql_has_chosen_another_name_stays(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    run_script(dsn, SETUP)
    service = monorepo.service("billing", dsn=dsn)
    up = 'op.execute("ALTER TABLE t ADD UNIQUE (a, b)")\nop.execute("ALTER TABLE t DROP CONSTRAINT t_a_b_key")'
    monorepo.revision("billing", "a1", None, up)
    (revision,) = wait(service_migrations.plan(service)).revisions
    assert not [each for each in revision.findings if "these columns" in each.message]
    wait(service_migrations.upgrade(service))
    assert code_of(dsn, "INSERT INTO t VALUES (3, 2, NULL) ON CONFLICT (a, b) DO NOTHING") == ""


def test_a_finding_has_the_line_of_its_statement(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    run_script(dsn, SETUP)
    service = monorepo.service("billing", dsn=dsn)
    up = "".join(f'op.execute("ALTER TABLE t\\n  ADD COLUMN c{each} int")\n' for each in range(3))
    monorepo.revision("billing", "a1", None, f'{up}op.execute("ALTER TABLE t DROP CONSTRAINT uq")')
    (revision,) = wait(service_migrations.plan(service)).revisions
    lines = revision.sql.splitlines()
    assert {lines[(each.sql_line or 0) - 1] for each in revision.findings if PUT in each.message} == {
        "ALTER TABLE t DROP CONSTRAINT uq;"
    }

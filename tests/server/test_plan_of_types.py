"""What a plan says of statements on rows with a part of another type than the columns of the database have."""

from collections.abc import Callable

import asyncpg
import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.proxy import proxy

SETUP = [
    "CREATE TABLE things (id integer PRIMARY KEY, number integer, day date, word text, doc jsonb)",
    "CREATE TABLE others (id integer PRIMARY KEY, number integer)",
    "CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n'",
]
THINGS = 't = sa.table("things", sa.column("id", sa.Integer), sa.column("number", sa.Text), sa.column("word", sa.Text))'
REFUSED = {
    "an assigned text": ('op.execute(sa.text("UPDATE things SET number = :n").bindparams(n="5"))', "42804"),
    "a compared text": ('op.execute(sa.text("DELETE FROM things WHERE number = :n").bindparams(n="5"))', "42883"),
    "a column with another type": (f'{THINGS}\nop.execute(t.update().values(number="5"))', "42804"),
    "an inserted text": (f'{THINGS}\nop.bulk_insert(t, [{{"id": 1, "number": "5", "word": "a"}}])', "42804"),
    "an argument": ('op.execute(sa.text("UPDATE things SET number = twice(:n)").bindparams(n="5"))', "42883"),
    "a date as a text": ('op.execute(sa.text("UPDATE things SET day = :d").bindparams(d="2026-01-02"))', "42804"),
    "in a query of an INSERT": (
        'op.execute(sa.text("INSERT INTO things (id, number) SELECT id, :n FROM others").bindparams(n="5"))',
        "42804",
    ),
    "behind another table's change": (
        """
        op.execute("ALTER TABLE others ADD id2 integer")
        op.execute(sa.text("UPDATE things SET number = :n WHERE id = 1").bindparams(n="5"))
        """,
        "42804",
    ),
    "without a parameter": ('op.execute("UPDATE things SET number = word")', "42804"),
}
TAKEN = {
    "a number": 'op.execute(sa.text("UPDATE things SET number = :n").bindparams(n=5))',
    "a cast": 'op.execute(sa.text("UPDATE things SET number = CAST(:n AS integer)").bindparams(n="5"))',
    "a constant": "op.execute(\"UPDATE things SET number = '5'\")",
    "a column that got another type before": (
        'op.execute("ALTER TABLE things ALTER number TYPE text")\n'
        'op.execute(sa.text("UPDATE things SET number = :n").bindparams(n="5"))'
    ),
    "a new column": (
        'op.add_column("things", sa.Column("extra", sa.Text))\n'
        'op.execute(sa.text("UPDATE things SET extra = :n").bindparams(n="5"))'
    ),
    "a table that isn't there": 'op.execute(sa.text("UPDATE gone SET number = :n").bindparams(n="5"))',
    "a function that is created before": (
        "op.execute(\"CREATE FUNCTION thrice(n text) RETURNS integer LANGUAGE sql AS 'SELECT 3'\")\n"
        'op.execute(sa.text("UPDATE things SET number = thrice(:n)").bindparams(n="5"))'
    ),
    "behind an extension": (
        'op.execute("CREATE EXTENSION IF NOT EXISTS plpgsql")\n'
        'op.execute("UPDATE things SET number = of_the_extension(number)")'
    ),
    "behind a cast": (
        'op.execute("CREATE CAST (character varying AS integer) WITH INOUT AS ASSIGNMENT")\n'
        'op.execute(sa.text("UPDATE things SET number = :n").bindparams(n="5"))'
    ),
    "behind a path that is reset": 'op.execute("RESET search_path")\nop.execute("UPDATE things SET number = word")',
    "behind a block": 'op.execute("DO $$ BEGIN NULL; END $$")\nop.execute("UPDATE things SET number = word")',
    "behind a function of the team's": 'op.execute("SELECT twice(2)")\nop.execute("UPDATE things SET number = word")',
    "behind another path": 'op.execute("SET search_path = other")\nop.execute("UPDATE things SET number = word")',
}


def prepare(monorepo: Monorepo, dsn: Dsn, body: str, **settings: str) -> None:
    """Write a service whose database has the tables, and a pending revision."""
    monorepo.service("shop", None, dsn, **settings)
    monorepo.revision("shop", "a1", None, "pass")
    wait(service_migrations.upgrade(monorepo.find("shop")))
    run_script(dsn, SETUP)
    monorepo.revision("shop", "b2", "a1", body)


def messages(plan: service_migrations.Plan) -> dict[str, list[str]]:
    """Return what a plan says of refused statements, by rule."""
    findings = [finding for revision in plan.revisions for finding in revision.findings]
    rules = [rule for rule in ("driver", "refused") if any(finding.rule == rule for finding in findings)]
    return {rule: [finding.message for finding in findings if finding.rule == rule] for rule in rules}


@pytest.mark.parametrize(("body", "state"), REFUSED.values(), ids=REFUSED)
def test_what_the_server_refuses_for_a_type_is_named_before_it_runs(
    monorepo: Monorepo, database: Callable[..., Dsn], body: str, state: str
) -> None:
    prepare(monorepo, database(), body)
    rule = "refused" if body == REFUSED["without a parameter"][0] else "driver"
    plan = wait(service_migrations.plan(monorepo.find("shop")))
    [message] = messages(plan).pop(rule)
    assert f"[{state}]." in message
    assert ("asyncpg sends each parameter with one type" in message) == (rule == "driver")
    with pytest.raises(service_migrations.MigrationError, match=rf"\[{state}\]"):
        wait(service_migrations.upgrade(monorepo.find("shop")))


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_nothing_is_said_of_what_fits_or_may_be_changed_before(
    monorepo: Monorepo, database: Callable[..., Dsn], body: str
) -> None:
    prepare(monorepo, database(), body)
    assert messages(wait(service_migrations.plan(monorepo.find("shop")))) == {}


@pytest.mark.parametrize("body", [body for body, _ in REFUSED.values() if "bulk" in body or ":n" in body])
def test_over_psycopg_a_constant_has_no_type(monorepo: Monorepo, database: Callable[..., Dsn], body: str) -> None:
    project = monorepo.root / "pyproject.toml"
    table = '[tool.service-migrations.service.shop]\ndriver = "psycopg"\n'
    project.write_text(f"{project.read_text(encoding='utf-8')}\n{table}", encoding="utf-8")
    prepare(monorepo, database(), body)
    assert messages(wait(service_migrations.plan(monorepo.find("shop")))) == {}
    wait(service_migrations.upgrade(monorepo.find("shop")))


def test_a_connection_that_is_lost_meanwhile_is_no_finding(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    prepare(monorepo, dsn, REFUSED["an assigned text"][0])
    with proxy(dsn) as (between, through):
        monorepo.env("shop", DATABASE_DSN=dsn_text(through))
        between.cut_when_sent("PREPARE service_migrations_plan")
        with pytest.raises(service_migrations.UnreachableError):
            wait(service_migrations.plan(monorepo.find("shop")))
        assert between.cuts == 1


def test_a_plan_does_not_wait_for_a_lock(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    prepare(monorepo, dsn, REFUSED["an assigned text"][0])

    async def plan_beside_a_lock() -> service_migrations.Plan:
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE things")
                return await service_migrations.plan(monorepo.find("shop"))
        finally:
            await connection.close()

    assert messages(wait(plan_beside_a_lock())) == {}
    assert list(messages(wait(service_migrations.plan(monorepo.find("shop"))))) == ["driver"]

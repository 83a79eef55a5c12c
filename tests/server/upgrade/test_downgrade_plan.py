"""A downgrade is planned before somebody is asked about it, and what was agreed to is what is done."""

import json
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.plan.plan import plan
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo
from tests.support.terminal import answered

DOWN = ("db.downgrade", "--service", "billing", "--revision")


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service at the last of three revisions; the first makes a table, the second a column, the third an index."""
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    column = 'op.add_column("billing", sa.Column("note", sa.Text))'
    monorepo.revision("billing", "b2", "a1", column, 'op.drop_column("billing", "note")')
    index = 'op.create_index("by_name", "billing", ["name"])'
    monorepo.revision("billing", "c3", "b2", index, 'op.drop_index("by_name")')
    wait(service_migrations.upgrade(service))
    return monorepo, dsn


def test_the_question_shows_the_revisions_and_what_they_drop(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    ran = answered(monorepo, "n", *DOWN, "base")
    assert (ran.code, ran.out) == (2, "")
    *lines, question = [line for line in ran.err.splitlines() if line]
    assert lines == [
        "These revisions are reverted, in this order:",
        "  c3 (additive): c3.",
        "    DROP INDEX by_name;",
        "  b2 (breaking, destructive): b2.",
        "    ALTER TABLE billing DROP COLUMN note;",
        "  a1 (breaking, destructive): a1.",
        "    DROP TABLE billing;",
    ]
    assert question.startswith(f"Downgrade billing -> {dsn.target} to base? What was added since is dropped.")
    assert "billing" in tables(dsn)


@pytest.mark.parametrize(
    ("sql", "is_drop"),
    [
        ("ALTER FOREIGN TABLE IF EXISTS f DROP COLUMN a", True),
        ("ALTER FOREIGN TABLE IF EXISTS f ADD COLUMN a int", False),
        ("ALTER TABLE IF EXISTS f ADD COLUMN a int, DROP b", True),
        ("DO $$ BEGIN DROP TABLE IF EXISTS f; END $$", True),
        ("DO $$ BEGIN EXECUTE 'TRUNCATE billing'; END $$", True),
        ("DO $$ BEGIN PERFORM 'DROP TABLE f'; END $$", False),
        ("WITH gone AS (DELETE FROM billing RETURNING id) SELECT count(*) FROM gone", True),
        ("WITH gone AS (DELETE FROM billing WHERE id = 0 RETURNING id) SELECT count(*) FROM gone", False),
        ("DELETE FROM billing", True),
        ("DELETE FROM billing WHERE id = 0", False),
        ("DELETE FROM billing WHERE true", True),
        ("DELETE FROM billing WHERE 1 = 1", True),
        ("PREPARE x AS DELETE FROM billing", True),
        ("EXPLAIN ANALYZE DELETE FROM billing", True),
        ("CREATE TABLE kept AS WITH gone AS (DELETE FROM billing RETURNING *) SELECT * FROM gone", True),
        ("DROP OWNED BY nobody", True),
    ],
)
def test_a_statement_is_shown_where_it_drops_or_empties(world: tuple[Monorepo, Dsn], sql: str, is_drop: bool) -> None:
    monorepo, _ = world
    # in one second, Python takes a file of the same size for the one that it has compiled
    longer = f'op.execute("SELECT 1")  # {100 * "-"}'
    monorepo.revision("billing", "c3", "b2", longer, f"op.execute({sql!r})")
    (revision,) = wait(plan(monorepo.find("billing"), "b2", down=True)).revisions
    assert revision.drops == ((f"{sql};",) if is_drop else ())


def test_nobody_is_asked_where_nothing_is_reverted(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    ran = monorepo.inv(*DOWN, "c3")
    assert (ran.code, ran.out) == (0, f"billing: nothing to do, {dsn.target} is at c3\n"), ran.text


@pytest.mark.parametrize(("target", "reverted"), [("-1", ["c3"]), ("a1", ["c3", "b2"]), ("base", ["c3", "b2", "a1"])])
def test_a_plan_of_a_downgrade_begins_with_the_newest(
    world: tuple[Monorepo, Dsn], target: str, reverted: list[str]
) -> None:
    monorepo, dsn = world
    words = ("db.plan", "--service", "billing", f"--downgrade={target}")
    ran = monorepo.inv(*words, "--json", "--exit-code")
    (planned,) = json.loads(ran.out)
    assert (ran.code, planned["down"], planned["current"]) == (3, True, ["c3"])
    assert [revision["revision"] for revision in planned["revisions"]] == reverted
    shown = monorepo.inv(*words)
    assert shown.out.startswith(f"billing: {dsn.target} is at c3, {len(reverted)} to revert\n")
    assert "c3 drops: DROP INDEX by_name;\n" in shown.out
    assert "billing" in tables(dsn)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--downgrade", "zz"), "Can't locate revision"),
        (("--downgrade=-7",), "billing: "),
        (("--downgrade", "a1", "--revision", "b2"), "Give one."),
    ],
)
def test_a_target_that_isnt_one_is_wrong_use(world: tuple[Monorepo, Dsn], words: tuple[str, ...], said: str) -> None:
    ran = world[0].inv("db.plan", "--service", "billing", *words)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1), ran.text
    assert said in ran.err


@pytest.mark.parametrize(
    ("back", "why"),
    [
        ("raise NotImplementedError", "Its downgrade() raises an error."),
        ("pass", "Its downgrade() is empty."),
        ("del_me", "It has no downgrade()."),
    ],
)
def test_a_downgrade_that_cant_be_is_said_to_be_irreversible(world: tuple[Monorepo, Dsn], back: str, why: str) -> None:
    monorepo, _ = world
    path = monorepo.revision("billing", "c3", "b2", 'op.execute("SELECT 1")', back)
    if back == "del_me":
        path.write_text(path.read_text(encoding="utf-8").partition("def downgrade")[0], encoding="utf-8")
    (revision,) = wait(plan(monorepo.find("billing"), "b2", down=True)).revisions
    assert revision.classes == ("irreversible",)
    assert [finding.message for finding in revision.findings] == [why]


def test_a_downgrade_that_needs_a_connection_is_read_instead(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    rows = 'for row in op.get_bind().execute(sa.text("SELECT 1")):\n    pass\nop.drop_table("billing")'
    monorepo.revision("billing", "c3", "b2", 'op.execute("SELECT 1")', rows)
    ran = answered(monorepo, "n", *DOWN, "b2")
    assert "c3 (breaking, destructive): c3" in ran.err
    assert "drop_table() loses what is in it." in ran.err


def test_what_another_run_has_changed_since_the_question_is_left_alone(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    service = monorepo.find("billing")
    agreed = wait(plan(service, "-1", down=True)).current
    wait(service_migrations.downgrade(service, "-1"))
    with pytest.raises(UsageError, match=r"another run has moved .* to b2 since the question"):
        wait(service_migrations.downgrade(service, "-1", start=agreed))
    assert query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "b2"

"""A database is taken back from a revision whose file is gone, by the SQL that the ledger keeps."""

import json
from collections.abc import Callable
from dataclasses import replace
from textwrap import dedent

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.upgrade.undo import plan_undo
from tests.support.database import query, run_script, tables, wait
from tests.support.monorepo import Monorepo, Ran
from tests.support.sessions import hold
from tests.support.terminal import answered

LEDGER = "migration_log_billing"
UNDO = ("db.undo", "--service", "billing")


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service at base, with one revision."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    return monorepo, dsn


def upgraded(monorepo: Monorepo, *revisions: str) -> None:
    """Upgrade to head, and remove the files of revisions."""
    wait(service_migrations.upgrade(monorepo.find("billing")))
    for revision in revisions:
        (monorepo.root / "migrations" / "versions" / "billing" / f"{revision}.py").unlink()


def at(dsn: Dsn) -> list[str]:
    return [row[0] for row in query(dsn, "SELECT version_num FROM alembic_version_billing")]


def kept(dsn: Dsn) -> dict[str, str | None]:
    return {row[0]: row[1] for row in query(dsn, f"SELECT revision, downgrade_sql FROM {LEDGER} ORDER BY id")}  # noqa: S608


def refused(ran: Ran, said: str) -> None:
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1), ran.text
    assert said in ran.err


def test_the_question_shows_what_is_dropped_and_the_answer_takes_it_back(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 ()")', 'op.execute("DROP TABLE b2 ;")')
    index = 'op.create_index("by_name", "billing", ["name"])'
    monorepo.revision("billing", "c3", "b2", index, 'op.drop_index("by_name")')
    upgraded(monorepo, "b2", "c3")
    asked = answered(monorepo, "n", *UNDO)
    assert asked.code == 2
    assert "    DROP INDEX by_name;\n" in asked.err.replace("\r", "")
    assert "    DROP TABLE b2;\n" in asked.err.replace("\r", "")
    assert f"Downgrade billing -> {dsn.target} to a1?" in asked.err
    assert at(dsn) == ["c3"]
    ran = monorepo.inv(*UNDO, "--yes")
    assert ran.code == 0, ran.text
    assert f"billing: {dsn.target} went from c3 to a1 (2 revisions, " in ran.out
    assert (at(dsn), "b2" in tables(dsn)) == (["a1"], False)
    rows = query(dsn, f"SELECT direction, from_revision, to_revision FROM {LEDGER} ORDER BY id DESC LIMIT 2")  # noqa: S608
    assert [tuple(row) for row in rows] == [("downgrade", "b2", "a1"), ("downgrade", "c3", "b2")]
    assert monorepo.inv("db.upgrade").code == 0


def test_the_whole_history_can_be_taken_back(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    upgraded(monorepo, "a1")
    assert monorepo.inv(*UNDO, "--yes").code == 0
    assert (at(dsn), tables(dsn)) == ([], {"alembic_version_billing"})


def test_another_branch_may_go_on_from_the_same_revision(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 ()")', 'op.execute("DROP TABLE b2")')
    upgraded(monorepo, "b2")
    monorepo.revision("billing", "d4", "a1", 'op.execute("CREATE TABLE d4 ()")', 'op.execute("DROP TABLE d4")')
    assert monorepo.inv(*UNDO, "--yes").code == 0
    assert (at(dsn), "d4" in tables(dsn)) == (["a1"], False)
    assert monorepo.inv("db.upgrade").code == 0
    assert at(dsn) == ["d4"]


@pytest.mark.parametrize(
    "back",
    [
        "op.execute(\"INSERT INTO words VALUES ('100% : sure; it''s $1 $$ %(x)s')\")",
        "op.execute(sa.insert(sa.table('words', sa.column('w', sa.Text))).values(w=\"a'b %s :x é\"))",
        "for letter in ('a', 'b'):\n    op.execute(f\"INSERT INTO words VALUES ('{letter}')\")",
        "op.execute(\"DO $$ BEGIN INSERT INTO words VALUES ('x;y'); END $$\")",
        "op.bulk_insert(sa.table('words', sa.column('w', sa.Text)), [{'w': 'p'}, {'w': None}])",
        "op.execute(\"-- a comment\\nINSERT INTO words VALUES ('c')\")",
    ],
)
def test_the_kept_sql_does_what_the_downgrade_does(world: tuple[Monorepo, Dsn], back: str) -> None:
    monorepo, dsn = world
    query(dsn, "CREATE TABLE words (w text)")
    monorepo.revision("billing", "b2", "a1", 'op.execute("SELECT 1")', back)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    wait(service_migrations.downgrade(monorepo.find("billing"), "a1"))
    expected = query(dsn, "SELECT w FROM words ORDER BY w")
    assert expected
    query(dsn, "DELETE FROM words")
    upgraded(monorepo, "b2")
    ran = monorepo.inv(*UNDO, "--yes")
    assert ran.code == 0, ran.text
    assert query(dsn, "SELECT w FROM words ORDER BY w") == expected


@pytest.mark.parametrize(
    "back",
    [
        "pass",
        "raise NotImplementedError",
        "op.get_bind().execute(sa.text('SELECT 1')).scalar_one()",
        "op.execute('SELECT 1')\nif not op.get_context().as_sql:\n    op.execute('SELECT 2')",
        "print('a side effect')",
        "open('/dev/null').close()",
        "import os\nos.getpid()",
        "while True:\n    op.execute('SELECT 1')",
        "with op.get_context().autocommit_block():\n    op.execute('SELECT 1')",
        "op.execute(\"ALTER ROLE CURRENT_USER PASSWORD 'hunter2hunter2'\")",
        "op.execute(\"SELECT 'postgresql://a:hunter2@b/c'\")",
        "op.execute(\"INSERT INTO t VALUES ('a-secret-of-the-environment')\")",
        "op.execute('SELECT ' + repr('x' * 70000))",
        "undefined_name",
    ],
)
def test_what_cant_or_mustnt_be_kept_is_left_out_and_stops_nothing(
    world: tuple[Monorepo, Dsn], back: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "a-secret-of-the-environment")
    monorepo, dsn = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("SELECT 1")', back)
    upgraded(monorepo, "b2")
    assert "side effect" not in capfd.readouterr().out
    sql = kept(dsn)
    assert sql["b2"] is None
    assert json.loads(sql["a1"] or "") == ["DROP TABLE billing;"]
    refused(monorepo.inv(*UNDO, "--yes"), "b2 has no SQL of its downgrade in the ledger")
    assert at(dsn) == ["b2"]


def test_an_upgrade_does_not_say_that_it_generates_sql(world: tuple[Monorepo, Dsn]) -> None:
    """Alembic says so of its offline mode, in which the downgrades are rendered."""
    monorepo, dsn = world
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 0, ran.text
    assert json.loads(kept(dsn)["a1"] or "") == ["DROP TABLE billing;"]
    assert "Running upgrade  -> a1" in ran.err
    assert "SQL" not in ran.err.replace("PostgresqlImpl", "")


def test_of_a_long_upgrade_the_newest_are_kept(world: tuple[Monorepo, Dsn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service_migrations.ledger.downgrades._MOST", 1)
    monorepo, dsn = world
    monorepo.revision("billing", "b2", "a1", 'op.execute("SELECT 1")', 'op.execute("SELECT 2")')
    upgraded(monorepo)
    assert kept(dsn) == {"a1": None, "b2": '["SELECT 2;"]'}


def test_where_the_file_is_there_a_downgrade_is_the_way(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    refused(monorepo.inv(*UNDO, "--yes"), "is at base, of which no file is missing.")
    upgraded(monorepo)
    refused(monorepo.inv(*UNDO, "--yes"), "inv db.downgrade --service billing --revision -1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"DELETE FROM {LEDGER}", "a1 wasn't run last, as the ledger has it"),  # noqa: S608
        (f"DROP TABLE {LEDGER}", "a1 wasn't run last, as the ledger has it"),
        (f"UPDATE {LEDGER} SET direction = 'stamp'", "a1 was stamped, and not run"),  # noqa: S608
        (f"UPDATE {LEDGER} SET from_revision = 'a1'", "a1 follows itself"),  # noqa: S608
        (f"UPDATE {LEDGER} SET from_revision = 'x, y'", "a1 joins several revisions"),  # noqa: S608
        (f"ALTER TABLE {LEDGER} DROP COLUMN downgrade_sql", "a1 has no SQL of its downgrade in the ledger"),
        ("INSERT INTO alembic_version_billing VALUES ('zz')", "is at several revisions: a1, zz"),
        (f"GRANT INSERT ON {LEDGER} TO PUBLIC", "can be written by PUBLIC. Its SQL isn't run."),
        (f"GRANT UPDATE (downgrade_sql) ON {LEDGER} TO PUBLIC", "can be written by PUBLIC. Its SQL isn't run."),
        (f"REVOKE SELECT ON {LEDGER} FROM CURRENT_USER", f"{LEDGER} can't be read: permission denied"),  # noqa: S608
    ],
)
def test_a_ledger_that_leads_nowhere_is_refused_in_one_line(
    world: tuple[Monorepo, Dsn], change: str, said: str
) -> None:
    monorepo, dsn = world
    upgraded(monorepo, "a1")
    query(dsn, change)
    refused(monorepo.inv(*UNDO, "--yes"), said)
    assert "billing" in tables(dsn)


def test_the_sql_of_somebody_elses_ledger_is_never_run(
    world: tuple[Monorepo, Dsn], server: Server, database: Callable[..., Dsn]
) -> None:
    monorepo, dsn = world
    upgraded(monorepo, "a1")
    other = database(shared=dsn)
    admin = replace(server.admin, database=dsn.database)
    run_script(admin, [f'ALTER TABLE {LEDGER} OWNER TO "{other.user}"', f'GRANT ALL ON {LEDGER} TO "{dsn.user}"'])
    refused(monorepo.inv(*UNDO, "--yes"), f"belongs to {other.user}")
    assert "billing" in tables(dsn)


def test_a_failure_leaves_the_revision_as_it_was(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    back = 'op.execute("DROP TABLE b2")\nop.execute("DROP TABLE gone")'
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 ()")', back)
    upgraded(monorepo, "b2")
    ran = monorepo.inv(*UNDO, "--yes")
    assert (ran.code, "It was rolled back." in ran.err) == (1, True), ran.text
    assert (at(dsn), "b2" in tables(dsn)) == (["b2"], True)


def test_a_table_in_use_is_waited_for_in_short_turns(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    upgraded(monorepo, "a1")
    with hold(dsn, "SELECT FROM billing"):
        ran = monorepo.inv(*UNDO, "--yes", "--lock-timeout", "10ms")
    assert (ran.code, "Trying again" in ran.err) == (75, True), ran.text
    assert at(dsn) == ["a1"]


def test_a_ledger_of_an_older_version_gets_the_column_and_may_be_written_by_it(
    world: tuple[Monorepo, Dsn],
) -> None:
    monorepo, dsn = world
    wait(service_migrations.upgrade(monorepo.find("billing")))
    query(dsn, f"ALTER TABLE {LEDGER} DROP COLUMN downgrade_sql")
    assert [entry.revision for entry in wait(service_migrations.log(monorepo.find("billing")))] == ["a1"]
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 ()")', 'op.execute("DROP TABLE b2")')
    wait(service_migrations.upgrade(monorepo.find("billing")))
    assert (kept(dsn)["a1"], json.loads(kept(dsn)["b2"] or "")) == (None, ["DROP TABLE b2;"])
    row = dedent(f"""
        INSERT INTO {LEDGER} (revision, direction, started, seconds, os_user, host, version, checksum, fingerprint)
        VALUES ('b2', 'upgrade', now(), 0, 'x', 'y', 'z', 'c', 'f')
    """)  # noqa: S608
    query(dsn, row)
    assert wait(service_migrations.log(monorepo.find("billing")))[0].os_user == "x"


@pytest.fixture
def branches(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service with two branches on purpose, from one revision, each with one more revision of its own."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    for label, name in (("expand", "e1"), ("contract", "c1")):
        path = monorepo.revision(
            "billing", name, "a1", f'op.execute("CREATE TABLE {name} ()")', f'op.drop_table("{name}")'
        )
        path.write_text(path.read_text() + f"\nbranch_labels = ({label!r},)\n")
    for name, down in (("e2", "e1"), ("c2", "c1")):
        monorepo.revision("billing", name, down, f'op.execute("CREATE TABLE {name} ()")', f'op.drop_table("{name}")')
    return monorepo, dsn


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        (("e2",), ["c2", "e1"]),
        (("c2",), ["c1", "e2"]),
        (("e2", "c2"), ["c1", "e1"]),
        (("e2", "e1"), ["c2"]),
        (("e1", "e2", "c2"), ["c1"]),
        (("c1", "c2", "e2"), ["e1"]),
        (("e1", "e2", "c1", "c2"), ["a1"]),
        (("a1", "e1", "e2", "c1", "c2"), []),
    ],
)
def test_of_branches_the_revisions_without_a_file_are_taken_back_and_no_other(
    branches: tuple[Monorepo, Dsn], missing: tuple[str, ...], left: list[str]
) -> None:
    monorepo, dsn = branches
    upgraded(monorepo, *missing)
    assert sorted(at(dsn)) == ["c2", "e2"]
    plan = wait(plan_undo(monorepo.find("billing")))
    assert plan.target == (", ".join(left) or "base"), "the question names where the database will be"
    ran = monorepo.inv(*UNDO, "--yes")
    assert ran.code == 0, ran.text
    assert sorted(at(dsn)) == left
    assert {"e1", "e2", "c1", "c2"} - set(missing) == tables(dsn) & {"e1", "e2", "c1", "c2"}
    assert f"({len(missing)} revision" in ran.out


def test_of_branches_without_a_missing_file_the_way_back_on_each_is_named(branches: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = branches
    upgraded(monorepo)
    refused(
        monorepo.inv(*UNDO, "--yes"),
        "--revision contract@-1` or `inv db.downgrade --service billing --revision expand@-1`.",
    )
    assert sorted(at(dsn)) == ["c2", "e2"]
    assert monorepo.inv("db.downgrade", "--service", "billing", "--revision", "expand@-1", "--yes").code == 0
    assert sorted(at(dsn)) == ["c2", "e1"]


def test_of_branches_nothing_is_taken_back_where_one_cant_be(branches: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = branches
    upgraded(monorepo, "e2", "c2")
    query(dsn, f"UPDATE {LEDGER} SET downgrade_sql = NULL WHERE revision = 'c2'")  # noqa: S608
    refused(monorepo.inv(*UNDO, "--yes"), "c2 has no SQL of its downgrade in the ledger")
    assert sorted(at(dsn)) == ["c2", "e2"]


def test_a_merge_is_gone_back_to_and_not_over(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    for name in ("b1", "c1"):
        monorepo.revision("billing", name, "a1", f'op.execute("CREATE TABLE {name} ()")', f'op.drop_table("{name}")')
    merge = monorepo.revision("billing", "m1", "b1")
    text = merge.read_text(encoding="utf-8")
    merge.write_text(text.replace("down_revision = 'b1'", "down_revision = ('b1', 'c1')"), encoding="utf-8")
    monorepo.revision("billing", "n1", "m1", 'op.execute("CREATE TABLE n1 ()")', 'op.drop_table("n1")')
    upgraded(monorepo, "n1")
    ran = monorepo.inv(*UNDO, "--yes")
    assert (ran.code, "went from n1 to m1 (1 revision" in ran.out) == (0, True), ran.text
    assert (at(dsn), "n1" in tables(dsn)) == (["m1"], False)
    merge.unlink()
    refused(monorepo.inv(*UNDO, "--yes"), "is at m1, and m1 joins several revisions. Check out the code")
    assert (at(dsn), {"b1", "c1"} <= tables(dsn)) == (["m1"], True)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("setting", ["on", "off"])
def test_the_sql_of_the_ledger_is_what_it_was(world: tuple[Monorepo, Dsn], driver: str, setting: str) -> None:
    """A driver takes a % for a parameter, and a server may take a backslash for an escape."""
    monorepo, dsn = world
    query(dsn, f"ALTER ROLE {dsn.user} SET standard_conforming_strings = {setting}")
    path = monorepo.root / "pyproject.toml"
    table = "[tool.service-migrations]\n"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(table, f'{table}driver = "{driver}"\n'), encoding="utf-8")
    query(dsn, 'CREATE TABLE "T1" (n int, t text)')
    back = """INSERT INTO "T1" VALUES (100 % 7, 'p%q "x" \\n')"""
    monorepo.revision("billing", "b2", "a1", back=f"op.execute({back!r})")
    upgraded(monorepo, "b2")
    assert json.loads(kept(dsn)["b2"] or "")[-1].rstrip(";") == back
    ran = monorepo.inv(*UNDO, "--yes")
    assert ran.code == 0, ran.text
    assert query(dsn, 'SELECT n, t FROM "T1"') == [(2, 'p%q "x" \\n' if setting == "on" else 'p%q "x" \n')]

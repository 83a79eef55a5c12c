"""Each db.* task does what it says, as the person sees it who types it; and the steps of the tutorial still work."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from textwrap import dedent

import asyncpg
import pytest

import service_migrations
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import discover
from service_migrations.postgres import VERSIONS, Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, tables, wait
from tests.support.monorepo import MODELS, Monorepo, Ran, dsn_text
from tests.support.terminal import answered

LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [\w.]+ - [A-Z]+ - .+$")
"""Time, logger, level and message, in this order."""


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A service with two revisions, at base."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision(
        "billing", "b2", "a1", 'op.create_index("billing_name", "billing", ["name"])', 'op.drop_index("billing_name")'
    )
    path = monorepo.root / "services/billing/models.py"
    text = "from sqlalchemy import Index\n" + path.read_text(encoding="utf-8")
    path.write_text(text + '    __table_args__ = (Index("billing_name", "name"),)\n', encoding="utf-8")
    return monorepo, dsn


def upgraded(monorepo: Monorepo, revision: str = "head", name: str = "billing") -> None:
    wait(service_migrations.upgrade(monorepo.find(name), revision))


def at(dsn: Dsn, service: str = "billing") -> list[str]:
    return [row[0] for row in query(dsn, f"SELECT version_num FROM alembic_version_{service}")]  # noqa: S608


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.text
    assert "Traceback" not in ran.text
    return ran


def logged(ran: Ran) -> list[str]:
    """Return the log lines: all of stderr, and none of them in stdout."""
    assert not [line for line in ran.out.splitlines() if LOG_LINE.match(line)]
    return [line for line in ran.err.splitlines() if LOG_LINE.match(line)]


# The list and the help


def test_the_list_groups_the_tasks_and_gives_each_one_line(monorepo: Monorepo) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", "--list"],
        cwd=monorepo.root,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(None, 1) for line in ran.stdout.splitlines() if line.startswith("  ")]
    names = [line[0] for line in lines]
    db = ("adopt affected alembic baseline check compat create current doctor downgrade drift drop env evidence heads"
          " history init locks log merge owners plan rebase released report revision services show stamp status undo"
          " upgrade wait")  # fmt: skip
    pg = "fetch start status stop versions"
    assert names == ["down", "up", *(f"db.{name}" for name in db.split()), *(f"pg.{name}" for name in pg.split())]
    assert all(len(line) == 2 and line[1].endswith(".") for line in lines)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert "invoke" in imported
    assert not imported & {"alembic", "sqlalchemy", "asyncpg", "dotenv", "rich"}


def test_the_help_of_a_task_names_its_options(monorepo: Monorepo) -> None:
    ran = done(monorepo.inv("--help", "db.upgrade"))
    for option in ("--service", "--revision=STRING", "--sql"):
        assert option in ran.out
    assert "Print the SQL instead of running it; no database is connected to." in " ".join(ran.out.split())


def test_the_help_of_alembics_own_command_is_a_result(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    ran = done(monorepo.inv("db.alembic", "--service", "billing", "--", "upgrade", "--help"))
    assert "usage: inv db.alembic --service billing -- upgrade" in ran.out
    assert ran.err == ""


# The tutorial


def test_t3_current_tells_of_the_connection_on_stderr(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    for words in (("db.current", "--service", "billing"), ("db.alembic", "--service", "billing", "--", "current")):
        ran = done(monorepo.inv(*words))
        messages = [line.rpartition(" - ")[2] for line in logged(ran)]
        assert messages[:2] == ["Context impl PostgresqlImpl.", "Will assume transactional DDL."]
    assert tables(dsn) == set()


def test_t5_a_revision_is_the_difference_between_models_and_database(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    ran = done(monorepo.inv("db.revision", "--service", "billing", "-m", "01 initial db"))
    path = monorepo.root / ran.out.strip()
    assert path.parent == monorepo.root / "migrations/versions/billing"
    assert path.name.endswith("_01_initial_db.py")
    text = path.read_text(encoding="utf-8")
    assert "op.create_table('billing'" in text.replace('"', "'").replace("(\n        ", "(")
    assert "inv db.upgrade --service billing" in ran.err
    assert done(monorepo.inv("db.upgrade", "--service", "billing")).out.endswith(" s)\n")
    assert tables(dsn) == {"billing", "alembic_version_billing"}
    again = done(monorepo.inv("db.revision", "--service", "billing", "-m", "again"))
    assert again.out == "billing: nothing changed, so nothing was written\n"
    assert list(path.parent.glob("*.py")) == [path]


def test_t5_an_empty_revision_needs_no_database(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    ran = done(monorepo.inv("db.revision", "--service", "billing", "-m", "by hand", "--empty"))
    assert "def upgrade()" in (monorepo.root / ran.out.strip()).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "message",
    [
        r"Import C:\Users of old",
        'ab """ cd',
        '""" first',
        r"Fix \d, \t and \\",
        'Call it "new"',
        '"',
        '\'\'\' and """""',
        "${x} <% y %> ## z",
        "\\",
    ],
)
def test_a_message_is_shown_as_it_was_given(monorepo: Monorepo, message: str) -> None:
    service = monorepo.service("billing")
    first = wait(service_migrations.revision(service, message, empty=True))
    assert first
    assert first.message == message
    monorepo.revision("billing", "other", None)
    merged = wait(service_migrations.merge(service, message))
    lines = done(monorepo.inv("db.history", "--service", "billing")).out.splitlines()
    assert f"<base> -> {first.revision}, {message}" in lines
    assert lines[0].endswith(f" -> {merged.revision} (head), {message}")


@pytest.mark.parametrize("message", ["one\ntwo", "one\n\n two\n", "one\r\ntwo", " one \n\ttwo"])
def test_a_message_of_several_lines_becomes_one(monorepo: Monorepo, message: str) -> None:
    monorepo.service("billing")
    done(monorepo.inv("db.revision", "--service", "billing", "--empty", "-m", message))
    assert done(monorepo.inv("db.history", "--service", "billing")).out.endswith(" (head), one two\n")


def test_a_revision_that_cant_be_finished_leaves_no_file(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    kept = {monorepo.revision("billing", "a1", None), service.head_file}
    service.head_file.mkdir()
    with pytest.raises(ConfigurationError, match=r"head\.txt can't be read: Is a directory\."):
        wait(service_migrations.revision(service, "x", empty=True))
    kept.add(monorepo.revision("billing", "b1", None))
    with pytest.raises(ConfigurationError, match=r"head\.txt can't be read: Is a directory\."):
        wait(service_migrations.merge(service, "x"))
    assert {path for path in service.versions.iterdir() if path.name != "__pycache__"} == kept


def test_t6_the_history_is_newest_first(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    assert done(monorepo.inv("db.history", "--service", "billing")).out == "a1 -> b2 (head), b2.\n<base> -> a1, a1.\n"


def test_t7_an_upgrade_logs_on_stderr_and_a_second_one_has_nothing_to_do(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    first = done(monorepo.inv("db.upgrade", "--service", "billing"))
    assert re.fullmatch(
        rf"billing: {re.escape(dsn.target)} went from base to b2 \(2 revisions, \d+\.\d\d s\)\n", first.out
    )
    lines = logged(first)
    assert lines == [line for line in first.err.splitlines() if line]
    assert [line.split(" - ", 1)[1] for line in lines if "Running upgrade" in line] == [
        "alembic.runtime.migration - INFO - Running upgrade  -> a1, a1.",
        "alembic.runtime.migration - INFO - Running upgrade a1 -> b2, b2.",
    ]
    assert any(line.endswith(f" - INFO - billing -> {dsn.target}") for line in lines)
    second = done(monorepo.inv("db.upgrade", "--service", "billing"))
    assert second.out == f"billing: nothing to do, {dsn.target} is at b2\n"
    assert "Running upgrade" not in second.err
    assert at(dsn) == ["b2"]


def test_t8_an_application_upgrades_itself_inside_its_own_loop(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    application = monorepo.root / "application.py"
    application.write_text(
        dedent(
            """
            import asyncio
            import service_migrations

            async def main():
                outcome = await service_migrations.upgrade("billing")
                print(outcome.before, outcome.after, outcome.applied)

            asyncio.run(main())
            """
        ),
        encoding="utf-8",
    )
    ran = subprocess.run(
        [sys.executable, str(application)], cwd=monorepo.root, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "() ('b2',) ('a1', 'b2')\n", "")
    assert at(dsn) == ["b2"]


def test_the_tasks_work_from_any_folder_below_the_root(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    folder = monorepo.root / "services" / "billing" / "deep" / "er"
    folder.mkdir(parents=True)
    (folder / ".env").write_text("DATABASE_DSN=nonsense\n", encoding="utf-8")
    done(monorepo.inv("db.upgrade", "--service", "billing", cwd=folder))
    assert at(dsn) == ["b2"]


# What another program reads


@pytest.fixture
def two(world: tuple[Monorepo, Dsn], database: Callable[..., Dsn]) -> dict[str, Dsn]:
    """Add catalog, whose only revision is pending; billing is at a1, behind by one."""
    monorepo, dsn = world
    upgraded(monorepo, "a1")
    catalog = database()
    monorepo.service("catalog", dsn=catalog)
    monorepo.table_revision("catalog", "c1", None)
    return {"billing": dsn, "catalog": catalog}


def as_json(monorepo: Monorepo, task: str, *words: str, code: int = 0) -> object:
    ran = monorepo.inv(f"db.{task}", "--json", *words)
    assert ran.code == code, ran.text
    return json.loads(ran.out)


def test_json_of_status_holds_what_is_left_to_do(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    expected = [
        {
            "service": "billing",
            "current": ["a1"],
            "head": "b2",
            "pending": 1,
            "state": "behind",
            "error": None,
            "edited": [],
            "heads": ["b2"],
            "failure": None,
        },
        {
            "service": "catalog",
            "current": [],
            "head": "c1",
            "pending": 1,
            "state": "behind",
            "error": None,
            "edited": [],
            "heads": ["c1"],
            "failure": None,
        },
    ]
    assert as_json(world[0], "status") == [{**row, "target": two[str(row["service"])].target} for row in expected]


def test_json_of_status_holds_a_services_error(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    monorepo, _ = world
    monorepo.env("catalog", DATABASE_DSN=dsn_text(replace(two["catalog"], password="wrong")))
    billing, catalog = as_json(monorepo, "status", code=77)  # type: ignore[misc]
    assert (billing["state"], catalog["state"], catalog["pending"]) == ("behind", "error", None)
    assert "password authentication failed" in catalog["error"]
    failure = catalog["failure"]
    assert (failure["service"], failure["exit_code"]) == ("catalog", 77)
    assert "Correct the password" in failure["hint"]
    assert failure["text"] == catalog["error"]


def test_status_shows_a_revision_that_no_file_has(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    monorepo, dsn = world
    query(dsn, "UPDATE alembic_version_billing SET version_num = 'z9'")
    billing, _ = as_json(monorepo, "status", code=3)  # type: ignore[misc]
    assert (billing["current"], billing["pending"], billing["state"]) == (["z9"], None, "error")
    assert f"{two['billing'].target} is at z9" in billing["error"]
    assert [line.split()[2] for line in monorepo.inv("db.status").out.splitlines() if line.startswith("billing ")] == [
        "z9"
    ]


@pytest.mark.usefixtures("two")
def test_json_of_revisions_holds_their_ids_and_files(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    a1 = {
        "revision": "a1",
        "down_revision": [],
        "message": "a1.",
        "path": "migrations/versions/billing/a1.py",
        "is_head": False,
        "branch_labels": [],
        "depends_on": [],
    }
    assert as_json(monorepo, "current") == {"billing": [a1], "catalog": []}
    assert as_json(monorepo, "heads") == {"billing": ["b2"], "catalog": ["c1"]}
    b2 = a1 | {"revision": "b2", "down_revision": ["a1"], "message": "b2.", "is_head": True}
    b2["path"] = "migrations/versions/billing/b2.py"
    assert as_json(monorepo, "history", "--service", "billing") == {"billing": [b2, a1]}


def test_json_of_services_holds_every_derived_name(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    monorepo, _ = world
    (monorepo.root / "services/catalog/.env").unlink()
    billing, catalog = as_json(monorepo, "services")  # type: ignore[misc]
    assert billing == {
        "service": "billing",
        "target": two["billing"].target,
        "version_table": "alembic_version_billing",
        "models": "services.billing.models",
        "revisions": 2,
        "path": "services/billing",
        "source": ".",
        "versions": "migrations/versions/billing",
        "from": dict.fromkeys(("path", "source", "models", "versions", "version_table"), "convention"),
    }
    assert (catalog["service"], catalog["target"]) == ("catalog", None)


def test_json_of_check_holds_the_differences(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    upgraded(monorepo)
    clean = {
        "service": "billing",
        "target": dsn.target,
        "differences": [],
        "findings": [],
        "problems": [],
        "accepted": [],
        "uncompared": [],
    }
    assert as_json(monorepo, "check") == [clean]
    query(dsn, "ALTER TABLE billing DROP COLUMN name")
    (document,) = as_json(monorepo, "check", code=3)  # type: ignore[misc]
    assert len(document["differences"]) == 2
    assert any("add_column" in line and "name" in line for line in document["differences"])
    assert any("create_index" in line and "billing_name" in line for line in document["differences"])


def test_json_of_env_holds_value_and_origin(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    documents = as_json(monorepo, "env")
    assert isinstance(documents, dict)
    settings = {row["key"]: (row["value"], row["origin"]) for row in documents["billing"]}
    assert settings["DATABASE_DSN"] == (dsn.masked(), "services/billing/.env:1")
    assert settings["MIGRATIONS_LOCK_TIMEOUT"] == ("5s", "default")


def test_env_masks_every_password_and_shows_where_each_value_came_from(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.env(
        "billing", DATABASE_DSN=dsn_text(replace(dsn, password="hunter1")), DATABASE_ADMIN_DSN="nonsense:hunter2@x"
    )
    environment = {
        "BILLING_DATABASE_PASSWORD": "hunter3",
        "BILLING_DATABASE_DIRECT_DSN": dsn_text(replace(dsn, password="hunter4")),
    }
    ran = monorepo.inv("db.env", "--service", "billing", env=environment)
    assert ran.code == 78
    assert "hunter" not in ran.text
    rows = {cells[1]: cells[2:] for line in ran.out.splitlines() if len(cells := re.split(r"\s{2,}", line.strip())) > 3}
    assert rows["DATABASE_DSN"] == [dsn.masked(), "services/billing/.env:1"]
    assert rows["DATABASE_DIRECT_DSN"] == [dsn.masked(), "environment BILLING_DATABASE_DIRECT_DSN"]
    assert rows["DATABASE_PASSWORD"] == ["***", "environment BILLING_DATABASE_PASSWORD"]
    assert rows["DATABASE_ADMIN_DSN"] == ["*** (no valid DSN)", "services/billing/.env:2"]


def test_what_only_reads_makes_no_table(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    service = monorepo.find("billing")
    wait(service_migrations.current(service))
    wait(service_migrations.history(service))
    (status,) = wait(service_migrations.status([service]))
    assert (status.state, status.pending) == ("behind", 2)
    assert tables(dsn) == set()


def test_the_tables_show_the_same_to_a_person(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    monorepo, _ = world
    ran = done(monorepo.inv("db.status"))
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["billing", two["billing"].target, "a1", "b2", "1", "behind"] in rows
    assert ["catalog", two["catalog"].target, "base", "c1", "1", "behind"] in rows
    assert ran.err == ""


# What changes a database


def test_several_services_are_upgraded_by_one_command(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    monorepo, _ = world
    ran = done(monorepo.inv("db.upgrade", "--service", "billing", "--service", "catalog"))
    assert len(ran.out.splitlines()) == 2
    assert (at(two["billing"]), at(two["catalog"], "catalog")) == (["b2"], ["c1"])


@pytest.mark.parametrize("revision", [("--revision", "+1"), ("--revision=a1",)])
def test_an_upgrade_goes_as_far_as_it_is_told(world: tuple[Monorepo, Dsn], revision: tuple[str, ...]) -> None:
    monorepo, dsn = world
    done(monorepo.inv("db.upgrade", "--service", "billing", *revision))
    assert at(dsn) == ["a1"]


@pytest.mark.parametrize("revision", [("--revision", "-1"), ("--revision=-1",), ("--revision", "a1")])
def test_a_downgrade_goes_as_far_as_it_is_told(world: tuple[Monorepo, Dsn], revision: tuple[str, ...]) -> None:
    monorepo, dsn = world
    upgraded(monorepo)
    ran = done(monorepo.inv("db.downgrade", "--service", "billing", *revision, "--yes"))
    assert "went from b2 to a1 (1 revision, " in ran.out
    assert at(dsn) == ["a1"]


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y", 0, []), ("n", 2, ["b2"]), ("", 2, ["b2"]), ("\x04", 2, ["b2"])]
)
def test_a_downgrade_asks_the_person_at_the_keyboard(
    world: tuple[Monorepo, Dsn], answer: str, code: int, left: list[str]
) -> None:
    monorepo, dsn = world
    upgraded(monorepo)
    ran = answered(monorepo, answer, "db.downgrade", "--service", "billing", "--revision", "base")
    assert ran.code == code, ran.err
    assert f"Downgrade billing -> {dsn.target} to base? What was added since is dropped. [y/N]" in ran.text
    assert at(dsn) == left
    assert "[y/N]" not in ran.out, "a question is no result"
    assert "Traceback" not in ran.err
    assert code == 0 or ran.err.endswith("\nNothing was changed.\n" if answer == "\x04" else "Nothing was changed.\n")


def test_a_stamp_writes_the_revision_and_runs_nothing(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    done(monorepo.inv("db.stamp", "--service", "billing", "--revision", "a1", "--yes"))
    assert (at(dsn), tables(dsn)) == (["a1"], {"alembic_version_billing"})


@pytest.mark.parametrize("revision", ["-1", "a1+1", "gone", "head+1"])
def test_a_stamp_that_is_refused_asks_nothing(world: tuple[Monorepo, Dsn], revision: str) -> None:
    monorepo, dsn = world
    ran = answered(monorepo, "y", "db.stamp", "--service", "billing", "--revision", revision)
    assert (ran.code, tables(dsn)) == (2, set())
    assert "[y/N]" not in ran.text
    assert "`inv db.history --service billing` lists the revisions." in ran.err


def test_a_stamp_that_purges_mends_a_revision_that_is_gone(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    upgraded(monorepo)
    query(dsn, "UPDATE alembic_version_billing SET version_num = 'gone'")
    words = ("db.stamp", "--service", "billing", "--revision", "b2", "--yes")
    assert monorepo.inv(*words).code == 3
    assert at(dsn) == ["gone"]
    done(monorepo.inv(*words, "--purge"))
    assert at(dsn) == ["b2"]


def test_two_heads_are_merged_into_one(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "c3", "a1")
    heads = as_json(monorepo, "heads", "--service", "billing")
    assert isinstance(heads, dict)
    assert sorted(heads["billing"]) == ["b2", "c3"]
    ran = done(monorepo.inv("db.merge", "--service", "billing", "-m", "join them"))
    path = monorepo.root / ran.out.strip()
    assert path.name.endswith("_join_them.py")
    assert path.is_file()
    done(monorepo.inv("db.upgrade", "--service", "billing"))
    assert at(dsn)[0] in path.name
    refused = monorepo.inv("db.merge", "--service", "billing")
    assert (refused.code, refused.err) == (2, "billing: there is one head only, so there is nothing to merge.\n")


@pytest.mark.parametrize(("revision", "shown"), [("head", "b2"), ("a", "a1"), ("b2", "b2")])
def test_show_prints_the_file_and_tells_its_place_beside_it(
    world: tuple[Monorepo, Dsn], revision: str, shown: str
) -> None:
    monorepo, _ = world
    ran = done(monorepo.inv("db.show", "--service", "billing", "--revision", revision))
    path = f"migrations/versions/billing/{shown}.py"
    assert ran.err == f"{path}\n"
    assert ran.out == (monorepo.root / path).read_text(encoding="utf-8").rstrip() + "\n"


def test_show_takes_a_whole_id_with_which_others_begin(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    monorepo.revision("billing", "b20", "b2")
    ran = done(monorepo.inv("db.show", "--service", "billing", "--revision", "b2"))
    assert ran.err == "migrations/versions/billing/b2.py\n"


def test_show_names_the_heads_where_there_are_two(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    monorepo.revision("billing", "b3", "a1")
    ran = monorepo.inv("db.show", "--service", "billing")
    assert ran.code == 2
    assert "billing: revision 'head' isn't one: the history has 2, b" in ran.err, ran.text


def test_a_role_that_is_made_without_a_password_is_told(monorepo: Monorepo, server: Server) -> None:
    name = f"bare_{os.getpid()}"
    monorepo.service("billing", dsn=Dsn(name, name, server.admin.hosts), DATABASE_ADMIN_DSN=dsn_text(server.admin))
    try:
        made = monorepo.inv("db.create", "--service", "billing")
        assert made.out.startswith(f"billing: created role {name} without a password, created database"), made.text
    finally:
        query(server.admin, f"DROP DATABASE IF EXISTS {name}")
        query(server.admin, f"DROP ROLE IF EXISTS {name}")


def test_a_database_is_made_and_dropped_with_its_role(monorepo: Monorepo, server: Server) -> None:
    name = f"made_{os.getpid()}"
    dsn = Dsn(name, name, server.admin.hosts, "hunter2 '%@\\")
    monorepo.service("billing", dsn=dsn, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    monorepo.table_revision("billing", "a1", None)
    words = ("--service", "billing")
    try:
        made = done(monorepo.inv("db.create", *words))
        assert made.out.startswith(f"billing: created role {name}, created database {name}")
        assert done(monorepo.inv("db.create", *words)).out == f"billing: nothing to do, {dsn.target} is there\n"
        upgraded(monorepo)
        assert query(dsn, "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")[0] == (
            name,
            False,
        )
        assert done(monorepo.inv("db.drop", *words, "--yes")).out == f"billing: {dsn.target} is dropped\n"
        assert not query(server.admin, "SELECT FROM pg_database WHERE datname = $1", name)
        assert done(monorepo.inv("db.drop", *words, "--yes")).out == f"billing: {dsn.target} was not there\n"
    finally:
        query(server.admin, f'DROP DATABASE IF EXISTS "{name}"')
        query(server.admin, f'DROP ROLE IF EXISTS "{name}"')


def test_a_drop_of_a_named_service_takes_a_bare_dsn(
    world: tuple[Monorepo, Dsn], two: dict[str, Dsn], database: Callable[..., Dsn], server: Server
) -> None:
    monorepo, _ = world
    other = database()
    env = {"DATABASE_DSN": dsn_text(other), "DATABASE_ADMIN_DSN": dsn_text(server.admin)}
    asked = monorepo.inv("db.drop", "--service", "billing", env=env)
    assert (asked.code, asked.err.partition("?")[0]) == (2, f"Drop {other.target} with all data of billing")
    ran = done(monorepo.inv("db.drop", "--service", "billing", "--yes", env=env))
    assert ran.out == f"billing: {other.target} is dropped\n"
    assert at(two["billing"]) == ["a1"]


def test_a_drop_says_whose_data_is_lost_also_where_that_cant_be_known(
    world: tuple[Monorepo, Dsn], two: dict[str, Dsn]
) -> None:
    monorepo, dsn = world
    words = ("db.drop", "--service", "billing")
    monorepo.env("catalog", DATABASE_DSN=dsn_text(dsn))
    monorepo.service("identity")
    assert monorepo.inv(*words).err.startswith(f"Drop {dsn.target} with all data of billing, catalog? ")
    monorepo.env("catalog", DATABASE_DSN=f"'{dsn_text(dsn)}")
    says = f"Drop {dsn.target} with all data of billing (and perhaps of catalog, whose settings don't say)? "
    assert monorepo.inv(*words).err.startswith(says)
    env_file = monorepo.find("catalog").env_file
    env_file.unlink()
    env_file.symlink_to("/nowhere/.env")
    assert monorepo.inv(*words).err.startswith(says)
    assert at(two["billing"]) == ["a1"]


def test_an_open_quote_in_one_env_stops_no_other_service(world: tuple[Monorepo, Dsn], two: dict[str, Dsn]) -> None:
    monorepo, dsn = world
    path = monorepo.env("billing", DATABASE_DSN=f"'{dsn_text(dsn)}")
    told = "services/billing/.env:1 is no KEY=value line. Is a quote left open?\n1 of 2 services has a problem.\n"
    created, shown = monorepo.inv("db.create"), monorepo.inv("db.env", "--json")
    assert (created.code, created.err) == (shown.code, shown.err) == (78, told)
    assert created.out == f"catalog: nothing to do, {two['catalog'].target} is there\n"
    assert list(json.loads(shown.out)) == ["catalog"]
    ran = monorepo.inv("up")
    assert ran.code == 78
    assert "services/billing/.env:1 is no KEY=value line. Is a quote left open?\n" in ran.err
    assert ran.err.endswith("1 of 2 services failed.\n")
    assert at(two["catalog"], "catalog") == ["c1"]
    path.unlink()
    assert at(two["billing"]) == ["a1"]


def test_a_database_that_somebody_is_connected_to_is_not_dropped(world: tuple[Monorepo, Dsn], server: Server) -> None:
    monorepo, dsn = world
    upgraded(monorepo)

    async def scenario() -> Ran:
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            return monorepo.inv(
                "db.drop", "--service", "billing", "--yes", env={"DATABASE_ADMIN_DSN": dsn_text(server.admin)}
            )
        finally:
            await connection.close()

    ran = wait(scenario())
    assert ran.code == 2, ran.text
    assert "somebody is connected to it. Stop the service" in ran.err
    assert at(dsn) == ["b2"]


# SQL by hand


def schema(dsn: Dsn) -> list[tuple[object, ...]]:
    """Return columns, indexes, constraints and enum values of a database, as the catalog has them; no ledger."""
    parts = (
        (
            "SELECT table_name, column_name, data_type, is_nullable, column_default, generation_expression"
            " FROM information_schema.columns WHERE table_schema = 'public'"
        ),
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        (
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
        ),
        "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum",
    )
    rows = (tuple(row) for part in parts for row in query(dsn, part))
    return sorted((row for row in rows if not row[0].startswith("migration_log_")), key=repr)


def apply_by_hand(dsn: Dsn, sql: str) -> None:
    """Run a script as psql does: one statement after the other, on one connection."""

    async def run() -> None:
        connection = await asyncpg.connect(**dsn.connect_args())
        try:
            for statement in sql.split(";\n\n"):
                if statement.strip():
                    await connection.execute(statement)
        finally:
            await connection.close()

    wait(run())


def test_the_sql_of_an_upgrade_and_a_downgrade_can_be_piped_and_needs_no_database(
    world: tuple[Monorepo, Dsn], database: Callable[..., Dsn]
) -> None:
    monorepo, dsn = world
    by_hand = database()
    upgraded(monorepo)
    (monorepo.root / "services/billing/.env").unlink()
    up = done(monorepo.inv("db.upgrade", "--service", "billing", "--sql"))
    assert "CREATE TABLE billing" in up.out
    assert logged(up)
    apply_by_hand(by_hand, up.out)
    assert schema(by_hand) == schema(dsn)
    assert at(by_hand) == at(dsn) == ["b2"]
    assert monorepo.inv("db.downgrade", "--service", "billing", "--revision", "a1", "--sql").code == 2
    down = done(monorepo.inv("db.downgrade", "--service", "billing", "--revision", "b2:a1", "--sql"))
    apply_by_hand(by_hand, down.out)
    assert at(by_hand) == ["a1"]
    assert not query(by_hand, "SELECT FROM pg_indexes WHERE indexname = 'billing_name'")


@pytest.mark.parametrize("name", [service.name for service in discover()])
def test_a_real_services_sql_applied_by_hand_gives_the_same_schema_as_the_online_way(
    name: str, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    online, by_hand = database(), database()
    monkeypatch.setenv(f"{name.upper()}_DATABASE_DSN", dsn_text(online))
    wait(service_migrations.upgrade(name))
    apply_by_hand(by_hand, wait(service_migrations.sql(name, "head")))
    assert schema(by_hand) == schema(online)
    assert at(by_hand, name) == at(online, name)


ROWS = """
notes = op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.Text))
op.bulk_insert(notes, [
    {"id": 1, "body": "a\\tb"}, {"id": 2, "body": "c\\\\d -- e"},
    {"id": 3, "body": "f;\\n\\n  g\\t"}, {"id": 4, "body": "x"},
])
op.execute("INSERT INTO notes VALUES (5, 'h\\ti')")
op.execute("DELETE FROM notes WHERE body = 'x' -- none")
op.execute("INSERT INTO notes VALUES (6, 'j')\\n\\t-- k\\n\\t-- l -- m")
op.execute("INSERT INTO notes VALUES (7, $$ n -- o\\n -- p $$); -- q")
op.execute(sa.insert(notes).values(id=8, body="\\t--"))
op.execute("COMMENT ON TABLE notes IS 'r\\t-- s'")
"""
"""The body of a revision, each of whose statements Alembic's offline mode changes, or shouldn't change."""


def test_the_sql_of_offline_mode_leaves_the_same_rows(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    online, by_hand = database(), database()
    service = monorepo.service("billing", dsn=online)
    monorepo.revision("billing", "a1", None, ROWS, 'op.drop_table("notes")')
    (plan,) = wait(service_migrations.plan(service)).revisions
    assert not {finding.rule for finding in plan.findings} & {"offline", "syntax-error"}
    assert "'a\tb'" in plan.sql
    wait(service_migrations.upgrade(service))
    run_script(by_hand, [wait(service_migrations.sql(service, "head"))])  # whole: the server splits it
    rows = "SELECT id, body FROM notes UNION SELECT 0, obj_description('notes'::regclass) ORDER BY id"
    assert query(by_hand, rows) == query(online, rows)
    assert [row[0] for row in query(online, rows)] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert query(online, rows)[1][1] == "a\tb"
    assert at(by_hand) == at(online) == ["a1"]


# Alembic's own commands


def test_any_alembic_command_is_handed_through(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world

    def alembic(*words: str) -> Ran:
        return monorepo.inv("db.alembic", "--service", "billing", "--", *words)

    assert "Running upgrade a1 -> b2" in done(alembic("upgrade", "head")).err
    assert at(dsn) == ["b2"]
    assert done(alembic("current")).out == "b2 (head)\n"
    assert "CREATE TABLE billing" in done(alembic("upgrade", "head", "--sql")).out
    assert done(alembic("check")).code == 0
    query(dsn, "DROP INDEX billing_name")
    assert alembic("check").code == 3
    query(dsn, "CREATE INDEX billing_name ON billing (name)")
    done(alembic("downgrade", "base"))
    assert tables(dsn) == {"alembic_version_billing"}


def test_quoted_words_reach_alembic_as_they_were_typed(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    words = ("revision", "-m", "a b  'c' \"d\" $HOME -- e")
    ran = done(monorepo.inv("db.alembic", "--service", "billing", "--", *words))
    (path,) = (monorepo.root / "migrations/versions/billing").glob("*.py")
    assert path.read_text(encoding="utf-8").splitlines()[0].startswith('"""a b  \'c\' "d" $HOME -- e')
    assert "Traceback" not in ran.text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nonsense",), "invalid choice: 'nonsense'"),
        ((), "Name a command of Alembic's behind the two dashes"),
        (("upgrade", "zzz"), "zzz"),
        (("upgrade",), "revision"),
        (("init", "foo"), "init makes another environment"),
    ],
)
def test_what_alembic_doesnt_understand_is_wrong_use(
    world: tuple[Monorepo, Dsn], words: tuple[str, ...], says: str
) -> None:
    monorepo, dsn = world
    ran = monorepo.inv("db.alembic", "--service", "billing", "--", *words)
    assert ran.code == 2, ran.text
    assert says in ran.err
    assert "Traceback" not in ran.text
    assert tables(dsn) <= {"alembic_version_billing"}
    assert not (monorepo.root / "foo").exists()


# The servers


def test_the_versions_of_the_matrix_are_listed_with_their_source(monorepo: Monorepo) -> None:
    ran = done(monorepo.inv("pg.versions"))
    rows = [line.split(None, 2) for line in ran.out.splitlines()]
    assert tuple(row[0] for row in rows if row and row[0].isdecimal()) == VERSIONS
    assert {row[1] for row in rows if row and row[0].isdecimal()} <= {"ready", "download", "missing"}


def test_a_check_tells_of_what_nobody_named_and_exits_with_3(monorepo: Monorepo, database) -> None:
    models = MODELS.format(table="billing").replace("String(50)", "String(50), unique=True")
    service = monorepo.service("billing", models, database())
    wait(service_migrations.revision(service, "create"))
    wait(service_migrations.upgrade(service))
    ran = monorepo.inv("db.check")
    assert ran.code == 3, ran.text
    assert ran.out == (
        "billing: services/billing/models.py: billing has a UNIQUE (name) without a name, so PostgreSQL chooses one "
        "that the models don't have. "
        "Give it a name=, or the metadata a naming_convention=.\n"
    )
    assert wait(service_migrations.check(service)).differences == ()


def test_a_repository_without_services_hears_what_comes_next(monorepo: Monorepo) -> None:
    ran = monorepo.inv("db.init")
    assert (ran.code, "inv db.revision --service billing -m first" in ran.err) == (0, True), ran.text
    monorepo.service("billing")
    ran = monorepo.inv("db.init")
    assert (ran.code, "Next" in ran.text) == (0, False), ran.text

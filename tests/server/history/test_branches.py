"""A history with branch labels has several heads on purpose, and every command knows it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.errors import NotReadyError, UsageError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.testing.steps import go_step_by_step
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, Ran
from tests.support.programs import alembic

World = tuple[Monorepo, Dsn]


def write(monorepo: Monorepo, revision: str, down: str | None, **names: object) -> Path:
    """Write a revision that creates a table of its own name."""
    path = monorepo.revision(
        "billing", revision, down, f"op.execute('CREATE TABLE {revision} ()')", f"op.execute('DROP TABLE {revision}')"
    )
    lines = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    path.write_text(path.read_text().replace("\n\n\ndef upgrade", f"\n{lines}\n\ndef upgrade"))
    return path


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> World:
    """Make a service with two branches, of which one depends on the other."""
    dsn = database()
    monorepo.service("billing", "__all__ = []", dsn)
    write(monorepo, "e1", None, branch_labels=("expand",))
    write(monorepo, "e2", "e1")
    write(monorepo, "c1", None, branch_labels=("contract",), depends_on="e1")
    return monorepo, dsn


def inv(world: World, *words: str, code: int = 0) -> Ran:
    ran = world[0].inv(*words)
    assert ran.code == code, ran.text
    return ran


def at(world: World) -> list[str]:
    return sorted(row[0] for row in query(world[1], "SELECT version_num FROM alembic_version_billing"))


def created(world: World) -> set[str]:
    return {name for name in tables(world[1]) if len(name) == 2}


def status(world: World) -> dict[str, object]:
    (row,) = json.loads(inv(world, "db.status", "--json").out)
    return {key: row[key] for key in ("current", "head", "heads", "pending", "state")}


@pytest.mark.parametrize("label", ["head", "base", "a@b", "+1", "a b", "x:y", "release-2"])
def test_a_label_that_cannot_name_a_branch_is_refused_before_a_file_is_written(world: World, label: str) -> None:
    ran = inv(
        world, "db.revision", "-s", "billing", "-m", "x", "--empty", f"--branch-label={label}", "--head=base", code=2
    )
    assert f"--branch-label {label!r} can't name a branch in a target." in ran.err
    assert inv(world, "db.heads", "--json").out.count("c1") == 1


def test_an_unknown_revision_that_is_to_be_applied_before_is_told_with_the_list(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", "__all__ = []", database())
    write(monorepo, "e1", None)
    ran = monorepo.inv("db.revision", "-s", "billing", "-m", "x", "--empty", "--depends-on", "nope")
    assert (ran.code, "`inv db.history --service billing` lists the revisions" in ran.err) == (2, True), ran.text


def test_an_upgrade_goes_to_all_heads_and_is_known_to_be_there(world: World) -> None:
    monorepo, _ = world
    assert status(world) == {"current": [], "head": None, "heads": ["c1", "e2"], "pending": 3, "state": "behind"}
    plan = json.loads(inv(world, "db.plan", "--json").out)
    planned = [revision["revision"] for revision in plan[0]["revisions"]]
    assert set(planned) == {"e1", "e2", "c1"}
    assert planned.index("e1") < min(planned.index("e2"), planned.index("c1"))
    ran = inv(world, "db.upgrade")
    assert [word for word in planned if f"-> {word}" in ran.text or f"{word}" in ran.text] == planned
    assert at(world) == ["c1", "e2"]
    assert status(world) == {
        "current": ["c1", "e2"],
        "head": None,
        "heads": ["c1", "e2"],
        "pending": 0,
        "state": "at head",
    }
    assert "alembic" not in inv(world, "db.upgrade").err  # found out by the scan
    assert len(wait(service_migrations.check(monorepo.find("billing"))).differences) == 3  # no model has these tables
    inv(world, "db.wait", "--service", "billing", "--head", "--timeout", "5s")
    inv(world, "db.upgrade", "--revision", "heads")
    assert "c1" in inv(world, "db.current").out
    assert "e2" in inv(world, "db.current").out
    write(monorepo, "c2", "c1", depends_on=("e2",))
    assert status(world)["pending"] == 1
    assert len(wait(service_migrations.plan(monorepo.find("billing"))).revisions) == 1
    with pytest.raises(NotReadyError):
        wait(service_migrations.wait(monorepo.find("billing"), head=True, timeout=0.5))
    inv(world, "db.upgrade")
    assert at(world) == ["c2"]  # what it depends on is implied
    assert status(world)["state"] == "at head"
    assert status(world)["pending"] == 0
    assert len(wait(service_migrations.check(monorepo.find("billing"))).differences) == 4
    assert "nothing" in inv(world, "db.plan").out


def test_one_branch_goes_up_and_down_with_what_it_depends_on(world: World) -> None:
    inv(world, "db.upgrade", "--revision", "contract@head")
    assert created(world) == {"e1", "c1"}
    assert status(world)["pending"] == 1
    inv(world, "db.upgrade", "--revision", "expand@+1")
    assert created(world) == {"e1", "e2", "c1"}
    assert at(world) == ["c1", "e2"]
    ran = inv(world, "db.downgrade", "--revision", "-1", "--yes", "--service", "billing", code=2)
    assert "contract@-1 or expand@-1" in ran.text
    inv(world, "db.plan", "--downgrade=-1", code=2)
    plan = json.loads(inv(world, "db.plan", "--downgrade", "expand@-1", "--json").out)
    assert [revision["revision"] for revision in plan[0]["revisions"]] == ["e2"]
    inv(world, "db.downgrade", "--revision", "expand@-1", "--yes", "--service", "billing")
    assert created(world) == {"e1", "c1"}
    plan = json.loads(inv(world, "db.plan", "--downgrade", "expand@base", "--json").out)
    assert {revision["revision"] for revision in plan[0]["revisions"]} == {"c1", "e1"}
    inv(world, "db.downgrade", "--revision", "expand@base", "--yes", "--service", "billing")
    assert created(world) == set()


def test_each_revision_of_a_branch_goes_up_down_and_up_again(world: World) -> None:
    monorepo, dsn = world
    write(monorepo, "c2", "c1", depends_on=("e2",))
    wait(go_step_by_step(monorepo.find("billing"), dsn, {}))
    assert at(world) == ["c2"]


@pytest.mark.parametrize("target", ["nothing@head", "nothing@+1", "expand@nothing", "head", "contract@-1"])
def test_a_target_that_is_not_there_is_refused_or_known(world: World, target: str) -> None:
    monorepo, _ = world
    service = monorepo.find("billing")
    if target == "head":
        assert wait(service_migrations.upgrade(service, target)).after == ("c1", "e2")
        return
    ran = inv(world, "db.upgrade", "--revision", target, code=2)
    assert "Traceback" not in ran.text
    assert len(ran.err.strip().splitlines()) == 1


def test_the_sql_and_a_stamp_are_of_all_heads(world: World) -> None:
    script = inv(world, "db.upgrade", "--sql").out
    assert all(f"CREATE TABLE {name} ()" in script for name in ("e1", "e2", "c1"))
    inv(world, "db.stamp", "--revision", "head", "--yes", "--service", "billing")
    assert at(world) == ["c1", "e2"]
    assert status(world)["state"] == "at head"


def test_drift_replays_all_branches(world: World, server: Server) -> None:
    dsn = world[1]
    inv(world, "db.upgrade")
    query(server.admin, f'ALTER ROLE "{dsn.user}" CREATEDB')
    assert inv(world, "db.drift").code == 0
    query(dsn, "DROP TABLE e2")
    assert "e2" in inv(world, "db.drift", code=3).out


def test_a_history_that_cannot_be_replayed_is_no_failed_migration(world: World, server: Server) -> None:
    monorepo, dsn = world
    query(server.admin, f'ALTER ROLE "{dsn.user}" CREATEDB')
    query(dsn, "CREATE TABLE by_hand ()")
    monorepo.revision("billing", "e3", "e2", "pass\nop.execute('ALTER TABLE by_hand ADD COLUMN a integer')")
    inv(world, "db.upgrade")
    ran = inv(world, "db.drift", code=2)
    assert "migrations/versions/billing/e3.py:11: " in ran.err
    assert "can't be replayed into a scratch database" in ran.err
    assert "Then put a first revision that creates it below the others" in ran.err


def test_an_unlabelled_head_is_refused_within_a_branch_too(world: World) -> None:
    monorepo, _ = world
    write(monorepo, "e3", "e1")
    for words in (
        ["db.upgrade"],
        ["db.plan"],
        ["db.check"],
        ["db.wait", "--service", "billing", "--head"],
        ["db.status"],
    ):
        ran = inv(world, *words, code=2)
        assert "no branch label of their own" in ran.text
    with pytest.raises(UsageError):
        wait(service_migrations.upgrade(monorepo.find("billing")))


def test_a_fleet_takes_branches_along(world: World, database: Callable[..., Dsn]) -> None:
    monorepo, _ = world
    monorepo.service("catalog", dsn=database())
    monorepo.table_revision("catalog", "a1", None)
    ran = inv(world, "db.upgrade")
    assert "billing" in ran.out
    assert at(world) == ["c1", "e2"]
    assert inv(world, "db.upgrade").code == 0
    assert {each["state"] for each in json.loads(inv(world, "db.status", "--json").out)} == {"at head"}


LONG = "2024_01_31_the_first_of_all_revisions_of_billing"


@pytest.fixture
def long_id(monorepo: Monorepo, database: Callable[..., Dsn]) -> World:
    dsn = database()
    monorepo.service("billing", "__all__ = []", dsn)
    monorepo.revision("billing", "a1", None)
    monorepo.revision("billing", LONG, "a1")
    return monorepo, dsn


def test_a_long_id_runs_where_the_version_table_is_new_or_wide_enough(long_id: World) -> None:
    inv(long_id, "db.upgrade")
    assert at(long_id) == [LONG]
    assert status(long_id)["state"] == "at head"
    assert "VARCHAR(255)" in inv(long_id, "db.upgrade", "--sql").out


@pytest.mark.parametrize("kind", ["varchar(255)", "text", "varchar"])
def test_a_teams_own_version_table_may_be_wider(long_id: World, kind: str) -> None:
    query(long_id[1], f"CREATE TABLE alembic_version_billing (version_num {kind} PRIMARY KEY)")
    inv(long_id, "db.upgrade")
    assert at(long_id) == [LONG]


@pytest.mark.parametrize("command", [("upgrade", "head"), ("stamp", "head")])
def test_plain_alembic_refuses_a_long_id_before_the_first_revision(long_id: World, command: tuple[str, str]) -> None:
    monorepo, dsn = long_id
    query(dsn, "CREATE TABLE alembic_version_billing (version_num varchar(32) PRIMARY KEY)")
    ran = alembic(monorepo, "-x", "service=billing", *command)
    assert ran.code != 0
    assert f"{LONG}.py: the id" in ran.err
    assert "holds 32" in ran.err
    assert at(long_id) == []
    assert alembic(monorepo, "-x", "service=billing", command[0], "a1").code == 0
    assert at(long_id) == ["a1"]
    query(dsn, "ALTER TABLE alembic_version_billing ALTER COLUMN version_num TYPE varchar(255)")
    assert alembic(monorepo, "-x", "service=billing", *command).code == 0
    assert alembic(monorepo, "-x", "service=billing", "downgrade", "base").code == 0
    assert at(long_id) == []


def test_a_long_id_is_refused_with_its_file_only_where_it_has_no_room(long_id: World) -> None:
    query(long_id[1], "CREATE TABLE alembic_version_billing (version_num varchar(32) PRIMARY KEY)")
    ran = inv(long_id, "db.upgrade", code=2)
    assert f"{LONG}.py" in ran.text
    assert "holds 32" in ran.text
    assert at(long_id) == []
    inv(long_id, "db.stamp", "--service", "billing", "--revision", "head", "--yes", code=2)
    inv(long_id, "db.upgrade", "--revision", "a1")
    assert at(long_id) == ["a1"]


def test_odd_ids_are_written_and_read(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    world = monorepo, database()
    monorepo.service("billing", "__all__ = []", world[1])
    ids = ["one two", 'say "x"', "back\\slash", "100%s", "a,b;c$1", "é漢"]
    for number, (down, revision) in enumerate(zip([None, *ids[:-1]], ids, strict=True)):
        path = monorepo.revision("billing", f"r{number}", None)
        text = path.read_text().replace(f"revision = 'r{number}'", f"revision = {revision!r}")
        path.write_text(text.replace("down_revision = None", f"down_revision = {down!r}"))
    inv(world, "db.upgrade")
    assert at(world) == [ids[-1]]
    assert status(world)["state"] == "at head"
    inv(world, "db.downgrade", "--service", "billing", "--revision", "base", "--yes")
    assert at(world) == []


def test_what_a_revision_prints_is_no_part_of_a_plan_or_a_script(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.service("billing", "print('models')\n__all__ = []", dsn)
    monorepo.revision("billing", "a1", None, "print('noise')\nop.execute('SELECT 1')")
    ran = monorepo.inv("db.plan", "--json", "--sql")
    assert json.loads(ran.out)[0]["revisions"][0]["revision"] == "a1"
    assert "noise" in ran.err
    ran = monorepo.inv("db.upgrade", "--sql")
    assert "noise" not in ran.out
    assert "SELECT 1" in ran.out
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0
    assert "noise" not in ran.out
    assert json.loads(monorepo.inv("db.check", "--json").out)


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_an_error_behind_a_link_has_its_file_and_line(
    monorepo: Monorepo, database: Callable[..., Dsn], linked: str
) -> None:
    monorepo.service("billing", "__all__ = []", database())
    path = monorepo.revision("billing", "a1", None, "pass\nop.execute('SELECT nothing')")
    elsewhere = monorepo.root / "legacy"
    if linked == "folder":
        path.parent.rename(elsewhere)
        path.parent.symlink_to("../../legacy", target_is_directory=True)
    else:
        elsewhere.mkdir()
        path.rename(elsewhere / path.name)
        path.symlink_to("../../../legacy/a1.py")
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 1
    assert "legacy/a1.py:" in ran.err


def test_plain_alembic_reads_subfolders_and_several_folders_too(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    toml = monorepo.root / "pyproject.toml"
    extra = 'versions = ["migrations/versions/{name}", "legacy/{name}"]\n'
    toml.write_text(toml.read_text().replace("[tool.service-migrations]\n", f"[tool.service-migrations]\n{extra}"))
    world = monorepo, database()
    monorepo.service("billing", "__all__ = []", world[1])
    path = monorepo.revision("billing", "a1", None)
    (monorepo.root / "legacy/billing/2023").mkdir(parents=True)
    path.rename(monorepo.root / "legacy/billing/2023/a1.py")
    monorepo.revision("billing", "b2", "a1")
    ran = alembic(monorepo, "-x", "service=billing", "history")
    assert "2023/a1.py" in ran.text
    assert ran.code == 255
    recursive = "[tool.service-migrations]\nrecursive_version_locations = true\n"
    toml.write_text(toml.read_text().replace("[tool.service-migrations]\n", recursive))
    ran = alembic(monorepo, "-x", "service=billing", "history")
    assert ran.code == 0, ran.text
    assert "a1 -> b2 (head)" in ran.out
    assert alembic(monorepo, "-x", "service=billing", "upgrade", "head").code == 0
    assert at(world) == ["b2"]
    assert status(world)["state"] == "at head"


def test_a_merge_never_joins_branches_that_both_have_two_heads(world: World) -> None:
    monorepo, _ = world
    write(monorepo, "e3", "e1")
    write(monorepo, "c2", "c1")
    write(monorepo, "c3", "c1", depends_on="e3")
    ran = inv(world, "db.merge", "--service", "billing", "-m", "join", code=2)
    assert "the heads are of several branches, " in ran.err
    assert len(list((monorepo.root / "migrations/versions/billing").glob("*.py"))) == 6
    (hint,) = [line.partition("Join each by itself: ")[2] for line in ran.err.splitlines() if "Join each" in line]
    commands = hint.rstrip(".").split("; ")
    assert len(commands) == 3
    for command in commands:
        inv(world, *command.split()[1:])
    inv(world, "db.heads", "--check")
    inv(world, "db.upgrade")
    assert created(world) == {"e1", "e2", "e3", "c1", "c2", "c3"}
    assert len(at(world)) == 2


def test_a_dependency_that_a_parent_implies_is_told_as_what_alembic_cannot_record(world: World) -> None:
    monorepo, _ = world
    write(monorepo, "e3", "e2", depends_on=("e1", "c1"))
    ran = inv(world, "db.upgrade", code=1)
    assert "e3.py: KeyError: 'e1' (in alembic/runtime/migration.py" in ran.err
    assert "remove the older one from its depends_on." in ran.err
    write(monorepo, "e3", "e2", depends_on="c1")
    inv(world, "db.upgrade")
    assert "e3" in created(world)

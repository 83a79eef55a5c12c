"""Many services in worker processes, and what kills some of them: every service whole, nobody left behind."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import SECRET, query
from tests.support.deadlines import until
from tests.support.proxy import proxy
from tests.support.world import PAUSED, Run, World, nothing_left

PROMPT = 4.0
"""Seconds until a command has ended whose servers answer: two, and as many for a machine that is busy."""


@pytest.fixture
def other(world: World, database: Callable[..., Dsn]) -> Dsn:
    """Add catalog, with a database of its own; both services pause in their third revision of five."""
    dsn = database(password=SECRET)
    world.monorepo.service("catalog", dsn=dsn)
    for name, at in (("billing", world.dsn), ("catalog", dsn)):
        world.history(5, name, r003=PAUSED)
        query(at, "CREATE TABLE barrier AS SELECT true AS closed")
    return dsn


def children(pid: int) -> list[int]:
    """Return the processes whose parent this one is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def both_paused(world: World, other: Dsn) -> tuple[Run, list[int]]:
    run = world.start("db.upgrade", "--jobs", "2")
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = ANY ($1) AND state = 'active' AND query LIKE '%barrier%'"
    databases = [world.dsn.database, other.database]
    until(lambda: len(query(world.server.admin, sql, databases)) == 2, "both stand at the barrier")
    workers = children(run.process.pid)
    assert len(workers) == 2
    return run, workers


def version(dsn: Dsn, service: str) -> str:
    return str(query(dsn, f"SELECT version_num FROM alembic_version_{service}")[0][0])  # noqa: S608 - a test's own name


@pytest.mark.parametrize("words", [("--canary", "catalog"), ("--jobs", "1", "-s", "catalog", "-s", "billing")])
def test_a_signal_during_the_first_service_says_of_the_others_that_they_were_not_started(
    world: World, other: Dsn, words: tuple[str, ...]
) -> None:
    """A state "stopped" made an operator look for what had run in the others."""
    run = world.start("db.upgrade", *words)
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query LIKE '%barrier%'"
    until(lambda: query(world.server.admin, sql, other.database), "the first stands at the barrier")
    run.signal(signal.SIGINT)
    ran = run.end()
    assert ran.code == 130, ran.text
    assert sorted(ran.out.splitlines()) == ["billing: not started", "catalog: stopped"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("whole_group", [False, True], ids=["parent", "group"])
def test_a_signal_stops_all_services_whole(world: World, other: Dsn, number: signal.Signals, whole_group: bool) -> None:
    """Row 19: of several services, a terminal signals every process of a group, others perhaps only the first."""
    run, workers = both_paused(world, other)
    sent = time.monotonic()
    os.killpg(run.process.pid, number) if whole_group else run.signal(number)
    ran = run.end()
    assert time.monotonic() - sent < PROMPT
    assert ran.code == 128 + number, ran.text
    assert ran.out == "billing: stopped\ncatalog: stopped\n"
    for dsn in (world.dsn, other):
        assert f"{dsn.target} is at r002. What ran after that was rolled back." in ran.err
        nothing_left(Dsn(world.server.admin.user, dsn.database, world.server.admin.hosts, world.server.admin.password))
    assert ran.err.endswith(f"Stopped by {number.name}.\n")
    assert "hunter" not in ran.text
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert world.at() == "r002"
    assert version(other, "catalog") == "r002"


def test_a_second_signal_ends_all_at_once(world: World, other: Dsn) -> None:
    """Row 20: of several services, nobody waits for a server that says nothing."""
    with proxy(world.dsn) as (between, through):
        world.aim(through)
        run, workers = both_paused(world, other)
        between.swallow()
        sent = time.monotonic()
        run.signal(signal.SIGTERM)
        time.sleep(0.5)
        run.signal(signal.SIGTERM)
        ran = run.end()
        assert time.monotonic() - sent < PROMPT
    assert ran.code == 143
    assert "the state of billing is unknown. Run `inv db.current`." in ran.err
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_a_killed_worker_is_told_and_the_others_go_on(world: World, other: Dsn) -> None:
    """Row 12: of several services, what dies is told of, and what lives goes on."""
    run, workers = both_paused(world, other)
    os.kill(workers[0], signal.SIGKILL)
    run.says("was killed by signal 9")
    for dsn in (world.dsn, other):
        query(dsn, "UPDATE barrier SET closed = false")
    ran = run.end()
    assert ran.code == 69, ran.text
    assert "1 of 2 services failed." in ran.err
    assert sorted([version(world.dsn, "billing"), version(other, "catalog")]) == ["r002", "r005"]
    again = world.inv("db.upgrade")
    assert again.code == 0, again.text
    assert world.at() == "r005"


def test_a_worker_that_another_process_stops_is_a_failure_and_the_others_go_on(
    world: World, other: Dsn, database: Callable[..., Dsn]
) -> None:
    """Whoever sends SIGTERM to one worker has not stopped the run: nothing may say that all is well."""
    world.monorepo.service("orders", dsn=database(password=SECRET))
    world.history(1, "orders")
    run, workers = both_paused(world, other)
    os.kill(workers[0], signal.SIGTERM)
    run.says("was stopped by a SIGTERM, and the run wasn't")
    for dsn in (world.dsn, other):
        query(dsn, "UPDATE barrier SET closed = false")
    ran = run.end()
    assert ran.code == 69, ran.text
    assert "1 of 3 services failed." in ran.err
    assert sorted([version(world.dsn, "billing"), version(other, "catalog")]) == ["r002", "r005"]
    assert "orders: failed" not in ran.text
    assert "orders: stopped" not in ran.text
    assert world.inv("db.upgrade").code == 0


def test_no_worker_outlives_a_killed_parent(world: World, other: Dsn) -> None:
    """Row 12: of several services, a worker that nobody waits for any more ends, and its statement with it."""
    run, workers = both_paused(world, other)
    run.signal(signal.SIGKILL)
    run.process.wait()
    until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()], "the workers end", 5)
    nothing_left(world.admin)
    assert world.at() == "r002"
    assert version(other, "catalog") == "r002"


LIMITED = """
op.execute(
    "INSERT INTO limits SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
)
"""


@pytest.mark.parametrize("services", [("billing",), ("billing", "catalog")], ids=["one", "two"])
def test_limits_on_the_command_line_beat_the_settings(
    world: World, database: Callable[..., Dsn], services: tuple[str, ...]
) -> None:
    """For one service, which runs in this process, and for several, which don't."""
    other = database(password=SECRET)
    world.monorepo.service("catalog", dsn=other)
    for name, at in (("billing", world.dsn), ("catalog", other)):
        world.history(1, name, r001=LIMITED)
        query(at, "CREATE TABLE limits (lock text, statement text)")
        world.aim(at, name, MIGRATIONS_LOCK_TIMEOUT="1s", MIGRATIONS_STATEMENT_TIMEOUT="1m")
    words = [word for name in services for word in ("--service", name)]
    ran = world.inv("db.upgrade", *words, "--lock-timeout", "20s", "--statement-timeout", "7m")
    assert ran.code == 0, ran.err
    for at in (world.dsn, other)[: len(services)]:
        # the first try waits for a tenth
        assert tuple(query(at, "SELECT * FROM limits")[0]) == ("2s", "7min")

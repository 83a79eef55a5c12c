"""Several runs at once: each revision once, one run at a time, and nobody waits for what he doesn't need."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.deadlines import until
from tests.support.sessions import hold, hold_the_lock
from tests.support.world import INDEX, PAUSED, WAITING, Run, World, failed, nothing_left


def together(world: World, count: int) -> list[Run]:
    """Start upgrades, all of which are connected and wait for the lock before the first of them gets it."""
    with hold_the_lock(world.dsn):
        runs = [world.start() for _ in range(count)]
        for run in runs:
            run.says(WAITING)
    return runs


def upgraded(text: str) -> list[str]:
    return re.findall(r"Running upgrade \S* -> (\w+)", text)


def test_of_two_upgrades_one_builds_an_index_concurrently_while_the_other_waits(world: World) -> None:
    """Row 2: the waiter holds no snapshot, so the build waits for nobody but the old transaction."""
    world.history(2, r002_alone=INDEX)
    log = world.server.log or Path(os.devnull)
    already = len(log.read_bytes())
    started = time.monotonic()
    with hold(world.dsn, "CREATE TABLE other (id int)") as old:
        first = world.start("db.upgrade", "--service", "billing", "--revision", "r001")
        assert first.end().code == 0
        old.run("INSERT INTO billing_r001 VALUES (1)")
        builder = world.start()
        world.building(builder)
        waiter = world.start()
        waiter.says(WAITING)
        old.run("COMMIT")
    answers = [builder.end(60), waiter.end(60)]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert time.monotonic() - started < 60
    assert [upgraded(answer.err) for answer in answers] == [["r002"], []]
    assert world.valid("ix")
    assert b"deadlock detected" not in log.read_bytes()[already:]
    nothing_left(world.admin)


def test_a_data_change_in_an_autocommit_block_is_made_once(world: World) -> None:
    """Row 3: 501, where two runs would make it 50001."""
    change = """
    with op.get_context().autocommit_block():
        op.execute("UPDATE amount SET value = value * 100 + 1")
    """
    query(world.dsn, "CREATE TABLE amount AS SELECT 5 AS value")
    world.history(2, r002=change)
    answers = [run.end(60) for run in together(world, 2)]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert query(world.dsn, "SELECT value FROM amount")[0][0] == 501
    assert world.at() == "r002"
    nothing_left(world.admin)


def test_a_wait_that_is_over_names_the_holder(world: World) -> None:
    """Row 4: 75 after the time that was asked for; 0 fails at once."""
    world.history(1)
    with hold_the_lock(world.dsn, application_name="a deploy by hand") as holder:
        named = rf"\(held by pid {holder.pid}, user {world.dsn.user}, a deploy by hand, host 127\.0\.0\.1, \d+ s\)"
        run = world.start("db.upgrade", "--service", "billing", "--lock-wait", "2s")
        run.says(WAITING)
        waits = time.monotonic()
        ran = run.end()
        took = time.monotonic() - waits
        at_once = world.inv("db.upgrade", "--service", "billing", "--lock-wait", "0")
    assert 1.5 < took < 4
    for result, wait in ((ran, "2"), (at_once, "0")):
        assert re.search(rf"lock was not free within {wait} s {named}", failed(world, result, 75)), result.err
    assert world.at() == "base"


def test_a_waiter_goes_on_when_the_holder_is_killed(world: World) -> None:
    """Row 5: nothing at the holder's server process says good-bye, and it is gone within five seconds."""
    world.history(3, r002=PAUSED)
    world.close_barrier()
    holder = world.start()
    backend = world.paused(holder)
    waiter = world.start()
    waiter.says(f"{WAITING}pid {backend},")
    holder.signal(signal.SIGKILL)
    killed = time.monotonic()
    gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
    until(lambda: query(world.admin, gone, backend)[0][0], "the holder's server process ends", 5)
    world.paused(waiter)  # at the same place: it has the lock
    assert time.monotonic() - killed < 5
    world.open_barrier()
    ran = waiter.end()
    assert (ran.code, upgraded(ran.err)) == (0, ["r002", "r003"]), ran.err
    assert world.at() == "r003"
    nothing_left(world.admin)


def test_a_run_that_loses_its_lock_fails_and_nothing_is_done_twice(world: World) -> None:
    """Row 6: the lock is on the connection that migrates, so who loses it can't go on."""
    count = 'op.execute("UPDATE done SET times = times + 1")'
    query(world.dsn, "CREATE TABLE done AS SELECT 0 AS times")
    world.history(3, r001=count, r002=f"{count}\n{PAUSED}\n{count}", r003=count)
    world.close_barrier()
    first = world.start()
    backend = world.paused(first)
    second = world.start()
    second.says(WAITING)
    query(world.admin, "SELECT pg_terminate_backend($1)", backend)
    lost = first.end()
    world.paused(second)
    world.open_barrier()
    ran = second.end()
    assert "the connection was lost" in failed(world, lost, 69)
    assert (ran.code, upgraded(ran.err)) == (0, ["r002", "r003"]), ran.err
    assert query(world.dsn, "SELECT times FROM done")[0][0] == 4
    assert world.at() == "r003"


@pytest.mark.parametrize("first", ["upgrade", "downgrade"])
def test_an_upgrade_and_a_downgrade_run_one_after_the_other(world: World, first: str) -> None:
    """Row 7: the database ends where the last of them was to bring it."""
    world.history(2)
    words = {
        "upgrade": ("db.upgrade", "--service", "billing"),
        "downgrade": ("db.downgrade", "--service", "billing", "--revision", "base", "--yes"),
    }
    if first == "downgrade":
        assert world.inv().code == 0
    world.history(2, r002=PAUSED, r001_back=PAUSED)
    world.close_barrier()
    process = world.start(*words.pop(first))
    world.paused(process)
    ((last, of_last),) = words.items()
    other = world.start(*of_last)
    other.says(WAITING)
    world.open_barrier()
    answers = [process.end(), other.end()]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert world.at() == {"upgrade": "r002", "downgrade": "base"}[last]
    nothing_left(world.admin)


def test_two_services_that_share_a_database_take_turns(world: World, database: Callable[..., Dsn]) -> None:
    """Rows 8 and 42: one lock, and two version tables although their revisions have the same ids."""
    catalog = database(shared=world.dsn)
    world.monorepo.service("catalog", dsn=catalog)
    world.history(2, r002=PAUSED)
    world.history(2, "catalog")
    world.close_barrier()
    billing = world.start()
    backend = world.paused(billing)
    other = world.start("db.upgrade", "--service", "catalog")
    other.says(f"{WAITING}pid {backend}, user {world.dsn.user}, migrations billing ")
    world.open_barrier()
    answers = [billing.end(), other.end()]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert world.at("billing") == "r002"
    query(world.admin, f'GRANT SELECT ON alembic_version_catalog TO "{world.dsn.user}"')
    assert world.at("catalog") == "r002"
    nothing_left(world.admin)


def test_runs_that_have_nothing_to_do_need_no_lock(world: World) -> None:
    """Row 11: eight at head while somebody has the lock for all that time; none waits, none writes."""
    world.history(1)
    assert world.inv().code == 0
    seen = "SELECT xmin::text, ctid::text FROM alembic_version_billing"
    before = query(world.dsn, seen)
    with hold_the_lock(world.dsn):
        runs = [world.start() for _ in range(8)]
        answers = [run.end(60) for run in runs]
    assert [answer.code for answer in answers] == [0] * 8, [answer.err for answer in answers]
    assert not [answer.err for answer in answers if WAITING in answer.err]
    assert all("nothing to do" in answer.out for answer in answers)
    assert query(world.dsn, seen) == before
    nothing_left(world.admin)

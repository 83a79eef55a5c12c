"""A command that is interrupted, wherever it waits, closes its connections and says what is true of its database."""

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.health.doctor import examine
from service_migrations.interruption import abandon, unfinished
from service_migrations.postgres import Server
from service_migrations.service import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.tasks.support.signals import Stopped
from service_migrations.tasks.support.task import run
from tests.support.database import query, run_script, wait
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo

EMPTY = ["DROP OWNED BY CURRENT_USER CASCADE"]  # on PostgreSQL 14 the schema public is another role's
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


@dataclass
class Interrupted:
    """Interrupt this process as soon as a coroutine waits for the ``at``-th time."""

    at: int
    waits: int = 0

    @property
    def was_reached(self) -> bool:
        return self.waits >= self.at

    @coroutine
    def __call__(self, awaited: Coroutine[Any, Any, object]) -> Generator[Any, Any, None]:
        step: Callable[[Any], Any] = awaited.send
        value: Any = None
        while True:
            try:
                waited_for = step(value)
            except StopIteration:
                return
            self.waits += 1
            if self.waits == self.at:
                signal.raise_signal(signal.SIGINT)
            try:
                step, value = awaited.send, (yield waited_for)
            except BaseException as error:  # noqa: BLE001 - it is passed on
                step, value = awaited.throw, error


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("from_engine", [False, True], ids=["own", "engine"])
def test_it_may_be_anywhere(
    monorepo: Monorepo,
    database: Callable[..., Dsn],
    caplog: pytest.LogCaptureFixture,
    driver: str,
    *,
    from_engine: bool,
) -> None:
    choose_driver(monorepo, driver)
    dsn = database()
    (host, port), *_ = dsn.hosts
    url = URL.create(f"postgresql+{driver}", dsn.user, dsn.password, host, port, dsn.database)
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.table_revision("billing", "a2", "a1", "second")
    service = monorepo.find("billing")

    async def change(interrupted: Interrupted) -> None:
        if not from_engine:
            await interrupted(service_migrations.upgrade(service))
            return
        engine = create_async_engine(url)
        try:
            await interrupted(service_migrations.upgrade(service, engine=engine))
        finally:
            await engine.dispose()

    waits = interrupt_each(change, lambda: run_script(dsn, EMPTY), dsn, caplog, step=5 if from_engine else 2)
    assert waits > 20, "it waits for the server"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_it_may_be_while_a_second_connection_ends(
    monorepo: Monorepo, database: Callable[..., Dsn], caplog: pytest.LogCaptureFixture, driver: str
) -> None:
    """A revision that takes longer than a moment is watched over one, whose end is waited for."""
    choose_driver(monorepo, driver)
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("SELECT pg_sleep(0.3)")')
    service = monorepo.find("billing")

    async def change(interrupted: Interrupted) -> None:
        await interrupted(service_migrations.upgrade(service))

    whole = Interrupted(1000)
    run_script(dsn, EMPTY)
    interrupt(change, whole, dsn, caplog)
    for at in range(whole.waits, whole.waits - 10, -1):
        run_script(dsn, EMPTY)
        interrupt(change, Interrupted(at), dsn, caplog)


COMMANDS: dict[str, Callable[[Service], Coroutine[Any, Any, object]]] = {
    "check": service_migrations.check,
    "doctor": examine,
    "downgrade": lambda service: service_migrations.downgrade(service, "base"),
    "drift": service_migrations.drift,
    "revision": lambda service: service_migrations.revision(service, "more"),
    "stamp": lambda service: service_migrations.stamp(service, "base"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_may_be_in_another_command(
    monorepo: Monorepo, database: Callable[..., Dsn], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    choose_driver(monorepo, "psycopg" if name in ("check", "downgrade", "revision") else "asyncpg")
    dsn = database(creates=True)
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    service = monorepo.find("billing")

    async def change(interrupted: Interrupted) -> None:
        await interrupted(COMMANDS[name](service))

    def prepare() -> None:
        run_script(dsn, EMPTY)
        run(service_migrations.upgrade(service))

    assert interrupt_each(change, prepare, dsn, caplog, step=6) > 10, "it waits for the server"


def choose_driver(monorepo: Monorepo, driver: str) -> None:
    if driver == "psycopg":
        table = '[tool.service-migrations.service.billing]\ndriver = "psycopg"\n\n'
        pyproject = monorepo.root / "pyproject.toml"
        pyproject.write_text(table + pyproject.read_text(encoding="utf-8"), encoding="utf-8")


def interrupt_each(
    change: Callable[[Interrupted], Coroutine[Any, Any, None]],
    prepare: Callable[[], None],
    dsn: Dsn,
    caplog: pytest.LogCaptureFixture,
    *,
    step: int,
) -> int:
    """Interrupt a command at its first wait and at each *step*-th after that, and return how often it waits."""
    for at in range(1, 1000, step):  # each takes 0.2 s
        prepare()
        interrupted = Interrupted(at)
        interrupt(change, interrupted, dsn, caplog)
        if not interrupted.was_reached:
            return interrupted.waits
    raise AssertionError("it never ends")


def interrupt(
    change: Callable[[Interrupted], Coroutine[Any, Any, None]],
    interrupted: Interrupted,
    dsn: Dsn,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Run a command with an interruption, which is never passed over, and leaves no session."""
    caplog.clear()
    was_stopped = False
    with caplog.at_level(logging.WARNING):
        try:
            run(change(interrupted))
        except Stopped:
            was_stopped = True
    assert was_stopped == interrupted.was_reached, interrupted
    gc.collect()
    said = [record for record in caplog.records if record.getMessage().partition(" ")[0] != "billing:"]
    assert not said, (interrupted, caplog.text)
    until(lambda: query(dsn, SESSIONS, dsn.database)[0][0] == 0, f"no session is left after {interrupted}")


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_state_is_told_also_where_the_run_is_stopped_again_while_it_is_read(
    monorepo: Monorepo, database: Callable[..., Dsn], caplog: pytest.LogCaptureFixture, driver: str
) -> None:
    """A revision that doesn't end by itself is stopped once more after two seconds: on a busy machine, it has ended."""
    choose_driver(monorepo, driver)
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("SELECT pg_sleep(60)")')
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'SELECT pg_sleep%'"

    async def stop_again_and_again() -> None:
        running = asyncio.ensure_future(service_migrations.upgrade(monorepo.find("billing")))
        await asyncio.to_thread(until, lambda: query(dsn, sleeping, dsn.database)[0][0], "the revision runs")
        while not running.done():
            running.cancel()
            await asyncio.sleep(0.001)
        assert running.cancelled()

    with caplog.at_level(logging.WARNING):
        asyncio.run(stop_again_and_again())
    assert f"billing: stopped. {dsn.target} is at base. What ran after that was rolled back." in caplog.text


PAUSED = """
from pathlib import Path
import time
while Path("closed").exists():
    Path("begun").touch()
    time.sleep(0.05)
"""
# wherever a signal finds it behind its first touch(), it is inside of the try
DEAF = """
from pathlib import Path
import time
while True:
    try:
        while Path("closed").exists():
            Path("begun").touch()
            time.sleep(0.05)
        break
    except BaseException:
        pass
"""


@pytest.mark.parametrize("is_deaf", [False, True], ids=["once", "twice"])
def test_of_a_replay_only_the_scratch_database_is_named(
    monorepo: Monorepo, database: Callable[..., Dsn], server: Server, *, is_deaf: bool
) -> None:
    """The state of the service's own database is known: nothing was changed in it."""
    dsn = database()
    query(server.admin, f'ALTER ROLE "{dsn.user}" CREATEDB')
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r1", None)
    monorepo.revision("billing", "r2", "r1", DEAF if is_deaf else PAUSED)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    (monorepo.root / "closed").touch()
    running = monorepo.start("db.drift", "--service", "billing")
    until((monorepo.root / "begun").exists, "the replay has begun")
    os.kill(running.child.pid, signal.SIGTERM)
    if is_deaf:
        time.sleep(0.5)
        os.kill(running.child.pid, signal.SIGTERM)
    assert running.child.wait(30) == 143
    said = running.err.read()
    running.out.close()
    running.err.close()
    owned = "SELECT datname FROM pg_database WHERE datdba = to_regrole($1) AND datname <> $2"
    left = [row[0] for row in query(server.admin, owned, f'"{dsn.user}"', dsn.database)]
    if is_deaf:
        assert said == f"Ended at once by SIGTERM: the scratch database {left[0]} is left, which a later run drops.\n"
        until(lambda: not query(dsn, SESSIONS, left[0])[0][0], "no session is left")
        query(server.admin, f'DROP DATABASE "{left[0]}" WITH (FORCE)')
    else:
        assert (said, left) == ("Stopped by SIGTERM.\n", [])


def test_at_an_end_at_once_what_is_unfinished_is_named_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    with unfinished("the first"), unfinished(remove=folder.rmdir):
        with unfinished("the second"):
            pass
        with unfinished("the third"), unfinished("the first"):
            assert abandon() == "the first. the third"
    assert not folder.exists()
    assert abandon() == ""

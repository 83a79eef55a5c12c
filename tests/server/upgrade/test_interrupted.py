"""A command that is interrupted, wherever it waits, closes its connections and says nothing of other libraries."""

import gc
import logging
import signal
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from types import coroutine
from typing import Any

import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.settings.dsn import Dsn
from service_migrations.tasks.signals import Stopped
from service_migrations.tasks.task import run
from tests.support.database import query, run_script
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo

EMPTY = ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"]
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


@dataclass
class Interrupted:
    """Interrupt this process as soon as a coroutine waits for the ``at``-th time."""

    at: int
    was_reached: bool = False

    @coroutine
    def __call__(self, awaited: Coroutine[Any, Any, object]) -> Generator[Any, Any, None]:
        step: Callable[[Any], Any] = awaited.send
        value: Any = None
        waits = 0
        while True:
            try:
                waited_for = step(value)
            except StopIteration:
                return
            waits += 1
            if waits == self.at:
                self.was_reached = True
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
    if driver == "psycopg":
        table = '[tool.service-migrations.service.billing]\ndriver = "psycopg"\n\n'
        pyproject = monorepo.root / "pyproject.toml"
        pyproject.write_text(table + pyproject.read_text(encoding="utf-8"), encoding="utf-8")
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

    for at in range(1, 1000, 5 if from_engine else 2):  # each takes 0.2 s
        run_script(dsn, EMPTY)
        caplog.clear()
        interrupted = Interrupted(at)
        with caplog.at_level(logging.WARNING):
            try:
                run(change(interrupted))
            except Stopped:
                assert interrupted.was_reached
        gc.collect()
        said = [record for record in caplog.records if record.getMessage().partition(" ")[0] != "billing:"]
        assert not said, (at, caplog.text)
        until(lambda: query(dsn, SESSIONS, dsn.database)[0][0] == 0, f"no session is left after {at}")
        if not interrupted.was_reached:
            break
    assert not interrupted.was_reached
    assert at > 20, "it waits for the server"

"""Sessions of somebody else's, which are in the way of a migration."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import asyncpg

from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.deadlines import DEADLINE


class Session:
    """A session of somebody else's. Its statements run in a thread of its own, so that one of them may block."""

    def __init__(self, dsn: Dsn, **settings: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._runner = asyncio.Runner()
        connecting = self._thread.submit(
            self._runner.run, asyncpg.connect(**dsn.connect_args(), server_settings=settings)
        )
        self._connection: asyncpg.Connection[asyncpg.Record] = connecting.result(DEADLINE)
        self.pid = self._connection.get_server_pid()

    def start(self, sql: str) -> "Future[Any]":
        """Run a statement, without waiting for it."""
        return self._thread.submit(lambda: self._runner.run(self._connection.fetch(sql)))

    def run(self, sql: str) -> list[Any]:
        """Run a statement, and return its rows."""
        return list(self.start(sql).result(DEADLINE))

    def close(self) -> None:
        def end() -> None:
            self._connection.terminate()
            self._runner.close()

        self._thread.submit(end).result(DEADLINE)
        self._thread.shutdown()


@contextmanager
def hold(dsn: Dsn, *statements: str, **settings: str) -> Iterator[Session]:
    """Keep a transaction open, in which these statements have run, until the test ends it or the block ends."""
    session = Session(dsn, **settings)
    try:
        session.run("BEGIN")
        for statement in statements:
            session.run(statement)
        yield session
    finally:
        session.close()


def hold_the_lock(dsn: Dsn, **settings: str) -> Any:
    """Hold the migration lock for as long as the block lasts."""
    return hold(dsn, f"SELECT pg_advisory_lock({LOCK_KEY})", **settings)


class Reader:
    """Somebody who reads a table all the time, and remembers the longest wait."""

    def __init__(self, dsn: Dsn, table: str) -> None:
        self._session = Session(dsn)
        self._ended = threading.Event()
        self._table = table
        self.longest = 0.0
        self.reads = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            self._session.run(f"SELECT count(*) FROM {self._table}")  # noqa: S608 - a constant of the test
            self.longest = max(self.longest, time.monotonic() - started)
            self.reads += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(DEADLINE)
        self._session.close()

"""The watcher: a second connection that sees who is in the way of a migration, and whether its server is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.connector import Connector
from service_migrations.errors import MigrationError

__all__ = ["Blockers", "watched"]

_LOOK = 0.1
"""Seconds between two looks at who is in the way."""
_SILENCE = 3
"""How many times the connect timeout nobody may answer until the server counts as lost."""

_QUERY_CHARACTERS = 80

_BLOCKERS = text(
    """
    SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = :pid), blocker.*
    FROM (VALUES (1)) AS one (row) LEFT JOIN (
        SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no application_name'), a.usename, a.state,
               extract(epoch FROM clock_timestamp() - a.xact_start),
               l.mode, l.relation::regclass::text, a.query
        FROM unnest(pg_blocking_pids(:pid)) AS b (pid)
        JOIN pg_stat_activity a USING (pid)
        LEFT JOIN pg_locks w ON w.pid = :pid AND NOT w.granted
        LEFT JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.relation = w.relation
        ORDER BY a.xact_start
        LIMIT 3
    ) AS blocker ON true
    """
)
"""Whether the process lives, and who is in its way: one row at least."""


@dataclass(slots=True)
class Blockers:
    """Who was last seen in the way of a connection, and how often the server has answered.

    ``busy`` is told after each revision: what goes on is in nobody's way for long, and its server lives.
    """

    seen: list[str] = field(default_factory=list)
    answers: int = field(default=0)
    steps: int = field(default=0)

    def busy(self, **_: object) -> None:
        """Note that the work goes on (Alembic's ``on_version_apply``)."""
        self.steps += 1
        self.answers += 1

    def __str__(self) -> str:
        return f" Blocked by {'; '.join(self.seen)}." if self.seen else ""


@asynccontextmanager
async def watched(connection: AsyncConnection, pid: int, connector: Connector) -> AsyncIterator[Blockers]:
    """Look, over a second connection, at who blocks the migrating one while the block runs, and whether it lives.

    Afterwards it would be too late to see a blocker: a statement that has timed out waits for nobody. And a client
    whose server has gone without a word, or whose packets get lost, would wait for ever: its connection is then
    ended on this side. The second connection is made only when a revision takes long enough to be in somebody's way.

    Args:
        connection: the migrating one.
        pid: its server process.
        connector: makes the connections to the database.

    """
    blockers = Blockers()
    watchers = [asyncio.create_task(_watch(connection, pid, connector, blockers))]
    if not connector.has_callers_engine:  # a pool of the caller's may be what lets us wait: its silence proves nothing
        watchers.append(asyncio.create_task(_listen(connection, connector, blockers)))
    try:
        yield blockers
    finally:
        for watcher in watchers:
            watcher.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await watcher


async def _watch(connection: AsyncConnection, pid: int, connector: Connector, blockers: Blockers) -> None:
    """Look again and again, over a new connection where the last one has failed, until the process has ended."""
    steps = -1
    while steps != blockers.steps:
        steps = blockers.steps
        await asyncio.sleep(_LOOK)
    while True:
        try:
            async with connector.at_once().connect() as second:
                await _look(second, pid, connector.limits.connect_timeout, blockers)
            break
        except (MigrationError, OSError) as error:
            if not isinstance(error if isinstance(error, OSError) else error.__context__, TimeoutError):
                blockers.answers += 1  # a refusal is an answer
                await asyncio.sleep(1)
    _end(connection)


async def _look(second: AsyncConnection, pid: int, patience: float, blockers: Blockers) -> None:
    # each look is for itself: the server must not keep what it saw in the first one
    await second.execution_options(isolation_level="AUTOCOMMIT")
    missing, loop = 0, asyncio.get_running_loop()
    while missing < 2:  # noqa: PLR2004 - the news of its end may be on the way
        # not by cancelling: SQLAlchemy would take its leave of the silent server, and be cancelled again with the watch
        silent = loop.call_later(patience, _end, second)
        try:
            rows = (await second.execute(_BLOCKERS, {"pid": pid})).all()
        except SQLAlchemyError as error:
            if loop.time() >= silent.when():
                raise TimeoutError from error
            raise
        finally:
            silent.cancel()
        blockers.answers += 1
        missing = 0 if rows[0][0] else missing + 1
        if rows[0][1] is not None:
            blockers.seen = [_line(*row[1:]) for row in rows]
        await asyncio.sleep(_LOOK)


async def _listen(connection: AsyncConnection, connector: Connector, blockers: Blockers) -> None:
    """End the migrating connection when nothing has answered for too long.

    The time is counted in turns of the event loop: in a revision that computes there is none to hear an answer in.
    """
    heard, silent = 0, 0.0
    while silent < _SILENCE * connector.limits.connect_timeout:
        await asyncio.sleep(_LOOK)
        silent = silent + _LOOK if heard == blockers.answers else 0.0
        heard = blockers.answers
    _end(connection)


def _end(connection: AsyncConnection) -> None:
    """End a connection on this side alone: what waits for its server then fails, and a farewell would wait too."""
    with suppress(Exception):
        pooled: Any = connection.sync_connection and connection.sync_connection.connection
        pooled.driver_connection.terminate()


def _line(
    pid: int, application: str, user: str, state: str, age: float, mode: str | None, table: str | None, query: str
) -> str:
    lock = f", {mode} on {table}" if mode else ""
    text_of = " ".join((query or "").split())[:_QUERY_CHARACTERS]
    opened = f"transaction open for {float(age or 0):.0f} s"
    return f"pid {pid} ({application}, user {user}, {state}, {opened}{lock}: {text_of})"

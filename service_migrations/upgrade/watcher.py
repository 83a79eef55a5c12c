"""The watcher: a second connection that finds the sessions that block a migration, and a server that is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import INFO, SHOWN, SearchPath
from service_migrations.connection.connector import Connector
from service_migrations.connection.drivers import driver_of
from service_migrations.errors import MigrationError
from service_migrations.interruption import cancel_and_wait

__all__ = ["Blockers", "watched"]

_INTERVAL = 0.1
"""Seconds between two queries for blocking sessions."""
_PREPARING = 3
"""How many intervals may pass before the first revision: until then hardly anything waits for a lock, and over a
network some messages take longer than one."""
_SILENT_TIMEOUTS = 3
"""How many connect timeouts may pass without an answer until the server counts as lost."""

_QUERY_CHARACTERS = 80
_HIDDEN = "<insufficient privilege>"
"""What the server shows of the query of another role's session."""

_BLOCKERS = text(
    f"""
    SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = :pid), blocker.pid, blocker.application, blocker.usename,
           blocker.state, blocker.age, blocker.mode, blocker.relation::text, blocker.query
    FROM {SHOWN} LEFT JOIN (
        SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no application_name') AS application,
               a.usename, a.state, extract(epoch FROM clock_timestamp() - a.xact_start) AS age,
               l.mode, l.relation::regclass, a.query
        FROM unnest(pg_blocking_pids(:pid)) AS b (pid)
        JOIN pg_stat_activity a USING (pid)
        LEFT JOIN pg_locks w ON w.pid = :pid AND NOT w.granted
        LEFT JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.relation = w.relation
        ORDER BY a.xact_start
        LIMIT 3
    ) AS blocker ON shown.path IS NOT NULL
    """  # noqa: S608 - a constant
)
"""Whether the server process exists, and the sessions that block it: at least one row."""


@dataclass(slots=True)
class Blockers:
    """The sessions that block a connection, and the signs of life of its server.

    Attributes:
        descriptions: the sessions that were blocking at the last query that found any.
        answers: how often the server has answered.
        steps: how many revisions have begun, and how many have been run.

    """

    descriptions: list[str] = field(default_factory=list)
    answers: int = field(default=0)
    steps: int = field(default=0)

    def mark_progress(self, **_: object) -> None:
        """Note that a revision has begun, or has been run (Alembic's ``on_version_apply``)."""
        self.steps += 1
        self.answers += 1

    def __str__(self) -> str:
        return f" Blocked by {'; '.join(self.descriptions)}." if self.descriptions else ""


@asynccontextmanager
async def watched(connection: AsyncConnection, pid: int, connector: Connector) -> AsyncIterator[Blockers]:
    """Watch the migrating connection over a second one while the block runs.

    The sessions that block it have to be read while it waits: after a timeout, it waits for no session any more. And
    a client whose server is lost, or whose packets are lost, would wait for ever: its connection is then closed on
    this side. The second connection is made only when a revision, or what comes before the first one, takes longer
    than a moment.

    Args:
        connection: the migrating one.
        pid: its server process.
        connector: makes the connections to the database.

    """
    blockers = Blockers()
    watchers = [asyncio.create_task(_watch(connection, pid, connector, blockers))]
    if not connector.has_callers_engine:  # a pool of the caller's may be full: then a missing answer proves nothing
        watchers.append(asyncio.create_task(_close_when_silent(connection, connector, blockers)))
    try:
        yield blockers
    finally:
        await cancel_and_wait(*watchers)


async def _watch(connection: AsyncConnection, pid: int, connector: Connector, blockers: Blockers) -> None:
    """Read the blocking sessions until the server process has ended, over a new connection after each failure."""
    steps, remaining = -1, _PREPARING
    while steps != blockers.steps or (not steps and remaining):
        steps, remaining = blockers.steps, remaining - 1
        await asyncio.sleep(_INTERVAL)
    while True:
        try:
            async with connector.at_once().connect() as second:
                await _read_blockers(second, pid, connector.limits.connect_timeout, blockers)
            break
        except (MigrationError, SQLAlchemyError, OSError) as error:
            if not isinstance(error if isinstance(error, OSError) else error.__context__, TimeoutError):
                blockers.answers += 1  # a refusal is an answer
                await asyncio.sleep(1)
    _close(connection)


async def _read_blockers(second: AsyncConnection, pid: int, patience: float, blockers: Blockers) -> None:
    """Read the blocking sessions again and again, until the server process has ended.

    Raises:
        TimeoutError: the server didn't answer within *patience* seconds.

    """
    # in autocommit each query is new: in a transaction the server keeps its first answer
    await second.execution_options(isolation_level="AUTOCOMMIT")
    path: SearchPath = second.info[INFO]
    values = {"pid": pid, "search_path": path.text}
    missing, loop = 0, asyncio.get_running_loop()
    while missing < 2:  # noqa: PLR2004 - the migrating connection may be about to notice the end itself
        # not by cancelling: SQLAlchemy would then send the server a message, and wait for that too
        timer = loop.call_later(patience, _close, second)
        try:
            rows = (await second.execute(_BLOCKERS, values)).all()
        except SQLAlchemyError as error:
            if loop.time() >= timer.when():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        blockers.answers += 1
        missing = 0 if rows[0][0] else missing + 1
        if rows[0][1] is not None:
            blockers.descriptions = [_describe(*row[1:]) for row in rows]
        await asyncio.sleep(_INTERVAL)


async def _close_when_silent(connection: AsyncConnection, connector: Connector, blockers: Blockers) -> None:
    """Close the migrating connection when the server hasn't answered for too long.

    The time is counted in turns of the event loop: while a revision computes, no answer can be received.
    """
    answers, seconds = 0, 0.0
    while seconds < _SILENT_TIMEOUTS * connector.limits.connect_timeout:
        await asyncio.sleep(_INTERVAL)
        seconds = seconds + _INTERVAL if answers == blockers.answers else 0.0
        answers = blockers.answers
    _close(connection)


def _close(connection: AsyncConnection) -> None:
    """Close a connection without a message to the server, so that what waits for the server fails."""
    with suppress(Exception):
        if connection.sync_connection is not None:
            driver_of(connection.sync_connection).terminate()


def _describe(
    pid: int,
    application: str,
    user: str,
    state: str | None,
    age: float | None,
    mode: str | None,
    table: str | None,
    query: str | None,
) -> str:
    """Describe a session; of one of another role, the server may show neither state and age nor the query."""
    parts = [application, f"user {user}"]
    parts += [state] if state else []
    parts += [f"transaction open for {float(age):.0f} s"] if age is not None else []
    parts += [f"{mode} on {table}"] if mode else []
    start = f": {' '.join(query.split())[:_QUERY_CHARACTERS]}" if query and query != _HIDDEN else ""
    return f"pid {pid} ({', '.join(parts)}{start})"

"""Contention for tables: how often to try, how long to wait each time, and who is in the way.

A statement that waits for a lock lets every later query queue behind it. So each wait is short, and is followed by
a pause in which the queue drains.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Blockers", "Try", "ladder", "watched"]

_STEPS: tuple[tuple[float, float | None], ...] = (
    (0.5, 0.5),
    (0.5, 1.0),
    (1.0, 2.0),
    (1.0, 4.0),
    (2.0, 8.0),
    (2.0, 15.0),
    (3.0, 30.0),
    (5.0, None),
)
"""Seconds to wait for a lock, and to pause afterwards: 15 s of blocking in pieces of at most 5 s, 75 s in all."""

_LONGEST = 5.0
_JITTER = 0.25
_LOOK = 0.1
"""Seconds between two looks at who is in the way."""

_QUERY_CHARACTERS = 80

_BLOCKERS = text(
    """
    SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no application_name'), a.usename, a.state,
           extract(epoch FROM clock_timestamp() - a.xact_start),
           l.mode, l.relation::regclass::text, a.query
    FROM unnest(pg_blocking_pids(:pid)) AS b (pid)
    JOIN pg_stat_activity a USING (pid)
    LEFT JOIN pg_locks w ON w.pid = :pid AND NOT w.granted
    LEFT JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.relation = w.relation
    ORDER BY a.xact_start
    LIMIT 3
    """
)


@dataclass(frozen=True, slots=True)
class Try:
    """One try: how long its statements may wait for a lock, and the pause after it; None after the last."""

    lock_timeout: float
    pause: float | None

    def jittered(self) -> float:
        """Return the pause, up to a quarter longer or shorter: two that block each other must not meet again."""
        return (self.pause or 0.0) * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


def ladder(lock_timeout: float) -> tuple[Try, ...]:
    """Return the tries for a revision, scaled so that the longest wait is *lock_timeout* seconds.

    There is never a last try without a timeout: that one would stop the site.
    """
    scale = lock_timeout / _LONGEST
    return tuple(Try(wait * scale, None if pause is None else pause * scale) for wait, pause in _STEPS)


@dataclass(slots=True)
class Blockers:
    """Who was last seen in the way of a connection."""

    seen: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f" Blocked by {'; '.join(self.seen)}." if self.seen else ""


@asynccontextmanager
async def watched(
    pid: int, connect: Callable[[], AbstractAsyncContextManager[AsyncConnection]]
) -> AsyncIterator[Blockers]:
    """Look, over a second connection, at who blocks a server process while the block runs.

    Afterwards it would be too late: a statement that has timed out waits for nobody. The second connection is made
    only when the work takes long enough to be in somebody's way, or somebody in its.

    Args:
        pid: the server process of the migrating connection.
        connect: makes the second connection.

    """
    blockers = Blockers()
    watcher = asyncio.create_task(_watch(pid, connect, blockers))
    try:
        yield blockers
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await watcher


async def _watch(
    pid: int, connect: Callable[[], AbstractAsyncContextManager[AsyncConnection]], blockers: Blockers
) -> None:
    await asyncio.sleep(_LOOK)
    async with connect() as connection:
        while True:
            rows = (await connection.execute(_BLOCKERS, {"pid": pid})).all()
            await connection.rollback()
            if rows:
                blockers.seen = [_line(*row) for row in rows]
            await asyncio.sleep(_LOOK)


def _line(
    pid: int, application: str, user: str, state: str, age: float, mode: str | None, table: str | None, query: str
) -> str:
    lock = f", {mode} on {table}" if mode else ""
    text_of = " ".join((query or "").split())[:_QUERY_CHARACTERS]
    opened = f"transaction open for {float(age or 0):.0f} s"
    return f"pid {pid} ({application}, user {user}, {state}, {opened}{lock}: {text_of})"

"""The process lock and the migration lock of a database: Alembic runs once at a time."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.engine import APPLICATION
from service_migrations.connection.rows import rows
from service_migrations.errors import LockNotObtainedError, ResultError

__all__ = ["HOLDS_LOCK", "LOCK_KEY", "Runner", "migration_lock", "process_lock", "runners"]

log = logging.getLogger(__name__)

LOCK_KEY = 7_020_658_014_912_148_577
"""The key of the migration lock, the same for every service: services that share a database wait for each other.

``SELECT pg_try_advisory_lock(7020658014912148577)`` keeps migrations out, by hand or from another tool.
"""

_WAITING = LOCK_KEY + 1
"""The key of a shared lock that a session holds while it waits. It polls, so it is in no queue of the server, and
``runners`` couldn't find it otherwise: a session of another role hides its statements."""

HOLDS_LOCK = f"""EXISTS (
    SELECT FROM pg_catalog.pg_locks l
    WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 1
      AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'
      AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
      AND l.classid OPERATOR(pg_catalog.=) pg_catalog.oid '{LOCK_KEY >> 32}'
      AND l.objid OPERATOR(pg_catalog.=) pg_catalog.oid '{LOCK_KEY & 0xFFFFFFFF}'
)"""
"""SQL: whether the session holds the migration lock."""

_POLL = 0.1
"""Seconds between two attempts to take the lock. A session that waits in ``pg_advisory_lock`` holds a snapshot, for
which the holder's CREATE INDEX CONCURRENTLY waits for ever; one that polls outside a transaction blocks nobody."""

_PROCESS_LOCK = threading.Lock()

_RUNNERS = text(
    """
    WITH advisory AS (
        SELECT pid, (classid::bigint << 32) | objid::bigint AS key
        FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND d.datname = current_database()
    )
    SELECT a.pid, a.usename, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local'),
           extract(epoch FROM clock_timestamp() - a.backend_start), l.pid IS NOT NULL, w.pid IS NOT NULL
    FROM pg_stat_activity a
    LEFT JOIN advisory l ON l.pid = a.pid AND l.key = :lock
    LEFT JOIN advisory w ON w.pid = a.pid AND w.key = :waiting AND l.pid IS NULL
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
      AND (l.pid IS NOT NULL OR w.pid IS NOT NULL OR a.application_name LIKE :application)
    ORDER BY l.pid IS NULL, w.pid IS NULL, a.backend_start
    """
)


@dataclass(frozen=True, slots=True)
class Runner:
    """A session of a migration: it may hold the migration lock or wait for it. ``seconds`` is its age."""

    pid: int
    user: str
    application_name: str
    host: str
    seconds: int
    holds: bool
    waits: bool

    def __str__(self) -> str:
        application = self.application_name or "no application_name"
        return f"pid {self.pid}, user {self.user}, {application}, host {self.host}, {self.seconds} s"


async def runners(connection: AsyncConnection) -> list[Runner]:
    """Return the session with the migration lock, those that wait for it, and other migrations; the oldest first."""
    values = {"lock": LOCK_KEY, "waiting": _WAITING, "application": f"{APPLICATION} %"}
    rows = (await connection.execute(_RUNNERS, values)).all()
    await connection.rollback()
    return [Runner(pid, user, name, host, int(age or 0), *state) for pid, user, name, host, age, *state in rows]


@asynccontextmanager
async def process_lock() -> AsyncIterator[None]:
    """Hold the lock that lets Alembic run once at a time in this process, across threads and event loops.

    ``alembic.context`` and ``alembic.op`` are module globals: of two upgrades at once, one wrote its tables into
    the other's database. An asyncio.Lock works in one loop only, and a blocking acquire would stop the loop that
    the holder needs, so this polls.
    """
    while not _PROCESS_LOCK.acquire(blocking=False):  # noqa: ASYNC110 - an Event works in one loop only
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        _PROCESS_LOCK.release()


@asynccontextmanager
async def migration_lock(connection: AsyncConnection, service: str, wait: float) -> AsyncIterator[None]:
    """Hold the migration lock of the database, on the migrating connection itself.

    It is released at the end, and by the server when the connection ends, for whatever reason.

    Args:
        connection: with no transaction open.
        service: for the messages.
        wait: seconds to wait for the lock; 0 tries once.

    Raises:
        LockNotObtainedError: another run still held it after that time; the message names the session.
        ResultError: it was no longer held at the end, so another run may have changed the database.

    """
    deadline = time.monotonic() + wait
    is_waiting = False
    while not await _call(connection, "pg_try_advisory_lock"):
        if not is_waiting:
            log.warning("%s: waiting for the migration lock (held by %s)", service, await _holder(connection))
            await _call(connection, "pg_try_advisory_lock_shared", _WAITING)
            is_waiting = True
        if time.monotonic() >= deadline:
            raise LockNotObtainedError(
                f"the migration lock was not free within {wait:g} s (held by {await _holder(connection)}).",
                service=service,
                hint="Run the command again when that is done.",
            )
        await asyncio.sleep(_POLL)
    if is_waiting:
        await _call(connection, "pg_advisory_unlock_shared", _WAITING)
    failed = True
    try:
        yield
        failed = False
    finally:
        if not failed:
            await connection.rollback()
            if not await _call(connection, "pg_advisory_unlock"):
                raise ResultError(
                    "the migration lock was lost during the run.",
                    service=service,
                    hint="Look at the database before you run anything else.",
                )
        else:
            # the connection is closed next, which releases the lock also where this fails
            with suppress(SQLAlchemyError, OSError):
                await connection.rollback()
                await _call(connection, "pg_advisory_unlock")


async def _call(connection: AsyncConnection, function: str, key: int = LOCK_KEY) -> bool:
    (row,) = await rows(connection, f"SELECT {function}({key}) AS is_done")
    await connection.commit()
    return bool(row.is_done)


async def _holder(connection: AsyncConnection) -> str:
    return next((str(runner) for runner in await runners(connection) if runner.holds), "nobody any more")

"""One connection for a migration: the engine, the gate of this process, the lock of the database, the timeouts."""

import asyncio
import getpass
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from migrations.discovery import Service
from migrations.dsn import Dsn
from migrations.errors import ConfigurationError, LockNotObtainedError, ResultError
from migrations.settings import Limits, Settings
from migrations.sqlstate import connect_failure

__all__ = ["LOCK_KEY", "adopt", "connect", "engine", "gate", "lock"]

log = logging.getLogger(__name__)

LOCK_KEY = 7_020_658_014_912_148_577
"""The advisory lock of migrations, the same for every service: it also serialises those that share a database.

``SELECT pg_try_advisory_lock(7020658014912148577)`` keeps migrations out, by hand or from another tool.
"""

_POLL = 0.1
"""Seconds between two tries for the lock. A waiter that blocks in ``pg_advisory_lock`` holds a snapshot, for which
the holder's CREATE INDEX CONCURRENTLY waits for ever; one that polls outside a transaction is in nobody's way."""

_GATE = threading.Lock()
_TRANSACTION_TIMEOUT_SINCE = 17

_HOLDER = text(
    """
    SELECT l.pid, a.usename, a.application_name, a.client_addr, extract(epoch FROM now() - a.backend_start)
    FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid::bigint = :high AND l.objid::bigint = :low
    """
)


@asynccontextmanager
async def gate() -> AsyncIterator[None]:
    """Let one Alembic at a time run in this process, across threads and event loops.

    ``alembic.context`` and ``alembic.op`` are module globals: of two upgrades at once, one wrote its tables into
    the other's database. An asyncio.Lock serves one loop only, and a blocking acquire would stop the loop that
    the holder needs: hence the polling.
    """
    while not _GATE.acquire(blocking=False):  # noqa: ASYNC110 - an Event serves one loop only
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        _GATE.release()


def engine(settings: Settings) -> AsyncEngine:
    """Return an engine for one service: no pool, and its session settings as startup parameters.

    Startup parameters beat the settings of the role and survive RESET; a SET would open a transaction.
    """
    arguments = settings.dsn.connect_args()
    timeout = float(settings.dsn.parameters.get("connect_timeout", 0)) or settings.limits.connect_timeout
    arguments["timeout"] = timeout or None
    arguments["server_settings"] = _session_settings(settings)
    return create_async_engine(settings.dsn.url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[AsyncConnection]:
    """Connect to a service's database, and disconnect at the end.

    Raises:
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message says why.

    """
    own = engine(settings)
    try:
        try:
            connection = await own.connect()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises there is explained
            # without its cause: asyncpg's frames hold the password, and pytest prints the arguments of frames
            raise connect_failure(error, settings.service, settings.dsn) from None
        try:
            await _prepare(connection, settings)
            yield connection
        finally:
            with suppress(SQLAlchemyError, OSError):
                await connection.close()
    finally:
        await own.dispose()


@asynccontextmanager
async def adopt(caller: AsyncEngine, service: Service, limits: Limits) -> AsyncIterator[AsyncConnection]:
    """Take a connection from an engine of the caller's, whose pool gets nothing of ours back.

    The connection's session settings are changed, so it is not returned to the pool but closed.

    Raises:
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message says why.

    """
    try:
        connection = await caller.connect()
    except Exception as error:  # noqa: BLE001 - whatever a driver raises there is explained
        url = caller.url
        where = Dsn(url.username or "", url.database or "", ((url.host or "", url.port or 5432),))
        raise connect_failure(error, service, where) from None
    try:
        await connection.execution_options(isolation_level="READ COMMITTED")
        for key, value in _timeouts(limits).items():
            await connection.execute(text("SELECT set_config(:key, :value, false)"), {"key": key, "value": value})
        await connection.commit()
        await _refuse_pooler(connection, f"{service}: the engine's database")
        yield connection
    finally:
        with suppress(SQLAlchemyError, OSError):
            await connection.invalidate()
            await connection.close()


@asynccontextmanager
async def lock(connection: AsyncConnection, service: str, wait: float) -> AsyncIterator[None]:
    """Hold the database's migration lock on the migrating connection itself.

    It is released at the end, and by the server itself when the connection ends, however it ends.

    Args:
        connection: with no transaction open.
        service: for the messages.
        wait: seconds to try for it; 0 tries once.

    Raises:
        LockNotObtainedError: another run still had it after that time; the message says who.
        ResultError: it was no longer held at the end, so another run may have been at work.

    """
    deadline = time.monotonic() + wait
    told = False
    while not await _ask(connection, "pg_try_advisory_lock"):
        if not told:
            log.warning("%s: waiting for the migration lock (held by %s)", service, await _holder(connection))
            told = True
        if time.monotonic() >= deadline:
            raise LockNotObtainedError(
                f"{service}: the migration lock was not free within {wait:g} s (held by {await _holder(connection)}). "
                f"Run the command again when that is done."
            )
        await asyncio.sleep(_POLL)
    failed = True
    try:
        yield
        failed = False
    finally:
        if not failed:
            await connection.rollback()
            if not await _ask(connection, "pg_advisory_unlock"):
                raise ResultError(
                    f"{service}: the migration lock was lost on the way. Look before you run anything else."
                )
        else:
            # The connection is closed next, which releases the lock also where the connection is broken.
            with suppress(SQLAlchemyError, OSError):
                await connection.rollback()
                await _ask(connection, "pg_advisory_unlock")


async def _ask(connection: AsyncConnection, function: str) -> bool:
    answer = (await connection.execute(text(f"SELECT {function}(:key)"), {"key": LOCK_KEY})).scalar_one()
    await connection.commit()
    return bool(answer)


async def _holder(connection: AsyncConnection) -> str:
    keys = {"high": LOCK_KEY >> 32, "low": LOCK_KEY & 0xFFFFFFFF}
    row = (await connection.execute(_HOLDER, keys)).first()
    await connection.commit()
    if row is None:
        return "nobody any more"
    pid, user, application, address, seconds = row
    who = f"pid {pid}, user {user or '?'}, {application or 'no application_name'}, host {address or 'local'}"
    return f"{who}, {float(seconds or 0):.0f} s"


async def _prepare(connection: AsyncConnection, settings: Settings) -> None:
    """Make sure of what no startup parameter can tell, with no transaction open afterwards."""
    await _refuse_pooler(connection, f"{settings.service}: {settings.target}")
    version = int(await connection.scalar(text("SELECT current_setting('server_version_num')")) or 0)
    await connection.commit()
    if version // 10000 >= _TRANSACTION_TIMEOUT_SINCE:
        # a startup parameter of that name is fatal on older servers
        await connection.execute(text("SELECT set_config('transaction_timeout', '0', false)"))
        await connection.commit()


async def _refuse_pooler(connection: AsyncConnection, where: str) -> None:
    """Compare the process that the driver was told of with the one that answers: a pooler puts itself between."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    pid = await connection.scalar(text("SELECT pg_backend_pid()"))
    await connection.commit()
    if hasattr(driver, "get_server_pid") and driver.get_server_pid() != pid:
        raise ConfigurationError(
            f"{where} is behind a pooler, through which no lock of a session holds. "
            f"Name the server itself in DATABASE_DIRECT_DSN."
        )


def _timeouts(limits: Limits) -> dict[str, str]:
    return {
        "lock_timeout": f"{limits.lock_timeout * 1000:.0f}",
        "statement_timeout": f"{limits.statement_timeout * 1000:.0f}",
    }


def _session_settings(settings: Settings) -> dict[str, str]:
    user = getpass.getuser() if os.environ.get("USER") or os.environ.get("LOGNAME") else "?"
    return {
        "application_name": f"migrations {settings.service} {user}@{socket.gethostname()}"[:63],
        "search_path": f"{settings.search_path}, pg_temp",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        # the server notices within 2 s that we are gone, and stops the statement that it ran for us
        "client_connection_check_interval": "2000",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        **_timeouts(settings.limits),
        **settings.dsn.server_settings,
    }

"""One connection for a migration: the engine, and its session settings as startup parameters."""

import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from migrations.discovery import Service
from migrations.dsn import Dsn
from migrations.errors import ConfigurationError
from migrations.pooler import keeps_the_session
from migrations.settings import Limits, Settings
from migrations.sqlstate import connect_failure, sqlstate

__all__ = ["APPLICATION", "adopt", "connect", "engine"]

APPLICATION = "migrations"
"""What the ``application_name`` of every migrating connection begins with."""

_TRANSACTION_TIMEOUT_SINCE = 17
_SET = text("SELECT set_config(:key, :value, false)")
_FOREIGN_STATEMENT = ("26000", "42P05")
"""A prepared statement isn't there, or already is: another client's server connection."""
_SHARED = "it gave us the server connection of another client"


def engine(settings: Settings, *, bare: bool = False) -> AsyncEngine:
    """Return an engine for one service: no pool, and its session settings as startup parameters.

    Startup parameters beat the settings of the role and survive RESET; a SET would open a transaction.

    Args:
        settings: the service's.
        bare: without the startup parameters, of which a pooler understands few.

    """
    arguments = _arguments(settings)
    arguments["server_settings"] = {} if bare else _session_settings(settings)
    return create_async_engine(settings.dsn.url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[AsyncConnection]:
    """Connect to a service's database, and disconnect at the end.

    Raises:
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message says why.

    """
    own, connection = await _open(settings)
    try:
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
            await connection.execute(_SET, {"key": key, "value": value})
        await connection.commit()
        if await _is_pooled(connection):
            # its mode can be found out with a second connection only, which the caller's pool may not have
            raise _pooled(f"{service}: the engine's database", "over an engine of the caller's none is used")
        yield connection
    finally:
        with suppress(SQLAlchemyError, OSError):
            await connection.invalidate()
            await connection.close()


async def _prepare(connection: AsyncConnection, settings: Settings) -> None:
    """Make sure of what no startup parameter can tell, with no transaction open afterwards."""
    if await _is_pooled(connection):
        await _hold_session(connection, settings)
    version = int(await connection.scalar(text("SELECT current_setting('server_version_num')")) or 0)
    await connection.commit()
    if version // 10000 >= _TRANSACTION_TIMEOUT_SINCE:
        # a startup parameter of that name is fatal on older servers
        await connection.execute(text("SELECT set_config('transaction_timeout', '0', false)"))
        await connection.commit()


async def _open(settings: Settings) -> tuple[AsyncEngine, AsyncConnection]:
    """Connect, a second time without startup parameters where a pooler refuses those: they are set afterwards."""
    bare = False
    while True:
        own = engine(settings, bare=bare)
        try:
            return own, await own.connect()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises there is explained
            await own.dispose()
            if not bare and "unsupported startup parameter" in str(error):
                bare = True
                continue
            if sqlstate(error) in _FOREIGN_STATEMENT or "statement pooling mode" in str(error):
                raise _pooled(f"{settings.service}: {settings.target}", _SHARED) from None
            # without its cause: asyncpg's frames hold the password, and pytest prints the arguments of frames
            raise connect_failure(error, settings.service, settings.dsn) from None


async def _is_pooled(connection: AsyncConnection) -> bool:
    """Compare the process that the driver was told of with the one that answers: a pooler puts itself between."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    try:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
        await connection.commit()
    except DBAPIError as error:
        if sqlstate(error) in _FOREIGN_STATEMENT:
            return True
        raise
    return hasattr(driver, "get_server_pid") and driver.get_server_pid() != pid


async def _hold_session(connection: AsyncConnection, settings: Settings) -> None:
    """Let a pooler prove that it is in session mode, then set what of the startup parameters it swallowed.

    Nothing is set before the proof: in transaction mode it would reach the sessions of other clients.
    """
    where = f"{settings.service}: {settings.target}"
    arguments = _arguments(settings)

    async def again() -> Any:
        return await asyncpg.connect(**arguments)

    raw = await connection.get_raw_connection()
    reason = await keeps_the_session(cast("Any", raw.driver_connection), again, arguments["timeout"])
    if reason:
        raise _pooled(where, reason)
    try:
        have: dict[str, tuple[str, str]] = {}
        for key, value in _session_settings(settings).items():
            asked = await connection.scalar(_SET, {"key": key, "value": value})
            await connection.commit()
            have[key] = str(asked), str(await connection.scalar(text("SELECT current_setting(:key)"), {"key": key}))
            await connection.commit()
    except DBAPIError as error:
        raise _pooled(where, f"it passed no startup parameter on, and {error.orig}") from None
    lost = [key for key, (asked, found) in have.items() if asked != found]
    if lost:
        raise _pooled(where, f"{', '.join(lost)} did not stay set")


def _pooled(where: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where} is behind a pooler, and a lock holds only through one in session mode: {reason}. "
        f"Name the server itself in DATABASE_DIRECT_DSN."
    )


def _arguments(settings: Settings) -> dict[str, Any]:
    timeout = settings.dsn.connect_timeout or settings.limits.connect_timeout
    return {**settings.dsn.connect_args(), "timeout": timeout}


def _timeouts(limits: Limits) -> dict[str, str]:
    return {
        "lock_timeout": f"{limits.lock_timeout * 1000:.0f}",
        "statement_timeout": f"{limits.statement_timeout * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{limits.idle_timeout * 1000:.0f}",
    }


def _session_settings(settings: Settings) -> dict[str, str]:
    user = getpass.getuser() if os.environ.get("USER") or os.environ.get("LOGNAME") else "?"
    return {
        "application_name": f"{APPLICATION} {settings.service} {user}@{socket.gethostname()}"[:63],
        "search_path": f"{settings.search_path}, pg_temp",
        "idle_session_timeout": "0",
        # the server notices within 2 s that we are gone, and stops the statement that it ran for us
        "client_connection_check_interval": "2000",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        **_timeouts(settings.limits),
        **settings.dsn.server_settings,
    }

"""One connection for a migration: the engine, and its session settings as startup parameters."""

import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from migrations.discovery import Service
from migrations.dsn import Dsn
from migrations.errors import ConfigurationError
from migrations.settings import Limits, Settings
from migrations.sqlstate import connect_failure

__all__ = ["APPLICATION", "adopt", "connect", "engine"]

APPLICATION = "migrations"
"""What the ``application_name`` of every migrating connection begins with."""

_TRANSACTION_TIMEOUT_SINCE = 17


def engine(settings: Settings) -> AsyncEngine:
    """Return an engine for one service: no pool, and its session settings as startup parameters.

    Startup parameters beat the settings of the role and survive RESET; a SET would open a transaction.
    """
    arguments = settings.dsn.connect_args()
    arguments["timeout"] = settings.dsn.connect_timeout or settings.limits.connect_timeout
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

"""What is asked of a driver's connection beside SQLAlchemy, the same of asyncpg's and of psycopg's.

A connection of either is in autocommit: a transaction is begun by SQLAlchemy's adapter, or by a statement.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.ended_sessions import raised_as_lost
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service

if TYPE_CHECKING:
    import psycopg

__all__ = ["Driver", "driver_connection_of", "driver_of", "is_lost", "require_driver", "run", "run_script"]

_Result = TypeVar("_Result")


class Driver(Protocol):
    """A driver's connection.

    Attributes:
        errors: the classes of the driver's errors.

    """

    errors: tuple[type[Exception], ...]

    def pid(self) -> int | None:
        """Return the server process that the connection was made to; None where that isn't known."""

    def major_version(self) -> int:
        """Return the server's major version."""

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, by the server's last answer."""

    def is_closed(self) -> bool:
        """Whether the connection has ended, on either side."""

    def is_closed_here(self) -> bool:
        """Whether the connection was closed on this side, as far as that is known, and not by ``terminate``."""

    def terminate(self) -> None:
        """End the connection without a message to the server: what waits for an answer fails."""

    async def execute(self, script: str) -> None:
        """Execute commands, in the open transaction or in one of their own."""

    async def fetchval(self, query: str) -> Any:
        """Return the first value of a query."""

    async def listen(self, channel: str) -> None:
        """Receive the notifications of a channel."""

    async def notified(self) -> None:
        """Wait for a notification."""

    async def unlisten(self, channel: str) -> None:
        """Receive no more notifications of a channel."""


def driver_connection_of(connection: Connection) -> Any:
    """Return the driver's own connection, also where it was detached from its pool."""
    adapted: Any = connection.connection.dbapi_connection
    return adapted.driver_connection


def driver_of(connection: Connection) -> Driver:
    """Return what is asked of the driver of a connection."""
    driver_connection: Any = driver_connection_of(connection)
    return (_Psycopg if connection.dialect.driver == "psycopg" else _Asyncpg)(driver_connection)


def is_lost(connection: AsyncConnection) -> bool:
    """Whether a connection has ended, on either side."""
    sync = connection.sync_connection
    return sync is None or sync.closed or sync.invalidated or driver_of(sync).is_closed()


def run_script(connection: Connection, script: str) -> None:
    """Execute commands without SQLAlchemy, which would prepare each statement: in one message instead of several.

    Raises:
        Exception: one of ``Driver.errors``, or an OSError.

    """
    run(connection, driver_of(connection).execute(script))


def run(connection: Connection, awaitable: Awaitable[_Result]) -> _Result:
    """Wait for the driver, inside ``run_sync``."""
    pooled: Any = connection.connection
    result: _Result = pooled.run_async(lambda _: awaitable)
    return result


def require_driver(service: Service) -> None:
    """Refuse a service whose driver isn't installed.

    Raises:
        ConfigurationError: it isn't.

    """
    if service.driver == "psycopg":
        try:
            import psycopg  # noqa: F401, PLC0415 - only services with that driver need it
        except ImportError as error:
            problem = str(error).splitlines()[0]
            reason = "isn't installed" if error.name == "psycopg" else f"can't be imported ({problem})"
            raise ConfigurationError(
                f'its driver is psycopg (driver = "psycopg" in pyproject.toml), which {reason}.',
                service=service,
                hint='Install it: pip install "service-migrations[psycopg]".',
            ) from error


class _Asyncpg:
    """A connection of asyncpg's."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.errors: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)
        self._connection = connection
        self._received = asyncio.Event()

    def pid(self) -> int | None:
        return self._connection.get_server_pid()

    def major_version(self) -> int:
        return self._connection.get_server_version().major

    def is_in_transaction(self) -> bool:
        return self._connection.is_in_transaction()

    def is_closed(self) -> bool:
        return self._connection.is_closed()

    def is_closed_here(self) -> bool:
        return bool(getattr(self._connection, "is_closed_here", False))  # one of the caller's may not be ours

    def terminate(self) -> None:
        asyncpg.Connection.terminate(self._connection)

    async def execute(self, script: str) -> None:
        with raised_as_lost(self._connection):
            await self._connection.execute(script)

    async def fetchval(self, query: str) -> Any:
        with raised_as_lost(self._connection):
            return await self._connection.fetchval(query)

    async def listen(self, channel: str) -> None:
        with raised_as_lost(self._connection):
            await self._connection.add_listener(channel, self._receive)

    async def notified(self) -> None:
        await self._received.wait()

    async def unlisten(self, channel: str) -> None:
        with raised_as_lost(self._connection):
            await self._connection.remove_listener(channel, self._receive)

    def _receive(self, *_: object) -> None:
        self._received.set()


class _Psycopg:
    """A connection of psycopg's."""

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        import psycopg  # noqa: PLC0415 - only services with that driver need it

        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self._connection = connection

    def pid(self) -> int | None:
        return self._connection.info.backend_pid

    def major_version(self) -> int:
        return self._connection.info.server_version // 10000

    def is_in_transaction(self) -> bool:
        return self._connection.info.transaction_status.name in ("INTRANS", "INERROR", "ACTIVE")

    def is_closed(self) -> bool:
        return self._connection.closed

    def is_closed_here(self) -> bool:
        return self._connection.closed and not self._connection.broken

    def terminate(self) -> None:
        # closing the descriptor would leave what waits for it without an event
        with suppress(OSError, *self.errors), socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    async def execute(self, script: str) -> None:
        await self._connection.execute(script.encode())

    async def fetchval(self, query: str) -> Any:
        row = await (await self._connection.execute(query.encode())).fetchone()
        return row[0] if row else None

    async def listen(self, channel: str) -> None:
        await self.execute(f"LISTEN {channel}")

    async def notified(self) -> None:
        async for _ in self._connection.notifies(stop_after=1):
            return

    async def unlisten(self, channel: str) -> None:
        await self.execute(f"UNLISTEN {channel}")

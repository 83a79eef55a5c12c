"""Poolers: a proof that one between us and the server is in session mode.

Locks, timeouts and ``search_path`` belong to a session of the server. In session mode a pooler keeps one for us; in
transaction mode each transaction may run in another one, so that a lock protects nothing, and is still held after the
client has disconnected. A client can't read the settings of a pooler, so its mode is found by experiment, and
whatever is not proved counts as transaction mode.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service_migrations.connection.drivers import Driver, driver_of
from service_migrations.errors import ConfigurationError
from service_migrations.failures.driver_errors import sqlstate

__all__ = ["answering_pid", "is_foreign", "pooler_failure", "require_session_mode"]

_PID = "SELECT pg_catalog.pg_backend_pid()"
_FOREIGN_STATEMENT = ("26000", "42P05")
"""A prepared statement doesn't exist, or exists already: it is the server connection of another client."""


def is_foreign(error: BaseException) -> bool:
    """Whether an error means that the pooler used the server connection of another client."""
    return sqlstate(error) in _FOREIGN_STATEMENT or "statement pooling mode" in str(error)


def pooler_failure(
    prefix: str, reason: str = "it gave us the server connection of another client"
) -> ConfigurationError:
    """Return the error for a pooler that isn't in session mode."""
    return ConfigurationError(
        f"{prefix} is behind a pooler, and a lock holds only through one in session mode: {reason}.",
        hint="Name the server itself in DATABASE_DIRECT_DSN.",
    )


async def answering_pid(connection: AsyncConnection) -> int | None:
    """Return the server process that answers, which isn't the one that the driver knows where a pooler is between.

    None where the pooler used the server connection of another client.
    """
    try:
        pid = await connection.scalar(text(_PID))
        await connection.commit()
    except DBAPIError as error:
        if is_foreign(error):
            return None
        raise
    return int(pid or 0)


async def require_session_mode(connection: AsyncConnection, engine: AsyncEngine, prefix: str, patience: float) -> None:
    """Refuse a pooler that isn't proved to be in session mode.

    Args:
        connection: the connection through the pooler, with no transaction open.
        engine: the engine that made it. The proof needs a second connection, which is made in the same way, but not
            in the engine's pool, which may allow only one.
        prefix: the start of an error's message.
        patience: seconds that it may take in all.

    Raises:
        ConfigurationError: it isn't proved.

    """

    @asynccontextmanager
    async def connect_again() -> AsyncIterator[Driver]:
        # a recreated pool makes connections as the old one does: with its arguments, creator and listeners
        second_engine = create_async_engine(engine.url, pool=engine.pool.recreate())
        try:
            async with second_engine.connect() as second:
                try:
                    yield await second.run_sync(driver_of)
                finally:
                    await second.invalidate()
        finally:
            await second_engine.dispose()

    reason = await _session_mode_problem(await connection.run_sync(driver_of), connect_again, patience)
    if reason:
        raise pooler_failure(prefix, reason)


async def _session_mode_problem(
    driver: Driver, connect_again: Callable[[], AbstractAsyncContextManager[Driver]], patience: float
) -> str | None:
    """Return why a pooler isn't proved to be in session mode; None where it is.

    Two checks come first, which change nothing on the server. PgBouncer uses the server connection that was freed
    last, so in transaction mode a second client that opens a transaction gets the one that the first has just used,
    and then the first gets another one. On a busy pool that isn't certain, so the proof follows: the server sends a
    notification by itself, and a pooler can pass it on to an idle client only over a server connection that is bound
    to that client outside of any transaction. A pooler that imitates LISTEN by itself (PgDog does, in transaction
    mode) listens on another server connection, which ``pg_listening_channels()`` shows.

    Args:
        driver: the connection through the pooler, with no transaction open.
        connect_again: makes another connection in the same way, as the same role, to the same database.
        patience: seconds that it may take in all; a pool in session mode that is full never answers.

    """
    errors: tuple[type[Exception], ...] = (*driver.errors, SQLAlchemyError, OSError)
    try:
        async with asyncio.timeout(patience), connect_again() as second:
            return await _process_problem(driver, second) or await _notification_problem(driver, second)
    except TimeoutError:
        return f"it gave no proof within {patience:g} s (is its pool full?)"
    except errors as error:
        # in transaction mode: a prepared statement that doesn't exist, or exists already
        return f"it answered {type(error).__name__}"


async def _process_problem(driver: Driver, second: Driver) -> str | None:
    """Check that two clients have two server processes, and that the first keeps its own."""
    pid = await driver.fetchval(_PID)
    await second.execute("BEGIN")
    try:
        if await second.fetchval(_PID) == pid:
            return "it gave our server connection to another client"
        if await driver.fetchval(_PID) != pid:
            return "it gave us another server connection"
    finally:
        await second.execute("ROLLBACK")
    return None


async def _notification_problem(driver: Driver, second: Driver) -> str | None:
    """Check that an idle client receives a notification; without one, this waits until the caller's timeout."""
    channel = f"migrations_{secrets.token_hex(8)}"
    await driver.listen(channel)
    try:
        listening = "SELECT pg_catalog.pg_listening_channels()"
        if not await driver.fetchval(
            f"SELECT CAST('{channel}' AS pg_catalog.text) OPERATOR(pg_catalog.=) ANY (ARRAY({listening}))"
        ):
            return "it gave us another server connection"
        await second.execute(f"NOTIFY {channel}")
        await driver.notified()
    finally:
        with suppress(TimeoutError, OSError, *driver.errors):
            async with asyncio.timeout(1):  # the patience may be over already
                await driver.unlisten(channel)
    return await _process_problem(driver, second)

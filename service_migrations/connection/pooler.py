"""A pooler between us and the server: noticed, and made to prove that it keeps one server connection for us.

Locks, timeouts and ``search_path`` belong to a session of the server. A pooler in session mode passes one on; in
transaction mode each transaction may meet another one, so that a lock "held" protects nothing and stays behind when
we have left. No setting of a pooler can be read by its clients, so its mode is found by experiment, and
whatever is not proved counts as transaction mode.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service_migrations.errors import ConfigurationError
from service_migrations.failures import sqlstate

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]

__all__ = ["is_foreign", "is_pooled", "keeps_the_session", "make_sure", "refused"]

_PID = "SELECT pg_backend_pid()"
_FOREIGN_STATEMENT = ("26000", "42P05")
"""A prepared statement isn't there, or already is: another client's server connection."""


def is_foreign(error: BaseException) -> bool:
    """Whether an error is what a client gets that was given the server connection of another one."""
    return sqlstate(error) in _FOREIGN_STATEMENT or "statement pooling mode" in str(error)


def refused(where: str, reason: str = "it gave us the server connection of another client") -> ConfigurationError:
    """Return what to tell of a pooler that keeps no session for us."""
    return ConfigurationError(
        f"{where} is behind a pooler, and a lock holds only through one in session mode: {reason}.",
        hint="Name the server itself in DATABASE_DIRECT_DSN.",
    )


async def is_pooled(connection: AsyncConnection) -> bool:
    """Compare the process that the driver was told of with the one that answers: a pooler puts itself between."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    try:
        pid = await connection.scalar(text(_PID))
        await connection.commit()
    except DBAPIError as error:
        if is_foreign(error):
            return True
        raise
    return hasattr(driver, "get_server_pid") and driver.get_server_pid() != pid


async def make_sure(connection: AsyncConnection, engine: AsyncEngine, where: str, patience: float) -> None:
    """Let a pooler prove that it is in session mode.

    Args:
        connection: the one in question, with no transaction open.
        engine: where it is from. The second connection that the proof needs is made as its pool makes them, and
            beside that pool, which may have room for one.
        where: what an error begins with.
        patience: seconds that it may take in all.

    Raises:
        ConfigurationError: it didn't.

    """

    @asynccontextmanager
    async def again() -> "AsyncIterator[Driver]":
        # a new pool has the way in which the old one makes connections: arguments, creator and listeners
        beside = create_async_engine(engine.url, pool=engine.pool.recreate())
        try:
            async with beside.connect() as other:
                try:
                    yield await _driver(other)
                finally:
                    await other.invalidate()
        finally:
            await beside.dispose()

    reason = await keeps_the_session(await _driver(connection), again, patience)
    if reason:
        raise refused(where, reason)


async def _driver(connection: AsyncConnection) -> "Driver":
    raw = await connection.get_raw_connection()
    return cast("Driver", raw.driver_connection)


async def keeps_the_session(
    driver: "Driver", again: "Callable[[], AbstractAsyncContextManager[Driver]]", patience: float
) -> str | None:
    """Return None where a pooler is proved to keep one server connection for this client, else why it isn't.

    Two refutations come first, which leave nothing behind. PgBouncer hands out the server connection that was freed
    last, so in transaction mode a second client that opens a transaction gets the very one that we have just used,
    and then we get another. On a busy pool that may happen not to happen; therefore the proof: the server sends a
    notification unasked, and a pooler can pass it on to an idle client only over a server connection that is bound
    to that client outside of any transaction. A pooler that imitates LISTEN by itself (PgDog does, in transaction
    mode) listens elsewhere, which the third question shows.

    Args:
        driver: the connection in question, with no transaction open.
        again: makes another one on the same way, as the same role, to the same database.
        patience: seconds that it may take in all; a pool in session mode that is full never answers.

    """
    try:
        async with asyncio.timeout(patience), again() as other:
            return await _shared(driver, other) or await _unheard(driver, other)
    except TimeoutError:
        return f"it gave no proof within {patience:g} s (is its pool full?)"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, OSError) as error:
        # in transaction mode: a prepared statement that is gone, or was there before
        return f"it answered {type(error).__name__}"


async def _shared(driver: "Driver", other: "Driver") -> str | None:
    mine = await driver.fetchval(_PID)
    async with other.transaction():
        if await other.fetchval(_PID) == mine:
            return "it gave our server connection to another client"
        if await driver.fetchval(_PID) != mine:
            return "it gave us another server connection"
    return None


async def _unheard(driver: "Driver", other: "Driver") -> str | None:
    heard = asyncio.Event()
    channel = f"migrations_{secrets.token_hex(8)}"

    def hear(*_: object) -> None:
        heard.set()

    await driver.add_listener(channel, hear)
    try:
        listening = {row[0] for row in await driver.fetch("SELECT pg_listening_channels()")}
        if channel not in listening:
            return "it gave us another server connection"
        await other.execute("SELECT pg_notify($1, '')", channel)
        await heard.wait()
    finally:
        with suppress(TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            async with asyncio.timeout(1):  # the patience may be over already
                await driver.remove_listener(channel, hear)
    return await _shared(driver, other)

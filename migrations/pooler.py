"""A pooler between us and the server: noticed, and made to prove that it keeps one server connection for us.

Locks, timeouts and ``search_path`` belong to a session of the server. A pooler in session mode passes one on; in
transaction mode each transaction may meet another one, so that a lock "held" protects nothing and stays behind when
we have left (facts F17). No setting of a pooler can be read by its clients, so its mode is found by experiment, and
whatever is not proved counts as transaction mode.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]

__all__ = ["keeps_the_session"]

_PID = "SELECT pg_backend_pid()"


async def keeps_the_session(driver: "Driver", again: "Callable[[], Awaitable[Driver]]", patience: float) -> str | None:
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
        async with asyncio.timeout(patience):
            other = await again()
            try:
                return await _shared(driver, other) or await _unheard(driver, other)
            finally:
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await other.close(timeout=1)
    except TimeoutError:
        return f"it gave no proof within {patience:g} s (is its pool full?)"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
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

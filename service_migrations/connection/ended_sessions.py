"""Sessions that the server has ended between two statements, as errors like those of any other lost connection.

The server says so before it closes the connection. asyncpg has nobody to tell it to, and refuses the next statement
with an InternalClientError about states of its own: which is no error of a driver to SQLAlchemy, and no reason to
anybody.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from sqlalchemy import ExceptionContext
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["LosableConnection", "observed_ends", "raised_as_lost"]

log = logging.getLogger(__name__)

_ENDED = "the server has ended the session"


@contextmanager
def raised_as_lost(connection: "asyncpg.Connection[asyncpg.Record]") -> Iterator[None]:
    """Raise asyncpg's error of a lost connection where its session was ended before a statement of the block.

    Raises:
        asyncpg.ConnectionDoesNotExistError: it was.

    """
    try:
        yield
    except asyncpg.InternalClientError as error:
        _Unread.handle(asyncio.get_running_loop())
        # it can't be used for anything: asyncpg would wait for an answer to that statement
        asyncpg.Connection.terminate(connection)
        raise asyncpg.ConnectionDoesNotExistError(_ENDED) from error


@dataclass(frozen=True, slots=True)
class _Unread:
    """A handler of what nobody reads: the future that asyncpg leaves behind where it refuses a COPY.

    asyncio would print a traceback of it.
    """

    earlier: "Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None"

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), asyncpg.ConnectionDoesNotExistError):
            log.debug("%s", context["message"])
        elif self.earlier:
            self.earlier(loop, context)
        else:
            loop.default_exception_handler(context)

    @classmethod
    def handle(cls, loop: asyncio.AbstractEventLoop) -> None:
        """Let an event loop handle it."""
        earlier = loop.get_exception_handler()
        if not isinstance(earlier, cls):
            loop.set_exception_handler(cls(earlier))


class LosableConnection(asyncpg.Connection):
    """A connection whose statements fail as over a lost connection where the server has ended the session.

    Attributes:
        is_closed_here: whether it was closed while it worked: by SQLAlchemy, or by what has got hold of it.

    """

    is_closed_here = False

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's
        """Close the connection."""
        self.is_closed_here = self.is_closed_here or not self.is_closed()
        await super().close(timeout=timeout)

    def terminate(self) -> None:
        """Close the connection without a message to the server."""
        self.is_closed_here = self.is_closed_here or not self.is_closed()
        super().terminate()

    async def copy_from_query(self, query: str, *arguments: Any, **options: Any) -> str:
        """Copy the rows of a query."""
        with raised_as_lost(self):
            return await super().copy_from_query(query, *arguments, **options)

    async def execute(self, query: str, *arguments: Any, **options: Any) -> str:
        """Execute commands."""
        with raised_as_lost(self):
            return await super().execute(query, *arguments, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> None:
        """Execute a command for each list of arguments."""
        with raised_as_lost(self):
            await super().executemany(command, args, **options)

    async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Return the rows of a query."""
        with raised_as_lost(self):
            return await super().fetch(query, *arguments, **options)

    async def fetchrow(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Return the first row of a query."""
        with raised_as_lost(self):
            return await super().fetchrow(query, *arguments, **options)

    async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Return the first value of a query."""
        with raised_as_lost(self):
            return await super().fetchval(query, *arguments, **options)

    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare a statement."""
        with raised_as_lost(self):
            return await super().prepare(query, **options)


@contextmanager
def observed_ends(engine: "AsyncEngine") -> Iterator[None]:
    """Let SQLAlchemy take the session of a connection for lost where the server has ended it, while the block runs."""
    from sqlalchemy import event  # noqa: PLC0415 - the scan never imports SQLAlchemy
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415

    def handle_error(context: "ExceptionContext") -> "OperationalError | None":
        if not isinstance(context.original_exception, asyncpg.InternalClientError):
            return None
        context.is_disconnect = True
        lost = asyncpg.ConnectionDoesNotExistError(_ENDED)
        return OperationalError(context.statement, None, lost, hide_parameters=True, connection_invalidated=True)

    event.listen(engine.sync_engine, "handle_error", handle_error)
    try:
        yield
    finally:
        event.remove(engine.sync_engine, "handle_error", handle_error)

"""Sessions that the server has ended between two statements, as errors like those of any other lost connection.

The server says so before it closes the connection. asyncpg has nobody to tell it to, and refuses the next statement
with an InternalClientError about states of its own: which is no error of a driver to SQLAlchemy, and no reason to
anybody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from sqlalchemy import ExceptionContext
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["observed_ends", "raised_as_lost"]

_ENDED = "the server has ended the session"


@contextmanager
def raised_as_lost() -> Iterator[None]:
    """Raise asyncpg's error of a lost connection where the session was ended before a statement of the block.

    Raises:
        asyncpg.ConnectionDoesNotExistError: it was.

    """
    try:
        yield
    except asyncpg.InternalClientError as error:
        raise asyncpg.ConnectionDoesNotExistError(_ENDED) from error


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

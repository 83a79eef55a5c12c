"""psycopg's asynchronous connection behind the interface of psycopg2's (PEP 249), for SQLAlchemy's async engine.

The driver's connection is in autocommit, and this module begins a transaction before the first statement after a
COMMIT or ROLLBACK of its own. So a ``COMMIT`` that a revision executes is followed by none: the
``CREATE INDEX CONCURRENTLY`` after it runs as it does with psycopg2, and with asyncpg.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from psycopg import pq
from sqlalchemy import AdaptedConnection
from sqlalchemy.util import await_only

from service_migrations.libpq.cursor import Cursor, ServerCursor
from service_migrations.libpq.literals import adapt
from service_migrations.libpq.of_psycopg2 import as_caught, row_factory

__all__ = ["DBAPI", "Connection"]

_Result = TypeVar("_Result")
_LEVELS = {1: "READ COMMITTED", 2: "REPEATABLE READ", 3: "SERIALIZABLE", 4: "READ UNCOMMITTED"}
"""psycopg2's numbers of the isolation levels; 0 is autocommit."""

_NOTICES = 50
"""How many notices psycopg2 keeps."""


class DBAPI:
    """The module that SQLAlchemy connects with: psycopg, with the connections of this one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)

    def connect(
        self, *arguments: Any, async_creator_fn: Callable[..., Awaitable[Any]] | None = None, **keywords: Any
    ) -> "Connection":
        """Connect."""
        connect: Callable[..., Awaitable[Any]] = async_creator_fn or psycopg.AsyncConnection.connect
        return Connection(await_only(connect(*arguments, **keywords)))


class Connection(AdaptedConnection):
    """A connection with the methods of psycopg2's, over one of psycopg."""

    encoding = "UTF8"

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        """Take over a connection that is in no transaction."""
        self._connection: Any = connection
        self._autocommit = False
        self._has_begun = False
        self.isolation_level: str | None = None
        self.read_only: bool | None = None
        self.deferrable: bool | None = None
        self.notices: list[str] = []
        connection.add_notice_handler(self._note)
        adapt(connection.adapters)
        connection.cursor_factory = psycopg.AsyncClientCursor
        self.run(connection.set_autocommit(True))

    def run(self, awaitable: Awaitable[_Result]) -> _Result:
        """Wait for the driver."""
        try:
            return self.run_async(lambda _: awaitable)
        except psycopg.Error as error:
            raise as_caught(error).with_traceback(error.__traceback__) from error.__cause__

    @property
    def info(self) -> Any:
        """Psycopg's description of the connection."""
        return self.driver_connection.info

    @property
    def server_version(self) -> int:
        """The version of the server as a number, such as 180004."""
        return int(self.info.server_version)

    def get_backend_pid(self) -> int:
        """Return the number of the server's process."""
        return int(self.info.backend_pid)

    def get_parameter_status(self, name: str) -> str | None:
        """Return a setting that the server reports."""
        return self.info.parameter_status(name)  # type: ignore[no-any-return]

    def _note(self, notice: Any) -> None:
        """Keep the last notices of the server, as psycopg2 writes them."""
        self.notices = [*self.notices, f"{notice.severity}:  {notice.message_primary}\n"][-_NOTICES:]

    @property
    def adapters(self) -> Any:
        """Psycopg's map of the classes and types that it can write and read."""
        return self.driver_connection.adapters

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, on either side."""
        return bool(self.driver_connection.closed)

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if self._has_begun and self.info.transaction_status != pq.TransactionStatus.IDLE:
            raise psycopg.ProgrammingError("autocommit can't be set inside a transaction: commit() first")
        self._autocommit, self._has_begun = bool(value), False

    def set_isolation_level(self, level: int | None) -> None:
        """Set the isolation level by psycopg2's number; 0 is autocommit. As there, what is open is rolled back."""
        self.rollback()
        self.autocommit = level == 0
        self.isolation_level = _LEVELS.get(level or 0)

    def add_notice_handler(self, handler: Callable[[Any], None]) -> None:
        """Call a function for each notice of the server."""
        self.driver_connection.add_notice_handler(handler)

    def begin(self) -> None:
        """Begin a transaction, unless one was begun, or each statement is one."""
        if self._has_begun or self._autocommit:
            return
        words = ["BEGIN"]
        words += [f"ISOLATION LEVEL {self.isolation_level}"] if self.isolation_level else []
        words += [] if self.read_only is None else ["READ ONLY" if self.read_only else "READ WRITE"]
        words += [] if self.deferrable is None else ["DEFERRABLE" if self.deferrable else "NOT DEFERRABLE"]
        self.run(self.driver_connection.execute(" ".join(words)))
        self._has_begun = True

    def commit(self) -> None:
        """Commit the transaction; nothing where there is none."""
        self._has_begun = False
        self.run(self.driver_connection.commit())

    def rollback(self) -> None:
        """Roll the transaction back; nothing where there is none."""
        self._has_begun = False
        self.run(self.driver_connection.rollback())

    def close(self) -> None:
        """Close the connection, without waiting for the server."""
        self.driver_connection.pgconn.finish()

    def cursor(
        self,
        name: str | None = None,
        cursor_factory: Any = None,
        *,
        scrollable: bool | None = None,
        withhold: bool = False,
    ) -> Cursor:
        """Return a cursor; one of the server's where it has a name."""
        make_rows = row_factory(cursor_factory)
        if name:
            return ServerCursor(self, name, make_rows, scrollable=scrollable, withhold=withhold)
        return Cursor(self, make_rows)

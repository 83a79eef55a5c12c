"""The choice between PostgreSQL's two query protocols for a statement.

asyncpg prepares every statement that SQLAlchemy runs: two messages, and two waits for the server. Most statements of a
migration have no parameters and return no rows, and for those one message of the simple query protocol does the same.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from service_migrations.connection.ended_sessions import LosableConnection
from service_migrations.connection.single_message import ROWS, copy_rows

if TYPE_CHECKING:
    from service_migrations.connection.server_process import ServerProcess

__all__ = ["SCRIPT", "Connection", "Held"]

SCRIPT = "/* service_migrations: script */ "
"""The start of several statements of ours, without parameters and rows."""

_COMMANDS = (
    "ALTER|ANALYZE|COMMENT|CREATE|DELETE|DROP|GRANT|INSERT|LOCK|REINDEX|RELEASE|REVOKE|ROLLBACK TO|SAVEPOINT|SET|"
    "TRUNCATE|UPDATE|VACUUM"
)
_SIMPLE = re.compile(rf"\s*(?:{_COMMANDS})\b(?!.*\bRETURNING\b)[^$;]*;?\s*", re.IGNORECASE | re.DOTALL)
"""One statement that certainly has no parameters and returns no rows; none with ``;`` or ``$``, also in a literal."""

_BEGIN = re.compile(r"BEGIN (ISOLATION LEVEL [A-Z ]+);")
"""The BEGIN of a transaction that has no characteristic but its level."""


@dataclass(frozen=True, slots=True)
class Held:
    """Commands that wait for the next statement, to be sent in one message with it.

    Attributes:
        script: the commands.
        recover: called with an error of that message; whether the statement is to be executed again, without them. It
            may raise another error.

    """

    script: str
    recover: Callable[[Exception], Awaitable[bool]] | None = None


class Connection(LosableConnection):
    """A connection that prepares a statement only where it has to: asyncpg's ``connection_class``.

    What is held was asked for by us, and goes with the next statement, whatever that is: no text is looked at but a
    ROLLBACK, which makes it needless. So it may be held only while nobody but SQLAlchemy uses the connection.

    Attributes:
        server_process: that of the connection, where it was read when the connection was made.
        held: what is sent with the next statement.
        holds_next: whether the next command, which is a BEGIN, is held.
        follows: what is executed in a transaction that begins with the next COMMIT, in its message; empty for none.
        ahead: what was executed in such a transaction, in which nothing else was executed yet.

    """

    server_process: "ServerProcess | None" = None
    held: Held | None = None
    holds_next: bool = False
    follows: str = ""
    ahead: str = ""
    _level: str = ""

    def commit_and_begin(self) -> str:
        """Return a script that commits and executes what follows; empty where that can't follow.

        The transaction is chained: had it a gap before it, in which a query is cancelled, nobody would know then
        whether the COMMIT was done.
        """
        follows, self.follows = self.follows, ""
        if not self._level:
            return ""
        # a revision may have set another level, or DEFERRABLE, which a chained transaction takes over
        return f"{SCRIPT}COMMIT AND CHAIN;\nSET TRANSACTION {self._level}, NOT DEFERRABLE;\n{follows}"

    def note_begun(self, follows: str) -> bool:
        """Note that the script of ``commit_and_begin`` was executed, and return whether it has committed.

        Args:
            follows: what was executed behind the COMMIT; empty where it has failed.

        """
        if self.is_closed() or not self.is_in_transaction():
            return False
        # whoever comes next and doesn't expect this transaction gets one of its own
        self.ahead, self.held = follows, Held(f"ROLLBACK;\nBEGIN {self._level}")
        return True

    async def prepare(self, query: str, **options: Any) -> Any:
        """Return a statement, prepared only where it has to be."""
        if SCRIPT in query or _SIMPLE.fullmatch(query):  # a listener may have put a comment before it
            return _Simple(self, query)
        await self.release()
        return _Rows(self, query) if ROWS in query else await super().prepare(query, **options)

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        """Execute commands, with those that are held."""
        if query.startswith("BEGIN"):
            begun = _BEGIN.fullmatch(query)
            self._level = begun[1] if begun else ""
        if self.holds_next:
            self.held, self.holds_next = Held(query), False
            return ""
        held, self.held, self.ahead = self.held, None, ""
        if query.startswith("ROLLBACK;"):
            held, self.follows = None, ""
        if held is None:
            return await super().execute(query, *arguments, timeout=timeout)
        if arguments:
            await self._execute_held(held)
            return await super().execute(query, *arguments, timeout=timeout)
        return await self._execute_held(held, query)

    async def release(self) -> None:
        """Execute what is held."""
        held, self.held, self.holds_next, self.ahead = self.held, None, False, ""
        if held is not None:
            await self._execute_held(held)

    async def _execute_held(self, held: Held, query: str = "") -> str:
        try:
            return await super().execute(f"{held.script.rstrip(';')};\n{query}" if query else held.script)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if held.recover is None or not await held.recover(error):
                raise
        return await super().execute(query) if query else ""


class _Simple:
    """A statement that isn't prepared: it has what SQLAlchemy uses of asyncpg's PreparedStatement."""

    def __init__(self, connection: Connection, query: str) -> None:
        self._connection, self._query, self._status = connection, query, ""

    def get_attributes(self) -> tuple[()]:
        return ()

    async def fetch(self, *_: Any) -> list[Any]:
        self._status = await self._connection.execute(self._query)
        return []

    async def cursor(self, *_: Any) -> Any:
        # only with SQLAlchemy's stream_results, which asks for a cursor whatever the statement is
        return await (await LosableConnection.prepare(self._connection, self._query)).cursor()

    def get_statusmsg(self) -> str:
        return self._status


class _Rows:
    """A query whose rows are copied: as ``_Simple``, with one column, which is text."""

    _ATTRIBUTES = (asyncpg.Attribute("row", asyncpg.Type(25, "text", "scalar", "pg_catalog")),)

    def __init__(self, connection: Connection, query: str) -> None:
        self._connection, self._query, self._count = connection, query, 0

    def get_attributes(self) -> tuple[asyncpg.Attribute, ...]:
        return self._ATTRIBUTES

    async def fetch(self, *_: Any) -> list[tuple[str]]:
        texts = await copy_rows(self._connection, self._query)
        self._count = len(texts)
        return [(text,) for text in texts]

    async def cursor(self, *_: Any) -> Any:
        return await (await LosableConnection.prepare(self._connection, self._query)).cursor()

    def get_statusmsg(self) -> str:
        return f"SELECT {self._count}"

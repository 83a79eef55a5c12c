"""The choice between PostgreSQL's two query protocols for a statement.

asyncpg prepares every statement that SQLAlchemy runs: two messages, and two waits for the server. Most statements of a
migration have no parameters and return no rows, and for those one message of the simple query protocol does the same.
"""

import re
from typing import TYPE_CHECKING, Any

import asyncpg

from service_migrations.connection.single_message import ROWS, copy_rows

if TYPE_CHECKING:
    from service_migrations.connection.server_process import ServerProcess

__all__ = ["SCRIPT", "Connection"]

SCRIPT = "/* script */ "
"""The start of several statements of ours, without parameters and rows."""

_COMMANDS = "ALTER|ANALYZE|COMMENT|CREATE|DELETE|DROP|GRANT|INSERT|LOCK|REINDEX|REVOKE|SET|TRUNCATE|UPDATE|VACUUM"
_SIMPLE = re.compile(rf"\s*(?:{_COMMANDS})\b(?!.*\bRETURNING\b)[^$;]*;?\s*", re.IGNORECASE | re.DOTALL)
"""One statement that certainly has no parameters and returns no rows; none with ``;`` or ``$``, also in a literal."""


class Connection(asyncpg.Connection):
    """A connection that prepares a statement only where it has to: asyncpg's ``connection_class``.

    Attributes:
        server_process: that of the connection, where it was read when the connection was made.

    """

    server_process: "ServerProcess | None" = None

    async def prepare(self, query: str, **options: Any) -> Any:
        """Return a statement, prepared only where it has to be."""
        if query.startswith(ROWS):
            return _Rows(self, query)
        is_simple = query.startswith(SCRIPT) or _SIMPLE.fullmatch(query)
        return _Simple(self, query) if is_simple else await super().prepare(query, **options)


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
        return await (await asyncpg.Connection.prepare(self._connection, self._query)).cursor()

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

    def get_statusmsg(self) -> str:
        return f"SELECT {self._count}"

"""Which of PostgreSQL's two query protocols a statement goes by.

asyncpg prepares every statement that SQLAlchemy runs: two messages, and two waits for the server. Most statements of a
migration have no parameters and return no rows, and for those one message of the simple query protocol does the same.
"""

import re
from typing import Any

import asyncpg

__all__ = ["Connection"]

_COMMANDS = "ALTER|ANALYZE|COMMENT|CREATE|DELETE|DROP|GRANT|INSERT|LOCK|REINDEX|REVOKE|SET|TRUNCATE|UPDATE|VACUUM"
_SIMPLE = re.compile(rf"\s*(?:{_COMMANDS})\b(?!.*\bRETURNING\b)[^$;]*;?\s*", re.IGNORECASE | re.DOTALL)
"""What surely is one statement, without parameters and without rows; ``;`` or ``$`` in a literal is not looked into."""


class Connection(asyncpg.Connection):
    """A connection that prepares nothing without need; given to asyncpg as its ``connection_class``."""

    async def prepare(self, query: str, **options: Any) -> Any:
        """Return the statement to be run, prepared where it has to be."""
        return _Simple(self, query) if _SIMPLE.fullmatch(query) else await super().prepare(query, **options)


class _Simple:
    """A statement that is run without having been prepared: what SQLAlchemy asks of asyncpg's PreparedStatement."""

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

"""Rows of the library's own queries, over a connection of SQLAlchemy's: the server is waited for once."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.single_message import Row, parse, statement
from service_migrations.sql.quoting import VERBATIM

__all__ = ["fetch_rows", "rows"]


async def rows(connection: AsyncConnection, query: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query; arguments as of ``single_message.statement``.

    A transaction is open afterwards, unless the connection is in autocommit.
    """
    return await connection.run_sync(fetch_rows, query, **values)


def fetch_rows(connection: Connection, query: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query, as ``rows`` does."""
    result = connection.exec_driver_sql(statement(query, values), execution_options=VERBATIM)
    return parse(result.scalars())

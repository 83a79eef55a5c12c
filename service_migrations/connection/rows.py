"""Rows of the library's own queries, over a connection of SQLAlchemy's: the server is waited for once."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.single_message import Row, as_list, parse, statement
from service_migrations.sql.quoting import VERBATIM

__all__ = ["Query", "fetch_rows", "only_reads", "rows", "together"]

Query = tuple[str, dict[str, Any]]
"""A query, and its parameters; as of ``single_message.statement``."""


_READS = "service_migrations_reads"
"""The execution option of such a query, which SQLAlchemy knows as a text only."""


async def rows(connection: AsyncConnection, query: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query; arguments as of ``single_message.statement``.

    A transaction is open afterwards, unless the connection is in autocommit.
    """
    return await connection.run_sync(fetch_rows, query, **values)


async def together(connection: AsyncConnection, *queries: Query) -> list[list[Row]]:
    """Return the rows of each of several queries, which are sent together.

    They read one snapshot, so none sees what another one has changed.
    """
    listed = ", ".join(f"({as_list(query, values)}) AS list_{number}" for number, (query, values) in enumerate(queries))
    (row,) = await rows(connection, f"SELECT {listed}")
    return [[Row(**values) for values in result] for result in vars(row).values()]


def fetch_rows(connection: Connection, query: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query, as ``rows`` does, where SQLAlchemy has left asyncio."""
    options = {**VERBATIM, _READS: True}
    return parse(connection.exec_driver_sql(statement(query, values), execution_options=options).scalars())


def only_reads(context: ExecutionContext) -> bool:
    """Whether what was executed is a query, of SQLAlchemy's or of the library's own."""
    return bool(getattr(context.invoked_statement, "is_select", False) or context.execution_options.get(_READS))

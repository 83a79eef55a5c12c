"""The removal of a database that nobody needs any more, with whatever uses it."""

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import asyncpg

from service_migrations.sql.quoting import literal, quoted

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

__all__ = ["drop_with_users"]

_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = pg_catalog.current_database()"


async def drop_with_users(
    admin: "Connection", inside: "AbstractAsyncContextManager[Connection]", database: str
) -> None:
    """Drop a database, and end its connections and prepared transactions; do nothing where it doesn't exist.

    Args:
        admin: the administrator's connection to another database.
        inside: connects the administrator to the database itself.
        database: its name.

    """
    statement = f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)"
    try:
        await admin.execute(statement)
    except asyncpg.ObjectInUseError:  # FORCE leaves prepared transactions alone
        async with inside as connection:
            for row in await connection.fetch(_PREPARED):
                await connection.execute(f"ROLLBACK PREPARED {literal(row['gid'])}")
        await admin.execute(statement)

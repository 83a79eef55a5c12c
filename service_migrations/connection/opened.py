"""A connection that was opened before SQLAlchemy is imported, to read a database: an upgrade goes on over it."""

from dataclasses import dataclass

import asyncpg

from service_migrations.connection.parameters import connect_arguments, session_settings
from service_migrations.connection.simple_query import Connection
from service_migrations.settings.model import Limits, Settings

__all__ = ["Opened", "close", "connect"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection, and the limits that it was opened with; a session with others can't go on over it."""

    connection: Connection
    limits: Limits


async def connect(settings: Settings) -> Connection:
    """Connect to a service's database as a session does, by the service's search path too.

    So whoever queries over it qualifies each name, until a session has begun.

    Raises:
        ConfigurationError: the DSN's certificates can't be read, or its command for the password fails.
        Exception: whatever asyncpg raises.

    """
    arguments = connect_arguments(settings)
    await settings.dsn.current_password()  # a command for it may take longer than a connection
    connection: Connection = await asyncpg.connect(
        **arguments, server_settings=session_settings(settings), connection_class=Connection
    )
    return connection


async def close(connection: Connection) -> None:
    """Close a connection that has only read, or that a session has closed already."""
    if connection.is_closed():
        connection.terminate()
        return
    try:
        await connection.close(timeout=1)
    except Exception:  # noqa: BLE001 - nothing is lost
        connection.terminate()

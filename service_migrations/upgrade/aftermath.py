"""What is there after a run was stopped or its connection was lost: said only after looking."""

import asyncio
import logging
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.connector import Connector
from service_migrations.connection.version_table import applied

__all__ = ["aftermath", "invalid"]

log = logging.getLogger(__name__)

_PATIENCE = 1.5
"""Seconds to look: a person who pressed Ctrl-C is promised an end within two."""

_END = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid AND usename = current_user")
_INVALID = text("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1")


async def aftermath(
    connector: Connector, pid: int, schema: str | None, *, running: bool, committed_inside: bool
) -> str:
    """Make sure that the server has ended what it ran for us, and say what the database is at.

    Args:
        connector: makes the connections to the database.
        pid: the server process that ran the migration.
        schema: of the version table.
        running: whether a revision may have been running.
        committed_inside: whether the revision that ran had committed something before its end.

    Returns:
        One sentence or two: what is there, or that it could not be found out.

    """
    unknown = f"Its state is unknown: run `inv db.current --service {connector.service}` when the server answers."
    try:
        async with asyncio.timeout(_PATIENCE):
            return await _look(connector, pid, schema, running=running, committed_inside=committed_inside)
    except Exception as error:  # noqa: BLE001 - whatever happens here, nothing is known
        log.debug("%s: %s", connector.service, type(error).__name__)
        return unknown


async def _look(connector: Connector, pid: int, schema: str | None, *, running: bool, committed_inside: bool) -> str:
    async with connector.at_once().connect() as connection:
        while await connection.scalar(_END, {"pid": pid}) is not None:
            await connection.rollback()
            await asyncio.sleep(0.02)
        await connection.rollback()
        revisions = await applied(connection, connector.version_table, schema)
        said = f"{connector.target} is at {', '.join(revisions) or 'base'}."
        if not running:
            return said
        if not committed_inside:
            # a connection that is cut at COMMIT leaves open whether that revision was the last one or the next
            return f"{said} What ran after that was rolled back."
        said += " What the revision that ran had committed before is kept."
        return said + await _invalid(connection)


async def invalid(connector: Connector) -> str:
    """Name the INVALID indexes, which a failed concurrent build leaves; nothing where there is none."""
    with suppress(Exception):
        async with asyncio.timeout(_PATIENCE), connector.at_once().connect() as connection:
            return await _invalid(connection)
    return ""


async def _invalid(connection: AsyncConnection) -> str:
    found = (await connection.scalars(_INVALID)).all()
    return f" INVALID indexes: {', '.join(found)}." if found else ""

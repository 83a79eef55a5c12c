"""The state of a database after a run was stopped or its connection was lost."""

import asyncio
import logging
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import INFO, SHOWN, SearchPath
from service_migrations.connection.connector import Connector
from service_migrations.session.tables.version_table import applied

__all__ = ["aftermath", "invalid_indexes"]

log = logging.getLogger(__name__)

_STOPPED, _FAILED = 1.5, 5.0
"""Seconds for reading the state: a command that was stopped ends within two; after a failure, nobody stops it."""

_TERMINATE = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid AND usename = current_user")
_INVALID = text(
    f"SELECT indexrelid::regclass::text, relname::text FROM {SHOWN} "  # noqa: S608 - a constant
    "JOIN pg_index ON shown.path IS NOT NULL JOIN pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid ORDER BY 1"
)


async def aftermath(
    connector: Connector,
    pid: int,
    schema: str | None,
    *,
    running: bool,
    partly_committed: bool,
    is_stopped: bool = False,
) -> str:
    """End the server process of a run, and describe the state of the database.

    Args:
        connector: makes the connections to the database.
        pid: the server process that ran the migration.
        schema: of the version table.
        running: whether a revision may have been running.
        partly_committed: whether the revision that ran had committed something before its end.
        is_stopped: whether the command was stopped, so that somebody waits for its end.

    Returns:
        One sentence or two; where the server doesn't answer, that the state is unknown.

    """
    unknown = f"Its state is unknown: run `inv db.current --service {connector.service}` when the server answers."
    try:
        async with asyncio.timeout(_STOPPED if is_stopped else _FAILED):
            return await _describe(connector, pid, schema, running=running, partly_committed=partly_committed)
    except Exception as error:  # noqa: BLE001 - whatever fails, the state is unknown
        log.debug("%s: %s", connector.service, type(error).__name__)
        return unknown


async def _describe(
    connector: Connector, pid: int, schema: str | None, *, running: bool, partly_committed: bool
) -> str:
    async with connector.at_once().connect() as connection:
        while await connection.scalar(_TERMINATE, {"pid": pid}) is not None:
            await connection.rollback()
            await asyncio.sleep(0.02)
        await connection.rollback()
        revisions = await applied(connection, connector, schema)
        state = f"{connector.target} is at {', '.join(revisions) or 'base'}."
        if not running:
            return state
        if not partly_committed:
            # no revision is named: after a connection was lost at COMMIT, it isn't known which one ran
            return f"{state} What ran after that was rolled back."
        state += " What the revision that ran had committed before is kept."
        return state + await _invalid_indexes(connection)


async def invalid_indexes(connector: Connector, error: BaseException) -> str:
    """Name the INVALID indexes, which a failed CREATE INDEX CONCURRENTLY leaves; empty where there is none.

    Where one of them is in the way of the next build, as the error says, what removes it is named too.
    """
    with suppress(Exception):
        async with asyncio.timeout(_FAILED), connector.at_once().connect() as connection:
            return await _invalid_indexes(connection, str(error))
    return ""


async def _invalid_indexes(connection: AsyncConnection, error: str = "") -> str:
    path: SearchPath = connection.info[INFO]
    indexes = (await connection.execute(_INVALID, {"search_path": path.text})).all()
    in_the_way = [qualified for qualified, name in indexes if f'relation "{name}" already exists' in error]
    drops = "".join(f" Drop it, and upgrade again: DROP INDEX CONCURRENTLY {index};" for index in in_the_way)
    return f" INVALID indexes: {', '.join(qualified for qualified, _ in indexes)}.{drops}" if indexes else ""

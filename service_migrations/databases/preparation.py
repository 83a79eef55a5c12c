"""What keeps a database that is created from being taken for a prepared one: a lock, and a mark that outlives a kill.

Between CREATE DATABASE and the end of ``bootstrap.sql`` a database is there and lacks what its history needs. Whoever
finds it then has to know, also where the command that creates it has been killed, or its machine is gone.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from service_migrations.errors import ConfigurationError, LockNotObtainedError, UsageError
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.sql.quoting import quoted

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

__all__ = ["IS_BEING_CREATED", "UNPREPARED", "drop_unprepared", "finish", "in_use", "sole_creator"]

log = logging.getLogger(__name__)

UNPREPARED = 2_147_483_646
"""The connection limit of a database that isn't prepared yet.

CREATE DATABASE itself sets it, so no kill comes between. It limits nobody, also no administrator who isn't a superuser;
everybody may read it; its owner may take it away.
"""

_LOCKS = 1_935_830_117
"""The first key of the lock that a creator holds in its maintenance database; the second one is of the new name."""
_POLL = 0.2

_TRY = f"SELECT pg_try_advisory_lock({_LOCKS}, hashtext($1))"
_UNLOCK = f"SELECT pg_advisory_unlock({_LOCKS}, hashtext($1))"
_HOLDER = f"""
    SELECT format('pid %s, user %s, host %s', a.pid, a.usename, coalesce(host(a.client_addr), 'local'))
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
      AND l.classid = {_LOCKS}::oid AND l.objid = hashtext($1)::oid
"""  # noqa: S608 - a constant
IS_BEING_CREATED = f"""EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
      AND classid = {_LOCKS}::oid AND objid = hashtext(current_database()::text)::oid
)"""
"""SQL: whether a command that creates the database of the session runs; its lock is seen from each database."""

_FIRST_TABLE = """
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')
    ORDER BY c.oid LIMIT 1
"""
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1"
_SESSIONS = """
    SELECT format('pid %s, user %s, %s', pid, usename, coalesce(nullif(application_name, ''), 'no application_name'))
    FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() ORDER BY backend_start LIMIT 3
"""


@asynccontextmanager
async def sole_creator(connection: "Connection", settings: Settings) -> AsyncIterator[None]:
    """Hold the lock of a database's name, so that a second command waits until the first has prepared it.

    Behind a pooler there is none: it could stay with the session of another client. What two commands do then is told
    by the server, and the mark still says what isn't finished.

    Args:
        connection: of the administrator, to the maintenance database.
        settings: those of the service; ``lock_wait`` is how long to wait.

    Raises:
        LockNotObtainedError: another command still held it after that time.

    """
    name, wait, is_waiting = settings.dsn.database, settings.limits.lock_wait, False
    if await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid():
        yield
        return
    deadline = time.monotonic() + wait
    while not await connection.fetchval(_TRY, name):
        holder = await connection.fetchval(_HOLDER, name) or "nobody any more"
        if not is_waiting:
            log.warning(
                "%s: waiting for another command that creates the database %s (%s)", *(settings.service, name, holder)
            )
            is_waiting = True
        if time.monotonic() >= deadline:
            raise LockNotObtainedError(
                f"another command still creates the database {name} after {wait:g} s ({holder}).",
                service=settings.service,
                hint="Run the command again when that is done.",
            )
        await asyncio.sleep(_POLL)
    try:
        yield
    finally:
        # where it was lost, the server has released it
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.fetchval(_UNLOCK, name)


async def finish(connection: "Connection", database: str) -> None:
    """Take the mark away: the database is prepared. A limit that ``bootstrap.sql`` has set stays.

    An administrator who isn't a superuser may have no more than the SET ROLE that ``OWNER`` demands.
    """
    if await connection.fetchval("SELECT datconnlimit FROM pg_database WHERE datname = $1", database) != UNPREPARED:
        return
    statement = f"ALTER DATABASE {quoted(database)} CONNECTION LIMIT -1"
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        owner = await connection.fetchval(_OWNER, database)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {quoted(owner)}")
            await connection.execute(statement)


async def drop_unprepared(
    connection: "Connection",
    inside: AbstractAsyncContextManager["Connection"],
    settings: Settings,
    creator: Dsn,
    files: Iterable[Path],
) -> list[str]:
    """Drop a database whose creation was interrupted before it was prepared: what it has is made again.

    Args:
        connection: of the administrator, to the maintenance database.
        inside: connects the administrator to the database itself.
        settings: those of the service.
        creator: the administrator's DSN.
        files: the files that prepare it.

    Returns:
        What was done, as a line.

    Raises:
        ConfigurationError: it has a table, which may have been filled since, or no administrator is known.
        UsageError: somebody is connected to it.

    """
    service, database = settings.service, settings.dsn.database
    message = f"{settings.target}: its `inv db.create` was interrupted before the database was prepared"
    if creator.user == settings.dsn.user:
        hint = "Name the administrator in DATABASE_ADMIN_DSN, and run the command again."
        raise ConfigurationError(f"{message}.", service=service, hint=hint)
    async with inside as opened:
        table = await opened.fetchval(_FIRST_TABLE)
    if table is not None:
        names = ", ".join(map(service.relative, files))
        begin = f"Run what is missing of {names}, and then" if names else "If nothing is missing in it"
        raise ConfigurationError(
            f"{message}, and it has the table {table} meanwhile.",
            service=service,
            hint=f"{begin}: ALTER DATABASE {quoted(database)} CONNECTION LIMIT -1; Or, where nothing in it is needed: "
            f"inv db.drop --service {service}, and inv db.create --service {service}.",
        )
    try:
        await connection.execute(f"DROP DATABASE {quoted(database)}")
    except asyncpg.ObjectInUseError as error:
        raise UsageError(
            f"{message}, and somebody is connected to it ({await in_use(connection, database)}).",
            service=service,
            hint="Run the command again when they are gone: it creates the database again.",
        ) from error
    return [f"dropped database {database}, which an interrupted `inv db.create` had left unprepared"]


async def in_use(connection: "Connection", database: str) -> str:
    """Return who is connected to a database, for a message: up to three sessions."""
    return "; ".join(row[0] for row in await connection.fetch(_SESSIONS, database)) or "nobody any more"

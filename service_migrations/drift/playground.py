"""The scratch database that a person has named: used where it is empty, and emptied again.

Nothing is dropped that another program could have put there. A schema marks the database while a run has it: what is
there beside the mark is that run's, or of a former one that was killed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from service_migrations.catalog.objects import Object, read
from service_migrations.connection import engine as connections
from service_migrations.connection.admin import connect, quoted
from service_migrations.drift.repair import word
from service_migrations.drift.scratch import surely
from service_migrations.errors import AccessDeniedError, ConfigurationError, LockNotObtainedError, MigrationError
from service_migrations.settings._m_dsn import Dsn
from service_migrations.settings.model import Settings

__all__ = ["playground"]

_MARK = "migrations_scratch"
_LOCK = "SELECT pg_try_advisory_lock(7306916068411)"
"""Of the run that uses the database; another one waits."""

_PAUSE = 0.1
_GONE = ("42P01", "42704", "42883", "3F000")
"""Undefined table, type or other object, function, schema: it went with something else."""


@asynccontextmanager
async def playground(settings: Settings, dsn: Dsn) -> AsyncIterator[Settings]:
    """Lend the scratch database that DATABASE_SCRATCH_DSN names, and empty it at the end, whatever happens.

    Args:
        settings: the service's.
        dsn: the scratch database.

    Yields:
        The settings, leading to that database.

    Raises:
        ConfigurationError: it holds what is not ours, or is the service's own database.
        LockNotObtainedError: another run uses it, for longer than MIGRATIONS_LOCK_WAIT.
        AccessDeniedError: its role may not make a schema there.

    """
    where = f"{settings.service}: DATABASE_SCRATCH_DSN names {dsn.target}"
    if dsn.identity == settings.dsn.identity:
        raise ConfigurationError(f"{where}, which is the service's own database. Name an empty one.")
    aimed = replace(settings, dsn=dsn)
    connection = await connect(settings, dsn)
    try:
        await _lock(connection, settings, where)
        found = await _objects(aimed)
        marked = any(one.kind == "schema" and one.name == _MARK for one in found)
        if found and not marked:
            one = found[0]
            raise ConfigurationError(
                f"{where}, which isn't empty: it holds {len(found)} objects, such as the {one.kind} {one.name}. "
                f"Nothing was touched. Name an empty database."
            )
        try:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_MARK}")
            await _empty(connection, found)
            yield aimed
        except asyncpg.InsufficientPrivilegeError as error:
            grant = f"GRANT CREATE ON DATABASE {quoted(dsn.database)} TO {quoted(dsn.user)};"
            raise AccessDeniedError(f"{where}: {error}. Its owner can run: {grant}") from error
        finally:
            await surely(_restore(connection, aimed))
    finally:
        connection.terminate()


async def _restore(connection: "asyncpg.Connection", settings: Settings) -> None:
    await _empty(connection, await _objects(settings))
    await connection.execute(f"DROP SCHEMA IF EXISTS {_MARK}")


async def _lock(connection: "asyncpg.Connection", settings: Settings, where: str) -> None:
    deadline = time.monotonic() + settings.limits.lock_wait
    while not await connection.fetchval(_LOCK):
        if time.monotonic() >= deadline:
            raise LockNotObtainedError(f"{where}, which another run uses. Run the command again when it has ended.")
        await asyncio.sleep(_PAUSE)


async def _objects(settings: Settings) -> list[Object]:
    """Return what stands by itself in the database, apart from the schema that every database has."""
    async with connections.connect(settings) as connection:
        found = await read(connection)
    whole = [one for one in found if one.part_of is None and one.extension is None]
    return [one for one in whole if one.kind != "schema" or one.name != "public"]


async def _empty(connection: "asyncpg.Connection", found: list[Object]) -> None:
    for one in found:
        if one.kind == "schema" and one.name == _MARK:
            continue
        try:
            await connection.execute(f"DROP {word(one)} IF EXISTS {one.address} CASCADE")
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _GONE:
                raise MigrationError(f"The scratch database can't be emptied of {one.name}: {error}.") from error

"""A scratch database: empty, beside a service's own, for a while, and dropped whatever happens.

What a history makes can only be seen where it has run, and a service's own database is no place to try that.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg

from service_migrations.catalog.objects import Object, read
from service_migrations.connection import engine as connections
from service_migrations.connection.admin import connect, quoted, within
from service_migrations.drift.repair import word
from service_migrations.errors import AccessDeniedError, ConfigurationError, LockNotObtainedError, MigrationError
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings

__all__ = ["PREFIX", "finish_even_if_cancelled", "given_scratch", "scratch"]

_MARK = "migrations_scratch"
_LOCK = "SELECT pg_try_advisory_lock(7306916068411)"
"""Of the run that uses the database; another one waits."""

_PAUSE = 0.1
_GONE = ("42P01", "42704", "42883", "3F000")
"""Undefined table, type or other object, function, schema: it went with something else."""


@asynccontextmanager
async def given_scratch(settings: Settings, dsn: Dsn) -> AsyncIterator[Settings]:
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
    where = f"DATABASE_SCRATCH_DSN names {dsn.target}"
    if dsn.identity == settings.dsn.identity:
        raise ConfigurationError(
            f"{where}, which is the service's own database.", service=settings.service, hint="Name an empty one."
        )
    aimed = replace(settings, dsn=dsn)
    connection = await connect(settings, dsn)
    try:
        await _lock(connection, settings, where)
        found = await _objects(aimed)
        marked = any(one.kind == "schema" and one.name == _MARK for one in found)
        if found and not marked:
            one = found[0]
            raise ConfigurationError(
                f"{where}, which isn't empty: it holds {len(found)} objects, such as the "
                f"{one.kind} {one.name}. Nothing was touched.",
                service=settings.service,
                hint="Name an empty database.",
            )
        try:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_MARK}")
            await _empty(connection, found)
            yield aimed
        except asyncpg.InsufficientPrivilegeError as error:
            grant = f"GRANT CREATE ON DATABASE {quoted(dsn.database)} TO {quoted(dsn.user)};"
            hint = f"Its owner can run: {grant}"
            raise AccessDeniedError(f"{where}: {error}.", service=settings.service, hint=hint) from error
        finally:
            await finish_even_if_cancelled(_restore(connection, aimed))
    finally:
        connection.terminate()


async def _restore(connection: "asyncpg.Connection", settings: Settings) -> None:
    await _empty(connection, await _objects(settings))
    await connection.execute(f"DROP SCHEMA IF EXISTS {_MARK}")


async def _lock(connection: "asyncpg.Connection", settings: Settings, where: str) -> None:
    deadline = time.monotonic() + settings.limits.lock_wait
    while not await connection.fetchval(_LOCK):
        if time.monotonic() >= deadline:
            raise LockNotObtainedError(
                f"{where}, which another run uses.",
                service=settings.service,
                hint="Run the command again when it has ended.",
            )
        await asyncio.sleep(_PAUSE)


async def _objects(settings: Settings) -> list[Object]:
    """Return what stands by itself in the database, apart from the schema that every database has."""
    async with connections.open_connection(settings) as connection:
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


log = logging.getLogger(__name__)

PREFIX = "migrations_scratch_"
"""What the name of every scratch database begins with; the server's time and a random part follow."""

_PATTERN = rf"^{PREFIX}\d{{14}}_[0-9a-f]{{8}}$"
_NAME = "SELECT $1::text || to_char(now() AT TIME ZONE 'utc', 'YYYYMMDDHH24MISS') || '_' || $2::text"
_PATIENCE = 6.5
"""Seconds for dropping, of which the server may wait five; a run that was stopped is promised to end within ten."""

_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pg_has_role(usesysid, 'MEMBER')"
"""Not WITH (FORCE), which fails where autovacuum is at work there; without it, the server sends that away."""

_LEFT = """
    SELECT datname FROM pg_database d
    WHERE datname ~ $1
      AND substr(datname, $2::int, 14) < to_char((now() - interval '1 hour') AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')
      AND pg_has_role(datdba, 'MEMBER') AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""
"""What killed runs left: nobody is connected to those; a younger one may be of a run that is about to connect."""

_MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
_LIKE = """
    SELECT concat_ws(' ', 'ENCODING ' || quote_literal(pg_encoding_to_char(encoding)),
        'LC_COLLATE ' || quote_literal(datcollate), 'LC_CTYPE ' || quote_literal(datctype),
        'LOCALE_PROVIDER ' || CASE row ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
            WHEN 'c' THEN 'libc' END,
        CASE row ->> 'datlocprovider' WHEN 'i' THEN 'ICU_LOCALE ' WHEN 'b' THEN 'BUILTIN_LOCALE ' END
            || quote_literal(coalesce(row ->> 'datlocale', row ->> 'daticulocale')),
        'ICU_RULES ' || quote_literal(row ->> 'daticurules'))
    FROM (SELECT to_jsonb(d) AS row, d.* FROM pg_database d WHERE datname = current_database()) AS d
"""
"""How the service's database was made; a row's columns are not the same on every version."""


@asynccontextmanager
async def scratch(settings: Settings, admin: Dsn | None = None) -> AsyncIterator[Settings]:
    """Make a database on the server of a service's own, made alike and owned by its role, and drop it at the end.

    Also after an error, a cancellation or a lost connection. What killed runs have left is dropped on the way.

    Args:
        settings: the service's; its role makes the database where it has CREATEDB.
        admin: who makes it otherwise.

    Yields:
        The settings, leading to the scratch database.

    Raises:
        AccessDeniedError: nobody may create one; the message says how to name one.
        MigrationError: the server can't be reached, or refuses.

    """
    like, may_create = await _look(settings)
    who = within(settings.dsn, settings.dsn.database) if may_create else admin
    if who is None:
        raise _denied(settings)
    name = await _name(settings, who)
    try:
        await _create(settings, who, name, like)
        yield replace(settings, dsn=within(settings.dsn, name))
    finally:
        await finish_even_if_cancelled(_drop(settings, who, name))


async def finish_even_if_cancelled(work: Coroutine[Any, Any, None]) -> None:
    """Finish what must not be left half done, also where this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _look(settings: Settings) -> tuple[str, bool]:
    connection = await connect(settings, settings.dsn)
    try:
        return str(await connection.fetchval(_LIKE)), bool(await connection.fetchval(_MAY_CREATE))
    finally:
        await connection.close()


async def _name(settings: Settings, who: Dsn) -> str:
    """Drop what killed runs left, and return a new name: by the server's clock, as its age will be judged."""
    connection = await connect(settings, who)
    try:
        for row in await connection.fetch(_LEFT, _PATTERN, len(PREFIX) + 1):
            try:
                await connection.execute(f"DROP DATABASE IF EXISTS {quoted(row['datname'])}")
            except asyncpg.PostgresError as error:  # another run was quicker, or somebody has connected
                log.debug("%s: %s", row["datname"], error)
        return str(await connection.fetchval(_NAME, PREFIX, secrets.token_hex(4)))
    finally:
        await connection.close()


async def _create(settings: Settings, who: Dsn, name: str, like: str) -> None:
    connection = await connect(settings, who)
    owner = f" OWNER {quoted(settings.dsn.user)}" if who.user != settings.dsn.user else ""
    try:
        await connection.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0{owner} {like}")
    except asyncpg.InsufficientPrivilegeError:
        raise _denied(settings, who.user) from None
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{who.user} could not create {name}: {error}.", service=settings.service) from error
    finally:
        await connection.close()


async def _drop(settings: Settings, who: Dsn, name: str) -> None:
    """Drop it, with whatever is still connected to it; what can't be done is said, and hides no other error."""
    try:
        async with asyncio.timeout(_PATIENCE):
            connection = await connect(settings, who)
            try:
                await connection.execute(_END, name)
                await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)}")
            finally:
                connection.terminate()
    except (MigrationError, asyncpg.PostgresError, OSError) as error:
        reason = str(error) or "no answer in time"
        log.warning("%s: the scratch database %s is left behind (%s). Drop it.", settings.service, name, reason)


def _denied(settings: Settings, user: str | None = None) -> AccessDeniedError:
    who = user or settings.dsn.user
    return AccessDeniedError(
        f"{who} may not create a scratch database beside {settings.target}.",
        service=settings.service,
        hint=f"An administrator can run: ALTER ROLE {quoted(who)} CREATEDB; or name an empty "
        "database in DATABASE_SCRATCH_DSN, or an administrator in DATABASE_ADMIN_DSN.",
    )

"""A scratch database: an empty one in which a history is replayed, and which is dropped or emptied at the end.

The objects that a history creates are only known after it has run, and it must not run in the service's own database.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import asyncpg

from service_migrations.databases.admin import bootstrap_database, connected, within
from service_migrations.databases.bootstrap import bootstrap_files
from service_migrations.drift.contents import (
    MARK_SCHEMA,
    MARKED,
    READ_MARK,
    Kept,
    empty,
    extensions_of,
    kept_by,
    mark,
    objects_of,
    without,
)
from service_migrations.drift.database_settings import DatabaseSetting, database_settings, with_settings
from service_migrations.errors import AccessDeniedError, ConfigurationError, LockNotObtainedError, MigrationError
from service_migrations.interruption import finish_even_if_cancelled, unfinished
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.settings.siblings import sharing
from service_migrations.sql.quoting import quoted

__all__ = ["PREFIX", "keep_objects", "scratch"]

log = logging.getLogger(__name__)

PREFIX = "migrations_scratch_"
"""The prefix of the name of every scratch database; the server's time and a random part follow."""

_PATTERN = rf"^{PREFIX}\d{{14}}_[0-9a-f]{{8}}$"
_NAME = "SELECT $1::text || to_char(now() AT TIME ZONE 'utc', 'YYYYMMDDHH24MISS') || '_' || $2::text"
_DROP_TIMEOUT = 6.5
"""Seconds for dropping, of which the server may wait five; a stopped run has to end within ten."""

_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pg_has_role(usesysid, 'MEMBER')"
)
"""Not WITH (FORCE), which fails while autovacuum works in the database; without it, the server stops autovacuum."""

_LEFTOVER = """
    SELECT datname FROM pg_database d
    WHERE datname ~ $1
      AND substr(datname, $2::int, 14) < to_char((now() - interval '1 hour') AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')
      AND pg_has_role(datdba, 'MEMBER') AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""
"""The databases of killed runs, without connections; a run may be about to connect to a newer one."""

_MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
_OPTIONS = """
    SELECT concat_ws(' ', 'ENCODING ' || quote_literal(pg_encoding_to_char(encoding)),
        'LC_COLLATE ' || quote_literal(datcollate), 'LC_CTYPE ' || quote_literal(datctype),
        'LOCALE_PROVIDER ' || CASE row ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
            WHEN 'c' THEN 'libc' END,
        CASE row ->> 'datlocprovider' WHEN 'i' THEN 'ICU_LOCALE ' WHEN 'b' THEN 'BUILTIN_LOCALE ' END
            || quote_literal(coalesce(row ->> 'datlocale', row ->> 'daticulocale')),
        'ICU_RULES ' || quote_literal(row ->> 'daticurules'))
    FROM (SELECT to_jsonb(d) AS row, d.* FROM pg_database d WHERE datname = current_database()) AS d
"""
"""The options of CREATE DATABASE for a database like the service's; the columns depend on the version."""

_LOCK = "SELECT pg_try_advisory_lock(7306916068411)"
"""The lock of the run that uses the database; another run waits."""

_POLL_INTERVAL = 0.1
"""Seconds between two attempts to get the lock."""


def scratch(settings: Settings, admin: Dsn | None = None) -> AbstractAsyncContextManager[Settings]:
    """Provide an empty scratch database: that of DATABASE_SCRATCH_DSN, or else one that is created.

    At the end it is emptied or dropped, also after an error or a cancellation.

    Args:
        settings: the service's.
        admin: an administrator of its server, if there is one.

    Returns:
        A context manager, which yields the settings with the DSN of that database.

    Raises:
        AccessDeniedError: no role may create one; the hint describes how to name one.
        ConfigurationError: that of DATABASE_SCRATCH_DSN isn't empty, or is the service's own; or none can be created,
            since the server takes no writes.
        LockNotObtainedError: another run uses it, for longer than MIGRATIONS_LOCK_WAIT.
        MigrationError: the server can't be reached, or refuses.

    """
    return _created(settings, admin) if settings.scratch is None else _given(settings, settings.scratch, admin)


async def keep_objects(settings: Settings) -> None:
    """Let what the database of DATABASE_SCRATCH_DSN has now, such as what ``bootstrap.sql`` makes, stay in it.

    Raises:
        MigrationError: the server can't be reached, or refuses.

    """
    if settings.scratch is None:
        return
    async with connected(settings, settings.scratch) as connection:
        objects = await objects_of(replace(settings, dsn=settings.scratch), connection)
        await mark(connection, Kept([MARKED, *(item.identity for item in objects)]))


@asynccontextmanager
async def _given(settings: Settings, dsn: Dsn, admin: Dsn | None) -> AsyncIterator[Settings]:
    """Provide the scratch database of DATABASE_SCRATCH_DSN, and empty it at the end.

    The extensions that it has are an administrator's, and stay.

    Args:
        settings: the service's.
        dsn: the scratch database.
        admin: the administrator who drops an extension that the role may not drop.

    Yields:
        The settings with the DSN of that database.

    Raises:
        ConfigurationError: it has other objects, or is the service's own database.
        LockNotObtainedError: another run uses it, for longer than MIGRATIONS_LOCK_WAIT.
        AccessDeniedError: its role may not create a schema in it.

    """
    description = f"DATABASE_SCRATCH_DSN names {dsn.target}"
    if dsn.identity == settings.dsn.identity:
        raise ConfigurationError(
            f"{description}, which is the service's own database.", service=settings.service, hint="Name an empty one."
        )
    unprepared = _unprepared(settings, "an administrator has to run it in that of DATABASE_SCRATCH_DSN")
    scratch_settings = replace(settings, dsn=dsn, is_temporary=True, unprepared=unprepared)
    administrator = within(admin, dsn.database) if admin and admin.server == dsn.server else None
    async with connected(settings, dsn) as connection:
        await _lock(connection, settings, description)
        objects, marker = await objects_of(scratch_settings, connection), await connection.fetchval(READ_MARK)
        kept = extensions_of(objects) if marker is None else kept_by(marker)
        if kept is None:
            altered = f"{description}, where somebody altered the comment on the schema {MARK_SCHEMA}."
            raise ConfigurationError(altered, service=settings.service, hint="Name an empty database.")
        others = without(objects, kept)
        if others and marker is None:
            first = others[0]
            raise ConfigurationError(
                f"{description}, which isn't empty: it has {len(others)} objects, such as the "
                f"{first.kind} {first.name}. Nothing was changed.",
                service=settings.service,
                hint="Name an empty database.",
            )
        try:
            if marker is None:
                await mark(connection, kept)
            await empty(connection, others, scratch_settings, administrator)
            with unfinished(f"{dsn.target} isn't emptied, which the next run does"):
                yield scratch_settings
        except asyncpg.InsufficientPrivilegeError as error:
            grant = f"GRANT CREATE ON DATABASE {quoted(dsn.database)} TO {quoted(dsn.user)};"
            hint = f"Its owner can run: {grant}"
            raise AccessDeniedError(f"{description}: {error}.", service=settings.service, hint=hint) from error
        finally:
            await finish_even_if_cancelled(_restore(connection, kept, scratch_settings, administrator))


async def _restore(connection: "asyncpg.Connection", kept: Kept, settings: Settings, administrator: Dsn | None) -> None:
    await empty(connection, without(await objects_of(settings, connection), kept), settings, administrator)
    if not kept.marker:
        await connection.execute(f"DROP SCHEMA IF EXISTS {MARK_SCHEMA}")


async def _lock(connection: "asyncpg.Connection", settings: Settings, description: str) -> None:
    deadline = time.monotonic() + settings.limits.lock_wait
    while not await connection.fetchval(_LOCK):
        if time.monotonic() >= deadline:
            raise LockNotObtainedError(
                f"{description}, which another run uses.",
                service=settings.service,
                hint="Run the command again when it has ended.",
            )
        await asyncio.sleep(_POLL_INTERVAL)


@asynccontextmanager
async def _created(settings: Settings, admin: Dsn | None) -> AsyncIterator[Settings]:
    """Create a scratch database beside a service's own, and drop it at the end.

    It has the same options, settings and owner, and an administrator runs ``bootstrap.sql`` in it, where there is one.
    It is dropped after an error, a cancellation or a lost connection too. Databases that killed runs have left are
    dropped first.

    Args:
        settings: the service's; its role creates the database if it has CREATEDB.
        admin: the administrator who creates it otherwise.

    Yields:
        The settings with the DSN of the scratch database.

    Raises:
        AccessDeniedError: no role may create one; the hint describes how to name one.
        MigrationError: the server can't be reached, or refuses.

    """
    options, own_settings, may_create, is_standby = await _properties(settings)
    if is_standby:
        raise _read_only(settings, f"{settings.target} is a standby.")
    creator = within(settings.dsn, settings.dsn.database) if may_create else admin
    if creator is None:
        raise _denied(settings)
    name = await _name(settings, creator)
    try:
        await _create(settings, creator, name, options)
        dsn = await with_settings(settings, creator, name, own_settings)
        unprepared = ""
        if administrator := admin or settings.admin:
            others = [other.service for other in sharing(settings)]
            await bootstrap_database(settings, within(administrator, name), others)
        else:
            unprepared = _unprepared(settings, "no administrator is known: name one in DATABASE_ADMIN_DSN")
        with unfinished(f"the scratch database {name} is left, which a later run drops"):
            yield replace(settings, dsn=dsn, is_temporary=True, unprepared=unprepared)
    finally:
        await finish_even_if_cancelled(_drop(settings, creator, name))


async def _properties(settings: Settings) -> tuple[str, list[DatabaseSetting], bool, bool]:
    """Return a database's options and settings, whether its role has CREATEDB, and whether it's on a standby."""
    async with connected(settings, settings.dsn) as connection:
        options, may_create = await connection.fetchval(_OPTIONS), await connection.fetchval(_MAY_CREATE)
        own_settings = await database_settings(connection)
        is_standby = bool(await connection.fetchval("SELECT pg_is_in_recovery()"))
        return str(options), own_settings, bool(may_create), is_standby


async def _name(settings: Settings, creator: Dsn) -> str:
    """Drop databases that killed runs have left, and return a new name with the server's time."""
    async with connected(settings, creator) as connection:
        for row in await connection.fetch(_LEFTOVER, _PATTERN, len(PREFIX) + 1):
            try:
                await connection.execute(f"DROP DATABASE IF EXISTS {quoted(row['datname'])}")
            except asyncpg.PostgresError as error:  # another run has dropped it, or a session has connected
                log.debug("%s: %s", row["datname"], error)
        return str(await connection.fetchval(_NAME, PREFIX, secrets.token_hex(4)))


async def _create(settings: Settings, creator: Dsn, name: str, options: str) -> None:
    owner = f" OWNER {quoted(settings.dsn.user)}" if creator.user != settings.dsn.user else ""
    try:
        async with connected(settings, creator) as connection:
            await connection.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0{owner} {options}")
    except asyncpg.InsufficientPrivilegeError:
        raise _denied(settings, creator.user) from None
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise _read_only(settings, f"{creator.target} is read-only.") from error
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{creator.user} could not create {name}: {error}.", service=settings.service) from error


async def _drop(settings: Settings, creator: Dsn, name: str) -> None:
    """Drop a scratch database and its connections; a failure is logged, and hides no other error."""
    try:
        async with asyncio.timeout(_DROP_TIMEOUT), connected(settings, creator) as connection:
            await connection.fetch(_TERMINATE, name)
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)}")
    except asyncpg.ReadOnlySQLTransactionError as error:
        log.debug("%s: %s", name, error)  # then it wasn't created either
    except (MigrationError, asyncpg.PostgresError, OSError) as error:
        reason = str(error) or "no answer in time"
        log.warning("%s: the scratch database %s is left behind (%s). Drop it.", settings.service, name, reason)


def _unprepared(settings: Settings, reason: str) -> str:
    """Return why ``bootstrap.sql`` isn't run in a scratch database; empty where there is none."""
    services = [settings.service, *(other.service for other in sharing(settings))]
    names = " and ".join(settings.service.relative(path) for path in bootstrap_files(services))
    return f"{names} wasn't run in the scratch database: {reason}." if names else ""


def _denied(settings: Settings, user: str | None = None) -> AccessDeniedError:
    role = user or settings.dsn.user
    return AccessDeniedError(
        f"{role} may not create a scratch database beside {settings.target}.",
        service=settings.service,
        hint=f"An administrator can run: ALTER ROLE {quoted(role)} CREATEDB; or name an empty "
        "database in DATABASE_SCRATCH_DSN, or an administrator in DATABASE_ADMIN_DSN.",
    )


def _read_only(settings: Settings, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"a scratch database can't be created beside {settings.target}: {reason}",
        service=settings.service,
        hint="Name an empty database of a server that takes writes in DATABASE_SCRATCH_DSN.",
    )

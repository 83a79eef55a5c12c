"""The creation of a service's database and role, and the drop of the database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg

from service_migrations.catalog.search_path import OWN_PATH
from service_migrations.connection.ended_sessions import LosableConnection
from service_migrations.connection.parameters import END_WITH_CLIENT, NO_TIMEOUTS, without_transaction_timeout
from service_migrations.connection.retry import attempts
from service_migrations.databases.bootstrap import bootstrap, bootstrap_files
from service_migrations.databases.preparation import UNPREPARED, drop_unprepared, finish, in_use, sole_creator
from service_migrations.databases.roles import ensure_membership, ensure_role
from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    LockNotObtainedError,
    MigrationError,
    UsageError,
)
from service_migrations.failures.connections import connect_failure, unusable
from service_migrations.failures.driver_errors import is_lost_connection, sqlstate
from service_migrations.failures.revisions import lost_failure
from service_migrations.failures.servers import server_failure
from service_migrations.interruption import finish_even_if_cancelled
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.sql.quoting import quoted

__all__ = ["bootstrap_database", "connected", "create", "drop", "within"]

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]

_MAINTENANCE_DATABASE = "postgres"
_FAREWELL = 2.0
"""Seconds for the end of a connection."""

_EVERYBODY_MAY_CREATE = """
    SELECT EXISTS (
        SELECT FROM pg_namespace, aclexplode(nspacl)
        WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE'
    )
"""
"""Whether everybody may create tables, as in a new database up to PostgreSQL 14."""

_LIMIT = "SELECT datconnlimit FROM pg_database WHERE datname = $1"
_INVALID = -2
"""The connection limit of a database whose DROP was interrupted: nobody can connect to it any more."""


async def create(
    settings: Settings, admin: Dsn | None = None, *, set_password: bool = False, others: Sequence[Settings] = ()
) -> tuple[str, ...]:
    """Create a service's database, and its role where an administrator connects. What exists is left as it is.

    In a new database the administrator grants rights and runs ``bootstrap.sql`` (bootstrap.py), also those of the other
    services of this database, whose roles are made before; where that fails, there is no database. Where it was
    interrupted, even by a kill, the next call creates the database again; where another one runs, it is waited for.

    Args:
        settings: the service's.
        admin: the role that creates; where it is None, that of DATABASE_ADMIN_DSN, or else the service's own.
        set_password: whether to give an existing role the password of the settings.
        others: the settings of the services that share the database.

    Returns:
        What was done, a line each; empty where everything existed.

    Raises:
        MigrationError: the server can't be reached, or refuses.
        LockNotObtainedError: another command still creates this database, or somebody is connected to its template.

    """
    creator = admin or settings.admin or _maintenance(settings.dsn)
    lines: list[str] = []
    try:
        async with connected(settings, creator) as connection, sole_creator(connection, settings):
            if creator.user != settings.dsn.user:
                lines += await ensure_role(connection, settings.dsn, set_password=set_password)
            limit = await connection.fetchval(_LIMIT, settings.dsn.database)
            if limit == _INVALID:
                raise unusable(settings.service, creator.target, settings.dsn.database)
            if limit == UNPREPARED:
                files = bootstrap_files([settings.service, *(other.service for other in others)])
                inside = connected(settings, within(creator, settings.dsn.database))
                lines += await drop_unprepared(connection, inside, settings, creator, files)
            is_new = limit in (None, UNPREPARED)
            if is_new:
                lines += await _create(connection, settings, creator, others)
            lines += await _prepare(settings, creator, others, new=is_new)
    except asyncpg.PostgresError as error:
        raise _failure(settings, creator, "create the database", error) from error
    return tuple(lines)


async def _create(connection: "_Connection", settings: Settings, creator: Dsn, others: Sequence[Settings]) -> list[str]:
    """Create a database, marked as one that isn't prepared yet where an administrator is going to prepare it."""
    dsn, lines, options = settings.dsn, [], ""
    if creator.user != dsn.user:
        for other in others:
            lines += await ensure_role(connection, other.dsn, set_password=False)
        lines += await ensure_membership(connection, settings, creator)
        options = f" OWNER {quoted(dsn.user)} CONNECTION LIMIT {UNPREPARED}"
    try:
        await connection.execute(f"CREATE DATABASE {quoted(dsn.database)}{options}")
    except asyncpg.ObjectInUseError as error:
        message = f"{creator.user} could not create the database {dsn.database}: {' '.join(str(error).split())}"
        hint = f"In template1: {await in_use(connection, 'template1')}. End them, and run the command again."
        raise LockNotObtainedError(f"{message}", service=settings.service, hint=hint) from error
    return [*lines, f"created database {dsn.database}"]


async def _prepare(settings: Settings, creator: Dsn, others: Sequence[Settings], *, new: bool) -> list[str]:
    """Grant rights in a database, and where it is new run ``bootstrap.sql``; where that fails, a new one is dropped."""
    lines: list[str] = []
    is_administrator = creator.user != settings.dsn.user
    inside = within(creator, settings.dsn.database)
    try:
        for each in (settings, *(others if new else ())) if is_administrator else ():
            lines += await _ensure_grants(each, inside, new=new and each is settings)
        if new:
            lines += await _bootstrapped(settings, creator, [other.service for other in others])
        if new and is_administrator:
            async with connected(settings, inside) as connection:
                await finish(connection, settings.dsn.database)
    except BaseException as error:
        if new:  # the next time it would be there, and what is missing in it would never be made
            with suppress(MigrationError):
                await drop(settings, creator)
        if isinstance(error, asyncpg.PostgresError):
            raise _failure(settings, creator, "prepare the database", error) from error
        raise
    return lines


async def _bootstrapped(settings: Settings, creator: Dsn, others: Sequence[Service]) -> list[str]:
    """Run ``bootstrap.sql`` in a new database, also those of other services."""
    service, database = settings.service, settings.dsn.database
    names = ", ".join(service.relative(path) for path in bootstrap_files([service, *others]))
    if not names:
        return []
    if creator.user == settings.dsn.user:
        return [f"{names} didn't run: that takes an administrator (DATABASE_ADMIN_DSN)"]
    return await bootstrap_database(settings, within(creator, database), others)


async def bootstrap_database(settings: Settings, admin: Dsn, others: Sequence[Service] = ()) -> list[str]:
    """Run ``bootstrap.sql`` in a database, of which the DSN is an administrator's; return a line for each file.

    Args:
        settings: those of its service.
        admin: the administrator's DSN.
        others: the services that share the database.

    Raises:
        ConfigurationError, AccessDeniedError: a statement fails; the error has its file and line.
        MigrationError: the server can't be reached, or could do no more.

    """
    services = [settings.service, *others]
    if not bootstrap_files(services):
        return []
    try:
        async with connected(settings, admin) as connection:
            return await bootstrap(connection, services)
    except MigrationError as error:
        raise error.of(settings.service) from error
    except asyncpg.PostgresError as error:
        raise _failure(settings, admin, "prepare the database", error) from error


async def drop(settings: Settings, admin: Dsn | None = None) -> bool:
    """Drop a service's database, and return whether it existed.

    Raises:
        MigrationError: somebody is connected to it, or the server refuses.

    """
    remover = admin or settings.admin or _maintenance(settings.dsn)
    try:
        async with connected(settings, remover) as connection:
            exists = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", settings.dsn.database)
            if exists:
                await connection.execute(f"DROP DATABASE {quoted(settings.dsn.database)}")
    except asyncpg.PostgresError as error:
        raise _failure(settings, remover, "drop the database", error) from error
    return bool(exists)


@asynccontextmanager
async def connected(settings: Settings, dsn: Dsn) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Connect by a DSN for statements that are no migration, and disconnect at the end.

    Raises:
        MigrationError: it can't be connected to; the message has the reason.
        UnreachableError: the connection was lost, or the server could do no more, such as with a full disk.
        ContentionError: a lock wasn't free in time.

    """
    connection = await _connect(settings, dsn)
    try:
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if is_lost_connection(error) or connection.is_closed():
            raise lost_failure(error, settings.service) from error
        if failure := server_failure(error, dsn.target, settings.service):
            raise failure from error
        raise
    finally:
        try:
            await finish_even_if_cancelled(connection.close(timeout=_FAREWELL))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            connection.terminate()


async def _connect(settings: Settings, dsn: Dsn) -> "asyncpg.Connection[asyncpg.Record]":
    arguments, patience = dsn.connect_args(), settings.limits.connect_timeout
    own = {"server_settings": {"search_path": OWN_PATH, **NO_TIMEOUTS, **END_WITH_CLIENT}}
    open_connection = partial(asyncpg.connect, **arguments, timeout=patience, connection_class=LosableConnection)
    await dsn.current_password()  # a command for it may take longer than a connection
    try:
        try:
            connection = await attempts(partial(open_connection, **own), f"{settings.service}: {dsn.target}", patience)
            return await without_transaction_timeout(connection)
        except asyncpg.PostgresError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            return await partial(open_connection, connection_class=_PooledConnection)()
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is explained
        failure = connect_failure(error, settings.service, dsn, patience)
        if sqlstate(error) == "3D000" and dsn.database != settings.dsn.database:
            # not the service's own database, which is all that `inv db.create` creates
            hint = f"An administrator can run: CREATE DATABASE {quoted(dsn.database)} OWNER {quoted(dsn.user)};"
            failure = ConfigurationError(failure.message, service=settings.service, hint=hint)
        # without its cause: asyncpg's frames hold the password
        raise failure from None


class _PooledConnection(LosableConnection):
    """A connection through a pooler that passes no startup parameter on: each query sets our own search path.

    In a transaction mode of the pooler, a SET would reach the sessions of other clients.
    """

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        """Run a query, and return its rows."""
        async with self.transaction():
            await self.execute(f"SET LOCAL search_path TO {OWN_PATH}")
            return await super().fetch(*arguments, **options)

    async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Run a query, and return the first value."""
        rows = await self.fetch(query, *arguments, **options)
        return rows[0][0] if rows else None


def within(dsn: Dsn, database: str) -> Dsn:
    """Return the DSN of another database on the same server."""
    return replace(dsn, database=database)


async def _ensure_grants(settings: Settings, admin: Dsn, *, new: bool) -> list[str]:
    """Let the role create tables, which since PostgreSQL 15 not everybody may.

    In a *new* database, older servers too take that right from everybody else. In an existing one, other roles may
    need it: there `db.upgrade` and `db.doctor` report it.
    """
    role, lines = quoted(settings.dsn.user), []
    try:
        async with connected(settings, admin) as connection:
            if new and await connection.fetchval(_EVERYBODY_MAY_CREATE):
                await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
                if not await connection.fetchval(_EVERYBODY_MAY_CREATE):  # a mere warning where the schema is another's
                    lines.append("revoked CREATE on schema public from PUBLIC")
            if not await connection.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", settings.dsn.user):
                await connection.execute(f"GRANT CONNECT ON DATABASE {quoted(settings.dsn.database)} TO {role}")
                await connection.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
                lines.append(f"granted CREATE on schema public to {settings.dsn.user}")
    except asyncpg.PostgresError as error:
        raise _failure(settings, admin, "grant CREATE on schema public", error) from error
    return lines


def _maintenance(dsn: Dsn) -> Dsn:
    return within(dsn, _MAINTENANCE_DATABASE)


def _failure(settings: Settings, dsn: Dsn, action: str, error: asyncpg.PostgresError) -> MigrationError:
    message, service = f"{dsn.user} could not {action} {settings.dsn.database}", settings.service
    if sqlstate(error) == "42501":
        hint = "Name an administrator in DATABASE_ADMIN_DSN."
        return AccessDeniedError(f"{message}: {error}.", service=service, hint=hint)
    if sqlstate(error) == "25006":
        hint = "It is a standby, or read-only: name the primary, or see `inv db.doctor`."
        return ConfigurationError(f"{message}: {dsn.target} takes no writes.", service=service, hint=hint)
    if sqlstate(error) == "55006":
        hint = "Stop the service, and run the command again."
        return UsageError(f"{message}: somebody is connected to it.", service=service, hint=hint)
    return MigrationError(f"{message}: {error}.", service=service)

"""The database itself: make it, with its role, and drop it."""

from functools import partial

import asyncpg

from service_migrations.connection.retry import attempts
from service_migrations.connection.scram import verifier
from service_migrations.errors import AccessDeniedError, MigrationError, UsageError
from service_migrations.failures import connect_failure, sqlstate
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings

__all__ = ["connect", "create", "drop", "quoted", "within"]

_MAINTENANCE = "postgres"

_OPEN = """
    SELECT EXISTS (
        SELECT FROM pg_namespace, aclexplode(nspacl)
        WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE'
    )
"""
"""Whether everybody may create tables: so it is in a new database until PostgreSQL 14."""


async def create(settings: Settings, admin: Dsn | None = None, *, set_password: bool = False) -> tuple[str, ...]:
    """Create a service's database, with its role where an administrator connects; what exists is left as it is.

    Args:
        settings: the service's.
        admin: who creates; DATABASE_ADMIN_DSN, or else the service's own role, where it is None.
        set_password: give an existing role the password of the settings.

    Returns:
        What was done, a line each; empty where everything was there.

    Raises:
        MigrationError: the server can't be reached, or refuses.

    """
    who = admin or settings.admin or _own(settings.dsn)
    dsn, done = settings.dsn, []
    connection = await connect(settings, who)
    try:
        if who.user != dsn.user:
            done += await _ensure_role(connection, dsn, set_password=set_password)
        there = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", dsn.database)
        if not there:
            owner = f" OWNER {quoted(dsn.user)}" if who.user != dsn.user else ""
            await connection.execute(f"CREATE DATABASE {quoted(dsn.database)}{owner}")
            done.append(f"created database {dsn.database}")
    except asyncpg.PostgresError as error:
        raise _refused(settings, who, "create the database", error) from error
    finally:
        await connection.close()
    if who.user != dsn.user:
        done += await _ensure_grants(settings, within(who, dsn.database), new=not there)
    return tuple(done)


async def drop(settings: Settings, admin: Dsn | None = None) -> bool:
    """Drop a service's database, with everything in it; return whether it was there.

    Raises:
        MigrationError: somebody is connected to it, or the server refuses.

    """
    who = admin or settings.admin or _own(settings.dsn)
    connection = await connect(settings, who)
    try:
        there = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", settings.dsn.database)
        if there:
            await connection.execute(f"DROP DATABASE {quoted(settings.dsn.database)}")
    except asyncpg.PostgresError as error:
        raise _refused(settings, who, "drop the database", error) from error
    finally:
        await connection.close()
    return bool(there)


async def connect(settings: Settings, who: Dsn) -> "asyncpg.Connection":
    """Connect as somebody, for what no migrating connection is needed for.

    Raises:
        MigrationError: it can't be connected to; the message says why.

    """
    arguments, patience = who.connect_args(), settings.limits.connect_timeout
    opened = partial(asyncpg.connect, **arguments, timeout=patience)
    try:
        return await attempts(opened, f"{settings.service}: {who.target}", patience)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises there is explained
        # without its cause: asyncpg's frames hold the password
        raise connect_failure(error, settings.service, who, patience) from None


def within(dsn: Dsn, database: str) -> Dsn:
    """Return a DSN that leads to another database of the same server."""
    return Dsn(dsn.user, database, dsn.hosts, dsn.password, dsn.parameters)


def quoted(identifier: str) -> str:
    """Return an identifier as SQL takes it, whatever is in it."""
    return '"' + identifier.replace('"', '""') + '"'


async def _ensure_role(connection: "asyncpg.Connection", dsn: Dsn, *, set_password: bool) -> list[str]:
    there = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", dsn.user)
    if there and not set_password:
        return []
    verb = "ALTER" if there else "CREATE"
    # never the password itself: a statement, with its arguments, may stand in the server's log
    secret = verifier(dsn.password) if dsn.password else None
    statement = await connection.fetchval(
        f"SELECT format('{verb} ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", dsn.user, secret
    )
    await connection.execute(statement)
    return [] if there else [f"created role {dsn.user}"]


async def _ensure_grants(settings: Settings, admin: Dsn, *, new: bool) -> list[str]:
    """Let the role create tables, which since PostgreSQL 15 is no longer everybody's right.

    In a *new* database it is taken from everybody else on older servers too. One that was there may be others' as well,
    who rely on it: there `db.upgrade` and `db.doctor` say what they think of it.
    """
    role, done = quoted(settings.dsn.user), []
    connection = await connect(settings, admin)
    try:
        if new and await connection.fetchval(_OPEN):
            await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            done.append("revoked CREATE on schema public from PUBLIC")
        if not await connection.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", settings.dsn.user):
            await connection.execute(f"GRANT CONNECT ON DATABASE {quoted(settings.dsn.database)} TO {role}")
            await connection.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
            done.append(f"granted CREATE on schema public to {settings.dsn.user}")
    except asyncpg.PostgresError as error:
        raise _refused(settings, admin, "grant CREATE on schema public", error) from error
    finally:
        await connection.close()
    return done


def _own(dsn: Dsn) -> Dsn:
    return within(dsn, _MAINTENANCE)


def _refused(settings: Settings, who: Dsn, what: str, error: asyncpg.PostgresError) -> MigrationError:
    failed, service = f"{who.user} could not {what} {settings.dsn.database}", settings.service
    if sqlstate(error) == "42501":
        hint = "Name an administrator in DATABASE_ADMIN_DSN."
        return AccessDeniedError(f"{failed}: {error}.", service=service, hint=hint)
    if sqlstate(error) == "55006":
        hint = "Stop the service, and run the command again."
        return UsageError(f"{failed}: somebody is connected to it.", service=service, hint=hint)
    return MigrationError(f"{failed}: {error}.", service=service)

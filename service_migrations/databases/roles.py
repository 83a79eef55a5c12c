"""The role of a service, and the membership in it that an administrator needs who isn't a superuser."""

from typing import TYPE_CHECKING

import asyncpg

from service_migrations.databases.scram import verifier
from service_migrations.errors import AccessDeniedError
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.sql.quoting import quoted

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

__all__ = ["ensure_membership", "ensure_role"]

_SET_OPTION_SINCE = 16
"""The first version in which CREATE DATABASE … OWNER needs SET ROLE of the owner; before, a membership was enough."""


async def ensure_role(connection: "Connection", dsn: Dsn, *, set_password: bool) -> list[str]:
    """Create the role of a DSN with its password, and return what was done; one that exists is left as it is.

    Args:
        connection: of an administrator.
        dsn: names the role.
        set_password: whether to give an existing role the password of the DSN.

    """
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", dsn.user)
    if exists and not (set_password and dsn.password):
        return []  # without one here, as with a command for it, that of the role would be removed
    verb = "ALTER" if exists else "CREATE"
    # never the password itself: the server may log a statement with its arguments
    secret = verifier(dsn.password) if dsn.password else None
    statement = await connection.fetchval(
        f"SELECT format('{verb} ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)", dsn.user, secret
    )
    try:
        await connection.execute(statement)
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        return []  # another command has created it since, for another database
    return [] if exists else [f"created role {dsn.user}{'' if secret else ' without a password'}"]


async def ensure_membership(connection: "Connection", settings: Settings, creator: Dsn) -> list[str]:
    """Let an administrator who isn't a superuser, as of a managed server, create a database for the service's role.

    Who may create roles isn't a member of them. Since PostgreSQL 16 they may be administrators of those that they made.

    Raises:
        AccessDeniedError: the administrator may not grant the role.

    """
    privilege = "SET" if connection.get_server_version().major >= _SET_OPTION_SINCE else "MEMBER"
    owner = settings.dsn.user
    if await connection.fetchval("SELECT pg_has_role(current_user, $1::text::name, $2)", owner, privilege):
        return []
    statement = f"GRANT {quoted(owner)} TO {quoted(creator.user)}"
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        raise AccessDeniedError(
            f"{creator.user} could not create the database {settings.dsn.database} for {owner}: {error}.",
            service=settings.service,
            hint=f"Who administers that role can run: {statement};",
        ) from error
    return [f"granted {owner} to {creator.user}"]

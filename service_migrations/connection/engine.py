"""One connection for a migration: the engine, and its session settings as startup parameters."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations.connection.parameters import APPLICATION, connect_arguments, session_settings, timeouts
from service_migrations.connection.pooler import is_foreign, is_pooled, make_sure, refused
from service_migrations.connection.retry import attempts
from service_migrations.connection.simple_query import Connection
from service_migrations.errors import UsageError
from service_migrations.failures import connect_failure
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Limits, Settings

__all__ = ["APPLICATION", "borrow_connection", "default_isolation", "engine", "open_connection"]

_TRANSACTION_TIMEOUT_SINCE = 17
_SET = text("SELECT set_config(:key, :value, false)")


def engine(settings: Settings, *, bare: bool = False) -> AsyncEngine:
    """Return an engine for one service: no pool, and its session settings as startup parameters.

    Startup parameters beat the settings of the role and survive RESET; a SET would open a transaction.

    Args:
        settings: the service's.
        bare: without the startup parameters, of which a pooler understands few.

    """
    arguments = connect_arguments(settings)
    arguments["server_settings"] = {} if bare else session_settings(settings)
    # The statements of a migration come once each: kept by name, every one would cost a further message that closes
    # it, and one that comes again behind an ALTER TABLE fails, since its plan is of the table before.
    arguments |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    arguments["connection_class"] = Connection
    return create_async_engine(settings.dsn.url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)


@asynccontextmanager
async def open_connection(settings: Settings, *, patient: bool = True) -> AsyncIterator[AsyncConnection]:
    """Connect to a service's database, and disconnect at the end.

    Args:
        settings: the service's.
        patient: ask a server again that is busy, for as long as the connect timeout lasts.

    Raises:
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message says why.

    """
    own, connection = await _open(settings, patient=patient)
    try:
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await _prepare(connection, own, settings)
            await connection.execution_options(isolation_level=default_isolation(connection))
            yield connection
        finally:
            with suppress(SQLAlchemyError, OSError):
                await connection.close()
    finally:
        await own.dispose()


@asynccontextmanager
async def borrow_connection(
    caller: AsyncEngine, service: Service, limits: Limits, *, patient: bool = True
) -> AsyncIterator[AsyncConnection]:
    """Take a connection from an engine of the caller's, whose pool gets nothing of ours back.

    The connection's session settings are changed, so it is not returned to the pool but closed.

    Raises:
        UsageError: it is an engine of another driver's than asyncpg.
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message says why.

    """
    if caller.dialect.driver != "asyncpg":
        raise UsageError(
            f"the engine connects with {caller.dialect.driver}, and a migration does with asyncpg.",
            service=service,
            hint='Make it by create_async_engine("postgresql+asyncpg://…").',
        )
    url, patience = caller.url, limits.connect_timeout if patient else 0.0
    dsn = Dsn(url.username or "", url.database or "", ((url.host or "", url.port or 5432),))
    where = f"{service}: {dsn.target}"
    try:
        connection = await attempts(caller.connect, where, patience)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises there is explained
        if is_foreign(error):
            raise refused(where) from None
        raise connect_failure(error, service, dsn, patience, engine=True) from None
    try:
        await connection.execution_options(isolation_level="READ COMMITTED")
        if await is_pooled(connection):
            await make_sure(connection, caller, where, limits.connect_timeout)
        for key, value in timeouts(limits).items():
            await connection.execute(_SET, {"key": key, "value": value})
        await connection.commit()
        yield connection
    finally:
        with suppress(SQLAlchemyError, OSError):
            await connection.invalidate()
            await connection.close()


def default_isolation(connection: AsyncConnection) -> Any:
    """Return the isolation level that a connection has by the settings of server, database and role."""
    return connection.sync_connection and connection.sync_connection.default_isolation_level


async def _prepare(connection: AsyncConnection, own: AsyncEngine, settings: Settings) -> None:
    """Make sure of what no startup parameter can tell; each statement is a transaction of its own."""
    if await is_pooled(connection):
        # nothing is set before the proof: in transaction mode it would reach the sessions of other clients
        await make_sure(connection, own, f"{settings.service}: {settings.target}", _timeout(settings))
        await _settle(connection, settings)
    raw = await connection.get_raw_connection()
    if cast("Any", raw.driver_connection).get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
        # a startup parameter of that name is fatal on older servers
        await connection.execute(text("SELECT set_config('transaction_timeout', '0', false)"))
        await connection.rollback()


async def _open(settings: Settings, *, patient: bool) -> tuple[AsyncEngine, AsyncConnection]:
    """Connect, a second time without startup parameters where a pooler refuses those: they are set afterwards."""
    bare, patience = False, _timeout(settings) if patient else 0.0
    where = f"{settings.service}: {settings.target}"
    while True:
        own = engine(settings, bare=bare)
        try:
            return own, await attempts(own.connect, where, patience)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises there is explained
            await own.dispose()
            if not bare and "unsupported startup parameter" in str(error):
                bare = True
                continue
            if is_foreign(error):
                raise refused(where) from None
            # without its cause: asyncpg's frames hold the password, and pytest prints the arguments of frames
            raise connect_failure(error, settings.service, settings.dsn, patience) from None


async def _settle(connection: AsyncConnection, settings: Settings) -> None:
    """Set what of the startup parameters a pooler has swallowed."""
    where = f"{settings.service}: {settings.target}"
    try:
        have: dict[str, tuple[str, str]] = {}
        for key, value in session_settings(settings).items():
            asked = await connection.scalar(_SET, {"key": key, "value": value})
            await connection.commit()
            have[key] = str(asked), str(await connection.scalar(text("SELECT current_setting(:key)"), {"key": key}))
            await connection.commit()
    except DBAPIError as error:
        raise refused(where, f"it passed no startup parameter on, and {error.orig}") from None
    lost = [key for key, (asked, found) in have.items() if asked != found]
    if lost:
        raise refused(where, f"{', '.join(lost)} did not stay set")


def _timeout(settings: Settings) -> float:
    return settings.dsn.connect_timeout or settings.limits.connect_timeout

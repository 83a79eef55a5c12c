"""The connection of a migration, and its session settings as startup parameters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service_migrations._sqlalchemy import connect_arguments_for
from service_migrations.connection.dialect import NAME
from service_migrations.connection.drivers import driver_of, is_lost, require_driver
from service_migrations.connection.ended_sessions import observed_ends
from service_migrations.connection.opened import Opened, close
from service_migrations.connection.parameters import (
    APPLICATION,
    connect_arguments,
    connect_timeout,
    session_settings,
    timeouts,
)
from service_migrations.connection.pooler import answering_pid, is_foreign, pooler_failure, require_session_mode
from service_migrations.connection.retry import attempts
from service_migrations.connection.server_process import ServerProcess, known_process
from service_migrations.connection.simple_query import Connection
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures.connections import connect_failure
from service_migrations.failures.driver_errors import is_lost_connection
from service_migrations.failures.revisions import lost_failure
from service_migrations.interruption import finish_even_if_cancelled
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Limits, Settings

__all__ = ["APPLICATION", "create_engine", "default_isolation", "open_connection", "open_connection_from"]

_SET = text("SELECT pg_catalog.set_config(:key, :value, false)")
_CURRENT = text("SELECT pg_catalog.current_setting(:key)")


def create_engine(settings: Settings, *, bare: bool = False, opened: Opened | None = None) -> AsyncEngine:
    """Return an engine without a pool for a service, with its session settings as startup parameters.

    Startup parameters override the settings of the role and survive RESET; a SET would open a transaction.

    Args:
        settings: the service's.
        bare: whether to leave out the startup parameters: a pooler accepts few of them.
        opened: what its first connection is; None to connect.

    """
    server_settings = {} if bare else session_settings(settings)
    if settings.service.driver == "psycopg":
        require_driver(settings.service)
        from service_migrations.libpq.conninfo import Connections  # noqa: PLC0415 - only services with that driver need it
        from service_migrations.libpq.dialect import NAME as LIBPQ  # noqa: PLC0415

        connections = Connections(settings.dsn, connect_timeout(settings), server_settings)
        url, connect = settings.dsn.url.set(drivername=LIBPQ), connections.connect
        engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True, async_creator=connect)
        event.listen(engine.sync_engine, "engine_disposed", connections.close)
        return engine
    arguments = {**connect_arguments(settings), "server_settings": server_settings}
    # A migration runs each statement once. Kept by name, each would need one more message that closes it, and one that
    # is run again after an ALTER TABLE would fail, since its plan is of the table before.
    arguments |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    arguments["connection_class"] = Connection
    if opened:
        arguments |= connect_arguments_for(opened.connection, asyncpg.connect)
    url = settings.dsn.url.set(drivername=NAME)
    return create_async_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)


@asynccontextmanager
async def open_connection(
    settings: Settings, *, patient: bool = True, opened: Opened | None = None
) -> AsyncIterator[AsyncConnection]:
    """Connect to a service's database, and disconnect at the end.

    Args:
        settings: the service's.
        patient: whether to try again while the server is busy, until the connect timeout is over.
        opened: a connection to go on over, if it was opened with the same limits and isn't lost.

    Raises:
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message has the reason.

    """
    engine, connection = await _reuse(settings, opened) or await _open(settings, patient=patient)
    try:
        with observed_ends(engine):
            try:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await _prepare(connection, engine, settings)
                await connection.execution_options(isolation_level=default_isolation(connection))
                yield connection
            except Exception as error:
                _raise_if_lost(error, connection, settings.service)
                raise
            finally:
                with suppress(SQLAlchemyError, OSError):
                    await finish_even_if_cancelled(connection.close())
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_connection_from(
    engine: AsyncEngine, service: Service, limits: Limits, *, patient: bool = True
) -> AsyncIterator[AsyncConnection]:
    """Take a connection from an engine of the caller's, and close it at the end.

    Its session settings are changed, so it isn't returned to the pool.

    Raises:
        UsageError: the engine's driver isn't that of the service.
        UnreachableError, AccessDeniedError, ConfigurationError: it can't be connected to; the message has the reason.

    """
    if engine.dialect.driver != service.driver:
        setting = ' Or set driver = "psycopg" for the service in pyproject.toml.'
        raise UsageError(
            f"the engine connects with {engine.dialect.driver}, and a migration needs {service.driver}.",
            service=service,
            hint=f'Make it with create_async_engine("postgresql+{service.driver}://…").'
            + (setting if engine.dialect.driver == "psycopg" else ""),
        )
    if service.driver == "psycopg":
        async with _over_connections_of(engine) as own, _take_connection(own, service, limits, patient) as connection:
            yield connection
    else:
        async with _take_connection(engine, service, limits, patient) as connection:
            yield connection


@asynccontextmanager
async def _over_connections_of(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Yield an engine with the dialect of this library, whose connections are taken from an engine of psycopg's."""
    from service_migrations.libpq.dialect import NAME  # noqa: PLC0415 - only services with that driver need it

    taken: list[AsyncConnection] = []

    async def take() -> Any:
        connection = await engine.connect()
        taken.append(connection)
        # of an engine of this dialect, its own driver_connection is that of psycopg2's habits
        return (await connection.get_raw_connection()).dbapi_connection.driver_connection  # type: ignore[union-attr]

    own = create_async_engine(
        engine.url.set(drivername=NAME), poolclass=NullPool, hide_parameters=True, async_creator=take
    )
    try:
        yield own
    finally:
        await own.dispose()
        for connection in taken:
            await finish_even_if_cancelled(_discard(connection))


@asynccontextmanager
async def _take_connection(
    engine: AsyncEngine, service: Service, limits: Limits, patient: bool
) -> AsyncIterator[AsyncConnection]:
    url, patience = engine.url, limits.connect_timeout if patient else 0.0
    dsn = Dsn(url.username or "", url.database or "", ((url.host or "", url.port or 5432),))
    prefix = f"{service}: {dsn.target}"
    try:
        connection = await attempts(engine.connect, prefix, patience)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is explained
        if is_foreign(error):
            raise pooler_failure(prefix) from None
        raise connect_failure(error, service, dsn, patience, engine=True) from None
    with observed_ends(engine):
        try:
            await connection.execution_options(isolation_level="READ COMMITTED")
            process = known_process(connection)  # of an engine of ours
            pid = process.pid if process else await answering_pid(connection)
            if pid != (await connection.run_sync(driver_of)).pid():
                process = None
                await require_session_mode(connection, engine, prefix, limits.connect_timeout)
            for key, value in timeouts(limits).items():
                await connection.execute(_SET, {"key": key, "value": value})
            (process or await ServerProcess.prepare_through(connection)).note(connection)
            await connection.commit()
            yield connection
        except Exception as error:
            _raise_if_lost(error, connection, service)
            raise
        finally:
            await finish_even_if_cancelled(_discard(connection))


def _raise_if_lost(error: Exception, connection: AsyncConnection, service: Service) -> None:
    """Raise the error of a lost connection where this one is lost, whatever its loss has raised.

    Raises:
        UnreachableError: it is.

    """
    if not isinstance(error, MigrationError) and (is_lost(connection) or is_lost_connection(error)):
        raise lost_failure(error, service) from error


async def _discard(connection: AsyncConnection) -> None:
    """Close a connection for good, instead of returning it to a pool."""
    with suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
        await connection.close()


def default_isolation(connection: AsyncConnection) -> Any:
    """Return the isolation level that a connection has by the settings of server, database and role."""
    return connection.sync_connection and connection.sync_connection.default_isolation_level


async def _prepare(connection: AsyncConnection, engine: AsyncEngine, settings: Settings) -> None:
    """Refuse a pooler in transaction mode, and set what is no startup parameter.

    The connection is in autocommit.
    """
    driver = await connection.run_sync(driver_of)
    process = known_process(connection) or await ServerProcess.prepare_through(connection, driver.pid())
    if process.pid != driver.pid():
        # nothing is set before the proof: in transaction mode it would reach the sessions of other clients
        await require_session_mode(
            connection, engine, f"{settings.service}: {settings.target}", connect_timeout(settings)
        )
        await _set_session(connection, settings)
        process = await ServerProcess.prepare_through(connection)
    await connection.rollback()
    process.note(connection)


async def _reuse(settings: Settings, opened: Opened | None) -> tuple[AsyncEngine, AsyncConnection] | None:
    """Go on over a connection that was opened; where that isn't possible, close it and return None."""
    if opened is None:
        return None
    if opened.limits == settings.limits and settings.service.driver == "asyncpg":
        engine = create_engine(settings, opened=opened)
        # not by cancelling: asyncpg would then send the server a message, and wait for that too
        timer = asyncio.get_running_loop().call_later(connect_timeout(settings), opened.connection.terminate)
        try:
            return engine, await engine.connect()
        except Exception:  # noqa: BLE001 - it was lost meanwhile; whatever it is, a new connection shows it
            await engine.dispose()
        finally:
            timer.cancel()
    await close(opened.connection)
    return None


async def _open(settings: Settings, *, patient: bool) -> tuple[AsyncEngine, AsyncConnection]:
    """Connect, and again without startup parameters where a pooler refuses them: they are set afterwards."""
    bare, patience = False, connect_timeout(settings) if patient else 0.0
    prefix = f"{settings.service}: {settings.target}"
    await settings.dsn.current_password()  # a command for it may take longer than a connection
    while True:
        engine = create_engine(settings, bare=bare)
        try:
            return engine, await attempts(engine.connect, prefix, patience)
        except BaseException as error:
            await engine.dispose()
            if not isinstance(error, Exception):
                raise
            if not bare and "unsupported startup parameter" in str(error):
                bare = True
                continue
            if is_foreign(error):
                raise pooler_failure(prefix) from None
            # without its cause: asyncpg's frames hold the password, and pytest prints the arguments of frames
            raise connect_failure(error, settings.service, settings.dsn, patience) from None


async def _set_session(connection: AsyncConnection, settings: Settings) -> None:
    """Set the startup parameters that a pooler didn't pass on."""
    prefix = f"{settings.service}: {settings.target}"
    try:
        values: dict[str, tuple[str, str]] = {}
        for key, value in session_settings(settings).items():
            new = await connection.scalar(_SET, {"key": key, "value": value})
            await connection.commit()
            values[key] = str(new), str(await connection.scalar(_CURRENT, {"key": key}))
            await connection.commit()
    except DBAPIError as error:
        raise pooler_failure(prefix, f"it passed no startup parameter on, and {error.orig}") from None
    lost = [key for key, (new, current) in values.items() if new != current]
    if lost:
        raise pooler_failure(prefix, f"{', '.join(lost)} did not stay set")

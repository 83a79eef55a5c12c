"""The connector: makes connections to a service's database, by its own settings or from an engine of the caller's."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_migrations.connection.engine import open_connection, open_connection_from
from service_migrations.connection.opened import Opened
from service_migrations.interruption import unfinished
from service_migrations.monorepo import Service
from service_migrations.settings.database import Database
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Limits, Settings, load, load_options
from service_migrations.settings.sources import Sources

__all__ = ["Connector", "connector", "connector_of", "connector_over"]


@dataclass(frozen=True, slots=True)
class Connector:
    """The maker of connections to one service's database.

    Attributes:
        service: the service.
        target: the database without the password, for messages.
        user: the role that connects.
        version_table: the name of the version table.
        limits: how long things may take.
        edited: what an upgrade does if revision files were edited after they had been applied.
        databases: the databases that the service's settings, or the engine, lead to.
        is_local: whether the target is certainly this machine.
        has_callers_engine: whether the connections come from an engine of the caller's.
        sources: what the settings were read from.
        is_temporary: as of the settings.
        unprepared: as of the settings.
        patient: whether to try again while the server is busy, until the connect timeout is over.

    """

    service: Service
    target: str
    user: str
    version_table: str
    limits: Limits
    edited: Literal["refuse", "warn"]
    databases: frozenset[Database]
    is_local: bool
    has_callers_engine: bool
    sources: Sources = field(repr=False)
    _open: Callable[[Limits, bool], AbstractAsyncContextManager[AsyncConnection]] = field(repr=False)
    is_temporary: bool = False
    unprepared: str = ""
    patient: bool = True

    def at_once(self) -> "Connector":
        """Return a copy that tries only once, for callers that try again themselves or not at all."""
        return replace(self, patient=False)

    def changing(self) -> AbstractContextManager[None]:
        """Note that the database is being changed, for a command that ends before the server has answered."""
        text = "the state is unknown. Run `inv db.current`"
        return nullcontext() if self.is_temporary else unfinished(text)

    @asynccontextmanager
    async def connect(self, lock_timeout: float | None = None) -> AsyncIterator[AsyncConnection]:
        """Connect, and disconnect at the end.

        Args:
            lock_timeout: seconds that a statement may wait for a lock; the service's setting where it is None.

        Raises:
            MigrationError: it can't be connected to; the message has the reason.

        """
        limits = self.limits if lock_timeout is None else replace(self.limits, lock_timeout=lock_timeout)
        async with self._open(limits, self.patient) as connection:
            yield connection


def connector(
    service: Service,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
    limits: Limits | None = None,
) -> Connector:
    """Return the connector of a service; nothing is connected to.

    Args:
        service: the service.
        engine: an engine of the caller's; without it, the service's own settings.
        settings: the service's, where they are loaded already.
        limits: instead of those of the service's settings.

    Raises:
        MigrationError: the settings are missing or wrong.
        TypeError: the engine is none of ``create_async_engine()``.

    """
    if engine is not None:
        if not isinstance(engine, AsyncEngine):
            raise TypeError(f"an engine is one of create_async_engine(), not {type(engine).__name__}")
        made = connector_over(engine, service, settings.sources if settings else Sources(), limits)
        return replace(made, is_temporary=settings is not None and settings.is_temporary)
    return connector_of(settings or load(service), limits)


def connector_of(settings: Settings, limits: Limits | None = None, opened: Opened | None = None) -> Connector:
    """Return the connector of a service whose settings are loaded.

    Args:
        settings: the service's.
        limits: instead of those of the settings.
        opened: what the first connection goes on over; None for one of its own.

    """
    unused = [opened] if opened else []

    def open_own(limits: Limits, patient: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        first = unused.pop() if unused else None
        return open_connection(replace(settings, limits=limits), patient=patient, opened=first)

    return Connector(
        service=settings.service,
        target=settings.target,
        user=settings.dsn.user,
        version_table=settings.version_table,
        limits=limits or settings.limits,
        edited=settings.edited,
        databases=settings.databases | {settings.database},
        is_local=settings.dsn.is_local,
        has_callers_engine=False,
        sources=settings.sources,
        _open=open_own,
        is_temporary=settings.is_temporary,
        unprepared=settings.unprepared,
    )


def connector_over(engine: AsyncEngine, service: Service, sources: Sources, limits: Limits | None = None) -> Connector:
    """Return the connector of a service that takes its connections from an engine of the caller's.

    Raises:
        ConfigurationError: a setting that applies to an engine too is wrong.

    """
    url, options = engine.url, load_options(service, sources)
    hosts = ((url.host, url.port or 5432),) if url.host else ()
    database = Database.of(Dsn(url.username or "", url.database or "", hosts))
    return Connector(
        service=service,
        target=f"{url.username}@{url.host}:{url.port or 5432}/{url.database}",
        user=url.username or "",
        version_table=options.version_table,
        limits=limits or options.limits,
        edited=options.edited,
        databases=frozenset({database}),
        # an engine may lead to any server, so what destroys data has to be allowed
        is_local=False,
        has_callers_engine=True,
        sources=sources,
        _open=partial(_open_from, engine, service),
    )


def _open_from(
    engine: AsyncEngine,
    service: Service,
    limits: Limits,
    patient: bool,
) -> AbstractAsyncContextManager[AsyncConnection]:
    return open_connection_from(engine, service, limits, patient=patient)

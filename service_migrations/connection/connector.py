"""How a service's database is reached: with the service's own settings, or over an engine of the caller's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service_migrations.connection import engine as connections
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings import model as settings_module
from service_migrations.settings.model import Limits, Settings

__all__ = ["Connector", "access", "settled"]


@dataclass(frozen=True, slots=True)
class Connector:
    """One service's way to its database; any number of connections can be made on it.

    On one that is ``patient``, a server that starts up or has too many connections is asked again for a while.
    """

    service: Service
    target: str
    user: str
    version_table: str
    limits: Limits
    edited: Literal["refuse", "warn"]
    settings: Settings | None
    engine: AsyncEngine | None
    patient: bool = True

    def at_once(self) -> "Connector":
        """Return the same way for those who have their own patience, or none."""
        return replace(self, patient=False)

    @asynccontextmanager
    async def connect(self, lock_timeout: float | None = None) -> AsyncIterator[AsyncConnection]:
        """Connect, and disconnect at the end.

        Args:
            lock_timeout: seconds that a statement may wait for a lock; the service's setting where it is None.

        Raises:
            MigrationError: it can't be connected to; the message says why.

        """
        limits = self.limits if lock_timeout is None else replace(self.limits, lock_timeout=lock_timeout)
        if self.engine is not None:
            async with connections.adopt(self.engine, self.service, limits, patient=self.patient) as connection:
                yield connection
        elif self.settings is not None:
            settings = replace(self.settings, limits=limits)
            async with connections.connect(settings, patient=self.patient) as connection:
                yield connection


def access(service: Service, engine: AsyncEngine | None = None, limits: Limits | None = None) -> Connector:
    """Return the way to a service's database; nothing is connected to.

    Args:
        service: the service.
        engine: an engine of the caller's; without it, the service's own settings.
        limits: instead of those of the service's settings.

    Raises:
        MigrationError: the settings are missing or wrong.

    """
    if engine is not None:
        url = engine.url
        return Connector(
            service=service,
            target=f"{url.username}@{url.host}:{url.port or 5432}/{url.database}",
            user=url.username or "",
            version_table=settings_module.version_table(service),
            limits=limits or settings_module.limits(service),
            edited=settings_module.edited(service),
            settings=None,
            engine=engine,
        )
    settings = settings_module.load_many([service])[0]
    if isinstance(settings, MigrationError):
        raise settings
    return settled(settings, limits)


def settled(settings: Settings, limits: Limits | None = None) -> Connector:
    """Return the way to a service's database over loaded settings: loading them means looking at all siblings'."""
    return Connector(
        service=settings.service,
        target=settings.target,
        user=settings.dsn.user,
        version_table=settings.version_table,
        limits=limits or settings.limits,
        edited=settings.edited,
        settings=settings,
        engine=None,
    )

"""Many services at once: their state at a glance, and one command for each of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from migrations.access import access
from migrations.discovery import Service
from migrations.errors import MigrationError
from migrations.revisions import read
from migrations.session import connect
from migrations.settings import load_many

__all__ = ["Status", "status"]

_AT_ONCE = 8
"""Connections that are open at the same time."""


@dataclass(frozen=True, slots=True)
class Status:
    """One service: where it is, and what is left to do. ``error`` is set where that can't be said."""

    service: str
    target: str | None
    current: tuple[str, ...]
    head: str | None
    pending: int | None
    state: str
    error: MigrationError | None = None


async def status(services: Sequence[Service]) -> list[Status]:
    """Return the state of each service, in their order. Read-only; one that fails doesn't stop the others.

    Raises:
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    targets = dict(zip(services, load_many(services), strict=True))
    turns = asyncio.Semaphore(_AT_ONCE)

    async def look(service: Service) -> Status:
        settings = targets[service]
        target = None if isinstance(settings, MigrationError) else settings.target
        head = None
        try:
            history = read(service)
            head = history.single_head()
            if isinstance(settings, MigrationError):
                raise settings
            async with turns, connect(history, access(service)) as session:
                current = await session.applied()
        except MigrationError as error:
            return Status(service.name, target, (), head, None, "error", error)
        pending = len(history.pending(current))
        return Status(service.name, target, current, head, pending, "behind" if pending else "at head")

    return list(await asyncio.gather(*(look(service) for service in services)))

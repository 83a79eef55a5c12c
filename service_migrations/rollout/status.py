"""The state of many services at a glance."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from service_migrations.errors import MigrationError
from service_migrations.history.revision import Revision
from service_migrations.monorepo import Service, resolve
from service_migrations.rollout.scan import Found, scan
from service_migrations.settings.model import Settings, load_many

if TYPE_CHECKING:
    from service_migrations.history.revision import Revision

__all__ = ["Status", "current_of_all", "status"]

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Connections that are open at the same time for those that the scan isn't sure of."""


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


async def status(services: Sequence[str | Service]) -> list[Status]:
    """Return the state of each service, in their order. Read-only; one that fails doesn't stop the others.

    Raises:
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    chosen = [resolve(service) for service in services]
    targets = dict(zip(chosen, load_many(chosen), strict=True))
    found = (await scan([one for one in targets.values() if isinstance(one, Settings)])).found
    turns = asyncio.Semaphore(_AT_ONCE)

    async def look(service: Service) -> Status:
        settings = targets[service]
        return _sure(service, settings, found.get(service)) or await _full(service, settings, turns)

    return list(await asyncio.gather(*(look(service) for service in chosen)))


async def current_of_all(services: Sequence[Service]) -> "list[tuple[Revision, ...] | MigrationError]":
    """Return the revisions of each service's database, in their order, or its error. Read-only: no table is made.

    Raises:
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    loaded = load_many(services)
    found = (await scan([one for one in loaded if isinstance(one, Settings)])).found
    answers: list[tuple[Revision, ...] | MigrationError] = []
    for service, settings in zip(services, loaded, strict=True):
        seen = found.get(service, Found())
        if isinstance(settings, MigrationError) or seen.error:
            answers.append(seen.error or cast("MigrationError", settings))
        elif seen.chain is not None and seen.current is not None and seen.pending is not None:
            # what Alembic says of every connection that it makes, and as true of this one
            log.info("Context impl PostgresqlImpl.")
            log.info("Will assume transactional DDL.")
            answers.append(tuple(revision for revision in seen.chain.revisions if revision.revision in seen.current))
        else:
            answers.append(await _ask_alembic(settings))
    return answers


async def _ask_alembic(settings: Settings) -> "tuple[Revision, ...] | MigrationError":
    from service_migrations.upgrade import commands  # noqa: PLC0415 - where the scan is sure, nobody pays for Alembic

    try:
        return await commands.current(settings.service, settings=settings)
    except MigrationError as error:
        return error


def _sure(service: Service, settings: Settings | MigrationError, found: Found | None) -> Status | None:
    """Return what the scan is sure of; None where only Alembic can tell."""
    if isinstance(settings, MigrationError) or found is None or found.chain is None:
        return None
    head = found.chain.head
    if found.error:
        return Status(service.name, settings.target, (), head, None, "error", found.error)
    if found.current is None or found.pending is None:
        return None
    state = "behind" if found.pending else "at head"
    return Status(service.name, settings.target, found.current, head, found.pending, state)


async def _full(service: Service, settings: Settings | MigrationError, turns: asyncio.Semaphore) -> Status:
    from service_migrations.connection.connector import connector_of  # noqa: PLC0415 - where the scan is sure, nobody pays for Alembic
    from service_migrations.connection.session import open_session  # noqa: PLC0415
    from service_migrations.history.revisions import read  # noqa: PLC0415

    target = None if isinstance(settings, MigrationError) else settings.target
    head = None
    try:
        history = read(service)
        head = history.single_head()
        if isinstance(settings, MigrationError):
            raise settings
        async with turns, open_session(history, connector_of(settings)) as session:
            current = await session.applied()
    except MigrationError as error:
        return Status(service.name, target, (), head, None, "error", error)
    pending = len(history.pending(current))
    return Status(service.name, target, current, head, pending, "behind" if pending else "at head")

"""The status of many services: revision, head, pending revisions."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from service_migrations.errors import DifferenceError, MigrationError
from service_migrations.history.revision import Revision
from service_migrations.monorepo import Service, resolve_all
from service_migrations.rollout.scan import KnownState, scan
from service_migrations.settings.model import Settings, load_many

if TYPE_CHECKING:
    from service_migrations.history.revision import Revision

__all__ = ["Status", "current_of_all", "status"]

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Connections at the same time for services whose state the scan doesn't know."""


@dataclass(frozen=True, slots=True)
class Status:
    """The status of one service.

    Attributes:
        service: its name.
        target: its database, without the password; None where it has no settings.
        current: the revisions of its database.
        head: the newest revision of its files; None where there is none, or several.
        pending: how many revisions an upgrade would run; None where that isn't known.
        state: ``at head``, ``behind`` or ``error``.
        error: why the rest isn't known.
        edited: the files that were edited after they had been applied, without those that the baseline accepts.
        heads: the newest revisions of its files, one for each branch.

    """

    service: str
    target: str | None
    current: tuple[str, ...]
    head: str | None
    pending: int | None
    state: str
    error: MigrationError | None = None
    edited: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()


async def status(services: str | Service | Sequence[str | Service]) -> list[Status]:
    """Return the status of each service, in their order. Read-only; one that fails doesn't stop the others.

    Raises:
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    resolved_services = resolve_all(services)
    settings_by_service = dict(zip(resolved_services, load_many(resolved_services), strict=True))
    states = (
        await scan([settings for settings in settings_by_service.values() if isinstance(settings, Settings)])
    ).states
    semaphore = asyncio.Semaphore(_AT_ONCE)

    async def read_status(service: Service) -> Status:
        settings = settings_by_service[service]
        return _status_of_scan(service, settings, states.get(service)) or await _status_of_session(
            service, settings, semaphore
        )

    return list(await asyncio.gather(*(read_status(service) for service in resolved_services)))


async def current_of_all(services: Sequence[Service]) -> "list[tuple[Revision, ...] | MigrationError]":
    """Return the revisions of each service's database, in their order, or its error. Read-only: no table is made.

    Raises:
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    loaded = load_many(services)
    states = (await scan([settings for settings in loaded if isinstance(settings, Settings)])).states
    answers: list[tuple[Revision, ...] | MigrationError] = []
    for service, settings in zip(services, loaded, strict=True):
        state = states.get(service, KnownState())
        if isinstance(settings, MigrationError) or state.error:
            answers.append(state.error or cast("MigrationError", settings))
        elif state.chain is not None and state.current is not None and state.pending is not None:
            # Alembic logs these lines for each of its connections
            log.info("Context impl PostgresqlImpl.")
            log.info("Will assume transactional DDL.")
            by_id = {revision.revision: revision for revision in state.chain.revisions}
            answers.append(tuple(by_id[revision_id] for revision_id in state.current))
        else:
            answers.append(await _current(settings))
    return answers


async def _current(settings: Settings) -> "tuple[Revision, ...] | MigrationError":
    from service_migrations.upgrade import commands  # noqa: PLC0415 - where the scan is sure, nobody pays for Alembic

    try:
        return await commands.current(settings.service, settings=settings)
    except MigrationError as error:
        return error


def _status_of_scan(service: Service, settings: Settings | MigrationError, scanned: KnownState | None) -> Status | None:
    """Return the status by the scan; None where only Alembic can read it."""
    if isinstance(settings, MigrationError) or scanned is None or scanned.chain is None:
        return None
    heads = scanned.chain.heads
    head = _only(heads)
    if scanned.error:
        return Status(service.name, settings.target, (), head, None, "error", scanned.error, heads=heads)
    if scanned.current is None or scanned.pending is None or scanned.edited:
        return None
    state = "behind" if scanned.pending else "at head"
    return Status(service.name, settings.target, scanned.current, head, scanned.pending, state, heads=heads)


def _only(heads: tuple[str, ...]) -> str | None:
    return heads[0] if len(heads) == 1 else None


async def _status_of_session(
    service: Service, settings: Settings | MigrationError, semaphore: asyncio.Semaphore
) -> Status:
    from service_migrations.connection.connector import connector_of  # noqa: PLC0415 - where the scan is sure, nobody pays for Alembic
    from service_migrations.history.baseline import finding_entry, read_baseline  # noqa: PLC0415
    from service_migrations.history.revisions import read  # noqa: PLC0415
    from service_migrations.ledger.edited import known_edits  # noqa: PLC0415
    from service_migrations.session.session import open_session  # noqa: PLC0415
    from service_migrations.session.tables.version_table import applied  # noqa: PLC0415

    target = None if isinstance(settings, MigrationError) else settings.target
    heads: tuple[str, ...] = ()
    current: tuple[str, ...] = ()
    try:
        history = read(service)
        history.accepted_heads()
        heads = tuple(sorted(history.heads))
        if isinstance(settings, MigrationError):
            raise settings
        async with semaphore, open_session(history, connector_of(settings)) as session:
            try:
                current = await session.applied()
            except DifferenceError:
                current = await applied(session.connection, session.connector, session.schema)
                raise
            edits = await known_edits(session, current)
            baseline = read_baseline(service)
            new, _ = baseline.split("findings", edits, lambda edit: finding_entry(service, edit.finding))
            edited = tuple(edit.path for edit in new)
    except MigrationError as error:
        return Status(service.name, target, current, _only(heads), None, "error", error, heads=heads)
    pending = len(history.pending(current))
    state = "behind" if pending else "at head"
    return Status(service.name, target, current, _only(heads), pending, state, edited=edited, heads=heads)

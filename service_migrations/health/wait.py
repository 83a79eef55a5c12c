"""The wait for a database, until its server answers or until it is at the head of this checkout."""

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import Connector, connector
from service_migrations.errors import AccessDeniedError, NotReadyError, UnreachableError, UsageError
from service_migrations.failures.driver_errors import sqlstate
from service_migrations.history.revisions import History, read
from service_migrations.monorepo import Service
from service_migrations.session.session import open_session
from service_migrations.settings.model import Settings

__all__ = ["Answer", "wait"]

log = logging.getLogger(__name__)

_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between two attempts; the last is for all later ones. No connection is open in between: there may be many
pods, and an open one would look like a run that waits for the migration lock."""

_DENIED = "42501"


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a wait.

    Attributes:
        service: its name.
        target: its database, without the password.
        revisions: the database's revisions; None where the wait was only for an answer of the server.
        seconds: how long it took.

    """

    service: str
    target: str
    revisions: tuple[str, ...] | None
    seconds: float


@dataclass(slots=True)
class _LatestState:
    """The latest state: the error of the last attempt, or the database's revisions."""

    failure: UnreachableError | None = None
    revisions: tuple[str, ...] | None = None


async def wait(
    service: str | Service,
    head: bool = False,
    timeout: float = 300.0,  # noqa: ASYNC109 - the error describes the latest state
    *,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Answer:
    """Wait until a service's server answers, or until its database is at head. Read-only, without any lock.

    It waits while a server is down, starts, or has too many connections. A wrong password or setting is raised at once.

    Args:
        service: its name.
        head: whether to wait until the database is at the head of this checkout's history.
        timeout: the longest wait, in seconds; more than 0.
        engine: an engine of the caller's; without it, the service's own settings.
        settings: the service's, where they are loaded already.

    Raises:
        UnreachableError: the server didn't answer in time.
        NotReadyError: it answered, and its database was not at head in time.
        DifferenceError: the database is at a revision that this history doesn't have: newer code has upgraded it.
        UsageError: the timeout isn't a positive number, or the history has two heads.
        MigrationError: another error, for which waiting doesn't help.

    """
    if not 0 < timeout < float("inf"):
        raise UsageError(
            f"a timeout of {timeout:g} s makes no sense.", service=service, hint="Give a number of seconds above 0."
        )
    history = read(service)
    wanted = history.accepted_heads() if head else None
    target_connector = connector(history.service, engine, settings).at_once()
    started, latest = time.monotonic(), _LatestState()
    try:
        async with asyncio.timeout(timeout):
            revisions = await _wait_until(history, target_connector, wanted, latest)
    except TimeoutError:
        if latest.revisions is not None and wanted is not None:
            current, goal = (", ".join(ids) or "base" for ids in (latest.revisions, wanted))
            connection_problem = f" The server doesn't answer now: {latest.failure}" if latest.failure else ""
            raise NotReadyError(
                f"{target_connector.target} is at {current}, and not at the head {goal} after {timeout:g} s."
                f"{connection_problem}",
                service=history.service,
                hint="Upgrade it, or wait longer with --timeout.",
            ) from None
        no_answer = UnreachableError(
            f"{target_connector.target}: no answer.",
            service=history.service,
            hint="Is the server up, and this its address?",
        )
        raise (latest.failure or no_answer).with_hint(f"Gave up after {timeout:g} s.") from None
    return Answer(history.service.name, target_connector.target, revisions, round(time.monotonic() - started, 2))


async def _wait_until(
    history: History, target_connector: Connector, wanted: tuple[str, ...] | None, latest: _LatestState
) -> tuple[str, ...] | None:
    """Read the database until it has the wanted revisions, or answers at all where none are wanted."""
    attempts = 0
    while True:
        former_state = (str(latest.failure), latest.revisions)
        try:
            revisions = await _read(history, target_connector, read_revisions=wanted is not None)
        except UnreachableError as error:
            latest.failure = error
        else:
            if revisions is None or not history.pending(revisions):
                return revisions
            latest.failure, latest.revisions = None, revisions
        if (str(latest.failure), latest.revisions) != former_state:
            description = (
                f"{history.service}: {target_connector.target} is at {', '.join(latest.revisions or ()) or 'base'}."
            )
            log.info("%s Waiting.", latest.failure or description)
        await asyncio.sleep(_PAUSES[min(attempts, len(_PAUSES) - 1)])
        attempts += 1


async def _read(history: History, target_connector: Connector, *, read_revisions: bool) -> tuple[str, ...] | None:
    try:
        async with open_session(history, target_connector) as session:
            return await session.applied() if read_revisions else None
    except AccessDeniedError as error:
        if error.__cause__ is None or sqlstate(error.__cause__) != _DENIED:
            raise
        raise AccessDeniedError(
            f"{target_connector.target}: {target_connector.version_table} may not be read.",
            service=history.service,
            hint=f'Its owner can run: GRANT SELECT ON {target_connector.version_table} TO "{target_connector.user}";',
        ) from error

"""Waiting for a database: until its server answers, or until somebody has brought it to this checkout's head."""

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import Connector, connector
from service_migrations.connection.session import open_session
from service_migrations.errors import AccessDeniedError, NotReadyError, UnreachableError, UsageError
from service_migrations.failures import sqlstate
from service_migrations.history.revisions import History, read
from service_migrations.monorepo import Service
from service_migrations.settings.model import Settings

__all__ = ["Answer", "wait"]

log = logging.getLogger(__name__)

_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between two looks; the last for all that follow. In between no connection is held: there may be many pods,
and an open one would look like a run that waits for the migration lock."""

_DENIED = "42501"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was waited for. ``revisions`` are those of the database, None where only an answer was asked for."""

    service: str
    target: str
    revisions: tuple[str, ...] | None
    seconds: float


@dataclass(slots=True)
class _Seen:
    """The newest that is known: why there was no answer, and which revisions an answer told."""

    failure: UnreachableError | None = None
    revisions: tuple[str, ...] | None = None


async def wait(
    service: str | Service,
    head: bool = False,
    timeout: float = 300.0,  # noqa: ASYNC109 - the message of the end says what was seen until then
    *,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Answer:
    """Wait until a service's server answers, or until its database is at head. Read-only, and takes no lock.

    What passes by itself is waited out: a server that is down, starts, or has too many connections. A wrong password
    or setting is told at once.

    Args:
        service: its name.
        head: whether to wait until the database is at the head of this checkout's history.
        timeout: seconds to wait in all; more than 0.
        engine: an engine of the caller's; without it, the service's own settings.
        settings: the service's, where they are loaded already.

    Raises:
        UnreachableError: the server didn't answer in time.
        NotReadyError: it answered, and its database was not at head in time.
        DifferenceError: the database is at a revision that this history doesn't have: newer code was here.
        UsageError: the timeout makes no sense, or the history has two heads.
        MigrationError: waiting wouldn't help.

    """
    if not 0 < timeout < float("inf"):
        raise UsageError(
            f"a timeout of {timeout:g} s makes no sense.", service=service, hint="Give a number of seconds above 0."
        )
    history = read(service)
    goal = tuple(filter(None, [history.single_head()])) if head else None
    way = connector(history.service, engine, settings).at_once()
    started, seen = time.monotonic(), _Seen()
    try:
        async with asyncio.timeout(timeout):
            revisions = await _until(history, way, goal, seen)
    except TimeoutError:
        if seen.revisions is not None and goal is not None:
            at, wanted = (", ".join(ids) or "base" for ids in (seen.revisions, goal))
            lost = f" The server doesn't answer now: {seen.failure}" if seen.failure else ""
            raise NotReadyError(
                f"{way.target} is at {at}, and not at the head {wanted} after {timeout:g} s.{lost}",
                service=history.service,
                hint="Upgrade it, or wait longer with --timeout.",
            ) from None
        unknown = UnreachableError(
            f"{way.target}: no answer.", service=history.service, hint="Is the server up, and this its address?"
        )
        raise (seen.failure or unknown).with_hint(f"Gave up after {timeout:g} s.") from None
    return Answer(history.service.name, way.target, revisions, round(time.monotonic() - started, 2))


async def _until(history: History, way: Connector, goal: tuple[str, ...] | None, seen: _Seen) -> tuple[str, ...] | None:
    """Look until there is an answer, and until it is the wanted one."""
    looks = 0
    while True:
        before = (str(seen.failure), seen.revisions)
        try:
            revisions = await _look(history, way, read_revisions=goal is not None)
        except UnreachableError as error:
            seen.failure = error
        else:
            if revisions == goal:
                return revisions
            seen.failure, seen.revisions = None, revisions
        if (str(seen.failure), seen.revisions) != before:
            at = f"{history.service}: {way.target} is at {', '.join(seen.revisions or ()) or 'base'}."
            log.info("%s Waiting.", seen.failure or at)
        await asyncio.sleep(_PAUSES[min(looks, len(_PAUSES) - 1)])
        looks += 1


async def _look(history: History, way: Connector, *, read_revisions: bool) -> tuple[str, ...] | None:
    try:
        async with open_session(history, way) as session:
            return await session.applied() if read_revisions else None
    except AccessDeniedError as error:
        if error.__cause__ is None or sqlstate(error.__cause__) != _DENIED:
            raise
        raise AccessDeniedError(
            f"{way.target}: {way.version_table} may not be read.",
            service=history.service,
            hint=f'Its owner can run: GRANT SELECT ON {way.version_table} TO "{way.user}";',
        ) from error

"""The one applier: gate, migration lock, tries, and a look afterwards whether what was logged is there."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alembic.config import Config

from service_migrations.connection.connector import Connector
from service_migrations.connection.session import Session, open_session
from service_migrations.errors import ContentionError, DifferenceError, MigrationError, UnreachableError
from service_migrations.history.revisions import History
from service_migrations.ledger.edited import Edit, Policy, settle
from service_migrations.ledger.writer import Ledger
from service_migrations.outcome import Outcome, Step
from service_migrations.plan.guard import Guard
from service_migrations.upgrade.aftermath import aftermath, invalid
from service_migrations.upgrade.change import Progress, applying, locked, open_ledger
from service_migrations.upgrade.retries import ladder

__all__ = ["Operation", "apply"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be run.

    ``goal`` is where the database is when there is nothing to do; None where only Alembic can tell. ``checked`` is
    whether its present revision has to be in the history. ``guard`` may refuse what is pending. ``edited`` is what
    becomes of it where applied files were edited; where it is None, nobody looks.
    """

    run: Callable[[Config], Any]
    goal: tuple[str, ...] | None = None
    checked: bool = True
    guard: Guard | None = None
    edited: Policy | None = None


@dataclass(slots=True)
class _Tries:
    """What has happened over all tries, and what is told of it."""

    step: Step | None
    started: float = field(default_factory=time.monotonic)
    before: tuple[str, ...] | None = None
    pending: int = 0
    progress: Progress = field(default_factory=Progress)
    settled: bool = False

    def commit(self) -> None:
        """Note that a revision is committed."""
        self.progress.mark_committed()
        done = self.progress.done
        if self.step:
            self.step(done[-1], len(done), max(self.pending, len(done)))

    def judged(self, before: tuple[str, ...]) -> bool:
        """Whether what is left was judged with what is done: no other run has changed it in between."""
        return self.progress.expected is not None and self.progress.expected == set(before)


async def apply(history: History, connector: Connector, work: Operation, step: Step | None = None) -> Outcome:
    """Run one changing command.

    A revision that meets a lock is rolled back and tried again, whole, on a new connection, with no lock held in
    between; not so when it has committed something on the way, in an autocommit block or by a COMMIT of its own, since
    that would be done twice.

    Args:
        history: the service's.
        connector: makes the connections to its database.
        work: what is to be run.
        step: told after each revision.

    Raises:
        ContentionError: the locks were never free; the database is as before that revision.
        LockNotObtainedError: another run had the migration lock for too long.
        UnreachableError: the connection was lost; the message says what the database is at.
        ResultError: what was logged is not there.
        MigrationError: a revision failed.

    """
    tries = _Tries(step)
    for one in ladder(connector.limits.lock_timeout):
        session: Session | None = None
        try:
            async with open_session(history, connector, one.lock_timeout, autocommit=True) as session:
                return await _try(session, work, tries)
        except UnreachableError as error:
            if session is None:
                raise
            raise error.with_hint(await _aftermath(session)) from error
        except MigrationError as error:
            if session and session.transactions.partly_committed:
                raise error.with_hint(await invalid(connector)) from error
            if one.pause is None or not isinstance(error, ContentionError):
                raise
            pause = one.jittered()
            log.warning("%s Trying again in %.1f s.", error, pause)
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            if session is not None:
                log.warning("%s: stopped. %s", history.service, await _aftermath(session))
            raise
    raise AssertionError("the ladder has a last step")


async def _try(session: Session, work: Operation, tries: _Tries) -> Outcome:
    before = await _applied(session, work)
    tries.before = before if tries.before is None else tries.before
    if before == work.goal and not await _edits(session, work, before, tries):
        return _outcome(session, tries, before)
    async with locked(session):
        before = await _applied(session, work)
        edits = await _edits(session, work, before, tries)
        if before == work.goal and not edits:
            return _outcome(session, tries, before)
        if work.guard is not None and not tries.judged(before) and before != work.goal:
            work.guard.check(session.history, session.connector, before)
        tries.pending = len(session.history.pending(before)) + len(tries.progress.done)
        log.info("%s -> %s", session.history.service, session.connector.target)
        # where only Alembic knows what is pending, the server is asked while it runs
        ledger = await open_ledger(session, session.history.pending(before) if work.goal is not None else ())
        await _accept(session, ledger, edits)
        if before == work.goal:
            return _outcome(session, tries, before)
        async with applying(session, ledger, tries.progress) as callbacks:
            await session.run(work.run, on_commit=tries.commit, on_version_apply=callbacks)
    return _outcome(session, tries, tries.progress.after)


async def _applied(session: Session, work: Operation) -> tuple[str, ...]:
    """Return where the database is; that its revision isn't in the history stops only what has to know of it."""
    try:
        before = await session.applied()
    except DifferenceError:
        if work.checked:
            raise
        return ()
    return before if work.checked else ()


async def _edits(session: Session, work: Operation, current: tuple[str, ...], tries: _Tries) -> tuple[Edit, ...]:
    """Return the edited files that are to be accepted; further tries don't tell of the others again."""
    if work.edited is None or tries.settled:
        return ()
    found = await settle(session, current, work.edited)
    tries.settled = not found
    return found


async def _accept(session: Session, ledger: Ledger, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        await session.connection.run_sync(ledger.accept, edit.entry.revision)
        log.info("%s: %s, and is accepted", session.history.service, edit)


def _outcome(session: Session, tries: _Tries, after: tuple[str, ...]) -> Outcome:
    return Outcome(
        service=str(session.history.service),
        target=session.connector.target,
        before=tries.before or (),
        after=after,
        applied=tuple(tries.progress.done),
        seconds=round(time.monotonic() - tries.started, 2),
    )


async def _aftermath(session: Session) -> str:
    return await aftermath(
        session.connector,
        session.pid,
        session.schema,
        running=session.running,
        committed_inside=session.transactions.partly_committed,
    )

"""The one applier: gate, migration lock, tries, and a look afterwards whether what was logged is there."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alembic.config import Config

from service_migrations.connection.connector import Connector
from service_migrations.connection.locks import migration_lock, process_lock
from service_migrations.connection.session import Session, open_session
from service_migrations.connection.version_table import ensure_schema
from service_migrations.errors import ContentionError, MigrationError, ResultError, UnreachableError
from service_migrations.health.preflight import require_clean
from service_migrations.history.revisions import History
from service_migrations.ledger.edited import Edit, Policy, settle
from service_migrations.ledger.writer import Ledger
from service_migrations.outcome import Outcome, Step
from service_migrations.plan.guard import Guard
from service_migrations.upgrade.aftermath import aftermath, invalid
from service_migrations.upgrade.retries import ladder
from service_migrations.upgrade.watcher import watched

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
class _Progress:
    """What has happened over all tries; ``expected`` is where the last committed revision has led."""

    step: Step | None
    started: float = field(default_factory=time.monotonic)
    before: tuple[str, ...] | None = None
    pending: int = 0
    done: list[str] = field(default_factory=list)
    expected: set[str] | None = None
    settled: bool = False
    applying: tuple[str, set[str]] = ("", set())

    def apply(self, *, step: Any, heads: set[str], **_: Any) -> None:
        """Note which revision is about to be committed (Alembic's ``on_version_apply``)."""
        self.applying = step.up_revision_id or ",".join(step.source_revision_ids), set(heads)

    def commit(self) -> None:
        """Note that it is committed."""
        revision, self.expected = self.applying
        self.done.append(revision)
        if self.step:
            self.step(revision, len(self.done), max(self.pending, len(self.done)))

    def judged(self, before: tuple[str, ...]) -> bool:
        """Whether what is left was judged with what is done: no other run has changed it in between."""
        return self.expected is not None and self.expected == set(before)


async def apply(history: History, access: Connector, work: Operation, step: Step | None = None) -> Outcome:
    """Run one changing command.

    A revision that meets a lock is rolled back and tried again, whole, on a new connection, with no lock held in
    between; not so when it has committed something on the way, in an autocommit block or by a COMMIT of its own, since
    that would be done twice.

    Args:
        history: the service's.
        access: the way to its database.
        work: what is to be run.
        step: told after each revision.

    Raises:
        ContentionError: the locks were never free; the database is as before that revision.
        LockNotObtainedError: another run had the migration lock for too long.
        UnreachableError: the connection was lost; the message says what the database is at.
        ResultError: what was logged is not there.
        MigrationError: a revision failed.

    """
    progress = _Progress(step)
    for one in ladder(access.limits.lock_timeout):
        session: Session | None = None
        try:
            async with open_session(history, access, one.lock_timeout, autocommit=True) as session:
                return await _try(session, work, progress)
        except UnreachableError as error:
            if session is None:
                raise
            raise error.with_hint(await _aftermath(session)) from error
        except MigrationError as error:
            if session and session.commits.inside:
                raise error.with_hint(await invalid(access)) from error
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


async def _try(session: Session, work: Operation, progress: _Progress) -> Outcome:
    service = session.history.service
    before = await session.applied() if work.checked else ()
    progress.before = before if progress.before is None else progress.before
    if before == work.goal and not await _edits(session, work, before, progress):
        return _outcome(session, progress, before)
    # the gate first: a thread that waits for it must not hold the lock that the gate's holder may need
    async with process_lock(), migration_lock(session.connection, str(service), session.access.limits.lock_wait):
        before = await session.applied() if work.checked else ()
        edits = await _edits(session, work, before, progress)
        if before == work.goal and not edits:
            return _outcome(session, progress, before)
        if work.guard is not None and not progress.judged(before) and before != work.goal:
            work.guard.check(session.history, session.access, before)
        progress.pending = len(session.history.pending(before)) + len(progress.done)
        log.info("%s -> %s", service, session.access.target)
        # where only Alembic knows what is pending, the server is asked while it runs
        warned = await require_clean(session, session.history.pending(before) if work.goal is not None else ())
        ledger = await Ledger.open(session, writable=service.ledger_table not in warned)
        await _accept(session, ledger, edits)
        if before == work.goal:
            return _outcome(session, progress, before)
        if session.schema:
            await ensure_schema(session.connection, session.schema)
        async with watched(session.connection, session.pid, session.access) as blockers:
            try:
                told = (ledger.write, progress.apply, blockers.busy)
                await session.run(work.run, committed=progress.commit, on_version_apply=told)
            except ContentionError as error:
                raise error.with_hint(str(blockers)) from error
        after = await session.applied()
        if progress.expected is not None and set(after) != progress.expected:
            raise ResultError(
                f"{service}: {session.access.target} is at {', '.join(after) or 'base'}, and the log says "
                f"{', '.join(sorted(progress.expected)) or 'base'}. Look at the database before you run anything else."
            )
    return _outcome(session, progress, after)


async def _edits(session: Session, work: Operation, current: tuple[str, ...], progress: _Progress) -> tuple[Edit, ...]:
    """Return the edited files that are to be accepted; further tries don't tell of the others again."""
    if work.edited is None or progress.settled:
        return ()
    found = await settle(session, current, work.edited)
    progress.settled = not found
    return found


async def _accept(session: Session, ledger: Ledger, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        await session.connection.run_sync(ledger.accept, edit.entry.revision)
        log.info("%s: %s, and is accepted", session.history.service, edit)


def _outcome(session: Session, progress: _Progress, after: tuple[str, ...]) -> Outcome:
    return Outcome(
        service=str(session.history.service),
        target=session.access.target,
        before=progress.before or (),
        after=after,
        applied=tuple(progress.done),
        seconds=round(time.monotonic() - progress.started, 2),
    )


async def _aftermath(session: Session) -> str:
    return await aftermath(
        session.access,
        session.pid,
        session.schema,
        running=session.running,
        committed_inside=session.commits.inside,
    )

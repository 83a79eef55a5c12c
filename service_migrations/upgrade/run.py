"""The run of a command that changes a database: its attempts, its locks, and the check of its result."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from service_migrations.connection.connector import Connector
from service_migrations.errors import ContentionError, MigrationError, UnreachableError, UsageError
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History
from service_migrations.history.sql.offline import pending, require_functions, reverted
from service_migrations.history.targets import is_relative
from service_migrations.interruption import EventLoopEndedError, finish_even_if_cancelled
from service_migrations.ledger.downgrades import rendered_downgrades
from service_migrations.ledger.edited import Edit, check_edits
from service_migrations.ledger.writer import Ledger
from service_migrations.outcome import Outcome, Step
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.version_table import applied
from service_migrations.upgrade.aftermath import aftermath, invalid_indexes
from service_migrations.upgrade.change import Progress, applying, locked, open_ledger
from service_migrations.upgrade.long_ids import long_ids_refusal
from service_migrations.upgrade.operation import Operation
from service_migrations.upgrade.retries import scaled_attempts

__all__ = ["Begin", "apply"]

log = logging.getLogger(__name__)


Begin = Callable[[Revision, int, int], None]
"""A callback before each revision, with its number from 1, and the count of all that are run."""


@dataclass(slots=True)
class _Attempts:
    """The state of a run over all its attempts.

    Attributes:
        step: called after each revision.
        begin: called before each revision.
        started: when the run began, by the monotonic clock.
        waited: seconds in which another run had the lock.
        before: the revisions that the database had first.
        chosen: those that lead to the target, where it has one, by the last attempt that has counted them.
        latest: the revisions that it had when it was last read, or after the last revision that was committed.
        is_shared: whether another run has changed them in between.
        pending: how many revisions there are to run.
        queue: those that are left to run, for ``begin``.
        progress: the revisions that were committed.
        edits_are_handled: whether edited files were looked for, and warned of.

    """

    step: Step | None
    begin: Begin | None = None
    started: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    before: tuple[str, ...] | None = None
    chosen: tuple[Revision, ...] | None = None
    latest: frozenset[str] = frozenset()
    is_shared: bool = False
    pending: int = 0
    queue: tuple[Revision, ...] = ()
    progress: Progress = field(default_factory=Progress)
    edits_are_handled: bool = False

    def commit(self) -> None:
        """Note that a revision is committed."""
        self.progress.mark_committed()
        done, self.latest = self.progress.done, frozenset(self.progress.expected or ())
        if self.step:
            self.step(done[-1], len(done), max(self.pending, len(done)))
        self.queue = self.queue[1:]
        self.report_begin()

    def report_begin(self) -> None:
        """Report the revision that begins now, where there is one."""
        if self.begin and self.queue:
            self.begin(self.queue[0], len(self.progress.done) + 1, self.pending)

    def observe(self, current: tuple[str, ...]) -> None:
        """Note the revisions that the database is at."""
        if self.before is None:
            self.before = current
        elif self.latest != frozenset(current):
            self.is_shared = True
        self.latest = frozenset(current)

    def ended_at(self, current: tuple[str, ...]) -> bool:
        """Whether an attempt has led to the current revisions: no other run has changed the database since."""
        return self.progress.expected is not None and self.progress.expected == set(current)


async def apply(
    history: History, connector: Connector, operation: Operation, step: Step | None = None, begin: Begin | None = None
) -> Outcome:
    """Run an operation on a service's database.

    A revision that meets a lock is rolled back and run again on a new connection, with no lock held in between. One
    that has committed something before, in an autocommit block or by a COMMIT of its own, isn't run again, since that
    would be done twice.

    Args:
        history: the service's.
        connector: makes the connections to its database.
        operation: the operation.
        step: called after each revision.
        begin: called before each revision.

    Raises:
        ContentionError: the locks were never free; the database is as before that revision.
        LockNotObtainedError: another run held the migration lock for too long.
        UnreachableError: the connection was lost; the message has the state of the database.
        ResultError: the database isn't at the revisions that were logged.
        MigrationError: a revision failed.

    """
    with connector.changing():
        return await _apply(history, connector, operation, _Attempts(step, begin))


async def _apply(history: History, connector: Connector, operation: Operation, attempts: _Attempts) -> Outcome:
    for attempt in scaled_attempts(connector.limits.lock_timeout):
        session: Session | None = None
        try:
            async with open_session(history, connector, attempt.lock_timeout, autocommit=True) as session:
                return await _attempt(session, operation, attempts)
        except (UnreachableError, EventLoopEndedError) as error:
            if session is None:
                raise
            state = await _aftermath(session)
            raise error.with_hint("" if connector.is_temporary else state) from error
        except MigrationError as error:
            if attempt.pause is None or not isinstance(error, ContentionError) or _is_final(session):
                if state := await _state_after(error, session, connector, attempts):
                    raise error.with_hint(state) from error
                raise
            pause = attempt.jittered_pause()
            log.warning("%s Trying again in %.1f s.", error, pause)
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            if session is not None:
                # a busy machine may be told to stop once more meanwhile; the reading itself has little time
                await finish_even_if_cancelled(_tell_stopped(session))
            raise
    raise AssertionError("the last attempt returns or raises")


def _is_final(session: Session | None) -> bool:
    """Whether what ran must not be run again."""
    return session is not None and (session.transactions.is_final or bool(session.transactions.closing_error))


async def _state_after(
    error: MigrationError, session: Session | None, connector: Connector, attempts: _Attempts
) -> str:
    """Name the revisions of a database after a failed run that has committed some, and what it has left."""
    if session and session.transactions.closing_error:
        return await _aftermath(session)
    revisions = ", ".join(sorted(attempts.latest)) or "base"
    is_told = attempts.progress.done and not connector.is_temporary
    state = f"Now {connector.target} is at {revisions}." if is_told else ""
    return state + (await invalid_indexes(connector, error) if _is_final(session) else "")


async def _tell_stopped(session: Session) -> None:
    state = await _aftermath(session, is_stopped=True)
    log.log(_level(session.connector), "%s: stopped. %s", session.history.service, state)


def _level(connector: Connector) -> int:
    """Return the level of what is logged of a database's state."""
    return logging.DEBUG if connector.is_temporary else logging.WARNING


async def _attempt(session: Session, operation: Operation, attempts: _Attempts) -> Outcome:
    if operation.seen is None or attempts.before is not None:
        current = await _applied(session, operation, attempts)
        if current == operation.goal and not await _edits(session, operation, current, attempts):
            return _outcome(session, operation, attempts, current)
    else:
        attempts.observe(operation.seen)
    began = time.monotonic()
    async with locked(session):
        attempts.waited += time.monotonic() - began
        current = await _applied(session, operation, attempts)
        edits = await _edits(session, operation, current, attempts)
        if current == operation.goal and not edits:
            return _outcome(session, operation, attempts, current)
        if operation.start is not None and current != operation.start and not attempts.ended_at(current):
            raise UsageError(
                f"another run has moved {session.connector.target} to {', '.join(current) or 'base'} since the "
                "question. Nothing was changed.",
                service=session.history.service,
                hint="Run the command again.",
            )
        if operation.guard is not None and not attempts.ended_at(current) and current != operation.goal:
            await operation.guard.check(session.history, session.connector, current, session.connection)
        remaining = _remaining(session.history, operation, current, attempts)
        await _refuse_what_would_fail(session, operation, remaining)
        attempts.queue = remaining
        attempts.pending = len(remaining) + len(attempts.progress.done)
        log.info("%s -> %s", session.history.service, session.connector.target)
        # where only Alembic knows what is pending, privileges aren't checked before: the server does it during the run
        ledger = await open_ledger(session, remaining if operation.goal is not None else ())
        await _accept(session, ledger, edits)
        if current == operation.goal:
            return _outcome(session, operation, attempts, current)
        ledger.purged = current if operation.purges else ()
        if operation.upgrades_to is not None and ledger.writable:
            ledger.downgrades = rendered_downgrades(
                session.history, remaining, session.connector.sources, session.metadata
            )
        async with applying(session, ledger, attempts.progress) as callbacks:
            attempts.report_begin()
            await session.run(operation.run, on_commit=attempts.commit, on_version_apply=callbacks)
    return _outcome(session, operation, attempts, attempts.progress.after)


async def _applied(session: Session, operation: Operation, attempts: _Attempts) -> tuple[str, ...]:
    """Return the revisions of the database, and note them."""
    if operation.purges:  # they may be gone from the history
        current = await applied(session.connection, session.connector, session.schema)
    else:
        current = await session.applied(alone=operation.is_stamp)
    attempts.observe(current)
    return current


def _remaining(
    history: History, operation: Operation, current: tuple[str, ...], attempts: _Attempts
) -> tuple[Revision, ...]:
    """Return the revisions that are left to run, in their order; none for a stamp.

    A relative target is counted once: on a later attempt, it would be further than the requested one.

    Raises:
        UsageError: the target can't be reached from the database's revisions.

    """
    is_down, target = operation.upgrades_to is None, operation.upgrades_to or operation.downgrades_to
    if operation.reverts or (target and is_relative(target) and attempts.chosen is not None):
        applied = {revision.revision for revision in history.applied(current)}
        chosen = operation.reverts or attempts.chosen or ()
        return tuple(revision for revision in chosen if (revision.revision in applied) is is_down)
    if target:
        attempts.chosen = (reverted if is_down else pending)(history, current, target)
    return attempts.chosen or ()


async def _refuse_what_would_fail(session: Session, operation: Operation, remaining: tuple[Revision, ...]) -> None:
    """Refuse what would surely fail in the middle of the run: an id without room, a file without a function.

    Raises:
        UsageError: an id is too long, or a revision has no function to run.

    """
    history = session.history
    if operation.downgrades_to is not None:
        require_functions(history, remaining, down=True)
    if operation.upgrades_to is not None:
        require_functions(history, remaining)
        written = {revision.revision for revision in remaining}
    else:
        written = {script.revision for script in history.directory.get_revisions(operation.stamps or ()) if script}
    (await long_ids_refusal(session))(written)


async def _edits(
    session: Session, operation: Operation, current: tuple[str, ...], attempts: _Attempts
) -> tuple[Edit, ...]:
    """Return the edited files that are to be accepted; a warning of the others is logged only once."""
    if operation.edited is None or attempts.edits_are_handled or not current:
        return ()
    edits = await check_edits(session, current, operation.edited)
    attempts.edits_are_handled = not edits
    return edits


async def _accept(session: Session, ledger: Ledger, edits: tuple[Edit, ...]) -> None:
    for edit in edits:
        await session.connection.run_sync(ledger.accept, edit.entry.revision)
        log.info("%s: %s, and is accepted", session.history.service, edit)
    await session.connection.rollback()


def _outcome(session: Session, operation: Operation, attempts: _Attempts, after: tuple[str, ...]) -> Outcome:
    return Outcome(
        service=str(session.history.service),
        target=session.connector.target,
        before=attempts.before or (),
        after=after,
        applied=tuple(attempts.progress.done),
        seconds=round(time.monotonic() - attempts.started, 2),
        waited=round(attempts.waited, 2),
        is_shared=attempts.is_shared,
        is_stamp=operation.is_stamp,
    )


async def _aftermath(session: Session, *, is_stopped: bool = False) -> str:
    state = await aftermath(
        session.connector,
        session.pid,
        session.schema,
        running=session.running,
        partly_committed=session.transactions.partly_committed,
        is_stopped=is_stopped,
    )
    return f"{state} {session.transactions.others.unknown}".rstrip() if is_stopped else state

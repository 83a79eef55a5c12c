"""A change of a service's database: its locks, the checks before it, and the check of its result."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from service_migrations.connection.rows import together
from service_migrations.errors import ContentionError, ResultError
from service_migrations.health import preflight
from service_migrations.history.revision import Revision
from service_migrations.ledger.writer import Ledger
from service_migrations.session.locks import migration_lock, process_lock
from service_migrations.session.session import Session
from service_migrations.session.settings import SETTINGS
from service_migrations.session.tables.version_table import applied, ensure_schema
from service_migrations.upgrade.watcher import watched

__all__ = ["Callbacks", "Progress", "applying", "changing", "locked", "open_ledger"]

log = logging.getLogger(__name__)

Callbacks = tuple[Callable[..., None], ...]
"""What Alembic calls for each revision that it has applied (its ``on_version_apply``)."""


@dataclass(slots=True)
class Progress:
    """The revisions that were committed.

    Attributes:
        done: the revisions that were committed, in this order.
        expected: the revisions that the database is at after the last of them; None before the first.
        after: the revisions that the database is at in the end.

    """

    done: list[str] = field(default_factory=list)
    expected: set[str] | None = None
    after: tuple[str, ...] = ()
    _applying: tuple[str, set[str]] = ("", set())

    def mark_applied(self, *, step: Any, heads: set[str], **_: Any) -> None:
        """Note which revision is about to be committed (Alembic's ``on_version_apply``)."""
        self._applying = step.up_revision_id or ",".join(step.source_revision_ids), set(heads)

    def mark_committed(self) -> None:
        """Note that the revision is committed."""
        revision, self.expected = self._applying
        self.done.append(revision)


@asynccontextmanager
async def changing(session: Session, progress: Progress, *, purges: bool = False) -> AsyncIterator[Callbacks]:
    """Lock, check and record a change of a database, and check its result.

    Args:
        session: with no transaction open.
        progress: updated by the callbacks that are yielded, and by the caller when a revision is committed.
        purges: whether it empties the version table first.

    Raises:
        MigrationError: as in ``locked``, ``open_ledger`` and ``applying``.

    """
    async with locked(session):
        log.info("%s -> %s", session.history.service, session.connector.target)
        ledger = await open_ledger(session)
        if purges:
            ledger.purged = await applied(session.connection, session.connector, session.schema)
        async with applying(session, ledger, progress) as callbacks:
            yield callbacks


@asynccontextmanager
async def locked(session: Session) -> AsyncIterator[None]:
    """Hold the process lock and the migration lock.

    Raises:
        LockNotObtainedError: another run held the migration lock for too long.
        ResultError: the migration lock was lost during the run.

    """
    service, wait = str(session.history.service), session.connector.limits.lock_wait
    # the process lock first: a thread that waits for it must not hold the lock that the other thread may need
    async with process_lock(), migration_lock(session.connection, service, wait):
        yield


async def open_ledger(session: Session, creating: Iterable[Revision] = ()) -> Ledger:
    """Check what would stop a change, and open the ledger that records it.

    Args:
        session: with no transaction open, then and afterwards.
        creating: as in ``preflight``.

    Raises:
        ConfigurationError, AccessDeniedError: a check has an error; the message ends with the fix.

    """
    server_and_tables, of_ledger = preflight.queries(session), Ledger.query(session)
    try:
        server, tables, ledgers, [settings] = await together(
            session.connection, *server_and_tables, of_ledger, (SETTINGS, {})
        )
    finally:
        await session.connection.rollback()
    names = preflight.require_clean(preflight.findings_of(session, server, tables, creating))
    session.transactions.note_settings(settings)
    return Ledger.of(session, ledgers, writable=session.history.service.ledger_table not in names)


@asynccontextmanager
async def applying(session: Session, ledger: Ledger, progress: Progress) -> AsyncIterator[Callbacks]:
    """Watch and record what is applied while the block runs, and check its result.

    Raises:
        ContentionError: the block met a lock; the message names the session that holds it.
        ResultError: the database isn't at the expected revisions.

    """
    service = session.history.service
    if session.schema:
        await ensure_schema(session.connection, session.schema)
    session.transactions.recorder = ledger
    async with watched(session.connection, session.pid, session.connector) as blockers:
        session.transactions.on_begin = blockers.mark_progress
        try:
            yield ledger.write, progress.mark_applied, blockers.mark_progress
        except ContentionError as error:
            raise error.with_hint(str(blockers)) from error
    if ledger.purged:
        await session.connection.run_sync(ledger.write_purge)
    progress.after = await session.applied(alone=True)
    if progress.expected is not None and set(progress.after) != progress.expected:
        raise ResultError(
            f"{session.connector.target} is at {', '.join(progress.after) or 'base'}, and the log "
            f"says {', '.join(sorted(progress.expected)) or 'base'}.",
            service=service,
            hint="Look at the database before you run anything else.",
        )

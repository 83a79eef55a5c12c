"""A change of a service's database: the locks around it, the checks before it, and the look at the result."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from service_migrations.connection.locks import migration_lock, process_lock
from service_migrations.connection.session import Session
from service_migrations.connection.version_table import ensure_schema
from service_migrations.errors import ContentionError, ResultError
from service_migrations.health.preflight import require_clean
from service_migrations.history.revision import Revision
from service_migrations.ledger.writer import Ledger
from service_migrations.upgrade.watcher import watched

__all__ = ["Callbacks", "Progress", "applying", "changing", "locked", "open_ledger"]

log = logging.getLogger(__name__)

Callbacks = tuple[Callable[..., None], ...]
"""What Alembic tells of each revision that it has applied (its ``on_version_apply``)."""


@dataclass(slots=True)
class Progress:
    """What was committed, and where that leads.

    Attributes:
        done: the revisions that were committed, in this order.
        expected: where the last of them has led; None before the first.
        after: where the database is in the end.

    """

    done: list[str] = field(default_factory=list)
    expected: set[str] | None = None
    after: tuple[str, ...] = ()
    _applying: tuple[str, set[str]] = ("", set())

    def mark_applied(self, *, step: Any, heads: set[str], **_: Any) -> None:
        """Note which revision is about to be committed (Alembic's ``on_version_apply``)."""
        self._applying = step.up_revision_id or ",".join(step.source_revision_ids), set(heads)

    def mark_committed(self) -> None:
        """Note that it is committed."""
        revision, self.expected = self._applying
        self.done.append(revision)


@asynccontextmanager
async def changing(session: Session, progress: Progress) -> AsyncIterator[Callbacks]:
    """Change a database as a whole command: locked, checked, recorded and looked at afterwards.

    Args:
        session: with no transaction open.
        progress: told what is applied by the callbacks that are yielded, and by the caller what is committed.

    Raises:
        MigrationError: as of ``locked``, ``open_ledger`` and ``applying``.

    """
    async with locked(session):
        log.info("%s -> %s", session.history.service, session.connector.target)
        ledger = await open_ledger(session)
        async with applying(session, ledger, progress) as callbacks:
            yield callbacks


@asynccontextmanager
async def locked(session: Session) -> AsyncIterator[None]:
    """Hold the lock of this process and that of the database.

    Raises:
        LockNotObtainedError: another run had the migration lock for too long.
        ResultError: the lock was lost on the way.

    """
    service, wait = str(session.history.service), session.connector.limits.lock_wait
    # the process first: a thread that waits for it must not hold the lock that the other thread may need
    async with process_lock(), migration_lock(session.connection, service, wait):
        yield


async def open_ledger(session: Session, creating: Iterable[Revision] = ()) -> Ledger:
    """Make sure that nothing speaks against a change, and prepare the rows that it is recorded with.

    Args:
        session: with no transaction open, then and afterwards.
        creating: as of ``preflight``.

    Raises:
        ConfigurationError, AccessDeniedError: something does; the message ends with what mends it.

    """
    warned = await require_clean(session, creating)
    return await Ledger.open(session, writable=session.history.service.ledger_table not in warned)


@asynccontextmanager
async def applying(session: Session, ledger: Ledger, progress: Progress) -> AsyncIterator[Callbacks]:
    """Watch and record what is applied while the block runs; then look whether the database is where that leads.

    Raises:
        ContentionError: the block met a lock; the message says who holds it.
        ResultError: the database is elsewhere.

    """
    service = session.history.service
    if session.schema:
        await ensure_schema(session.connection, session.schema)
    await session.transactions.read_settings(session.connection)
    async with watched(session.connection, session.pid, session.connector) as blockers:
        try:
            yield ledger.write, progress.mark_applied, blockers.busy
        except ContentionError as error:
            raise error.with_hint(str(blockers)) from error
    progress.after = await session.applied()
    if progress.expected is not None and set(progress.after) != progress.expected:
        raise ResultError(
            f"{session.connector.target} is at {', '.join(progress.after) or 'base'}, and the log "
            f"says {', '.join(sorted(progress.expected)) or 'base'}.",
            service=service,
            hint="Look at the database before you run anything else.",
        )

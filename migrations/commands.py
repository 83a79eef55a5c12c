"""The async functions that run a service's history: the same from a task and from an application.

With authoring.py, the only callers of ``alembic.command``.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from migrations import connection as connections
from migrations.applied import ensure_schema
from migrations.discovery import Service, find
from migrations.errors import MigrationError, ResultError, UsageError
from migrations.metadata import assemble
from migrations.revisions import History, Revision, config, read
from migrations.session import Session, connect
from migrations.settings import version_table
from migrations.sqlstate import revision_failure

__all__ = ["Outcome", "Step", "current", "downgrade", "history", "sql", "stamp", "upgrade"]

log = logging.getLogger(__name__)

Step = Callable[[str, int, int], None]
"""Told after each revision: its id, its number from 1, and how many there are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did to one service's database. ``seconds`` is the time it took, waiting included."""

    service: str
    target: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    applied: tuple[str, ...]
    seconds: float


async def upgrade(
    service: str | Service,
    revision: str = "head",
    *,
    engine: AsyncEngine | None = None,
    lock_wait: float | None = None,
    step: Step | None = None,
) -> Outcome:
    """Upgrade one service's database; where it is there already, nothing is written and no lock is taken.

    There is one transaction for each revision: where one fails, those before it are kept, and it leaves no trace.

    Args:
        service: its name.
        revision: any target that Alembic understands.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        lock_wait: seconds to wait for the migration lock; the service's setting where it is None.
        step: told after each revision.

    Raises:
        MigrationError: one of its children, whose ``exit_code`` says of which kind.

    """
    found = _history(service)
    head = found.single_head() if revision in ("head", "heads") else None
    _check_target(found, revision)
    async with connect(found, engine) as session:
        before = await session.applied()
        if revision in ("head", "heads") and before == ((head,) if head else ()):
            return Outcome(str(found.service), session.target, before, before, (), 0.0)
        return await _migrate(session, lambda alembic: command.upgrade(alembic, revision), lock_wait, step)


async def downgrade(
    service: str | Service,
    revision: str,
    *,
    engine: AsyncEngine | None = None,
    lock_wait: float | None = None,
    step: Step | None = None,
) -> Outcome:
    """Downgrade one service's database to a revision; arguments and errors are those of ``upgrade``."""
    found = _history(service)
    _check_target(found, revision)
    async with connect(found, engine) as session:
        await session.applied()
        return await _migrate(session, lambda alembic: command.downgrade(alembic, revision), lock_wait, step)


async def stamp(
    service: str | Service,
    revision: str,
    *,
    purge: bool = False,
    engine: AsyncEngine | None = None,
    lock_wait: float | None = None,
) -> Outcome:
    """Write a revision into the version table without running anything; *purge* empties the table first.

    The other arguments and the errors are those of ``upgrade``.
    """
    found = _history(service)
    if revision == "head":
        found.single_head()
    _check_target(found, revision)
    async with connect(found, engine) as session:
        work = lambda alembic: command.stamp(alembic, revision, purge=purge)  # noqa: E731
        return await _migrate(session, work, lock_wait, None, checked=not purge)


async def current(service: str | Service, *, engine: AsyncEngine | None = None) -> tuple[Revision, ...]:
    """Return the revisions of a service's database, newest first. Read-only: no table is made.

    Raises:
        DifferenceError: the database is at a revision that this history doesn't have.

    """
    found = _history(service)

    def run_env(alembic: Config) -> None:
        with EnvironmentContext(alembic, found.directory, fn=lambda *_: [], dont_mutate=True):
            found.directory.run_env()

    async with connect(found, engine) as session, connections.gate():
        await session.run(run_env)
        await session.connection.rollback()
        revisions = await session.applied()
    return tuple(revision for revision in found.revisions if revision.revision in revisions)


async def history(service: str | Service) -> History:
    """Return a service's revisions, newest first, from its files alone.

    Raises:
        UsageError: a file is wrong; the message names it.

    """
    return _history(service)


async def sql(service: str | Service, revision: str, *, down: bool = False) -> str:
    """Return the SQL of an upgrade (or, with *down*, a downgrade), for a person or another tool to run.

    No database is connected to, and no DSN is needed: Alembic calls it offline mode.

    Args:
        service: its name.
        revision: a target, or a range ``from:to``; a downgrade needs a range.
        down: whether it is a downgrade.

    Raises:
        MigrationError: one of its children, whose ``exit_code`` says of which kind.

    """
    found = _history(service)
    if not down and revision.endswith(("head", "heads")):
        found.single_head()
    for part in revision.split(":"):
        _check_target(found, part)
    if down and ":" not in revision:
        raise UsageError(f"{found.service}: a downgrade as SQL needs where it starts: --revision {revision} "
                         f"becomes --revision {(found.heads or ('head',))[0]}:{revision}.")  # fmt: skip
    output = StringIO()
    schema = assemble(found.service).schema
    if schema and not down:
        output.write(f'CREATE SCHEMA IF NOT EXISTS "{schema}";\n\n')
    alembic = config(found.service, {"version_table": version_table(found.service)}, output)
    async with connections.gate():
        try:
            (command.downgrade if down else command.upgrade)(alembic, revision, sql=True)
        except MigrationError:
            raise
        except CommandError as error:
            raise UsageError(f"{found.service}: {' '.join(str(error).split())}") from error
        except (Exception, SystemExit) as error:
            raise revision_failure(error, found.service, "") from error
    return output.getvalue()


async def _migrate(
    session: Session,
    work: Callable[[Config], None],
    lock_wait: float | None,
    told: Step | None,
    *,
    checked: bool = True,
) -> Outcome:
    """Run one changing command under the gate and the lock, and compare what is there with what was logged."""
    started = time.monotonic()
    service = str(session.history.service)
    done: list[str] = []
    expected: list[set[str]] = []

    def on_version_apply(*, step: Any, heads: set[str], **_: Any) -> None:
        done.append(step.up_revision_id or ",".join(step.source_revision_ids))
        expected.append(set(heads))
        if told:
            told(done[-1], len(done), max(pending, len(done)))

    wait = session.limits.lock_wait if lock_wait is None else lock_wait
    async with connections.gate(), connections.lock(session.connection, service, wait):
        before = await session.applied() if checked else ()
        pending = len(session.history.pending(before))
        log.info("%s -> %s", service, session.target)
        if session.schema:
            await ensure_schema(session.connection, session.schema)
        await session.run(work, on_version_apply=(on_version_apply,))
        # what the connection sees after a rollback is what the server has
        await session.connection.rollback()
        after = await session.applied()
        if expected and set(after) != expected[-1]:
            raise ResultError(
                f"{service}: {session.target} is at {', '.join(after) or 'base'}, and the log says "
                f"{', '.join(sorted(expected[-1])) or 'base'}. Look at the database before you run anything else."
            )
    seconds = round(time.monotonic() - started, 2)
    return Outcome(service, session.target, before, after, tuple(done), seconds)


def _history(service: str | Service) -> History:
    return read(find(service) if isinstance(service, str) else service)


def _check_target(found: History, revision: str) -> None:
    """Refuse a revision that isn't there before anything is connected to; relative ones are Alembic's to judge."""
    if not revision or "+" in revision or "-" in revision or "@" in revision:
        return
    try:
        found.directory.get_revisions(revision)
    except (CommandError, RevisionError) as error:
        raise UsageError(
            f"{found.service}: {' '.join(str(error).split())}. `inv db.history --service {found.service}` lists them."
        ) from error

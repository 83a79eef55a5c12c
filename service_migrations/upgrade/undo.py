"""The way back from a revision that no file has, by the SQL of the downgrade that the ledger keeps.

The revisions of the ledger are added to the history, so that the rest is an ordinary downgrade.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from alembic import op
from alembic.script import Script
from sqlalchemy import DDL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import Connector, connector
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.failures.driver_errors import describe
from service_migrations.health.preflight import preflight
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.history.sql.offline import render
from service_migrations.history.targets import revert
from service_migrations.ledger.entries import ledger_table, newest_first, readable
from service_migrations.monorepo import Service, resolve
from service_migrations.outcome import Outcome, Step
from service_migrations.plan.guard import Guard, classes
from service_migrations.plan.review import PlannedRevision, judge
from service_migrations.session.locks import process_lock
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.version_table import applied
from service_migrations.settings.model import Limits, Settings
from service_migrations.sql.quoting import escaped
from service_migrations.upgrade.operation import Operation
from service_migrations.upgrade.run import apply

__all__ = ["Undo", "plan_undo", "undo"]


@dataclass(frozen=True, slots=True)
class Undo:
    """The plan of an undo.

    Attributes:
        history: the history, with the revisions that no file has.
        start: the revisions of the database.
        target: the last revision on its way back that a file has, or ``base``; several of a history with branches.
        revisions: those that are reverted, newest first.

    """

    history: History
    start: tuple[str, ...]
    target: str
    revisions: tuple[PlannedRevision, ...]


async def plan_undo(
    service: str | Service,
    *,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    settings: Settings | None = None,
) -> Undo:
    """Return what an undo would do. Read-only.

    Args:
        service: its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        limits: how long things may take, instead of the service's settings.
        settings: the service's, where they are loaded already.

    Raises:
        UsageError: the files have the database's revision, or the ledger doesn't have the SQL of its downgrade.
        MigrationError: the database can't be connected to.

    """
    history = read(resolve(service))
    async with open_session(history, connector(history.service, engine, settings, limits)) as session:
        start = await applied(session.connection, session.connector, session.schema) or await session.applied()
        extended, target, missing = await _extended(session, start)
    async with process_lock():
        revisions = judge(extended, render(extended, missing, down=True))
    return Undo(extended, start, target, tuple(revisions))


async def undo(
    service: str | Service,
    *,
    plan: Undo | None = None,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    step: Step | None = None,
    allow: Collection[str] | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Downgrade one service's database to the last revision that a file has, without the files of those above it.

    Of a history with branches, the revisions that a file has stay on each of them.

    Args:
        service: its name.
        plan: the plan that a person has agreed to; it is made where it is None.
        engine: as of ``upgrade``.
        limits: as of ``upgrade``.
        step: as of ``upgrade``.
        allow: as of ``downgrade``.
        settings: as of ``upgrade``.

    Raises:
        UsageError: the files have the database's revision, or the ledger doesn't have the SQL of its downgrade.
        MigrationError: any of its other subclasses, each with an ``exit_code`` of its own.

    """
    plan = plan or await plan_undo(service, engine=engine, limits=limits, settings=settings)
    ids = [planned.revision for planned in plan.revisions]
    only = tuple(revision for revision in plan.history.revisions if revision.revision in ids)
    guard = None if allow is None else Guard(plan.target, classes(allow, edited=False), down=True, only=only)
    operation = Operation(revert(plan.history, *ids), guard=guard, start=plan.start, reverts=only)
    target_connector: Connector = connector(plan.history.service, engine, settings, limits)
    return await apply(plan.history, target_connector, operation, step)


async def _extended(session: Session, start: tuple[str, ...]) -> tuple[History, str, tuple[Revision, ...]]:
    """Return the history with the revisions of the ledger, where these lead back to, and these, the last run first."""
    history, service, place = session.history, session.history.service, session.connector.target
    known = {revision.revision for revision in history.revisions}
    if known.issuperset(start):
        raise _nothing_to_undo(history, start, place)
    at = start[0] if len(start) == 1 else f"several revisions: {', '.join(start)}"
    hint = "Check out the code that the database was upgraded with."
    rows = await _rows(session)
    chain: dict[str, tuple[str | None, str]] = {}
    reached = {revision for revision in start if revision in known}
    for first in (revision for revision in start if revision not in known):
        current: str | None = first
        passed: set[str] = set()
        while current is not None and current not in known and (current not in chain or current in passed):
            direction, parent, sql = rows.get(current, ("", None, None))
            if problem := "follows itself" if current in passed else _problem(direction, parent, sql):
                raise UsageError(f"{place} is at {at}, and {current} {problem}.", service=service, hint=hint)
            passed.add(current)
            chain[current] = parent, sql or ""
            current = parent
        if current in known:
            reached.add(str(current))
    ends = _newest(history, reached, start)
    ordered = [revision for revision in rows if revision in chain]
    for revision in reversed(ordered):
        _add(history, revision, *chain[revision])
    added = tuple(
        Revision(
            revision,
            (parent,) if parent else (),
            "as the ledger keeps it",
            service.ledger_table,
            revision not in {other for other, _ in chain.values()},
        )
        for revision, (parent, _) in ((revision, chain[revision]) for revision in ordered)
    )
    return replace(history, revisions=(*added, *history.revisions)), ", ".join(ends) or "base", added


def _newest(history: History, revisions: Collection[str], start: Collection[str]) -> list[str]:
    """Return the revisions, sorted, but for those that lie below another one; those of a start stay."""
    below = {
        revision_id: {
            revision.revision for other in revisions if other != revision_id for revision in history.applied((other,))
        }
        for revision_id in revisions
    }
    return [
        revision_id
        for revision_id in sorted(revisions)
        if revision_id in start or revision_id not in below[revision_id]
    ]


def _nothing_to_undo(history: History, start: tuple[str, ...], place: str) -> UsageError:
    """Return the error for a database of which no file is missing, with the way back on each of its branches."""
    service, at = history.service, ", ".join(start) or "base"
    # without branches, a database is at several revisions below one that joins them
    targets = [f"{branch.removesuffix('head')}-1" for branch in history.branch_heads] or [f"{id_}-1" for id_ in start]
    targets = targets if len(start) > 1 else ["-1"]
    commands = (f"`inv db.downgrade --service {service} --revision {target}`" for target in targets)
    hint = f"Run {' or '.join(commands)}." if start else ""
    return UsageError(f"{place} is at {at}, of which no file is missing.", service=service, hint=hint)


def _problem(direction: str, parent: str | None, sql: str | None) -> str:
    """Return why a row of the ledger leads to no other revision; empty where it does."""
    if direction != "upgrade":
        return "was stamped, and not run" if direction == "stamp" else "wasn't run last, as the ledger has it"
    if "," in (parent or ""):
        return "joins several revisions"
    return "" if sql else "has no SQL of its downgrade in the ledger"


async def _rows(session: Session) -> dict[str, tuple[str, str | None, str | None]]:
    """Return direction, parent and SQL of the newest row of each revision, if the ledger can be trusted.

    Raises:
        UsageError: somebody else may have written the SQL, or the ledger can't be read.

    """
    service, connection = session.history.service, session.connection
    for finding in await preflight(session):
        if finding.about == service.ledger_table:
            raise UsageError(f"{finding.text} Its SQL isn't run.", service=service)
    name = str(ledger_table(service, session.schema))
    try:
        ledger = await readable(session)
    except ConfigurationError as error:
        raise UsageError(f"{error.message} Its SQL isn't run.", service=service) from error
    try:
        writers = await connection.scalar(_WRITERS, {"name": ledger.name}) if ledger else None
        columns = ("revision", "direction", "from_revision"), ("downgrade_sql",)
        query = text(escaped(newest_first(ledger.name, *columns))) if ledger and not writers else None
        rows = (await connection.execute(query)).all() if query is not None else []
    except SQLAlchemyError as error:
        message = f"{session.connector.target}: {name} can't be read: {describe(error)}."
        raise UsageError(message, service=service) from error
    finally:
        await connection.rollback()
    if writers:
        message = f"{session.connector.target}: {name} can be written by {', '.join(writers)}. Its SQL isn't run."
        raise UsageError(message, service=service)
    newest: dict[str, tuple[str, str | None, str | None]] = {}
    for revision, direction, source, sql in rows:
        if direction != "accept":
            newest.setdefault(revision, (direction, source, sql))
    return newest


_WRITERS = text(
    """
    SELECT array_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END)
    FROM pg_class c, LATERAL (
        SELECT c.relacl UNION ALL SELECT attacl FROM pg_attribute WHERE attrelid = c.oid AND NOT attisdropped
    ) AS own (acl), aclexplode(own.acl) a
    WHERE c.oid = to_regclass(CAST(:name AS text))
        AND a.grantee <> c.relowner AND a.privilege_type IN ('INSERT', 'UPDATE', 'TRIGGER')
    """
)
"""Who may write to the ledger, or to columns of it, beside its owner."""


def _add(history: History, revision: str, parent: str | None, sql: str) -> None:
    """Add a revision of the ledger to Alembic's map."""

    def downgrade(**_: Any) -> None:
        for statement in json.loads(sql):
            # no colon in it is a parameter
            op.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]

    module: Any = ModuleType(f"revision {revision} of the ledger")
    module.revision, module.down_revision, module.downgrade = revision, parent, downgrade
    module.branch_labels = module.depends_on = None
    module.__doc__ = "as the ledger keeps it"
    history.directory.revision_map.add_revision(Script(module, revision, __file__))

"""The plan of an upgrade or a downgrade: its revisions, and what they do to a database that is in use."""

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.history.sql.offline import Rendered, pending, render, require_functions, reverted
from service_migrations.history.sql.refused import refused
from service_migrations.history.targets import check_target
from service_migrations.ledger.edited import known_edits
from service_migrations.monorepo import Service
from service_migrations.plan.database.findings import database_findings
from service_migrations.plan.database.mistyped import mistyped
from service_migrations.plan.result import Plan
from service_migrations.plan.review import DatabaseFindings, PlanFinding, PlannedRevision, Review, planned, reviews
from service_migrations.plan.squawk import SquawkError, SquawkWarning
from service_migrations.plan.squawk_text import warnings_of
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.settings.model import Settings
from service_migrations.sql.asyncpg_refusals import refusal

__all__ = ["Plan", "plan", "review_revisions"]


async def plan(
    service: str | Service,
    revision: str = "head",
    *,
    down: bool = False,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Plan:
    """Return what an upgrade would do, or with *down* a downgrade, from the database's revision. Read-only.

    Args:
        service: the service, or its name.
        revision: any target that Alembic understands.
        down: whether it is a downgrade.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.

    Raises:
        DifferenceError: the database is at a revision that this history doesn't have.
        MigrationError: another one, of the class that the failure has.

    """
    history = read(service)
    # an unknown target, or two heads, is reported before a connection is opened
    if down:
        check_target(history, revision)
    else:
        pending(history, (), revision)
    async with open_session(history, connector(history.service, engine, settings)) as session:
        current = await session.applied()
        version = str(await session.connection.scalar(text("SHOW server_version"))).split()[0]
        await session.connection.rollback()
        edited = () if down else await known_edits(session, current)
        target = session.connector.target
        revisions = (reverted if down else pending)(history, current, revision)
        if not down:
            require_functions(history, revisions)
        async with process_lock():
            rendered = render(history, revisions, down=down)
        in_database = await database_findings(session.connection, rendered, history.service.root)
        for revision_id, own in (await mistyped(session.connection, rendered)).items():
            in_database[revision_id] = (*in_database.get(revision_id, ()), *own)
    planned_revisions, findings = await _reviewed(history, rendered, version, in_database)
    plan_findings = (*(PlanFinding("edited", f"{edit}.", path=edit.path) for edit in edited), *findings)
    return Plan(history.service.name, target, current, planned_revisions, plan_findings, down)


async def review_revisions(
    history: History, revisions: tuple[Revision, ...], version: str, *, down: bool = False
) -> tuple[tuple[PlannedRevision, ...], tuple[PlanFinding, ...]]:
    """Return what revisions do, one after the other, and findings about all of them; no database is needed.

    Args:
        history: that of the service.
        revisions: the revisions in the order in which they run.
        version: that of the server, such as 14.2.
        down: whether they are reverted.

    Raises:
        MigrationError: a revision would surely fail, or the models can't be imported.

    """
    async with process_lock():
        rendered = render(history, revisions, down=down)
    return await _reviewed(history, rendered, version, {})


async def _reviewed(
    history: History, rendered: list[Rendered], version: str, in_database: DatabaseFindings
) -> tuple[tuple[PlannedRevision, ...], tuple[PlanFinding, ...]]:
    planned_revisions: list[PlannedRevision] = []
    findings: list[PlanFinding] = []
    has_squawk = True
    for review in reviews(history, rendered, in_database):
        warnings: list[SquawkWarning] = []
        try:
            warnings = await warnings_of(review.lines, version) if has_squawk else []
        except SquawkError as error:
            has_squawk = False
            findings.append(PlanFinding("squawk", f"Not all long locks are known: {error}."))
        planned_revision = planned(review, warnings)
        refusals = _refusals(history.service, review)
        planned_revisions.append(replace(planned_revision, findings=(*planned_revision.findings, *refusals)))
    return tuple(planned_revisions), tuple(findings)


def _refusals(service: Service, review: Review) -> Iterator[PlanFinding]:
    """Yield a finding for each statement that the service's driver won't take."""
    rendered = review.rendered
    by_line = dict(refused(service, rendered.revision.path, down=rendered.down))
    for piece in rendered.pieces:
        if service.driver == "asyncpg" and piece.source not in by_line and (reason := refusal(piece.sql)):
            by_line[piece.source] = reason
    for line, reason in sorted(by_line.items()):
        yield PlanFinding("driver", reason, None, rendered.revision.path, line)

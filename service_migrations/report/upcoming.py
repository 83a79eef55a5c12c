"""What is upcoming for each service: its pending revisions, or those since a commit, with what they do."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service_migrations.configuration import read_configuration
from service_migrations.errors import MigrationError
from service_migrations.evidence.files import Committed
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from service_migrations.plan.plan import plan, review_revisions
from service_migrations.plan.review import PlanFinding, PlannedRevision
from service_migrations.postgres import VERSIONS
from service_migrations.report.changes import TableChanges
from service_migrations.report.gather import evidence_of, revisions_of
from service_migrations.report.model import Report, ReportedService
from service_migrations.rollout.new_revisions import new_revisions

__all__ = ["Upcoming", "pending", "since"]


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What is upcoming for one service.

    Attributes:
        service: its name.
        where: the database and its revision, or the commit that the revisions come after.
        revisions: what runs next, in this order.
        findings: about all of them.
        evidence: the committed measurements, by revision.
        changes: what the revisions change in its tables.
        problem: why nothing is known; None where something is.

    """

    service: str
    where: str
    revisions: tuple[PlannedRevision, ...] = ()
    findings: tuple[PlanFinding, ...] = ()
    evidence: dict[str, Committed] = field(default_factory=dict)
    changes: TableChanges = field(default_factory=TableChanges)
    problem: MigrationError | None = None


async def pending(report: Report) -> list[Upcoming]:
    """Return what is pending for each service of a report, in their order."""
    return [await _pending(known) for known in report.services]


async def since(services: Sequence[Service], base: str) -> list[Upcoming]:
    """Return the new and edited revisions of each service since a commit, in the order of the services.

    No database is asked.

    Args:
        services: the services.
        base: a commit, branch or tag; the comparison is with the merge base of it and HEAD.

    Raises:
        UsageError: git isn't installed, the folder is no checkout, or git doesn't know the base.

    """
    if not services:
        return []
    known = {service: revisions_of(service) for service in services}
    listed = [revision.path for revisions in known.values() for revision in revisions]
    paths = new_revisions(services[0].root, base, listed)
    return [await _since(service, f"since {base}", paths, known[service]) for service in services]


async def _since(service: Service, where: str, paths: frozenset[str], known: Sequence[Revision]) -> Upcoming:
    if known and not any(revision.path in paths for revision in known):
        return Upcoming(service.name, where)
    try:
        history = read(service)
        revisions = tuple(revision for revision in reversed(history.revisions) if revision.path in paths)
        version = min(read_configuration(service.root).postgres or VERSIONS, key=int)
        planned, findings = await review_revisions(history, revisions, version)
    except MigrationError as error:
        return Upcoming(service.name, where, problem=error)
    return _with_changes(service.name, where, planned, findings, evidence_of(service, revisions))


async def _pending(known: ReportedService) -> Upcoming:
    status = known.status
    where = f"{status.target or known.name} is at {', '.join(status.current) or 'base'}"
    if status.error is not None or not status.pending:
        return Upcoming(known.name, where, problem=status.error)
    try:
        planned = await plan(known.name)
    except MigrationError as error:
        return Upcoming(known.name, where, problem=error)
    return _with_changes(known.name, where, planned.revisions, planned.findings, known.evidence or {})


def _with_changes(
    service: str,
    where: str,
    revisions: tuple[PlannedRevision, ...],
    findings: tuple[PlanFinding, ...],
    evidence: dict[str, Committed],
) -> Upcoming:
    changes = TableChanges().apply(revision.sql for revision in revisions)
    return Upcoming(service, where, revisions, findings, evidence, changes)

"""The plan of an upgrade: what it would run from the database's present revision, and what that means in use."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import open_session
from service_migrations.history.offline import pending, render
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from service_migrations.plan.review import Finding, PlannedRevision, for_squawk, planned, reviews
from service_migrations.plan.squawk import SquawkError, Warned, squawk
from service_migrations.settings.model import Settings

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upgrade of one service would do; ``findings`` are those on the plan as a whole."""

    service: str
    target: str
    current: tuple[str, ...]
    revisions: tuple[PlannedRevision, ...]
    findings: tuple[Finding, ...]


async def plan(
    service: str | Service,
    revision: str = "head",
    *,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Plan:
    """Return what an upgrade would do, from the database's present revision. Read-only.

    Args:
        service: its name.
        revision: any target that Alembic understands.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.

    Raises:
        DifferenceError: the database is at a revision that this history doesn't have.
        MigrationError: one of its children, whose ``exit_code`` says of which kind.

    """
    history = read(service)
    pending(history, (), revision)  # a target that isn't there, or two heads, are told before anything is connected to
    async with open_session(history, connector(history.service, engine, settings)) as session:
        current = await session.applied()
        version = str(await session.connection.scalar(text("SHOW server_version"))).split()[0]
        await session.connection.rollback()
        target = session.access.target
    revisions = pending(history, current, revision)
    async with process_lock():
        rendered = render(history, revisions)
    found: list[PlannedRevision] = []
    troubles: list[Finding] = []
    for review in reviews(history, rendered):
        warned: list[Warned] = []
        try:
            warned = [] if troubles else await squawk(*for_squawk(review.rendered, version))
        except SquawkError as error:
            troubles.append(Finding("squawk", f"Not all long locks are known: {error}."))
        found.append(planned(review, warned))
    return Plan(history.service.name, target, current, tuple(found), tuple(troubles))

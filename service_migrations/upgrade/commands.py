"""The async functions that run a service's history, for tasks and for applications.

Only this module and authoring/revision.py call ``alembic.command``.
"""

from collections.abc import Collection
from dataclasses import replace
from io import StringIO

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import Connector, connector, connector_of
from service_migrations.connection.opened import Opened
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures.revisions import revision_failure
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, config, read
from service_migrations.history.sql.offline import pending
from service_migrations.history.targets import check_target, check_type, migrate_to, refuse_relative, resolve_target
from service_migrations.ledger.edited import Policy
from service_migrations.models.metadata import assemble
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome, Step
from service_migrations.plan.guard import EDITED, Guard, classes
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.settings.model import Limits, Settings, load_options
from service_migrations.settings.sources import Sources
from service_migrations.upgrade.operation import Operation
from service_migrations.upgrade.run import Begin, apply

__all__ = ["Outcome", "Step", "current", "downgrade", "history", "sql", "stamp", "upgrade", "upgrade_to_head"]


async def upgrade(
    service: str | Service,
    revision: str = "head",
    *,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    step: Step | None = None,
    begin: Begin | None = None,
    allow: Collection[str] | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Upgrade one service's database. Where it is at the target already, nothing is written and no lock is taken.

    There is one transaction for each revision: one that fails is rolled back, and those before it are kept.

    Args:
        service: its name.
        revision: any target that Alembic knows; ``head`` is all heads of a history with branch labels.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        limits: how long things may take, instead of the service's settings.
        step: called after each revision.
        begin: called before each revision of an upgrade to head, again where it is tried again.
        allow: the classes that a plan may have on a target that isn't local. Without ``"destructive"`` or
            ``"breaking"``, such a plan is refused. None allows all: an application can't be asked. With ``"edited"``,
            files that were edited after they had been applied are accepted, and the ledger records it; otherwise, and
            for None, the setting MIGRATIONS_EDITED refuses them or warns of them.
        settings: the service's, where they are loaded already.

    Raises:
        DifferenceError: a revision that the database has was edited since, or isn't in this history.
        MigrationError: any of its other subclasses, each with an ``exit_code`` of its own.

    """
    service_history = read(service)
    operation = _upgrade(service_history, revision, allow)
    target_connector = connector(service_history.service, engine, settings, limits)
    operation = replace(operation, edited=_policy(allow, target_connector))
    return await apply(service_history, target_connector, operation, step, begin if operation.goal else None)


async def upgrade_to_head(
    settings: Settings,
    *,
    allow: Collection[str] | None,
    seen: tuple[str, ...] | None,
    opened: Opened | None = None,
    step: Step | None = None,
    begin: Begin | None = None,
) -> Outcome:
    """Upgrade one service's database after a scan; the rest is as of ``upgrade``.

    Args:
        settings: the service's.
        allow: as of ``upgrade``.
        seen: the revisions, below head, that the scan has read; None where something else may have to be said first.
        opened: the connection of the scan; None for one of its own.
        step: as of ``upgrade``.
        begin: as of ``upgrade``.

    """
    service_history = read(settings.service)
    operation, target_connector = _upgrade(service_history, "head", allow), connector_of(settings, opened=opened)
    operation = replace(operation, edited=_policy(allow, target_connector), seen=seen)
    return await apply(service_history, target_connector, operation, step, begin if operation.goal else None)


def _upgrade(service_history: History, revision: str, allow: Collection[str] | None) -> Operation:
    revision = resolve_target(service_history, revision)
    guard = None if allow is None else Guard(revision, classes(allow))
    goal = service_history.accepted_heads() if revision in ("head", "heads") else None
    check_target(service_history, revision)
    return Operation(migrate_to(service_history, revision), goal, guard=guard, upgrades_to=revision)


def _policy(allow: Collection[str] | None, target_connector: Connector) -> Policy:
    return "accept" if EDITED in (allow or ()) else target_connector.edited


async def downgrade(
    service: str | Service,
    revision: str,
    *,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    step: Step | None = None,
    allow: Collection[str] | None = None,
    start: tuple[str, ...] | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Downgrade one service's database to a revision; the other arguments and the errors are those of ``upgrade``.

    *start* has the revisions of a plan that a person has agreed to: where another run has changed the database since,
    nothing is done. None is any.
    """
    service_history = read(service)
    check_target(service_history, revision)
    guard = None if allow is None else Guard(revision, classes(allow, edited=False), down=True)
    run = migrate_to(service_history, revision, down=True)
    operation = Operation(run, guard=guard, start=start, downgrades_to=revision)
    target_connector = connector(service_history.service, engine, settings, limits)
    return await apply(service_history, target_connector, operation, step)


async def stamp(
    service: str | Service,
    revision: str,
    *,
    purge: bool = False,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Write a revision to the version table without running it; *purge* empties the table first.

    The other arguments and the errors are those of ``upgrade``.
    """
    service_history, revision = stamped(service, revision)
    operation = Operation(lambda alembic: command.stamp(alembic, revision, purge=purge), purges=purge, stamps=revision)
    return await apply(service_history, connector(service_history.service, engine, settings, limits), operation)


def stamped(service: str | Service, revision: str) -> tuple[History, str]:
    """Return a service's history, and the revision that a stamp writes, as Alembic takes it.

    Raises:
        UsageError: there is no such revision, or it is counted from another one.

    """
    service_history = read(service)
    revision = resolve_target(service_history, revision)
    check_target(service_history, revision)
    refuse_relative(service_history, revision)
    return service_history, revision


async def current(
    service: str | Service, *, engine: AsyncEngine | None = None, settings: Settings | None = None
) -> tuple[Revision, ...]:
    """Return the revisions of a service's database, one for each branch. Read-only: no table is created.

    Raises:
        DifferenceError: the database is at a revision that this history doesn't have.

    """
    service_history = read(service)
    directory = service_history.directory

    def run_env(alembic: Config) -> None:
        with EnvironmentContext(alembic, directory, fn=lambda *_: [], dont_mutate=True):
            directory.run_env()

    target_connector = connector(service_history.service, engine, settings)
    async with open_session(service_history, target_connector) as session, process_lock():
        await session.run(run_env)
        await session.connection.rollback()
        revisions = await session.applied()
    by_id = {revision.revision: revision for revision in service_history.revisions}
    return tuple(by_id[revision_id] for revision_id in revisions)


async def history(service: str | Service) -> History:
    """Return a service's revisions, newest first, read from its files.

    Raises:
        UsageError: a file is wrong; the message names it.

    """
    return read(service)


def _leads_ahead(service_history: History, start: str, target: str) -> bool:
    """Whether an upgrade as SQL runs a revision; False where its start is its target.

    Raises:
        UsageError: the target is no revision, or it is behind the start.

    """
    if pending(service_history, () if start == "base" else (start,), target):
        return True
    starts, targets = (
        {script.revision for script in service_history.directory.get_revisions(part) if script}
        for part in (start, target)
    )
    if starts != targets:
        service = service_history.service
        raise UsageError(
            f"{target} isn't ahead of {start}.",
            service=service,
            hint=f"`inv db.downgrade --service {service} --sql --revision {start}:{target}` leads back.",
        )
    return False


async def sql(service: str | Service, revision: str, *, down: bool = False, settings: Settings | None = None) -> str:
    """Return the SQL of an upgrade, or with *down* of a downgrade, for a person or another tool to run.

    No database is connected to, and no DSN is needed: it is Alembic's offline mode.

    Args:
        service: its name.
        revision: a target, or a range ``from:to``; a downgrade needs a range.
        down: whether it is a downgrade.
        settings: the service's, where they are loaded already.

    Raises:
        MigrationError: any of its subclasses, each with an ``exit_code`` of its own.

    """
    service_history = read(service)
    check_type(revision)
    start, colon, target = revision.rpartition(":")
    if not down:
        target = resolve_target(service_history, target)
        revision = f"{start}{colon}{target}"
    for part in (start if colon else "base", target):
        check_target(service_history, part)
    refuse_relative(service_history, start, "the start of a range")
    if not down and not _leads_ahead(service_history, start or "base", target):
        return ""  # an older Alembic would drop the version table at base
    if down and ":" not in revision:
        raise UsageError(
            "a downgrade as SQL needs the revision that it starts at.",
            service=service_history.service,
            hint=f"Instead of {revision}, write --revision {(service_history.heads or ('head',))[0]}:{revision}.",
        )
    options = settings or load_options(service_history.service, Sources())
    output = StringIO()
    alembic = config(service_history.service, {"version_table": options.version_table}, output)
    async with process_lock():
        try:
            alembic.attributes["metadata"] = assemble(service_history.service)  # before env.py, as with a connection
            (command.downgrade if down else command.upgrade)(alembic, revision, sql=True)
        except MigrationError:
            raise
        except CommandError as error:
            raise UsageError(" ".join(str(error).split()), service=service_history.service) from error
        except (Exception, SystemExit) as error:
            raise revision_failure(error, service_history.service, "", partly_committed=None, offline=True) from error
    return output.getvalue()

"""The async functions that run a service's history: the same from a task and from an application.

With authoring/revision.py, the only caller of ``alembic.command``.
"""

from collections.abc import Collection
from io import StringIO

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import open_session
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures import revision_failure
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, config, read
from service_migrations.history.targets import check_target, migrate_to
from service_migrations.ledger.edited import Policy
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome, Step
from service_migrations.plan.guard import EDITED, Guard, classes
from service_migrations.settings.model import Limits, Settings, load_options
from service_migrations.settings.sources import Sources
from service_migrations.upgrade.run import Operation, apply

__all__ = ["Outcome", "Step", "current", "downgrade", "history", "sql", "stamp", "upgrade"]


async def upgrade(
    service: str | Service,
    revision: str = "head",
    *,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    step: Step | None = None,
    allow: Collection[str] | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Upgrade one service's database; where it is there already, nothing is written and no lock is taken.

    There is one transaction for each revision: where one fails, those before it are kept, and it leaves no trace.

    Args:
        service: its name.
        revision: any target that Alembic understands.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        limits: how long things may take, instead of the service's settings.
        step: told after each revision.
        allow: the classes that a plan may hold on a target that isn't local; where ``"destructive"`` isn't among
            them, such a plan is refused. None allows all: an application can't be asked. With ``"edited"`` among
            them, files that were edited after they had been applied are taken as they are, and the ledger says so;
            otherwise, and for None, it is the setting MIGRATIONS_EDITED that refuses them or warns.
        settings: the service's, where they are loaded already.

    Raises:
        DifferenceError: a revision that the database has was edited since, or isn't in this history.
        MigrationError: another of its children, whose ``exit_code`` says of which kind.

    """
    guard = None if allow is None else Guard(revision, classes(allow))
    found = read(service)
    goal = None
    if revision in ("head", "heads"):
        head = found.single_head()
        goal = (head,) if head else ()
    check_target(found, revision)
    way = connector(found.service, engine, settings, limits)
    edited: Policy = "accept" if EDITED in (allow or ()) else way.edited
    work = Operation(migrate_to(found, revision), goal, guard=guard, edited=edited)
    return await apply(found, way, work, step)


async def downgrade(
    service: str | Service,
    revision: str,
    *,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    step: Step | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Downgrade one service's database to a revision; arguments and errors are those of ``upgrade``."""
    found = read(service)
    check_target(found, revision)
    work = Operation(migrate_to(found, revision, down=True))
    return await apply(found, connector(found.service, engine, settings, limits), work, step)


async def stamp(
    service: str | Service,
    revision: str,
    *,
    purge: bool = False,
    engine: AsyncEngine | None = None,
    limits: Limits | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Write a revision into the version table without running anything; *purge* empties the table first.

    The other arguments and the errors are those of ``upgrade``.
    """
    found = read(service)
    if revision == "head":
        found.single_head()
    check_target(found, revision)
    work = Operation(lambda alembic: command.stamp(alembic, revision, purge=purge), checked=not purge)
    return await apply(found, connector(found.service, engine, settings, limits), work)


async def current(
    service: str | Service, *, engine: AsyncEngine | None = None, settings: Settings | None = None
) -> tuple[Revision, ...]:
    """Return the revisions of a service's database, newest first. Read-only: no table is made.

    Raises:
        DifferenceError: the database is at a revision that this history doesn't have.

    """
    found = read(service)

    def run_env(alembic: Config) -> None:
        with EnvironmentContext(alembic, found.directory, fn=lambda *_: [], dont_mutate=True):
            found.directory.run_env()

    async with open_session(found, connector(found.service, engine, settings)) as session, process_lock():
        await session.run(run_env)
        await session.connection.rollback()
        revisions = await session.applied()
    return tuple(revision for revision in found.revisions if revision.revision in revisions)


async def history(service: str | Service) -> History:
    """Return a service's revisions, newest first, from its files alone.

    Raises:
        UsageError: a file is wrong; the message names it.

    """
    return read(service)


async def sql(service: str | Service, revision: str, *, down: bool = False, settings: Settings | None = None) -> str:
    """Return the SQL of an upgrade (or, with *down*, a downgrade), for a person or another tool to run.

    No database is connected to, and no DSN is needed: Alembic calls it offline mode.

    Args:
        service: its name.
        revision: a target, or a range ``from:to``; a downgrade needs a range.
        down: whether it is a downgrade.
        settings: the service's, where they are loaded already.

    Raises:
        MigrationError: one of its children, whose ``exit_code`` says of which kind.

    """
    found = read(service)
    if not down and revision.endswith(("head", "heads")):
        found.single_head()
    start, _, target = revision.rpartition(":")
    for part in (start or "base", target):
        check_target(found, part)
    if down and ":" not in revision:
        raise UsageError(
            "a downgrade as SQL needs where it starts.",
            service=found.service,
            hint=f"Instead of {revision}, write --revision {(found.heads or ('head',))[0]}:{revision}.",
        )
    options = settings or load_options(found.service, Sources())
    output = StringIO()
    alembic = config(found.service, {"version_table": options.version_table}, output)
    async with process_lock():
        try:
            (command.downgrade if down else command.upgrade)(alembic, revision, sql=True)
        except MigrationError:
            raise
        except CommandError as error:
            raise UsageError(" ".join(str(error).split()), service=found.service) from error
        except (Exception, SystemExit) as error:
            raise revision_failure(error, found.service, "", partly_committed=False) from error
    return output.getvalue()

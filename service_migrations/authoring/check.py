"""The check of a service: how its models differ from its database, and what else is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

from alembic.autogenerate import produce_migrations, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.operations.ops import UpgradeOps
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.autogenerate.changes.change import Change
from service_migrations.autogenerate.uncompared import Uncompared, joined
from service_migrations.connection.connector import connector
from service_migrations.environment.comparison import entry
from service_migrations.errors import DifferenceError, MigrationError
from service_migrations.history.baseline import finding_entry, read_baseline
from service_migrations.history.revisions import History, read
from service_migrations.ledger.edited import edits
from service_migrations.models import unnamed
from service_migrations.monorepo import Service
from service_migrations.ownership.survey import survey
from service_migrations.ownership.view import Ownership
from service_migrations.session.locks import process_lock
from service_migrations.session.session import Session, open_session
from service_migrations.settings.model import Settings

__all__ = ["Check", "check", "comparing", "refuse_behind"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check of one service.

    Attributes:
        service: its name.
        target: its database, without the password.
        differences: a line for each difference of models and database; empty where they agree.
        problems: what else is wrong, each with its file.
        accepted: the lines of differences and problems that the baseline accepts; the other two don't have them.
        uncompared: an error for each table that can't be compared, where others differ.
        entries: the entry for the baseline of each of all these, by kind.

    """

    service: str
    target: str
    differences: tuple[str, ...]
    problems: tuple[DifferenceError, ...] = ()
    accepted: tuple[str, ...] = ()
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    uncompared: tuple[MigrationError, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """The problems as lines, each of which ends with the fix."""
        return tuple(map(str, self.problems))


async def check(
    service: str | Service, *, engine: AsyncEngine | None = None, settings: Settings | None = None
) -> Check:
    """Compare a service's models with its database, which must be at head. Read-only.

    What the baseline of the history accepts is no difference.

    Args:
        service: the service, or its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.


    Raises:
        DifferenceError: the database is behind head.
        ConfigurationError: the models of this service, or of a sibling, can't be assembled. Of one
            table: nothing else is wrong, else it is in the result.

    """
    history = read(service)
    history.accepted_heads()
    baseline = read_baseline(history.service)
    differences: list[tuple[str, str]] = []
    uncompared: list[MigrationError] = []

    def read_lines(operations: UpgradeOps, context: MigrationContext) -> None:
        uncompared.extend(each.error for each in operations.ops if isinstance(each, Uncompared))
        differences.extend(_lines(operations, context))

    async with (
        open_session(history, connector(history.service, engine, settings), compares=True) as session,
        process_lock(),
    ):
        await refuse_behind(session)
        ownership = await survey(session)
        await session.run(comparing(history, read_lines), ownership=ownership)
        await session.connection.rollback()
        problems = await _problems(session, ownership)
    new, accepted = baseline.split("check", differences, itemgetter(1))
    new_problems, accepted_problems = baseline.split("findings", problems, partial(finding_entry, history.service))
    if uncompared and not new and not new_problems:
        raise joined(uncompared)  # who only asks for differences would pass it over
    return Check(
        str(history.service),
        session.connector.target,
        tuple(line for line, _ in new),
        new_problems,
        (*(line for line, _ in accepted), *map(str, accepted_problems)),
        {
            "check": tuple(entry for _, entry in differences),
            "findings": tuple(finding_entry(history.service, problem) for problem in problems),
        },
        tuple(uncompared),
    )


def comparing(history: History, receive: Callable[[UpgradeOps, MigrationContext], None]) -> Callable[[Config], None]:
    """Return a function for ``Session.run`` that compares, and passes on the operations that a revision would have."""

    def compare(revision: Any, context: MigrationContext) -> list[RevisionStep]:
        script = produce_migrations(context, context.opts["target_metadata"])
        if hook := context.opts["process_revision_directives"]:
            hook(context, revision, [script])
        if script.upgrade_ops is not None:
            receive(script.upgrade_ops, context)
        return []

    def run_env(alembic: Config) -> None:
        with EnvironmentContext(alembic, history.directory, fn=compare):
            history.directory.run_env()

    return run_env


async def refuse_behind(session: Session) -> None:
    """Refuse a comparison with a database that is behind head: what pending revisions create would count as missing.

    Raises:
        DifferenceError: the database is behind head.

    """
    pending = session.history.pending(await session.applied())
    if pending:
        service = session.history.service
        raise DifferenceError(
            f"{session.connector.target} is behind head by {len(pending)}.",
            service=service,
            hint=f"Run `inv db.upgrade --service {service}` first.",
        )


async def _problems(session: Session, ownership: Ownership) -> tuple[DifferenceError, ...]:
    """Return what is wrong apart from the models' differences; further checks add theirs to this list."""
    problems = [edit.finding for edit in await edits(session, await session.applied())]
    problems += unnamed.findings(session.history.service, ownership.metadata, ownership.default)
    return tuple(problems)


def _code(operations: UpgradeOps, context: MigrationContext) -> str:
    """Return the code that a revision would have; other packages render with the models and the connection."""
    rendering = AutogenContext(context)
    rendered = (renderers.dispatch(operation)(rendering, operation) for operation in operations.ops)
    return "\n".join(line for each in rendered for line in ([each] if isinstance(each, str) else each))


def _lines(operations: UpgradeOps, context: MigrationContext) -> list[tuple[str, str]]:
    """Return a line for each difference, with its entry for the baseline.

    An operation of Alembic is the code that a revision would have. The entry has a hash of what the database has.
    """
    changes = [op for op in operations.ops if isinstance(op, Change) and op.description]
    pairs = [(change.description, entry(change)) for change in changes]
    lines: list[str] = []
    others = UpgradeOps([op for op in operations.ops if not isinstance(op, Change | Uncompared)])
    code = "" if others.is_empty() else _code(others, context)
    depth = 0
    for line in code.splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        if depth:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.strip())
        depth += line.count("(") - line.count(")")
    return [*pairs, *((line, line) for line in lines)]

"""Checking: how the models of a service differ from its database, and what else isn't as it should be."""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.operations.ops import UpgradeOps
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.autogenerate.change import Change
from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import Session, open_session
from service_migrations.errors import DifferenceError
from service_migrations.history.revisions import read
from service_migrations.ledger.edited import edits
from service_migrations.models import unnamed
from service_migrations.monorepo import Service
from service_migrations.ownership.survey import survey
from service_migrations.ownership.view import Ownership
from service_migrations.settings.model import Settings

__all__ = ["Check", "check", "refuse_behind"]


@dataclass(frozen=True, slots=True)
class Check:
    """How a service's models differ from its database: one operation of Alembic's a line, none where they agree.

    ``problems`` is what else isn't as it should be, each with the file that it is in.
    """

    service: str
    target: str
    differences: tuple[str, ...]
    problems: tuple[DifferenceError, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """The problems as lines, each of which ends with what corrects it."""
        return tuple(map(str, self.problems))


async def check(
    service: str | Service, *, engine: AsyncEngine | None = None, settings: Settings | None = None
) -> Check:
    """Compare a service's models with its database, which must be at head, and look at both. Read-only.

    Raises:
        DifferenceError: the database is behind head.
        ConfigurationError: the models of this service, or of a sibling, can't be assembled.

    """
    history = read(service)
    history.single_head()
    found: list[str] = []

    def compare(revision: Any, context: MigrationContext) -> list[RevisionStep]:
        script = produce_migrations(context, context.opts["target_metadata"])
        if hook := context.opts["process_revision_directives"]:
            hook(context, revision, [script])
        found.extend(_lines(script.upgrade_ops, context))
        return []

    def run_env(alembic: Config) -> None:
        alembic.cmd_opts = Namespace(autogenerate=False, x=None)  # hooks of env.py ask it
        with EnvironmentContext(alembic, history.directory, fn=compare):
            history.directory.run_env()

    async with open_session(history, connector(history.service, engine, settings)) as session, process_lock():
        await refuse_behind(session)
        ownership = await survey(session)
        await session.run(run_env, ownership=ownership)
        await session.connection.rollback()
        problems = await _problems(session, ownership)
    return Check(str(history.service), session.access.target, tuple(found), problems)


async def refuse_behind(session: Session) -> None:
    """Refuse to compare with a database that lacks revisions: what they make would count as missing.

    Raises:
        DifferenceError: it is behind head.

    """
    pending = session.history.pending(await session.applied())
    if pending:
        service = session.history.service
        raise DifferenceError(
            f"{session.access.target} is behind head by {len(pending)}.",
            service=service,
            hint=f"Run `inv db.upgrade --service {service}` first.",
        )


async def _problems(session: Session, ownership: Ownership) -> tuple[DifferenceError, ...]:
    """Return what is wrong beside differences of the models; a further check appends its own here."""
    hint = "Undo the edit, or downgrade below it and upgrade again."
    found = [
        DifferenceError(f"{edit}.", path=edit.path, hint=hint) for edit in await edits(session, await session.applied())
    ]
    found += unnamed.findings(session.history.service, ownership.metadata, ownership.default)
    return tuple(found)


def _lines(operations: UpgradeOps | None, context: MigrationContext) -> list[str]:
    """Return each difference as a line, Alembic's own operations as the code that a revision would hold."""
    if operations is None:
        return []
    lines = [op.description for op in operations.ops if isinstance(op, Change) and op.description]
    others = UpgradeOps([op for op in operations.ops if not isinstance(op, Change)])
    code = "" if others.is_empty() else render_python_code(others, migration_context=context)
    depth = 0
    for line in code.splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        if depth:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.strip())
        depth += line.count("(") - line.count(")")
    return lines

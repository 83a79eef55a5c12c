"""The steps that lead to the target of ``--revision``, on the first attempt and on later ones."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from service_migrations.errors import UsageError
from service_migrations.history.revisions import History
from service_migrations.monorepo import Service

__all__ = ["check_target", "migrate_to"]


def migrate_to(history: History, revision: str, *, down: bool = False) -> Callable[[Config], None]:
    """Return what migrates a database to a target, for ``Session.run``.

    It does the same as Alembic's ``command.upgrade()`` and ``downgrade()``, which would read every file again.

    Args:
        history: the history.
        revision: the target.
        down: whether it is a downgrade.

    """
    steps = _downgrade_steps if down else _upgrade_steps
    chosen_steps: list[RevisionStep] | None = None

    def choose(current: Any, _: Any) -> list[RevisionStep]:
        nonlocal chosen_steps
        if chosen_steps is None or not _is_relative(revision):
            chosen_steps = steps(history, revision, current)
            return chosen_steps
        # a later attempt: counted from the current revision, a relative target would be further than the requested one
        chosen_steps = _remaining(history, chosen_steps, tuple(current))
        return chosen_steps

    def run(alembic: Config) -> None:
        with EnvironmentContext(alembic, history.directory, fn=choose, destination_rev=revision):
            history.directory.run_env()

    return run


def _upgrade_steps(history: History, revision: str, current: Any) -> list[RevisionStep]:
    with _as_usage_error(history):
        scripts = list(history.directory.iterate_revisions(revision, current, implicit_base=True))
    return [MigrationStep.upgrade_from_script(history.directory.revision_map, script) for script in reversed(scripts)]


def _downgrade_steps(history: History, revision: str, current: Any) -> list[RevisionStep]:
    with _as_usage_error(history):
        scripts = list(history.directory.iterate_revisions(current, revision, select_for_downgrade=True))
    return [MigrationStep.downgrade_from_script(history.directory.revision_map, script) for script in scripts]


@contextmanager
def _as_usage_error(history: History) -> Iterator[None]:
    try:
        yield
    except RevisionError as error:
        message, hint = f"{' '.join(str(error).split())}.", _hint(history.service)
        raise UsageError(message, service=history.service, hint=hint) from error


def _hint(service: Service) -> str:
    return f"`inv db.history --service {service}` lists them."


def _remaining(history: History, chosen_steps: list[RevisionStep], current: tuple[str, ...]) -> list[RevisionStep]:
    """Return the chosen steps that weren't run yet.

    Raises:
        UsageError: another run has changed the database's revision to one between or outside these steps.

    """
    applied = {revision.revision for revision in history.applied(current)}
    remaining = [step for step in chosen_steps if (step.revision.revision in applied) is step.is_downgrade]
    if remaining and not applied.issuperset(remaining[0].from_revisions):
        raise UsageError(
            f"another run has moved it to {', '.join(current) or 'base'} in between, so that a "
            "relative target isn't what it was.",
            service=history.service,
            hint="Run the command again.",
        )
    return remaining


def _is_relative(revision: str) -> bool:
    return "+" in revision or "-" in revision


def check_target(history: History, revision: str) -> None:
    """Refuse a target that doesn't exist; a relative target is left to Alembic.

    Raises:
        UsageError: no revision has this id.

    """
    service = history.service
    hint = _hint(service)
    if re.fullmatch(r"|@.*|heads?\+.*", revision):  # these raise an AssertionError in Alembic
        raise UsageError(f"{revision!r} leads to no revision.", service=service, hint=hint)
    if _is_relative(revision) or "@" in revision:
        return
    try:
        history.directory.get_revisions(revision)
    except (CommandError, RevisionError) as error:
        raise UsageError(f"{' '.join(str(error).split())}.", service=service, hint=hint) from error

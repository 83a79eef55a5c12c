"""What ``--revision`` means: the steps that lead to a target, on the first try and on those after it."""

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

__all__ = ["check_target", "walk"]


def walk(found: History, revision: str, *, down: bool = False) -> Callable[[Config], None]:
    """Do as ``command.upgrade()`` and ``downgrade()``, which read a directory of their own: every file once more.

    Args:
        found: the history.
        revision: the target.
        down: whether it is a downgrade.

    """
    steps = _downgrade_steps if down else _upgrade_steps
    chosen: list[RevisionStep] | None = None

    def choose(now: Any, _: Any) -> list[RevisionStep]:
        nonlocal chosen
        if chosen is None or not _is_relative(revision):
            chosen = steps(found, revision, now)
            return chosen
        # another try: counted from here, the target would be further on than what was asked for
        chosen = _left(found, chosen, tuple(now))
        return chosen

    def run(alembic: Config) -> None:
        with EnvironmentContext(alembic, found.directory, fn=choose, destination_rev=revision):
            found.directory.run_env()

    return run


def _upgrade_steps(found: History, revision: str, now: Any) -> list[RevisionStep]:
    with _described(found):
        scripts = list(found.directory.iterate_revisions(revision, now, implicit_base=True))
    return [MigrationStep.upgrade_from_script(found.directory.revision_map, script) for script in reversed(scripts)]


def _downgrade_steps(found: History, revision: str, now: Any) -> list[RevisionStep]:
    with _described(found):
        scripts = list(found.directory.iterate_revisions(now, revision, select_for_downgrade=True))
    return [MigrationStep.downgrade_from_script(found.directory.revision_map, script) for script in scripts]


@contextmanager
def _described(found: History) -> Iterator[None]:
    try:
        yield
    except RevisionError as error:
        text, hint = f"{' '.join(str(error).split())}.", _hint(found.service)
        raise UsageError(text, service=found.service, hint=hint) from error


def _hint(service: Service) -> str:
    return f"`inv db.history --service {service}` lists them."


def _left(found: History, chosen: list[RevisionStep], now: tuple[str, ...]) -> list[RevisionStep]:
    """Return those of the chosen steps that aren't done.

    Raises:
        UsageError: the database isn't where one of the chosen steps begins or ends.

    """
    done = {revision.revision for revision in found.applied(now)}
    left = [step for step in chosen if (step.revision.revision in done) is step.is_downgrade]
    if left and not done.issuperset(left[0].from_revisions):
        raise UsageError(
            f"another run has moved it to {', '.join(now) or 'base'} in between, so that a "
            "relative target isn't what it was.",
            service=found.service,
            hint="Run the command again.",
        )
    return left


def _is_relative(revision: str) -> bool:
    return "+" in revision or "-" in revision


def check_target(found: History, revision: str) -> None:
    """Refuse a target that can't be reached from anywhere; how far a relative one leads, Alembic says.

    Raises:
        UsageError: there is no such revision.

    """
    service = found.service
    hint = _hint(service)
    if re.fullmatch(r"|@.*|heads?\+.*", revision):  # an AssertionError in Alembic
        raise UsageError(f"{revision!r} leads to no revision.", service=service, hint=hint)
    if _is_relative(revision) or "@" in revision:
        return
    try:
        found.directory.get_revisions(revision)
    except (CommandError, RevisionError) as error:
        raise UsageError(f"{' '.join(str(error).split())}.", service=service, hint=hint) from error

"""What ``--revision`` means: the steps that lead to a target, on the first try and on those after it."""

import re
from collections.abc import Callable
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import RevisionStep
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from service_migrations.errors import UsageError
from service_migrations.history.revisions import History

__all__ = ["check_target", "walk"]


def walk(found: History, revision: str, steps: Callable[[str, Any], Any]) -> Callable[[Config], None]:
    """Do as ``command.upgrade()`` and ``downgrade()``, which read a directory of their own: every file once more."""
    chosen: list[RevisionStep] | None = None

    def choose(now: Any, _: Any) -> list[RevisionStep]:
        nonlocal chosen
        if chosen is None or not _is_relative(revision):
            chosen = list(steps(revision, now))
            return chosen
        # another try: counted from here, the target would be further on than what was asked for
        chosen = _left(found, chosen, tuple(now))
        return chosen

    def run(alembic: Config) -> None:
        with EnvironmentContext(alembic, found.directory, fn=choose, destination_rev=revision):
            found.directory.run_env()

    return run


def _left(found: History, chosen: list[RevisionStep], now: tuple[str, ...]) -> list[RevisionStep]:
    """Return those of the chosen steps that aren't done.

    Raises:
        UsageError: the database isn't where one of the chosen steps begins or ends.

    """
    done = {revision.revision for revision in found.applied(now)}
    left = [step for step in chosen if (step.revision.revision in done) is step.is_downgrade]
    if left and not done.issuperset(left[0].from_revisions):
        raise UsageError(
            f"{found.service}: another run has moved it to {', '.join(now) or 'base'} in between, so that a relative "
            f"target isn't what it was. Run the command again."
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
    hint = f"`inv db.history --service {service}` lists them."
    if re.fullmatch(r"|@.*|heads?\+.*", revision):  # an AssertionError in Alembic
        raise UsageError(f"{service}: {revision!r} leads to no revision. {hint}")
    if _is_relative(revision) or "@" in revision:
        return
    try:
        found.directory.get_revisions(revision)
    except (CommandError, RevisionError) as error:
        raise UsageError(f"{service}: {' '.join(str(error).split())}. {hint}") from error

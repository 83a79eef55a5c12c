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

__all__ = [
    "as_usage_error",
    "check_target",
    "check_type",
    "is_relative",
    "migrate_to",
    "refuse_ambiguous",
    "refuse_relative",
    "resolve_target",
    "revert",
]

_RELATIVE = re.compile(r"(?:(?P<branch>.+?)@)?(?P<revision>\w+)?[+-]\d+")
"""A target that is counted from another one, or from the database's revision, as Alembic reads it."""

_REASONS = {
    "Ambiguous walk": "leads to several revisions, since the history branches on the way",
    "Walked too far": "leads to no revision",
    "didn't produce": "leads to no revision",
    "Nothing to drop": "is no revision that the database has, so a downgrade doesn't lead there",
    "Not a valid downgrade target": "is no revision that the database has, so a downgrade doesn't lead there",
}
"""What parts of Alembic's messages mean for the target."""


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
        if chosen_steps is None or not is_relative(revision):
            chosen_steps = steps(history, revision, current)
            return chosen_steps
        # a later attempt: counted from the current revision, a relative target would be further than the requested one
        chosen_steps = _remaining(history, chosen_steps, tuple(current))
        return chosen_steps

    return _run(history, choose, revision)


def revert(history: History, *revisions: str) -> Callable[[Config], None]:
    """Return what reverts some revisions and nothing else, for ``Session.run``; those that follow them come first.

    A later attempt reverts those that are left.
    """
    scripts = [history.directory.get_revision(revision) for revision in revisions]

    def choose(current: Any, _: Any) -> list[RevisionStep]:
        applied = {revision.revision for revision in history.applied(tuple(current))}
        return [
            MigrationStep.downgrade_from_script(history.directory.revision_map, script)
            for script in scripts
            if script.revision in applied
        ]

    return _run(history, choose, ",".join(revisions))


def _run(history: History, choose: Callable[[Any, Any], list[RevisionStep]], revision: str) -> Callable[[Config], None]:
    def run(alembic: Config) -> None:
        with EnvironmentContext(alembic, history.directory, fn=choose, destination_rev=revision):
            history.directory.run_env()

    return run


def _upgrade_steps(history: History, revision: str, current: Any) -> list[RevisionStep]:
    with as_usage_error(history, revision):
        scripts = list(history.directory.iterate_revisions(revision, current, implicit_base=True))
    return [MigrationStep.upgrade_from_script(history.directory.revision_map, script) for script in reversed(scripts)]


def _downgrade_steps(history: History, revision: str, current: Any) -> list[RevisionStep]:
    refuse_ambiguous(history, revision, tuple(current))
    with as_usage_error(history, revision):
        scripts = list(history.directory.iterate_revisions(current, revision, select_for_downgrade=True))
    return [MigrationStep.downgrade_from_script(history.directory.revision_map, script) for script in scripts]


@contextmanager
def as_usage_error(history: History, revision: str) -> Iterator[None]:
    """Describe Alembic's errors of a target.

    Raises:
        UsageError: the target doesn't exist, or can't be reached from the database's revision.

    """
    try:
        yield
    except (CommandError, RevisionError, AssertionError) as error:  # AssertionError for an empty target and for head+1
        raise UsageError(f"{_reason(str(error), revision)}.", service=history.service, hint=_hint(history)) from error


def _reason(message: str, target: str) -> str:
    """Return why a target can't be reached: Alembic says some of it without the target, or with words of its own."""
    for part, reason in _REASONS.items():
        if part in message:
            return f"{target!r} {reason}"
    return " ".join(message.split()).rstrip(".") or f"{target!r} leads to no revision"


def refuse_ambiguous(history: History, revision: str, current: tuple[str, ...]) -> None:
    """Refuse a downgrade by a number of revisions where it isn't said on which branch.

    Raises:
        UsageError: the database is at several revisions; Alembic would take any of them.

    """
    match = _RELATIVE.fullmatch(revision)
    if match and not match["branch"] and not match["revision"] and len(current) > 1:
        raise UsageError(
            f"{revision} is counted from one revision, and the database is at {len(current)}: {', '.join(current)}.",
            service=history.service,
            hint=f"Name the branch: {' or '.join(_on_branches(history, revision)) or f'{current[0]}{revision}'}.",
        )


def _hint(history: History) -> str:
    service = history.service
    branches = f" Branches: {', '.join(history.branch_heads)}." if history.has_branches else ""
    return f"`inv db.history --service {service}` lists the revisions.{branches}"


def _on_branches(history: History, target: str) -> list[str]:
    return [head.removesuffix("head") + target for head in history.branch_heads]


def check_type(revision: str) -> None:
    """Refuse what is no string: Alembic's errors of it are about something else.

    Raises:
        TypeError: it is none.

    """
    if not isinstance(revision, str):
        raise TypeError(f"a revision is its id, not {type(revision).__name__}")


def resolve_target(history: History, revision: str) -> str:
    """Return a target, with ``heads`` for ``head`` where the history has branches.

    Raises:
        UsageError: the target is the head, and the history has several that aren't meant.
        TypeError: it is no string.

    """
    check_type(revision)
    if revision not in ("head", "heads"):
        return revision
    history.accepted_heads()
    return "heads" if history.has_branches else revision


def refuse_relative(history: History, revision: str, taker: str = "a stamp") -> None:
    """Refuse what is counted from another revision where Alembic would look for a revision of that name.

    Args:
        history: the history of the service.
        revision: what is given.
        taker: what takes no such revision: a stamp, or the start of a range.

    Raises:
        UsageError: it is.

    """
    if _RELATIVE.fullmatch(revision):
        raise UsageError(
            f"{revision!r} is counted from another revision, and {taker} takes one by its id.",
            service=history.service,
            hint=_hint(history),
        )


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


def is_relative(revision: str) -> bool:
    """Whether a target is counted from another revision, or from the database's."""
    return _RELATIVE.fullmatch(revision) is not None


def check_target(history: History, revision: str) -> None:
    """Refuse a target that doesn't exist; a relative target is left to Alembic.

    Raises:
        UsageError: no revision has this id, or there is no such branch.

    """
    check_type(revision)
    service = history.service
    if re.fullmatch(r"|@.*|heads?\+.*", revision):  # these raise an AssertionError in Alembic
        raise UsageError(f"{revision!r} leads to no revision.", service=service, hint=_hint(history))
    match = _RELATIVE.fullmatch(revision)
    with as_usage_error(history, revision):
        if match is None:
            history.directory.get_revisions(revision)
        if branch := match["branch"] if match else revision.rpartition("@")[0]:
            history.directory.get_revisions(branch)

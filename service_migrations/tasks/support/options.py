"""The options that limit an upgrade or downgrade, and the line that describes its outcome."""

from dataclasses import replace
from typing import TYPE_CHECKING

from service_migrations.errors import UsageError
from service_migrations.tasks.support.task import duration

if TYPE_CHECKING:
    from service_migrations.outcome import Outcome
    from service_migrations.settings.model import Settings

__all__ = ["LIMITS", "SQL", "asked_limits", "describe", "refuse_beside_sql", "with_limits"]

SQL = "Print the SQL instead of running it; no database is connected to."
LIMITS = {
    "lock_wait": "How long to wait for the migration lock (60s); 0 fails at once.",
    "lock_timeout": "The longest wait of a statement for a lock on a table (5s); the first tries are shorter.",
    "statement_timeout": "How long one statement may run (0, without limit).",
}


_SHORT = 0.05
"""Seconds of waiting that aren't mentioned."""


def asked_limits(lock_wait: str, lock_timeout: str, statement_timeout: str) -> dict[str, float]:
    """Return the limits that the command line sets, in seconds."""
    texts = {"lock_wait": lock_wait, "lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    return {
        name: duration(text, f"--{name.replace('_', '-')}", zero=name != "lock_timeout")
        for name, text in texts.items()
        if text
    }


def refuse_beside_sql(**options: object) -> None:
    """Refuse options that have no effect beside ``--sql``.

    Raises:
        UsageError: one of them is set; the message names it.

    """
    for name, value in options.items():
        if value or isinstance(value, float):  # 0 is a limit too
            raise UsageError(
                f"--{name.replace('_', '-')} doesn't go with --sql, which runs nothing.", hint="Leave one of them out."
            )


def with_limits(settings: "Settings", limits: dict[str, float]) -> "Settings":
    """Return a service's settings with the limits that the command line sets."""
    return replace(settings, limits=replace(settings.limits, **limits))


def describe(outcome: "Outcome") -> str:
    """Return the line that describes the outcome of one service."""
    service, target = outcome.service, outcome.target
    before, after = (", ".join(revisions) or "base" for revisions in (outcome.before, outcome.after))
    waited = f"waited {outcome.waited:.1f} s for the migration lock" if outcome.waited >= _SHORT else ""
    if not outcome.applied and outcome.before == outcome.after:
        return f"{service}: nothing to do, {target} is at {after}"
    if outcome.is_stamp:
        return f"{service}: {target} was at {before} and is stamped with {after}; nothing was run"
    if not outcome.applied:
        suffix = f" ({waited})" if waited else ""
        return f"{service}: nothing to do, another run took {target} from {before} to {after}{suffix}"
    count = f"{len(outcome.applied)} {'revision' if len(outcome.applied) == 1 else 'revisions'}"
    parts = [count, *(["the others by another run"] if outcome.is_shared else []), f"{outcome.seconds:.2f} s"]
    parts += [waited] if waited else []
    return f"{service}: {target} went from {before} to {after} ({', '.join(parts)})"

"""The line that describes the outcome of a command on one service's database."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service_migrations.outcome import Outcome

__all__ = ["describe"]

_SHORT = 0.05
"""Seconds of waiting that aren't mentioned."""


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

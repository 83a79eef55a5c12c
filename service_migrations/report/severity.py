"""How much a measured revision holds others up, in a few levels that a matrix can be coloured by."""

from collections.abc import Iterable
from typing import Any

from service_migrations.evidence.files import Committed

__all__ = ["LEVELS", "level", "seconds_text", "worst"]

LEVELS = ("nobody waits", "under 0.1 s", "under 1 s", "1 s or more", "failed")
"""What each level means: the longest time that readers or writers of a table waited, or that it failed."""
_LIMITS = (0.001, 0.1, 1.0)
"""Seconds below which each level is; less than a millisecond is no wait."""
_FAILED = len(LEVELS) - 1
_MILLISECONDS = 1000


def level(measured: dict[str, Any]) -> int:
    """Return the level of a measurement, as a file of ``db.evidence`` has it."""
    if measured.get("error"):
        return _FAILED
    waited = max(measured.get("readers_blocked") or 0, measured.get("writers_blocked") or 0)
    return next((number for number, limit in enumerate(_LIMITS) if waited < limit), len(_LIMITS))


def worst(committed: Committed, versions: Iterable[str] | None = None) -> tuple[int, dict[str, Any]] | None:
    """Return the highest level of a revision's upgrades with that measurement; None where there is none.

    Args:
        committed: the file of the revision.
        versions: the versions that count; all where they are None.

    """
    chosen = committed.measured if versions is None else {key: committed.measured.get(key, {}) for key in versions}
    levels = [(level(item["upgrade"]), item["upgrade"]) for item in chosen.values() if "upgrade" in item]
    return max(levels, key=lambda pair: (pair[0], pair[1].get("seconds") or 0), default=None)


def seconds_text(seconds: float) -> str:
    """Return a time as a person reads it."""
    if not seconds:
        return "0"
    milliseconds = seconds * _MILLISECONDS
    if seconds < 1:
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"  # noqa: PLR2004 - two digits
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"  # noqa: PLR2004 - three digits

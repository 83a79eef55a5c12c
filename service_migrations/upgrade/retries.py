"""Retries: how often a revision is tried that meets a lock, and how long each try and each pause lasts.

A statement that waits for a lock lets every later query queue behind it. So each wait is short, and is followed by
a pause in which the queue drains.
"""

import random
from dataclasses import dataclass

__all__ = ["Try", "ladder"]

_STEPS: tuple[tuple[float, float | None], ...] = (
    (0.5, 0.5),
    (0.5, 1.0),
    (1.0, 2.0),
    (1.0, 4.0),
    (2.0, 8.0),
    (2.0, 15.0),
    (3.0, 30.0),
    (5.0, None),
)
"""Seconds to wait for a lock, and to pause afterwards: 15 s of blocking in pieces of at most 5 s, 75 s in all."""

_LONGEST = 5.0
_JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Try:
    """One try: how long its statements may wait for a lock, and the pause after it; None after the last."""

    lock_timeout: float
    pause: float | None

    def jittered(self) -> float:
        """Return the pause, up to a quarter longer or shorter: two that block each other must not meet again."""
        return (self.pause or 0.0) * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


def ladder(lock_timeout: float) -> tuple[Try, ...]:
    """Return the tries for a revision, scaled so that the longest wait is *lock_timeout* seconds.

    There is never a last try without a timeout: that one would stop the site.
    """
    scale = lock_timeout / _LONGEST
    return tuple(Try(wait * scale, None if pause is None else pause * scale) for wait, pause in _STEPS)

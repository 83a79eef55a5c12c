"""The attempts to run a revision that meets a lock, and the pauses between them.

While a statement waits for a lock, every later query of the table waits behind it. So each wait is short, and is
followed by a pause in which those queries run.
"""

import random
from dataclasses import dataclass

__all__ = ["Attempt", "scaled_attempts"]

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
"""Seconds to wait for a lock, and to pause afterwards: 15 s of waiting, at most 5 s at once, and 75 s in all."""

_LONGEST = 5.0
_JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to run a revision.

    Attributes:
        lock_timeout: seconds that a statement may wait for a lock.
        pause: seconds until the next attempt; None after the last.

    """

    lock_timeout: float
    pause: float | None

    def jittered_pause(self) -> float:
        """Return the pause, at most a quarter longer or shorter: two runs that block each other must not meet again."""
        return (self.pause or 0.0) * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


def scaled_attempts(lock_timeout: float) -> tuple[Attempt, ...]:
    """Return the attempts, scaled so that the longest wait is *lock_timeout* seconds.

    Every attempt has a timeout, the last one too: without it, a revision would block the application.
    """
    scale = lock_timeout / _LONGEST
    return tuple(Attempt(wait * scale, None if pause is None else pause * scale) for wait, pause in _STEPS)

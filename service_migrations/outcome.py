"""The outcome of a command on one service's database, as a value that needs neither Alembic nor a driver."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Outcome", "Step"]

Step = Callable[[str, int, int], None]
"""A callback after each revision, with its id, its number from 1, and the count of all that are run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a command on one service's database.

    Attributes:
        service: its name.
        target: its database, without the password.
        before: the revisions before the command.
        after: the revisions after it.
        applied: the revisions that were run, or written to the version table by a stamp.
        seconds: the time that it took, with all waiting.
        waited: the part of that time in which another run had the migration lock.
        is_shared: whether another run has changed the revisions meanwhile.
        is_stamp: whether nothing was run, and only the version table was written.

    """

    service: str
    target: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    applied: tuple[str, ...]
    seconds: float
    waited: float = 0.0
    is_shared: bool = False
    is_stamp: bool = False

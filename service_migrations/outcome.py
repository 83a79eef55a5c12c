"""What a command did to one service's database: a value that needs neither Alembic nor a driver."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Outcome", "Step"]

Step = Callable[[str, int, int], None]
"""Told after each revision: its id, its number from 1, and how many there are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did to one service's database. ``seconds`` is the time it took, waiting included."""

    service: str
    target: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    applied: tuple[str, ...]
    seconds: float

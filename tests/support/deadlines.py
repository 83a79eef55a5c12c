"""Wait for what must happen, and give up in the end."""

import time
from collections.abc import Callable
from typing import Any

DEADLINE = 30.0
"""Seconds until a test gives up on something that must happen."""


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Ask again and again until a condition is met, and return what it was met with."""
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return met

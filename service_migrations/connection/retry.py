"""Attempts to connect: repeated while the server is busy."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service_migrations.failures.driver_errors import describe, is_busy

__all__ = ["attempts"]

log = logging.getLogger(__name__)

_Connection = TypeVar("_Connection")

_PAUSE, _LONGEST, _JITTER = 0.1, 1.0, 0.25
"""Seconds after the first attempt, doubled up to the longest; at most a quarter shorter: many pods start at once."""


async def attempts(connect: Callable[[], Awaitable[_Connection]], prefix: str, patience: float) -> _Connection:
    """Connect, and try again while the server starts up, shuts down or has too many connections.

    Nothing else is tried again: seconds don't change a refused connection or a wrong password.

    Args:
        connect: makes one attempt, which has a timeout of its own.
        prefix: service and target, for the log.
        patience: seconds for all attempts together; 0 for a single one.

    Raises:
        Exception: the error of the last attempt.

    """
    deadline = time.monotonic() + patience
    pause, remaining = _PAUSE, None
    while True:
        try:
            async with asyncio.timeout(remaining):
                return await connect()
        except Exception as error:
            remaining = deadline - time.monotonic() - pause
            if not is_busy(error) or remaining <= 0:
                raise
            if pause == _PAUSE:
                log.warning("%s: %s. Trying again for up to %g s.", prefix, describe(error), patience)
        await asyncio.sleep(pause * random.uniform(1 - _JITTER, 1))  # noqa: S311 - no secret
        pause = min(2 * pause, _LONGEST)

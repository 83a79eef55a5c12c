"""Attempts to connect: another one where the server has said that it has no place for us at the moment."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service_migrations.failures import describe, is_busy

__all__ = ["attempts"]

log = logging.getLogger(__name__)

_Made = TypeVar("_Made")

_PAUSE, _LONGEST, _JITTER = 0.1, 1.0, 0.25
"""Seconds after the first attempt, doubled up to the longest; a quarter more or less, since many pods start at once."""


async def attempts(connect: Callable[[], Awaitable[_Made]], where: str, patience: float) -> _Made:
    """Connect, and again for as long as the server starts up, shuts down or has too many connections.

    Nothing else is tried again: a refused connection or a wrong password doesn't get better within seconds.

    Args:
        connect: makes one attempt, which has a limit of its own.
        where: service and target, for the log.
        patience: seconds for all attempts together; 0 for a single one.

    Raises:
        Exception: what the last attempt has raised.

    """
    deadline = time.monotonic() + patience
    pause, left = _PAUSE, None
    while True:
        try:
            async with asyncio.timeout(left):
                return await connect()
        except Exception as error:
            left = deadline - time.monotonic() - pause
            if not is_busy(error) or left <= 0:
                raise
            if pause == _PAUSE:
                log.warning("%s: %s. Trying again for up to %g s.", where, describe(error), patience)
        await asyncio.sleep(pause * random.uniform(1 - _JITTER, 1))  # noqa: S311 - no secret
        pause = min(2 * pause, _LONGEST)

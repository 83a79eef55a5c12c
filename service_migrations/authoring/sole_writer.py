"""One process at a time writes revisions of a service: of two that write at once, each would take the same parent."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service_migrations.errors import UsageError
from service_migrations.monorepo import Service

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock

__all__ = ["sole_writer"]

_PATIENCE = 30.0
"""Seconds to wait for another process, which compares models with its database meanwhile."""


@asynccontextmanager
async def sole_writer(service: Service) -> AsyncIterator[None]:
    """Hold the lock of the service's directory, from before its history is read until the new file is whole.

    The system unlocks it when the process ends, and nothing is left in the repository. Where there are no locks of a
    directory, as on Windows and on some network file systems, only the look at the files afterwards is left.

    Raises:
        UsageError: another process still holds the lock after 30 seconds.

    """
    descriptor = None
    try:
        if sys.platform != "win32":
            with suppress(OSError):
                descriptor = os.open(service.path, os.O_RDONLY)
                await _lock(descriptor, service)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


async def _lock(descriptor: int, service: Service) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:  # a blocking call would stop the event loop, in which the holder may run
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UsageError(
                    "another process is writing a revision, and hasn't ended for 30 seconds.",
                    service=service,
                    path=service.relative(service.path),
                    hint="End it, or wait for it, and run the command again.",
                ) from None
            await asyncio.sleep(0.05)
        else:
            return

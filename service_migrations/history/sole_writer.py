"""One process at a time writes revisions of a service: of two that write at once, each would take the same parent."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from weakref import finalize

from service_migrations.errors import UsageError
from service_migrations.monorepo import Service

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock

__all__ = ["hold_writers_lock", "sole_writer"]

_PATIENCE = 30.0
"""Seconds to wait for another process, which compares models with its database meanwhile."""
_PAUSE = 0.05


@asynccontextmanager
async def sole_writer(service: Service) -> AsyncIterator[None]:
    """Hold the lock of the service's directory, from before its history is read until the new file is whole.

    The system unlocks it when the process ends, and nothing is left in the repository. Where there are no locks of a
    directory, as on Windows and on some network file systems, only the look at the files afterwards is left.

    Raises:
        UsageError: another process still holds the lock after 30 seconds.

    """
    descriptor = _opened(service)
    try:
        with suppress(OSError):
            for _ in _attempts(descriptor, service):
                await asyncio.sleep(_PAUSE)  # a blocking call would stop the event loop, in which the holder may run
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def hold_writers_lock(service: Service, owner: object) -> None:
    """Take the same lock for as long as an object lives: the program ``alembic`` writes after env.py has ended.

    Raises:
        UsageError: another process still holds the lock after 30 seconds.

    """
    descriptor = _opened(service)
    if descriptor is None:
        return
    release = finalize(owner, os.close, descriptor)
    try:
        with suppress(OSError):
            for _ in _attempts(descriptor, service):
                time.sleep(_PAUSE)
    except BaseException:
        release()
        raise


def _opened(service: Service) -> int | None:
    if sys.platform != "win32":
        with suppress(OSError):
            return os.open(service.path, os.O_RDONLY)
    return None


def _attempts(descriptor: int | None, service: Service) -> Iterator[None]:
    """Yield before each further attempt to take the lock; end with the lock, or where there is nothing to lock.

    Raises:
        OSError: the file system has no locks.
        UsageError: another process still holds it.

    """
    deadline = time.monotonic() + _PATIENCE
    while descriptor is not None:
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
            yield
        else:
            return

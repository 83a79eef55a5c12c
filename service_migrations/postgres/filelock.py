"""A lock of this machine: a file that one process locks, and that the system unlocks when the process ends."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service_migrations.postgres.account import make_folder

__all__ = ["locked"]


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None, *, shared: bool = False) -> Iterator[None]:
    """Hold a file lock while the block runs.

    Args:
        path: the file; it isn't removed.
        waiting: called before a wait for another process.
        shared: whether other processes may hold it shared at the same time.

    """
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    make_folder(path.parent)
    with path.open("w") as file:
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, mode)
        yield

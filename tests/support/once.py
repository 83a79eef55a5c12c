"""What takes long to make, made by one worker of a test run and read by the others."""

import fcntl
import pickle
from collections.abc import Callable
from typing import TypeVar

import pytest

__all__ = ["once"]

_Made = TypeVar("_Made")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[], _Made]) -> _Made:
    """Return what *make* returns in the first worker that asks; the others wait for it.

    Args:
        factory: pytest's, whose folder has those of all workers beside each other.
        name: of the result in this run.
        make: its result can be pickled.

    """
    folder = factory.getbasetemp()
    if folder.name.startswith("popen-"):
        folder = folder.parent
    result = folder / f"{name}.pickle"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            result.write_bytes(pickle.dumps(make()))
    made: _Made = pickle.loads(result.read_bytes())  # noqa: S301 - of this run
    return made

"""The stack of what runs: SQLAlchemy divides it into greenlets, each of which waits for another."""

from collections.abc import Iterator
from inspect import currentframe
from traceback import walk_stack
from types import FrameType

from greenlet import getcurrent

__all__ = ["frames"]


def frames() -> Iterator[tuple[FrameType, int]]:
    """Yield the frames that lead to the caller, with their lines, from the innermost on.

    The coroutine of ``op.run_async()`` waits in a greenlet of its own for the statement that it executes.
    """
    here = currentframe()
    yield from walk_stack(here.f_back if here else None)
    waiting = getcurrent().parent
    while waiting is not None:
        if waiting.gr_frame is not None:
            yield from walk_stack(waiting.gr_frame)
        waiting = waiting.parent

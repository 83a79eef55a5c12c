"""Signals: what SIGINT, SIGTERM and SIGHUP do to a task, in one way for all of them."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Stopped", "handling", "stop_at_once"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHELL = 128
"""What a shell adds to the number of the signal that ended a command, for its exit code."""


class Stopped(BaseException):
    """A signal ended the task."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.number = number
        self.exit_code = _SHELL + number


def stop_at_once(number: int, _: FrameType | None = None) -> NoReturn:
    """Handle a signal by an exception in the main thread, so that whatever runs there can clear away what it began."""
    raise Stopped(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Call a handler with each signal that arrives while the block runs, and the frame that it interrupts."""
    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)

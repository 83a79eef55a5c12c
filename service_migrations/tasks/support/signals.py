"""The handling of SIGINT, SIGTERM and SIGHUP in tasks."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from service_migrations.interruption import SIGNALS

__all__ = ["Stopped", "handling", "stop_at_once"]

_SHELL = 128
"""The exit code of a command that a signal ended is this plus the number of the signal, as in a shell."""


class Stopped(BaseException):
    """A signal ended the task."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.number = number
        self.exit_code = _SHELL + number


def stop_at_once(number: int, _: FrameType | None = None) -> NoReturn:
    """Raise an exception in the main thread, so that the code that runs there can clean up."""
    raise Stopped(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Call a handler with the number of each signal while the block runs, and with the frame that it interrupts."""
    former_handlers = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, former_handler in former_handlers.items():
            signal.signal(number, former_handler)

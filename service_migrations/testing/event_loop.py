"""An event loop in a thread: what a fixture waits for runs there, as a test may have a running loop of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["EventLoop", "wait"]

T = TypeVar("T")


class EventLoop:
    """A loop that is kept between the calls, so that a connection can be."""

    def __init__(self) -> None:
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()

    def wait(self, coroutine_function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function to its end."""
        return self._thread.submit(lambda: self._runner.run(coroutine_function())).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


def wait(coroutine_function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, in a loop of its own."""
    loop = EventLoop()
    try:
        return loop.wait(coroutine_function)
    finally:
        loop.close()

"""An event loop in a thread: what a fixture waits for runs there, as a test may have a running loop of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait as wait_for
from typing import Any, TypeVar

__all__ = ["EventLoop", "wait"]

T = TypeVar("T")

_PAUSE = 0.01


class EventLoop:
    """A loop that is kept between the calls, so that a connection can be."""

    def __init__(self) -> None:
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()

    def wait(self, coroutine_function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function to its end, or until an exception such as of Ctrl-C ends the wait for it."""
        tasks: list[asyncio.Task[Any] | None] = []

        async def run() -> T:
            tasks.append(asyncio.current_task())
            return await coroutine_function()

        future = self._thread.submit(lambda: self._runner.run(run()))
        try:
            return future.result()
        except BaseException:
            if not future.done():
                _cancel(future, tasks)
            raise

    def close(self) -> None:
        """End the loop and its thread."""
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


def _cancel(future: Future[Any], tasks: list[asyncio.Task[Any] | None]) -> None:
    """Cancel what runs in the thread, and wait for its end: the next one that is waited for would wait for it too."""
    while not tasks and not future.done():
        wait_for([future], _PAUSE)
    if tasks and (task := tasks[0]):
        task.get_loop().call_soon_threadsafe(task.cancel)
    wait_for([future])


def wait(coroutine_function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, in a loop of its own."""
    loop = EventLoop()
    try:
        return loop.wait(coroutine_function)
    finally:
        loop.close()

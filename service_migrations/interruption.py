"""What a run does where it is stopped: who stopped it, what is finished all the same, and what is left."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from service_migrations.errors import MigrationError, text_of

__all__ = [
    "SIGNALS",
    "EventLoopEndedError",
    "abandon",
    "cancel_and_wait",
    "ended_inside",
    "finish_even_if_cancelled",
    "handlers_contained",
    "handlers_kept",
    "is_ours",
    "is_raised_by",
    "stops",
    "unfinished",
]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a run."""


class EventLoopEndedError(MigrationError):
    """What a revision has left, such as an alarm, has raised an error in the event loop, outside its own Python."""


def stops(error: BaseException) -> bool:
    """Whether an error stops the run, as a signal or a cancelled task does; else the code that ran has raised it."""
    if isinstance(error, Exception | SystemExit):
        return False
    if isinstance(error, KeyboardInterrupt):
        return _interrupts()
    return is_ours(error.__class__) or _is_cancelled()


def is_ours(value: object) -> bool:
    """Whether a class, a function or an object of a class belongs to this library."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


@contextmanager
def handlers_kept(is_kept: Callable[[object], bool] = lambda _: True) -> Iterator[None]:
    """Restore the handlers of the signals that end a run, where a block may set others.

    Args:
        is_kept: whether a handler is restored; by default each is.

    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None and is_kept(handler) and signal.getsignal(number) != handler:
                    signal.signal(number, handler)


@contextmanager
def handlers_contained(module: dict[str, Any], is_inside: Callable[[FrameType | None], bool]) -> Iterator[None]:
    """Let the handler of a signal that the block sets end the block by its error, also while that waits for the server.

    Python calls a handler wherever its main thread is. In the event loop, the error would be raised in whatever runs
    there, as in what watches for locks, or in a part of asyncio that only logs it; and the block would go on.

    Args:
        module: the names in the revision's file, which may have imported ``signal()``.
        is_inside: whether a frame is in the block's own Python, where a handler may raise its error.

    Raises:
        EventLoopEndedError: there was such an error.

    """
    task = _current_task()
    if task is None:  # offline, where it waits for nothing
        yield
        return
    errors: list[BaseException] = []
    once = [task.cancel]

    def end(error: BaseException) -> None:
        errors.append(error)
        with suppress(IndexError):  # a handler may interrupt itself, and be called again
            task.get_loop().call_soon_threadsafe(once.pop())  # this wakes a loop that waits

    set_handler = signal.signal
    places = [(vars(signal), "signal")]
    places += [(module, name) for name, value in module.items() if value is set_handler]
    for place, name in places:
        place[name] = lambda signalnum, handler: set_handler(signalnum, _contained(handler, is_inside, end))
    try:
        yield
    except BaseException as error:
        if not errors:
            raise
        task.uncancel()
        raise ended_inside(errors[0]) from error
    else:
        if errors:
            raise ended_inside(errors[0])
    finally:
        for place, name in places:
            place[name] = set_handler


def _contained(
    handler: Any, is_inside: Callable[[FrameType | None], bool], end: Callable[[BaseException], None]
) -> Any:
    """Return a handler of a signal whose errors are raised inside of a block only, and else given to a function."""
    if not callable(handler) or isinstance(handler, signal.Handlers) or is_ours(handler):
        return handler

    @wraps(handler)
    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            if is_inside(frame):
                raise
            end(error)

    return handle


def _current_task() -> "asyncio.Task[Any] | None":
    """Return the task that runs; None where no event loop does."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _is_cancelled() -> bool:
    task = _current_task()
    return task is not None and task.cancelling() > 0


def _interrupts() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt: neither the handlers of the tasks nor those of their processes do."""
    handler = signal.getsignal(signal.SIGINT)
    return not is_ours(handler) and handler is not signal.SIG_IGN


def is_raised_by(task: "asyncio.Future[Any] | None", error: BaseException) -> bool:
    """Whether a task has raised an error, which its event loop raises too, and not something else in that loop."""
    return task is not None and task.done() and not task.cancelled() and task.exception() is error


def ended_inside(error: BaseException, service: object = None) -> EventLoopEndedError:
    """Return the error of a run whose event loop was ended by what a revision has left in it.

    Args:
        error: what the event loop has raised, which is no error of the run itself.
        service: the service that ran.

    """
    text = f"{type(error).__name__}: {text_of(error)}".removesuffix(": ").rstrip(".")
    frames = list(walk_tb(error.__traceback__))
    path = Path(frames[-1][0].f_code.co_filename) if frames else Path(asyncio.__file__)
    if not path.is_relative_to(Path(asyncio.__file__).parent):
        with suppress(OSError, ValueError):  # the working directory was removed, or the file isn't in it
            path = path.relative_to(Path.cwd())
        text += f" (in {path.as_posix()}, line {frames[-1][1]})"
    return EventLoopEndedError(
        f"its event loop was ended by what a revision or an import has left in it, such as an alarm: {text}.",
        service=service,
        hint="Nobody has stopped the run, so it isn't done.",
    )


_unfinished: list[tuple[str, Callable[[], object]]] = []


@contextmanager
def unfinished(text: str = "", remove: Callable[[], object] = bool) -> Iterator[None]:
    """Note what the block leaves unfinished where the process ends before its end, without a word to the server.

    Args:
        text: what is to be known of it then, without a full stop; empty for nothing.
        remove: removes what the block has made on this machine.

    """
    entry = text, remove
    _unfinished.append(entry)
    try:
        yield
    finally:
        _unfinished.remove(entry)


def abandon() -> str:
    """Remove what unfinished blocks have made on this machine, and return what is to be known of them."""
    for _, remove in reversed(_unfinished):
        remove()
    return ". ".join(dict.fromkeys(text for text, _ in _unfinished if text))


async def cancel_and_wait(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel other tasks, once, and wait for their ends, whatever these are.

    Awaiting a cancelled task would take a cancellation of this one for its end, and would cancel it twice, which leaves
    its connection in an unknown state.

    Raises:
        CancelledError: this task was cancelled meanwhile.

    """
    for task in tasks:
        task.cancel()

    async def ended() -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    await finish_even_if_cancelled(ended())


async def finish_even_if_cancelled(coroutine: Coroutine[Any, Any, None]) -> None:
    """Finish a coroutine, also if this task is cancelled meanwhile; only then is it cancelled.

    What tidies up isn't stopped half-way: SQLAlchemy, for one, logs a traceback where the closing of a connection is.

    Raises:
        CancelledError: the task was cancelled meanwhile.

    """
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # a cancellation comes first
        raise cancelled
    task.result()

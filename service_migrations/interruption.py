"""The interruption of a revision by a signal, also while it sleeps, computes or waits."""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from service_migrations.errors import text_of

__all__ = [
    "SIGNALS",
    "RevisionStopped",
    "abandon",
    "call_revision",
    "cancel_and_wait",
    "cancel_revision",
    "finish_even_if_cancelled",
    "stops",
    "unfinished",
]

log = logging.getLogger(__name__)

_ROLLBACK = 2.0
"""Seconds that a stopped revision has for its rollback, and the run for reading the state of the database."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a run."""


class RevisionStopped(asyncio.CancelledError):
    """A signal arrived while a revision ran Python."""


def call_revision(function: Callable[..., Any], **keywords: Any) -> None:
    """Call upgrade() or downgrade() of a revision; while it runs Python, this function is on the stack.

    The handlers of signals that it sets end with it: the run has to hear a signal while the next one runs. So does what
    it puts in the place of an operation of Alembic's, with which the next one might do nothing, and be written down.

    Raises:
        TypeError: what it returned has to be awaited or iterated, so that nothing of it was run.

    """
    try:
        with _signal_handlers_kept(), _operations_kept():
            _refuse_unrun(function(**keywords))
    except (Exception, SystemExit):
        raise
    except BaseException as error:
        if stops(error):
            raise
        # raised by the revision itself: nobody has stopped the run
        raise RuntimeError(f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")) from error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Restore the handlers of the signals that end a run."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) != handler:
                    signal.signal(number, handler)


@contextmanager
def _operations_kept() -> Iterator[None]:
    """Restore the functions of ``alembic.op``; this module never imports it."""
    module = sys.modules.get("alembic.op")
    attributes = vars(module) if module else {}
    operations = {name: value for name, value in attributes.items() if not name.startswith("_")}
    try:
        yield
    finally:
        for name, operation in operations.items():
            if getattr(module, name, None) is not operation:
                setattr(module, name, operation)


def _refuse_unrun(returned: object) -> None:
    """Refuse a coroutine or a generator, also that of a context manager; the error has the line of its function."""
    unrun = getattr(returned, "gen", returned)
    error = TypeError(
        "nothing of it was run, since it has to be awaited or iterated. Write upgrade() and downgrade() with a plain "
        "def, without async and without yield"
    )
    if isinstance(unrun, Coroutine | Generator):
        unrun.throw(error)  # nothing of it has begun, so it is raised where its function is defined
    if isinstance(unrun, Awaitable | AsyncGenerator):
        raise error


def stops(error: BaseException) -> bool:
    """Whether an error stops the run, as a signal or a cancelled task does; else the code that ran has raised it."""
    if isinstance(error, Exception | SystemExit):
        return False
    if isinstance(error, KeyboardInterrupt):
        return _interrupts()
    return _is_ours(error.__class__) or _is_cancelled()


def _is_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]


def _is_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # offline, no event loop has to run
        return False
    return task is not None and task.cancelling() > 0


def _interrupts() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt: neither the handlers of the tasks nor those of their processes do."""
    handler = signal.getsignal(signal.SIGINT)
    return not _is_ours(handler) and handler is not signal.SIG_IGN


def _is_in_revision(frame: FrameType | None) -> bool:
    """Whether a frame is inside a revision's own Python, as opposed to an event loop that waits for its server."""
    while frame is not None:
        if frame.f_code is call_revision.__code__:
            return True
        frame = frame.f_back
    return False


def cancel_revision(frame: FrameType | None, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any]") -> None:
    """Cancel the task that runs a revision, from the handler of a signal.

    Cancelling needs a turn of the event loop, and there is none while a revision sleeps, computes or waits for a
    thread. So an exception is raised in its Python, and the task is cancelled too if that doesn't end it.

    Args:
        frame: the frame that the signal interrupted.
        loop: the event loop of the task.
        task: the task.

    Raises:
        RevisionStopped: the frame is inside a revision.

    """
    loop.set_exception_handler(_left_behind)
    if not _is_in_revision(frame):
        loop.call_soon_threadsafe(task.cancel)  # this wakes a loop that waits
        return
    loop.call_soon_threadsafe(lambda: loop.call_later(_ROLLBACK, task.cancel))
    raise RevisionStopped


def _left_behind(_: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
    """Log what a cancelled library left behind where nobody reads it; asyncio itself would print a traceback."""
    log.debug("%s", what["message"], exc_info=what.get("exception"))


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

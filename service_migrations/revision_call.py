"""The call of a revision's function: a signal ends it also while it runs Python, and the process is as it was."""

import asyncio
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import currentframe
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any, NoReturn

from service_migrations.errors import text_of
from service_migrations.interpreter import interpreter_kept
from service_migrations.interruption import handlers_contained, handlers_kept, is_ours, stops

__all__ = ["RevisionStopped", "call_revision", "cancel_revision", "log_left_behind", "reminding"]

log = logging.getLogger(__name__)

_NEVER_AWAITED = "coroutine .* was never awaited"
_ROLLBACK = 2.0
"""Seconds that a stopped revision has for its rollback, and the run for reading the state of the database."""

_REMINDER = 0.5
"""Seconds after which a revision that a signal has stopped is stopped again, and between two such times."""

_REPLACES = "os.exec puts another program in the place of the run. Use subprocess.run() instead."
_ENDS = {
    "_exit": "os._exit({0}) would end the run without a word. Raise an error instead.",
    "execv": _REPLACES,  # all other functions of os.exec call one of these two
    "execve": _REPLACES,
}
"""The functions of os that end a process at once, and why a revision may not call them."""

_stops: list[bool] = []
"""An entry for each signal that has stopped the revision that runs."""

_is_called: ContextVar[bool] = ContextVar("is_called", default=False)
"""Whether a revision runs in this task, also in a coroutine of its own, which SQLAlchemy runs beside its stack."""

_calls: list[bool] = []
"""An entry for each revision that runs in this process."""

_loops: list[asyncio.AbstractEventLoop] = []
"""The event loop of a run that a signal has stopped, for the reminders."""

_held: list[bool] = []
"""An entry where that loop had no turn since it was asked for one."""


class RevisionStopped(asyncio.CancelledError):
    """A signal arrived while a revision ran Python."""


def call_revision(function: Callable[..., Any], **keywords: Any) -> None:
    """Call upgrade() or downgrade() of a revision; while it runs Python, this function is on the stack.

    The handlers of signals that it sets end with it: the run has to hear a signal while the next one runs. So does an
    alarm that it has set and left, as a time limit of its own: it would end the run in the next one. So does what
    it puts in the place of an operation of Alembic's, with which the next one might do nothing, and be written down,
    and a precision of decimals, a locale or a limit. A process that it forks ends with it too: it has the same
    connection, and would go on with the next revision.

    Raises:
        Exception: whatever it raises, or a thread of its own code has ended with.
        EventLoopEndedError: the handler of a signal that it has set has raised an error while it waited for the server.
        RuntimeError: it called ``os._exit()`` or an ``os.exec`` function, raised what isn't an Exception, or has made a
            coroutine that it never awaited.
        TypeError: what it returned has to be awaited or iterated, so that nothing of it was run.

    """
    called = _is_called.set(True)
    _calls.append(True)
    try:
        with (
            _one_process_kept(getattr(function, "__globals__", {})),
            handlers_kept(),
            _alarm_kept(),
            handlers_contained(getattr(function, "__globals__", {}), _is_in_revision),
            interpreter_kept(),
            _awaited(file := getattr(getattr(function, "__code__", None), "co_filename", "")),
            _threads_heard(file),
        ):
            _stops.clear()
            _refuse_unrun(function(**keywords))
            _stop_again()
    except (Exception, SystemExit):
        raise
    except BaseException as error:
        if stops(error):
            raise
        # raised by the revision itself: nobody has stopped the run
        raise RuntimeError(f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")) from error
    finally:
        _calls.pop()
        _is_called.reset(called)


def _stop_again() -> None:
    """Stop a revision that a signal has stopped, and whose ``except:`` has caught that."""
    if _stops:
        raise RevisionStopped


@contextmanager
def _one_process_kept(module: dict[str, Any]) -> Iterator[None]:
    """Refuse to end or replace this process without a word, and end one that was forked from it where the block ends.

    Args:
        module: the names in the revision's file, which may have imported these functions.

    """
    pid, end = os.getpid(), os._exit
    functions = {name: vars(os)[name] for name in _ENDS}
    names = {id(function): name for name, function in functions.items()}
    places = [(vars(os), name, name) for name in _ENDS]
    places += [(module, key, names[id(value)]) for key, value in module.items() if id(value) in names]
    for place, key, name in places:
        place[key] = _refusing(name, functions[name], pid)
    try:
        yield
    except BaseException as error:
        if os.getpid() != pid:
            _end_forked(error, end)
        raise
    finally:
        for place, key, name in places:
            place[key] = functions[name]
        if os.getpid() != pid:
            end(0)


def _refusing(name: str, function: Callable[..., NoReturn], pid: int) -> Callable[..., NoReturn]:
    """Return a function of os that fails in this process; a forked one may call it."""

    def refuse(*arguments: Any, **keywords: Any) -> NoReturn:
        if os.getpid() == pid:
            raise RuntimeError(_ENDS[name].format(*arguments, *keywords.values()))
        function(*arguments, **keywords)

    return refuse


def _end_forked(error: BaseException, end: Callable[[int], NoReturn]) -> NoReturn:
    """End a forked process with the code that Python would end it with, and print an error."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        end(error.code or 0)
    sys.excepthook(type(error), error, error.__traceback__)
    end(1)


@contextmanager
def _alarm_kept() -> Iterator[None]:
    """Restore the handler of SIGALRM, and stop an alarm that the block has set: by default it kills the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, (seconds, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    try:
        yield
    finally:
        current = signal.getsignal(signal.SIGALRM)
        if not is_ours(current):  # ours is that of a run that was stopped meanwhile, and has to end
            if not seconds:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if handler is not None and current != handler:
                signal.signal(signal.SIGALRM, handler)


@contextmanager
def _awaited(file: str) -> Iterator[None]:
    """Refuse a coroutine that a revision makes and never awaits: Python only warns that nothing of it was run.

    Args:
        file: the revision's file, whose coroutines are refused as tasks too where these aren't done.

    Raises:
        RuntimeError: there was one, and no other error.

    """
    never_awaited: list[str] = []
    former_tasks = _tasks()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", _NEVER_AWAITED, RuntimeWarning)
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], filename: str, lineno: int, *others: Any) -> None:
            # while a statement runs, the event loop may run other tasks of an application
            if re.match(_NEVER_AWAITED, str(message)) and (_is_called.get() or _is_in_revision(currentframe())):
                place = "" if filename == __file__ else f" ({Path(filename).name}, line {lineno})"
                never_awaited.append(f"{message}{place}")
            else:
                show(message, category, filename, lineno, *others)

        warnings.showwarning = note  # type: ignore[assignment]
        yield
    for task in _tasks() - former_tasks:
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and code.co_filename == file:
            task.cancel()
            never_awaited.append(f"the task of {code.co_name}() was never awaited")
    if never_awaited:
        raise RuntimeError(f"{never_awaited[0]}, so nothing of it was run. Only what op.run_async() calls can await")


@contextmanager
def _threads_heard(file: str) -> Iterator[None]:
    """Raise the error with which a thread of a revision's own code has ended: Python only prints it.

    Args:
        file: the revision's file.

    """
    errors: list[BaseException] = []
    print_error = threading.excepthook

    def hear(ended: threading.ExceptHookArgs) -> None:
        frames = (frame for frame, _ in walk_tb(ended.exc_traceback))
        if ended.exc_value is not None and any(frame.f_code.co_filename == file for frame in frames):
            errors.append(ended.exc_value)
        else:
            print_error(ended)  # of another part of an application

    threading.excepthook = hear
    try:
        yield
    finally:
        threading.excepthook = print_error
    if errors:
        raise errors[0]


def _tasks() -> "set[asyncio.Task[Any]]":
    """Return the tasks of this event loop that aren't done; none offline, where there may be no loop."""
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return set()


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
    thread. So an exception is raised in its Python, and the task is cancelled too if that doesn't end it. A coroutine
    of its own that holds up the loop isn't on its stack: a reminder raises it there.

    Args:
        frame: the frame that the signal interrupted.
        loop: the event loop of the task.
        task: the task.

    Raises:
        RevisionStopped: the frame is inside a revision.

    """
    loop.set_exception_handler(log_left_behind)
    _loops[:] = [loop]
    _holds_up_loop()
    if not _is_in_revision(frame):
        loop.call_soon_threadsafe(task.cancel)  # this wakes a loop that waits
        return
    loop.call_soon_threadsafe(lambda: loop.call_later(_ROLLBACK, task.cancel))
    _stops.append(True)
    raise RevisionStopped


def _holds_up_loop() -> bool:
    """Whether a revision runs, and the event loop had no turn since this was asked before."""
    if not (_calls and _loops):
        return False
    is_held = bool(_held)
    _held[:] = [True]
    _loops[0].call_soon_threadsafe(_held.clear)
    return is_held


@contextmanager
def reminding(also: Callable[[], object] = bool) -> Iterator[Callable[[], None]]:
    """Yield a function that reminds a revision, again and again until the block ends, that a signal has stopped it.

    Code that has caught the first exception may wait on, as a pool of threads does that is left by ``with``.

    Args:
        also: called each time first.

    """

    def remind(_: int, frame: FrameType | None) -> None:
        also()
        if _is_in_revision(frame) or _holds_up_loop():
            raise RevisionStopped

    def start() -> None:
        signal.signal(signal.SIGALRM, remind)
        signal.setitimer(signal.ITIMER_REAL, _REMINDER, _REMINDER)

    try:
        yield start
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _loops.clear()
        _held.clear()


def log_left_behind(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a cancelled library left behind where nobody reads it; asyncio itself would print a traceback."""
    log.debug("%s", context["message"], exc_info=context.get("exception"))

"""A worker: a forked process that runs one job after the other, and its messages to its parent."""

import asyncio
import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from service_migrations.interruption import cancel_and_wait, ended_inside, is_raised_by
from service_migrations.process_state import process_state_of
from service_migrations.revision_call import cancel_revision, reminding

__all__ = ["CANCELLED", "GRACE", "STOPPED", "Finished", "JobFunction", "JobProgress", "Output", "decoded", "run_worker"]

GRACE = 8.0
"""Seconds in which stopped workers may cancel their statements; a server that is hanging must not hold a pod."""

STOPPED = "stopped"
"""The result of a job that was cancelled or never begun because its worker was stopped."""

CANCELLED = "cancelled"
"""The result of a job that was cancelled though nobody has stopped its worker: by what ran in it."""

JobFunction = Callable[[str, Callable[[Any], None]], Coroutine[Any, Any, Any]]
"""A coroutine function that runs a job, by its name; its second argument sends a ``JobProgress`` to the parent."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A value that a job sent while it ran."""

    job: str
    value: Any


@dataclass(frozen=True, slots=True)
class Output:
    """A line that a job printed."""

    job: str
    line: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a job.

    Attributes:
        job: its name.
        result: its result, which may be ``STOPPED`` or ``CANCELLED``.
        exit_code: that of a worker that died; None where it has reported a result.
        is_foreign: whether the worker was stopped by another process, and the workers weren't asked to stop.

    """

    job: str
    result: Any = None
    exit_code: int | None = None
    is_foreign: bool = False


class _Pipe:
    """The pipe to the parent, into which threads of a revision write too: one whole message after the other."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe, self._lock = pipe, threading.RLock()
        self.recv, self.fileno = pipe.recv, pipe.fileno

    def send(self, message: Any) -> None:
        """Send a message; after a part of one, the parent would take the rest of the stream for something else."""
        with self._lock:
            # a signal raises an exception in a revision, also in the middle of what it prints
            former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGALRM))
            try:
                self._pipe.send(message)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, former)


class _Relay(QueueHandler):
    """A log handler that sends records to the parent, with the job's name in front where their text lacks it."""

    def __init__(self, pipe: _Pipe) -> None:
        super().__init__(pipe)  # type: ignore[arg-type]
        self.job = ""

    def enqueue(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self.job and not text.startswith((f"{self.job}:", f"{self.job} ")):
            record.msg = record.message = f"{self.job}: {text}"
        plain = logging.makeLogRecord({name: _plain(value) for name, value in vars(record).items()})
        with suppress(OSError):
            self.queue.send(plain)  # type: ignore[attr-defined]


def _plain(value: Any) -> Any:
    """Return a value of a log record as one of JSON: the parent never imports a class of a service's code."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return str(value)


class _Lines(io.RawIOBase):
    """The standard output of a worker: it sends whole lines to the parent, so that two jobs never share a line.

    Programs that a job starts write to the descriptor instead, whose other end the parent reads.
    """

    def __init__(self, pipe: _Pipe, relay: _Relay) -> None:
        self._pipe, self._relay, self._rest = pipe, relay, b""

    def writable(self) -> bool:
        """Return True, as a stream that can be written to."""
        return True

    def fileno(self) -> int:
        """Return the standard output's descriptor."""
        return 1

    def write(self, text: Any) -> int:
        """Send the complete lines."""
        *lines, self._rest = (self._rest + bytes(text)).split(b"\n")
        with suppress(OSError):
            for line in lines:
                self._pipe.send(Output(self._relay.job, decoded(line)))
        return len(text)

    def end(self) -> None:
        """Send the last line, which has no line end."""
        if self._rest:
            self.write(b"\n")


class _Stop:
    """The cancellation of the running job, at SIGTERM or at the end of the parent."""

    def __init__(self) -> None:
        self.asked = False
        self.task: asyncio.Task[Any] | None = None
        self._cancel: Callable[[FrameType | None], object] = lambda _: None
        self._remind: Callable[[], None] = lambda: None

    def __call__(self, _: int = 0, frame: FrameType | None = None) -> None:
        if not self.asked:
            self.asked = True
            self._remind()
            self._cancel(frame)

    def arm(self, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any]", remind: Callable[[], None]) -> None:
        """Set the task to cancel; a signal handler may run between any two instructions."""
        self.task, self._remind = task, remind
        self._cancel = lambda frame: cancel_revision(frame, loop, task)


def decoded(line: bytes) -> str:
    """Return a printed line as text; bytes that aren't UTF-8 are escaped."""
    return line.decode(errors="backslashreplace").removesuffix("\r")


def run_worker(
    connection: "Connection[Any, Any]",
    output: "Connection[Any, Any]",
    inherited: "list[Connection[Any, Any]]",
    run_job: JobFunction,
) -> None:
    """Run as a worker: run the jobs that arrive in the pipe until it is closed.

    Args:
        connection: the pipe, which receives jobs, and sends messages to the parent.
        output: the standard output of programs that a job starts.
        inherited: the parent's ends of the pipes, and those of other workers, to be closed.
        run_job: runs a job.

    """
    stop, pipe = _Stop(), _Pipe(connection)
    # the terminal sends Ctrl-C to all of its processes, and only the parent decides
    for number, handler in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGHUP, signal.SIG_IGN), (signal.SIGTERM, stop)):
        signal.signal(number, handler)
    for other in inherited:
        other.close()
    for descriptor in {1, 2} - {pipe.fileno()}:  # the pipe may have one of these numbers
        os.dup2(output.fileno(), descriptor)
    if output.fileno() not in (1, 2):
        output.close()
    relay = _Relay(pipe)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers, logger.propagate = [], True
    logging.root.handlers = [relay]
    lines = _Lines(pipe, relay)
    sys.stdout = sys.stderr = io.TextIOWrapper(lines, "utf-8", "backslashreplace", "\n", write_through=True)
    with asyncio.Runner() as runner, suppress(EOFError, OSError):
        while True:
            job = relay.job = pipe.recv()
            with process_state_of(Path(job)):  # what a revision sets is not for the next service
                result = STOPPED if stop.asked else _run(runner, job, pipe, run_job, stop)
            lines.end()
            relay.job = ""
            pipe.send(Finished(job, _with_traceback(result)))


def _with_traceback(result: Any) -> Any:
    """Return a result that is sent; an error has its traceback and that of its causes in a note, which pickle keeps."""
    if isinstance(result, BaseException):
        result.add_note("".join(traceback.format_exception(result)).rstrip())
    return result


def _run(runner: asyncio.Runner, job: str, pipe: _Pipe, run_job: JobFunction, stop: "_Stop") -> Any:
    """Run a job, and return its result, also where something else in the event loop has ended that."""
    try:
        return runner.run(_run_cancellable(job, pipe, run_job, stop))
    except (Exception, SystemExit) as error:
        if not is_raised_by(stop.task, error) and stop.task is not None:
            runner.run(cancel_and_wait(stop.task))  # its connection is closed before the next job
        elif isinstance(error, Exception):
            raise
        if stop.asked:
            return STOPPED
        # of something in the event loop, such as a task that a revision has left
        return CANCELLED if isinstance(error, SystemExit) else ended_inside(error, job)


async def _run_cancellable(job: str, pipe: _Pipe, run_job: JobFunction, stop: _Stop) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(run_job(job, lambda value: pipe.send(JobProgress(job, value))))
    with reminding() as remind:
        stop.arm(loop, task, remind)
        if stop.asked:
            task.cancel()
        return await _finished(task, pipe, stop)


async def _finished(task: "asyncio.Task[Any]", pipe: _Pipe, stop: _Stop) -> Any:
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(pipe.fileno())
        stop()
        loop.call_later(GRACE, os.kill, os.getpid(), signal.SIGKILL)

    # the parent sends nothing while a job runs, so the pipe becomes readable only when the parent ends
    loop.add_reader(pipe.fileno(), orphaned)
    try:
        return await task
    except asyncio.CancelledError:
        return STOPPED if stop.asked else CANCELLED
    finally:
        loop.remove_reader(pipe.fileno())

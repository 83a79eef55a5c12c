"""A worker: a forked process that does one job after another, and tells the process above it what happens."""

import asyncio
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["GRACE", "STOPPED", "Ended", "Said", "Told", "Work", "be_worker", "decoded"]

GRACE = 8.0
"""Seconds that stopped workers have for telling their servers; one that doesn't answer must not hold a pod."""

STOPPED = "stopped"
"""The result of a job that was cancelled, or never begun, because the crew was stopped."""

Work = Callable[[str, Callable[[Any], None]], Coroutine[Any, Any, Any]]
"""What a worker does with a job; the second argument sends something to the parent's ``hear``."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the work of a job told on the way."""

    job: str
    what: Any


@dataclass(frozen=True, slots=True)
class Said:
    """A line that a job printed."""

    job: str
    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job: what its work returned, or ``STOPPED``, or the exit code of the worker that died over it."""

    job: str
    result: Any = None
    died: int | None = None


class _Relay(QueueHandler):
    """Send log records to the parent, with the name of the job in front where their text lacks it."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        super().__init__(pipe)  # type: ignore[arg-type]
        self.job = ""

    def enqueue(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self.job and not text.startswith((f"{self.job}:", f"{self.job} ")):
            record.msg = record.message = f"{self.job}: {text}"
        with suppress(OSError):
            self.queue.send(record)  # type: ignore[attr-defined]


class _Lines(io.RawIOBase):
    """Where a worker's ``print`` goes: line by line to the parent, so that no two jobs share one.

    Programs that a job starts get the descriptor instead: its other end is read by the parent.
    """

    def __init__(self, pipe: "Connection[Any, Any]", relay: _Relay) -> None:
        self._pipe, self._relay, self._rest = pipe, relay, b""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def fileno(self) -> int:
        """Return the standard output's descriptor."""
        return 1

    def write(self, text: Any) -> int:
        """Send the lines that are whole."""
        *lines, self._rest = (self._rest + bytes(text)).split(b"\n")
        with suppress(OSError):
            for line in lines:
                self._pipe.send(Said(self._relay.job, decoded(line)))
        return len(text)

    def end(self) -> None:
        """Send what is left without an end."""
        if self._rest:
            self.write(b"\n")


class _Stop:
    """Cancels the job that runs, whenever SIGTERM comes or the parent has ended."""

    def __init__(self) -> None:
        self.asked = False
        self._cancel: Callable[[], object] = lambda: None

    def __call__(self, *_: object) -> None:
        if not self.asked:
            self.asked = True
            self._cancel()

    def arm(self, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any]") -> None:
        """Choose what is cancelled; a handler may run between any two instructions, and must wake the loop."""
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)


def decoded(line: bytes) -> str:
    """Return a line that somebody printed; what is no UTF-8 in it is escaped."""
    return line.decode(errors="backslashreplace").removesuffix("\r")


def be_worker(
    pipe: "Connection[Any, Any]",
    output: "Connection[Any, Any]",
    inherited: "list[Connection[Any, Any]]",
    work: Work,
) -> None:
    """Be a worker: do what comes through the pipe until it ends.

    Args:
        pipe: where jobs come from, and what is told goes to.
        output: where the programs go that a job starts, and whatever else writes past Python.
        inherited: the parent's ends, and those of other workers.
        work: does a job.

    """
    stop = _Stop()
    # the terminal sends Ctrl-C to all of its processes: only the parent decides
    for number, handler in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGHUP, signal.SIG_IGN), (signal.SIGTERM, stop)):
        signal.signal(number, handler)
    for other in inherited:
        other.close()
    for descriptor in {1, 2} - {pipe.fileno()}:  # which it is where this process has no output of its own
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
            result = STOPPED if stop.asked else runner.run(_do(job, pipe, work, stop))
            lines.end()
            relay.job = ""
            pipe.send(Ended(job, result))


async def _do(job: str, pipe: "Connection[Any, Any]", work: Work, stop: _Stop) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work(job, lambda what: pipe.send(Told(job, what))))
    stop.arm(loop, task)
    if stop.asked:
        task.cancel()

    def orphaned() -> None:
        loop.remove_reader(pipe.fileno())
        stop()
        loop.call_later(GRACE, os.kill, os.getpid(), signal.SIGKILL)

    # the parent says nothing while a job runs: there is only its end to be read
    loop.add_reader(pipe.fileno(), orphaned)
    try:
        return await task
    except asyncio.CancelledError:
        return STOPPED
    finally:
        loop.remove_reader(pipe.fileno())

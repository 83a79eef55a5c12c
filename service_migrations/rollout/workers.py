"""A worker: a forked process that does one job after another, and tells the process above it what happens."""

import asyncio
import gc
import io
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from service_migrations.interruption import cancel_revision

__all__ = ["GRACE", "STOPPED", "Finished", "Job", "Output", "Progress", "be_worker", "decoded", "run_jobs"]

GRACE = 8.0
"""Seconds that stopped workers have for telling their servers; one that doesn't answer must not hold a pod."""

STOPPED = "stopped"
"""The result of a job that was cancelled, or never begun, because the crew was stopped."""

Job = Callable[[str, Callable[[Any], None]], Coroutine[Any, Any, Any]]
"""What a worker does with a job; the second argument sends something to the parent's ``hear``."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the work of a job told on the way."""

    job: str
    what: Any


@dataclass(frozen=True, slots=True)
class Output:
    """A line that a job printed."""

    job: str
    line: str


@dataclass(frozen=True, slots=True)
class Finished:
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
                self._pipe.send(Output(self._relay.job, decoded(line)))
        return len(text)

    def end(self) -> None:
        """Send what is left without an end."""
        if self._rest:
            self.write(b"\n")


class _Stop:
    """Cancels the job that runs, whenever SIGTERM comes or the parent has ended."""

    def __init__(self) -> None:
        self.asked = False
        self._cancel: Callable[[FrameType | None], object] = lambda _: None

    def __call__(self, _: int = 0, frame: FrameType | None = None) -> None:
        if not self.asked:
            self.asked = True
            self._cancel(frame)

    def arm(self, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any]") -> None:
        """Choose what is cancelled; a handler may run between any two instructions, and must wake the loop."""
        self._cancel = lambda frame: cancel_revision(frame, loop, task)


def decoded(line: bytes) -> str:
    """Return a line that somebody printed; what is no UTF-8 in it is escaped."""
    return line.decode(errors="backslashreplace").removesuffix("\r")


def be_worker(
    pipe: "Connection[Any, Any]",
    output: "Connection[Any, Any]",
    inherited: "list[Connection[Any, Any]]",
    work: Job,
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
            pipe.send(Finished(job, result))


async def _do(job: str, pipe: "Connection[Any, Any]", work: Job, stop: _Stop) -> Any:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work(job, lambda what: pipe.send(Progress(job, what))))
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


_TURN = 0.1
"""Seconds between two looks at whether to stop, and between two chances to draw."""
_JOBS = 8
"""After so many jobs a worker is replaced: what each imports stays in it, half a MiB for a service of 50 revisions."""
_PIPE = 1 << 20
"""Bytes: sixteen times what Linux lets a pipe hold where nobody asked for more."""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: "Connection[Any, Any]"
    output: "Connection[Any, Any]"
    job: str | None = None
    jobs: int = 0
    last: str = ""
    rest: bytes = b""

    def read(self, *, is_end: bool = False) -> list[Output]:
        """Return the lines that its programs have printed; at the end of a job also what is left without an end."""
        if not self.output.closed:
            try:
                # more than a pipe holds: what was printed before now is read at once
                piece = os.read(self.output.fileno(), _PIPE)
                self.rest += piece
                if not piece:
                    self.output.close()
            except BlockingIOError:
                pass
        *lines, self.rest = self.rest.split(b"\n")
        if is_end and self.rest:
            lines, self.rest = [*lines, self.rest], b""
        return [Output(self.last, decoded(line)) for line in lines]

    def close(self) -> None:
        """Close this process's ends of its pipes."""
        self.pipe.close()
        self.output.close()


def run_jobs(
    take: Callable[[], str | None],
    work: Job,
    size: int,
    hear: Callable[[Progress | Output | Finished], None],
    stop: Callable[[], int],
) -> bool:
    """Let workers do jobs until there are none.

    What they log is handled by the loggers of this process, which they see as it is now.

    Args:
        take: returns the next job; None where there is none, or none that may start before another has ended.
        work: runs in a worker.
        size: how many workers there are at most.
        hear: called here, with what workers tell and with the end of each job.
        stop: asked ten times a second; from 1 on all jobs are cancelled, from 2 on all workers are killed.

    Returns:
        Whether every job that was taken has told its end; not so where workers had to be killed.

    """
    context = multiprocessing.get_context("fork")
    workers: list[_Worker] = []
    deadline: float | None = None
    gc.freeze()  # a collection in a worker would copy every page that this process has
    try:
        while True:
            busy = [worker for worker in workers if worker.job is not None]
            asked = stop()
            if asked and deadline is None:
                deadline = time.monotonic() + GRACE
                for worker in busy:
                    os.kill(worker.process.pid or 0, signal.SIGTERM)
            if deadline is not None and (asked > 1 or time.monotonic() > deadline):
                return not busy
            if deadline is None and len(busy) < size and (job := take()) is not None:
                _give(job, workers, context, work)
                continue
            if not busy:
                return True
            ends = [end for worker in workers for end in (worker.pipe, worker.output) if not end.closed]
            ready = wait(ends, _TURN)
            for worker in workers.copy():
                # first what its programs printed: they may have been started by a job that has ended now
                if worker.output in ready:
                    _pass_on(worker.read(), hear)
                if worker.pipe in ready:
                    _listen(worker, workers, hear)
    finally:
        gc.unfreeze()
        _dismiss(workers)


def _give(job: str, workers: list[_Worker], context: Any, work: Job) -> None:
    worker = next((worker for worker in workers if worker.job is None), None)
    if worker is None:
        ours, theirs = context.Pipe()
        reader, writer = context.Pipe(duplex=False)
        os.set_blocking(reader.fileno(), False)
        # a worker knows of its parent's end by the end of its pipe: nobody else may hold that open
        inherited = [ours, reader, *(end for other in workers for end in (other.pipe, other.output))]
        process = context.Process(target=be_worker, args=(theirs, writer, inherited, work), daemon=False)
        process.start()
        theirs.close()
        writer.close()
        worker = _Worker(process, ours, reader)
        workers.append(worker)
    worker.job, worker.jobs, worker.last = job, worker.jobs + 1, job
    with suppress(OSError):  # it has died meanwhile: its pipe says so
        worker.pipe.send(job)


def _dismiss(workers: list[_Worker]) -> None:
    """End all workers: the end of its pipe ends one that idles, and one that is still busy is killed."""
    for worker in workers:
        if worker.job is not None:
            worker.process.kill()
        worker.close()
    for worker in workers:
        worker.process.join()


def _pass_on(lines: list[Output], hear: Callable[[Progress | Output | Finished], None]) -> None:
    for line in lines:
        hear(line)


def _listen(worker: _Worker, workers: list[_Worker], hear: Callable[[Progress | Output | Finished], None]) -> None:
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        _pass_on(worker.read(is_end=True), hear)
        workers.remove(worker)
        worker.close()
        worker.process.join()
        if worker.job is not None:
            hear(Finished(worker.job, died=worker.process.exitcode))
        return
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
        return
    if isinstance(message, Finished):
        _pass_on(worker.read(is_end=True), hear)
        worker.job = None
        if worker.jobs >= _JOBS:
            workers.remove(worker)
            worker.close()
            worker.process.join()
    hear(message)

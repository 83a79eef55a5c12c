"""A crew: forked worker processes that take one job after another, and tell what happens through a pipe.

``alembic.context`` and ``alembic.op`` are module globals, so what runs at once needs processes. They are
forked when the imports are paid, from a process without threads and without a running event loop.
"""

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
from typing import Any

__all__ = ["GRACE", "STOPPED", "Ended", "Said", "Told", "Work", "work_off"]

GRACE = 8.0
"""Seconds that stopped workers have for telling their servers; one that doesn't answer must not hold a pod."""

STOPPED = "stopped"
"""The result of a job that was cancelled, or never begun, because the crew was stopped."""

_TURN = 0.1
"""Seconds between two looks at whether to stop, and between two chances to draw."""
_JOBS = 32
"""After so many jobs a worker is replaced, so that what they have imported doesn't pile up."""

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


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: "Connection[Any, Any]"
    job: str | None = None
    jobs: int = 0


def work_off(
    take: Callable[[], str | None],
    work: Work,
    size: int,
    hear: Callable[[Told | Said | Ended], None],
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
            for pipe in wait([worker.pipe for worker in workers], _TURN):
                _listen(next(worker for worker in workers if worker.pipe is pipe), workers, hear)
    finally:
        gc.unfreeze()
        _dismiss(workers)


def _give(job: str, workers: list[_Worker], context: Any, work: Work) -> None:
    worker = next((worker for worker in workers if worker.job is None), None)
    if worker is None:
        ours, theirs = context.Pipe()
        # a worker knows of its parent's end by the end of its pipe: nobody else may hold that open
        inherited = [ours, *(other.pipe for other in workers)]
        process = context.Process(target=_main, args=(theirs, inherited, work), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        workers.append(worker)
    worker.job, worker.jobs = job, worker.jobs + 1
    with suppress(OSError):  # it has died meanwhile: its pipe says so
        worker.pipe.send(job)


def _dismiss(workers: list[_Worker]) -> None:
    """End all workers: the end of its pipe ends one that idles, and one that is still busy is killed."""
    for worker in workers:
        if worker.job is not None:
            worker.process.kill()
        worker.pipe.close()
    for worker in workers:
        worker.process.join()


def _listen(worker: _Worker, workers: list[_Worker], hear: Callable[[Told | Said | Ended], None]) -> None:
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        if worker.job is not None:
            hear(Ended(worker.job, died=worker.process.exitcode))
        return
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
        return
    if isinstance(message, Ended):
        worker.job = None
        if worker.jobs >= _JOBS:
            workers.remove(worker)
            worker.pipe.close()
            worker.process.join()
    hear(message)


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


class _Lines(io.TextIOBase):
    """Where a worker's ``print`` goes: line by line to the parent, so that no two jobs share one."""

    def __init__(self, pipe: "Connection[Any, Any]", relay: _Relay) -> None:
        self._pipe, self._relay, self._rest = pipe, relay, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        with suppress(OSError):
            for line in lines:
                self._pipe.send(Said(self._relay.job, line))
        return len(text)


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


def _main(pipe: "Connection[Any, Any]", inherited: "list[Connection[Any, Any]]", work: Work) -> None:
    """Be a worker: do what comes through the pipe until it ends."""
    stop = _Stop()
    # the terminal sends Ctrl-C to all of its processes: only the parent decides
    for number, handler in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGHUP, signal.SIG_IGN), (signal.SIGTERM, stop)):
        signal.signal(number, handler)
    for other in inherited:
        other.close()
    relay = _Relay(pipe)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers, logger.propagate = [], True
    logging.root.handlers = [relay]
    sys.stdout = sys.stderr = _Lines(pipe, relay)
    with asyncio.Runner() as runner, suppress(EOFError, OSError):
        while True:
            job = relay.job = pipe.recv()
            result = STOPPED if stop.asked else runner.run(_do(job, pipe, work, stop))
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

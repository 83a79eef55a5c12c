"""The workers of a run: they are forked, get one job after the other, and report to this process."""

import gc
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from service_migrations.rollout.worker import (
    CANCELLED,
    GRACE,
    STOPPED,
    Finished,
    JobFunction,
    JobProgress,
    Output,
    decoded,
    run_worker,
)

__all__ = ["run_jobs"]

log = logging.getLogger(__name__)

_INTERVAL = 0.1
"""Seconds between two calls of ``stop``, in which the caller may also draw its progress."""
_JOBS_PER_WORKER = 8
"""How many jobs a worker runs before it is replaced: each leaves half a MiB of imports for 50 revisions."""
_PATIENCE = 2.0
"""Seconds after which a line says why a worker that has nothing to do doesn't end."""
_READ_BYTES = 1 << 20
"""Bytes of one read: sixteen times the default capacity of a pipe on Linux."""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: "Connection[Any, Any]"
    output: "Connection[Any, Any]"
    job: str | None = None
    jobs: list[str] = field(default_factory=list)
    last: str = ""
    rest: bytes = b""

    def read(self, *, is_end: bool = False) -> list[Output]:
        """Return the lines that its programs have printed, at the end of a job also one without a line end."""
        if not self.output.closed:
            try:
                # more than a pipe can hold, so one read returns everything that was printed
                chunk = os.read(self.output.fileno(), _READ_BYTES)
                self.rest += chunk
                if not chunk:
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
    run_job: JobFunction,
    size: int,
    on_message: Callable[[JobProgress | Output | Finished], None],
    stop: Callable[[], int],
) -> bool:
    """Run jobs in workers until there are none.

    Log records of the workers are handled by the loggers of this process. Workers are copies of this process.

    Args:
        take: returns the next job; None where there is none, or none that may start before another has ended.
        run_job: runs a job in a worker.
        size: the largest number of workers.
        on_message: called in this process with each message of a worker, and with the end of each job.
        stop: called ten times a second; from 1 on all jobs are cancelled, from 2 on all workers are killed.

    Returns:
        Whether every job has ended by itself; False where workers had to be killed.

    """
    context = multiprocessing.get_context("fork")
    workers: list[_Worker] = []
    ending: list[_Worker] = []
    deadline: float | None = None
    gc.freeze()  # a garbage collection in a worker would copy all memory pages of this process
    try:
        while True:
            busy = [worker for worker in workers if worker.job is not None]
            stop_count = stop()
            if stop_count and deadline is None:
                deadline = time.monotonic() + GRACE
                for worker in busy:
                    os.kill(worker.process.pid or 0, signal.SIGTERM)
            if deadline is not None and (stop_count > 1 or time.monotonic() > deadline):
                return not busy
            if deadline is None and len(busy) < size and (job := take()) is not None:
                _start_job(job, workers, context, run_job)
                continue
            if not busy:
                return True
            ends = [end for worker in workers for end in (worker.pipe, worker.output) if not end.closed]
            ready = wait(ends, _INTERVAL)
            for worker in workers.copy():
                # the output of programs first: a job that has ended now may have started them
                if worker.output in ready:
                    _forward(worker.read(), on_message)
                if worker.pipe in ready or worker.process.exitcode is not None:
                    _receive(worker, workers, on_message, stop)
                    ending += [worker] if worker not in workers else []
    finally:
        gc.unfreeze()
        _end_all([*ending, *workers], stop)


def _start_job(job: str, workers: list[_Worker], context: Any, run_job: JobFunction) -> None:
    worker = next((worker for worker in workers if worker.job is None), None)
    if worker is None:
        ours, theirs = context.Pipe()
        reader, writer = context.Pipe(duplex=False)
        os.set_blocking(reader.fileno(), False)
        # a worker notices its parent's end by the end of its pipe, so no other process may hold the pipe open
        inherited = [ours, reader, *(end for other in workers for end in (other.pipe, other.output))]
        # not a daemon: a revision may start processes of its own
        process = context.Process(target=run_worker, args=(theirs, writer, inherited, run_job), daemon=False)
        process.start()
        theirs.close()
        writer.close()
        worker = _Worker(process, ours, reader)
        workers.append(worker)
    worker.job = worker.last = job
    worker.jobs.append(job)
    with suppress(OSError):  # it has died meanwhile, which its pipe shows
        worker.pipe.send(job)


def _end_all(workers: list[_Worker], stop: Callable[[], int]) -> None:
    """End all workers: an idle one ends with its pipe, and a busy one is killed.

    An idle one that doesn't end has a thread that a revision has left. Like Python at its own end, this waits for it,
    but no longer than until somebody stops the run.
    """
    for worker in workers:
        if worker.job is not None:
            worker.process.kill()
        worker.close()
    began, is_reported = time.monotonic(), False
    while left := [worker for worker in workers if worker.process.is_alive()]:
        if stop():
            for worker in left:
                worker.process.kill()
        if not is_reported and time.monotonic() > began + _PATIENCE:
            is_reported = True
            for worker in left:
                log.warning(
                    "%s: done, but their process waits for a thread that a revision or an import has left running. "
                    "Ctrl-C ends it.",
                    ", ".join(worker.jobs),
                )
        wait([worker.process.sentinel for worker in left], _INTERVAL)
    for worker in workers:
        worker.process.join()


def _forward(lines: list[Output], on_message: Callable[[JobProgress | Output | Finished], None]) -> None:
    for line in lines:
        on_message(line)


def _receive(
    worker: _Worker,
    workers: list[_Worker],
    on_message: Callable[[JobProgress | Output | Finished], None],
    stop: Callable[[], int],
) -> None:
    message = None
    with suppress(EOFError, OSError):
        # the pipe of a worker that has died has no end while a process that it has forked holds it
        message = worker.pipe.recv() if worker.pipe.poll() else None
    if message is None:
        _forward(worker.read(is_end=True), on_message)
        workers.remove(worker)
        worker.close()
        worker.process.join()
        if worker.job is not None:
            on_message(Finished(worker.job, exit_code=worker.process.exitcode))
        return
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
        return
    if isinstance(message, Finished):
        _forward(worker.read(is_end=True), on_message)
        worker.job = None
        message = replace(message, is_foreign=message.result == STOPPED and not stop())
        # one that was stopped would stop its next jobs too
        if len(worker.jobs) >= _JOBS_PER_WORKER or message.result in (STOPPED, CANCELLED):
            workers.remove(worker)
            worker.close()  # it ends now, unless a thread of a revision is left
    on_message(message)

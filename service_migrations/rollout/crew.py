"""A crew: forked worker processes that take one job after another, and tell what happens through a pipe.

``alembic.context`` and ``alembic.op`` are module globals, so what runs at once needs processes. They are
forked when the imports are paid, from a process without threads and without a running event loop.
"""

import gc
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from service_migrations.rollout.workers import GRACE, Ended, Said, Told, Work, be_worker, decoded

__all__ = ["work_off"]

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

    def read(self, *, is_end: bool = False) -> list[Said]:
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
        return [Said(self.last, decoded(line)) for line in lines]

    def close(self) -> None:
        """Close this process's ends of its pipes."""
        self.pipe.close()
        self.output.close()


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


def _give(job: str, workers: list[_Worker], context: Any, work: Work) -> None:
    worker = next((worker for worker in workers if worker.job is None), None)
    if worker is None:
        ours, theirs = context.Pipe()
        reader, writer = context.Pipe(duplex=False)
        os.set_blocking(reader.fileno(), False)
        # a worker knows of its parent's end by the end of its pipe: nobody else may hold that open
        inherited = [ours, reader, *(end for other in workers for end in (other.pipe, other.output))]
        process = context.Process(target=be_worker, args=(theirs, writer, inherited, work), daemon=True)
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


def _pass_on(lines: list[Said], hear: Callable[[Told | Said | Ended], None]) -> None:
    for line in lines:
        hear(line)


def _listen(worker: _Worker, workers: list[_Worker], hear: Callable[[Told | Said | Ended], None]) -> None:
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        _pass_on(worker.read(is_end=True), hear)
        workers.remove(worker)
        worker.close()
        worker.process.join()
        if worker.job is not None:
            hear(Ended(worker.job, died=worker.process.exitcode))
        return
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
        return
    if isinstance(message, Ended):
        _pass_on(worker.read(is_end=True), hear)
        worker.job = None
        if worker.jobs >= _JOBS:
            workers.remove(worker)
            worker.close()
            worker.process.join()
    hear(message)

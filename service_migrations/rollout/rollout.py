"""A rollout: one upgrade for each of many services, several at once in worker processes, and what became of each."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from service_migrations.errors import MigrationError, UsageError
from service_migrations.monorepo import Service, resolve
from service_migrations.outcome import Outcome
from service_migrations.rollout.scan import Scan, scan
from service_migrations.rollout.schedule import News, Result, Schedule
from service_migrations.rollout.workers import Job, run_jobs
from service_migrations.settings.model import Settings, load_many

__all__ = ["News", "Result", "default_jobs", "upgrade_all"]

log = logging.getLogger(__name__)

_PER_CORE = 2
_JOBS = 8


def default_jobs() -> int:
    """Return how many upgrades run at once where nobody says: two for each core, since servers work too; at most 8."""
    return min(_PER_CORE * (os.cpu_count() or 1), _JOBS)


def upgrade_all(
    services: Sequence[str | Service],
    *,
    jobs: int | None = None,
    settings: Sequence[Settings | MigrationError] | None = None,
    allow: Collection[str] | None = None,
    fail_fast: bool = False,
    canary: str | Service | None = None,
    tell: Callable[[News], None] = lambda _: None,
    stop: Callable[[], int] = lambda: 0,
) -> list[Result]:
    """Upgrade the databases of many services to head, several at once; one that fails doesn't stop the others.

    Services that are at head already are found out without a worker. Those that share a database go one after the
    other. Worker processes are forked, so the caller has neither a running event loop nor other threads.

    Args:
        services: which ones, in the order in which they start.
        jobs: how many at once at most; None for ``default_jobs()``. A server with too few connections gets fewer.
        settings: those of each service, or its error, where they are loaded already.
        allow: as of ``upgrade``.
        fail_fast: start no other service after one has failed.
        canary: the service that goes first and alone; if it fails, no other is started.
        tell: called with what happens.
        stop: asked ten times a second; from 1 on everything is stopped, with every service whole; from 2 on at once.

    Returns:
        What became of each service, in their order.

    Raises:
        UsageError: there are no jobs, the canary is not among the services, or this process can't be forked.
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    chosen = [resolve(service) for service in services]
    canary = resolve(canary) if canary is not None else None
    run = Schedule(chosen, jobs if jobs is not None else default_jobs(), fail_fast, tell)
    _refuse_what_cannot_be(run, canary)
    for service, loaded in zip(chosen, settings or load_many(chosen), strict=True):
        if isinstance(loaded, MigrationError):
            run.end(Result(service.name, "failed", error=loaded))
        else:
            run.settings[service.name] = loaded
    try:
        run.take_over(asyncio.run(_until(scan(list(run.settings.values())), stop)))
    except asyncio.CancelledError:
        return run.results("stopped")
    work = _work(run.settings, allow) if run.queued() else None
    for wave in [[canary.name], None] if canary else [None]:
        run.queue = run.queued() if wave is None else [name for name in run.queued() if name in wave]
        if work and run.queue and not run.halted and not stop():
            run_jobs(run.take, work, run.jobs, run.hear, stop)
        run.halted = run.halted or (wave is not None and run.failed(wave[0]))
    return run.results("stopped" if stop() else "not started")


def _work(settings: Mapping[str, Settings], allow: Collection[str] | None) -> Job:
    """Return what a worker does for a service; the imports that it needs are paid here, once."""
    # where there is nothing to do, nobody pays for Alembic; the second is what env.py imports
    from service_migrations import environment  # noqa: F401, PLC0415
    from service_migrations.upgrade import commands  # noqa: PLC0415

    async def upgrade(name: str, send: Callable[[Any], None]) -> Outcome | MigrationError:
        own = settings[name]
        try:
            return await commands.upgrade(own.service, allow=allow, step=lambda *step: send(step), settings=own)
        except MigrationError as error:
            log.debug("%s", name, exc_info=True)
            return error
        except Exception as error:
            log.debug("%s", name, exc_info=True)
            return MigrationError(f"{type(error).__name__}: {' '.join(str(error).split())}", service=name)

    return upgrade


def _refuse_what_cannot_be(run: Schedule, canary: Service | None) -> None:
    if run.jobs < 1:
        raise UsageError(f"--jobs {run.jobs}: nothing could run.", hint="Give 1 or more.")
    if canary is not None and canary not in run.services:
        raise UsageError(f"--canary {canary} isn't one of the services to upgrade.")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if threading.active_count() == 1 and hasattr(os, "fork"):
            return
    raise UsageError(
        "upgrade_all() forks this process, so it can't run inside an event loop, beside other "
        "threads, or without fork().",
        hint="Await upgrade() for one service after the other there.",
    )


async def _until(work: Any, stop: Callable[[], int]) -> Scan:
    """Run the scan, which only reads, until it is done or nobody wants it any more."""
    task: asyncio.Task[Scan] = asyncio.ensure_future(work)
    while not (await asyncio.wait([task], timeout=0.1))[0]:
        if stop():
            task.cancel()
    return await task

"""A rollout: the upgrades of many services, several at once in worker processes."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures.driver_errors import describe
from service_migrations.installation import installation_problem
from service_migrations.monorepo import Service, resolve, resolve_all
from service_migrations.outcome import Outcome
from service_migrations.revision_call import log_left_behind
from service_migrations.rollout.scan import Scan, scan
from service_migrations.rollout.schedule import Event, Result, Schedule
from service_migrations.rollout.worker import JobFunction
from service_migrations.rollout.workers import run_jobs
from service_migrations.settings.model import Settings, load_many

__all__ = ["Event", "Result", "Schedule", "default_jobs", "job_of", "upgrade_all"]

log = logging.getLogger(__name__)

_PER_CORE = 2
_JOBS = 8


def default_jobs() -> int:
    """Return the default number of upgrades at once: two for each core, since servers work too; at most 8."""
    return min(_PER_CORE * (os.cpu_count() or 1), _JOBS)


def upgrade_all(
    services: str | Service | Sequence[str | Service],
    *,
    jobs: int | None = None,
    settings: Sequence[Settings | MigrationError] | None = None,
    allow: Collection[str] | None = None,
    fail_fast: bool = False,
    canary: str | Service | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    stop: Callable[[], int] = lambda: 0,
) -> list[Result]:
    """Upgrade the databases of many services to head, several at once; one that fails doesn't stop the others.

    A service that is at head already needs no worker. Services that share a database are upgraded one after the other.
    Worker processes are forked, so the caller must have no running event loop and no other threads.

    Args:
        services: services or their names, in the order in which they start; a lone one is one.
        jobs: the largest number of upgrades at once; None for ``default_jobs()``. A server with few free connections
            gets fewer.
        settings: the settings of each service, or their error, where they are loaded already.
        allow: as of ``upgrade``.
        fail_fast: start no other service after one has failed.
        canary: the service that is upgraded first and alone; if it fails, no other is started.
        on_event: called with each event.
        stop: called ten times a second; from 1 on all upgrades are cancelled cleanly, from 2 on they are killed.

    Returns:
        The result of each service, in their order.

    Raises:
        UsageError: jobs is less than 1, the canary isn't one of the services, or this process can't be forked.
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    resolved_services = resolve_all(services)
    canary = resolve(canary) if canary is not None else None
    schedule = Schedule(resolved_services, jobs if jobs is not None else default_jobs(), fail_fast, on_event)
    _refuse_impossible(schedule, canary)
    for service, own_settings in zip(resolved_services, settings or load_many(resolved_services), strict=True):
        if isinstance(own_settings, MigrationError):
            schedule.end(Result(service.name, "failed", error=own_settings))
        else:
            schedule.settings[service.name] = own_settings
    try:
        scanned = asyncio.run(_until(scan(list(schedule.settings.values())), stop))
    except asyncio.CancelledError:
        return schedule.results()
    schedule.apply(scanned)
    seen = {service.name: state.behind for service, state in scanned.states.items()}
    run_job = _upgrade_job(schedule.settings, seen, allow) if schedule.queued() else None
    for names in [[canary.name], None] if canary else [None]:
        schedule.queue = schedule.queued() if names is None else [name for name in schedule.queued() if name in names]
        if run_job and schedule.queue and not schedule.is_halted and not stop():
            run_jobs(schedule.take, run_job, schedule.jobs, schedule.handle, stop)
        schedule.is_halted = schedule.is_halted or (names is not None and schedule.failed(names[0]))
    return schedule.results()


def _upgrade_job(
    settings: Mapping[str, Settings], seen: Mapping[str, tuple[str, ...] | None], allow: Collection[str] | None
) -> JobFunction:
    """Return the function that upgrades a service in a worker; it imports what workers need, once for all of them.

    Args:
        settings: those of each service.
        seen: as of ``KnownState.behind``, for each service.
        allow: as of ``upgrade``.

    """
    # Alembic is imported only where a revision has to be run; env.py needs the first module
    from service_migrations import environment  # noqa: F401, PLC0415
    from service_migrations.upgrade import commands  # noqa: PLC0415

    async def upgrade(own_settings: Settings, send: Callable[[Any], None]) -> Outcome:
        return await commands.upgrade_to_head(
            own_settings,
            allow=allow,
            seen=seen[own_settings.service.name],
            step=lambda *step: send(step),
            begin=lambda revision, *numbers: send((revision.revision, *numbers, revision.message)),
        )

    return job_of(settings, upgrade)


def job_of(
    settings: Mapping[str, Settings],
    command: Callable[[Settings, Callable[[Any], None]], Coroutine[Any, Any, Any]],
) -> JobFunction:
    """Return the function that runs a command for a service in a worker: an error of it is a result.

    Args:
        settings: those of each service.
        command: a coroutine function; its second argument is that of ``JobFunction``.

    """

    async def run_job(name: str, send: Callable[[Any], None]) -> Any:
        try:
            return await command(settings[name], send)
        except MigrationError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the other services go on
            failure = installation_problem(error) or MigrationError(f"{describe(error)}.", service=name)
            failure.__cause__ = error  # its traceback is that of the failure
            return failure

    return run_job


def _refuse_impossible(schedule: Schedule, canary: Service | None) -> None:
    if schedule.jobs < 1:
        raise UsageError(f"--jobs {schedule.jobs}: nothing could run.", hint="Give 1 or more.")
    if canary is not None and canary not in schedule.services:
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


async def _until(scanning: Any, stop: Callable[[], int]) -> Scan:
    """Run the scan until it is done or is stopped; it only reads."""
    task: asyncio.Task[Scan] = asyncio.ensure_future(scanning)
    while not (await asyncio.wait([task], timeout=0.1))[0]:
        if stop() and not task.cancelling():  # a second time would interrupt the cancellation of a query
            # of a connection that is being made, asyncpg leaves a future behind
            asyncio.get_running_loop().set_exception_handler(log_left_behind)
            task.cancel()
    return await task

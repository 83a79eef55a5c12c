"""A rollout: one upgrade for each of many services, several at once in worker processes, and what became of each."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from migrations.crew import STOPPED, Ended, Said, Told, Work, work_off
from migrations.discovery import Service
from migrations.errors import MigrationError, UnreachableError, UsageError
from migrations.outcome import Outcome
from migrations.scan import Room, Scan, scan
from migrations.settings import Settings, load_many

__all__ = ["News", "Result", "default_jobs", "upgrade_all"]

log = logging.getLogger(__name__)

_CONNECTIONS = 2
"""What one upgrade opens at once: the migrating one, and one that looks at who is in its way."""
_PER_CORE = 2
_JOBS = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one service: ``done``, ``failed``, ``stopped``, ``unknown`` or ``not started``.

    ``outcome`` is set where it is done, ``error`` where it failed.
    """

    service: str
    state: str
    outcome: Outcome | None = None
    error: MigrationError | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What happens to a service: it starts, a revision was run, it printed a line, it ended (``result``)."""

    service: str
    revision: str | None = None
    number: int = 0
    count: int = 0
    line: str | None = None
    result: Result | None = None


def default_jobs() -> int:
    """Return how many upgrades run at once where nobody says: two for each core, since servers work too; at most 8."""
    return min(_PER_CORE * (os.cpu_count() or 1), _JOBS)


def upgrade_all(
    services: Sequence[Service],
    *,
    jobs: int | None = None,
    overrides: Mapping[str, float] | None = None,
    allow: Collection[str] | None = None,
    fail_fast: bool = False,
    canary: Service | None = None,
    tell: Callable[[News], None] = lambda _: None,
    stop: Callable[[], int] = lambda: 0,
) -> list[Result]:
    """Upgrade the databases of many services to head, several at once; one that fails doesn't stop the others.

    Services that are at head already are found out without a worker. Those that share a database go one after the
    other. Worker processes are forked, so the caller has neither a running event loop nor other threads.

    Args:
        services: which ones, in the order in which they start.
        jobs: how many at once at most; None for ``default_jobs()``. A server with too few connections gets fewer.
        overrides: limits by the name of their field, in seconds, instead of those of each service's settings.
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
    run = _Run(list(services), jobs if jobs is not None else default_jobs(), fail_fast, tell)
    _refuse_what_cannot_be(run, canary)
    for service, loaded in zip(services, load_many(services), strict=True):
        if isinstance(loaded, MigrationError):
            run.end(Result(service.name, "failed", error=loaded))
        else:
            run.settings[service.name] = loaded
    try:
        run.take_over(asyncio.run(_until(scan(list(run.settings.values())), stop)))
    except asyncio.CancelledError:
        return run.results("stopped")
    work = _work(run.settings, overrides or {}, allow) if run.queued() else None
    for wave in [[canary.name], None] if canary else [None]:
        run.queue = run.queued() if wave is None else [name for name in run.queued() if name in wave]
        if work and run.queue and not run.halted and not stop():
            work_off(run.take, work, run.jobs, run.hear, stop)
        run.halted = run.halted or (wave is not None and run.failed(wave[0]))
    return run.results("stopped" if stop() else "not started")


def _work(settings: Mapping[str, Settings], overrides: Mapping[str, float], allow: Collection[str] | None) -> Work:
    """Return what a worker does for a service; the imports that it needs are paid here, once."""
    from migrations import commands  # noqa: PLC0415 - where there is nothing to do, nobody pays for Alembic

    async def upgrade(name: str, send: Callable[[Any], None]) -> Outcome | MigrationError:
        own = settings[name]
        limits = replace(own.limits, **overrides)
        try:
            return await commands.upgrade(
                own.service, limits=limits, allow=allow, step=lambda *step: send(step), settings=own
            )
        except MigrationError as error:
            log.debug("%s", name, exc_info=True)
            return error
        except Exception as error:
            log.debug("%s", name, exc_info=True)
            return MigrationError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}")

    return upgrade


def _refuse_what_cannot_be(run: "_Run", canary: Service | None) -> None:
    if run.jobs < 1:
        raise UsageError(f"--jobs {run.jobs}: nothing could run. Give 1 or more.")
    if canary is not None and canary not in run.services:
        raise UsageError(f"--canary {canary} isn't one of the services to upgrade.")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if threading.active_count() == 1 and hasattr(os, "fork"):
            return
    raise UsageError(
        "upgrade_all() forks this process, so it can't run inside an event loop, beside other threads, or without "
        "fork(). Await upgrade() for one service after the other there."
    )


async def _until(work: Any, stop: Callable[[], int]) -> Scan:
    """Run the scan, which only reads, until it is done or nobody wants it any more."""
    task: asyncio.Task[Scan] = asyncio.ensure_future(work)
    while not (await asyncio.wait([task], timeout=0.1))[0]:
        if stop():
            task.cancel()
    return await task


@dataclass(slots=True)
class _Run:
    """What is queued, what runs, and what has become of the others."""

    services: list[Service]
    jobs: int
    fail_fast: bool
    tell: Callable[[News], None]
    settings: dict[str, Settings] = field(default_factory=dict)
    rooms: dict[frozenset[tuple[str, int]], Room] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    running: dict[str, Settings] = field(default_factory=dict)
    ended: dict[str, Result] = field(default_factory=dict)
    halted: bool = False
    _told: set[object] = field(default_factory=set)

    def take_over(self, seen: Scan) -> None:
        """Take what the scan is sure of for an answer."""
        self.rooms = seen.rooms
        for service, found in seen.found.items():
            if found.error:
                self.end(Result(service.name, "failed", error=found.error))
            elif found.at_head:
                at, target = found.current or (), self.settings[service.name].target
                self.end(Result(service.name, "done", Outcome(service.name, target, at, at, (), 0.0)))

    def queued(self) -> list[str]:
        """Return the services that have not started yet, in their order."""
        return [service.name for service in self.services if service.name not in self.ended]

    def failed(self, name: str) -> bool:
        """Whether a service has ended, and not well."""
        return name in self.ended and self.ended[name].state != "done"

    def take(self) -> str | None:
        """Return the next service that may start now."""
        if self.halted:
            return None
        for name in self.queue:
            settings = self.settings[name]
            if not self._is_free(settings):
                continue
            self.queue.remove(name)
            self.running[name] = settings
            self.tell(News(name))
            return name
        return None

    def hear(self, message: Told | Said | Ended) -> None:
        """Take in what a worker says."""
        name = message.job
        if isinstance(message, Told):
            revision, number, count = message.what
            self.tell(News(name, revision, number, count))
        elif isinstance(message, Said):
            self.tell(News(name, line=message.line))
        else:
            self.running.pop(name, None)
            self.end(_result(message))

    def end(self, result: Result) -> None:
        """Note what became of a service."""
        self.ended[result.service] = result
        self.halted = self.halted or (self.fail_fast and result.state == "failed")
        self.tell(News(result.service, result=result))

    def results(self, left: str) -> list[Result]:
        """Return what became of all; *left* is said of those that never started."""
        for name in list(self.running):
            self.end(Result(name, "unknown"))
        return [self.ended.get(service.name) or Result(service.name, left) for service in self.services]

    def _is_free(self, settings: Settings) -> bool:
        """Whether an upgrade has the database for itself, and the server two connections for it."""
        running = list(self.running.values())
        if any(other.dsn.identity == settings.dsn.identity for other in running):
            return False
        room = self.rooms.get(settings.dsn.server, Room())
        on_it = [other for other in running if other.dsn.server == settings.dsn.server]
        by_it = [other for other in on_it if other.dsn.user == settings.dsn.user]
        for of, free, busy in ((None, room.free, on_it), (settings.dsn.user, room.of(settings.dsn.user), by_it)):
            slots = self.jobs if free is None else max(1, free // _CONNECTIONS)
            if len(busy) >= slots:
                self._say_slower(settings, of, free, slots)
                return False
        return True

    def _say_slower(self, settings: Settings, role: str | None, free: int | None, slots: int) -> None:
        key = (settings.dsn.server, role)
        if slots < self.jobs and key not in self._told:
            self._told.add(key)
            whose = f"role {role}" if role else "server"
            log.warning(
                "%s: the %s has %s connections left, and each upgrade may need %s: %s at a time instead of %s.",
                *(settings.target, whose, free, _CONNECTIONS, slots, self.jobs),
            )


def _result(ended: Ended) -> Result:
    name = ended.job
    if ended.died is not None:
        how = f"killed by signal {-ended.died}" if ended.died < 0 else f"ended with {ended.died}"
        text = (
            f"{name}: its worker process was {how} before it said what it had done. The server rolls back what ran; "
            f"run `inv db.current --service {name}`, then run the command again."
        )
        return Result(name, "failed", error=UnreachableError(text))
    if ended.result == STOPPED:
        return Result(name, "stopped")
    if isinstance(ended.result, MigrationError):
        return Result(name, "failed", error=ended.result)
    return Result(name, "done", ended.result)

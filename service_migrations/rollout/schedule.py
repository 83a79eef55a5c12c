"""The schedule of a rollout: which service may start now, which server has room for it, and what became of each."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from service_migrations.errors import MigrationError, UnreachableError
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome
from service_migrations.rollout.scan import Capacity, Scan
from service_migrations.rollout.workers import STOPPED, Finished, Output, Progress
from service_migrations.settings.model import Settings

__all__ = ["News", "Result", "Schedule"]

log = logging.getLogger(__name__)

_CONNECTIONS = 2
"""What one upgrade opens at once: the migrating one, and one that looks at who is in its way."""


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


@dataclass(slots=True)
class Schedule:
    """What is queued, what runs, and what has become of the others."""

    services: list[Service]
    jobs: int
    fail_fast: bool
    tell: Callable[[News], None]
    settings: dict[str, Settings] = field(default_factory=dict)
    rooms: dict[frozenset[tuple[str, int]], Capacity] = field(default_factory=dict)
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

    def hear(self, message: Progress | Output | Finished) -> None:
        """Take in what a worker says."""
        name = message.job
        if isinstance(message, Progress):
            revision, number, count = message.what
            self.tell(News(name, revision, number, count))
        elif isinstance(message, Output):
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
        if any(other.database.may_be(settings.database) for other in running):
            return False
        room = self.rooms.get(settings.dsn.server, Capacity())
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


def _result(ended: Finished) -> Result:
    name = ended.job
    if ended.died is not None:
        how = f"killed by signal {-ended.died}" if ended.died < 0 else f"ended with {ended.died}"
        failure = UnreachableError(
            f"its worker process was {how} before it said what it had done.",
            service=name,
            hint=f"The server rolls back what ran; run `inv db.current --service {name}`, then run the command again.",
        )
        return Result(name, "failed", error=failure)
    if ended.result == STOPPED:
        return Result(name, "stopped")
    if isinstance(ended.result, MigrationError):
        return Result(name, "failed", error=ended.result)
    return Result(name, "done", ended.result)

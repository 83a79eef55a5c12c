"""The schedule of a rollout: which service may start now, and the result of each."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from service_migrations.errors import MigrationError, UnreachableError, cancelled_inside
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome
from service_migrations.rollout.scan import Capacity, Scan
from service_migrations.rollout.worker import CANCELLED, STOPPED, Finished, JobProgress, Output
from service_migrations.settings.model import Settings

__all__ = ["Event", "Result", "Schedule"]

log = logging.getLogger(__name__)

_CONNECTIONS = 2
"""The connections of one upgrade: the migrating one, and one that looks for sessions that block it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one service.

    Attributes:
        service: its name.
        state: ``done``, ``failed``, ``stopped``, ``unknown`` or ``not started``.
        outcome: what its upgrade did, where it is done; of a comparison, its result.
        error: why it failed, where it has failed.

    """

    service: str
    state: str
    outcome: Outcome | None = None
    error: MigrationError | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a service: it starts, a revision begins or was run, it printed a line, or it ended.

    Attributes:
        service: its name.
        revision: the revision that begins or was run.
        number: the number of that revision, from 1.
        count: how many revisions there are to run.
        message: what the revision does, where it begins; None where it was run.
        line: the line that was printed.
        result: the result of a service that has ended.

    """

    service: str
    revision: str | None = None
    number: int = 0
    count: int = 0
    message: str | None = None
    line: str | None = None
    result: Result | None = None


@dataclass(slots=True)
class Schedule:
    """The services that are queued, that run, and that have ended."""

    services: list[Service]
    jobs: int
    fail_fast: bool
    on_event: Callable[[Event], None]
    settings: dict[str, Settings] = field(default_factory=dict)
    capacities: dict[frozenset[tuple[str, int]], Capacity] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    running: dict[str, Settings] = field(default_factory=dict)
    results_by_name: dict[str, Result] = field(default_factory=dict)
    is_halted: bool = False
    _reported: set[object] = field(default_factory=set)

    def apply(self, scan: Scan) -> None:
        """End the services of which the scan has a certain result."""
        self.capacities = scan.capacities
        for service, state in scan.states.items():
            if state.error:
                self.end(Result(service.name, "failed", error=state.error))
            elif state.at_head:
                current, target = state.current or (), self.settings[service.name].target
                self.end(Result(service.name, "done", Outcome(service.name, target, current, current, (), 0.0)))

    def queued(self) -> list[str]:
        """Return the services that have not started yet, in their order."""
        return [service.name for service in self.services if service.name not in self.results_by_name]

    def failed(self, name: str) -> bool:
        """Whether a service has ended without being done."""
        return name in self.results_by_name and self.results_by_name[name].state != "done"

    def take(self) -> str | None:
        """Return the next service that may start now, and mark it as running; None where none may."""
        if self.is_halted:
            return None
        for name in self.queue:
            settings = self.settings[name]
            if not self._is_free(settings):
                continue
            self.queue.remove(name)
            self.running[name] = settings
            self.on_event(Event(name))
            return name
        return None

    def handle(self, message: JobProgress | Output | Finished) -> None:
        """Handle a message of a worker."""
        name = message.job
        if isinstance(message, JobProgress):
            self.on_event(Event(name, *message.value))
        elif isinstance(message, Output):
            self.on_event(Event(name, line=message.line))
        else:
            self.running.pop(name, None)
            self.end(_result(message))

    def end(self, result: Result) -> None:
        """Record the result of a service."""
        self.results_by_name[result.service] = result
        self.is_halted = self.is_halted or (self.fail_fast and result.state == "failed")
        self.on_event(Event(result.service, result=result))

    def results(self) -> list[Result]:
        """Return the results of all services: unknown where one still runs, and not started where it never began."""
        for name in list(self.running):
            self.end(Result(name, "unknown"))
        results = self.results_by_name
        return [results.get(service.name) or Result(service.name, "not started") for service in self.services]

    def _is_free(self, settings: Settings) -> bool:
        """Whether no other upgrade uses the database, and the server has enough connections."""
        running = list(self.running.values())
        if any(other.database.may_be(settings.database) for other in running):
            return False
        capacity = self.capacities.get(settings.dsn.server, Capacity())
        on_server = [other for other in running if other.dsn.server == settings.dsn.server]
        of_role = [other for other in on_server if other.dsn.user == settings.dsn.user]
        for role, free, counted in (
            (None, capacity.free, on_server),
            (settings.dsn.user, capacity.of(settings.dsn.user), of_role),
        ):
            slots = self.jobs if free is None else max(1, free // _CONNECTIONS)
            if len(counted) >= slots:
                self._warn_of_fewer_jobs(settings, role, free, slots)
                return False
        return True

    def _warn_of_fewer_jobs(self, settings: Settings, role: str | None, free: int | None, slots: int) -> None:
        key = (settings.dsn.server, role)
        if slots < self.jobs and key not in self._reported:
            self._reported.add(key)
            owner = f"role {role}" if role else "server"
            log.warning(
                "%s: the %s has %s connections left, and each upgrade may need %s: %s at a time instead of %s.",
                *(settings.target, owner, free, _CONNECTIONS, slots, self.jobs),
            )


def _result(finished: Finished) -> Result:
    name = finished.job
    if finished.exit_code is not None:
        ending = (
            f"killed by signal {-finished.exit_code}" if finished.exit_code < 0 else f"ended with {finished.exit_code}"
        )
        failure = UnreachableError(
            f"its worker process was {ending} before it reported a result.",
            service=name,
            hint=f"The server rolls back what ran; run `inv db.current --service {name}`, then run the command again.",
        )
        return Result(name, "failed", error=failure)
    if finished.is_foreign:
        failure = UnreachableError(
            "its worker process was stopped by a SIGTERM, and the run wasn't.",
            service=name,
            hint=f"What ran was rolled back; run `inv db.current --service {name}`, then run the command again.",
        )
        return Result(name, "failed", error=failure)
    if finished.result == STOPPED:
        return Result(name, "stopped")
    if finished.result == CANCELLED:
        return Result(name, "failed", error=cancelled_inside(name))
    if isinstance(finished.result, MigrationError):
        return Result(name, "failed", error=finished.result)
    return Result(name, "done", finished.result)

"""The schedule of a rollout: who may start when, and what each ending means for the others."""

import logging
from dataclasses import replace

import pytest

from service_migrations.errors import MigrationError, UnreachableError
from service_migrations.history.files.static import read_chain
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome
from service_migrations.rollout.scan import Capacity, KnownState, Scan
from service_migrations.rollout.schedule import Event, Result, Schedule
from service_migrations.rollout.worker import CANCELLED, STOPPED, Finished, JobProgress, Output
from service_migrations.settings.model import Settings, load
from service_migrations.settings.sources import Sources
from tests.support.monorepo import Monorepo

NAMES = ("alpha", "beta", "gamma")
OUTCOME = Outcome("alpha", "app@h:5432/alpha", (), ("a1",), ("a1",), 0.5)


class Fleet:
    """A schedule of three services with a database each, and what it has told."""

    def __init__(self, monorepo: Monorepo, jobs: int = 2, *, fail_fast: bool = False, **dsns: str) -> None:
        """Aim the services at these DSNs, by default at databases of one server."""
        self.services = [monorepo.service(name) for name in NAMES]
        self.events: list[Event] = []
        self.schedule = Schedule(self.services, jobs, fail_fast, self.events.append)
        for service in self.services:
            dsn = dsns.get(service.name, f"postgresql://app:x@h:5432/{service.name}")
            self.schedule.settings[service.name] = load(service, Sources({"DATABASE_DSN": dsn}))
        self.schedule.queue = self.schedule.queued()

    def take_all(self) -> list[str]:
        """Take until nothing may start."""
        return list(iter(self.schedule.take, None))

    def end(self, name: str, result: object = OUTCOME, exit_code: int | None = None) -> None:
        self.schedule.handle(Finished(name, result, exit_code))

    def states(self) -> dict[str, str]:
        return {result.service: result.state for result in self.schedule.results()}


# What starts


@pytest.mark.parametrize("jobs", [1, 2, 3, 4])
def test_no_more_start_than_there_are_jobs_and_in_their_order(monorepo: Monorepo, jobs: int) -> None:
    fleet = Fleet(monorepo, jobs)
    assert fleet.take_all() == list(NAMES[:jobs])
    assert list(fleet.schedule.running) == list(NAMES[:jobs])
    assert fleet.schedule.queue == list(NAMES[jobs:])
    assert [event.service for event in fleet.events] == list(NAMES[:jobs])


def test_one_that_has_ended_makes_room_for_one(monorepo: Monorepo) -> None:
    fleet = Fleet(monorepo, 1)
    order = []
    while name := fleet.schedule.take():
        order.append(name)
        assert fleet.schedule.take() is None
        fleet.end(name)
    assert order == list(NAMES)
    assert fleet.states() == dict.fromkeys(NAMES, "done")


SAME = "postgresql://app:x@h:5432/one"
ALIKE = {
    "the same DSN": (SAME, SAME),
    "another role": (SAME, "postgresql://other:y@h:5432/one"),
    "one host in common": (SAME, "postgresql://app:x@g:5432,h:5432/one"),
    "a socket of this machine": ("postgresql://app:x@localhost:5432/one", "postgresql://app:x@/one?host=/run"),
}
APART = {
    "another database": (SAME, "postgresql://app:x@h:5432/two"),
    "another port": (SAME, "postgresql://app:x@h:5433/one"),
    "another host": (SAME, "postgresql://app:x@g:5432/one"),
}


@pytest.mark.parametrize("dsns", ALIKE.values(), ids=ALIKE)
def test_a_busy_database_is_passed_over_and_holds_up_nobody_else(monorepo: Monorepo, dsns: tuple[str, str]) -> None:
    fleet = Fleet(monorepo, 3, alpha=dsns[0], beta=dsns[1])
    assert fleet.take_all() == ["alpha", "gamma"]
    fleet.end("gamma")
    assert fleet.take_all() == []
    fleet.end("alpha")
    assert fleet.take_all() == ["beta"]


@pytest.mark.parametrize("dsns", APART.values(), ids=APART)
def test_databases_that_differ_go_at_once(monorepo: Monorepo, dsns: tuple[str, str]) -> None:
    assert Fleet(monorepo, 3, alpha=dsns[0], beta=dsns[1]).take_all() == list(NAMES)


SERVER = frozenset({("h", 5432)})


@pytest.mark.parametrize(
    ("free", "at_once"), [(None, 3), (0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (100, 3)]
)
@pytest.mark.parametrize("of", ["server", "role"])
def test_a_server_with_few_connections_gets_fewer(monorepo: Monorepo, of: str, free: int | None, at_once: int) -> None:
    """An upgrade needs two."""
    fleet = Fleet(monorepo, 3)
    roles = {"app": free} if free is not None else {}
    fleet.schedule.capacities = {SERVER: Capacity(free) if of == "server" else Capacity(100, roles)}
    assert len(fleet.take_all()) == at_once


def test_the_connections_of_another_server_or_role_do_not_count(monorepo: Monorepo) -> None:
    fleet = Fleet(monorepo, 3, beta="postgresql://app:x@g:5432/beta")
    fleet.schedule.capacities = {SERVER: Capacity(2)}
    assert fleet.take_all() == ["alpha", "beta"]
    fleet = Fleet(monorepo, 3, beta="postgresql://other:x@h:5432/beta")
    fleet.schedule.capacities = {SERVER: Capacity(100, {"app": 2})}
    assert fleet.take_all() == ["alpha", "beta"]


def test_fewer_jobs_are_told_once_for_a_server_and_for_a_role(
    monorepo: Monorepo, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(monorepo, 3)
    fleet.schedule.capacities = {SERVER: Capacity(100, {"app": 5})}
    with caplog.at_level(logging.WARNING):
        fleet.take_all()
        fleet.take_all()
    assert caplog.messages == [
        "app@h:5432/gamma: the role app has 5 connections left, and each upgrade may need 2: 2 at a time instead of 3."
    ]
    caplog.clear()
    fleet = Fleet(monorepo, 3)
    fleet.schedule.capacities = {SERVER: Capacity(3)}
    with caplog.at_level(logging.WARNING):
        fleet.take_all()
        fleet.end("alpha")
        fleet.take_all()
    (message,) = caplog.messages
    assert "the server has 3 connections left" in message


def test_as_many_as_there_are_jobs_is_no_news(monorepo: Monorepo, caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(monorepo, 2)
    fleet.schedule.capacities = {SERVER: Capacity(4)}
    with caplog.at_level(logging.WARNING):
        assert len(fleet.take_all()) == 2
    assert not caplog.messages


# What ends


def test_a_failure_halts_only_with_fail_fast(monorepo: Monorepo) -> None:
    for fail_fast in (False, True):
        fleet = Fleet(monorepo, 1, fail_fast=fail_fast)
        fleet.schedule.take()
        fleet.end("alpha", MigrationError("no", service="alpha"))
        assert fleet.schedule.is_halted is fail_fast
        assert fleet.schedule.take() == (None if fail_fast else "beta")


@pytest.mark.parametrize("ending", [OUTCOME, STOPPED], ids=["done", "stopped"])
def test_what_is_no_failure_halts_nobody_and_takes_no_halt_back(monorepo: Monorepo, ending: object) -> None:
    fleet = Fleet(monorepo, 2, fail_fast=True)
    fleet.take_all()
    fleet.end("alpha", ending)
    assert not fleet.schedule.is_halted
    fleet.end("beta", MigrationError("no", service="beta"))
    fleet.schedule.end(Result("alpha", "done"))
    assert fleet.schedule.is_halted
    assert fleet.schedule.take() is None
    assert fleet.states()["gamma"] == "not started"


def test_each_ending_is_a_result_and_is_told(monorepo: Monorepo) -> None:
    fleet = Fleet(monorepo, 3)
    fleet.take_all()
    fleet.events.clear()
    error = MigrationError("no", service="beta")
    fleet.end("alpha")
    fleet.end("beta", error)
    fleet.end("gamma", STOPPED)
    expected = [Result("alpha", "done", OUTCOME), Result("beta", "failed", error=error), Result("gamma", "stopped")]
    assert fleet.schedule.results() == expected
    assert [event.result for event in fleet.events] == expected
    assert not fleet.schedule.running
    assert [fleet.schedule.failed(name) for name in NAMES] == [False, True, True]


@pytest.mark.parametrize(("code", "said"), [(-9, "killed by signal 9"), (3, "ended with 3"), (0, "ended with 0")])
def test_a_worker_that_died_is_a_failure_that_says_how(monorepo: Monorepo, code: int, said: str) -> None:
    fleet = Fleet(monorepo, 3)
    fleet.take_all()
    fleet.end("alpha", None, code)
    error = fleet.schedule.results_by_name["alpha"].error
    assert isinstance(error, UnreachableError)
    assert str(error) == (
        f"alpha: its worker process was {said} before it reported a result. The server rolls back what ran; "
        "run `inv db.current --service alpha`, then run the command again."
    )


@pytest.mark.parametrize(
    ("finished", "kind", "said"),
    [
        (
            Finished("alpha", STOPPED, None, is_foreign=True),
            UnreachableError,
            "was stopped by a SIGTERM, and the run wasn",
        ),
        (Finished("alpha", CANCELLED, None), MigrationError, "was cancelled from inside, by its revision"),
    ],
)
def test_what_ended_without_being_asked_to_is_a_failure(
    monorepo: Monorepo, finished: Finished, kind: type[MigrationError], said: str
) -> None:
    fleet = Fleet(monorepo, 3, fail_fast=True)
    fleet.take_all()
    fleet.schedule.handle(finished)
    result = fleet.schedule.results_by_name["alpha"]
    assert (result.state, type(result.error)) == ("failed", kind)
    assert said in str(result.error)
    assert fleet.schedule.is_halted


def test_what_runs_at_the_end_is_unknown_and_what_never_ran_was_not_started(monorepo: Monorepo) -> None:
    fleet = Fleet(monorepo, 1)
    fleet.take_all()
    assert fleet.states() == {"alpha": "unknown", "beta": "not started", "gamma": "not started"}


def test_what_has_not_ended_has_not_failed(monorepo: Monorepo) -> None:
    fleet = Fleet(monorepo, 1)
    fleet.take_all()
    assert not fleet.schedule.failed("alpha")
    assert fleet.schedule.queued() == list(NAMES)
    fleet.end("alpha")
    assert fleet.schedule.queued() == ["beta", "gamma"]


def test_progress_and_output_are_told_as_they_come(monorepo: Monorepo) -> None:
    fleet = Fleet(monorepo)
    fleet.schedule.handle(JobProgress("alpha", ("a1", 1, 3)))
    fleet.schedule.handle(Output("beta", "hello"))
    assert fleet.events == [Event("alpha", "a1", 1, 3), Event("beta", line="hello")]


# What the scan knows


def _state(settings: Settings, **fields: object) -> tuple[Service, KnownState]:
    return settings.service, replace(KnownState(), **fields)  # type: ignore[arg-type]


def test_a_scan_ends_what_is_certain_and_leaves_the_rest(monorepo: Monorepo) -> None:
    monorepo.revision("alpha", "a1", None)
    fleet = Fleet(monorepo)
    alpha, beta, gamma = (fleet.schedule.settings[name] for name in NAMES)
    chain = read_chain(alpha.service)
    error = UnreachableError("down", service="beta")
    states = dict([_state(alpha, chain=chain, current=("a1",)), _state(beta, error=error), _state(gamma)])
    capacities = {SERVER: Capacity(7)}
    fleet.schedule.apply(Scan(states, capacities))
    assert fleet.schedule.capacities == capacities
    assert fleet.schedule.queued() == ["gamma"]
    done, failed = (fleet.schedule.results_by_name[name] for name in ("alpha", "beta"))
    assert done.outcome == Outcome("alpha", "app@h:5432/alpha", ("a1",), ("a1",), (), 0.0)
    assert failed == Result("beta", "failed", error=error)
    for uncertain in ({"edited": True}, {"current": ()}, {"current": ("a1", "a2")}, {"chain": None}, {"current": None}):
        other = Fleet(monorepo)
        state = {"chain": chain, "current": ("a1",), **uncertain}
        other.schedule.apply(Scan(dict([_state(alpha, **state)]), {}))
        assert "alpha" in other.schedule.queued(), uncertain

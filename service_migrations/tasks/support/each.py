"""The loop of a task over several services, and the end of a task with errors."""

import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, worst_exit_code
from service_migrations.tasks.support import console
from service_migrations.tasks.support.board import Board
from service_migrations.tasks.support.signals import Stopped, handling
from service_migrations.tasks.support.task import run, service_name

if TYPE_CHECKING:
    from service_migrations.settings.model import Settings

__all__ = ["each", "each_at_once", "fail", "print_each", "report"]

_Item = TypeVar("_Item")


def each(
    items: Sequence[_Item | MigrationError],
    command: Callable[[_Item], Coroutine[Any, Any, Any]],
    name: Callable[[_Item], str] = str,
) -> tuple[dict[str, Any], list[MigrationError]]:
    """Run a coroutine function for each service; an error of one is printed at once, and doesn't stop the others.

    Args:
        items: services or their settings; an error stands for settings that can't be loaded.
        command: the coroutine function.
        name: returns the name of an item's service.

    Returns:
        The results by the service's name, and the errors.

    """
    results: dict[str, Any] = {}
    errors: list[MigrationError] = []
    for item in items:
        if isinstance(item, MigrationError):
            errors.append(report(item))
            continue
        try:
            results[name(item)] = run(command(item))
        except MigrationError as error:
            errors.append(report(error))
    return results, errors


def each_at_once(
    loaded: "Sequence[Settings | MigrationError]",
    command: "Callable[[Settings], Coroutine[Any, Any, Any]]",
    show: Callable[[Any], object] = lambda _: None,
) -> tuple[dict[str, Any], list[MigrationError]]:
    """Run a coroutine function for each service as ``each`` does, for several databases at once in worker processes.

    Services that share a database run one after the other in this process: each of them needs the models of the others,
    which are imported only once that way. Where this process can't be forked, all of them do. Results and errors come
    in the order of the services, whichever ends first.

    Args:
        loaded: the settings of each service, or the error of those that can't be loaded.
        command: the coroutine function; what it returns is sent from one process to another.
        show: called with each result, in the order of the services.

    Returns:
        As of ``each``.

    """
    from service_migrations.settings.siblings import sharing

    settings = [entry for entry in loaded if not isinstance(entry, MigrationError)]
    alone = {entry.service.name: entry for entry in settings if not sharing(entry)}
    can_fork = hasattr(os, "fork") and threading.active_count() == 1
    ended = _in_workers(alone, command) if len(alone) > 1 and can_fork else {}
    results: dict[str, Any] = {}
    errors: list[MigrationError] = []
    for entry in loaded:
        if isinstance(entry, MigrationError) or entry.service.name not in ended:
            own_results, own_errors = each([entry], command, service_name)
        else:
            own_results, own_errors = ended[entry.service.name]
            for error in own_errors:
                report(error)
        for result in own_results.values():
            show(result)
        results.update(own_results)
        errors += own_errors
    return results, errors


def _in_workers(
    settings: "Mapping[str, Settings]", command: "Callable[[Settings], Coroutine[Any, Any, Any]]"
) -> dict[str, tuple[dict[str, Any], list[MigrationError]]]:
    """Run a coroutine function for services in worker processes, and return what ``each`` would of each of them.

    Raises:
        Stopped: a signal ended it.

    """
    from service_migrations import environment  # noqa: F401 - every worker needs it, and this process imports it once
    from service_migrations.rollout.rollout import Schedule, default_jobs, job_of
    from service_migrations.rollout.workers import run_jobs

    targets = {name: entry.target for name, entry in settings.items()}
    received: list[int] = []
    board = Board(list(targets), targets, prints_errors=False)
    with handling(lambda number, _: received.append(number)), board:

        def stop() -> int:
            board.draw()  # stop() is called often enough
            return len(received)

        services = [entry.service for entry in settings.values()]
        schedule = Schedule(services, default_jobs(), fail_fast=False, on_event=board.show)
        schedule.settings.update(settings)
        schedule.queue = schedule.queued()
        run_jobs(schedule.take, job_of(settings, lambda entry, _: command(entry)), schedule.jobs, schedule.handle, stop)
    results = schedule.results()
    if received:
        for result in results:
            if result.error:
                report(result.error)
        raise Stopped(received[0])
    return {
        result.service: ({}, [result.error]) if result.error else ({result.service: result.outcome}, [])
        for result in results
    }


def print_each(
    items: Sequence[_Item | MigrationError],
    command: Callable[[_Item], Coroutine[Any, Any, Any]],
    name: Callable[[_Item], str] = str,
    *,
    json: bool,
    as_json: Callable[[Any], object],
    print_text: Callable[[dict[str, Any]], None],
) -> None:
    """Run a coroutine function for each service, print the results, and exit with the code of the most serious error.

    Args:
        items: as of ``each``.
        command: as of ``each``.
        name: as of ``each``.
        json: whether to print JSON, by the service's name, instead of text.
        as_json: returns a result as JSON has it.
        print_text: prints the results by the service's name.

    """
    results, errors = each(items, command, name)
    if json:
        console.result_json({service: as_json(result) for service, result in results.items()})
    else:
        print_text(results)
    fail(errors, len(items))


def report(error: MigrationError) -> MigrationError:
    """Print an error of one service, and return it."""
    console.print_error(error)
    return error


def fail(errors: Sequence[MigrationError], count: int) -> None:
    """Exit with the code of the most serious error, where there are errors; they have been printed before."""
    if errors:
        failed = len({error.service or id(error) for error in errors})
        raise Exit(
            "" if count == 1 else f"{failed} of {count} services {'has' if failed == 1 else 'have'} a problem.",
            code=worst_exit_code(list(errors)),
        )

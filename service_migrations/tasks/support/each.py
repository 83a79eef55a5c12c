"""The loop of a task over several services, and the end of a task with errors."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, worst_exit_code
from service_migrations.tasks.support import console
from service_migrations.tasks.support.task import run

__all__ = ["each", "fail", "print_each", "report"]

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

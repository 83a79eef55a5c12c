"""One command for each of several services, and the end of a task that has met errors."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, gravest
from service_migrations.tasks import console
from service_migrations.tasks.task import run

__all__ = ["each", "fail", "report"]

_Item = TypeVar("_Item")


def each(
    items: Sequence[_Item | MigrationError],
    command: Callable[[_Item], Coroutine[Any, Any, Any]],
    name: Callable[[_Item], str] = str,
) -> tuple[dict[str, Any], list[MigrationError]]:
    """Run one command for each service; an error of one is reported at once, and doesn't stop the others.

    Args:
        items: services, or their settings; or the error that stands in for the settings of one.
        command: what is run for each.
        name: returns the service's name.

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


def report(error: MigrationError) -> MigrationError:
    """Print an error of one service, and return it: the others go on."""
    console.print_error(error)
    return error


def fail(errors: Sequence[MigrationError], count: int) -> None:
    """End with the gravest of the errors, which have been reported; do nothing where there is none."""
    if errors:
        raise Exit("" if count == 1 else f"{len(errors)} of {count} services need a look.", code=gravest(list(errors)))

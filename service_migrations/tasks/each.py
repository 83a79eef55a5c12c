"""One command for each of several services, and the end of a task that has met errors."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, gravest
from service_migrations.monorepo import Service
from service_migrations.tasks import console
from service_migrations.tasks.task import SIGNALS, run

__all__ = ["each", "fail", "told"]


def each(
    chosen: Sequence[Service], work: Callable[[Service], Coroutine[Any, Any, Any]]
) -> tuple[dict[str, Any], list[MigrationError]]:
    """Run one command for each service; an error of one is told at once, and doesn't stop the others."""
    found: dict[str, Any] = {}
    errors: list[MigrationError] = []
    for service in chosen:
        try:
            found[service.name] = run(work(service))
        except MigrationError as error:
            errors.append(told(error))
    return found, errors


def told(error: MigrationError) -> MigrationError:
    """Tell an error of one service at once, so that the others can go on; a signal ends everything."""
    if error.exit_code > SIGNALS:
        raise error
    console.note(str(error))
    return error


def fail(errors: list[MigrationError], count: int) -> None:
    """End with the gravest of the errors, which have been told; nothing where there is none."""
    if errors:
        raise Exit("" if count == 1 else f"{len(errors)} of {count} services need a look.", code=gravest(errors))

"""The console script ``service-migrations``: the tasks where there is no tasks.py, such as in a container."""

from importlib.metadata import version

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from service_migrations.errors import UsageError
from service_migrations.tasks import namespace

__all__ = ["main"]

_NAME = "service-migrations"


class _Program(Program):
    """Invoke's program, for which a task or an option that doesn't exist is wrong use."""

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            wrong = UsageError(f"{error}", hint=f"`{_NAME} --list` lists the tasks.")
            raise Exit(str(wrong), wrong.exit_code) from error


def main() -> None:
    """Run the tasks that the command line names, and exit as they do."""
    _Program(version=version(_NAME), namespace=namespace, name=_NAME, binary=_NAME).run()

"""The console script ``service-migrations``: the tasks where there is no tasks.py, such as in a container."""

from importlib.metadata import version

from invoke.program import Program

from service_migrations.tasks import namespace

__all__ = ["main"]

_NAME = "service-migrations"


def main() -> None:
    """Run the tasks that the command line names, and exit as they do."""
    Program(version=version(_NAME), namespace=namespace, name=_NAME, binary=_NAME).run()

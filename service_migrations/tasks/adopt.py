"""db.adopt and db.baseline: a monorepo that has histories of its own, and what is accepted in it as it is."""

from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import DifferenceError
from service_migrations.tasks import console
from service_migrations.tasks.init import print_written, root_or_folder
from service_migrations.tasks.task import task

if TYPE_CHECKING:
    from service_migrations.adoption.found import Found

__all__ = ["adopt"]


@task(
    help={
        "write": "Write the table in pyproject.toml, the shared env.py, tasks.py, noxfile.py and head.txt.",
        "json": "Print JSON, for another program.",
    }
)
def adopt(_: Context, write: bool = False, json: bool = False) -> None:
    """Show the histories of plain Alembic below this folder."""
    from service_migrations.adoption.adopt import survey
    from service_migrations.adoption.found import BLOCKED

    root = root_or_folder()
    console.note(f"The monorepo is {root}")
    services = survey(root)
    if json:
        console.result_json([service.as_json() for service in services])
    elif not services:
        console.result("There is no alembic.ini, no [tool.alembic] and no env.py of Alembic's here.")
    else:
        for service in services:
            _print(service)
    if write:
        from service_migrations.adoption.writing import write as write_files

        for file in write_files(root, services):
            if json:
                console.note(f"{file.path}: written" if file.created else f"{file.path}: {', '.join(file.tables)}")
            else:
                print_written(file)
    blocked = [service.name for service in services if service.state == BLOCKED]
    if blocked:
        text = f"{len(blocked)} of {len(services)} can't be adopted as they are: {', '.join(blocked)}."
        raise DifferenceError(text, hint="The lines with `blocked` say why.")


def _print(service: "Found") -> None:
    console.result(f"{service.name}: {service.state}: {service.summary()}")
    for note in service.notes:
        console.result(f"{service.name}: {note}")

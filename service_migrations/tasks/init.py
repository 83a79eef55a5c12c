"""db.init: the creation of the files that a repository needs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from service_migrations.errors import MigrationError, UsageError
from service_migrations.monorepo import Monorepo
from service_migrations.tasks.support import console
from service_migrations.tasks.support.task import task
from service_migrations.top_level import NoTableError, without_table, working_directory

if TYPE_CHECKING:
    from service_migrations.authoring.init import Written

__all__ = ["init", "print_written", "root_or_folder"]

_NEXT = """\
Next: a service is a folder such as services/billing, with a models.py whose __all__ names its tables. `inv up`
gives it a server, a .env and a database, `inv db.revision --service billing -m first` its first revision.
Where services have histories of Alembic already, `inv db.adopt` shows what each needs."""
"""What to do in a repository without services."""


@task(settings=False)
def init(_: Context) -> None:
    """Write the files that a repository needs; overwrite nothing."""
    from service_migrations.authoring.init import write_missing

    root = root_or_folder()
    console.note(f"The monorepo is {root}")
    for file in write_missing(root):
        print_written(file)
    if not _has_services(root):
        console.note(_NEXT)


def _has_services(root: Path) -> bool:
    try:
        return bool(Monorepo.locate(root).services())
    except MigrationError:
        return True  # the next command says what is wrong with them


def print_written(file: "Written", *, show: Callable[[str], None] = console.result) -> None:
    """Print what was done to a file: as a result, or beside the results of another kind."""
    if file.created:
        action = "written"
    elif file.tables:
        action = f"added {' and '.join(file.tables)}"
    else:
        action = "was there already"
    show(f"{file.path}: {action}")
    if file.hint:
        console.note(f"{file.path} is left as it is. {file.hint}")


def root_or_folder() -> Path:
    """Return the top level around the working directory, also where it lacks the table, else that directory itself."""
    try:
        return Monorepo.locate().root
    except NoTableError:
        return without_table() or working_directory()
    except UsageError:
        return working_directory()

"""db.owners: which service each object of a database belongs to."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import worst_exit_code
from service_migrations.tasks.support import console
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, run, selected, task

if TYPE_CHECKING:
    from service_migrations.ownership.attribution import Owned

__all__ = ["owners"]

_LONG = 80
"""Characters of a function's name with its arguments; one of an extension's may have dozens."""


@task(
    iterable=["service"],
    help={
        "service": SERVICES,
        "database": "Only the database of this name.",
        "json": JSON,
    },
)
def owners(_: Context, service: list[str], database: str = "", json: bool = False) -> None:
    """Show the service that owns each object of a database."""
    from service_migrations.ownership.owners import owners as read_owners

    with console.quietly():
        maps = run(read_owners(selected(service), database=database or None))
    if json:
        console.result_json(
            [
                {
                    "database": owned.database or None,
                    "target": owned.target,
                    "services": list(owned.services),
                    "objects": [asdict(item) for item in owned.objects],
                    "errors": [str(error) for error in owned.errors],
                    "failures": [error.as_json() for error in owned.errors],
                }
                for owned in maps
            ]
        )
    else:
        rows = [
            [
                owned.database,
                item.kind,
                _name(item),
                item.owner or ("-" if item.why else "nobody"),
                item.why,
            ]
            for owned in maps
            for item in owned.objects
        ]
        console.table(["database", "kind", "object", "owner", "why"], rows)
    errors = [error for owned in maps for error in owned.errors]
    for error in errors:
        console.print_error(error)
    if errors:
        raise Exit(
            ""
            if len(maps) == 1
            else f"{len(errors)} {'service has' if len(errors) == 1 else 'services have'} a problem.",
            code=worst_exit_code(errors),
        )


def _name(item: "Owned") -> str:
    """Return the name of an object; a long list of a function's arguments is left out, which --json shows."""
    if item.kind in ("schema", "extension"):
        return item.name
    name = f"{item.schema}.{item.name}"
    return f"{name.partition('(')[0]}(…)" if "(" in name and len(name) > _LONG else name

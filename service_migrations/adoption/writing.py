"""What ``db.adopt --write`` writes: the table, the shared env.py and the other files of a repository, and head.txt.

No file is moved, and none that exists is changed but pyproject.toml, to which the table is appended: plain ``alembic``
in a service's own folder goes on working.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import shorten

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.table import table_text
from service_migrations.authoring.init import Written, append, write_missing
from service_migrations.configuration import TABLE, read_configuration
from service_migrations.errors import ConfigurationError
from service_migrations.history.files import head_file
from service_migrations.history.revisions import script_location
from service_migrations.monorepo import Monorepo
from service_migrations.pyproject import FILE, read_tools

__all__ = ["write"]

_ENVIRONMENT = "migrations"
_OTHER_ENVIRONMENT = "migrations_environment"
"""The folder of the shared env.py where a service has the usual one."""
_WIDTH = 110
"""Characters of a line on a hook; its file has the rest."""


def write(root: Path, services: Sequence[PlainService]) -> tuple[Written, ...]:
    """Write what is missing for services that were found, and leave those alone that are blocked or adopted.

    Args:
        root: the top level.
        services: as ``survey`` returns them.

    Returns:
        What was done to each file; a file that is as it has to be is left out.

    Raises:
        ConfigurationError: the table can't be appended, or ``[tool.alembic]`` of the top level is that of a service.

    """
    return tuple(_write(root, services))


def _write(root: Path, services: Sequence[PlainService]) -> Iterator[Written]:
    new = [service for service in services if service.state == "new"]
    if not new and not any(service.adopted for service in services):
        return
    environment = _environment(root, services)
    if new:
        has_table = TABLE in read_tools(root)
        text = table_text(root, new, read_configuration(root) if has_table else None)
        names = (
            tuple(f"[tool.{TABLE}.service.{service.name}]" for service in new) if has_table else (f"[tool.{TABLE}]",)
        )
        yield append(root / FILE, text, names)
    hooks = [
        shorten(f"{service.relative(hook.path)}:{hook.line}: {hook.text}", _WIDTH, placeholder=" …")
        for service in services
        if service.state in ("new", "adopted")
        for hook in service.hooks
    ]
    # a table beside an ini file would add to the options of plain Alembic there
    alembic = environment == _ENVIRONMENT and not (root / "alembic.ini").is_file()
    # several services may have a hook in a file that they share
    yield from write_missing(root, environment=environment, alembic=alembic, hooks=list(dict.fromkeys(hooks)))
    yield from _heads(root, services)


def _environment(root: Path, services: Sequence[PlainService]) -> str:
    """Return the folder of the shared env.py, which no service's own is in."""
    theirs = {service.script_location for service in services}
    location = script_location(root)
    if location not in theirs:
        return location.relative_to(root).as_posix() if location.is_relative_to(root) else str(location)
    if "alembic" in read_tools(root):
        service = next(service for service in services if service.script_location == location)
        raise ConfigurationError(
            f"[tool.alembic] is that of {service.name}, and the shared env.py needs it. Nothing was written.",
            path=FILE,
            hint="Move its options into an alembic.ini beside it, which plain `alembic` reads as well.",
        )
    return _OTHER_ENVIRONMENT


def _heads(root: Path, services: Sequence[PlainService]) -> Iterator[Written]:
    adopted = {service.name: service for service in services if service.state in ("new", "adopted")}
    for service in Monorepo.at(root).services():
        plain_service = adopted.get(service.name)
        if plain_service is None or service.head_file.exists():
            continue
        heads, labels = plain_service.revisions.heads, plain_service.revisions.labels
        if not heads or (len(heads) > 1 and not labels):
            continue
        head_file.write_heads(service, heads)
        yield Written(service.relative(service.head_file), created=True)

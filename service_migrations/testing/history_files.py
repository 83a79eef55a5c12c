"""The files that the result of a history depends on: its own, and those of the repository that these import."""

from collections.abc import Collection, Iterator
from pathlib import Path

from service_migrations.history.revisions import script_location
from service_migrations.imports import Imports
from service_migrations.monorepo import Service

__all__ = ["imported_files", "own_files"]


def own_files(service: Service) -> Iterator[Path]:
    """Yield the files of a history: all in its folders of revisions, and the env.py that runs them."""
    environment = script_location(service.root) / "env.py"
    if environment.is_file():  # else the upgrade says so
        yield environment
    for location in service.version_locations:
        yield from sorted(path for path in location.rglob("*") if path.is_file() and path.suffix != ".pyc")


def imported_files(services: Collection[Service]) -> tuple[Path, ...]:
    """Return the files of the repository that the revisions of services and env.py import."""
    root = next(iter(services)).root
    imports, own = Imports(root), {service: set(own_files(service)) for service in services}
    paths = {root / path for service in services for path in imports.of_files(service, own[service])}
    return tuple(path for path in sorted(paths.difference(*own.values())) if path.is_file())

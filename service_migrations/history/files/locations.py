"""The files of a history: those that Alembic reads, and those that it would miss without a word."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from service_migrations.configuration import TABLE
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Monorepo, Service
from service_migrations.pyproject import FILE

__all__ = ["forsaken_locations", "is_revision_file", "refuse_unread", "revision_files", "unread_revision"]

_FILE = re.compile(r"(?!\.#|__init__).*\.py")
"""What Alembic takes for a revision file, by its name."""
_REVISION = re.compile(rb"^revision[ \t]*(?::[^=\r\n]*)?=", re.MULTILINE)
_COMPILED = "__pycache__"


def is_revision_file(name: str) -> bool:
    """Whether Alembic takes a file of this name for a revision."""
    return _FILE.fullmatch(name) is not None


def revision_files(service: Service) -> tuple[Path, ...]:
    """Return the files that Alembic reads as revisions, each once and by its real path, as Alembic has it."""
    files: dict[Path, None] = {}
    for location in service.version_locations:
        for folder, names, file_names in os.walk(location.resolve()):
            if not folder.endswith(_COMPILED):
                paths = (Path(folder, name) for name in sorted(file_names) if _FILE.fullmatch(name))
                files.update(dict.fromkeys(path.resolve() if path.is_symlink() else path for path in paths))
            if not service.recursive_version_locations:
                break
            names.sort()
    return tuple(files)


def unread_revision(service: Service) -> Path | None:
    """Return the first revision below the folders of revisions that Alembic can't or doesn't read; None without one.

    Subfolders are read with ``recursive_version_locations`` only, and never through a symbolic link. Where the table
    says that it is false, they are left out on purpose, such as revisions that were squashed.
    """
    others = {location.resolve() for location in (*service.version_locations, *service.foreign_locations)}
    return next((path for location in service.version_locations for path in _unread(location, others, service)), None)


def _unread(folder: Path, visited: set[Path], service: Service, *, is_read: bool = True) -> Iterator[Path]:
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:  # it doesn't exist, or can't be read, which Alembic reports
        return
    for entry in entries:
        if not _is(entry.is_dir):
            if not _FILE.fullmatch(entry.name):
                continue
            is_file = _is(entry.is_file)
            if is_read and is_file:  # nearly all: a Path of each would take a tenth of the time for thousands
                continue
            path = Path(entry.path)
            if is_read or (is_file and _REVISION.search(path.read_bytes())):
                yield path
        elif _leaves_subfolders_out(service):
            continue
        elif entry.name != _COMPILED and not entry.name.startswith("."):  # such as the history that an editor keeps
            path = Path(entry.path)
            real_path = path.resolve()
            if real_path not in visited:
                visited.add(real_path)
                reads_below = is_read and service.recursive_version_locations and not entry.is_symlink()
                yield from _unread(path, visited, service, is_read=reads_below)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def _leaves_subfolders_out(service: Service) -> bool:
    """Whether the table itself says that revisions in subfolders don't count; silence may be a mistake."""
    return not service.recursive_version_locations and "recursive_version_locations" in service.configured


def refuse_unread(service: Service) -> None:
    """Refuse a history of which Alembic would miss revisions: the database would look as if it were at head.

    Raises:
        ConfigurationError: a subfolder holds a revision, and isn't read; or a revision is no file.

    """
    path = unread_revision(service)
    if path is None:
        return
    if not path.is_file():
        raise ConfigurationError(
            "it is no file: a pipe, a device, a socket, or a link that leads nowhere.",
            service=service,
            path=service.relative(path),
            hint="Remove it.",
        )
    raise ConfigurationError(
        "it is a revision in a subfolder, which Alembic doesn't read. Nothing was run.",
        service=service,
        path=service.relative(path),
        hint=f"List its folder in versions of [tool.{TABLE}] in {FILE}: a symbolic link isn't followed."
        if service.recursive_version_locations
        else f"Set recursive_version_locations = true in [tool.{TABLE}] of {FILE}, or false to leave its folder out.",
    )


def forsaken_locations(monorepo: Monorepo) -> tuple[Path, ...]:
    """Return the folders with revisions beside those of the services that are no service's, as after a rename.

    Only the folders of the table's own template count, such as ``migrations/versions/{name}``: elsewhere, a history of
    a service that isn't adopted yet may stand.
    """
    templates = [Path(template) for template in monorepo.configuration.versions]
    shared = [
        monorepo.root / template.parent
        for template in templates
        if template.name == "{name}" and "{" not in str(template.parent)
    ]
    services = monorepo.services()
    known: set[Path] = set()
    for location in (location.resolve() for service in services for location in service.version_locations):
        known |= {location, *location.parents}
    folders = (folder for parent in shared if parent.is_dir() for folder in sorted(parent.iterdir()) if folder.is_dir())
    return tuple(
        folder
        for folder in folders
        if folder.resolve() not in known
        and any(_FILE.fullmatch(path.name) and _REVISION.search(path.read_bytes()) for path in folder.glob("*.py"))
    )

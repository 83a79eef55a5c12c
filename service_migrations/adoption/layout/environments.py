"""The environments of plain Alembic in a monorepo: an env.py each, with the options that lead to it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.adoption.code.modules import Code, has_word
from service_migrations.adoption.code.revision_files import is_revision
from service_migrations.adoption.layout.folders import Files
from service_migrations.adoption.layout.ini import AlembicOptions, read_options

__all__ = ["Place", "find_environments"]

_OWN_PACKAGE = "service_migrations"
_OWN_IMPORT = re.compile(rb"^\s*(?:from|import)\s+service_migrations\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """An environment of plain Alembic.

    Attributes:
        options: those of its ini file; None where no file has any.
        location: the folder of its env.py.
        others: the options of further sections and files with a folder of the same revisions.

    """

    options: AlembicOptions | None
    location: Path
    others: list[AlembicOptions] = field(default_factory=list)


def find_environments(root: Path, files: Files, code: Code) -> list[Place]:
    """Return the environments of plain Alembic; several sections may share an env.py, each with its own revisions.

    Args:
        root: the top level.
        files: the files there.
        code: the files that were read already.

    """
    places: list[Place] = []
    for path in (*files.ini, *files.pyproject):
        for options in read_options(path, root):
            location = options.script_location
            if location and location.is_relative_to(root):
                earlier = _of_same_revisions(places, location, options.version_locations(location))
                if earlier is None:
                    places.append(Place(options, location))
                else:
                    earlier.others.append(options)
    taken = {place.location for place in places}
    for path in files.env:
        has_own = path.parent not in taken and (path.parent / "versions").is_dir() and _is_environment(path, code)
        places += [Place(None, path.parent)] if has_own else []
    return [place for place in places if not _is_ours(place.location / "env.py", code)]


def _of_same_revisions(places: Iterable[Place], location: Path, folders: tuple[Path, ...]) -> Place | None:
    for place in places:
        options = [each for each in (place.options, *place.others) if each and place.location == location]
        if any(not set(folders).isdisjoint(each.version_locations(location)) for each in options):
            return place
    return None


def _is_environment(path: Path, code: Code) -> bool:
    try:
        imports = code.read(path).imports.values()
    except (SyntaxError, OSError):  # such as a link to a file that is gone
        return has_word(path, "alembic")
    # one of several histories may leave everything to a module that they share
    return any(module.partition(".")[0] == "alembic" for module, _ in imports) or any(
        is_revision(code.try_read(file)) for file in sorted((path.parent / "versions").glob("*.py"))
    )


def _is_ours(path: Path, code: Code) -> bool:
    """Whether an env.py is the shared one, which `db.init` writes: a version table may have the library's name too."""
    if not path.is_file():
        return False
    module = code.try_read(path)
    if module is None:
        return _OWN_IMPORT.search(path.read_bytes()) is not None
    return any(name.partition(".")[0] == _OWN_PACKAGE for name, _ in module.imports.values())

"""The layout of a monorepo at a commit: its services, and the folders of their revisions.

What is a service is decided by the code that decides it today, in a folder with what that code looks at: the
pyproject.toml of the commit, and empty files for folders and models. So a history is found where it was then.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from service_migrations.configuration import Configuration
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Monorepo, Service
from service_migrations.pyproject import FILE

__all__ = ["Locations", "locations_at", "locations_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Locations:
    """The folders of a service's revisions, relative to the top level, and whether those below count too."""

    folders: tuple[str, ...]
    recursive: bool


def locations_of(service: Service, root: Path | None = None) -> Locations:
    """Return the folders of a service's revisions, as the configuration has them."""
    root = root or service.root
    folders = tuple(os.path.relpath(location, root).replace(os.sep, "/") for location in service.version_locations)
    return Locations(folders, service.recursive_version_locations)


def locations_at(name: str, configuration: bytes, paths: Mapping[str, object]) -> dict[str, Locations]:
    """Return the folders of each service of a commit; none, with a warning, where its pyproject.toml is invalid.

    Nobody can correct it there, and it may have become so with a later version of the library.

    Args:
        name: the commit, for messages.
        configuration: the pyproject.toml of the commit; empty where it has none.
        paths: the files of the commit, relative to the top level.

    """
    with TemporaryDirectory(prefix="released-") as folder:
        root = Path(folder).resolve()
        (root / FILE).write_bytes(configuration)
        try:
            monorepo = Monorepo.at(root)
            for path in _needed(monorepo.configuration, paths):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
            return {service.name: locations_of(service, root) for service in monorepo.services()}
        except ConfigurationError as error:
            text = str(error).replace(f"{root}{os.sep}", "")
            log.warning("%s: %s Its histories are looked for where they are today.", name, text)
            return {}


def _needed(configuration: Configuration, paths: Mapping[str, object]) -> Iterator[str]:
    """Yield the paths by which directories of services and their models are found, and some more."""
    tables = configuration.service.values()
    models = [configuration.models, *(table.models for table in tables if table.models)]
    modules = [re.escape(model.rpartition(".")[2]).replace(r"\{name\}", r"\w+") for model in models]
    is_models = re.compile(rf"(?:.*/)?(?:{'|'.join(modules)})(?:/__init__)?\.py")
    folders: set[str] = set()
    for path in paths:
        if is_models.fullmatch(path):
            yield path
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    known = {table.path for table in tables if table.path}
    depths = {len(PurePosixPath(pattern).parts) for pattern in configuration.services}
    for folder in folders:
        if folder in known or (folder.count("/") + 1 in depths and _matches(folder, configuration)):
            yield f"{folder}/.directory"


def _matches(folder: str, configuration: Configuration) -> bool:
    path = PurePosixPath(folder)
    patterns = (PurePosixPath(pattern) for pattern in configuration.services)
    return any(len(pattern.parts) == len(path.parts) and path.match(str(pattern)) for pattern in patterns)

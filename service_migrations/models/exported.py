"""The tables that an exported MetaData or declarative base brings, where the models are in another package.

Several services may share a base, and a process may have imported the models of all of them. So a table counts for a
service only if the import of its models runs the module that defines it: what that is, is read from the files, and
doesn't depend on what else was imported before.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from sqlalchemy import MetaData, Table, inspect as sa_inspect
from sqlalchemy.orm import registry

from service_migrations.errors import ConfigurationError
from service_migrations.imports import Imports
from service_migrations.models.service_code import all_modules
from service_migrations.models.tables.views import is_view
from service_migrations.monorepo import Service, discover

__all__ = ["metadata_of_base", "tables_of_metadata"]


@dataclass(frozen=True, slots=True)
class _Definition:
    """A table in the globals of a module: the name there, and whether it is a mapped class."""

    name: str
    path: str
    is_class: bool


def metadata_of_base(exported: object) -> MetaData | None:
    """Return the metadata of a declarative base or a registry; None for anything else, such as a mapped class."""
    is_base = isinstance(exported, type) and sa_inspect(exported, raiseerr=False) is None
    metadata = getattr(exported, "metadata", None) if is_base or isinstance(exported, registry) else None
    return metadata if isinstance(metadata, MetaData) else None


def tables_of_metadata(
    service: Service, exports: Sequence[object], named: Collection[Table], place: str
) -> dict[Table, str]:
    """Return the tables that the exported metadata and bases bring, each with the file that defines it.

    An exported MetaData brings every table of it that the service's models reach. An exported base brings them where
    the service only re-exports models of other packages, and names none of the classes there. Where it names some, a
    class that it doesn't name was forgotten. In a module that other services import too, what they export is theirs.

    Args:
        service: the service.
        exports: the objects that ``models.__all__`` names.
        named: the tables of these objects.
        place: the file of the models.

    Raises:
        ConfigurationError: a class was forgotten; or nothing shows which service a table is of.

    """
    explicit = {exported for exported in exports if isinstance(exported, MetaData)}
    bases = {metadata for metadata in map(metadata_of_base, exports) if metadata is not None} - explicit
    modules = _ExecutedModules(service)
    if not explicit and not bases:
        return {}
    if bases and (any(map(modules.is_own_class, exports)) or any(map(modules.is_own, named))):
        bases = set()  # with models of its own, the packages around are building blocks
    brought: dict[Table, str] = {}
    for metadata in explicit:
        brought |= modules.every(metadata, place)
    # to read what is defined where takes longer than all else here, and hardly any service needs it
    names_some = bool(bases) and any(table in modules.definitions for table in named)
    for metadata in bases:
        for table, definition in modules.others(metadata, named):
            if definition.path in modules.shared:
                if names_some and not modules.is_named_elsewhere(definition):
                    raise _forgotten(table, definition, place)
            elif definition.is_class and names_some:
                raise _forgotten(table, definition, place)
            else:
                brought[table] = definition.path
    return brought


def _forgotten(table: Table, definition: _Definition, place: str) -> ConfigurationError:
    return ConfigurationError(
        f"{definition.name} maps the table {table.key}, but models.__all__ doesn't name it.",
        path=definition.path,
        hint=f"Add it to __all__ in {place}; or export the MetaData, which brings all of its tables.",
    )


class _ExecutedModules:
    """The modules that an import of a service's models runs, and the tables that they define."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._imports = Imports(service.root, executed=True)

    def is_own_class(self, exported: object) -> bool:
        """Whether an object is a mapped class of the service's own package."""
        module = getattr(exported, "__module__", "")
        is_mapped = isinstance(exported, type) and sa_inspect(exported, raiseerr=False) is not None
        return is_mapped and f"{module}.".startswith(f"{self._service.package}.")

    def is_own(self, table: Table) -> bool:
        """Whether a table is defined in the service's own directory or package."""
        service = self._service
        package = service.source.joinpath(*service.package.split("."))
        path = service.root / self.definitions[table].path if table in self.definitions else None
        folders = (service.path, package, package.with_suffix(".py"))
        return path is not None and any(path.is_relative_to(folder) for folder in folders)

    @cached_property
    def _loaded(self) -> list[tuple[str, ModuleType]]:
        return _loaded(self._service.root)

    @cached_property
    def definitions(self) -> Mapping[Table, _Definition]:
        """The tables that are defined in a module that the service reaches, and that isn't another service's own."""
        reached = self._imports.of(self._service)
        others = [other.path for other in discover(self._service.root) if other != self._service]
        root = self._service.root
        definitions: dict[Table, _Definition] = {}
        for path, module in self._loaded:
            if path in reached and not any((root / path).is_relative_to(other) for other in others):
                for table, definition in _defined(module, path):
                    definitions.setdefault(table, definition)
        return definitions

    @cached_property
    def shared(self) -> frozenset[str]:
        """The files that other services reach too."""
        others = [other for other in discover(self._service.root) if other != self._service]
        return frozenset().union(*map(self._imports.of, others))

    def others(self, metadata: MetaData, named: Collection[Table]) -> Iterator[tuple[Table, _Definition]]:
        """Yield the tables of a metadata that the service reaches in other packages and doesn't name."""
        for table, definition in self.definitions.items():
            is_candidate = table.metadata is metadata and table not in named and not is_view(table)
            if is_candidate and not self.is_own(table):
                yield table, definition

    def every(self, metadata: MetaData, place: str) -> dict[Table, str]:
        """Return all tables of a metadata that are the service's.

        Raises:
            ConfigurationError: one is in no module's globals, and other services have the same metadata.

        """
        tables = [table for table in metadata.tables.values() if not is_view(table)]
        elsewhere = {table for path, module in self._loaded for table, _ in _defined(module, path)}
        brought = {}
        for table in tables:
            if table in self.definitions:
                brought[table] = self.definitions[table].path
            elif table not in elsewhere:
                if self._is_shared(metadata):
                    raise ConfigurationError(
                        f"the table {table.key} is in the exported MetaData, which other services have too, and in no "
                        "module's globals, so that it can't be known whose it is.",
                        path=place,
                        hint="Assign it to a name in the module that defines it.",
                    )
                brought[table] = place
        return brought

    def is_named_elsewhere(self, definition: _Definition) -> bool:
        """Whether the models of another service have the name of a definition, and so may export it."""
        word = re.compile(rf"\b{re.escape(definition.name)}\b")
        others = (other for other in discover(self._service.root) if other != self._service)
        return any(word.search(text) for other in others for text in _texts(other))

    def _is_shared(self, metadata: MetaData) -> bool:
        homes = {path for path, module in self._loaded if _has(module, metadata)}
        return bool(homes & self.shared)


def _loaded(root: Path) -> list[tuple[str, ModuleType]]:
    """Return the loaded modules of a repository, with their paths in it."""
    within = f"{root}{os.sep}"  # there are thousands of modules, and a Path of each would take a tenth of a second
    files = ((_file(module), module) for module in all_modules())
    return [(Path(file).relative_to(root).as_posix(), module) for file, module in files if file.startswith(within)]


def _file(module: ModuleType) -> str:
    """Return the file of a module; ``getattr`` would load one that is loaded only when something of it is used."""
    try:
        return str(object.__getattribute__(module, "__dict__").get("__file__"))
    except AttributeError:  # anything may be in sys.modules
        return ""


def _defined(module: ModuleType, path: str) -> Iterator[tuple[Table, _Definition]]:
    for name, value in list(vars(module).items()):
        if isinstance(value, Table):
            yield value, _Definition(name, path, is_class=False)
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for table in getattr(sa_inspect(value, raiseerr=False), "tables", ()):
                if isinstance(table, Table):
                    yield table, _Definition(value.__name__, path, is_class=True)


def _has(module: ModuleType, metadata: MetaData) -> bool:
    return any(value is metadata or metadata_of_base(value) is metadata for value in list(vars(module).values()))


def _texts(service: Service) -> Iterable[str]:
    models = service.models_file
    if models is None:
        return
    for path in models.parent.rglob("*.py") if models.name == "__init__.py" else (models,):
        yield path.read_text(encoding="utf-8", errors="replace")

"""The modules of a team that have tables: those that an import brings, and those that nothing imports.

An env.py may import its base alone, while the application imports the models. They are found from the base.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from service_migrations.adoption.code.modules import Code, files_below, is_library
from service_migrations.adoption.environment.env_file import Environment
from service_migrations.adoption.layout.folders import python_files
from service_migrations.adoption.models.mapped_classes import Definition, MappedClasses

__all__ = ["TableSearch"]

_NO_CODE = ("tests", "test", "docs", "examples", "build", "dist")
_MAY_MAP = re.compile(rb"\b(?:[Cc]olumn|mapped_column|Mapped|__table(?:name)?__|Table|relationship)\b")


@dataclass(slots=True)
class TableSearch:
    """A search for the tables of one env.py.

    Attributes:
        environment: the env.py.
        code: the files that were read already.
        folders: those on ``sys.path``.
        directory: the directory of the service.
        neighbours: the folders of the other env.py files of the monorepo.

    """

    environment: Environment
    code: Code
    folders: tuple[Path, ...]
    directory: Path
    neighbours: tuple[Path, ...] = ()
    mapped: MappedClasses = field(init=False)
    reached: dict[Path, frozenset[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mapped = MappedClasses(self.code, self.folders)

    def locate(self, name: str) -> tuple[Path, Path] | None:
        """Return the folder and the file of a module."""
        for folder in self.folders:
            path = self.code.find(name, (folder,))
            if path:
                return folder, path
        return None

    def reach(self, path: Path) -> frozenset[Path]:
        """Return the files with tables that importing a file brings; of a package, all its modules are imported."""
        if path not in self.reached:
            starts = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
            self.reached[path] = self._reach(starts)
        return self.reached[path]

    def _reach(self, starts: Iterable[Path]) -> frozenset[Path]:
        return frozenset(file for file in files_below(starts, self.code, self.folders) if self.mapped.names(file))

    def runs_an_environment(self, path: Path) -> bool:
        """Whether importing all modules of a package would run an env.py, which fails."""
        package = path.parent
        locations = (self.environment.path.parent, *self.neighbours)
        inside = [location for location in locations if location.is_relative_to(package)]
        return path.name == "__init__.py" and any(
            all((folder / "__init__.py").is_file() for folder in _between(location, package)) for location in inside
        )

    def modules(self) -> list[str]:
        """Return the modules with tables of the package of env.py's bases, and of its directory.

        Where the package has several env.py files, those outside of the directory may be of another one.
        """
        below = self._below_directory()
        package = self._package()
        if package is None:
            return below or self._around()
        top = package[1]
        is_around = self.directory.is_relative_to(top) or top.is_relative_to(self.directory)
        is_shared = any(location.is_relative_to(top) for location in self.neighbours)
        if below and (is_shared or not is_around):
            return below
        return list(dict.fromkeys([*self._modules(self.roots()), *below])) or self._around()

    def _around(self) -> list[str]:
        """Return the modules with tables of env.py's metadata in the nearest package around its directory.

        Of a base of a library are those that import it. A package with other histories is not searched.
        """
        origins = {self.environment.module.origin(name) for name in self.environment.all_metadata if name}
        libraries = {(origin[0], origin[1]) for origin in origins if origin}
        roots = self.roots()
        for package in takewhile(lambda folder: (folder / "__init__.py").is_file(), self.directory.parents):
            if any(path.is_relative_to(package) for path in self.neighbours):
                break
            files = [path for path in self._code_below(package) if self.mapped.names(path)]
            files = [*self._on_roots(files, roots)] if roots else [*self._importing(files, libraries)]
            if names := self._named(files, package):
                return names
        return []

    def _importing(self, paths: list[Path], libraries: set[tuple[str, str | None]]) -> Iterator[Path]:
        for path in paths:
            module = self.code.try_read(path)
            if module and not libraries.isdisjoint(module.imports.values()):
                yield path

    def _modules(self, roots: frozenset[Definition]) -> list[str]:
        """Return the modules of the package of env.py's metadata with tables of some bases."""
        package = self._package()
        if package is None:
            return []
        return [_module_name(path, package[0]) for path in self._on_roots(self._files(package[1]), roots)]

    def unreached(self, names: list[str]) -> list[str]:
        """Return the modules of those of env.py's bases of which some modules bring no table."""
        files = files_below([place[1] for name in names if (place := self.locate(name))], self.code, self.folders)
        have = [(file, table) for file in files for table in self.mapped.names(file)]
        groups = [self.mapped.roots(self.environment.module, name) for name in self.environment.all_metadata if name]
        lacking = [roots for roots in groups if roots and not any(self.mapped.is_of(*each, roots) for each in have)]
        return self._modules(frozenset().union(*lacking)) if lacking else []

    def collectors(self, tables: frozenset[Path]) -> list[str]:
        """Return the modules that only import, and bring several of some files with tables."""
        package = self._package()
        if package is None:
            return []
        words = [(path.parent.name if path.name == "__init__.py" else path.stem).encode() for path in tables]
        names: list[str] = []
        for path in self._files(package[1]):
            text = _text(path)
            has_words = any(word in text for word in words)
            if (
                has_words
                and self._only_imports(path)
                and len(self._reach(self.code.imported_files(path, self.folders)) & tables) > 1
            ):
                names.append(_module_name(path, package[0]))
        return [name for name in names if not self.runs_an_environment((self.locate(name) or (Path(), Path()))[1])]

    def _only_imports(self, path: Path) -> bool:
        module = self.code.try_read(path)
        return module is not None and all(
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and {*map(ast.unparse, node.targets)} == {"__all__"})
            for node in module.tree.body
        )

    def _package(self) -> tuple[Path, Path] | None:
        """Return the folder on ``sys.path`` and the top folder of the package that env.py has its metadata from."""
        for name in self.environment.all_metadata:
            origin = self.environment.module.origin(name) if name else None
            if origin is None or origin[0].startswith(".") or is_library(origin[0]):
                continue
            place = self.locate(origin[0]) or (self.locate(f"{origin[0]}.{origin[1]}") if origin[1] else None)
            top = place[0] / origin[0].partition(".")[0] if place else None
            if place and top and top.is_dir():
                return place[0], top
        return None

    def roots(self) -> frozenset[Definition]:
        """Return the bases and the metadata that are the target of env.py."""
        names = [name for name in self.environment.all_metadata if name]
        return frozenset().union(*(self.mapped.roots(self.environment.module, name) for name in names))

    def _on_roots(self, paths: list[Path], roots: frozenset[Definition]) -> Iterator[Path]:
        for path in paths if roots else ():
            if _MAY_MAP.search(_text(path)) and any(
                self.mapped.is_of(path, name, roots) for name in self.mapped.names(path)
            ):
                yield path

    def _files(self, folder: Path) -> list[Path]:
        """Return the files of code below a folder that aren't another service's."""
        others = [path.parent for path in self.neighbours if not self.directory.is_relative_to(path.parent)]
        return [path for path in self._code_below(folder) if not any(path.is_relative_to(other) for other in others)]

    def _code_below(self, folder: Path) -> Iterator[Path]:
        script_location = self.environment.path.parent
        for path in python_files(folder):
            if not path.is_relative_to(script_location) and not any(
                part in _NO_CODE for part in path.relative_to(folder).parts
            ):
                yield path

    def _below_directory(self) -> list[str]:
        """Return the modules with tables below the directory."""
        return self._named(
            [path for path in self._code_below(self.directory) if self.mapped.names(path)], self.directory
        )

    def _named(self, paths: list[Path], top: Path) -> list[str]:
        """Return the modules of files below a folder, by the names that the code there imports."""
        names: list[str] = []
        used = self._imported_names(python_files(top)) if paths else set()
        for path in paths:
            around = {folder: _module_name(path, folder) for folder in self.folders if path.is_relative_to(folder)}
            # the deepest folder on sys.path that isn't itself a package; a package need not have an __init__.py
            folder = max(
                around,
                key=lambda each: (around[each] in used, not (each / "__init__.py").exists(), len(each.parts)),
                default=None,
            )
            names += [around[folder]] if folder is not None else []
        return names

    def _imported_names(self, paths: list[Path]) -> set[str]:
        """Return the dotted names that files import, as modules and as what a module may have."""
        names: set[str] = set()
        for path in paths:
            module = self.code.try_read(path)
            for name, attribute in module.imports.values() if module else ():
                names |= {name, f"{name}.{attribute}"}
        return names


def _between(location: Path, package: Path) -> Iterator[Path]:
    """Yield a folder below a package, and those around it up to the package."""
    while location != package:
        yield location
        location = location.parent


def _module_name(path: Path, folder: Path) -> str:
    relative = path.relative_to(folder).with_suffix("")
    return ".".join(relative.parts[:-1] if path.name == "__init__.py" else relative.parts)


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""

"""The files of the repository that a module imports, directly or indirectly, read without importing them."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from service_migrations.service import Service

__all__ = ["Imports"]

_STATEMENT = re.compile(
    r"(?:^|[\r;:])[ \t\f]*(?:from\b([\s\\\w.]*?)\bimport\b|import\b)[\s\\]*"
    r"(\((?:[^()#]|#[^\n]*)*\)|(?:[^\r\n;#\\]|\\\r?\n)*)",
    re.MULTILINE,
)
"""An import, or text that looks like one. Parsing the models of 300 services would take a second."""
_NEW_NAME = re.compile(r"\bas[\s\\]+\w+")
_DOT = re.compile(r"[\s\\]*\.[\s\\]*")
_NAME = re.compile(r"[\w.]+|\*")
_DYNAMIC = re.compile(r"\b(?:import_module|__import__|pkgutil)\b")


class Imports:
    """The import graph of a repository's own Python files; each is read once.

    A name is looked for in the source of the service and at the top level. One that isn't there is in a package of the
    workspace, wherever its sources are: in every folder of the repository that has a module of that name, or where this
    interpreter would import it from. Paths are strings, relative to the root: hundreds of services have ten thousands
    of them.
    """

    def __init__(
        self, root: Path, removed: Iterable[Path] = (), files: Iterable[Path] = (), *, executed: bool = False
    ) -> None:
        """Create the graph of a repository.

        Args:
            root: the top level.
            removed: paths, relative to it, that count as existing: a removed file was imported before.
            files: the files of the repository, relative to it, where they are known.
            executed: whether only imports count that run when a module is imported, and not those in a function or for
                a type checker.

        """
        self._root, self._executed = root, executed
        self._files = [*files, *removed]
        self._direct: dict[str, frozenset[str]] = {}
        self._folders: dict[str, set[str]] = {}
        self._sources: set[str] = set()
        self._bases: dict[str, str] = {}
        self._parents: dict[str, set[str]] | None = None
        self._doubtful: set[str] = set()
        for path in removed:
            for folder in (path, *path.parents[:-1]):
                self._entries("".join(f"{part}/" for part in folder.parent.parts)).add(folder.name)

    def of(self, service: Service) -> frozenset[str]:
        """Return the files that an import of a service's models runs, with every module of their package.

        Files that these import, directly or indirectly, are included, and so are the folders of packages.
        """
        models = service.models_file
        package = models.parent if models is not None and models.name == "__init__.py" else None
        base = "".join(f"{part}/" for part in service.source.relative_to(service.root).parts)
        self._sources.add(base)
        package_files = (path.relative_to(self._root).as_posix() for path in (package.rglob("*.py") if package else ()))
        return self._reached([*self._paths_below(base, service.models.split(".")), *package_files])

    def of_files(self, service: Service, files: Iterable[Path]) -> frozenset[str]:
        """Return files outside of a service's source, such as its revisions, with what they import of the repository.

        Files that are outside of the repository are left out.
        """
        base = "".join(f"{part}/" for part in service.source.relative_to(service.root).parts)
        self._sources.add(base)
        paths = [path.relative_to(self._root).as_posix() for path in files if path.is_relative_to(self._root)]
        self._bases |= dict.fromkeys(paths, base)
        return self._reached(paths)

    def _reached(self, unvisited: list[str]) -> frozenset[str]:
        visited: set[str] = set()
        while unvisited:
            path = unvisited.pop()
            if path not in visited:
                visited.add(path)
                if path not in self._direct:
                    self._direct[path] = frozenset(self._imported_paths(path))
                unvisited += self._direct[path]
        return frozenset(visited)

    def is_doubtful(self, paths: Iterable[str]) -> bool:
        """Whether one of these files imports something by a name that only its run shows, or that nothing has."""
        return not self._doubtful.isdisjoint(paths)

    def _imported_paths(self, path: str) -> Iterator[str]:
        if not path.endswith(".py"):
            return
        try:
            source = (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # it was removed, and its change is seen anyway
        if _DYNAMIC.search(source):
            self._doubtful.add(path)
            if self._executed:
                yield from self._package_files(path)
        package = path.split("/")[:-1]
        places: Sequence[str]
        for level, module, names in _executed(source) if self._executed else _written(source):
            if level:
                base = package[: len(package) - level + 1]
                places, parts = [""], [*base, *module]
            else:
                places, parts = self._places(path, module[0]), module
            for place in places:
                yield from self._paths_below(place, parts)
                folder = place + "".join(f"{part}/" for part in parts)
                # an imported name may be a module; for a star it may be any module of the package
                for name in self._entries(folder) if "*" in names else names:
                    yield from self._paths(folder, name.removesuffix(".py"))

    def _package_files(self, path: str) -> Iterator[str]:
        folder = (self._root / path).parent
        if (folder / "__init__.py").is_file():
            yield from (file.relative_to(self._root).as_posix() for file in folder.rglob("*.py"))

    def _places(self, path: str, name: str) -> Sequence[str]:
        """Return the folders that a file imports a top-level module from."""
        sources = {*(source for source in self._sources if path.startswith(source)), self._bases.get(path, ""), ""}
        own = [source for source in sources if self._has(source, name)]
        if own or name in sys.stdlib_module_names:
            return own
        if self._parents is None:
            self._parents = _parents(self._files)
        places = set(self._parents.get(name, ()))
        installed = _installed(name)
        if installed is None and not places:
            self._doubtful.add(path)
        for folder in installed or ():
            if folder.is_relative_to(self._root) and "site-packages" not in folder.parts:
                places.add("".join(f"{part}/" for part in folder.relative_to(self._root).parts))
        return sorted(places)

    def _has(self, folder: str, name: str) -> bool:
        entries = self._entries(folder)
        return name in entries or f"{name}.py" in entries

    def _paths_below(self, folder: str, module: Sequence[str]) -> Iterator[str]:
        """Yield the paths that an import of a module runs: each package above it, as folder and as file, and itself."""
        for name in module:
            yield from self._paths(folder, name)
            folder += f"{name}/"

    def _paths(self, folder: str, name: str) -> Iterator[str]:
        entries = self._entries(folder)
        if f"{name}.py" in entries:
            yield f"{folder}{name}.py"
        if name in entries:
            yield f"{folder}{name}"
            if "__init__.py" in self._entries(f"{folder}{name}/"):
                yield f"{folder}{name}/__init__.py"

    def _entries(self, folder: str) -> set[str]:
        if folder not in self._folders:
            parent, _, name = folder.rstrip("/").rpartition("/")
            exists = not folder or name in self._entries(parent and f"{parent}/")
            try:
                self._folders[folder] = {path.name for path in (self._root / folder).iterdir()} if exists else set()
            except OSError:
                self._folders[folder] = set()
        return self._folders[folder]


_Import = tuple[int, list[str], list[str]]
"""How many dots, the module, and the names that are imported from it."""


def _written(source: str) -> Iterator[_Import]:
    """Yield all imports of a text, also those in functions and strings."""
    for statement in _STATEMENT.finditer(source):
        from_module, imported = statement[1], _NEW_NAME.sub("", statement[2])
        if from_module is None:
            for name in _NAME.findall(_DOT.sub(".", imported)):
                if parts := list(filter(None, name.split("."))):
                    yield 0, parts, []
            continue
        dotted = "".join(from_module.replace("\\", " ").split())
        level, parts = len(dotted) - len(dotted.lstrip(".")), list(filter(None, dotted.split(".")))
        if level or parts:
            yield level, parts, _NAME.findall(imported)


def _executed(source: str) -> Iterator[_Import]:
    """Yield the imports that run when the module is imported; none of a text that isn't Python."""
    try:
        unvisited: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError):
        return
    while unvisited:
        node = unvisited.pop()
        match node:
            case ast.Import(names=aliases):
                yield from ((0, alias.name.split("."), []) for alias in aliases)
            case ast.ImportFrom(module=module, names=aliases, level=level):
                yield level, module.split(".") if module else [], [alias.name for alias in aliases]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                unvisited += node.orelse
            case _:
                unvisited += ast.iter_child_nodes(node)


def _parents(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return the folders that have a module, by the module's name."""
    parents: dict[str, set[str]] = {}
    for path in files:
        if path.suffix != ".py":
            continue
        folder = ""
        for part in path.parts[:-1]:
            parents.setdefault(part, set()).add(folder)
            folder += f"{part}/"
        parents.setdefault(path.stem, set()).add(folder)
    return parents


@cache
def _installed(name: str) -> tuple[Path, ...] | None:
    """Return the folders that this interpreter imports a top-level module from; None where it can't be imported."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        # an editable install may give a folder another name
        places = tuple(Path(place) for place in spec.submodule_search_locations)
        return tuple(place.parent for place in places if place.name == name) or None
    return (Path(spec.origin).parent,) if spec.origin and spec.has_location else ()

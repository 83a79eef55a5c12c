"""The files of the repository that a module imports, directly or indirectly, read without importing them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from service_migrations.monorepo import Service

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


class Imports:
    """The import graph of a repository's own Python files; each is read once.

    Paths are strings, relative to the root: hundreds of services have ten thousands of them.
    """

    def __init__(self, root: Path, removed: Iterable[Path] = ()) -> None:
        """Create the graph of a repository.

        Args:
            root: the top level.
            removed: paths, relative to it, that count as existing: a removed file was imported before.

        """
        self._root = root
        self._direct: dict[str, frozenset[str]] = {}
        self._folders: dict[str, set[str]] = {}
        for path in removed:
            for folder in (path, *path.parents[:-1]):
                self._entries("".join(f"{part}/" for part in folder.parent.parts)).add(folder.name)

    def of(self, service: Service) -> frozenset[str]:
        """Return the files that an import of a service's models runs, with every module of their package.

        Files that these import, directly or indirectly, are included, and so are the folders of packages.
        """
        models = service.models_file
        package = models.parent if models is not None and models.name == "__init__.py" else None
        base = service.source.relative_to(service.root).parts
        package_files = (path.relative_to(self._root).as_posix() for path in (package.rglob("*.py") if package else ()))
        visited: set[str] = set()
        unvisited = [*self._module_paths([*base, *service.models.split(".")]), *package_files]
        while unvisited:
            path = unvisited.pop()
            if path not in visited:
                visited.add(path)
                if path not in self._direct:
                    self._direct[path] = frozenset(self._imported_paths(path))
                unvisited += self._direct[path]
        return frozenset(visited)

    def _imported_paths(self, path: str) -> Iterator[str]:
        if not path.endswith(".py"):
            return
        try:
            source = (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # it was removed, and its change is seen anyway
        package = path.split("/")[:-1]
        for statement in _STATEMENT.finditer(source):
            from_module, imported = statement[1], _NEW_NAME.sub("", statement[2])
            if from_module is None:
                for name in _NAME.findall(_DOT.sub(".", imported)):
                    yield from self._module_paths(name.split("."))
                continue
            dotted = "".join(from_module.replace("\\", " ").split())
            level = len(dotted) - len(dotted.lstrip("."))
            module = [*(package[: len(package) - level + 1] if level else ()), *filter(None, dotted.split("."))]
            yield from self._module_paths(module)
            folder = "".join(f"{part}/" for part in module)
            # an imported name may be a module; for a star it may be any module of the package
            names = _NAME.findall(imported)
            modules = self._entries(folder) if "*" in names else names
            for name in modules:
                yield from self._paths(folder, name.removesuffix(".py"))

    def _module_paths(self, module: Sequence[str]) -> Iterator[str]:
        """Yield the paths that an import of a module runs: each package above it, as folder and as file, and itself."""
        folder = ""
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

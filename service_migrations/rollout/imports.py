"""Which files of the repository a module imports, directly and through others: read, and never imported."""

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
"""An import, or what looks like one in a text. To parse the models of 300 services would take a second."""
_NEW_NAME = re.compile(r"\bas[\s\\]+\w+")
_DOT = re.compile(r"[\s\\]*\.[\s\\]*")
_NAME = re.compile(r"[\w.]+|\*")


class Imports:
    """The import graph of a repository's own Python files; each is read once.

    Paths are texts, relative to the root: of hundreds of services there are ten thousands.
    """

    def __init__(self, root: Path, gone: Iterable[Path] = ()) -> None:
        """Take the top level, and paths below it that count as there: what is gone was imported before."""
        self._root = root
        self._direct: dict[str, frozenset[str]] = {}
        self._listed: dict[str, set[str]] = {}
        for path in gone:
            for place in (path, *path.parents[:-1]):
                self._names("".join(f"{part}/" for part in place.parent.parts)).add(place.name)

    def of(self, service: Service) -> frozenset[str]:
        """Return what is run by importing a service's models, with every module of their package.

        What these import is among it, directly or through others, and so are the folders of packages.
        """
        models = service.models_file
        package = models.parent if models is not None and models.name == "__init__.py" else None
        base = service.source.relative_to(service.root).parts
        below = (path.relative_to(self._root).as_posix() for path in (package.rglob("*.py") if package else ()))
        found: set[str] = set()
        todo = [*self._places([*base, *service.models.split(".")]), *below]
        while todo:
            path = todo.pop()
            if path not in found:
                found.add(path)
                if path not in self._direct:
                    self._direct[path] = frozenset(self._read(path))
                todo += self._direct[path]
        return frozenset(found)

    def _read(self, path: str) -> Iterator[str]:
        if not path.endswith(".py"):
            return
        try:
            text = (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # it is gone; that it changed is seen anyway
        package = path.split("/")[:-1]
        for found in _STATEMENT.finditer(text):
            start, rest = found[1], _NEW_NAME.sub("", found[2])
            if start is None:
                for name in _NAME.findall(_DOT.sub(".", rest)):
                    yield from self._places(name.split("."))
                continue
            dotted = "".join(start.replace("\\", " ").split())
            level = len(dotted) - len(dotted.lstrip("."))
            module = [*(package[: len(package) - level + 1] if level else ()), *filter(None, dotted.split("."))]
            yield from self._places(module)
            folder = "".join(f"{part}/" for part in module)
            # a name of a package may be a module of its own; and for a star, its __all__ may hold any
            names = _NAME.findall(rest)
            several = self._names(folder) if "*" in names else names
            for name in several:
                yield from self._place(folder, name.removesuffix(".py"))

    def _places(self, module: Sequence[str]) -> Iterator[str]:
        """Yield what importing a module runs: each package above it, as folder and as file, and itself."""
        folder = ""
        for name in module:
            yield from self._place(folder, name)
            folder += f"{name}/"

    def _place(self, folder: str, name: str) -> Iterator[str]:
        there = self._names(folder)
        if f"{name}.py" in there:
            yield f"{folder}{name}.py"
        if name in there:
            yield f"{folder}{name}"
            if "__init__.py" in self._names(f"{folder}{name}/"):
                yield f"{folder}{name}/__init__.py"

    def _names(self, folder: str) -> set[str]:
        if folder not in self._listed:
            above, _, name = folder.rstrip("/").rpartition("/")
            is_there = not folder or name in self._names(above and f"{above}/")
            try:
                self._listed[folder] = {path.name for path in (self._root / folder).iterdir()} if is_there else set()
            except OSError:
                self._listed[folder] = set()
        return self._listed[folder]

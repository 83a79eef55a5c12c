"""Which files of the repository a module imports, directly and through others: read, and never imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Imports"]


class Imports:
    """The import graph of a repository's own Python files; each is parsed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._direct: dict[Path, frozenset[Path]] = {}

    def reached(self, starts: Iterator[Path]) -> frozenset[Path]:
        """Return files with all that they import, as paths relative to the root, and only those of the repository."""
        found: set[Path] = set()
        todo = list(starts)
        while todo:
            path = todo.pop()
            if path not in found:
                found.add(path)
                todo += self._imported(path)
        return frozenset(found)

    def _imported(self, path: Path) -> frozenset[Path]:
        if path not in self._direct:
            self._direct[path] = frozenset(self._read(path))
        return self._direct[path]

    def _read(self, path: Path) -> Iterator[Path]:
        try:
            tree = ast.parse((self._root / path).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return  # what it imports now nobody can tell; that it changed is seen anyway
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._files(alias.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                base = [*path.parent.parts[: len(path.parent.parts) - node.level + 1]] if node.level else []
                module = [*base, *(node.module.split(".") if node.module else [])]
                yield from self._files(module)
                for alias in node.names:
                    # a name of a package may be a module of its own
                    yield from self._files([*module, alias.name])

    def _files(self, module: list[str]) -> Iterator[Path]:
        """Yield the files that are run by importing a module: each package above it, and itself."""
        for depth in range(1, len(module) + 1):
            place = Path(*module[:depth])
            for candidate in (place / "__init__.py", place.with_suffix(".py")):
                if (self._root / candidate).is_file():
                    yield candidate

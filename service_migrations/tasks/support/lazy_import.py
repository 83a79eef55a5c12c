"""Modules that are loaded only when something of them is used, where a library imports them and seldom needs them."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

__all__ = ["load_when_used"]


class _Finder(MetaPathFinder):
    """Finds the named modules as Python does, with the loader for lazy modules that Python documents."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.loader:
            from importlib.util import LazyLoader

            spec.loader = LazyLoader(spec.loader)
        return spec


def load_when_used(*names: str) -> None:
    """Let later imports of some modules bind them without running them, until the first use of an attribute.

    Only a program of its own may do so: it holds for the whole process.

    Args:
        names: dotted names. Whoever imports them may need no attribute at once: ``from module import name`` does.

    """
    if not any(isinstance(finder, _Finder) and finder.names == names for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(names))

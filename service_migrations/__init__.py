"""Migrate the PostgreSQL databases of a monorepo's services with one async Alembic environment.

An application upgrades itself with ``await service_migrations.upgrade("billing")``, inside its own event loop.

The public names are listed once, in ``__init__.pyi``. Type checkers read them there, and so does this module, which
imports each name when it is first used: ``inv --list`` must not import Alembic and SQLAlchemy.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

_MODULES = {
    alias.name: str(statement.module)
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}
"""Every public name, with the module that it is imported from."""

__all__ = sorted(_MODULES)  # noqa: PLE0605 - written once, in the stub


class _Package(ModuleType):
    """A package in which some folders have the name of a public function: ``upgrade`` is the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Ignore a submodule with the name of a public function: its import would replace the function."""
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *_MODULES})

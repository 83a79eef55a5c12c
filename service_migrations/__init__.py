"""Migrate the PostgreSQL databases of a monorepo's services with one async Alembic environment.

An application upgrades itself with ``await service_migrations.upgrade("billing")``, inside its own event loop.

The public names stand in ``__init__.pyi``, once: type checkers read them there, and so does this module, which
imports each when it is first used. ``inv --list`` must not pay for Alembic and SQLAlchemy.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

_PLACES = {
    alias.name: str(statement.module)
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}
"""Every public name, with the module that it is imported from."""

__all__ = sorted(_PLACES)  # noqa: PLE0605 - written once, in the stub


class _Package(ModuleType):
    """A package in which some rooms have the name of a public function: ``upgrade`` is the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Take no submodule for the function of its name: importing one binds it to the package."""
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *_PLACES})

"""pyproject.toml, parsed once: the tables that this library and Alembic read."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from service_migrations.errors import ConfigurationError
from service_migrations.files import is_there, read_text

__all__ = ["FILE", "read_alembic_table", "read_project", "read_tools"]

FILE = "pyproject.toml"


def read_tools(root: Path) -> Mapping[str, Any]:
    """Return the ``[tool]`` tables of a folder's pyproject.toml; none where the folder has no such file.

    Raises:
        ConfigurationError: the file is not TOML, or can't be read.

    """
    return _table(root, "tool")


def read_project(root: Path) -> Mapping[str, Any]:
    """Return the ``[project]`` table of a folder's pyproject.toml; nothing where it has none.

    Raises:
        ConfigurationError: the file is not TOML, or can't be read.

    """
    return _table(root, "project")


def _table(root: Path, name: str) -> Mapping[str, Any]:
    path = root / FILE
    if not is_there(path):
        return {}
    try:
        status = path.stat()
        state = status.st_mtime_ns, status.st_size
    except OSError:  # a link that leads nowhere
        state = 0, 0
    table = _parsed(path, *state).get(name)
    return table if isinstance(table, dict) else {}


def read_alembic_table(root: Path) -> Mapping[str, Any]:
    """Return ``[tool.alembic]``; nothing where it is missing, or no table, which Alembic's own reader refuses.

    Raises:
        ConfigurationError: pyproject.toml is not TOML, or can't be read.

    """
    table = read_tools(root).get("alembic")
    return table if isinstance(table, dict) else {}


@lru_cache(maxsize=16)
def _parsed(path: Path, _mtime: int, _size: int) -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415 - `inv --list` reads no configuration

    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{error}.", path=path, hint="Correct the file.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}.", path=path) from None

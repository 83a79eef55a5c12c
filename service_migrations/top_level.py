"""Where the monorepo is: the folder that is given, that of MIGRATIONS_ROOT, or the nearest one with a table."""

import os
from pathlib import Path

from service_migrations.configuration import TABLE, misspelled_table
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.pyproject import FILE, read_tools

__all__ = ["NoTableError", "locate", "without_table", "working_directory"]

_ROOT = "MIGRATIONS_ROOT"
"""The variable that names the top level, for a process that runs elsewhere."""


class NoTableError(ConfigurationError):
    """A folder has an environment of Alembic's, and a pyproject.toml without a table."""


def locate(root: Path | None = None) -> Path:
    """Return the top level: *root*, else that of MIGRATIONS_ROOT, else the one around the working directory.

    That is the nearest folder whose pyproject.toml has ``[tool.service-migrations]`` or ``[tool.alembic]``; a file that
    has neither belongs to a part of a monorepo.

    Raises:
        UsageError: there is no monorepo around the working directory, or that directory was removed.
        ConfigurationError: MIGRATIONS_ROOT isn't a top level, or a pyproject.toml is invalid or has no table.

    """
    if root is not None:
        return root.absolute()
    if configured_root := os.environ.get(_ROOT):
        folder = Path(configured_root).resolve()
        if not _is_top_level(folder):
            raise ConfigurationError(
                f"environment {_ROOT}: {configured_root} has no {FILE} with [tool.{TABLE}] or [tool.alembic].",
                hint="Name a monorepo's top level, or unset it.",
            )
        return folder
    here = working_directory()
    for folder in (here, *here.parents):
        if _is_top_level(folder):
            return folder
    if untabled := without_table():
        raise NoTableError(
            f"{untabled / FILE} has neither [tool.{TABLE}] nor [tool.alembic], beside migrations/env.py.",
            hint="Add one of them: `service-migrations db.init` does, or `service-migrations db.adopt --write` "
            "where there are revisions of plain Alembic.",
        )
    raise UsageError(
        f"There is no monorepo here: neither {here} nor a folder above it has a {FILE} with "
        f"[tool.{TABLE}] or [tool.alembic].",
        hint=f"Change to one, set {_ROOT}, or run `service-migrations db.init` to begin one.",
    )


def without_table() -> Path | None:
    """Return the folder around the working directory with migrations/env.py and a pyproject.toml without a table.

    So Flask-Migrate and Advanced Alchemy leave it in a repository of one service.

    Raises:
        UsageError: the working directory was removed.

    """
    here = working_directory()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() and (folder / "migrations" / "env.py").is_file():
            return folder
    return None


def working_directory() -> Path:
    """Return the working directory.

    Raises:
        UsageError: it was removed, as by another shell that has switched to another branch.

    """
    try:
        return Path.cwd()
    except OSError:
        raise UsageError("The working directory doesn't exist any more.", hint="Change to one that does.") from None


def _is_top_level(folder: Path) -> bool:
    tools = read_tools(folder)
    return bool({TABLE, "alembic"} & tools.keys() or misspelled_table(tools))

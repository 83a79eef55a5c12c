"""The choice of the files that settings are read from: those of an environment, or one instead of every ``.env``."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service_migrations.errors import ConfigurationError

__all__ = ["ENVIRONMENT", "ENV_FILE", "chosen_env_file", "env_files"]

ENVIRONMENT, ENV_FILE = "MIGRATIONS_ENV", "MIGRATIONS_ENV_FILE"
"""The variables that name an environment, such as ``staging`` for ``.env.staging``, or a file instead of every .env."""

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_options: dict[str, str] = {}
"""What the options of the running command say instead of both variables; forked workers have it too."""


@contextmanager
def env_files(**options: str) -> Iterator[None]:
    """Let services found in the block have another .env, as MIGRATIONS_ENV or MIGRATIONS_ENV_FILE name one.

    Args:
        options: one of the two variables, which replaces both of the process.

    """
    _options.update(options)
    try:
        yield
    finally:
        _options.clear()


def chosen_env_file(env_file: Path, root: Path) -> dict[str, Any]:
    """Return the fields of a service that say which file its settings are read from.

    Raises:
        ConfigurationError: MIGRATIONS_ENV is no name of an environment, or MIGRATIONS_ENV_FILE is set too.

    """
    chosen = _options or os.environ
    name, path = chosen.get(ENVIRONMENT, ""), chosen.get(ENV_FILE, "")
    if name and path:
        raise ConfigurationError(f"environment {ENVIRONMENT} and {ENV_FILE} are both set.", hint="Unset one of them.")
    if path:
        return {"env_file": root / path, "is_env_file_given": True}
    if not name:
        return {"env_file": env_file}
    if not _ENVIRONMENT_NAME.fullmatch(name) or name == "example":
        raise ConfigurationError(
            f"--env or {ENVIRONMENT} is {name!r}, which names no environment.",
            hint="Write a name such as staging, whose settings are in .env.staging.",
        )
    return {"env_file": env_file.with_name(f"{env_file.name}.{name}"), "environment": name}

"""The rows of a team's own for the tables of a service, which the tests of the matrix add between revisions."""

import tomllib
from collections.abc import Mapping, Sequence

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.files import SOURCE, is_there, read_text
from service_migrations.monorepo import Service
from service_migrations.pyproject import read_tools

__all__ = ["FOLDER", "ROWS", "matrix_rows"]

ROWS = "service_migrations_rows"
"""The setting of pytest for the folder of ``<service>.toml``."""
FOLDER = "tests/matrix/rows"
"""That folder, where nothing else is set."""


def matrix_rows(service: Service, folder: str = "") -> Mapping[str, Sequence[str]]:
    """Return the statements that fill a service's tables, by the revision that they follow.

    Args:
        service: the service.
        folder: from the top level; empty for that of pytest's setting in pyproject.toml.

    Raises:
        UsageError: the file is no TOML, or has something else than lists of statements.
        ConfigurationError: it can't be read.

    """
    path = service.root / (folder or _folder(service)) / f"{service}.toml"
    if not is_there(path):
        return {}
    try:
        rows = tomllib.loads(read_text(path, SOURCE, encoding="utf-8-sig"))
    except OSError as error:
        text = f"it can't be read: {error.strerror}."
        raise ConfigurationError(text, service=service, path=service.relative(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"no TOML: {error}.", service=service, path=service.relative(path)) from error
    for revision, statements in rows.items():
        if not isinstance(statements, list) or not all(isinstance(statement, str) for statement in statements):
            raise UsageError(
                f"{revision} is no list of statements.",
                service=service,
                path=service.relative(path),
                hint=f'Write {revision} = ["INSERT INTO …"].',
            )
    return rows


def _folder(service: Service) -> str:
    table = read_tools(service.root).get("pytest")
    settings = table if isinstance(table, dict) else {}
    options = settings.get("ini_options")
    return str((options if isinstance(options, dict) else settings).get(ROWS, FOLDER))

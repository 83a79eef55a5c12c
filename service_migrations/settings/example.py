"""The ``.env.example`` of a service, which is committed, and the mark of a .env that was made from it."""

import secrets

from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn, parse

__all__ = ["KEY", "MARK", "example", "lines", "made_here"]

KEY = "DATABASE_DSN="
"""The start of the line that names the database."""

MARK = "# Made by `inv up` for the project's own PostgreSQL."
"""The first line of a .env that was made for the developer's cluster."""


def example(service: Service) -> Dsn:
    """Return the DSN of a service's .env.example, with the service's name in its placeholders.

    Services whose examples name one database share it.

    Raises:
        ConfigurationError: the example can't be read, or has no valid DATABASE_DSN.

    """
    path = service.relative(service.env_example)
    for line in lines(service):
        if line.startswith(KEY):
            dsn = line.removeprefix(KEY).strip("'\"").replace("<service>", service.name)
            return parse(dsn.replace("<password>", secrets.token_urlsafe(18)), f"{path}: DATABASE_DSN")
    raise ConfigurationError("DATABASE_DSN is missing, so no .env can be made from it.", path=path)


def lines(service: Service) -> list[str]:
    """Return the lines of a service's .env.example.

    Raises:
        ConfigurationError: it can't be read.

    """
    path = service.relative(service.env_example)
    try:
        return service.env_example.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"byte {error.start} is not UTF-8.", path=path, hint="Save the file as UTF-8."
        ) from None
    except OSError as error:
        text, hint = f"{path} can't be read: {error.strerror}.", "A .env is made from it."
        raise ConfigurationError(text, path=path, hint=hint) from error


def made_here(service: Service) -> bool:
    """Whether a service's .env was written for the developer's cluster."""
    path = service.env_file
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(MARK)

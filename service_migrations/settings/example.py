"""The ``.env.example`` of a service: what is committed of its settings, and so known on a machine without its .env."""

import secrets

from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn, parse

__all__ = ["KEY", "example", "lines"]

KEY = "DATABASE_DSN="
"""What the line begins with that names the database."""


def example(service: Service) -> Dsn:
    """Return the DSN of a service's .env.example, its placeholders filled with the service's name.

    Services whose examples name one database share it.

    Raises:
        ConfigurationError: the example can't be read, or has no valid DATABASE_DSN.

    """
    where = service.relative(service.env_example)
    for line in lines(service):
        if line.startswith(KEY):
            text = line.removeprefix(KEY).strip("'\"").replace("<service>", service.name)
            return parse(text.replace("<password>", secrets.token_urlsafe(18)), f"{where}: DATABASE_DSN")
    raise ConfigurationError("DATABASE_DSN is missing, so no .env can be made from it.", path=where)


def lines(service: Service) -> list[str]:
    """Return the lines of a service's .env.example.

    Raises:
        ConfigurationError: it can't be read.

    """
    where = service.relative(service.env_example)
    try:
        return service.env_example.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"byte {error.start} is not UTF-8.", path=where, hint="Save the file as UTF-8."
        ) from None
    except OSError as error:
        text, hint = f"{where} can't be read: {error.strerror}.", "A .env is made from it."
        raise ConfigurationError(text, path=where, hint=hint) from error

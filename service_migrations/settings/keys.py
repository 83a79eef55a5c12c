"""The keys of settings, with their defaults."""

from collections.abc import Mapping

from service_migrations.env_files import ENV_FILE, ENVIRONMENT

__all__ = ["KEYS", "leads_to_a_database"]

KEYS: Mapping[str, str | None] = {
    "DATABASE_DSN": None,
    "DATABASE_DIRECT_DSN": None,
    "DATABASE_PASSWORD": None,
    "DATABASE_PASSWORD_FILE": None,
    "DATABASE_PASSWORD_COMMAND": None,
    "DATABASE_ADMIN_DSN": None,
    "DATABASE_SCRATCH_DSN": None,
    "MIGRATIONS_VERSION_TABLE": None,
    "MIGRATIONS_SEARCH_PATH": "public",
    "MIGRATIONS_CONNECT_TIMEOUT": "10s",
    "MIGRATIONS_LOCK_WAIT": "60s",
    "MIGRATIONS_LOCK_TIMEOUT": "5s",
    "MIGRATIONS_STATEMENT_TIMEOUT": "0",
    "MIGRATIONS_IDLE_TIMEOUT": "5m",
    "MIGRATIONS_EDITED": "refuse",
}
"""Every key, with its default. ``.env.example`` explains each."""

_OF_DATABASES = tuple(key for key in KEYS if key.startswith("DATABASE_"))


def leads_to_a_database(variable: str) -> bool:
    """Whether a variable is a service's setting of a database, chooses a ``.env``, or is one of libpq's.

    Where only a throw-away database may be reached, these are left out of the environment.
    """
    return variable.startswith("PG") or variable.endswith(_OF_DATABASES) or variable in (ENVIRONMENT, ENV_FILE)

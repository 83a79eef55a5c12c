"""The variables of an environment that lead to a database: left out where only a throw-away one may be reached."""

from service_migrations.env_files import ENV_FILE, ENVIRONMENT
from service_migrations.settings.sources import KEYS

__all__ = ["leads_to_a_database"]

_KEYS = tuple(key for key in KEYS if key.startswith("DATABASE_"))


def leads_to_a_database(variable: str) -> bool:
    """Whether a variable is a service's setting of a database, chooses a ``.env``, or is one of libpq's."""
    return variable.startswith("PG") or variable.endswith(_KEYS) or variable in (ENVIRONMENT, ENV_FILE)

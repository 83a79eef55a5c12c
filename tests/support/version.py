"""The version of PostgreSQL that the tests run on."""

import os

from service_migrations.postgres import VERSIONS

__all__ = ["VERSION"]

VERSION = os.environ.get("POSTGRES_VERSION", VERSIONS[-1])
"""The newest, unless the environment names one."""

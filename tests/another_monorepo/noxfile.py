"""The shop's own tests, and every history, on each PostgreSQL that the shop runs."""

import nox

from service_migrations.nox import each_postgres, install, migrations, run_pytest

__all__ = ["migrations"]

nox.options.default_venv_backend = "uv"


@nox.session
@each_postgres
def tests(session: nox.Session, postgres: str) -> None:
    """Run the shop's own tests."""
    install(session)
    run_pytest(session, postgres, "tests")

"""Sessions for the noxfile.py of a monorepo: every service's history, on each PostgreSQL that the team runs.

All that a noxfile needs is::

    from service_migrations.nox import migrations

It gives ``migrations(pg14)``, ``migrations(pg15)`` and so on, one for each version in ``[tool.service-migrations]
postgres``. nox has to run in an environment with this library: ``uv run nox``, or a noxfile.py that names both in
its own script dependencies. Where a project is installed in another way than ``install()`` does it::

    from service_migrations.nox import define_migrations

    def install(session):
        environment = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}
        session.run_install("uv", "sync", "--all-packages", env=environment, external=True)

    migrations = define_migrations(install)

``evidence``, or ``define_evidence(install)``, is a session that measures what each revision locks on each PostgreSQL;
the words after ``--`` are options of `inv db.evidence`.

``each_postgres`` and ``run_pytest`` make a session of a team's own tests, on each PostgreSQL as well::

    @nox.session
    @each_postgres
    def tests(session, postgres):
        install(session)
        run_pytest(session, postgres, "tests")
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nox
from nox.command import CommandFailed

from service_migrations.configuration import read_configuration
from service_migrations.postgres import VERSIONS
from service_migrations.pyproject import FILE

if TYPE_CHECKING:
    evidence: Any
    migrations: Any

__all__ = [
    "VERSIONS",
    "define_evidence",
    "define_migrations",
    "each_postgres",
    "evidence",
    "install",
    "migrations",
    "run_pytest",
]

_GROUPS = ("tests", "test", "dev")
_PLAIN = ("--override-ini=addopts=", "--override-ini=python_files=test_*.py")
"""Options that reset those of a team's own tests, such as a minimum of coverage."""

_UNREACHABLE = 69
"""The exit code of pytest where a PostgreSQL can't be provided (testing/plugin.py)."""


def each_postgres(session: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a session so that there is one for each PostgreSQL, ``pg14`` and so on; it takes ``postgres``.

    Raises:
        ConfigurationError: ``[tool.service-migrations]`` is invalid.

    """
    versions = read_configuration(Path.cwd()).postgres or VERSIONS  # nox has changed to the folder of the noxfile
    parameters = [nox.param(version, id=f"pg{version}") for version in versions]
    decorated: Callable[..., Any] = nox.parametrize("postgres", parameters)(session)
    return decorated


def install(session: nox.Session) -> None:
    """Install the project of the noxfile, and the first of the dependency groups tests, test and dev that it has.

    A project with a ``[build-system]`` is installed as editable; of one without, the dependencies are.
    """
    project = nox.project.load_toml(FILE)
    requirements: list[str] = []
    if "build-system" in project:
        requirements += ["--editable", "."]
    elif session.venv_backend == "uv" and "project" in project:
        # unlike a list of requirements, this respects the sources of [tool.uv]
        requirements += ["--requirements", FILE]
    else:
        requirements += project.get("project", {}).get("dependencies", [])
    group = next((name for name in _GROUPS if name in project.get("dependency-groups", {})), None)
    requirements += ["--group", group] if group else []
    if not requirements:
        session.error(
            f"{FILE} names nothing to install: it has no [build-system], no dependencies of a [project], and none of "
            f"the groups {', '.join(_GROUPS)} in [dependency-groups]. Add the group dev, with what the models import, "
            "service-migrations and pytest; or give define_migrations() a function that installs them"
        )
    session.install(*requirements)


def define_migrations(install: Callable[[nox.Session], None] = install, *options: str) -> Any:
    """Define the session ``migrations``.

    Args:
        install: called first; installs the project with this library, pytest, and what the models import.
        options: options of pytest, before those after ``--``; ``--numprocesses=2`` needs pytest-xdist.

    """

    @nox.session(name="migrations")
    @each_postgres
    def run(session: nox.Session, postgres: str) -> None:
        """Run every service's history on a real PostgreSQL of one version."""
        install(session)
        run_pytest(session, postgres, *_PLAIN, "--pyargs", "service_migrations.testing", *options)

    return run


def define_evidence(install: Callable[[nox.Session], None] = install, *options: str) -> Any:
    """Define the session ``evidence``, which nox runs only where it is named.

    Args:
        install: as of ``define_migrations``.
        options: options of `inv db.evidence`, before those after ``--``.

    """

    @nox.session(name="evidence", default=False)
    @each_postgres
    def run(session: nox.Session, postgres: str) -> None:
        """Measure what every revision locks on a PostgreSQL of one version."""
        install(session)
        with _skipped_without(session, postgres):
            _refuse_foreign(session, "service-migrations")
            command = ("service-migrations", "db.evidence", f"--postgres={postgres}")
            session.run(*command, *options, *session.posargs)

    return run


def run_pytest(session: nox.Session, postgres: str, *options: str) -> None:
    """Run pytest against a PostgreSQL of one version, with the arguments after ``--`` at the end.

    The version is the value of pytest's ``--postgres`` and of POSTGRES_VERSION in its environment. Where the version
    can't be provided, the session is skipped; where CI is set, it fails: nox exits with 0 for skipped sessions, and CI
    would pass.
    """
    with _skipped_without(session, postgres):
        _refuse_foreign(session, "pytest")
        environment = {"POSTGRES_VERSION": postgres}
        session.run("pytest", *options, f"--postgres={postgres}", *session.posargs, env=environment)


def _refuse_foreign(session: nox.Session, program: str) -> None:
    """Fail where the session's environment lacks a program: nox would run the machine's, with other libraries."""
    paths = os.pathsep.join(session.bin_paths or ())
    if session.virtualenv.is_sandboxed and not shutil.which(program, path=paths):
        session.error(f"{program} isn't in the session's environment: let the function that installs bring it.")


@contextmanager
def _skipped_without(session: nox.Session, postgres: str) -> Iterator[None]:
    """Skip a session whose command can't have its PostgreSQL; where CI is set, let it fail."""
    try:
        yield
    except CommandFailed as error:
        if error.return_code != _UNREACHABLE:
            raise
        if os.environ.get("CI"):
            session.error(f"PostgreSQL {postgres} can't be provided here, and CI must not pass without it.")
        session.skip(f"PostgreSQL {postgres} can't be provided here; the line above says why.")


def __getattr__(name: str) -> Any:
    """Define a session when a noxfile imports it: nox refuses two of one name."""
    definitions = {"evidence": define_evidence, "migrations": define_migrations}
    if name not in definitions:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    session = globals()[name] = definitions[name]()
    return session

"""The history of one service: its revision files, read without a database."""

from argparse import Namespace
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from service_migrations._alembic import ServiceConfig, give_toml_table
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.failures.driver_errors import describe
from service_migrations.files import is_there, refuse_irregular
from service_migrations.history import graph
from service_migrations.history.files.loading import load
from service_migrations.history.files.locations import refuse_unread
from service_migrations.history.history import History
from service_migrations.history.revision import Revision, id_problem
from service_migrations.history.x_arguments import current_x_arguments
from service_migrations.monorepo import Service, resolve
from service_migrations.pyproject import FILE, read_tools

__all__ = ["History", "Revision", "config", "read", "script_location", "template_folder"]

_ENVIRONMENT = "migrations"
"""The folder of env.py, where pyproject.toml names no other."""

_TEMPLATE = "script.py.mako"
"""The name that Alembic gives to the template of a revision."""


def config(
    service: str | Service,
    attributes: Mapping[str, Any] | None = None,
    output: TextIO | None = None,
    **options: Any,
) -> Config:
    """Return Alembic's configuration for one service, from pyproject.toml and the service's name.

    Args:
        service: its name.
        attributes: further values that env.py reads, such as ``connection``.
        output: the stream for Alembic's results and for ``--sql``.
        options: further arguments of ``alembic.config.Config``.

    Raises:
        UsageError: the service doesn't exist.

    """
    service = resolve(service)
    attributes = {"service": service, **(attributes or {})}
    alembic = _with_table(ServiceConfig(toml_file=service.root / FILE, attributes=attributes, **options), service.root)
    # the library prints nothing: no results, and no "Generating …"
    alembic.stdout = alembic.output_buffer = output or StringIO()
    if "cmd_opts" not in options:
        alembic.messaging_opts = {"quiet": True}
        # hooks of env.py read both, as Alembic's documentation shows
        alembic.cmd_opts = Namespace(autogenerate=False, x=current_x_arguments())
    # ConfigParser interpolates: a % in the path of the checkout is doubled. The DSN is never an option.
    alembic.set_main_option("path_separator", "newline")
    locations = "\n".join(map(str, service.version_locations))
    alembic.set_main_option("version_locations", locations.replace("%", "%%"))
    alembic.set_main_option("recursive_version_locations", str(service.recursive_version_locations).lower())
    # env.py is run for a comparison only: an empty revision needs neither a database nor models that import
    alembic.set_main_option("revision_environment", "false")
    if _location_option(alembic) is None:
        alembic.set_main_option("script_location", str(service.root / _ENVIRONMENT).replace("%", "%%"))
    return alembic


def script_location(root: Path) -> Path:
    """Return the folder of env.py, which ``[tool.alembic]`` may name; the default is ``migrations``."""
    return _location(_with_table(Config(toml_file=root / FILE), root), root)


def template_folder(service: Service) -> Path | None:
    """Return the folder of a service's own ``script.py.mako``, beside its revisions or above; None without one.

    Raises:
        ConfigurationError: it, or else that of all services, is no file.

    """
    own = next((folder for folder in (service.versions, service.versions.parent) if is_there(folder / _TEMPLATE)), None)
    template = (own or script_location(service.root)) / _TEMPLATE
    try:
        if is_there(template):
            refuse_irregular(template)  # Mako would wait for a pipe
    except OSError as error:
        path = service.relative(template)
        raise ConfigurationError(f"{path} can't be read: {error.strerror}.", service=service, path=path) from None
    return own


def _location(alembic: Config, root: Path) -> Path:
    return root / str(_location_option(alembic) or _ENVIRONMENT)


def _with_table(alembic: Config, root: Path) -> Config:
    table = read_tools(root).get("alembic", {})
    if isinstance(table, dict):  # anything else Alembic refuses itself
        give_toml_table(alembic, table)
    return alembic


def _location_option(alembic: Config) -> object:
    try:
        return alembic.get_alembic_option("script_location")
    except (CommandError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"[tool.alembic] can't be read: {describe(error)}.",
            path=FILE,
            hint=f'Write a table with strings, such as script_location = "%(here)s/{_ENVIRONMENT}", and %% for a '
            "percent sign.",
        ) from error


def read(service: str | Service) -> History:
    """Read the revision files of a service.

    Args:
        service: the service, or its name.


    Raises:
        ConfigurationError: there is no env.py, or a subfolder has revisions that Alembic doesn't read.
        UsageError: the service doesn't exist; a file has a syntax error or can't be imported; an id is used twice or
            has a quote; a file follows a revision that doesn't exist; the history is a cycle.

    """
    service = resolve(service)
    alembic = config(service)
    environment = _location(alembic, service.root) / "env.py"
    if not environment.is_file():
        raise ConfigurationError(
            f"{service.relative(environment)} is missing, which Alembic runs.",
            path=service.relative(environment),
            hint="`service-migrations db.init` writes it, and overwrites nothing.",
        )
    refuse_unread(service)
    if not any(location.is_dir() for location in service.version_locations):
        empty = ScriptDirectory.from_config(alembic)
        return History(service, (), lambda: empty)
    directory, scripts = load(service, alembic)
    revisions = graph.resolved([Revision.of(script, service) for script in scripts])
    for revision in revisions:
        if problem := id_problem(revision.revision):
            raise UsageError(f"the id {revision.revision!r} {problem}.", service=service, path=revision.path)
    return History(service, revisions, lambda: directory)

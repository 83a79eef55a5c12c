"""The history of one service: its revision files, read without a database."""

import threading
import traceback
import warnings
from argparse import Namespace
from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from service_migrations.configuration import FILE
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.failures import describe
from service_migrations.history.revision import Revision
from service_migrations.history.x_arguments import current_x_arguments
from service_migrations.monorepo import Service, find

__all__ = ["History", "Revision", "config", "read", "script_location", "template_folder"]

_REVISION_CHARACTERS = 32
"""The width of ``version_num``: PostgreSQL refuses a longer one only at upgrade."""


_ENVIRONMENT = "migrations"
"""The folder of env.py, where pyproject.toml names no other."""

_TEMPLATE = "script.py.mako"
"""The name that Alembic gives to the template of a revision."""

_WARNINGS = threading.Lock()
"""The filters of warnings belong to the process: of two threads that change them, one would restore the other's."""


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of a service, newest first."""

    service: Service
    revisions: tuple[Revision, ...]
    directory: ScriptDirectory

    @property
    def heads(self) -> tuple[str, ...]:
        """The ids of the revisions that no other follows; there is none in an empty history."""
        return tuple(revision.revision for revision in self.revisions if revision.is_head)

    def path(self, revision: str) -> Path | None:
        """Return the file of a revision; None where no revision has that id."""
        path = next((known.path for known in self.revisions if known.revision == revision), None)
        return self.service.root / path if path else None

    def applied(self, current: tuple[str, ...]) -> tuple[Revision, ...]:
        """Return the database's revisions and those below them, oldest first.

        Raises:
            UsageError: the database's revision isn't in this history.

        """
        pending = set(self.pending(current))
        return tuple(revision for revision in reversed(self.revisions) if revision not in pending)

    def pending(self, current: tuple[str, ...]) -> tuple[Revision, ...]:
        """Return the revisions between the database's and the head, oldest first.

        Raises:
            UsageError: the database's revision isn't in this history.

        """
        by_id = {revision.revision: revision for revision in self.revisions}
        applied: set[str] = set()
        unvisited = list(current)
        while unvisited:
            revision_id = unvisited.pop()
            if revision_id not in by_id:
                raise UsageError(f"there is no revision {revision_id}.", service=self.service)
            if revision_id not in applied:
                applied.add(revision_id)
                unvisited += by_id[revision_id].down_revision
        return tuple(revision for revision in reversed(self.revisions) if revision.revision not in applied)

    def single_head(self) -> str | None:
        """Return the head, or None where the history is empty.

        Raises:
            UsageError: the history has two heads or more.

        """
        folder = self.service.relative(self.service.versions)
        if len(self.heads) > 1:
            raise UsageError(
                f"{folder} has {len(self.heads)} heads: {', '.join(self.heads)}.",
                service=self.service,
                path=folder,
                hint=f"`inv db.rebase --service {self.service}` changes the down_revision of yours, `inv "
                f"db.merge --service {self.service}` joins them.",
            )
        return self.heads[0] if self.heads else None


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
    service = find(service) if isinstance(service, str) else service
    alembic = Config(
        toml_file=service.root / FILE,
        attributes={"service": service, **(attributes or {})},
        **options,
    )
    # the library prints nothing: no results, and no "Generating …"
    alembic.stdout = alembic.output_buffer = output or StringIO()
    if "cmd_opts" not in options:
        alembic.messaging_opts = {"quiet": True}
        # hooks of env.py read both, as Alembic's documentation shows
        alembic.cmd_opts = Namespace(autogenerate=False, x=current_x_arguments())
    # ConfigParser interpolates: a % in the path of the checkout is doubled. The DSN is never an option.
    alembic.set_main_option("path_separator", "newline")
    alembic.set_main_option("version_locations", str(service.versions).replace("%", "%%"))
    # env.py is run for a comparison only: an empty revision needs neither a database nor models that import
    alembic.set_main_option("revision_environment", "false")
    if _option(alembic, "script_location") is None:
        alembic.set_main_option("script_location", str(service.root / _ENVIRONMENT).replace("%", "%%"))
    return alembic


def script_location(root: Path) -> Path:
    """Return the folder of env.py, which ``[tool.alembic]`` may name; the default is ``migrations``."""
    return _location(Config(toml_file=root / FILE), root)


def template_folder(service: Service) -> Path | None:
    """Return the folder of a service's own ``script.py.mako``, beside its revisions or above; None without one."""
    folders = (service.versions, service.versions.parent)
    return next((folder for folder in folders if (folder / _TEMPLATE).is_file()), None)


def _location(alembic: Config, root: Path) -> Path:
    return root / str(_option(alembic, "script_location") or _ENVIRONMENT)


def _option(alembic: Config, name: str) -> object:
    try:
        return alembic.get_alembic_option(name)
    except (CommandError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"[tool.alembic] can't be read: {describe(error)}.",
            path=FILE,
            hint=f'Write a table with strings, such as {name} = "%(here)s/{_ENVIRONMENT}", and %% for a percent sign.',
        ) from error


def read(service: str | Service) -> History:
    """Read the revision files of a service.

    Args:
        service: the service, or its name.


    Raises:
        ConfigurationError: there is no env.py.
        UsageError: the service doesn't exist; a file has a syntax error or can't be imported; an id is used twice, is
            too long or has a quote; a file follows a revision that doesn't exist; the history is a circle.

    """
    service = find(service) if isinstance(service, str) else service
    alembic = config(service)
    environment = _location(alembic, service.root) / "env.py"
    if not environment.is_file():
        raise ConfigurationError(
            f"{service.relative(environment)} is missing, which Alembic runs.",
            path=service.relative(environment),
            hint="`service-migrations db.init` writes it, and overwrites nothing.",
        )
    folder = service.relative(service.versions)
    if not service.versions.is_dir():
        return History(service, (), ScriptDirectory.from_config(alembic))
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Alembic only warns of an id that is used twice
            directory = ScriptDirectory.from_config(alembic)
            scripts = list(directory.walk_revisions())
    except SyntaxError as error:
        path = service.relative(Path(error.filename or folder))
        hint = "Correct the revision; nothing was run."
        raise UsageError(f"{error.msg}.", service=service, path=path, line=error.lineno, hint=hint) from error
    except (CommandError, RevisionError, KeyError, UserWarning) as error:
        text = f"{' '.join(str(error).split())}. Nothing was run."
        raise UsageError(text, service=service, path=folder) from error
    except (Exception, SystemExit, GeneratorExit, CancelledError) as error:  # nothing can be cancelled while it runs
        frames = reversed(list(traceback.walk_tb(error.__traceback__)))
        path, line = service.first_place(frames, service.versions) or (folder, None)
        text = f"it can't be imported: {type(error).__name__}: {error}. Nothing was run."
        raise UsageError(text, service=service, path=path, line=line) from error
    revisions = tuple(Revision.of(script, service) for script in scripts)
    for revision in revisions:
        if len(revision.revision) > _REVISION_CHARACTERS:
            raise UsageError(
                f"the id {revision.revision!r} has {len(revision.revision)} characters, and the "
                f"version table holds {_REVISION_CHARACTERS}.",
                service=service,
                path=revision.path,
                hint="Shorten it.",
            )
        if not revision.revision.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise UsageError(
                f"the id {revision.revision!r} holds more than letters, digits, _, - and dots.",
                service=service,
                path=revision.path,
            )
    return History(service, revisions, directory)

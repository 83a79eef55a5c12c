"""The history of one service: its revision files, read without a database."""

import threading
import traceback
import warnings
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
from service_migrations.history.revision import Revision
from service_migrations.monorepo import Service, find

__all__ = ["History", "Revision", "config", "read", "script_location"]

_REVISION_CHARACTERS = 32
"""The width of ``version_num``: PostgreSQL refuses a longer one only at upgrade."""


_ENVIRONMENT = "migrations"
"""The folder of env.py, where pyproject.toml names no other."""

_WARNINGS = threading.Lock()
"""The filters of warnings are of the process: of two threads that change them, one would put back the other's."""


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of a service, newest first."""

    service: Service
    revisions: tuple[Revision, ...]
    directory: ScriptDirectory

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that nothing follows: one, or none in an empty history."""
        return tuple(revision.revision for revision in self.revisions if revision.is_head)

    def path(self, revision: str) -> Path | None:
        """Return the file of a revision; None where there is none of that id."""
        found = next((one.path for one in self.revisions if one.revision == revision), None)
        return self.service.root / found if found else None

    def applied(self, current: tuple[str, ...]) -> tuple[Revision, ...]:
        """Return the database's revisions and those below them, oldest first.

        Raises:
            UsageError: the database's revision isn't in this history.

        """
        pending = set(self.pending(current))
        return tuple(found for found in reversed(self.revisions) if found not in pending)

    def pending(self, current: tuple[str, ...]) -> tuple[Revision, ...]:
        """Return the revisions between the database's and the head, oldest first.

        Raises:
            UsageError: the database's revision isn't in this history.

        """
        known = {revision.revision: revision for revision in self.revisions}
        applied: set[str] = set()
        todo = list(current)
        while todo:
            revision = todo.pop()
            if revision not in known:
                raise UsageError(f"there is no revision {revision}.", service=self.service)
            if revision not in applied:
                applied.add(revision)
                todo += known[revision].down_revision
        return tuple(found for found in reversed(self.revisions) if found.revision not in applied)

    def single_head(self) -> str | None:
        """Return the head, or None where the history is empty.

        Raises:
            UsageError: there are two heads or more.

        """
        where = self.service.relative(self.service.versions)
        if len(self.heads) > 1:
            raise UsageError(
                f"{where} has {len(self.heads)} heads: {', '.join(self.heads)}.",
                service=self.service,
                path=where,
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
    """Return Alembic's configuration for one service: pyproject.toml, and what follows from the name.

    Args:
        service: its name.
        attributes: what env.py reads beside the service, such as ``connection``.
        output: where Alembic's results and ``--sql`` go.
        options: further arguments of ``alembic.config.Config``.

    Raises:
        UsageError: there is no such service.

    """
    service = find(service) if isinstance(service, str) else service
    found = Config(
        toml_file=service.root / FILE,
        attributes={"service": service, **(attributes or {})},
        **options,
    )
    # the library prints nothing: neither results, nor "Generating …" beside them
    found.stdout = found.output_buffer = output or StringIO()
    if "cmd_opts" not in options:
        found.messaging_opts = {"quiet": True}
    # ConfigParser interpolates: a % in the path of the checkout is doubled. The DSN never comes here.
    found.set_main_option("path_separator", "newline")
    found.set_main_option("version_locations", str(service.versions).replace("%", "%%"))
    # env.py is run for a comparison only: an empty revision needs neither a database nor models that import
    found.set_main_option("revision_environment", "false")
    if found.get_alembic_option("script_location") is None:
        found.set_main_option("script_location", str(service.root / _ENVIRONMENT).replace("%", "%%"))
    return found


def script_location(root: Path) -> Path:
    """Return the folder of env.py: where ``[tool.alembic]`` says, else ``migrations`` at the top level."""
    return _location(Config(toml_file=root / FILE), root)


def _location(alembic: Config, root: Path) -> Path:
    return root / str(alembic.get_alembic_option("script_location") or _ENVIRONMENT)


def read(service: str | Service) -> History:
    """Read the revision files of a service, or of the one that has a name.

    Raises:
        ConfigurationError: there is no env.py.
        UsageError: there is no such service; a file has a syntax error or doesn't import; an id is there twice, is too
            long or has a quote; a file follows a revision that isn't there; the history is a circle.

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
    where = service.relative(service.versions)
    if not service.versions.is_dir():
        return History(service, (), ScriptDirectory.from_config(alembic))
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Alembic only warns of an id that is there twice
            directory = ScriptDirectory.from_config(alembic)
            scripts = list(directory.walk_revisions())
    except SyntaxError as error:
        path = service.relative(Path(error.filename or where))
        hint = "Correct the revision; nothing was run."
        raise UsageError(f"{error.msg}.", service=service, path=path, line=error.lineno, hint=hint) from error
    except (CommandError, RevisionError, KeyError, UserWarning) as error:
        text = f"{' '.join(str(error).split())}. Nothing was run."
        raise UsageError(text, service=service, path=where) from error
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(service.versions)]
        path, line = (service.relative(Path(own[-1].filename)), own[-1].lineno) if own else (where, None)
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

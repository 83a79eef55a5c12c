"""The file of a new revision: its id, its folder, its format, and the heads that it changes."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from alembic.config import Config
from alembic.script import Script
from alembic.util import rev_id

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.failures.driver_errors import describe, error_chain
from service_migrations.files import is_full
from service_migrations.history.files import head_file
from service_migrations.history.files.locations import refuse_unread
from service_migrations.history.graph import GraphError, resolved, topological
from service_migrations.history.history import History
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import config, template_folder
from service_migrations.monorepo import Service

__all__ = ["finished", "make_folder", "new_revision_id", "without_environment"]


def without_environment(service: Service) -> Config:
    """Return the configuration of a command that doesn't run env.py, and takes a service's own template."""
    alembic = config(service)
    if folder := template_folder(service):
        alembic.set_main_option("script_location", str(folder).replace("%", "%%"))
    return alembic


@contextmanager
def new_revision_id(history: History) -> Iterator[str]:
    """Yield an id for a new file, and remove that file if the block fails: half a revision stops every command.

    Its name may be any, by the ``file_template`` of the project.
    """
    service, revision_id = history.service, rev_id()
    before = _files(service)
    try:
        yield revision_id
    except BaseException as error:
        for path in map(Path, _files(service) - before):
            if revision_id in path.name or revision_id in _text(path):
                path.unlink()
        if full := next(filter(is_full, error_chain(error)), None):
            folder = service.shown_locations
            text = f"{folder} can't be written: {full.strerror}."
            raise ConfigurationError(text, service=service, path=folder) from error
        if type(error).__module__ == "mako.exceptions":  # loaded only where it is raised
            text = f"the template of revisions has an error: {describe(error)}."
            raise ConfigurationError(text, service=service, hint="Correct script.py.mako.") from error
        raise


def _files(service: Service) -> set[str]:
    """Return all Python files below the folders of revisions: as texts, since there may be thousands."""
    walked = (walk for location in service.version_locations for walk in os.walk(location))
    return {f"{folder}/{name}" for folder, _, names in walked for name in names if name.endswith(".py")}


def _text(path: Path) -> str:
    """Return the text of a file that was listed; it is empty where another process has removed it since."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def finished(history: History, script: Script) -> Revision:
    """Format a new revision, write the heads into their file, and return the revision.

    Raises:
        UsageError: with it, the history has two heads that have no branch label of their own; or another process has
            written one behind the same revision meanwhile.
        ConfigurationError: it is in a subfolder that Alembic doesn't read.

    """
    service = history.service
    _format(script, service)
    refuse_unread(service)
    revision = Revision.of(script, service)
    _refuse_beside_another(history, revision)
    try:
        revisions = topological(resolved((*history.revisions, revision)))
    except GraphError:  # its parent came after the history was read
        raise UsageError(
            "the files of revisions have changed while it was written.",
            service=service,
            path=service.shown_locations,
            hint="Run the command again.",
        ) from None
    head_file.write(replace(history, revisions=tuple(reversed(revisions))))
    return revision


def _refuse_beside_another(history: History, revision: Revision) -> None:
    """Refuse a revision beside one that has come since the history was read, as from git or where no lock is.

    Who writes looks afterwards, so that of two at least one sees the other's file.
    """
    service = history.service
    known = {str(service.root / each.path) for each in (*history.revisions, revision) if each.path}
    parents = (
        rf".*['\"](?:{'|'.join(map(re.escape, revision.down_revision))})['\"]"
        if revision.down_revision
        else r"\s*None\b"
    )
    pattern = re.compile(rf"^down_revision\b[^=]*={parents}", re.MULTILINE)
    for path in map(Path, sorted(_files(service) - known)):
        if pattern.search(_text(path)):
            raise UsageError(
                "another process has written it meanwhile, behind the same revision.",
                service=service,
                path=service.relative(path),
                hint="Upgrade, and run the command again.",
            )


def make_folder(service: Service, path: Path) -> None:
    """Make the folder of a revision, where it isn't there.

    Raises:
        ConfigurationError: it can't be written.

    """
    folder = service.relative(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} can't be written: {error.strerror}.", service=service, path=folder
        ) from error
    if not os.access(path, os.W_OK):
        raise ConfigurationError(f"{folder} can't be written: it is read-only here.", service=service, path=folder)


def _format(script: Script, service: Service) -> None:
    """Format a new file as the project does, where its formatter is installed.

    Only imports are sorted, and strings on one line joined: the project's rules may take the imports out of an empty
    revision.
    """
    if find_spec("ruff") is None:
        return
    # `python -m ruff` starts a second Python, which then only runs this program
    program = shutil.which("ruff", path=sysconfig.get_path("scripts"))
    ruff = [program] if program else [sys.executable, "-m", "ruff"]
    for options in (("check", "--select", "I,ISC001", "--fix", "--quiet", "--exit-zero"), ("format", "--quiet")):
        subprocess.run([*ruff, *options, script.path], cwd=service.root, capture_output=True, check=False)

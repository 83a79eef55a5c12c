"""The writing of revisions, from the difference of models and database or to merge two heads."""

import os
import shutil
import subprocess
import sys
import sysconfig
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec

from alembic import command
from alembic.config import Config
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from alembic.util import CommandError, rev_id
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.authoring.check import comparing, refuse_behind
from service_migrations.autogenerate.rename_requests import Request
from service_migrations.autogenerate.renames import Rename, possible_renames as renames_in
from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import open_session
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.history import head_file
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import config, read, template_folder
from service_migrations.history.x_arguments import current_x_arguments
from service_migrations.monorepo import Service
from service_migrations.ownership.survey import survey
from service_migrations.settings.model import Settings

__all__ = ["merge", "possible_renames", "revision"]


async def revision(
    service: str | Service,
    message: str,
    *,
    empty: bool = False,
    renames: Iterable[str] = (),
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Revision | None:
    """Write a new revision file, from the difference between models and database.

    Args:
        service: its name.
        message: what the revision does; it becomes the file's name.
        empty: write an empty revision, without connecting to a database.
        renames: the tables and columns that were renamed, each as ``old:new``, with the table and the schema before the
            names where these alone are ambiguous: ``things.note:things.remark``. Without it, a rename is a drop and an
            addition.
        engine: as in ``upgrade``.
        settings: as in ``upgrade``.

    Returns:
        The revision; None where models and database agree, and nothing was written.

    Raises:
        DifferenceError: the database is behind head; its pending changes would be written a second time.
        UsageError: the message is empty, the history has two heads, or there is no such rename.
        ConfigurationError: the folder of revisions can't be written.

    """
    history = read(service)
    history.single_head()
    if not message.strip():
        raise UsageError("-m is empty.", service=history.service, hint='Say what the revision does: -m "add invoices".')
    requests = tuple(map(Request.parse, dict.fromkeys(renames)))
    if requests and empty:
        raise UsageError("--rename doesn't go with --empty, which compares nothing.", service=history.service)
    written: list[Script] = []

    def write(alembic: Config) -> None:
        alembic.cmd_opts = Namespace(autogenerate=not empty, x=current_x_arguments())
        with redirect_stdout(sys.stderr):  # a hook of [tool.alembic] prints
            script = command.revision(
                alembic,
                message,
                rev_id=revision_id,
                autogenerate=not empty,
                version_path=str(history.service.versions),
            )
        if isinstance(script, Script):
            written.append(script)

    with _new_revision_id(history.service) as revision_id:
        if empty:
            _make_folder(history.service)
            async with process_lock():
                write(_without_environment(history.service))
        else:
            async with open_session(history, connector(history.service, engine, settings)) as session, process_lock():
                await refuse_behind(session)
                _make_folder(history.service)
                await session.run(write, ownership=await survey(session), writes_revision=True, renames=requests)
        if not written:
            return None
        _format(written[0], history.service)
        head_file.write(history.service, written[0].revision)
    return Revision.of(written[0], history.service)


async def possible_renames(
    service: str | Service, renames: Iterable[str] = (), *, settings: Settings | None = None
) -> list[Rename]:
    """Return the renames that would explain what a revision drops and adds.

    Args:
        service: as in ``revision``.
        renames: those that are known already.
        settings: as in ``upgrade``.

    Raises:
        DifferenceError, UsageError: as in ``revision``.

    """
    history = read(service)
    history.single_head()
    requests = tuple(map(Request.parse, dict.fromkeys(renames)))
    possible: list[Rename] = []

    def receive(operations: UpgradeOps, _: MigrationContext) -> None:
        possible.extend(renames_in(operations.ops))

    async with open_session(history, connector(history.service, None, settings)) as session, process_lock():
        await refuse_behind(session)
        await session.run(comparing(history, receive), ownership=await survey(session), renames=requests)
    return possible


async def merge(service: str | Service, message: str) -> Revision:
    """Write a revision that joins two heads.

    Raises:
        UsageError: the history has fewer than two heads.

    """
    history = read(service)
    if len(history.heads) < 2:  # noqa: PLR2004 - a merge is of two
        raise UsageError("there is one head only, so there is nothing to merge.", service=history.service)
    with _new_revision_id(history.service) as revision_id:
        async with process_lock():
            try:
                alembic = _without_environment(history.service)
                with redirect_stdout(sys.stderr):
                    script = command.merge(alembic, list(history.heads), message, rev_id=revision_id)
            except CommandError as error:
                raise UsageError(" ".join(str(error).split()), service=history.service) from error
        if not isinstance(script, Script):
            raise UsageError("Alembic wrote no merge revision.", service=history.service)
        _format(script, history.service)
        head_file.write(history.service, script.revision)
    return Revision.of(script, history.service)


def _without_environment(service: Service) -> Config:
    """Return the configuration of a command that doesn't run env.py, and takes a service's own template."""
    alembic = config(service)
    if folder := template_folder(service):
        alembic.set_main_option("script_location", str(folder).replace("%", "%%"))
    return alembic


@contextmanager
def _new_revision_id(service: Service) -> Iterator[str]:
    """Yield an id for a new file, and remove that file if the block fails: half a revision stops every command.

    Its name may be any, by the ``file_template`` of the project.
    """
    revision_id = rev_id()
    before = {*service.versions.rglob("*.py")}
    try:
        yield revision_id
    except BaseException:
        for path in {*service.versions.rglob("*.py")} - before:
            if revision_id in path.name or revision_id in path.read_text(encoding="utf-8", errors="replace"):
                path.unlink()
        raise


def _make_folder(service: Service) -> None:
    folder = service.relative(service.versions)
    try:
        service.versions.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} can't be written: {error.strerror}.", service=service, path=folder
        ) from error
    if not os.access(service.versions, os.W_OK):
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

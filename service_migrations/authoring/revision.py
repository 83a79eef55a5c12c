"""The writing of revisions, from the difference of models and database or to merge two heads."""

import os
import shutil
import subprocess
import sys
import sysconfig
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from alembic.util import CommandError, rev_id
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations._alembic import write_empty
from service_migrations.authoring.check import comparing, refuse_behind
from service_migrations.authoring.place import Place
from service_migrations.autogenerate.rename_requests import Request
from service_migrations.autogenerate.renames import Rename, possible_renames as renames_in
from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import open_session
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.failures import describe
from service_migrations.history import head_file
from service_migrations.history.baseline import read_baseline
from service_migrations.history.graph import clashing_heads, resolved, topological
from service_migrations.history.listing import listed
from service_migrations.history.locations import refuse_unread
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, config, read, template_folder
from service_migrations.history.x_arguments import current_x_arguments
from service_migrations.monorepo import Service, resolve
from service_migrations.ownership.survey import survey
from service_migrations.settings.model import Settings

__all__ = ["Place", "merge", "possible_renames", "revision"]


async def revision(
    service: str | Service,
    message: str,
    *,
    empty: bool = False,
    renames: Iterable[str] = (),
    place: Place | None = None,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Revision | None:
    """Write a new revision file, from the difference between models and database, without what the baseline accepts.

    A table that can't be compared is left as it is, and named by a warning.

    Args:
        service: its name.
        message: what the revision does; it becomes the file's name.
        empty: write an empty revision, without connecting to a database.
        renames: the tables and columns that were renamed, each as ``old:new``, with the table and the schema before the
            names where these alone are ambiguous: ``things.note:things.remark``. Without it, a rename is a drop and an
            addition.
        place: where it goes in a history with branches, or what begins one; None for the end of the only branch.
        engine: as in ``upgrade``.
        settings: as in ``upgrade``.

    Returns:
        The revision; None where models and database agree, and nothing was written.

    Raises:
        DifferenceError: the database is behind head; its pending changes would be written a second time.
        UsageError: the message is empty, there is no such rename; or the history has two heads, or branches of which
            *place* names none.
        ConfigurationError: the folder of revisions can't be written; or a table can't be compared, and no other
            differs.

    """
    place = place or Place()
    history = listed(resolve(service)) if empty else read(service)
    head = place.head_of(history)
    folder = place.folder_of(history, head)
    if not message.strip():
        raise UsageError("-m is empty.", service=history.service, hint='Say what the revision does: -m "add invoices".')
    requests = tuple(map(Request.parse, dict.fromkeys(renames)))
    if requests and empty:
        raise UsageError("--rename doesn't go with --empty, which compares nothing.", service=history.service)
    written: list[Script] = []

    def write_on_head(alembic: Config) -> None:
        alembic.cmd_opts = Namespace(autogenerate=False, x=current_x_arguments())
        with redirect_stdout(sys.stderr):  # a hook of [tool.alembic] prints
            script = write_empty(
                alembic, history.heads[0], message=message, rev_id=revision_id, version_path=str(folder)
            )
        if script:
            written.append(script)

    def write(alembic: Config) -> None:
        alembic.cmd_opts = Namespace(autogenerate=not empty, x=current_x_arguments())
        with redirect_stdout(sys.stderr):  # a hook of [tool.alembic] prints
            script = command.revision(
                alembic,
                message,
                rev_id=revision_id,
                autogenerate=not empty,
                head=head,
                splice=place.splice,
                branch_label=place.branch_label,
                depends_on=list(place.depends_on) or None,  # type: ignore[arg-type] # several too, as on the command line
                version_path=str(folder),
            )
        if isinstance(script, Script):
            written.append(script)

    with _new_revision_id(history) as revision_id:
        if empty:
            _make_folder(history.service, folder)
            async with process_lock():
                try:
                    follows_head = len(history.heads) == 1 and place == Place(version_path=place.version_path)
                    (write_on_head if follows_head else write)(_without_environment(history.service))
                except CommandError as error:
                    raise UsageError(" ".join(str(error).split()), service=history.service) from error
        else:
            own = connector(history.service, engine, settings)
            async with open_session(history, own, compares=True) as session, process_lock():
                await refuse_behind(session)
                _make_folder(history.service, folder)
                accepted = read_baseline(history.service).entries.get("check", frozenset())
                ownership = await survey(session)
                await session.run(write, ownership=ownership, writes_revision=True, renames=requests, accepted=accepted)
        if not written:
            return None
        return _finished(history, written[0])


async def possible_renames(
    service: str | Service,
    renames: Iterable[str] = (),
    *,
    place: Place | None = None,
    settings: Settings | None = None,
) -> list[Rename]:
    """Return the renames that would explain what a revision drops and adds.

    Args:
        service: as in ``revision``.
        renames: those that are known already.
        place: as in ``revision``.
        settings: as in ``upgrade``.

    Raises:
        DifferenceError, UsageError: as in ``revision``.

    """
    history = read(service)
    (place or Place()).head_of(history)
    requests = tuple(map(Request.parse, dict.fromkeys(renames)))
    possible: list[Rename] = []

    def receive(operations: UpgradeOps, _: MigrationContext) -> None:
        possible.extend(renames_in(operations.ops))

    own = connector(history.service, None, settings)
    async with open_session(history, own, compares=True) as session, process_lock():
        await refuse_behind(session)
        await session.run(comparing(history, receive), ownership=await survey(session), renames=requests)
    return possible


async def merge(service: str | Service, message: str) -> Revision:
    """Write a revision that joins two heads, other than those of branches that have a label of their own.

    Raises:
        UsageError: the history has no two such heads.

    """
    history = read(service)
    service, heads = history.service, clashing_heads(history.revisions)
    if history.has_branches:
        raise UsageError(
            "each head has a branch label of its own, so there is nothing to merge.",
            service=service,
            hint=f'To end these branches: inv db.alembic --service {service} -- merge -m "{message}" '
            f"{' '.join(history.branch_heads)}",
        )
    if not heads:
        raise UsageError("there is one head only, so there is nothing to merge.", service=service)
    folder = str(service.versions)
    with _new_revision_id(history) as revision_id:
        async with process_lock():
            try:
                with redirect_stdout(sys.stderr):
                    # command.merge() takes no folder, and Alembic may refuse the one that it chooses itself
                    script = command.revision(
                        _without_environment(service),
                        message,
                        head=list(heads),  # type: ignore[arg-type] # Alembic passes it on, and takes several there
                        version_path=folder,
                        rev_id=revision_id,
                    )
            except CommandError as error:
                raise UsageError(" ".join(str(error).split()), service=service) from error
        if not isinstance(script, Script):
            raise UsageError("Alembic wrote no merge revision.", service=service)
        return _finished(history, script)


def _without_environment(service: Service) -> Config:
    """Return the configuration of a command that doesn't run env.py, and takes a service's own template."""
    alembic = config(service)
    if folder := template_folder(service):
        alembic.set_main_option("script_location", str(folder).replace("%", "%%"))
    return alembic


@contextmanager
def _new_revision_id(history: History) -> Iterator[str]:
    """Yield an id for a new file, and remove that file if the block fails: half a revision stops every command.

    Its name may be any, by the ``file_template`` of the project.
    """
    locations = history.service.version_locations
    revision_id = rev_id()
    before = {path for location in locations for path in location.rglob("*.py")}
    try:
        yield revision_id
    except BaseException as error:
        for path in {path for location in locations for path in location.rglob("*.py")} - before:
            if revision_id in path.name or revision_id in path.read_text(encoding="utf-8", errors="replace"):
                path.unlink()
        if type(error).__module__ == "mako.exceptions":  # loaded only where it is raised
            text = f"the template of revisions has an error: {describe(error)}."
            raise ConfigurationError(text, service=history.service, hint="Correct script.py.mako.") from error
        raise


def _finished(history: History, script: Script) -> Revision:
    """Format a new revision, write the heads into their file, and return the revision.

    Raises:
        UsageError: with it, the history has two heads that have no branch label of their own.
        ConfigurationError: it is in a subfolder that Alembic doesn't read.

    """
    service = history.service
    _format(script, service)
    refuse_unread(service)
    revision = Revision.of(script, service)
    revisions = topological(resolved((*history.revisions, revision)))
    head_file.write(replace(history, revisions=tuple(reversed(revisions))))
    return revision


def _make_folder(service: Service, path: Path) -> None:
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

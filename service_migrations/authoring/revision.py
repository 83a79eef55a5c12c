"""The writing of revisions, from the difference of models and database or to merge two heads."""

import sys
from argparse import Namespace
from collections.abc import Iterable
from contextlib import redirect_stdout

from alembic import command
from alembic.config import Config
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from alembic.util import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.authoring.blank import blank, check_message
from service_migrations.authoring.check import comparing, refuse_behind
from service_migrations.authoring.place import Place
from service_migrations.authoring.writing import finished, make_folder, new_revision_id, without_environment
from service_migrations.autogenerate.changes.rename_requests import Request
from service_migrations.autogenerate.changes.renames import Rename, possible_renames as renames_in
from service_migrations.connection.connector import connector
from service_migrations.errors import UsageError
from service_migrations.history.baseline import read_baseline
from service_migrations.history.graph import clashing_branches, clashing_heads
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import read
from service_migrations.history.sole_writer import sole_writer
from service_migrations.history.x_arguments import current_x_arguments
from service_migrations.monorepo import Service, resolve
from service_migrations.ownership.survey import survey
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
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
        renames: the tables, columns and enum types that were renamed, each as ``old:new``, with the table and
            the schema before the names where these alone are ambiguous: ``things.note:things.remark``. Without
            it, a rename is a drop and an addition.
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
    requests = tuple(map(Request.parse, dict.fromkeys(renames)))
    service = resolve(service)
    if empty:
        if requests:
            raise UsageError("--rename doesn't go with --empty, which compares nothing.", service=service)
        return await blank(service, message, place=place)
    async with sole_writer(service):
        return await _compared(service, message, requests, place or Place(), engine, settings)


async def _compared(
    service: Service,
    message: str,
    requests: tuple[Request, ...],
    place: Place,
    engine: AsyncEngine | None,
    settings: Settings | None,
) -> Revision | None:
    """Write a revision from the difference between models and database; arguments and errors as of ``revision``."""
    history = read(service)
    head = place.head_of(history)
    folder = place.folder_of(history, head)
    check_message(history.service, message)
    written: list[Script] = []

    def write(alembic: Config) -> None:
        alembic.cmd_opts = Namespace(autogenerate=True, x=current_x_arguments())
        with redirect_stdout(sys.stderr):  # a hook of [tool.alembic] prints
            script = command.revision(
                alembic,
                message,
                rev_id=revision_id,
                autogenerate=True,
                head=head,
                splice=place.splice,
                branch_label=place.branch_label,
                depends_on=list(place.depends_on) or None,  # type: ignore[arg-type] # several too, as on the command line
                version_path=str(folder),
            )
        if isinstance(script, Script):
            written.append(script)

    with new_revision_id(history) as revision_id:
        own = connector(history.service, engine, settings)
        async with open_session(history, own, compares=True) as session, process_lock():
            await refuse_behind(session)
            make_folder(history.service, folder)
            accepted = read_baseline(history.service).entries.get("check", frozenset())
            ownership = await survey(session)
            await session.run(write, ownership=ownership, writes_revision=True, renames=requests, accepted=accepted)
        if not written:
            return None
        return finished(history, written[0])


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
        UsageError: the history has no two such heads, or the message is empty.

    """
    service = resolve(service)
    check_message(service, message)
    async with sole_writer(service):
        return await _merged(service, message)


async def _merged(service: Service, message: str) -> Revision:
    history = read(service)
    heads = clashing_heads(history.revisions)
    if history.has_branches:
        raise UsageError(
            "each head has a branch label of its own, so there is nothing to merge.",
            service=service,
            hint=f'To end these branches: inv db.alembic --service {service} -- merge -m "{message}" '
            f"{' '.join(history.branch_heads)}",
        )
    if not heads:
        raise UsageError("there is one head only, so there is nothing to merge.", service=service)
    if len(groups := clashing_branches(history.revisions)) > 1:
        # one revision would end the branches, which go on side by side on purpose
        pairs = " and ".join(f"{', '.join(group)}" for group in groups)
        commands = "; ".join(f"inv db.alembic --service {service} -- merge {' '.join(group)}" for group in groups)
        raise UsageError(
            f"the heads are of several branches, {pairs}, and one revision would join these. Nothing was written.",
            service=service,
            hint=f"Join each by itself: {commands}; inv db.heads --write --service {service}",
        )
    folder = str(service.versions)
    with new_revision_id(history) as revision_id:
        async with process_lock():
            try:
                with redirect_stdout(sys.stderr):
                    # command.merge() takes no folder, and Alembic may refuse the one that it chooses itself
                    script = command.revision(
                        without_environment(service),
                        message,
                        head=list(heads),  # type: ignore[arg-type] # Alembic passes it on, and takes several there
                        version_path=folder,
                        rev_id=revision_id,
                    )
            except CommandError as error:
                raise UsageError(" ".join(str(error).split()), service=service) from error
        if not isinstance(script, Script):
            raise UsageError("Alembic wrote no merge revision.", service=service)
        return finished(history, script)

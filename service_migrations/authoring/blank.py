"""A blank revision, which needs neither a database nor models; nor the files of the others, where they are one line."""

import sys
from argparse import Namespace
from contextlib import redirect_stdout

from alembic.util import CommandError

from service_migrations._alembic import write_empty
from service_migrations.authoring.place import Place
from service_migrations.authoring.writing import finished, make_folder, new_revision_id, without_environment
from service_migrations.errors import UsageError
from service_migrations.history.listing import listed
from service_migrations.history.revision import Revision
from service_migrations.history.sole_writer import sole_writer
from service_migrations.history.x_arguments import current_x_arguments
from service_migrations.monorepo import Service, resolve
from service_migrations.session.locks import process_lock

__all__ = ["blank", "check_message"]


def check_message(service: Service, message: str) -> None:
    """Check the message of a revision.

    Raises:
        UsageError: it is empty, or the terminal has sent bytes that aren't in the locale's encoding.

    """
    if not message.strip():
        raise UsageError("-m is empty.", service=service, hint='Say what the revision does: -m "add invoices".')
    try:
        message.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"-m has a character that isn't in the encoding of the locale: {message!a}.",
            service=service,
            hint="Set LC_ALL to a locale of the terminal's encoding, such as C.UTF-8, or write it in ASCII.",
        ) from None


async def blank(service: str | Service, message: str, *, place: Place | None = None) -> Revision | None:
    """Write a blank revision.

    Args:
        service: its name.
        message: what the revision does; it becomes the file's name.
        place: where it goes in a history with branches, or what begins one; None for the end of the only branch.

    Returns:
        The revision; None where Alembic finds none in the file that it has written.

    Raises:
        UsageError: the message is empty; or the history has two heads, or branches of which *place* names none.
        ConfigurationError: the folder of revisions can't be written, or the template has an error.

    """
    service = resolve(service)
    async with sole_writer(service):
        return await _written(service, message, place or Place())


async def _written(service: Service, message: str, place: Place) -> Revision | None:
    history = listed(service)
    head = place.head_of(history)
    folder = place.folder_of(history, head)
    check_message(service, message)
    follows_head = len(history.heads) == 1 and place == Place(version_path=place.version_path)
    with new_revision_id(history) as revision_id:
        make_folder(service, folder)
        async with process_lock():
            alembic = without_environment(service)
            alembic.cmd_opts = Namespace(autogenerate=False, x=current_x_arguments())
            try:
                with redirect_stdout(sys.stderr):  # a hook of [tool.alembic] prints
                    script = write_empty(
                        alembic,
                        history.heads[0] if follows_head else None,
                        message=message,
                        rev_id=revision_id,
                        head=head,
                        splice=place.splice,
                        branch_label=place.branch_label,
                        depends_on=list(place.depends_on) or None,
                        version_path=str(folder),
                    )
            except CommandError as error:
                raise UsageError(" ".join(str(error).split()), service=service) from error
        return finished(history, script) if script else None

"""Revision files that were edited after they had been applied: what this checkout says was never run.

A history is edited where one of its files changes its meaning, or follows another revision than it did when it was
run: so a revision that was put below one that the database has, and would never be run there, is noticed too.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service_migrations.connection.session import Session
from service_migrations.errors import DifferenceError, MigrationError, UnreachableError
from service_migrations.history.fingerprint import checksum, fingerprint
from service_migrations.history.revision import Revision
from service_migrations.ledger.entries import Entry, rows

__all__ = ["Edit", "Policy", "check_edits", "edits"]

log = logging.getLogger(__name__)

Policy = Literal["refuse", "warn", "accept"]
"""What becomes of an upgrade over edited files."""

_DONE = {"stamp": "stamped", "accept": "accepted"}


@dataclass(frozen=True, slots=True)
class Edit:
    """One file that isn't what was run: ``entry`` is the row of the ledger that says so."""

    path: str
    entry: Entry

    def __str__(self) -> str:
        verb = _DONE.get(self.entry.direction, "applied")
        return f"{self.path} was edited after {self.entry.revision} was {verb} ({_moment(self.entry.started)})"


async def edits(session: Session, current: tuple[str, ...]) -> tuple[Edit, ...]:
    """Return the files of the database's revisions that were edited since, oldest revision first. Read-only.

    Of a revision without a row in the ledger, or with one from before files were written down in it, nothing is
    said; of one that was taken away and applied again, its last row counts.

    Args:
        session: with no transaction open, then and afterwards.
        current: the revisions that the database is at.

    Raises:
        MigrationError: the ledger can't be read.

    """
    latest: dict[str, Entry] = {}
    for entry in await rows(session):
        latest.setdefault(entry.revision, entry)
    return tuple(
        Edit(revision.path, latest[revision.revision])
        for revision in session.history.applied(current)
        if revision.revision in latest and _differs(session, revision, latest[revision.revision])
    )


async def check_edits(session: Session, current: tuple[str, ...], policy: Policy) -> tuple[Edit, ...]:
    """Refuse an upgrade over edited files, warn of them, or return those that are to be accepted.

    A ledger that can't be read is told of, and stops nothing.

    Raises:
        DifferenceError: there are some, and the policy is to refuse.

    """
    try:
        found = await edits(session, current)
    except UnreachableError:
        raise
    except MigrationError as error:
        log.warning("%s Whether applied revisions were edited isn't known.", error)
        return ()
    if policy == "accept" or not found:
        return found
    service = session.history.service
    text = f"{session.connector.target}: {'; '.join(map(str, found))}."
    if policy == "warn":
        log.warning("%s: %s The upgrade goes on.", service, text)
        return ()
    raise DifferenceError(
        f"{text} Nothing was changed.",
        service=service,
        hint="Undo the edit; or downgrade below it and upgrade again; or take the files as they are: "
        f"inv db.upgrade --service {service} --allow edited",
    )


def _differs(session: Session, revision: Revision, entry: Entry) -> bool:
    source = (session.history.service.root / revision.path).read_bytes()
    # most files are as they were: those are not parsed
    return entry.checksum not in (None, checksum(source)) and entry.fingerprint not in (None, fingerprint(source))


def _moment(started: datetime | None) -> str:
    return "at an unknown time" if started is None else started.astimezone().isoformat(" ", "minutes")

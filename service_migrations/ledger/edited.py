"""Revision files that were edited after they had been applied.

A file is edited if its meaning has changed, or if it follows another revision than when it was run. So a revision that
was inserted below one that the database has, and would never be run on it, is found too.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service_migrations.errors import DifferenceError, MigrationError, UnreachableError
from service_migrations.history.files.fingerprint import checksum, is_fingerprint
from service_migrations.history.revision import Revision
from service_migrations.ledger.entries import Entry, read_entries
from service_migrations.session.session import Session

__all__ = ["Edit", "Policy", "check_edits", "edits", "known_edits"]

log = logging.getLogger(__name__)

Policy = Literal["refuse", "warn", "accept"]
"""What an upgrade does if files were edited."""

_VERBS = {"stamp": "stamped", "accept": "accepted"}


@dataclass(frozen=True, slots=True)
class Edit:
    """A file that isn't the one that was run.

    Attributes:
        path: the file.
        entry: the row of the ledger that differs from it.
        skipped: the revisions that the file follows now, and that never ran on this database.

    """

    path: str
    entry: Entry
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        verb = _VERBS.get(self.entry.direction, "applied")
        text = f"{self.path} was edited after {self.entry.revision} was {verb} ({_moment(self.entry.started)})"
        return f"{text}: it follows {', '.join(self.skipped)} now, which never ran here" if self.skipped else text

    @property
    def finding(self) -> DifferenceError:
        """It as a finding of a check."""
        hint = "Undo the edit, or downgrade below it and upgrade again."
        return DifferenceError(f"{self}.", path=self.path, hint=hint)


async def edits(session: Session, current: tuple[str, ...]) -> tuple[Edit, ...]:
    """Return the edited files of the database's revisions, oldest revision first. Read-only.

    A revision without a row in the ledger is left out, and so is one whose row is older than the columns for the
    file. Of a revision that was downgraded and applied again, the last row counts.

    Args:
        session: with no transaction open, then and afterwards.
        current: the revisions that the database is at.

    Raises:
        MigrationError: the ledger can't be read.

    """
    latest: dict[str, Entry] = {}
    began = False
    for entry in await read_entries(session):
        latest.setdefault(entry.revision, entry)
        began = began or (entry.direction == "upgrade" and entry.from_revision is None)
    return tuple(
        Edit(revision.path, latest[revision.revision], _skipped(session, revision, latest) if began else ())
        for revision in session.history.applied(current)
        if revision.revision in latest and _differs(session, revision, latest[revision.revision])
    )


async def known_edits(session: Session, current: tuple[str, ...]) -> tuple[Edit, ...]:
    """Return the edited files as ``edits`` does; a ledger that can't be read causes a warning only.

    Raises:
        UnreachableError: the connection was lost.

    """
    try:
        return await edits(session, current)
    except UnreachableError:
        raise
    except MigrationError as error:
        log.warning("%s It isn't known whether applied revisions were edited.", error)
        return ()


async def check_edits(session: Session, current: tuple[str, ...], policy: Policy) -> tuple[Edit, ...]:
    """Refuse edited files, warn of them, or return those that are to be accepted.

    A ledger that can't be read causes a warning, and doesn't stop the upgrade.

    Raises:
        DifferenceError: files were edited, and the policy is to refuse them.

    """
    edited = await known_edits(session, current)
    if policy == "accept" or not edited:
        return edited
    service = session.history.service
    message = f"{session.connector.target}: {'; '.join(map(str, edited))}."
    if policy == "warn":
        log.warning("%s: %s The upgrade goes on.", service, message)
        return ()
    raise DifferenceError(
        f"{message} Nothing was changed.",
        service=service,
        hint="Undo the edit; or downgrade below it and upgrade again; or take the files as they are: "
        f"inv db.upgrade --service {service} --allow edited",
    )


def _skipped(session: Session, revision: Revision, latest: dict[str, Entry]) -> tuple[str, ...]:
    """Return what a file follows now and never ran: neither before the file was run nor since then.

    The ledger has to begin at base. What the database was stamped past or ran before it had a ledger has no row in it.
    """
    entry, history = latest[revision.revision], session.history
    known = {other.revision for other in history.revisions}
    if entry.direction != "upgrade" or (entry.from_revision and entry.from_revision not in known):
        return ()
    before = {other.revision for other in history.applied((entry.from_revision,) if entry.from_revision else ())}
    return tuple(name for name in revision.down_revision if name not in latest and name not in before)


def _differs(session: Session, revision: Revision, entry: Entry) -> bool:
    source = (session.history.service.root / revision.path).read_bytes()
    # most files are unchanged, and those aren't parsed
    if entry.checksum in (None, checksum(source)) or entry.fingerprint is None:
        return False
    return not is_fingerprint(entry.fingerprint, source)


def _moment(started: datetime | None) -> str:
    return "at an unknown time" if started is None else started.astimezone().isoformat(" ", "minutes")

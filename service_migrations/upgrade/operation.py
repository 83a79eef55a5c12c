"""An operation on a database, as a value: an upgrade, a downgrade, an undo or a stamp."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alembic.config import Config

from service_migrations.history.revision import Revision
from service_migrations.ledger.edited import Policy
from service_migrations.plan.guard import Guard

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a database.

    Attributes:
        run: the function of Alembic's.
        goal: the revisions that the database is at when there is nothing to do; None where only Alembic knows.
        purges: whether it is a stamp that empties the version table first; then the current revisions needn't be in the
            history.
        guard: may refuse the pending revisions.
        edited: what to do if applied files were edited; None doesn't check them.
        start: the revisions that the database has to be at; None for any.
        upgrades_to: the target of an upgrade, whose downgrades the ledger keeps; None for any other operation.
        downgrades_to: the target of a downgrade; None for any other operation.
        reverts: the revisions that an undo reverts, in this order; none for any other operation.
        stamps: the target of a stamp; None for any other operation.
        seen: the revisions, below the goal, that the database had when it was scanned; None where it isn't sure.

    """

    run: Callable[[Config], Any]
    goal: tuple[str, ...] | None = None
    purges: bool = False
    guard: Guard | None = None
    edited: Policy | None = None
    start: tuple[str, ...] | None = None
    upgrades_to: str | None = None
    downgrades_to: str | None = None
    reverts: tuple[Revision, ...] = ()
    stamps: str | None = None
    seen: tuple[str, ...] | None = None

    @property
    def is_stamp(self) -> bool:
        """Whether nothing is run, and only the version table is written."""
        return self.stamps is not None

"""What records a revision in its own transaction, and the savepoint that protects the transaction from it."""

from typing import Protocol

from alembic.runtime.migration import MigrationInfo
from sqlalchemy import Connection

__all__ = ["SAVEPOINT", "Recorder", "protected"]

SAVEPOINT = "migration_log"
"""The savepoint that protects a revision's transaction from what records the revision."""


class Recorder(Protocol):
    """What records each revision in its own transaction, and never stops a run."""

    def statements(self, connection: Connection, step: MigrationInfo) -> list[str]:
        """Return the statements that record a revision; none where nothing is recorded."""

    def mark_failed(self, error: BaseException) -> None:
        """Note that the statements failed."""


def protected(statements: list[str]) -> list[str]:
    """Return statements with a savepoint around them."""
    return [f"SAVEPOINT {SAVEPOINT}", *statements, f"RELEASE SAVEPOINT {SAVEPOINT}"]

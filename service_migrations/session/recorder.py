"""What records a revision in its own transaction, and the savepoint that protects the transaction from it."""

import secrets
from typing import Protocol

from alembic.runtime.migration import MigrationInfo

__all__ = ["SAVEPOINT", "Recorder", "protected"]

SAVEPOINT = f"service_migrations_{secrets.token_hex(8)}"
"""The savepoint that protects a revision's transaction from what records the revision; no revision has one of its name,
which would be rolled back to instead."""


class Recorder(Protocol):
    """What records each revision in its own transaction, and never stops a run."""

    def statements(self, step: MigrationInfo) -> list[str]:
        """Return the statements that record a revision; none where nothing is recorded."""

    def mark_failed(self, error: BaseException) -> None:
        """Note that the statements failed."""


def protected(statements: list[str]) -> list[str]:
    """Return statements with a savepoint around them."""
    return [f"SAVEPOINT {SAVEPOINT}", *statements, f"RELEASE SAVEPOINT {SAVEPOINT}"]

"""What a run has committed: revision after revision, and what one of them has committed before its end."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

__all__ = ["Commits"]

_ENDS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!(?:\s+\w+)?\s+TO\b))\b",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that ends the transaction, which SQLAlchemy hears nothing of."""


class Commits:
    """What is committed of the revisions that Alembic runs over one connection.

    ``inside`` says that the revision that runs has entered an autocommit block, or ended its transaction by a
    statement: what it did before is not rolled back with it.
    """

    def __init__(self) -> None:
        self.inside = False
        self._applied = False
        self._told: Callable[[], None] | None = None

    @contextmanager
    def noticed(self, connection: Connection, told: Callable[[], None] | None = None) -> Iterator[None]:
        """Notice commits while the block runs, and tell of each that ends a revision.

        That one is known of when the next transaction begins, or at the end of the block. ``apply`` has been called
        before it, and a COMMIT may fail: that is when deferred constraints are checked.
        """
        self._told = told

        # over an engine of the caller's, others connect too, such as the one who watches
        def begin(changed: Connection) -> None:
            if changed is connection:
                self._flush()

        def options(changed: Connection, values: dict[str, Any]) -> None:
            if changed is connection and values.get("isolation_level") == "AUTOCOMMIT":
                self.inside = True

        def execute(changed: Connection, _: Any, statement: str, *__: Any) -> None:
            if changed is connection and _ENDS.match(statement):
                self.inside = True

        listeners: dict[str, Callable[..., None]] = {
            "begin": begin,
            "set_connection_execution_options": options,
            "before_cursor_execute": execute,
        }
        for name, listener in listeners.items():
            event.listen(connection.engine, name, listener)
        try:
            yield
            self._flush()
        finally:
            for name, listener in listeners.items():
                event.remove(connection.engine, name, listener)

    def apply(self, **_: object) -> None:
        """Note that a revision is at its end, but for the COMMIT (Alembic's ``on_version_apply``)."""
        self._applied = True

    def _flush(self) -> None:
        if self._applied:
            self._applied = self.inside = False
            if self._told:
                self._told()

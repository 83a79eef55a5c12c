"""What a revision does beside its own transaction: what it commits over another connection, or by a program.

Of SQLAlchemy's other connections, such as one of an application's session, the server is asked whether they have
written something. Of all else, such as a driver's own connection or psql, only that it was there is known.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from service_migrations.side_effects import guards_kept, side_effects_noted
from service_migrations.sql.lexer import statements

__all__ = ["OtherConnections"]

_HAS_WRITTEN = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL"
_READS = ("select", "show", "set", "values", "explain")
"""The first words of what commits nothing by itself."""


class OtherConnections:
    """Observes the other connections of SQLAlchemy's over which a revision commits something.

    That isn't rolled back with the revision's own transaction, and would be done again in a second try.

    Attributes:
        have_committed: whether one of them has committed what it had written.
        unknown: a sentence of what else the revision has done, whose changes aren't known; empty where it did nothing.

    """

    def __init__(self, current_place: Callable[[], str]) -> None:
        """Observe revisions; *current_place* returns the file and line that runs, empty where it is no revision's."""
        self.have_committed, self.unknown = False, ""
        self._current_place = current_place
        self._is_here: Callable[[], bool] = bool

    def forget(self) -> None:
        """Forget what a revision has done, since it is committed, or before the next one runs."""
        self.have_committed, self.unknown = False, ""

    @contextmanager
    def noted(self, function: Callable[..., Any]) -> Iterator[None]:
        """Note what the function of a revision does in another way while the block runs."""
        self.forget()

        def note(effect: str) -> None:
            place = self._current_place()
            where = f" ({place})" if place else ""
            self.unknown = self.unknown or f"It {effect}{where}: what that has committed is kept."

        with side_effects_noted(note, getattr(function, "__globals__", {})) as self._is_here:
            yield

    @contextmanager
    def observed(self, own: Connection) -> Iterator[None]:
        """Observe the connections of all engines but one, the revisions' own, while the block runs."""

        def commit(connection: Connection) -> None:
            if connection is not own and not self.have_committed and self._is_here():
                self.have_committed = _has_written(connection)

        def execute(connection: Connection, *arguments: Any) -> None:
            if connection is own or self.have_committed or not _is_autocommit(connection):
                return
            self.have_committed = _can_write(arguments[1]) and self._is_here()

        listeners: dict[str, Callable[..., None]] = {"commit": commit, "after_cursor_execute": execute}
        for name, listener in listeners.items():
            event.listen(Engine, name, listener)
        try:
            with guards_kept():
                yield
        finally:
            for name, listener in listeners.items():
                event.remove(Engine, name, listener)


def _has_written(connection: Connection) -> bool:
    """Whether the transaction that is about to be committed has written something, as the server says."""
    if connection.dialect.name != "postgresql":
        return True
    with suppress(SQLAlchemyError):
        return bool(connection.exec_driver_sql(_HAS_WRITTEN).scalar())
    return False  # it has failed, so it is rolled back


def _is_autocommit(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


def _can_write(sql: str) -> bool:
    return any(statement.tokens[0].value not in _READS for statement in statements(sql))

"""The closing of a connection by a revision itself: unlike a loss, it would happen again at each attempt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, ExceptionContext, event

from service_migrations.connection.drivers import Driver, driver_of

__all__ = ["Closings"]


class Closings:
    """Observes whether what runs over a connection closes it: by SQLAlchemy, its pool or the driver.

    Attributes:
        place: where it was closed so, by what ``current`` returned; None where it wasn't.

    """

    def __init__(self, current: Callable[[], str | None]) -> None:
        """Observe what runs at a place, which is None while it isn't a revision that runs."""
        self.place: str | None = None
        self._current = current
        self._connection: Connection | None = None
        self._driver: Driver | None = None
        self._pooled: object = None
        self._is_lost = False

    @contextmanager
    def observed(self, connection: Connection) -> Iterator[None]:
        """Observe a connection while the block runs."""
        self._connection, self._driver = connection, driver_of(connection)
        self._pooled = connection.connection.dbapi_connection
        listeners: list[tuple[object, str, Callable[..., None]]] = [
            (connection.engine, "handle_error", self._handle_error),
            (connection.engine, "engine_disposed", self._dispose),
            (connection.engine.pool, "invalidate", self._invalidate),
            (connection.engine.pool, "checkin", self._check_in),
        ]
        for target, name, listener in listeners:
            event.listen(target, name, listener)
        try:
            yield
        finally:
            for target, name, listener in listeners:
                event.remove(target, name, listener)

    def _handle_error(self, context: ExceptionContext) -> None:
        if context.connection is self._connection and context.is_disconnect and not self._is_lost:
            # asked before SQLAlchemy closes it for this reason
            if self.place is None and self._driver is not None and self._driver.is_closed_here():
                self.place = self._current() or ""
            self._is_lost = True

    def _dispose(self, _: object) -> None:
        # over psycopg, our own engine closes its connections then
        if self._driver is not None and self._driver.is_closed() and not self._is_lost and self.place is None:
            self.place = self._current()

    def _invalidate(self, pooled: object, _: object, error: BaseException | None) -> None:
        if error is None:
            self._check_in(pooled)

    def _check_in(self, pooled: object, _: object = None) -> None:
        if pooled is self._pooled and not self._is_lost and self.place is None:
            self.place = self._current()

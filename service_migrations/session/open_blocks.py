"""A transaction that a revision begins in an autocommit block, and doesn't end."""

import sys
from collections.abc import Callable

from sqlalchemy import Connection

from service_migrations.connection.drivers import driver_of, run_script
from service_migrations.monorepo import Service
from service_migrations.session.misuse import left_open

__all__ = ["OpenBlocks"]


class OpenBlocks:
    """The autocommit blocks of a revision.

    Attributes:
        place: the file and line of the one that was left with a transaction open; None where there was none.

    """

    def __init__(self, service: Service, current_place: Callable[[], str]) -> None:
        """Observe the revisions of a service; *current_place* returns the file and line that runs."""
        self.place: str | None = None
        self._service, self._current_place, self._file = service, current_place, ""

    def begin(self, file: str) -> None:
        """Begin with the revision of a file."""
        self.place, self._file = None, file

    def refuse(self, connection: Connection) -> None:
        """Refuse a transaction that is open at the end of a block.

        asyncpg loses it. Over psycopg, as over psycopg2, it is committed at the end of the block.

        Raises:
            MigrationError: there is one, and no other error ends the block.

        """
        is_autocommit = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if not is_autocommit or connection.closed or connection.invalidated:
            return
        driver = driver_of(connection)
        if driver.is_in_transaction() and not driver.is_closed():
            self.place = self._current_place()
            run_script(connection, "ROLLBACK")
            if sys.exc_info()[0] is None:
                self.refuse_at_end()

    def refuse_at_end(self) -> None:
        """Refuse a revision of which a block was left with a transaction open.

        Raises:
            MigrationError: there was one.

        """
        if self.place is not None:
            raise left_open(self._service, self.place or self._file)

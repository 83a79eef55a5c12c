"""The two search paths of a connection: that of the library's own queries, and that of the service's SQL.

A function or an operator that somebody created in a schema of the search path runs with our rights where its arguments
fit better than those of PostgreSQL's own. So nothing but pg_catalog is on the path of a connection, except while SQL of
the service runs: a revision, or the DDL of its models. A query that has to show names as the service writes them sets
the service's path while it runs, when its own names are resolved already.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from service_migrations.catalog.own_path import OWN_PATH, names_of
from service_migrations.sql.quoting import VERBATIM, quoted

__all__ = ["INFO", "OWN_PATH", "SHOWN", "SearchPath", "search_path", "service_path", "set_path"]

INFO = "service_migrations.search_path"
"""The key of the service's path in ``Connection.info``."""

SHOWN = "(SELECT pg_catalog.set_config('search_path', :search_path, true) AS path OFFSET 0) AS shown"
"""SQL: an item of FROM that sets the path by which the texts of a query are shown, until the transaction ends.

The query has to depend on ``shown.path IS NOT NULL``.
"""


@dataclass(frozen=True, slots=True)
class SearchPath:
    """The search path of a service's SQL.

    Attributes:
        text: the value of the parameter.
        schemas: its schemas that exist, in this order; without pg_catalog where that isn't named.

    """

    text: str
    schemas: tuple[str, ...]

    @classmethod
    def of(cls, value: str, schemas: list[str]) -> "SearchPath":
        """Return a path as the server has it; what is created in a temporary schema is gone with the connection."""
        return cls(value, tuple(schema for schema in schemas if not schema.startswith("pg_temp")))

    @property
    def default(self) -> str | None:
        """The schema of a new object whose name has none."""
        return self.schemas[0] if self.schemas else None

    @property
    def assignment(self) -> str:
        """The path in SQL, after ``SET``; a SELECT would come before a revision's SET TRANSACTION."""
        return "search_path TO " + (", ".join(map(quoted, names_of(self.text))) or "''")


def search_path(connection: Connection) -> SearchPath:
    """Return the search path of the service's SQL; over a connection of somebody else's, that which it has."""
    path = connection.info.get(INFO)
    if isinstance(path, SearchPath):
        return path
    query = "SELECT pg_catalog.current_setting('search_path'), CAST(pg_catalog.current_schemas(false) AS text[])"
    return SearchPath.of(*connection.execute(text(query)).one())


def set_path(connection: Connection, path: str) -> None:
    """Set the search path until the transaction, or the savepoint, is rolled back or ends."""
    # SET is sent in one message, set_config() with a parameter in two
    connection.exec_driver_sql(f"SET LOCAL {SearchPath(path, ()).assignment}", execution_options=VERBATIM)


@contextmanager
def service_path(connection: Connection, path: str) -> Iterator[None]:
    """Set the path of the service's SQL while the block runs, and that of the library's own queries after it.

    After an error the transaction is aborted, or a savepoint is rolled back, and its end restores the path.
    """
    set_path(connection, path)
    yield
    set_path(connection, OWN_PATH)

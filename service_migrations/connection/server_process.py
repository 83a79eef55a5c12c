"""The server process of a connection: what it is like before the first statement, read in one message."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import INFO, OWN_PATH, SearchPath
from service_migrations.connection.drivers import driver_of
from service_migrations.connection.rows import rows
from service_migrations.connection.single_message import Row, fetch

__all__ = ["BEFORE", "MARK", "PID", "ServerProcess", "known_process"]

PID = "service_migrations.pid"
"""The key of the number of the server process in ``Connection.info``."""

MARK = "service_migrations.revision"
"""The setting that shows how each transaction of a revision has ended."""
BEFORE = "before"
"""Its value until a revision's transaction is committed. RESET ALL, which a revision may run, leaves an empty one."""

_TRANSACTION_TIMEOUT_SINCE = 17
_BEFORE = """
    SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.current_schema() AS schema,
           pg_catalog.upper(pg_catalog.current_setting('transaction_isolation')) AS isolation_level,
           pg_catalog.current_setting('search_path') AS search_path,
           CAST(pg_catalog.current_schemas(false) AS pg_catalog.text[]) AS schemas OFFSET 0
"""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server process.

    Attributes:
        pid: its number; behind a pooler, not that which the driver knows.
        default_schema: the schema of a new object whose name has none; None where there is none.
        isolation_level: that of its transactions.
        path: the search path of the service's SQL.

    """

    pid: int
    default_schema: str | None
    isolation_level: str
    path: SearchPath

    @classmethod
    async def prepare(cls, driver_connection: Any) -> "ServerProcess":
        """Read a new server process, and prepare it for our own queries, over a connection of asyncpg's.

        Nothing is set where a pooler is between: in transaction mode it would reach the sessions of other clients.
        """
        query = _query(driver_connection.get_server_version().major, driver_connection.get_server_pid())
        return cls._of(*await fetch(driver_connection, query))

    @classmethod
    def _of(cls, row: Row) -> "ServerProcess":
        return cls(row.pid, row.schema, row.isolation_level, SearchPath.of(row.search_path, row.schemas))

    @classmethod
    async def prepare_through(cls, connection: AsyncConnection, pid: int | None = None) -> "ServerProcess":
        """Read a server process, and prepare it for our own queries, over any connection.

        Args:
            connection: whichever, in whose transaction it is done.
            pid: the number of the process; nothing is set in another one. None for whichever it is.

        """
        driver = await connection.run_sync(driver_of)
        return cls._of(*await rows(connection, _query(driver.major_version(), pid)))

    def note(self, connection: AsyncConnection) -> None:
        """Keep what others look up in ``Connection.info``."""
        connection.info[INFO], connection.info[PID] = self.path, self.pid


def known_process(connection: AsyncConnection) -> ServerProcess | None:
    """Return the process of a connection that our dialect for asyncpg has prepared; None of any other."""
    sync = connection.sync_connection
    process = getattr(sync.connection.driver_connection if sync else None, "server_process", None)
    return process if isinstance(process, ServerProcess) else None


def _query(major_version: int, pid: int | None) -> str:
    """Return the query that reads a process, and leaves the service's search path for ours where it is that one."""
    settings = {"search_path": OWN_PATH, MARK: BEFORE}
    if major_version >= _TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "0"  # a startup parameter of that name is fatal on older servers
    condition = "true" if pid is None else f"before.pid OPERATOR(pg_catalog.=) {pid}"
    calls = "".join(
        f", CASE WHEN {condition} THEN pg_catalog.set_config('{name}', '{value}', false) END AS set_{number}"
        for number, (name, value) in enumerate(settings.items())
    )
    return f"SELECT before.*{calls} FROM ({_BEFORE}) AS before"  # noqa: S608 - names of ours

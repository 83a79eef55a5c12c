"""SQLAlchemy's dialect for psycopg, with the types and the literal parameters of its dialect for psycopg2."""

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.dialects.postgresql.ranges import AbstractMultiRange, AbstractRange, AbstractSingleRange

from service_migrations.libpq.dbapi import DBAPI

__all__ = ["NAME", "Dialect"]

NAME = "postgresql+libpq"
"""The name of the dialect in a URL of SQLAlchemy's."""

registry.register(NAME.replace("+", "."), __name__, "Dialect")


class Dialect(PGDialectAsync_psycopg):
    """psycopg with the behaviour of psycopg2.

    SQLAlchemy's own dialect casts each parameter to the type that Python shows: ``$1::VARCHAR`` fails where psycopg2's
    ``'0'`` is an integer.
    """

    supports_statement_cache = True
    use_insertmanyvalues_wo_returning = True
    supports_native_json_serialization = False
    has_terminate = True

    colspecs = {  # noqa: RUF012 - SQLAlchemy declares it so
        **{key: value for key, value in PGDialect_psycopg2.colspecs.items() if not issubclass(key, AbstractRange)},
        **{key: PGDialectAsync_psycopg.colspecs[key] for key in (AbstractSingleRange, AbstractMultiRange)},
    }

    def __init__(self, **options: Any) -> None:
        """Make a dialect that writes and reads hstore as text: to look its type up takes messages at each connect."""
        super().__init__(use_native_hstore=False, **options)  # type: ignore[no-untyped-call]

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return what has PEP 249's names."""
        return DBAPI()

    @classmethod
    def get_async_dialect_cls(cls, url: Any) -> Any:  # noqa: ARG003 - SQLAlchemy's signature
        """Return this class: it has no other one."""
        return cls

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """Set the level of the next transactions."""
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        dbapi_connection.isolation_level = None if level == "AUTOCOMMIT" else level

    def set_readonly(self, connection: Any, value: bool) -> None:
        """Set whether the next transactions only read."""
        connection.read_only = value

    def set_deferrable(self, connection: Any, value: bool) -> None:
        """Set whether the next transactions are deferrable."""
        connection.deferrable = value

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:  # noqa: ARG002 - SQLAlchemy's signature
        """Whether an error means that the connection is lost."""
        # the server ends a session with an error, and only then closes the connection
        severity = getattr(getattr(e, "diag", None), "severity_nonlocalized", None)
        return severity in ("FATAL", "PANIC") or bool(connection is not None and connection.closed)

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close a connection, without waiting for the server."""
        dbapi_connection.close()

    def get_driver_connection(self, connection: Any) -> Any:
        """Return what a history of psycopg2 takes for its driver's connection.

        Of psycopg's own, a cursor's execute() would be a coroutine that nobody awaits: nothing would be run, unseen.
        """
        return connection

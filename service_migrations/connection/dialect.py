"""SQLAlchemy's dialect for asyncpg, which learns in one message what SQLAlchemy asks for in two to ten."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from asyncpg import Range
from sqlalchemy import Connection, Enum
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import AsyncPgEnum, PGDialect_asyncpg
from sqlalchemy.engine.reflection import cache

from service_migrations.connection.rows import fetch_rows
from service_migrations.connection.server_process import ServerProcess

__all__ = ["NAME", "Dialect"]

NAME = "postgresql+single_message"
"""The name of the dialect in a URL of SQLAlchemy's."""

_TABLES = """
    SELECT CAST(c.relname AS pg_catalog.text) AS name FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) ANY (CAST(CAST(:names AS pg_catalog.text[]) AS pg_catalog.name[]))
      AND CAST(c.relkind AS pg_catalog.text) OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'f', 'v', 'm'])
      AND CASE WHEN CAST(:schema AS pg_catalog.text) IS NULL
               THEN pg_catalog.pg_table_is_visible(c.oid) AND n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog'
               ELSE CAST(n.nspname AS pg_catalog.text) OPERATOR(pg_catalog.=) :schema END
"""
"""The tables and views of some names, as SQLAlchemy has them; without a schema, those that the search path shows."""

registry.register(NAME.replace("+", "."), __name__, "Dialect")


class _Enum(AsyncPgEnum):
    """An enum whose values are cast to its type only where that has a name.

    A revision may have ``sa.column("state", sa.Enum)`` in a table of its own, for an INSERT. psycopg2 sends the text;
    with SQLAlchemy's cast, the statement couldn't be written. Without one, the server takes the type of the column.
    """

    @property
    def render_bind_cast(self) -> bool:  # type: ignore[override]
        """Whether a cast is written."""
        return bool(self.name)


class Dialect(PGDialect_asyncpg):
    """asyncpg; the first connection is asked once about its server.

    Each connection of a migration has an engine of its own, so that each is a first one.
    """

    supports_statement_cache = True
    colspecs = {**PGDialect_asyncpg.colspecs, Enum: _Enum}  # noqa: RUF012 - SQLAlchemy declares it so

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        version = _driver_connection(connection).get_server_version()
        return version.major, version.micro

    def _get_default_schema_name(self, connection: Any) -> Any:
        dbapi_connection = connection.connection.dbapi_connection
        process: ServerProcess = dbapi_connection.run_async(ServerProcess.prepare)
        _driver_connection(connection).server_process = process
        return process.default_schema

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        """Return the level that the server has answered with the default schema, which SQLAlchemy asks for before."""
        return dbapi_conn.driver_connection.server_process.isolation_level

    @cache
    def has_table(self, connection: Connection, table_name: str, schema: str | None = None, **_: Any) -> bool:
        """Whether a table or a view exists, which Alembic asks twice before it creates its version table."""
        return dict(self.has_multi_table(connection, [table_name], schema))[schema, table_name]

    def has_multi_table(
        self, connection: Connection, table_names: Collection[str], schema: str | None = None, **_: Any
    ) -> Iterable[tuple[tuple[str | None, str], bool]]:
        """Return, by schema and name, whether each table or view exists, which SQLAlchemy asks for since 2.1."""
        existing = {row.name for row in fetch_rows(connection, _TABLES, names=list(table_names), schema=schema)}
        return {(schema, name): name in existing for name in table_names}.items()

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute a statement, with each float as the number that is written in Python."""
        super().do_execute(cursor, statement, _as_written(parameters), context)  # type: ignore[no-untyped-call]

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute a statement for several rows, with each float as the number that is written in Python."""
        super().do_executemany(cursor, statement, [_as_written(row) for row in parameters], context)  # type: ignore[no-untyped-call]

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit, in one message with what follows the COMMIT, where the connection has something."""
        connection = dbapi_connection.driver_connection  # None where it is closed
        follows = connection.follows if connection else ""
        script = connection.commit_and_begin() if follows else ""
        if not script:
            super().do_commit(dbapi_connection)  # type: ignore[no-untyped-call]
            return
        try:
            dbapi_connection.cursor().execute(script)
            connection.note_begun(follows)
        except self.loaded_dbapi.Error:
            if not connection.note_begun(""):
                with suppress(self.loaded_dbapi.Error):
                    dbapi_connection.rollback()  # the server has; SQLAlchemy's adapter doesn't know it
                raise

    def _set_backslash_escapes(self, connection: Any) -> None:
        # the server reports this setting by itself
        self._backslash_escapes = _driver_connection(connection).get_settings().standard_conforming_strings == "off"


def _as_written(parameters: Any) -> Any:
    """Return parameters with a Decimal for each float, also in lists and ranges: 0.1 stays 0.1 in a numeric.

    asyncpg sends the float's binary value, and a numeric has room for all of it: 0.1000000000000000055511151231257827.
    A float of PostgreSQL's takes the Decimal, and gets the same value back from it.
    """
    return type(parameters)(map(_number, parameters)) if isinstance(parameters, tuple | list) else parameters


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(float.__repr__(value))  # numpy's floats have another repr()
    if type(value) in (list, tuple):
        return type(value)(map(_number, value))
    if isinstance(value, Range) and not value.isempty:
        ends = {"lower_inc": value.lower_inc, "upper_inc": value.upper_inc}
        return Range(_number(value.lower), _number(value.upper), **ends)
    return value


def _driver_connection(connection: Any) -> Any:
    return connection.connection.dbapi_connection.driver_connection

"""Operations for revisions, in addition to Alembic's own: ``from service_migrations.safe import …``.

Each works online and in offline mode, unless its docstring excludes one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from alembic import op
from sqlalchemy import Column, Connection, Index, MetaData, Table, TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import UserDefinedType

from service_migrations.errors import MigrationError
from service_migrations.settings.duration import milliseconds, seconds
from service_migrations.sql.quoting import escaped, literal, quoted

__all__ = ["SQLType", "concurrent_index", "drop_concurrent_index", "timeouts"]

_WANTED = text(
    """
    SELECT substring(pg_catalog.pg_get_indexdef(i.indexrelid) FROM ' USING .*'), i.indisunique
    FROM pg_catalog.pg_index i
    WHERE i.indexrelid OPERATOR(pg_catalog.=)
          CAST(pg_catalog.to_regclass(CAST(:name AS pg_catalog.text)) AS pg_catalog.oid)
    """
)
"""All names are qualified, since a revision has the search path of its service."""
_NAMESAKE = text(
    """
    SELECT CAST(n.nspname AS pg_catalog.text) AS schema,
           i.indrelid OPERATOR(pg_catalog.=) t.oid AS is_own,
           CAST(CAST(i.indrelid AS pg_catalog.regclass) AS pg_catalog.text) AS other_table,
           i.indisvalid AND i.indisready AS is_valid,
           substring(pg_catalog.pg_get_indexdef(i.indexrelid) FROM ' USING .*') AS definition,
           i.indisunique AS is_unique
    FROM pg_catalog.pg_class t
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.relnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) t.relnamespace
          AND c.relname OPERATOR(pg_catalog.=) CAST(CAST(:name AS pg_catalog.text) AS pg_catalog.name)
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
    WHERE t.oid OPERATOR(pg_catalog.=)
          CAST(pg_catalog.to_regclass(CAST(:table AS pg_catalog.text)) AS pg_catalog.oid)
    """
)
"""The schema of a table, and the index of a name in it: an index is in the schema of its table, wherever that is in the
search path; and its name may be that of another table's index, which says nothing about this one."""


class SQLType(UserDefinedType[Any]):
    """The type of a column as SQL, such as ``SQLType("vector(3)")``.

    A revision names a type so for which SQLAlchemy has no class: one of the models may change after the revision.
    """

    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_: Any) -> str:
        """Return the SQL; SQLAlchemy calls this."""
        return self.sql


@contextmanager
def timeouts(*, lock: str | None = None, statement: str | None = None) -> Iterator[None]:
    """Set other timeouts for the statements of a revision, until the block or the transaction ends.

    Args:
        lock: how long one statement may wait for a lock, such as ``"500ms"``; ``"0"`` is refused, since every
            later query would queue behind an endless wait.
        statement: how long one statement may run, such as ``"10m"``; ``"0"`` is no limit.

    Raises:
        ConfigurationError: one of them isn't a valid duration.

    """
    values = {}
    if lock is not None:
        values["lock_timeout"] = milliseconds(seconds(lock, "timeouts(lock=…)", zero=False))
    if statement is not None:
        values["statement_timeout"] = milliseconds(seconds(statement, "timeouts(statement=…)"))
    with _parameters_set("SET LOCAL", values):
        yield


def concurrent_index(
    name: str,
    table: str,
    columns: Sequence[str | TextClause],
    *,
    schema: str | None = None,
    unique: bool = False,
    **options: Any,
) -> None:
    """Build an index while the table is read and written, and make sure that it is valid.

    It has to be the only operation of its revision: everything before it is committed when it starts. An INVALID index
    of that name, which an interrupted build leaves, is dropped first. A valid index with the same definition is kept:
    it is left by a run that ended between the build and the write of the version table. An index of another table is
    refused.

    Args:
        name: the index's name.
        table: its table.
        columns: names, or expressions as ``sqlalchemy.text``.
        schema: the table's schema.
        unique: whether it is unique.
        options: ``postgresql_using``, ``postgresql_where`` and so on, as of ``op.create_index``.

    Raises:
        MigrationError: a valid index of that name has another definition or is one of another table, or the new index
            is not valid.
        TypeError: it has no name.

    """
    _require_name(name)
    context = op.get_context()
    with context.autocommit_block(), _without_timeouts():
        if context.as_sql:
            _check_table_in_script(name, table, schema)
            op.drop_index(name, table, schema=schema, postgresql_concurrently=True, if_exists=True)
        else:
            connection: Connection = op.get_bind()
            existing = _namesake(connection, name, table, schema)
            _refuse_other_table(existing, name, table, "Give this one another name.")
            if existing and existing.is_valid:
                expected = _expected_state(connection, table, columns, schema, unique, options)
                if (existing.definition, existing.is_unique) == expected:
                    return
                raise MigrationError(
                    f"The index {name} exists, is valid, and has another definition.", hint="Rename one of them."
                )
            if existing and existing.is_own:
                op.drop_index(name, table, schema=existing.schema, postgresql_concurrently=True)
        op.create_index(
            name, table, list(columns), schema=schema, unique=unique, postgresql_concurrently=True, **options
        )
        if not context.as_sql and not getattr(_namesake(op.get_bind(), name, table, schema), "is_valid", False):
            raise MigrationError(f"The index {name} was built, and is INVALID.", hint="Run the upgrade again.")


def drop_concurrent_index(name: str, table: str, *, schema: str | None = None) -> None:
    """Drop an index while the table is read and written; an index that doesn't exist is no error.

    Raises:
        MigrationError: the index of that name is one of another table.
        TypeError: it has no name.

    """
    _require_name(name)
    context = op.get_context()
    with context.autocommit_block(), _without_timeouts():
        existing = None if context.as_sql else _namesake(op.get_bind(), name, table, schema)
        if context.as_sql:
            _check_table_in_script(name, table, schema)
        _refuse_other_table(existing, name, table, "Name its table.")
        # of a table that isn't there, the server looks for the index
        schema = existing.schema if existing else schema
        op.drop_index(name, table, schema=schema, postgresql_concurrently=True, if_exists=True)


def _require_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"an index needs a name here, by which it is found when the revision runs again, not {name!r}")


def _refuse_other_table(existing: Any, name: str, table: str, hint: str) -> None:
    if existing and existing.is_own is False:
        raise MigrationError(
            f"The index {name} exists, and is one of {existing.other_table}, not of {table}.", hint=hint
        )


def _check_table_in_script(name: str, table: str, schema: str | None) -> None:
    """Let a script end where an index of that name is one of another table, which the next statement would drop."""
    index = literal(quoted(schema, name))
    message = literal(f"The index {name} exists, and is one of another table, not of {table}.".replace("%", "%%"))
    block = f"""
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_index
        WHERE indexrelid OPERATOR(pg_catalog.=) CAST(pg_catalog.to_regclass({index}) AS pg_catalog.oid)
          AND indrelid OPERATOR(pg_catalog.<>)
              CAST(pg_catalog.to_regclass({literal(quoted(schema, table))}) AS pg_catalog.oid)
    ) THEN
        RAISE EXCEPTION {message};
    END IF;
END
"""
    op.execute(escaped(f"DO {literal(block) if '$$' in block else f'$${block}$$'}"))


@contextmanager
def _without_timeouts() -> Iterator[None]:
    """Disable the timeouts: a concurrent build blocks nobody while it waits, and a timeout would leave it INVALID."""
    with _parameters_set("SET", {"lock_timeout": 0, "statement_timeout": 0}):
        yield


@contextmanager
def _parameters_set(command: str, values: dict[str, int]) -> Iterator[None]:
    """Set parameters, in milliseconds, and restore their former values.

    RESET would restore the startup parameter of the connection, which isn't ours behind a pooler or over an engine of
    the caller's. Offline mode has no connection to read the former values from, so it uses RESET.
    """
    former_values = {}
    for name, value in values.items():
        if not op.get_context().as_sql:
            former_values[name] = op.get_bind().scalar(text(f"SHOW {name}"))
        op.execute(f"{command} {name} = {value}")

    def restore() -> None:
        for name in values:
            op.execute(f"{command} {name} = '{former_values[name]}'" if name in former_values else f"RESET {name}")

    try:
        yield
    except Exception as error:
        # a revision that catches it would go on without timeouts; what is local ends with its transaction
        if command == "SET" and not getattr(error, "connection_invalidated", False):
            with suppress(DBAPIError):
                restore()
        raise
    restore()


def _namesake(connection: Connection, name: str, table: str, schema: str | None) -> Any:
    """Return the row of ``_NAMESAKE``; None where there is no such table."""
    return connection.execute(_NAMESAKE, {"name": name, "table": quoted(schema, table)}).one_or_none()


def _expected_state(
    connection: Connection,
    table: str,
    columns: Sequence[str | TextClause],
    schema: str | None,
    unique: bool,
    options: dict[str, Any],
) -> tuple[Any, ...]:
    """Return the server's description of the wanted index, by building it on an empty copy of the table.

    The copy has the name of the table, which a condition may have before a column. All names of it are qualified: the
    service may have a table of any name.
    """
    name = quoted("pg_temp", table)
    copy = f"CREATE TEMP TABLE {name} (LIKE {quoted(schema, table)} INCLUDING GENERATED)"
    connection.execute(text(escaped(copy)))
    try:
        index = Index("wanted_index_key", *columns, unique=unique, **options)
        included = options.get("postgresql_include") or ()
        names = dict.fromkeys(column for column in (*columns, *included) if isinstance(column, str))
        Table(table, MetaData(), *(Column(column) for column in names), index, schema="pg_temp")
        index.create(connection)
        return tuple(connection.execute(_WANTED, {"name": "pg_temp.wanted_index_key"}).one())
    finally:
        connection.execute(text(escaped(f"DROP TABLE {name}")))

"""The statements of some models on a connection: they run, and why one fails is described.

Like ``probe.py``, which imports it, this file is run by the interpreter of the models, and imports SQLAlchemy alone.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

__all__ = ["FailedError", "Statements", "is_row"]

_CONSTRAINED = """
    SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum IN (
        SELECT unnest(conkey) FROM pg_constraint WHERE conname = :constraint AND conrelid = attrelid
        UNION
        SELECT unnest(indkey::int2[]) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relname = :constraint AND indrelid = attrelid
    ) ORDER BY attnum
"""
"""The columns of a constraint, or of a unique index."""
_TYPE = """
    SELECT format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass(:table) AND attname = :column AND NOT attisdropped
"""


class FailedError(Exception):
    """A statement failed."""

    def __init__(self, table: str, column: str, statement: str, error: Exception) -> None:
        """Take what was tried, and the driver's error."""
        super().__init__(str(error))
        server: Any = getattr(error, "orig", None) or error
        server = server.__cause__ or server
        shown = getattr(server, "diag", server)
        message = getattr(shown, "message_primary", None) or getattr(server, "message", None) or server
        self.table = table
        self.constraint = getattr(shown, "constraint_name", None)
        self.sqlstate = getattr(server, "sqlstate", None) or ""
        self.why = " ".join(str(message).split())
        self.described = {
            "table": table,
            "column": getattr(shown, "column_name", None) or column,
            "statement": " ".join(statement.split()),
            "sqlstate": self.sqlstate,
            "why": self.why,
        }


class Statements:
    """What runs statements on one connection after the other."""

    connection: sa.Connection

    def run(self, statement: Any, table: sa.Table, column: str = "") -> "list[sa.RowMapping]":
        """Run a statement, and return its rows.

        Raises:
            FailedError: it fails, or its rows can't be read by the types of the models.

        """
        try:
            result = self.connection.execute(statement)
            rows = list(result.mappings()) if result.returns_rows else []
        except Exception as error:
            raise FailedError(table.key, column, str(getattr(error, "statement", "") or statement), error) from error
        if isinstance(statement, sa.Insert) and not rows:  # as by a trigger, or a rule
            raise FailedError(table.key, column, str(statement), ValueError("no row was inserted"))
        return rows

    def run_on_row(self, statement: Any, table: sa.Table, row: dict[str, Any], column: str = "") -> None:
        """Change or delete a row.

        Raises:
            FailedError: it fails, or nothing was changed, as by a trigger: an ORM takes that for an error.

        """
        key = sa.literal(1).label("changed")
        if not self.run(statement.where(is_row(table, row)).returning(key), table, column):
            raise FailedError(table.key, column, str(statement), ValueError("no row was changed"))

    def attempt(self, step: Callable[[], object]) -> FailedError | None:
        """Return why a step fails; nothing of it stays."""
        savepoint = self.connection.begin_nested()
        try:
            step()
            self.check_deferred()
        except FailedError as failed:
            return failed
        finally:
            with suppress(sa.exc.SQLAlchemyError):
                savepoint.rollback()
        return None

    def check_deferred(self) -> None:
        """Check what would be checked when the running code commits."""
        statement = "SET CONSTRAINTS ALL IMMEDIATE"
        try:
            self.connection.execute(sa.text(statement))
        except sa.exc.DBAPIError as error:
            failed = FailedError("", "", statement, error)
            server: Any = getattr(error.orig, "diag", error.orig.__cause__ if error.orig else None)
            failed.table = failed.described["table"] = getattr(server, "table_name", None) or ""
            failed.described["statement"] = "COMMIT"
            raise failed from error

    def type_of(self, column: "sa.Column[Any]") -> Any:
        """Return the type that a column has in the database; None where there is no such column."""
        dialect = self.connection.dialect
        name = dialect.identifier_preparer.format_table(column.table)
        if dialect.paramstyle in ("format", "pyformat"):
            name = name.replace("%%", "%")  # the name is a parameter here
        return self.connection.scalar(sa.text(_TYPE), {"table": name, "column": column.name})

    def columns_of(self, failed: FailedError) -> str:
        """Return the columns of the constraint or the index that a row violates."""
        names = {"constraint": failed.constraint, "table": failed.table}
        return ", ".join(self.connection.scalars(sa.text(_CONSTRAINED), names)) if failed.constraint else ""


def is_row(table: sa.Table, row: dict[str, Any]) -> "sa.ColumnElement[bool]":
    """Return the condition of one row: by its key, or by all columns where it has none."""
    keys = [column for column in table.primary_key.columns if column.name in row] or list(table.columns)
    return sa.and_(*(column == row[column.name] for column in keys))

"""Errors of SQLAlchemy while it writes the models as SQL, with the part of the models that has one.

SQLAlchemy names neither table nor file, for example where the name of an index is too long, or where an argument of a
function has no constant.
"""

from collections.abc import Callable, Iterator

from sqlalchemy import (
    CheckConstraint,
    Constraint,
    Dialect,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from service_migrations.errors import ConfigurationError
from service_migrations.failures.driver_errors import describe
from service_migrations.models.metadata import place_of_table
from service_migrations.models.stand_ins import is_stand_in

__all__ = ["refuse_uncompilable", "uncompilable"]

_KINDS: dict[type[Constraint], str] = {
    PrimaryKeyConstraint: "primary key",
    UniqueConstraint: "unique constraint",
    ForeignKeyConstraint: "foreign key",
    ExcludeConstraint: "exclusion constraint",
    CheckConstraint: "CHECK",
}


class _NamelessIndexError(Exception):
    """An index without a name, such as that of ``index=True`` beside a naming convention without ``ix``."""


def refuse_uncompilable(metadata: MetaData, dialect: Dialect, service: object) -> None:
    """Refuse models of a service of which a part can't be written as SQL.

    Raises:
        ConfigurationError: it has the file, the table and the part.

    """
    for table in metadata.tables.values():
        if error := uncompilable(table, dialect, service):
            raise error


def uncompilable(table: Table, dialect: Dialect, service: object) -> ConfigurationError | None:
    """Return the error of a table of which a part can't be written as SQL; None where each can."""
    for part, compiled in () if is_stand_in(table) else _parts(table, dialect):
        try:
            compiled()
        except Exception as error:  # noqa: BLE001 - a type's own code may raise anything
            reason, hint = describe(error), "Correct the model."
            if isinstance(error, _NamelessIndexError):
                reason = "it has no name"
                hint = 'Add "ix" to the naming_convention of the MetaData, or name the index.'
            message = f"table {table.fullname}{part and ', '}{part}: {reason}."
            return ConfigurationError(message, service=service, path=place_of_table(table), hint=hint)
    return None


def _parts(table: Table, dialect: Dialect) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield a table's parts, each with its name for a message and a function that compiles it."""
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    for column in table.columns:
        yield f"column {column.name}", lambda column=column: compiler.process(CreateColumn(column))  # type: ignore[misc]
    for constraint in sorted(table.constraints, key=lambda constraint: str(constraint.name)):
        kind = next((name for kind, name in _KINDS.items() if isinstance(constraint, kind)), "constraint")
        name = constraint.name if isinstance(constraint.name, str) else _columns(constraint)
        yield f"{kind} {name}", lambda constraint=constraint: compiler.process(constraint)  # type: ignore[misc]
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        name = index.name if isinstance(index.name, str) else _columns(index)
        yield f"index {name}", lambda index=index: _compile_index(index, dialect)  # type: ignore[misc]
    yield "", lambda: CreateTable(table).compile(dialect=dialect)


def _compile_index(index: Index, dialect: Dialect) -> None:
    """Compile an index; SQLAlchemy has an AssertionError without a message for one without a name.

    Raises:
        _NamelessIndexError: it has neither a name nor a naming convention for one.
        ValueError: it has no columns, which SQLAlchemy writes and PostgreSQL refuses.

    """
    if index.name is None:
        raise _NamelessIndexError
    if not index.expressions:
        raise ValueError("it has no columns")
    CreateIndex(index).compile(dialect=dialect)


def _columns(part: Constraint | Index) -> str:
    return f"({', '.join(column.name for column in getattr(part, 'columns', ()))})"

"""The names of a metadata that PostgreSQL would change: it cuts a long one, and folds one that isn't quoted."""

from collections.abc import Iterator

from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql import DOMAIN, asyncpg
from sqlalchemy.exc import IdentifierError
from sqlalchemy.schema import Constraint, Index

from service_migrations._sqlalchemy import generated_name
from service_migrations.models.tables.types import enum_of, sequences_of
from service_migrations.sql.identifiers import LONGEST

__all__ = ["folded_names", "long_names"]

_PREPARER = asyncpg.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def long_names(metadata: MetaData) -> Iterator[tuple[Table, str]]:
    """Yield each table with a name that PostgreSQL would cut, and the first of its names, as messages name it.

    A cut name would be another one in the database than in the models: each comparison would find a difference. The
    names that SQLAlchemy refuses are left to it; it counts characters, and only those of constraints and indexes.
    """
    for table in metadata.tables.values():
        for kind, name in _names(table):
            if len(name.encode()) > LONGEST:
                yield table, f"{kind} {name}"
                break


def folded_names(metadata: MetaData) -> Iterator[tuple[Table, str]]:
    """Yield each table with a name in capitals and ``quote=False``, which PostgreSQL has in small letters."""
    for table in metadata.tables.values():
        for kind, name in _names(table):
            if getattr(name, "quote", None) is False and name != name.lower():
                yield table, f"{kind} {name}"
                break


def _names(table: Table) -> Iterator[tuple[str, str]]:
    yield "table", table.name
    if table.schema:
        yield "schema", table.schema
    for column in table.columns:
        yield "column", column.name
        enum = enum_of(column.type)
        if enum is not None:
            yield "enum", str(enum.name)
        if isinstance(column.type, DOMAIN):
            yield "domain", str(column.type.name)
        for sequence in sequences_of(column):
            yield "sequence", sequence.name
    parts: tuple[Constraint | Index, ...] = (*table.constraints, *table.indexes)
    for part in parts:
        if name := _generated_name(part):
            yield "constraint" if isinstance(part, Constraint) else "index", name


def _generated_name(part: Constraint | Index) -> str:
    """Return the name of a constraint or an index as it is after the naming convention; none where it has no name."""
    if part.name is None:
        return ""
    try:
        return generated_name(_PREPARER, part) or ""
    except IdentifierError:
        return ""

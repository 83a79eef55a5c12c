"""Sequences that models name for their columns: ``Column(Integer, Sequence("orders_seq"))``.

SQLAlchemy asks such a sequence for each new number, and gives the column no default. ``create_all`` creates it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Connection, Sequence, Table, text
from sqlalchemy.schema import CreateSequence, DropSequence

from service_migrations.autogenerate.change import Change, Note, Phase
from service_migrations.catalog.tables import TableState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["created", "numbered_alike", "sequence_of"]

_EXISTING = text(
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'"
)


def sequence_of(column: Column[Any]) -> Sequence | None:
    """Return the sequence that a model names for a column; None where another database than PostgreSQL needs it."""
    default = column.default
    return default if isinstance(default, Sequence) and not default.optional else None


def created(
    connection: Connection, tables: Mapping[Any, Table], live: Collection[Any], default_schema: str | None
) -> Iterator[Change]:
    """Yield the changes that create the sequences which the database lacks; one that no model names is kept.

    Args:
        connection: to the database.
        tables: those of the models, by their keys.
        live: the keys of the tables that the database has, perhaps with rows.
        default_schema: that of a sequence without one.

    """
    named = {
        (sequence.schema or default_schema or "public", sequence.name): (sequence, column, key in live)
        for key, table in tables.items()
        for column in table.columns
        if (sequence := sequence_of(column)) is not None
    }
    existing = {(schema, name) for schema, name in connection.execute(_EXISTING)} if named else set()
    for place, (sequence, column, may_have_rows) in sorted(named.items(), key=lambda item: item[0]):
        if place not in existing:
            create, drop = (
                str(construct.compile(dialect=connection.dialect))
                for construct in (CreateSequence(sequence), DropSequence(sequence))
            )
            name = quoted(sequence.schema, sequence.name)
            table_name = quoted(column.table.schema, column.table.name)
            behind = f"SELECT setval({literal(name)}, max({quoted(column.name)})) FROM {table_name}"  # noqa: S608 - quoted
            note = Note(f"WARNING: the sequence begins at its start. To go on behind the rows, run: {behind}")
            notes = (note,) if may_have_rows else ()
            yield Change(Phase.CREATE_TYPES, (*notes, create), (drop,), f"create_sequence {name}")


def numbered_alike(live: TableState, target: TableState, table: Table) -> TableState:
    """Return the models' table with the default of a column that is numbered by the sequence which its model names.

    Alembic creates such a key as a SERIAL. Where the sequence of that has the name, both take the same numbers.
    """
    columns = dict(target.columns)
    by_name: Mapping[str, Column[Any]] = {column.name: column for column in table.columns}
    for name, column in live.columns.items():
        sequence = sequence_of(by_name[name]) if name in by_name and name in columns else None
        if sequence is None or not column.serial or columns[name].default is not None:
            continue
        schema = live.schema if sequence.schema in (live.schema, None) else sequence.schema
        if column.sequence and column.sequence["name"] == quoted(schema, sequence.name):
            columns[name] = replace(
                columns[name],
                default=column.default,
                sequence=column.sequence,
                uses=column.uses,
                types=column.types,
            )
    return replace(target, columns=columns)

"""Sequences that models name for their columns: ``Column(Integer, Sequence("orders_seq"))``.

SQLAlchemy asks such a sequence for each new number, and gives the column no default, unless the model does so with
``server_default=orders_seq.next_value()``. ``create_all`` creates it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Connection, Sequence, Table, text
from sqlalchemy.schema import CreateSequence, DefaultClause, DropSequence
from sqlalchemy.sql.functions import next_value

from service_migrations._sqlalchemy import verbatim_dialect
from service_migrations.autogenerate.changes.change import Change, Note, Phase
from service_migrations.catalog.tables import TableState
from service_migrations.sql.quoting import literal, quoted

__all__ = [
    "created",
    "creations",
    "default_sequence",
    "needed_schemas",
    "new_sequences",
    "numbered_alike",
    "sequence_of",
]

_EXISTING = text(
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'"
)


def sequence_of(column: Column[Any]) -> Sequence | None:
    """Return the sequence that a model names for a column; None where another database than PostgreSQL needs it."""
    default = column.default
    return default if isinstance(default, Sequence) and not default.optional else None


def default_sequence(column: Column[Any]) -> Sequence | None:
    """Return the sequence whose next number a model makes the default of a column in the database."""
    default = column.server_default
    return default.arg.sequence if isinstance(default, DefaultClause) and isinstance(default.arg, next_value) else None


def creations(table: Table) -> list[str]:
    """Return the statements that create what the defaults of a table take numbers from, where it isn't there.

    A sequence without a schema is a temporary one, which needs no privilege in a schema.
    """
    statements = []
    for _, column, sequence in _named([table]):
        if column.server_default is None:
            continue  # SQLAlchemy asks it for each number, and the table can do without
        name, kind = quoted(sequence.schema, sequence.name), "SEQUENCE" if sequence.schema else "TEMPORARY SEQUENCE"
        creation = f"IF pg_catalog.to_regclass({literal(name)}) IS NULL THEN CREATE {kind} {name}; END IF;"
        if schema := sequence.schema and quoted(sequence.schema):
            missing = f"pg_catalog.to_regnamespace({literal(schema)}) IS NULL"
            creation = f"IF {missing} THEN CREATE SCHEMA {schema}; END IF; {creation}"
        statements.append(f"DO {literal(f'BEGIN {creation} END')}")
    return statements


def needed_schemas(tables: Iterable[Table]) -> set[str]:
    """Return the schemas of the sequences that models name."""
    return {sequence.schema for _, _, sequence in _named(tables) if sequence.schema}


def _named(tables: Iterable[Table]) -> Iterator[tuple[Table, Column[Any], Sequence]]:
    for table in tables:
        for column in table.columns:
            for sequence in filter(None, (default_sequence(column), sequence_of(column))):
                yield table, column, sequence


def new_sequences(connection: Connection, tables: Iterable[Table], default_schema: str | None) -> list[Sequence]:
    """Return the sequences that models name and the database lacks; a table is no sequence of its name."""
    return [sequence for sequence, _ in _missing(connection, tables, default_schema)]


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
    keys = {table: key for key, table in tables.items()}
    for sequence, column in _missing(connection, tables.values(), default_schema):
        create, drop = (
            str(construct.compile(dialect=verbatim_dialect(connection.dialect)))
            for construct in (CreateSequence(sequence), DropSequence(sequence))
        )
        name = quoted(sequence.schema, sequence.name)
        table_name = quoted(column.table.schema, column.table.name)
        behind = f"SELECT setval({literal(name)}, max({quoted(column.name)})) FROM {table_name}"  # noqa: S608 - quoted
        note = Note(f"WARNING: the sequence begins at its start. To go on behind the rows, run: {behind}")
        notes = (note,) if keys[column.table] in live else ()
        yield Change(Phase.CREATE_TYPES, (*notes, create), (), f"create_sequence {name}")
        # on the way back, behind the defaults that took its place, and before a table that had its name
        yield Change(Phase.DROP_CONSTRAINTS, (), (drop,))


def _missing(
    connection: Connection, tables: Iterable[Table], default_schema: str | None
) -> list[tuple[Sequence, Column[Any]]]:
    """Return the sequences that the database lacks, each with the last column that has it, by their names."""
    named = {
        (sequence.schema or default_schema or "public", sequence.name): (sequence, column)
        for _, column, sequence in _named(tables)
    }
    existing = {(schema, name) for schema, name in connection.execute(_EXISTING)} if named else set()
    return [each for place, each in sorted(named.items(), key=lambda item: item[0]) if place not in existing]


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

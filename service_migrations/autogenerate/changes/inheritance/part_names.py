"""The names of what partitions have with their table, and of the copies of foreign keys to partitioned tables.

PostgreSQL chooses these names again each time that it creates such a part.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step, steps
from service_migrations.autogenerate.changes.former import Former
from service_migrations.autogenerate.changes.inheritance.partition_parts import becoming_parts, statements_unless_kept
from service_migrations.catalog import restoration
from service_migrations.catalog.objects import Object
from service_migrations.catalog.tables import Constraint, Index, TableState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["names_kept"]

_NAMES = text(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))

_RENAME = """
DECLARE part record; statement text; statements text[] = '{{}}';
BEGIN
FOR part IN
    SELECT v.number, v.name, p.alter, p.again
    FROM (VALUES {rows}) AS v (number, origin, root, referenced, partition, name)
    CROSS JOIN LATERAL (
        WITH RECURSIVE indexes (oid) AS (
            SELECT pg_catalog.to_regclass(v.root)::pg_catalog.oid WHERE v.referenced IS NULL
            UNION ALL SELECT h.inhrelid FROM indexes JOIN pg_catalog.pg_inherits h ON h.inhparent = indexes.oid
        ), keys (oid) AS (
            SELECT c.oid FROM pg_catalog.pg_constraint c WHERE v.referenced IS NOT NULL
            AND c.conrelid = pg_catalog.to_regclass(v.origin) AND c.conname = v.root AND c.contype = 'f'
            UNION ALL SELECT c.oid FROM keys JOIN pg_catalog.pg_constraint c ON c.conparentid = keys.oid
        )
        SELECT pg_catalog.format('ALTER INDEX %s RENAME TO ', i.indexrelid::pg_catalog.regclass),
            pg_catalog.format('ALTER INDEX %I.%I RENAME TO %I', n.nspname, 'migrations_name_' || v.number, v.name)
        FROM indexes JOIN pg_catalog.pg_index i ON i.indexrelid = indexes.oid
        JOIN pg_catalog.pg_class r ON r.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
        WHERE i.indrelid = pg_catalog.to_regclass(v.partition)
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO ', v.partition, c.conname),
            pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT migrations_name_%s TO %I',
            v.partition, v.number, v.name)
        FROM keys JOIN pg_catalog.pg_constraint c ON c.oid = keys.oid
        WHERE c.conrelid = pg_catalog.to_regclass(v.partition) AND c.confrelid = pg_catalog.to_regclass(v.referenced)
    ) AS p (alter, again)
LOOP
    EXECUTE part.alter || 'migrations_name_' || part.number;
    statements = statements || part.again;
END LOOP;
FOREACH statement IN ARRAY statements LOOP EXECUTE statement; END LOOP;
END
"""
"""It gives each part another name before one gets its own: they may have those of one another."""


def names_kept(
    former: Former,
    connection: Connection,
    table: TableState,
    parts: Collection[str],
    *,
    again: Collection[Constraint | Index] = (),
    added: Collection[Constraint | Index] = (),
    whole: bool = False,
) -> Change:
    """Return the change of the downgrade that gives what PostgreSQL creates with other parts the names that it had.

    Only partitions are in it of whose names PostgreSQL would choose another one. A comment and the settings of such a
    part come back with its name. Where an equal part of a partition's own becomes that of the table instead, the own
    one is created again.

    Args:
        former: the catalog before the change.
        connection: to the database.
        table: of the database.
        parts: the names of its indexes, keys and foreign keys that may lose the names of those of partitions.
        again: those that the downgrade creates beside what partitions have of their own.
        added: those that the upgrade creates, of which parts of partitions may become parts.
        whole: whether all that partitions have of their own is created again too.

    """
    owns = {
        (own.schema, str(own.table), part.name): own for part, own in becoming_parts(former, table, again) if own.table
    }
    schema = former.schema(table)
    roots = dict.fromkeys((schema, table.name, name) for name in parts)
    roots |= dict.fromkeys(_root(own) for _, own in becoming_parts(former, table, added))
    if whole:
        roots |= dict.fromkeys(_root(own) for own in former.own_parts(table) if own not in owns.values())
    rows = _rows(connection, roots)
    within = {key: former.addresses(own) for key, own in owns.items()}
    restored = [
        row
        for group in _partitions(rows)
        if any(row.name != row.chosen or _rest(former, row) or _beside(row, within) for row in group)
        for row in group
    ]
    statements = [*_renames(former, restored)] if restored else []
    rows_of_owns = _rows(connection, dict.fromkeys(_root(own) for own in owns.values()))
    if any(own.comment is not None for own in owns.values()) or any(_rest(former, row) for row in rows_of_owns):
        statements += [
            _if_present(row, f"COMMENT ON {_described(row)} IS NULL")
            for row in restored
            if _beside(row, within) and not _rest(former, row)
        ]
    statements += [statement for own in owns.values() for statement in statements_unless_kept(former, own)]
    of_owns = [
        row
        for group in _partitions(rows_of_owns)
        if any(row.name != row.chosen or _rest(former, row) for row in group)
        for row in group
    ]
    statements += _renames(former, of_owns) if of_owns else ()
    return Change(Phase.DROP_FOREIGN_KEYS, (), tuple(statements))


def _root(own: Object) -> tuple[str, str, str]:
    return own.schema, str(own.table), own.name


def _rows(connection: Connection, roots: Collection[tuple[str, str, str]]) -> Sequence[Any]:
    if not roots:
        return ()
    schemas, tables, names = (list(each) for each in zip(*roots, strict=True))
    return connection.execute(_NAMES, {"schemas": schemas, "tables": tables, "names": names}).all()


def _partitions(rows: Sequence[Any]) -> Iterator[list[Any]]:
    for _, group in groupby(rows, key=lambda row: (row.schema, row.partition)):
        yield list(group)


def _beside(row: Any, within: dict[tuple[str, str, str], frozenset[str]]) -> bool:
    """Whether a part is that of a partition, or below one, of which an own part becomes that of the table."""
    return any(key[2] == row.root and quoted(row.schema, row.partition) in each for key, each in within.items())


def _renames(former: Former, rows: Sequence[Any]) -> Iterator[Step]:
    values = []
    for number, row in enumerate(rows, 1):
        origin, partition = quoted(row.root_schema, row.root_table), quoted(row.schema, row.partition)
        root, referenced = quoted(row.root_schema, row.root), "NULL"
        if row.referenced is not None:
            root, referenced = row.root, literal(quoted(row.referenced_schema, row.referenced))
        values.append(
            f"({number}, {literal(origin)}, {literal(root)}, {referenced}, {literal(partition)}, {literal(row.name)})"
        )
    values[0] = values[0].replace(", NULL, ", ", NULL::text, ", 1)
    yield Note("PostgreSQL chooses the names of the parts that partitions get with their table: these had others.")
    block = " ".join(_RENAME.split()).format(rows=", ".join(values))
    yield f"DO {literal(block)}"
    for row in rows:
        for step in _rest(former, row):
            yield _if_present(row, step) if isinstance(step, str) else step


def _if_present(row: Any, statement: str) -> str:
    """Return a statement on a part of a partition that does nothing where there is no such part.

    A partition may be dropped or detached while the service runs.
    """
    table = f"pg_catalog.to_regclass({literal(quoted(row.schema, row.partition))})"
    index = f"pg_catalog.to_regclass({literal(quoted(row.schema, row.name))})"
    constraint = f"SELECT FROM pg_catalog.pg_constraint WHERE conrelid = {table} AND conname = {literal(row.name)}"
    condition = f"{index} IS NOT NULL" if row.referenced is None else f"EXISTS ({constraint})"
    return f"DO {literal(f'BEGIN IF {condition} THEN {statement}; END IF; END')}"


def _described(row: Any) -> str:
    if row.referenced is None:
        return f"INDEX {quoted(row.schema, row.name)}"
    return f"CONSTRAINT {quoted(row.name)} ON {quoted(row.schema, row.partition)}"


def _rest(former: Former, row: Any) -> tuple[Step, ...]:
    """Return the steps for what a part of a partition has apart from its name."""
    part = former.part_of(row.schema, row.partition, row.name)
    if part is None:
        return ()  # a copy of a foreign key to a partition
    rest = restoration.constraint_rest if part.kind == "constraint" else restoration.index_rest
    return steps(rest(part, former.catalog, row.name))

"""What partitions have of their own, beside what is their table's: parts, and the names of those of the table.

PostgreSQL makes an index, a key or a CHECK of a partition one of its table's where that gets an equal one, and drops
both together later. It chooses the names of the parts that a partition gets with its table again each time.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step, steps
from service_migrations.autogenerate.changes.former import Former
from service_migrations.catalog import creation, restoration
from service_migrations.catalog.objects import Object
from service_migrations.catalog.tables import Constraint, Index, TableState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["drops", "names_kept", "taken"]

_NAMES = text(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))

_PHASES = {
    "foreign key": Phase.DROP_FOREIGN_KEYS,
    "constraint": Phase.DROP_CONSTRAINTS,
    "index": Phase.DROP_INDEXES,
}
"""The phases whose reverse creates a part in a downgrade."""

_CREATE = re.compile(r"^CREATE (UNIQUE )?INDEX ")
_APART = re.compile(r" WITH \([^()]*\)| TABLESPACE \S+| DESC\b| NULLS (?:FIRST|LAST)\b")
"""What isn't compared where PostgreSQL looks for an equal index."""
_UNIQUE = re.compile(r"^(?:PRIMARY KEY|UNIQUE) | (?:DEFERRABLE|INITIALLY) .*$|(?<=\)) DEFERRABLE$")
_REFERENCES = re.compile(r"(.*?REFERENCES.*?\))(.*)", re.DOTALL)

_RENAME = """
DECLARE part record;
BEGIN
FOR part IN
    SELECT v.number, p.alter FROM (VALUES {rows}) AS v (number, partition, root, foreign_key)
    CROSS JOIN LATERAL (
        WITH RECURSIVE indexes (oid) AS (
            SELECT v.root::pg_catalog.regclass::pg_catalog.oid WHERE NOT v.foreign_key
            UNION ALL SELECT h.inhrelid FROM indexes JOIN pg_catalog.pg_inherits h ON h.inhparent = indexes.oid
        ), keys (oid, confrelid) AS (
            SELECT c.oid, c.confrelid FROM pg_catalog.pg_constraint c
            WHERE v.foreign_key AND c.conrelid = {table}::pg_catalog.regclass AND c.conname = v.root
            UNION ALL SELECT c.oid, c.confrelid FROM keys
            JOIN pg_catalog.pg_constraint c ON c.conparentid = keys.oid AND c.confrelid = keys.confrelid
        )
        SELECT pg_catalog.format('ALTER INDEX %s RENAME TO ', i.indexrelid::pg_catalog.regclass)
        FROM indexes JOIN pg_catalog.pg_index i ON i.indexrelid = indexes.oid
        WHERE i.indrelid = pg_catalog.to_regclass(v.partition)
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO ', v.partition, c.conname)
        FROM keys JOIN pg_catalog.pg_constraint c ON c.oid = keys.oid
        WHERE c.conrelid = pg_catalog.to_regclass(v.partition)
    ) AS p (alter)
LOOP EXECUTE part.alter || 'migrations_name_' || part.number; END LOOP;
END
"""
"""It gives each part that a partition has with its table a name by which the next statements know it."""

_DROP = """
DECLARE users text;
BEGIN
SELECT pg_catalog.string_agg(pg_catalog.pg_describe_object(u.classid, u.objid, u.objsubid), ', ') INTO users
FROM (
    WITH indexes AS (
        SELECT relid::pg_catalog.oid AS oid FROM pg_catalog.pg_partition_tree({index}::pg_catalog.regclass)
    ), keys AS (
        SELECT c.oid, c.conrelid, c.conname FROM indexes JOIN pg_catalog.pg_constraint c ON c.conindid = indexes.oid
        WHERE c.contype IN ('p', 'u'))
    SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
    WHERE d.deptype = 'n' AND (
        d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid IN (SELECT oid FROM indexes)
        OR d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refobjid IN (SELECT oid FROM keys))
    UNION
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid, 0 FROM keys
    WHERE NOT EXISTS (
        SELECT FROM (VALUES {known}) AS k (relation, name)
        WHERE pg_catalog.to_regclass(k.relation) = keys.conrelid AND k.name = keys.conname)
) AS u;
IF users IS NOT NULL THEN
    RAISE EXCEPTION 'this would drop %: drop it first', users USING ERRCODE = 'dependent_objects_still_exist';
END IF;
DROP INDEX {index_sql} CASCADE;
END
"""
"""It drops an index with the constraints of partitions that have become parts of it, and nothing else."""


def names_kept(
    former: Former,
    connection: Connection,
    table: TableState,
    oid: int,
    parts: Collection[str],
    again: Collection[Constraint | Index],
) -> Change:
    """Return the change of the downgrade that gives partitions the names that their parts had.

    Only partitions are in it of whose names PostgreSQL would choose another one. A comment and the settings of such a
    part come back with its name. Where an equal part of a partition's own becomes that of the table instead, the own
    one is created again.

    Args:
        former: the catalog before the change.
        connection: to the database.
        table: of the database.
        oid: its own.
        parts: the names of its indexes, keys and foreign keys that may lose the names of those of partitions.
        again: those that the downgrade creates beside what partitions have of their own.

    """
    restored: list[Any] = []
    owns = {
        (own.part_of[1], own.part_of[2], part.name): own
        for part, taken_parts in _taken(former, table, again)
        for own in taken_parts
        if own.part_of
    }
    rows = connection.execute(_NAMES, {"oid": oid, "names": list(parts)}).all() if parts else ()
    for _, group in groupby(rows, key=lambda row: (row.schema, row.partition)):
        of_partition = list(group)
        if any(
            row.name != row.chosen or _rest(former, row) or (row.schema, row.partition, row.root) in owns
            for row in of_partition
        ):
            restored += of_partition
    statements = [*_renames(former, table, restored)] if restored else []
    for row in restored:
        own = owns.get((row.schema, row.partition, row.root))
        if own is not None and own.comment is not None and not _rest(former, row):
            on = f" ON {quoted(row.schema, row.partition)}" if own.kind == "constraint" else ""
            name = quoted(row.name) if on else quoted(row.schema, row.name)
            statements.append(_if_present(row, row.name, f"COMMENT ON {own.kind.upper()} {name}{on} IS NULL"))
    statements += [statement for own in owns.values() for statement in _unless_kept(former, own)]
    return Change(Phase.DROP_FOREIGN_KEYS, (), tuple(statements))


def _renames(former: Former, table: TableState, rows: Sequence[Any]) -> Iterator[Step]:
    values = []
    for number, row in enumerate(rows, 1):
        root = literal(row.root) if row.foreign_key else literal(quoted(table.schema, row.root))
        partition = literal(quoted(row.schema, row.partition))
        values.append(f"({number}, {partition}, {root}, {str(row.foreign_key).lower()})")
    block = _RENAME.format(rows=", ".join(values), table=literal(table.sql))
    yield Note("PostgreSQL chooses the names of the parts that partitions get with their table: these had others.")
    yield f"DO {literal(_one_line(block))}"
    for number, row in enumerate(rows, 1):
        aside, partition = f"migrations_name_{number}", quoted(row.schema, row.partition)
        if row.foreign_key:
            rename = f"ALTER TABLE {partition} RENAME CONSTRAINT {aside} TO {quoted(row.name)}"
            yield _if_present(row, aside, rename)
        else:
            yield f"ALTER INDEX IF EXISTS {quoted(row.schema, aside)} RENAME TO {quoted(row.name)}"
    for row in rows:
        for step in _rest(former, row):
            yield _if_present(row, row.name, step) if isinstance(step, str) else step


def _if_present(row: Any, name: str, statement: str) -> str:
    """Return a statement on a part of a partition that does nothing where there is no such part.

    A partition may be dropped or detached while the service runs.
    """
    table = f"pg_catalog.to_regclass({literal(quoted(row.schema, row.partition))})"
    index = f"pg_catalog.to_regclass({literal(quoted(row.schema, name))})"
    constraint = f"SELECT FROM pg_catalog.pg_constraint WHERE conrelid = {table} AND conname = {literal(name)}"
    condition = f"EXISTS ({constraint})" if row.foreign_key else f"{index} IS NOT NULL"
    return f"DO {literal(f'BEGIN IF {condition} THEN {statement}; END IF; END')}"


def _rest(former: Former, row: Any) -> tuple[Step, ...]:
    """Return the steps for what a part of a partition has apart from its name."""
    catalog = former.catalog
    part = former.part_of(row.schema, row.partition, row.name)
    rest = restoration.constraint_rest if part.kind == "constraint" else restoration.index_rest
    return steps(rest(part, catalog, row.name))


def taken(former: Former, table: TableState, added: Collection[Constraint | Index]) -> Iterator[Change]:
    """Yield the changes of the downgrade that create what partitions have and would be dropped with new parts.

    Args:
        former: the catalog before the change.
        table: of the database.
        added: the parts that it gets.

    """
    for part, owns in _taken(former, table, added):
        for own in owns:
            phase = _PHASES["foreign key" if "foreign_key" in own.facts else own.kind]
            is_certain = own.kind == "constraint" and len(owns) == 1 and _is_equal(own, part)
            yield Change(phase, (), former.statements(own) if is_certain else _unless_kept(former, own))


def drops(former: Former, table: TableState, added: Sequence[Index]) -> dict[str, tuple[Step, ...]]:
    """Return the steps that drop each new index of which constraints of partitions may have become parts.

    PostgreSQL refuses to drop such an index alone.
    """
    owns: dict[str, list[Object]] = {}
    for part, taken_parts in _taken(former, table, added):
        owns.setdefault(part.name, []).extend(own for own in taken_parts if own.kind == "constraint")
    return {name: tuple(_drop(former, table, name, parts)) for name, parts in owns.items() if parts}


def _taken(
    former: Former, table: TableState, added: Collection[Constraint | Index]
) -> Iterator[tuple[Constraint | Index, list[Object]]]:
    """Yield the new parts of a table with what one partition has of its own and may become a part of it."""
    for partition in former.partitions(table) if added else ():
        owns = [
            own
            for own in former.catalog.parts(partition, "constraint", "index")
            if not own.facts.get("inherited") and "constraint" not in own.facts
        ]
        for part in added:
            taken_parts = [own for own in owns if _is_taken(former, own, part)]
            owns = [own for own in owns if own not in taken_parts]
            yield part, taken_parts


def _drop(former: Former, table: TableState, name: str, owns: Sequence[Object]) -> Iterator[Step]:
    known = ", ".join(f"({literal(former.catalog.on(own))}, {literal(own.name)})" for own in owns)
    address, names = quoted(table.schema, name), ", ".join(f"{own.address} of {own.table}" for own in owns)
    yield Note(
        f"PostgreSQL may have made a part of {name} of {names}: that is dropped too, unless something needs it, and "
        "added again."
    )
    yield f"DO {literal(_one_line(_DROP.format(index=literal(address), index_sql=address, known=known)))}"


def _one_line(block: str) -> str:
    return " ".join(block.split())


def _is_taken(former: Former, own: Object, part: Constraint | Index) -> bool:
    """Whether PostgreSQL may make what a partition has the partition's part of a new one, also by its index."""
    index = creation.index_of(own, former.catalog) if own.kind == "constraint" else None
    if index is None:
        return _is_equal(own, part)
    if isinstance(part, Index):
        return not (own.definition or "").startswith("EXCLUDE") and _is_equal(index, part)
    return part.kind in "pu" and _text_of_unique(own.definition or "") == _text_of_unique(part.definition)


def _unless_kept(former: Former, own: Object) -> tuple[str, ...]:
    """Return the statements that create a part of a partition which may be there: of several, one is taken."""
    created, *others = former.statements(own)
    if own.kind == "index":
        return _CREATE.sub(r"CREATE \1INDEX IF NOT EXISTS ", created), *others
    table = literal(former.catalog.on(own))
    missing = (
        "NOT EXISTS (SELECT FROM pg_catalog.pg_constraint "
        f"WHERE conrelid = {table}::pg_catalog.regclass AND conname = {literal(own.name)})"
    )
    return f"DO {literal(f'BEGIN IF {missing} THEN {created}; END IF; END')}", *others


def _is_equal(own: Object, part: Constraint | Index) -> bool:
    definition, other = own.definition or "", part.definition
    if isinstance(part, Index) != (own.kind == "index"):
        return False
    if isinstance(part, Index):
        return _text_of_index(definition) == _text_of_index(other)
    if part.kind == "c":
        return own.name == part.name and definition.startswith("CHECK ")
    if part.kind == "f":
        return _text_of_key(definition) == _text_of_key(other)
    return definition == other


def _text_of_index(definition: str) -> tuple[bool, str]:
    start, _, rest = definition.partition(" USING ")
    return start.startswith("CREATE UNIQUE "), _APART.sub("", rest)


def _text_of_unique(definition: str) -> str:
    """Return the columns of a primary key or a unique constraint, without what the index doesn't have."""
    return _UNIQUE.sub("", definition)


def _text_of_key(definition: str) -> tuple[str, list[str]]:
    """Return what a foreign key refers to, and its rules, which SQLAlchemy writes in another order."""
    match = _REFERENCES.fullmatch(definition)
    return ("".join(match[1].split()), sorted(match[2].split())) if match else (definition, [])

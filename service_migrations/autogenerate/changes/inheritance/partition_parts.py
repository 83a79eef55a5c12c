"""What partitions have of their own, beside what is their table's.

PostgreSQL makes an index, a key or a CHECK of a partition one of its table's where that gets an equal one, and drops
both together later.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step
from service_migrations.autogenerate.changes.former import Former
from service_migrations.catalog import creation
from service_migrations.catalog.objects import Object
from service_migrations.catalog.tables import Constraint, Index, TableState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["becoming_parts", "creations_apart", "drops", "statements_unless_kept", "taken"]

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

_CREATE_APART = """
DECLARE part record; own pg_catalog.oid; parent pg_catalog.oid; present pg_catalog.oid[];
BEGIN
FOR part IN
    SELECT t.relid, t.parentrelid, t.level FROM pg_catalog.pg_partition_tree({table}) t
    JOIN pg_catalog.pg_class r ON r.oid = t.relid AND r.relkind IN ('r', 'p') ORDER BY t.level, t.relid
LOOP
    present = ARRAY(SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = part.relid);
    EXECUTE {create};
    SELECT indexrelid INTO own FROM pg_catalog.pg_index
    WHERE indrelid = part.relid AND indexrelid <> ALL (present);
    IF part.level > 0 THEN
        SELECT i.indexrelid INTO parent FROM pg_catalog.pg_partition_tree({index}) t
        JOIN pg_catalog.pg_index i ON i.indexrelid = t.relid WHERE i.indrelid = part.parentrelid;
        EXECUTE pg_catalog.format('ALTER INDEX %s ATTACH PARTITION %s',
            parent::pg_catalog.regclass, own::pg_catalog.regclass);
    END IF;
END LOOP;
END
"""
"""It creates an index or a key with a part in each partition: none of what they have becomes one."""

_CREATE_INDEX = (
    "pg_catalog.format('{start}%s ON ONLY %s ', CASE WHEN part.level = 0 THEN {name} END, "
    "part.relid::pg_catalog.regclass) || {rest}"
)
_ADD_KEY = (
    "pg_catalog.format('ALTER TABLE ONLY %s ADD ', part.relid::pg_catalog.regclass) "
    "|| CASE WHEN part.level = 0 THEN 'CONSTRAINT ' || {name} || ' ' ELSE '' END || {rest}"
)


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
            yield Change(phase, (), former.statements(own) if is_certain else statements_unless_kept(former, own))


def drops(former: Former, table: TableState, added: Sequence[Index]) -> dict[str, tuple[Step, ...]]:
    """Return the steps that drop each new index of which constraints of partitions may have become parts.

    PostgreSQL refuses to drop such an index alone.
    """
    owns: dict[str, list[Object]] = {}
    for part, taken_parts in _taken(former, table, added):
        owns.setdefault(part.name, []).extend(own for own in taken_parts if own.kind == "constraint")
    return {name: tuple(_drop(former, table, name, parts)) for name, parts in owns.items() if parts}


def creations_apart(former: Former, table: TableState, again: Mapping[str, Constraint | Index]) -> dict[str, str]:
    """Return for statements those that create the same without making parts of what partitions have of their own.

    PostgreSQL would make equal indexes and keys of partitions parts of those of the table, with all that they have.

    Args:
        former: the catalog before the change.
        table: of the database.
        again: the indexes and constraints that are created, by their statements.

    """
    if former.has_foreign_partitions(table):
        return {}  # an index of which a partition has no part is valid only where it is created for all at once
    taken_parts = {part for part, owns in _taken(former, table, again.values()) if owns}
    return {
        statement: _apart(table, part) for statement, part in again.items() if part in taken_parts and _is_key(part)
    }


def _is_key(part: Constraint | Index) -> bool:
    return isinstance(part, Index) or part.kind in "pux"


def _apart(table: TableState, part: Constraint | Index) -> str:
    name, create, rest = literal(quoted(part.name)), _ADD_KEY, part.definition
    if isinstance(part, Index):
        start, _, rest = part.definition.partition(" USING ")
        unique = "UNIQUE " if start.startswith("CREATE UNIQUE ") else ""
        create, rest = _CREATE_INDEX.replace("{start}", f"CREATE {unique}INDEX "), f"USING {rest}"
    block = _one_line(_CREATE_APART).format(
        table=literal(table.sql),
        index=literal(quoted(table.schema, part.name)),
        create=create.format(name=name, rest=literal(rest)),
    )
    return f"DO {literal(block)}"


def becoming_parts(
    former: Former, table: TableState, added: Collection[Constraint | Index]
) -> Iterator[tuple[Constraint | Index, Object]]:
    """Yield what partitions have of their own and PostgreSQL may make parts of new ones of the table, with those.

    Args:
        former: the catalog before the change.
        table: of the database.
        added: the parts that it gets.

    """
    for part, owns in _taken(former, table, added):
        for own in owns:
            yield part, own


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
    yield f"DO {literal(_one_line(_DROP).format(index=literal(address), index_sql=address, known=known))}"


def _one_line(block: str) -> str:
    """Return a block of SQL in one line, before names and conditions are put in, in which each space counts."""
    return " ".join(block.split())


def _is_taken(former: Former, own: Object, part: Constraint | Index) -> bool:
    """Whether PostgreSQL may make what a partition has the partition's part of a new one, also by its index."""
    index = creation.index_of(own, former.catalog) if own.kind == "constraint" else None
    if index is None:
        return _is_equal(own, part)
    if isinstance(part, Index):
        return not (own.definition or "").startswith("EXCLUDE") and _is_equal(index, part)
    if part.kind == "x":
        return own.definition == part.definition
    return part.kind in "pu" and _text_of_unique(own.definition or "") == _text_of_unique(part.definition)


def statements_unless_kept(former: Former, own: Object) -> tuple[str, ...]:
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

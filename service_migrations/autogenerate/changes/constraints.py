"""Changes of constraints and indexes, also of those that are only recreated around a change of their columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from alembic.operations.ops import DropConstraintOp, DropIndexOp
from sqlalchemy.sql.elements import conv

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step, steps
from service_migrations.autogenerate.changes.matches import Matches, NewNames, rename
from service_migrations.autogenerate.changes.table_pair import (
    BOTH,
    NEITHER,
    Directions,
    Pair,
    RecreatedTypes,
    converted_columns,
    either,
    recreated_columns,
)
from service_migrations.catalog.tables import Constraint, Index, TableState
from service_migrations.sql.quoting import quoted

__all__ = ["Keys", "add", "addition", "changes", "drop", "foreign_keys", "keys_of"]

_KINDS = {"c": "check", "f": "foreignkey", "p": "primary", "u": "unique"}
_OPERATIONS = {"c": "check_constraint", "f": "foreign_key", "p": "primary_key", "u": "unique_constraint"}


@dataclass(frozen=True, slots=True)
class Keys:
    """The columns and indexes of a table whose changes need foreign keys to be recreated."""

    columns: Mapping[str, Directions]
    indexes: Mapping[str, Directions]


def changes(pair: Pair, recreated_types: RecreatedTypes, named: frozenset[str], names: NewNames) -> Iterator[Change]:
    """Yield the changes of a table's constraints and indexes, without its foreign keys.

    Args:
        pair: the table.
        recreated_types: the enum types that are recreated.
        named: the names that the models give.
        names: the names that parts of all tables get.

    """
    matches = Matches.of(pair, named)
    for name, constraint in pair.live.constraints.items():
        if constraint.kind == "f":
            continue
        if name not in matches.constraints:
            yield drop(pair.live, constraint, BOTH, described=True)
            yield from _replica_identity(pair, constraint)
        else:
            directions = _recreation(pair, recreated_types, constraint)
            yield from _kept(pair.live, constraint, matches, directions, names)
    for constraint in matches.added:
        if constraint.kind != "f":
            yield add(pair.target, constraint, BOTH, described=True)
    yield from _index_changes(pair, matches, recreated_types, names)


def _kept(
    table: TableState, constraint: Constraint, matches: Matches, directions: Directions, names: NewNames
) -> Iterator[Change]:
    """Yield the changes of a constraint that both sides have: it is recreated, renamed or validated."""
    name = matches.renamed.get(constraint.name, constraint.name)
    kept = replace(constraint, name=name)
    if any(directions):
        yield drop(table, constraint, directions)
        yield add(table, kept, directions)
    if name != constraint.name:
        yield from rename(table, constraint, name, directions, names)
    if matches.constraints[constraint.name].valid and not constraint.valid:
        # reads and writes go on meanwhile, as they don't while one is added
        validate = f"ALTER TABLE {table.sql} VALIDATE CONSTRAINT {quoted(name)}"
        backward = (_drop_operation(table, kept), *_add_steps(table, kept))
        description = f"validate_constraint {name} on {table.sql}: {constraint.definition}"
        yield Change(Phase.VALIDATE, (validate,), backward, description)


def _index_changes(pair: Pair, matches: Matches, recreated_types: RecreatedTypes, names: NewNames) -> Iterator[Change]:
    matched_names = {match.name for match in matches.indexes.values()}
    for name in sorted({*pair.live.indexes, *pair.target.indexes}):
        live, match = pair.live.indexes.get(name), matches.indexes.get(name)
        if live and match:
            directions = _recreation(pair, recreated_types, live)
            if any(directions):
                yield _drop_index(pair.live, live, directions)
                yield _create_index(pair.live, replace(match, rest_by=live.rest_by), directions)
            if match.name != name:
                yield from rename(pair.live, live, match.name, directions, names)
        elif live:
            yield _drop_index(pair.live, live, BOTH, described=True)
            yield from _replica_identity(pair, live)
        if name in pair.target.indexes and name not in matched_names:
            yield _create_index(pair.target, pair.target.indexes[name], BOTH, described=True)


def _replica_identity(pair: Pair, dropped: Constraint | Index) -> Iterator[Change]:
    """Yield what keeps the replica identity that a table has by a part of which the models have another one, or none.

    PostgreSQL drops such an index without a word, and refuses each UPDATE and DELETE then, if the table is published.
    """
    statements = tuple(each for each in dropped.rest.statements if " REPLICA IDENTITY USING INDEX " in each)
    new = pair.target.constraints.get(dropped.name) or pair.target.indexes.get(dropped.name)
    if not statements:
        return
    if isinstance(new, Index):
        is_unique = new.plain and new.definition.startswith("CREATE UNIQUE ")
    else:
        is_unique = new is not None and new.kind in ("p", "u") and " DEFERRABLE" not in new.definition
    if new and is_unique and all(pair.target.columns[name].not_null for name in new.uses):
        yield Change(Phase.COMMENT, statements, ())
        return
    note = Note(
        f"WARNING: {pair.live.sql} loses its replica identity with {dropped.name}: where a publication has the table,\n"
        f"each UPDATE and DELETE fails, until there is one: ALTER TABLE {pair.live.sql} REPLICA IDENTITY …"
    )
    yield Change(Phase.COMMENT, (note,), ())


def keys_of(pair: Pair, recreated_types: RecreatedTypes, named: frozenset[str]) -> Keys:
    """Return the changed columns and indexes of a table, for the foreign keys from and to it."""
    recreated, converted = recreated_columns(pair, recreated_types), converted_columns(pair, recreated_types)
    columns = {
        name: either(recreated.get(name, NEITHER), converted.get(name, NEITHER)) for name in {*recreated, *converted}
    }
    matches = Matches.of(pair, named)
    indexes: dict[str, Directions] = {}
    for name, constraint in pair.live.constraints.items():
        if constraint.kind in ("p", "u"):
            kept = name in matches.constraints
            indexes[name] = _recreation(pair, recreated_types, constraint) if kept else BOTH
    for name, index in pair.live.indexes.items():
        indexes[name] = _recreation(pair, recreated_types, index) if name in matches.indexes else BOTH
    return Keys(columns, indexes)


def foreign_keys(
    pair: Pair,
    named: frozenset[str],
    keys: Mapping[tuple[str | None, str], Keys],
    default_schema: str | None,
    names: NewNames,
) -> Iterator[Change]:
    """Yield the changes of a table's foreign keys.

    Args:
        pair: the table.
        named: the names that the models give.
        keys: of all tables, by schema and name.
        default_schema: the one that a name without a schema means.
        names: the names that parts of all tables get.

    """
    unchanged = Keys({}, {})
    own = keys.get((pair.live.schema, pair.live.name), unchanged)
    matches = Matches.of(pair, named)
    for name, key in pair.live.constraints.items():
        if key.kind != "f":
            continue
        if name not in matches.constraints:
            yield drop(pair.live, key, BOTH, described=True)
            continue
        schema = None if key.foreign_schema == default_schema else key.foreign_schema
        foreign = keys.get((schema, key.foreign_table or ""), unchanged)
        directions = either(
            NEITHER,
            *(own.columns.get(column, NEITHER) for column in key.local_columns),
            *(foreign.columns.get(column, NEITHER) for column in key.foreign_columns),
            foreign.indexes.get(key.index or "", NEITHER),
        )
        yield from _kept(pair.live, key, matches, directions, names)
    for key in matches.added:
        if key.kind == "f":
            yield add(pair.target, key, BOTH, described=True)


def _recreation(pair: Pair, recreated_types: RecreatedTypes, part: Constraint | Index) -> Directions:
    """Return the directions in which an unchanged part is recreated around a change of its columns."""
    recreated, converted = recreated_columns(pair, recreated_types), converted_columns(pair, recreated_types)
    directions = either(NEITHER, *(recreated.get(name, NEITHER) for name in part.uses))
    if isinstance(part, Index) and part.plain:
        return directions
    if isinstance(part, Constraint) and part.kind not in ("c", "x"):
        return directions
    return either(
        directions, recreated_types.includes(*part.types), *(converted.get(name, NEITHER) for name in part.uses)
    )


def drop(table: TableState, constraint: Constraint, directions: Directions, *, described: bool = False) -> Change:
    """Return the change that drops a constraint, and whose reverse adds it."""
    phase = Phase.DROP_FOREIGN_KEYS if constraint.kind == "f" else Phase.DROP_CONSTRAINTS
    forward = (_drop_operation(table, constraint),) if directions.up else ()
    backward = _add_steps(table, constraint) if directions.down else ()
    text = f"drop_constraint {constraint.name} on {table.sql}: {constraint.definition}" if described else ""
    return Change(phase, forward, backward, text)


def add(table: TableState, constraint: Constraint, directions: Directions, *, described: bool = False) -> Change:
    """Return the change that adds a constraint, and whose reverse drops it."""
    phases = {"f": Phase.ADD_FOREIGN_KEYS, "p": Phase.ADD_KEYS, "u": Phase.ADD_KEYS}
    forward = _add_steps(table, constraint) if directions.up else ()
    backward = (_drop_operation(table, constraint),) if directions.down else ()
    operation = f"create_{_OPERATIONS.get(constraint.kind, 'exclude_constraint')}"
    text = f"{operation} {constraint.name} on {table.sql}: {constraint.definition}" if described else ""
    return Change(phases.get(constraint.kind, Phase.ADD_CONSTRAINTS), forward, backward, text)


def addition(table: TableState, constraint: Constraint) -> str:
    """Return the statement that adds a constraint."""
    return f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(constraint.name)} {constraint.definition}"


def _add_steps(table: TableState, constraint: Constraint) -> tuple[Step, ...]:
    return addition(table, constraint), *steps(constraint.rest)


def _drop_operation(table: TableState, constraint: Constraint) -> DropConstraintOp:
    return DropConstraintOp(conv(constraint.name), table.name, type_=_KINDS.get(constraint.kind), schema=table.schema)


def _drop_index(table: TableState, index: Index, directions: Directions, *, described: bool = False) -> Change:
    invalid = "" if index.valid else " (it is INVALID)"
    text = f"drop_index {index.name} on {table.sql}: {index.definition}{invalid}" if described else ""
    forward = (_drop_index_operation(table, index),) if directions.up else ()
    return Change(Phase.DROP_INDEXES, forward, _create_steps(index) if directions.down else (), text)


def _create_index(table: TableState, index: Index, directions: Directions, *, described: bool = False) -> Change:
    text = f"create_index {index.name} on {table.sql}: {index.definition}" if described else ""
    backward = (_drop_index_operation(table, index),) if directions.down else ()
    return Change(Phase.CREATE_INDEXES, _create_steps(index) if directions.up else (), backward, text)


def _create_steps(index: Index) -> tuple[Step, ...]:
    return index.definition, *steps(index.rest)


def _drop_index_operation(table: TableState, index: Index) -> DropIndexOp:
    return DropIndexOp(conv(index.name), table.name, schema=table.schema)

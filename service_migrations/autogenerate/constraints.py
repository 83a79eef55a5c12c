"""Changes of constraints and indexes, also of those that are only recreated around a change of their columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from alembic.operations.ops import DropConstraintOp, DropIndexOp
from sqlalchemy.sql.elements import conv

from service_migrations.autogenerate.change import Change, Phase, Step, steps
from service_migrations.autogenerate.table_pair import (
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

__all__ = ["Keys", "add", "changes", "drop", "foreign_keys", "keys_of"]

_KINDS = {"c": "check", "f": "foreignkey", "p": "primary", "u": "unique"}
_OPERATIONS = {"c": "check_constraint", "f": "foreign_key", "p": "primary_key", "u": "unique_constraint"}


@dataclass(frozen=True, slots=True)
class Keys:
    """The columns and indexes of a table whose changes need foreign keys to be recreated."""

    columns: Mapping[str, Directions]
    indexes: Mapping[str, Directions]


def matched(pair: Pair, named: frozenset[str]) -> dict[str, Constraint | None]:
    """Return for each constraint of the database the equal one of the models.

    It is found by name or, where the models give none, by text.

    Args:
        pair: the table.
        named: the names that the models give.

    """
    live, target = pair.live.constraints, pair.target.constraints
    matches = {
        name: target[name] for name, constraint in live.items() if name in target and _equal(constraint, target[name])
    }
    unmatched = [constraint for name, constraint in target.items() if name not in matches and name not in named]
    for name, constraint in live.items():
        if name not in matches and name not in named:
            equal = [other for other in unmatched if _equal(constraint, other)]
            if equal:
                matches[name] = equal[0]
                unmatched.remove(equal[0])
    return {name: matches.get(name) for name in live}


def _new(pair: Pair, matches: Mapping[str, Constraint | None]) -> Iterator[Constraint]:
    """Yield the constraints that only the models have, under a free name where theirs is in use."""
    matched_names = [match.name for match in matches.values() if match]
    used = {name for name, match in matches.items() if match}
    for name, constraint in pair.target.constraints.items():
        if name in matched_names:
            continue
        names = (f"{name}{number or ''}" for number in count())
        free = next(candidate for candidate in names if candidate not in used)
        used.add(free)
        yield replace(constraint, name=free)


def _equal(live: Constraint, target: Constraint) -> bool:
    """Whether two constraints are equal; a NOT VALID key of the models is valid after CREATE TABLE."""
    if live.kind != "f" or target.kind != "f":
        return (live.kind, live.definition) == (target.kind, target.definition)
    return _reference(live) == _reference(target) and (live.valid or not target.valid)


def _reference(key: Constraint) -> tuple[object, ...]:
    return key.local_columns, key.foreign_schema, key.foreign_table, key.foreign_columns, key.rules


def changes(pair: Pair, recreated_types: RecreatedTypes, named: frozenset[str]) -> Iterator[Change]:
    """Yield the changes of a table's constraints and indexes, without its foreign keys."""
    matches = matched(pair, named)
    for name, constraint in pair.live.constraints.items():
        if constraint.kind == "f":
            continue
        if matches[name] is None:
            yield drop(pair.live, constraint, BOTH, described=True)
        elif any(directions := _recreation(pair, recreated_types, constraint)):
            yield drop(pair.live, constraint, directions)
            yield add(pair.live, constraint, directions)
    for constraint in _new(pair, matches):
        if constraint.kind != "f":
            yield add(pair.target, constraint, BOTH, described=True)
    yield from _index_changes(pair, recreated_types)


def _index_changes(pair: Pair, recreated_types: RecreatedTypes) -> Iterator[Change]:
    for name in sorted({*pair.live.indexes, *pair.target.indexes}):
        live, target = pair.live.indexes.get(name), pair.target.indexes.get(name)
        if live and target and live.valid and live.definition == target.definition:
            directions = _recreation(pair, recreated_types, live)
            if any(directions):
                yield _drop_index(pair.live, live, directions)
                yield _create_index(pair.live, live, directions)
            continue
        if live:
            yield _drop_index(pair.live, live, BOTH, described=True)
        if target:
            yield _create_index(pair.target, target, BOTH, described=True)


def keys_of(pair: Pair, recreated_types: RecreatedTypes, named: frozenset[str]) -> Keys:
    """Return the changed columns and indexes of a table, for the foreign keys from and to it."""
    recreated, converted = recreated_columns(pair, recreated_types), converted_columns(pair, recreated_types)
    columns = {
        name: either(recreated.get(name, NEITHER), converted.get(name, NEITHER)) for name in {*recreated, *converted}
    }
    matches = matched(pair, named)
    indexes: dict[str, Directions] = {}
    for name, constraint in pair.live.constraints.items():
        if constraint.kind in ("p", "u"):
            indexes[name] = BOTH if matches[name] is None else _recreation(pair, recreated_types, constraint)
    for name, index in pair.live.indexes.items():
        target = pair.target.indexes.get(name)
        equal = target is not None and index.valid and index.definition == target.definition
        indexes[name] = _recreation(pair, recreated_types, index) if equal else BOTH
    return Keys(columns, indexes)


def foreign_keys(
    pair: Pair, named: frozenset[str], keys: Mapping[tuple[str | None, str], Keys], default_schema: str | None
) -> Iterator[Change]:
    """Yield the changes of a table's foreign keys.

    Args:
        pair: the table.
        named: the names that the models give.
        keys: of all tables, by schema and name.
        default_schema: the one that a name without a schema means.

    """
    unchanged = Keys({}, {})
    own = keys.get((pair.live.schema, pair.live.name), unchanged)
    matches = matched(pair, named)
    for name, key in pair.live.constraints.items():
        if key.kind != "f":
            continue
        if matches[name] is None:
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
        if any(directions):
            yield drop(pair.live, key, directions)
            yield add(pair.live, key, directions)
    for key in _new(pair, matches):
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


def _add_steps(table: TableState, constraint: Constraint) -> tuple[Step, ...]:
    add = f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(constraint.name)} {constraint.definition}"
    return add, *steps(constraint.rest)


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

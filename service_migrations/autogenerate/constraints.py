"""Constraints and indexes: which go and which come, also those that only make room for a change of their columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from alembic.operations.ops import DropConstraintOp, DropIndexOp
from sqlalchemy.sql.elements import conv

from service_migrations.autogenerate.change import Change, Phase
from service_migrations.autogenerate.table_pair import NEITHER, Directions, Pair, Rebuilt, converted, either, remade
from service_migrations.catalog.tables import Constraint, Index, TableState
from service_migrations.sql.quoting import quoted

__all__ = ["Keys", "changes", "comes", "foreign_keys", "goes", "keys_of"]

_KINDS = {"c": "check", "f": "foreignkey", "p": "primary", "u": "unique"}
_OPERATIONS = {"c": "check_constraint", "f": "foreign_key", "p": "primary_key", "u": "unique_constraint"}


@dataclass(frozen=True, slots=True)
class Keys:
    """What foreign keys of any table have to make room for: columns that change, and indexes that go."""

    columns: Mapping[str, Directions]
    indexes: Mapping[str, Directions]


def matched(pair: Pair, named: frozenset[str]) -> dict[str, Constraint | None]:
    """Return for each constraint of the database the same one of the models, by name or, where they give none, by text.

    Args:
        pair: the table.
        named: the names that the models give.

    """
    live, target = pair.live.constraints, pair.target.constraints
    found = {name: target[name] for name, one in live.items() if name in target and _same(one, target[name])}
    rest = [one for name, one in target.items() if name not in found and name not in named]
    for name, one in live.items():
        if name not in found and name not in named:
            all_normalised = [other for other in rest if _same(one, other)]
            if all_normalised:
                found[name] = all_normalised[0]
                rest.remove(all_normalised[0])
    return {name: found.get(name) for name in live}


def _new(pair: Pair, same: Mapping[str, Constraint | None]) -> Iterator[Constraint]:
    """Yield the constraints that only the models have; the name that one gets by itself may be in use."""
    kept = [one.name for one in same.values() if one]
    staying = {name for name, one in same.items() if one}
    for name, one in pair.target.constraints.items():
        if name in kept:
            continue
        names = (f"{name}{number or ''}" for number in count())
        free = next(found for found in names if found not in staying)
        staying.add(free)
        yield replace(one, name=free)


def _same(one: Constraint, other: Constraint) -> bool:
    """Whether the database has what the models say; a key that they let be not valid is valid after CREATE TABLE."""
    if one.kind != "f" or other.kind != "f":
        return (one.kind, one.definition) == (other.kind, other.definition)
    return _reference(one) == _reference(other) and (one.valid or not other.valid)


def _reference(key: Constraint) -> tuple[object, ...]:
    return key.local_columns, key.foreign_schema, key.foreign_table, key.foreign_columns, key.rules


def changes(pair: Pair, rebuilt: Rebuilt, named: frozenset[str]) -> Iterator[Change]:
    """Yield what becomes of the constraints and indexes of one table, but for its foreign keys."""
    same = matched(pair, named)
    for name, one in pair.live.constraints.items():
        if one.kind == "f":
            continue
        other = same[name]
        if other is None:
            yield goes(pair.live, one, (True, True), says=True)
        elif any(when := _in_the_way(pair, rebuilt, one)):
            yield goes(pair.live, one, when)
            yield comes(pair.live, one, when)
    for one in _new(pair, same):
        if one.kind != "f":
            yield comes(pair.target, one, (True, True), says=True)
    yield from _index_changes(pair, rebuilt)


def _index_changes(pair: Pair, rebuilt: Rebuilt) -> Iterator[Change]:
    for name in sorted({*pair.live.indexes, *pair.target.indexes}):
        live, target = pair.live.indexes.get(name), pair.target.indexes.get(name)
        if live and target and live.valid and live.definition == target.definition:
            when = _in_the_way(pair, rebuilt, live)
            if any(when):
                yield _index_goes(pair.live, live, when)
                yield _index_comes(pair.live, live, when)
            continue
        if live:
            yield _index_goes(pair.live, live, (True, True), says=True)
        if target:
            yield _index_comes(pair.target, target, (True, True), says=True)


def keys_of(pair: Pair, rebuilt: Rebuilt, named: frozenset[str]) -> Keys:
    """Return what foreign keys to and from a table have to make room for."""
    again, casts = remade(pair, rebuilt), converted(pair, rebuilt)
    columns = {name: either(again.get(name, NEITHER), casts.get(name, NEITHER)) for name in {*again, *casts}}
    same = matched(pair, named)
    indexes: dict[str, Directions] = {}
    for name, one in pair.live.constraints.items():
        if one.kind in ("p", "u"):
            indexes[name] = (True, True) if same[name] is None else _in_the_way(pair, rebuilt, one)
    for name, index in pair.live.indexes.items():
        target = pair.target.indexes.get(name)
        equal = target is not None and index.valid and index.definition == target.definition
        indexes[name] = _in_the_way(pair, rebuilt, index) if equal else (True, True)
    return Keys(columns, indexes)


def foreign_keys(
    pair: Pair, named: frozenset[str], keys: Mapping[tuple[str | None, str], Keys], default_schema: str | None
) -> Iterator[Change]:
    """Yield what becomes of a table's foreign keys.

    Args:
        pair: the table.
        named: the names that the models give.
        keys: of all tables, by schema and name.
        default_schema: the one that a name without a schema means.

    """
    nothing = Keys({}, {})
    own = keys.get((pair.live.schema, pair.live.name), nothing)
    same = matched(pair, named)
    for name, one in pair.live.constraints.items():
        if one.kind != "f":
            continue
        if same[name] is None:
            yield goes(pair.live, one, (True, True), says=True)
            continue
        schema = None if one.foreign_schema == default_schema else one.foreign_schema
        other = keys.get((schema, one.foreign_table or ""), nothing)
        when = either(
            NEITHER,
            *(own.columns.get(column, NEITHER) for column in one.local_columns),
            *(other.columns.get(column, NEITHER) for column in one.foreign_columns),
            other.indexes.get(one.index or "", NEITHER),
        )
        if any(when):
            yield goes(pair.live, one, when)
            yield comes(pair.live, one, when)
    for one in _new(pair, same):
        if one.kind == "f":
            yield comes(pair.target, one, (True, True), says=True)


def _in_the_way(pair: Pair, rebuilt: Rebuilt, part: Constraint | Index) -> Directions:
    """Return when a part that both have can't stay while a column of it changes."""
    again, casts = remade(pair, rebuilt), converted(pair, rebuilt)
    when = either(NEITHER, *(again.get(name, NEITHER) for name in part.uses))
    if isinstance(part, Index) and part.plain:
        return when
    if isinstance(part, Constraint) and part.kind not in ("c", "x"):
        return when
    return either(when, rebuilt.has(*part.types), *(casts.get(name, NEITHER) for name in part.uses))


def _add(shape: TableState, one: Constraint) -> str:
    return f"ALTER TABLE {shape.sql} ADD CONSTRAINT {quoted(one.name)} {one.definition}"


def _drop(shape: TableState, one: Constraint) -> DropConstraintOp:
    return DropConstraintOp(conv(one.name), shape.name, type_=_KINDS.get(one.kind), schema=shape.schema)


def goes(shape: TableState, one: Constraint, when: Directions, *, says: bool = False) -> Change:
    """Return the dropping of a constraint, where ``when`` says so; its way back makes it again."""
    phase = Phase.FOREIGN_KEYS_GO if one.kind == "f" else Phase.CONSTRAINTS_GO
    text = f"drop_constraint {one.name} on {shape.sql}: {one.definition}" if says else ""
    return Change(phase, (_drop(shape, one),) if when[0] else (), (_add(shape, one),) if when[1] else (), text)


def comes(shape: TableState, one: Constraint, when: Directions, *, says: bool = False) -> Change:
    """Return the making of a constraint, where ``when`` says so; its way back drops it."""
    phases = {"f": Phase.FOREIGN_KEYS_COME, "p": Phase.KEYS_COME, "u": Phase.KEYS_COME}
    operation = f"create_{_OPERATIONS.get(one.kind, 'exclude_constraint')}"
    text = f"{operation} {one.name} on {shape.sql}: {one.definition}" if says else ""
    steps = ((_add(shape, one),) if when[0] else (), (_drop(shape, one),) if when[1] else ())
    return Change(phases.get(one.kind, Phase.CONSTRAINTS_COME), *steps, text)


def _drop_index(shape: TableState, index: Index) -> DropIndexOp:
    return DropIndexOp(conv(index.name), shape.name, schema=shape.schema)


def _index_goes(shape: TableState, index: Index, when: Directions, *, says: bool = False) -> Change:
    invalid = "" if index.valid else " (it is INVALID)"
    text = f"drop_index {index.name} on {shape.sql}: {index.definition}{invalid}" if says else ""
    forward = (_drop_index(shape, index),) if when[0] else ()
    return Change(Phase.INDEXES_GO, forward, (index.definition,) if when[1] else (), text)


def _index_comes(shape: TableState, index: Index, when: Directions, *, says: bool = False) -> Change:
    text = f"create_index {index.name} on {shape.sql}: {index.definition}" if says else ""
    backward = (_drop_index(shape, index),) if when[1] else ()
    return Change(Phase.INDEXES_COME, (index.definition,) if when[0] else (), backward, text)

"""Tables: which come, which go, and what becomes of those that both sides have."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from alembic.operations.ops import DropColumnOp, DropTableOp
from sqlalchemy import ForeignKeyConstraint

from service_migrations.autogenerate import columns, constraints
from service_migrations.autogenerate.change import Change, Note, Phase, Step
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.operations import added_column, created_table
from service_migrations.autogenerate.table_pair import Pair
from service_migrations.catalog.tables import ColumnState, TableState
from service_migrations.sql.quoting import literal

__all__ = ["altered", "created", "dropped"]


def dropped(comparison: Comparison) -> Iterator[Change]:
    """Yield the dropping of the tables that the models no longer have, and how they come back."""
    gone = {key: shape for key, shape in sorted(comparison.live.items(), key=str) if key not in comparison.targets}
    order, circular = _ordered(gone, comparison.default)
    for key in reversed(order):
        shape = gone[key]
        for one in shape.constraints.values():
            if one.kind == "f":
                yield constraints.goes(shape, one, (circular, True))
        drop: Step = DropTableOp(shape.name, schema=shape.schema)
        yield Change(Phase.TABLES_GO, (drop,), tuple(shape.creation), f"drop_table {shape.sql}")


def created(comparison: Comparison, altered: set[Key]) -> Iterator[Change]:
    """Yield the making of the tables that only the models have.

    Args:
        comparison: the two sides.
        altered: the tables that change too; a foreign key to one of them is made after that.

    """
    new = {key: shape for key, shape in comparison.targets.items() if key not in comparison.live}
    order, circular = _ordered(new, comparison.default)
    taken = _indexes(comparison)

    def inline(key: ForeignKeyConstraint) -> bool:
        remote = _remote(comparison, key)
        own = comparison.key(key.table.schema, key.table.name)
        if remote == own:
            columns = {element.column.name for element in key.elements}
            keys = (one for one in new[own].constraints.values() if one.kind in "pu")
            return any(columns == {*one.local_columns} for one in keys)  # an index is made after the table
        return remote not in altered and not (circular and remote in new)

    for key in order:
        shape, copy = new[key], comparison.copies[comparison.models[key].key]
        apart = {_columns(one) for one in copy.foreign_key_constraints if not inline(one)}
        for one in shape.constraints.values():
            if one.kind == "f" and one.local_columns in apart:
                yield constraints.comes(shape, one, (True, True))
        steps = created_table(copy, shape, taken.get(key[0], set()), apart)
        drop = DropTableOp(shape.name, schema=shape.schema)
        yield Change(Phase.TABLES_COME, tuple(steps), (drop,), f"create_table {shape.sql}")


def altered(comparison: Comparison) -> dict[Key, list[Change]]:
    """Return what becomes of each table that both sides have; nothing of those that are alike."""
    keys = {
        key: constraints.keys_of(pair, comparison.rebuilt, comparison.named[key])
        for key, pair in comparison.pairs.items()
    }
    found = {}
    for key, pair in comparison.pairs.items():
        changes = [
            *_column_sets(comparison, key, pair),
            *columns.changes(pair, comparison.rebuilt, comparison.castable),
            *constraints.changes(pair, comparison.rebuilt, comparison.named[key]),
            *constraints.foreign_keys(pair, comparison.named[key], keys, comparison.default),
            *_comment(pair),
        ]
        found[key] = [one for one in changes if one.forward or one.backward]
    return {key: changes for key, changes in found.items() if changes}


def _comment(pair: Pair) -> Iterator[Change]:
    live, target = pair.live.comment or None, pair.target.comment or None
    if live != target:
        sql = f"COMMENT ON TABLE {pair.live.sql} IS"
        steps = ((f"{sql} {literal(target)}",), (f"{sql} {literal(live)}",))
        yield Change(Phase.COMMENTS, *steps, f"create_table_comment {pair.live.sql}: {live!r} -> {target!r}")


def _columns(key: ForeignKeyConstraint) -> tuple[str, ...]:
    return tuple(element.parent.name for element in key.elements)


def _indexes(comparison: Comparison) -> dict[str | None, set[str]]:
    """Return the names of the indexes of the tables that are there and stay, by schema."""
    found: dict[str | None, set[str]] = {}
    for key in comparison.pairs:
        shape = comparison.live[key]
        names = {*shape.indexes, *(one.name for one in shape.constraints.values() if one.kind in "pux")}
        found.setdefault(key[0], set()).update(names)
    return found


def _remote(comparison: Comparison, key: ForeignKeyConstraint) -> Key:
    table = key.elements[0].column.table
    return comparison.key(table.schema, table.name)


def _column_sets(comparison: Comparison, key: Key, pair: Pair) -> Iterator[Change]:
    table = pair.live.sql
    for name, one in pair.live.columns.items():
        if name not in pair.target.columns:
            drop = DropColumnOp(pair.live.name, name, schema=pair.live.schema)
            phase = Phase.GENERATED_GO if one.generated else Phase.COLUMNS_GO
            yield Change(
                phase, (drop,), (*_empty(one, name), *columns.added(table, one)), f"drop_column {table}.{name}"
            )
    for name, one in pair.target.columns.items():
        if name not in pair.live.columns:
            phase = Phase.GENERATED_COME if one.generated else Phase.COLUMNS_COME
            column = next(
                found for found in comparison.copies[comparison.models[key].key].columns if found.name == name
            )
            step: list[Step] = [added_column(column)]
            if one.serial or one.identity:
                step = list(columns.added(table, one))
            drop = DropColumnOp(pair.live.name, name, schema=pair.live.schema)
            yield Change(phase, (*_empty(one, name), *step), (drop,), f"add_column {table}.{name}: {one.clause}")


def _ordered(shapes: dict[Key, TableState], default: str | None) -> tuple[list[Key], bool]:
    """Return tables after those that they refer to, and whether some refer to each other in a circle."""
    graph = {
        key: {
            (None if one.foreign_schema == default else one.foreign_schema, one.foreign_table or "")
            for one in shape.constraints.values()
            if one.kind == "f"
        }
        & (shapes.keys() - {key})
        for key, shape in shapes.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order()), False
    except CycleError:
        return list(graph), True


def _empty(column: ColumnState, name: str) -> tuple[Step, ...]:
    """Return what to say of a column that rows have no value for."""
    if column.not_null and column.default is None and not column.identity:
        return (Note(f"Rows that are there have no {name}: this fails unless the table is empty."),)
    return ()

"""Changes of tables: those to create, to drop and to alter."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from alembic.operations.ops import DropColumnOp, DropIndexOp, DropTableOp
from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.schema import CreateTable

from service_migrations._sqlalchemy import verbatim_dialect
from service_migrations.autogenerate.changes import columns, constraints, generated
from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step
from service_migrations.autogenerate.changes.dependents import users_of_columns
from service_migrations.autogenerate.changes.inheritance import part_names, partition_parts
from service_migrations.autogenerate.changes.inheritance.own_columns import own_columns
from service_migrations.autogenerate.changes.matches import Matches, new_names
from service_migrations.autogenerate.changes.table_options import TableOptions, changed_persistence, new_comments
from service_migrations.autogenerate.changes.table_pair import (
    BOTH,
    NEITHER,
    Directions,
    Pair,
    converted_columns,
    either,
    recreated_columns,
)
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.operations import added_column, created_table, remove_exclusions
from service_migrations.catalog.tables import ColumnState, Constraint, Index, TableState
from service_migrations.sql.quoting import literal

__all__ = ["altered", "created", "dropped", "persistence"]


def dropped(comparison: Comparison) -> Iterator[Change]:
    """Yield the changes that drop the tables which the models no longer have."""
    tables = {key: table for key, table in sorted(comparison.live.items(), key=str) if key not in comparison.targets}
    order, circular = (
        _sorted(comparison.former.references(tables), comparison.former.parents(tables)) if tables else ([], False)
    )
    for key in reversed(order):
        table = tables[key]
        foreign_keys = [each for each in table.constraints.values() if each.kind == "f"]
        if table.partition_key:
            parts = {*table.indexes, *table.constraints}
            yield part_names.names_kept(
                comparison.former, comparison.connection, table, parts, again=foreign_keys, whole=True
            )
        elif copied := comparison.former.copied(table, foreign_keys):
            yield part_names.names_kept(comparison.former, comparison.connection, table, copied)
        for constraint in comparison.former.completed(table).constraints.values():
            if constraint.kind == "f":
                yield constraints.drop(table, constraint, Directions(circular, down=True))
        operation: Step = DropTableOp(table.name, schema=table.schema)
        yield Change(Phase.DROP_TABLES, (operation,), comparison.former.creation(table), f"drop_table {table.sql}")
        drops, adds = comparison.former.foreign_keys(table)
        if adds:
            yield Change(Phase.DROP_FOREIGN_KEYS, drops if circular else (), adds)
    for pair in comparison.pairs.values() if tables else ():
        if pair.live.partition_key:
            drops, adds = comparison.former.foreign_keys(pair.live, tables.values())
            yield from [Change(Phase.DROP_FOREIGN_KEYS, drops, adds)] if adds else []


def created(comparison: Comparison, altered: set[Key]) -> Iterator[Change]:
    """Yield the changes that create the tables which only the models have.

    Args:
        comparison: the two sides.
        altered: the tables that change too; a foreign key to one of them is added after that.

    """
    new = {key: table for key, table in comparison.targets.items() if key not in comparison.live}
    parents = {key: {*comparison.new_parents(key)} & new.keys() for key in new}
    order, circular = _ordered(new, comparison.default, parents)
    taken = _indexes(comparison)

    def inline(key: ForeignKeyConstraint) -> bool:
        if key.use_alter:
            return False  # SQLAlchemy leaves it out of CREATE TABLE
        remote = _remote(comparison, key)
        own = comparison.key(key.table.schema, key.table.name)
        if remote == own:
            columns = {element.column.name for element in key.elements}
            unique_keys = (constraint for constraint in new[own].constraints.values() if constraint.kind in "pu")
            return any(
                columns == {*unique.local_columns} for unique in unique_keys
            )  # an index is created after the table
        return remote not in altered and not (circular and remote in new)

    for key in order:
        table, copy = new[key], comparison.copies[comparison.models[key].key]
        comparison.hooks.leave_out_indexes(copy)
        later = {_columns(foreign) for foreign in copy.foreign_key_constraints if not inline(foreign)}
        for constraint in table.constraints.values():
            if constraint.kind == "f" and constraint.local_columns in later:
                yield constraints.add(table, constraint, BOTH)
        taken_names = taken.get(key[0], set())
        for exclusion in remove_exclusions(copy, table, taken_names):
            yield constraints.add(table, exclusion, BOTH)
        steps: list[Step] = [*created_table(copy, table, taken_names, later)]
        if not copy.columns and not copy.constraints - {copy.primary_key}:
            # as where all columns are those of its parents: Alembic would write a call without arguments, and commas
            dialect = verbatim_dialect(comparison.connection.dialect)
            steps[0] = str(CreateTable(copy).compile(dialect=dialect)).strip()
            steps[1:1] = [f"COMMENT ON TABLE {table.sql} IS {literal(copy.comment)}"] if copy.comment else []
        drop = DropTableOp(table.name, schema=table.schema)
        yield Change(Phase.CREATE_TABLES, tuple(steps), (drop,), f"create_table {table.sql}")
        if comments := tuple(new_comments(comparison, comparison.models[key], table)):
            yield Change(Phase.COMMENT, comments, ())


def altered(comparison: Comparison) -> dict[Key, list[Change]]:
    """Return the changes of each table that both sides have; equal tables are left out."""
    keys = {
        key: constraints.keys_of(pair, comparison.recreated_types, comparison.named[key])
        for key, pair in comparison.pairs.items()
    }
    names = new_names((pair, comparison.named[key]) for key, pair in comparison.pairs.items())
    options, users = TableOptions(comparison), users_of_columns(comparison)
    changes = {}
    for key, pair in comparison.pairs.items():
        table_changes = [
            *_added_and_dropped_columns(comparison, key, pair),
            *_parts_of_dropped_columns(comparison, pair),
            *columns.changes(pair, comparison.recreated_types, comparison.castable, users.get(key, {})),
            *constraints.changes(pair, comparison.recreated_types, comparison.named[key], names),
            *constraints.foreign_keys(pair, comparison.named[key], keys, comparison.default, names),
            *options.changes(key, pair),
            *_comment(pair),
        ]
        if table_changes:
            table_changes = _with_parts_of_partitions(comparison, key, pair, table_changes)
        changes[key] = [change for change in table_changes if change.forward or change.backward]
    changes = {key: table_changes for key, table_changes in changes.items() if table_changes}
    for key, table_changes in own_columns(comparison).items() if changes else ():
        changes.setdefault(key, []).extend(table_changes)
    return changes


def persistence(comparison: Comparison) -> list[Change]:
    """Return the changes of the tables that become UNLOGGED or LOGGED, in their order."""
    changing = {key: pair for key, pair in comparison.pairs.items() if pair.live.unlogged != pair.target.unlogged}
    order, _ = _ordered({key: pair.live for key, pair in changing.items()}, comparison.default)
    return list(changed_persistence([changing[key] for key in order]))


def _comment(pair: Pair) -> Iterator[Change]:
    live, target = pair.live.comment or None, pair.target.comment or None
    if live != target:
        sql = f"COMMENT ON TABLE {pair.live.sql} IS"
        steps = ((f"{sql} {literal(target)}",), (f"{sql} {literal(live)}",))
        yield Change(Phase.COMMENT, *steps, f"create_table_comment {pair.live.sql}: {live!r} -> {target!r}")


def _columns(key: ForeignKeyConstraint) -> tuple[str, ...]:
    return tuple(element.parent.name for element in key.elements)


def _indexes(comparison: Comparison) -> dict[str | None, set[str]]:
    """Return the names of the indexes of the tables that both sides have, by schema."""
    names: dict[str | None, set[str]] = {}
    for key in comparison.pairs:
        table = comparison.live[key]
        constraint_names = (each.name for each in table.constraints.values() if each.kind in "pux")
        names.setdefault(key[0], set()).update(table.indexes, constraint_names)
    return names


def _remote(comparison: Comparison, key: ForeignKeyConstraint) -> Key:
    table = key.elements[0].column.table
    return comparison.key(table.schema, table.name)


def _added_and_dropped_columns(comparison: Comparison, key: Key, pair: Pair) -> Iterator[Change]:
    table = pair.live.sql
    for name, column in pair.live.columns.items():
        if name not in pair.target.columns:
            drop = DropColumnOp(pair.live.name, name, schema=pair.live.schema)
            phase = Phase.DROP_GENERATED if column.generated else Phase.DROP_COLUMNS
            add = (*_missing_value_note(column), *comparison.former.column(pair.live, name))
            also = ", ".join(comparison.former.dropped_with(pair.live, name))
            notes = (Note(f"PostgreSQL drops with {name}: {also}."),) if also else ()
            yield Change(phase, (*notes, drop), add, f"drop_column {table}.{name}")
    for name, column in pair.target.columns.items():
        if name not in pair.live.columns:
            phase = Phase.ADD_GENERATED if column.generated else Phase.ADD_COLUMNS
            model_columns = comparison.copies[comparison.models[key].key].columns
            steps: list[Step] = [added_column(next(each for each in model_columns if each.name == name))]
            if column.serial or column.identity:
                steps = list(generated.added(table, column))
            drop = DropColumnOp(pair.live.name, name, schema=pair.live.schema)
            description = f"add_column {table}.{name}: {column.clause}"
            yield Change(phase, (*_missing_value_note(column), *steps), (drop,), description)


def _parts_of_dropped_columns(comparison: Comparison, pair: Pair) -> Iterator[Change]:
    """Yield the changes for what PostgreSQL drops or rebuilds with a column: statistics, and what partitions have."""
    gone = {name: Directions(up=False, down=True) for name in pair.live.columns if name not in pair.target.columns}
    gone |= recreated_columns(pair, comparison.recreated_types)
    virtual = [column.name for column in pair.target.columns.values() if column.generated == "v"]
    converted = converted_columns(pair, comparison.recreated_types)
    if gone or converted:
        yield from comparison.former.statistics(pair.live, gone, converted, virtual)
        yield from comparison.former.targets(pair.live, either(NEITHER, *converted.values()))
    if gone and pair.live.partition_key:
        yield from comparison.former.parts_of_partitions(pair.live, gone)


def _with_parts_of_partitions(
    comparison: Comparison, key: Key, pair: Pair, table_changes: list[Change]
) -> list[Change]:
    """Return the changes of a table with those for what PostgreSQL creates with its parts, and partitions have."""
    former, connection = comparison.former, comparison.connection
    created_again = {step for change in table_changes for step in change.backward if isinstance(step, str)}
    statements: dict[str, Constraint | Index] = {index.definition: index for index in pair.live.indexes.values()}
    statements |= {constraints.addition(pair.live, each): each for each in pair.live.constraints.values()}
    again = {statement: part for statement, part in statements.items() if statement in created_again}
    forward = {step for change in table_changes for step in change.forward if isinstance(step, str)}
    if not pair.live.partition_key:
        copied = former.copied(pair.live, [each for each in again.values() if isinstance(each, Constraint)])
        return [*([part_names.names_kept(former, connection, pair.live, copied)] if copied else []), *table_changes]
    matches = Matches.of(pair, comparison.named[key])
    kept = {match.name for match in matches.indexes.values()}
    new = [index for name, index in pair.target.indexes.items() if name not in kept]
    drops = partition_parts.drops(former, pair.live, new)
    recreated = {statement: part for statement, part in statements.items() if statement in created_again | forward}
    apart = partition_parts.creations_apart(former, pair.live, recreated)
    # PostgreSQL creates the keys and indexes of a column again that gets another type
    is_converted = any(converted_columns(pair, comparison.recreated_types).values())
    parts = {*pair.live.indexes, *pair.live.constraints} if is_converted else {each.name for each in again.values()}
    names = part_names.names_kept(
        former,
        connection,
        pair.live,
        parts,
        again=[part for statement, part in again.items() if statement not in apart],
        added=(*matches.added, *new),
        whole=is_converted or not pair.live.columns.keys() <= pair.target.columns.keys(),
    )
    changed = (
        replace(
            change,
            forward=tuple(_replaced(step, apart) for step in change.forward),
            backward=drops[str(step.index_name)]
            if change.backward and isinstance(step := change.backward[-1], DropIndexOp) and step.index_name in drops
            else tuple(_replaced(step, apart) for step in change.backward),
        )
        for change in table_changes
    )
    return [names, *changed, *partition_parts.taken(former, pair.live, (*matches.added, *new))]


def _replaced(step: Step, statements: Mapping[str, str]) -> Step:
    return statements.get(step, step) if isinstance(step, str) else step


def _ordered(
    tables: dict[Key, TableState], default: str | None, parents: Mapping[Key, set[Key]] | None = None
) -> tuple[list[Key], bool]:
    """Return tables after their parents and those that they refer to, and whether references are circular."""
    graph = {
        key: {
            (
                None if constraint.foreign_schema == default else constraint.foreign_schema,
                constraint.foreign_table or "",
            )
            for constraint in table.constraints.values()
            if constraint.kind == "f"
        }
        & (tables.keys() - {key})
        for key, table in tables.items()
    }
    return _sorted(graph, parents or {})


def _sorted(references: Mapping[Key, set[Key]], parents: Mapping[Key, set[Key]]) -> tuple[list[Key], bool]:
    """Return tables after their parents and what they refer to, and whether references are circular."""
    both = {key: others | parents.get(key, set()) for key, others in references.items()}
    try:
        return list(TopologicalSorter(both).static_order()), False
    except CycleError:
        return list(TopologicalSorter({key: parents.get(key, set()) for key in references}).static_order()), True


def _missing_value_note(column: ColumnState) -> tuple[Step, ...]:
    """Return a note for a NOT NULL column for which existing rows have no value."""
    if column.not_null and column.default is None and not column.identity:
        return (Note(f"Existing rows have no {column.name}: this fails unless the table is empty."),)
    return ()

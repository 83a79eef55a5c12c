"""Changes of generated columns: of the expression, of STORED and VIRTUAL, from a plain column and to one.

A column that ceases to be generated keeps its values on every version: a stored one by DROP EXPRESSION, and a virtual
one becomes a stored one first, which PostgreSQL computes in the same statement and without a trigger.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step, steps
from service_migrations.autogenerate.changes.table_pair import Directions
from service_migrations.catalog.restoration import Restoration
from service_migrations.catalog.tables import ColumnState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["added", "changes"]


def changes(
    table: str, live: ColumnState, target: ColumnState, recreated: Directions, users: Sequence[str]
) -> Iterator[Change]:
    """Yield the changes between two states of a column of which at least one is generated.

    Args:
        table: its name as SQL.
        live: the column in the database.
        target: the column in the models.
        recreated: the directions in which the column is dropped and added.
        users: what uses the column, and is in the way of a downgrade that drops it.

    """
    # grants and settings are of the column that is dropped
    target = replace(target, settings=live.settings, rest=live.rest)
    drop = f"ALTER TABLE {table} DROP COLUMN {quoted(live.name)}"
    early_up, late_up = _steps(table, live, target, drop, recreated=recreated.up)
    early_down, late_down = _steps(table, target, live, drop, recreated=recreated.down)
    if users and recreated.down and not recreated.up:
        lines = (f"The {user} uses {live.name}: drop it before, and create it again after." for user in users)
        early_down = (Note("\n".join(lines)), *early_down)
    # a column that another is computed from isn't dropped, or both are: so the other one gets its own values before,
    # or is dropped before
    drop_phase, add_phase = Phase.DROP_GENERATED, Phase.ADD_GENERATED
    if not live.generated:
        drop_phase, add_phase = Phase.DROP_COLUMNS, Phase.ADD_GENERATED_OF_PLAIN
    elif not target.generated:
        drop_phase, add_phase = Phase.KEEP_GENERATED, Phase.ADD_COLUMNS
    yield Change(drop_phase, early_up, late_down, _description(table, live, target))
    yield Change(add_phase, late_up, early_down)


def added(table: str, column: ColumnState) -> tuple[Step, ...]:
    """Return the steps that add a column with its comment and with what else it had."""
    comment = f"COMMENT ON COLUMN {table}.{quoted(column.name)} IS {literal(column.comment)}"
    comments = (comment,) if column.comment else ()
    settings: tuple[Step, ...] = column.settings
    if settings and column.generated == "v":
        settings = steps(Restoration(lost=(f"the storage and statistics settings of {column.name}: it is virtual",)))
    return (f"ALTER TABLE {table} ADD COLUMN {column.clause}", *comments, *settings, *steps(column.rest))


def _steps(
    table: str, before: ColumnState, after: ColumnState, drop: str, *, recreated: bool
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the steps of one direction: those before the columns that the expression uses change, and those after."""
    alter = f"ALTER TABLE {table} ALTER COLUMN {quoted(before.name)}"
    if not after.generated:
        end = f"{alter} DROP EXPRESSION"
        if not recreated:
            return (end,), ()
        note = Note(
            "A virtual column has no values of its own: it is added again as a stored one, which keeps them. This\n"
            f"rewrites the table under an exclusive lock, and {before.name} becomes its last column."
        )
        # in a downgrade comments are changed before
        stored = replace(before, generated="s", comment=after.comment)
        return (note, drop, *added(table, stored), end), ()
    if recreated:
        return (_warning(before, after), drop), added(table, after)
    if before.default == after.default:
        return (), ()
    note = Note("This computes all values again, which rewrites the table under an exclusive lock.")
    return (), (note, f"{alter} SET EXPRESSION AS ({after.default})")


def _warning(before: ColumnState, after: ColumnState) -> Note:
    if not before.generated:
        return Note(f"WARNING: the data of {before.name} are lost: a column can't become a generated one.")
    if before.generated != after.generated:
        reason = "a generated column can't change between STORED and VIRTUAL"
    elif before.kind != after.kind:
        reason = "the values of another type have to be computed again"
    elif before.default != after.default:
        reason = "this expression of a generated column can't be changed in its place"
    else:
        reason = "the expression uses what is changed"
    rewrite = ", which\nrewrites the table under an exclusive lock" if after.generated == "s" else ""
    return Note(
        f"WARNING: {reason}: the column is\ndropped and added again{rewrite}. {after.name} becomes the last column."
    )


def _description(table: str, live: ColumnState, target: ColumnState) -> str:
    prefix, details = f"alter_column {table}.{live.name}:", []
    if live.generated and target.generated and live.kind != target.kind:
        details.append(f"type {live.kind} -> {target.kind}")
    if (live.generated, live.default) != (target.generated, target.default):
        details.append(f"{_origin(live)} -> {_origin(target)}")
    return f"{prefix} {', '.join(details)}" if details else ""


def _origin(column: ColumnState) -> str:
    if not column.generated:
        return f"server_default {column.expression}"
    return f"generated as {column.default} {'STORED' if column.generated == 's' else 'VIRTUAL'}"

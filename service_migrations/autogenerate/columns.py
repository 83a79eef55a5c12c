"""Columns: what leads from a column of the database to that of the models, in both directions."""

import re
from collections.abc import Callable, Iterator

from service_migrations.autogenerate.change import Change, Note, Phase, Step
from service_migrations.autogenerate.table_pair import NEITHER, Directions, Pair, Rebuilt, converted, either, remade
from service_migrations.catalog.tables import ColumnState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["added", "changes"]

_DEFAULT_COLLATION = 'pg_catalog."default"'

_LENGTH = re.compile(r"^(character|bit) varying\(\d+\)|^character\(\d+\)")
"""Of a type that a cast to it cuts to that length; an assignment fails instead."""


def changes(pair: Pair, rebuilt: Rebuilt, castable: Callable[[str, str], bool]) -> Iterator[Change]:
    """Yield what leads from one to the other, but for columns that only one of them has.

    Args:
        pair: the table.
        rebuilt: the enum types that are made anew.
        castable: whether PostgreSQL can alter a column, given by its name and type, in such a way.

    """
    casts, again = converted(pair, rebuilt), remade(pair, rebuilt)
    for live, target in pair.common:
        if live.name in again:
            yield from _remake(pair.live.sql, live, target, again[live.name])
        if live.name not in again or not again[live.name][0]:
            yield from _alter(pair.live.sql, live, target, casts.get(live.name, NEITHER), rebuilt, castable)


def _remake(table: str, live: ColumnState, target: ColumnState, when: Directions) -> Iterator[Change]:
    place = f"ALTER TABLE {table}"
    drop = f"{place} DROP COLUMN {quoted(live.name)}"
    note = Note(
        "WARNING: the expression of a generated column can't be changed before PostgreSQL 17: the column is dropped\n"
        "and added again, which rewrites the table under an exclusive lock."
    )
    if target.generated and not live.generated:
        note = Note(f"WARNING: what {live.name} holds is lost: a column can't become a generated one.")
    forward: tuple[Step, ...] = (note, drop) if when[0] else ()
    if live.generated and not target.generated and not when[0]:
        forward = (f"{place} ALTER COLUMN {quoted(live.name)} DROP EXPRESSION",)
    same = (live.generated, live.default) == (target.generated, target.default)
    says = "" if same else f"alter_column {table}.{live.name}: {_origin(live)} -> {_origin(target)}"
    yield Change(Phase.GENERATED_GO, forward, tuple(added(table, live)) if when[1] else (), says)
    yield Change(Phase.GENERATED_COME, tuple(added(table, target)) if when[0] else (), (drop,) if when[1] else ())


def added(table: str, column: ColumnState) -> list[str]:
    """Return the statements that add a column."""
    found = [f"ALTER TABLE {table} ADD COLUMN {column.clause}"]
    if column.comment:
        found.append(f"COMMENT ON COLUMN {table}.{quoted(column.name)} IS {literal(column.comment)}")
    return found


def _origin(column: ColumnState) -> str:
    return f"generated as {column.default}" if column.generated else f"server_default {column.expression}"


def _alter(
    table: str,
    live: ColumnState,
    target: ColumnState,
    cast: Directions,
    rebuilt: Rebuilt,
    castable: Callable[[str, str], bool],
) -> Iterator[Change]:
    place = f"ALTER TABLE {table} ALTER COLUMN {quoted(live.name)}"
    says = f"alter_column {table}.{live.name}:"
    steps: tuple[tuple[str, ...], tuple[str, ...]]
    if live.serial != target.serial or (live.serial and live.type != target.type):
        yield from _sequence(table, live, target)
    if live.identity and not target.identity:
        steps = (f"{place} DROP IDENTITY",), (f"{place} ADD {live.identity_clause}", _onward(table, live))
        yield Change(Phase.DEFAULTS_GO, *steps, f"{says} no identity")
    yield from _default(place, live, target, either(cast, rebuilt.has(*live.types)), says)
    if any(cast):
        kinds = f"{says} type {live.kind} -> {target.kind}" if live.kind != target.kind else ""
        forward, backward = _conversion(place, live, target, castable), _conversion(place, target, live, castable)
        if live.identity and target.identity:
            # both ways after the type: the limits of the sequence follow it
            forward += _renumber(place, live, target)
            backward += _renumber(place, target, live)
        yield Change(Phase.COLUMNS_CHANGE, forward if cast[0] else (), backward if cast[1] else (), kinds)
    if live.not_null != target.not_null:
        keep, allow = f"{place} SET NOT NULL", f"{place} DROP NOT NULL"
        steps = ((keep,), (allow,)) if target.not_null else ((allow,), (keep,))
        yield Change(Phase.COLUMNS_CHANGE, *steps, f"{says} nullable {not live.not_null} -> {not target.not_null}")
    if target.identity and not live.identity:
        steps = (f"{place} ADD {target.identity_clause}", _onward(table, target)), (f"{place} DROP IDENTITY",)
        yield Change(Phase.COLUMNS_CHANGE, *steps, f"{says} identity")
    elif target.identity and live.identity_clause != target.identity_clause and not any(cast):
        forward, backward = _renumber(place, live, target), _renumber(place, target, live)
        yield Change(
            Phase.COLUMNS_CHANGE, forward, backward, f"{says} {live.identity_clause} -> {target.identity_clause}"
        )
    if (live.comment or None) != (target.comment or None):
        comment = f"COMMENT ON COLUMN {table}.{quoted(live.name)} IS"
        steps = ((f"{comment} {literal(target.comment)}",), (f"{comment} {literal(live.comment)}",))
        yield Change(Phase.COMMENTS, *steps, f"{says} comment {live.comment!r} -> {target.comment!r}")


def _conversion(
    place: str, before: ColumnState, after: ColumnState, castable: Callable[[str, str], bool]
) -> tuple[Step, ...]:
    """Return what converts a column: where PostgreSQL assigns one type to the other, without a cast, which may cut."""
    name = quoted(before.name)
    if before.type == after.type and before.collation != after.collation:
        return (f"{place} TYPE {after.type} COLLATE {after.collation or _DEFAULT_COLLATION}",)
    whole = _LENGTH.sub(lambda found: f"{found[1]} varying" if found[1] else "bpchar", after.type)
    for using in ("", f" USING {name}::{whole}"):
        action = f"TYPE {after.kind}{using}"
        if before.type != after.type and castable(f"{name} {before.type}", f"ALTER COLUMN {name} {action}"):
            return (f"{place} {action}",)
    text = "text[]" if before.type.endswith("[]") and after.type.endswith("[]") else "text"
    step = f"{place} TYPE {after.kind} USING {name}::{text}::{whole}"
    if before.type == after.type:
        return (step,)
    return (
        Note(f"PostgreSQL has no cast from {before.type} to {after.type}: say in USING what becomes of rows."),
        step,
    )


def _default(place: str, live: ColumnState, target: ColumnState, cast: Directions, says: str) -> Iterator[Change]:
    former, new = live.expression, target.expression
    if former == new and not any(cast):
        return
    drop = f"{place} DROP DEFAULT"
    says = f"{says} server_default {former} -> {new}" if former != new else ""
    yield Change(
        Phase.DEFAULTS_GO,
        (drop,) if former and (cast[0] or new is None) else (),
        (f"{place} SET DEFAULT {former}",) if former and (cast[1] or former != new) else (),
        says if former else "",
    )
    yield Change(
        Phase.DEFAULTS_COME,
        (f"{place} SET DEFAULT {new}",) if new and (cast[0] or former != new) else (),
        (drop,) if new and (cast[1] or former is None) else (),
        "" if former else says,
    )


def _renumber(place: str, before: ColumnState, after: ColumnState) -> tuple[Step, ...]:
    words = []
    if before.identity != after.identity:
        words.append(f"SET GENERATED {'ALWAYS' if after.identity == 'a' else 'BY DEFAULT'}")
    former = before.sequence_options
    words += [f"SET {option}" for key, option in after.sequence_options.items() if option != former[key]]
    return (f"{place} {' '.join(words)}",) if words else ()


def _sequence(table: str, live: ColumnState, target: ColumnState) -> Iterator[Change]:
    """Yield the making or dropping of the sequence of a serial column, or the widening of it."""
    says = f"alter_column {table}.{live.name}: serial"
    name = ((live if live.serial else target).sequence or {})["name"]
    if live.serial and target.serial:
        steps = ((f"ALTER SEQUENCE {name} AS {target.type}",), (f"ALTER SEQUENCE {name} AS {live.type}",))
        yield Change(Phase.COLUMNS_CHANGE, *steps)
        return
    owner = live if live.serial else target
    place = f"ALTER TABLE {table} ALTER COLUMN {quoted(live.name)}"
    make = (
        f"CREATE SEQUENCE {name} AS {owner.type} OWNED BY {table}.{quoted(live.name)}",
        f"{place} SET DEFAULT nextval({literal(name)}::regclass)",
        _onward(table, owner),
    )
    drop = (f"{place} DROP DEFAULT", f"DROP SEQUENCE {name}")
    if live.serial:
        yield Change(Phase.DEFAULTS_GO, drop, make, f"{says} -> server_default {target.expression}")
    else:
        yield Change(Phase.DEFAULTS_COME, make, drop, f"{says} instead of server_default {live.expression}")


def _onward(table: str, column: ColumnState) -> str:
    """Return what makes a new sequence go on behind the rows; where it has counted none of them, it stays at its start.

    ``setval`` does nothing with NULL, which ``max`` of no rows is.
    """
    name, options = quoted(column.name), column.sequence if column.identity else None
    last, counted = f"max({name})", f"{name} >= 1"
    if options and options["increment"] > 0:
        counted = f"{name} BETWEEN {options['start']} AND {options['maxvalue']}"
    elif options:
        last, counted = f"min({name})", f"{name} BETWEEN {options['minvalue']} AND {options['start']}"
    owner = f"pg_get_serial_sequence({literal(table)}, {literal(column.name)})"
    return f"SELECT setval({owner}, {last}) FROM {table} WHERE {counted}"  # noqa: S608 - names that are quoted

"""Changes of columns, from the database to the models and back."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from service_migrations.autogenerate.changes import generated
from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step, steps as restored, with_version
from service_migrations.autogenerate.changes.table_pair import (
    NEITHER,
    Directions,
    Pair,
    RecreatedTypes,
    converted_columns,
    either,
    recreated_columns,
)
from service_migrations.autogenerate.changes.types import arrays, conversions
from service_migrations.autogenerate.operations import widening
from service_migrations.catalog.tables import ColumnState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["changes"]

_DEFAULT_COLLATION = 'pg_catalog."default"'

_LENGTH = re.compile(r"^(character|bit) varying\(\d+\)|^character\(\d+\)")
"""Types whose casts truncate a longer value, where an assignment fails."""


def changes(
    pair: Pair,
    recreated_types: RecreatedTypes,
    castable: Callable[[str, str], bool],
    users: Mapping[str, Sequence[str]],
) -> Iterator[Change]:
    """Yield the changes of the columns that both sides have.

    Args:
        pair: the table.
        recreated_types: the enum types that are recreated.
        castable: whether PostgreSQL can alter a column, given by name and type, with an action.
        users: what uses each column that the downgrade drops and adds again.

    """
    converted, recreated = converted_columns(pair, recreated_types), recreated_columns(pair, recreated_types)
    for live, target in pair.common:
        new = NEITHER
        if live.generated or target.generated:
            directions = recreated.get(live.name, NEITHER)
            yield from generated.changes(pair.live.sql, live, target, directions, users.get(live.name, ()))
            # a column that is added as a generated one has everything at once
            new = Directions(directions.up and bool(target.generated), directions.down and bool(live.generated))
        conversion = converted.get(live.name, NEITHER)
        for change in _alter(pair, live, target, conversion, recreated_types, castable):
            yield replace(
                change,
                forward=() if new.up else change.forward,
                backward=() if new.down else change.backward,
            )


def _alter(
    pair: Pair,
    live: ColumnState,
    target: ColumnState,
    conversion: Directions,
    recreated_types: RecreatedTypes,
    castable: Callable[[str, str], bool],
) -> Iterator[Change]:
    table = pair.live.sql
    alter = f"ALTER TABLE {table} ALTER COLUMN {quoted(live.name)}"
    prefix = f"alter_column {table}.{live.name}:"
    steps: tuple[tuple[Step, ...], tuple[Step, ...]]
    if live.serial != target.serial or (live.serial and live.type != target.type):
        yield from _sequence(table, live, target)
    if live.identity and not target.identity:
        add = f"{alter} ADD {live.named_identity_clause(pair.live.name)}"
        rest = restored(live.sequence_rest)
        steps = (
            (*_kept_number(table, live, target), f"{alter} DROP IDENTITY"),
            (add, _continue_sequence(table, live, target), *rest),
        )
        yield Change(Phase.DROP_DEFAULTS, *steps, f"{prefix} no identity")
    yield from _default(alter, live, target, either(conversion, recreated_types.includes(*live.types)), prefix)
    if any(conversion):
        description = f"{prefix} type {live.kind} -> {target.kind}" if live.kind != target.kind else ""
        widened, backward = widening(pair.live, live, target), _conversion(alter, target, live, castable)
        forward = (widened,) if widened else _conversion(alter, live, target, castable)
        if live.identity and target.identity:
            # in both directions after the type, which sets the limits of the sequence
            forward += _renumber(table, live, target)
            backward += _renumber(table, target, live)
        forward += tuple(_storage(alter, live, target, castable))
        backward += tuple(f"{alter} {action}" for action in live.storage)
        yield Change(
            Phase.ALTER_COLUMNS, forward if conversion.up else (), backward if conversion.down else (), description
        )
    yield from _nullable(table, live, target, prefix)
    if target.identity and not live.identity:
        steps = (
            (f"{alter} ADD {target.identity_clause}", _continue_sequence(table, target, live)),
            (*_kept_number(table, target, live), f"{alter} DROP IDENTITY"),
        )
        yield Change(Phase.ALTER_COLUMNS, *steps, f"{prefix} identity")
    elif target.identity and live.identity_clause != target.identity_clause and not any(conversion):
        forward, backward = _renumber(table, live, target), _renumber(table, target, live)
        yield Change(
            Phase.ALTER_COLUMNS, forward, backward, f"{prefix} {live.identity_clause} -> {target.identity_clause}"
        )
    if (live.comment or None) != (target.comment or None):
        comment = f"COMMENT ON COLUMN {table}.{quoted(live.name)} IS"
        steps = ((f"{comment} {literal(target.comment)}",), (f"{comment} {literal(live.comment)}",))
        yield Change(Phase.COMMENT, *steps, f"{prefix} comment {live.comment!r} -> {target.comment!r}")


def _nullable(table: str, live: ColumnState, target: ColumnState, prefix: str) -> Iterator[Change]:
    """Yield the change of NOT NULL, which may be NOT VALID in the database."""
    if live.not_null == target.not_null and not live.unvalidated:
        return
    alter = f"ALTER TABLE {table} ALTER COLUMN {quoted(live.name)}"
    note = Note(f"Rows with NULL in {live.name} make this fail: fill them first.")
    forbid: tuple[Step, ...] = (note, f"{alter} SET NOT NULL")
    allow: tuple[Step, ...] = (f"{alter} DROP NOT NULL",)
    description = f"{prefix} nullable {not live.not_null} -> {not target.not_null}"
    forward, backward = (forbid, allow) if target.not_null else (allow, forbid)
    if live.forbids_null and not target.not_null:
        backward = (note, *with_version(f"ALTER TABLE {table} {live.forbids_null}"))
    if live.unvalidated:
        add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted(live.unvalidated)} NOT NULL {quoted(live.name)} NOT VALID"
        backward = (*(allow if target.not_null else ()), *with_version(add))
        description = f"{prefix} NOT NULL (NOT VALID) -> {'NOT NULL' if target.not_null else 'NULL'}"
    yield Change(Phase.ALTER_COLUMNS, forward, backward, description)


def _conversion(
    alter: str, before: ColumnState, after: ColumnState, castable: Callable[[str, str], bool]
) -> tuple[Step, ...]:
    """Return the steps that convert a column, if possible without a cast, which may truncate values."""
    name = quoted(before.name)
    if before.type == after.type and before.collation != after.collation:
        return (f"{alter} TYPE {after.type} COLLATE {after.collation or _DEFAULT_COLLATION}",)
    warnings = (kind.warning(name, before.stored, after.stored) for kind in (conversions, arrays))
    notes = tuple(Note(warning) for warning in warnings if warning)
    if conversions.can_change_values(before.stored, after.stored):
        action = f"TYPE {after.kind} USING {conversions.checked(name, before.stored, after.stored, after.type)}"
        if castable(f"{name} {before.type}", f"ALTER COLUMN {name} {action}"):
            return (*notes, f"{alter} {action}")
    for using in ("", f" USING {name}::{_cast_type(after)}"):
        action = f"TYPE {after.kind}{using}"
        if before.type != after.type and castable(f"{name} {before.type}", f"ALTER COLUMN {name} {action}"):
            return (*notes, f"{alter} {action}")
    return _uncast(alter, before, after, castable)


def _uncast(
    alter: str, before: ColumnState, after: ColumnState, castable: Callable[[str, str], bool]
) -> tuple[Step, ...]:
    """Return the steps that convert a column to a type to which PostgreSQL has no cast, if possible through text."""
    name, notes = quoted(before.name), list[Note]()
    no_cast = Note(
        f"PostgreSQL has no cast from {before.type} to {after.type}: write in USING how to convert the rows."
    )
    elements = arrays.of_elements(name, before.stored, after.stored, after.type)
    if elements and castable(f"{name} {before.type}", f"ALTER COLUMN {name} TYPE {after.kind} USING {elements}"):
        fails = arrays.warning(name, before.stored, after.stored)
        return Note(fails or "Each value becomes an array of one."), f"{alter} TYPE {after.kind} USING {elements}"
    json = arrays.of_json(name, before.stored, after.stored, after.type)
    if json and castable(f"{name} {before.type}", f"ALTER COLUMN {name} TYPE {after.kind} USING {json}"):
        fails = f"WARNING: this fails on a row that isn't JSON of an array which {after.type} can hold."
        shown = Note("Each value becomes a JSON array." if before.stored.endswith("[]") else fails)
        return shown, f"{alter} TYPE {after.kind} USING {json}"
    third = conversions.through(name, before.stored, after.stored, after.type)
    if third and castable(f"{name} {before.type}", f"ALTER COLUMN {name} TYPE {after.kind} USING {third}"):
        fails = f"WARNING: this fails on a row that {after.type} can't hold as it is."
        return *((Note(fails),) if third.startswith("CASE") else ()), f"{alter} TYPE {after.kind} USING {third}"
    text = "text[]" if before.type.endswith("[]") and after.type.endswith("[]") else "text"
    value = f"{name}::{text}"
    step = f"{alter} TYPE {after.kind} USING {value}::{_cast_type(after)}"
    if before.type == after.type:
        return (step,)
    if conversions.are_ranges(before.stored, after.stored):
        note = conversions.warning(name, before.stored, after.stored)
    else:
        # what holds for any text holds for the text of a value
        note = conversions.warning(value, text, after.stored)
        if conversions.can_change_values(text, after.stored):
            action = f"TYPE {after.kind} USING {conversions.checked(value, text, after.stored, after.type)}"
            if castable(f"{name} {before.type}", f"ALTER COLUMN {name} {action}"):
                step = f"{alter} {action}"
    notes += [Note(note)] if note else []
    if digits := conversions.warning_of_digits(name, before.stored, after.stored):
        notes.append(Note(digits))
    return *notes, no_cast, step


def _cast_type(column: ColumnState) -> str:
    """Return a column's type for a cast that cuts no value."""
    return _LENGTH.sub(lambda match: f"{match[1]} varying" if match[1] else "bpchar", column.type)


def _storage(
    alter: str, before: ColumnState, after: ColumnState, castable: Callable[[str, str], bool]
) -> Iterator[str]:
    """Yield the statements that keep a column's storage and compression, which a change of its type sets back."""
    for action in before.storage:
        if castable(f"{quoted(after.name)} {after.type}", f"ALTER COLUMN {quoted(after.name)} {action}"):
            yield f"{alter} {action}"


def _default(
    alter: str, live: ColumnState, target: ColumnState, conversion: Directions, prefix: str
) -> Iterator[Change]:
    former, new = live.expression, target.expression
    if former == new and not any(conversion):
        return
    drop = f"{alter} DROP DEFAULT"
    description = f"{prefix} server_default {former} -> {new}" if former != new else ""
    yield Change(
        Phase.DROP_DEFAULTS,
        (drop,) if former and (conversion.up or new is None) else (),
        (f"{alter} SET DEFAULT {former}",) if former and (conversion.down or former != new) else (),
        description if former else "",
    )
    yield Change(
        Phase.SET_DEFAULTS,
        (f"{alter} SET DEFAULT {new}",) if new and (conversion.up or former != new) else (),
        (drop,) if new and (conversion.down or former is None) else (),
        "" if former else description,
    )


def _renumber(table: str, before: ColumnState, after: ColumnState) -> tuple[Step, ...]:
    alter, actions = f"ALTER TABLE {table} ALTER COLUMN {quoted(after.name)}", []
    if before.identity != after.identity:
        actions.append(f"SET GENERATED {'ALWAYS' if after.identity == 'a' else 'BY DEFAULT'}")
    former_options = before.sequence_options
    actions += [f"SET {option}" for key, option in after.sequence_options.items() if option != former_options[key]]
    if not actions or not _is_apart(before, after):
        return (f"{alter} {' '.join(actions)}",) if actions else ()
    # PostgreSQL refuses limits that the last number isn't within
    return f"{alter} {' '.join(actions)} RESTART", _continue_sequence(table, after)


def _is_apart(before: ColumnState, after: ColumnState) -> bool:
    """Whether no number of an identity's former range is in the new one."""
    former, new = before.sequence or {}, after.sequence or {}
    return bool(new["minvalue"] > former["maxvalue"] or new["maxvalue"] < former["minvalue"])


def _sequence(table: str, live: ColumnState, target: ColumnState) -> Iterator[Change]:
    """Yield the change that creates, drops or widens the sequence of a serial column."""
    prefix = f"alter_column {table}.{live.name}: serial"
    name = ((live if live.serial else target).sequence or {})["name"]
    if live.serial and target.serial:
        former = (live.sequence or {})["type"]  # of one that was made by hand, not that of the column
        if former != target.type:
            steps = ((f"ALTER SEQUENCE {name} AS {target.type}",), (f"ALTER SEQUENCE {name} AS {former}",))
            yield Change(Phase.ALTER_COLUMNS, *steps)
        return
    owner, other = (live, target) if live.serial else (target, live)
    alter = f"ALTER TABLE {table} ALTER COLUMN {quoted(live.name)}"
    create = (
        f"CREATE SEQUENCE {name} AS {owner.type} OWNED BY {table}.{quoted(live.name)}",
        f"{alter} SET DEFAULT nextval({literal(name)}::regclass)",
        *owner.numbering,
        _continue_sequence(table, owner, other),
        *restored(owner.sequence_rest),
    )
    drop = (f"{alter} DROP DEFAULT", *_kept_number(table, owner, other), f"DROP SEQUENCE {name}")
    if live.serial:
        yield Change(Phase.DROP_SEQUENCES, drop, create, f"{prefix} -> server_default {target.expression}")
    else:
        yield Change(Phase.SET_DEFAULTS, create, drop, f"{prefix} instead of server_default {live.expression}")


def _kept_number(table: str, before: ColumnState, after: ColumnState) -> tuple[Step, ...]:
    """Return the statement that keeps the last number of a column until the end of the transaction, if it counts on.

    Without it, the numbers of rows that were deleted would be given again.
    """
    if not (_counts(before) and _counts(after)):
        return ()
    last = f"pg_sequence_last_value({_sequence_of(table, before)})"
    note = Note("The new sequence goes on behind this number: those of deleted rows aren't given again.")
    return note, f"SELECT set_config({literal(_setting(table, before))}, {last}::text, true)"


def _continue_sequence(table: str, column: ColumnState, before: ColumnState | None = None) -> str:
    """Return the statement that sets a new sequence to the last value in the rows, or to the last number before.

    Without one in its range the sequence stays at its start: ``max`` of no rows is NULL, and ``setval`` ignores that.
    """
    name, options = quoted(column.name), column.sequence if column.identity or column.numbering else None
    last, counted = f"max({name})", f"{name} >= 1"
    if options and options["increment"] > 0:
        counted = f"{name} BETWEEN {options['start']} AND {options['maxvalue']}"
    elif options:
        last, counted = f"min({name})", f"{name} BETWEEN {options['minvalue']} AND {options['start']}"
    numbers = table
    if before is not None and _counts(before):
        kept = f"nullif(current_setting({literal(_setting(table, column))}, true), '')::bigint"
        numbers = f"(SELECT {name} FROM {table} UNION ALL SELECT {kept}) AS numbers ({name})"  # noqa: S608 - quoted
    return f"SELECT setval({_sequence_of(table, column)}, {last}) FROM {numbers} WHERE {counted}"  # noqa: S608 - names that are quoted


def _counts(column: ColumnState) -> bool:
    return bool(column.serial or column.identity)


def _sequence_of(table: str, column: ColumnState) -> str:
    return f"pg_get_serial_sequence({literal(table)}, {literal(column.name)})"


def _setting(table: str, column: ColumnState) -> str:
    """Return the name of the setting that keeps the last number of a column."""
    name = f"{table}.{column.name}"
    plain = re.sub(r"[^a-z0-9_.]", "_", name, flags=re.ASCII)
    parts = [part if part[:1].isalpha() else f"_{part}" for part in plain.split(".")]
    return ".".join(("migrations", *parts)) + ("" if plain == name else f"_{crc32(name.encode())}")

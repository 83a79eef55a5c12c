"""Changes of enum types, from the labels of the database to those of the models and back.

PostgreSQL can only add and rename labels in place. For other changes the type is recreated, and every column of it is
converted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from service_migrations.autogenerate.changes.change import Change, Note, Phase
from service_migrations.autogenerate.enum_types import EnumType
from service_migrations.sql.quoting import literal, quoted

__all__ = ["added", "changes", "listed", "renamed"]

_Columns = Sequence[tuple[Any, ...]]
"""Columns of an enum type, as ``EnumType.columns`` has them."""


def changes(
    live: EnumType, target: EnumType, columns: _Columns, dependents: Sequence[str], present: str, *, commits: bool
) -> Iterator[Change]:
    """Yield the changes of one type, without the columns that have to be converted.

    Args:
        live: the type of the database.
        target: the type of the models.
        columns: those that have the type before and after.
        dependents: what else uses the type, and can't be recreated with it.
        present: its name as SQL before the renames of this revision, which labels are added before.
        commits: whether this revision uses a new label, which has to be committed first.

    """
    description = f"alter_type {live.sql}: {listed(live.labels)} -> {listed(target.labels)}"
    if renaming := renamed(live, target):
        yield _rename(live, renaming, description)
    elif additions := list(_additions(live, target)):
        yield _add(present, additions, description, commits=commits)
        yield from _recreate(live, target, columns, dependents, description="", up=False)
    else:
        yield from _recreate(live, target, columns, dependents, description, up=True)


def renamed(live: EnumType, target: EnumType) -> Sequence[tuple[str, str]]:
    """Return the renamed labels, each as before and after; none unless they are the only difference.

    One label may have any new name. Several are renamed where they are the same words, such as NEW_ONE and new-one:
    an Enum of SQLAlchemy's changes all its labels so when it gets ``values_callable``.
    """
    if len(live.labels) != len(target.labels):
        return ()
    pairs = [pair for pair in zip(live.labels, target.labels, strict=True) if pair[0] != pair[1]]
    are_same_words = all(_word(before) == _word(after) for before, after in pairs)
    is_free = not any(after in live.labels for _, after in pairs)
    return pairs if is_free and (len(pairs) == 1 or are_same_words) else ()


def _word(label: str) -> str:
    return re.sub(r"[\s_-]+", " ", label).casefold()


def added(live: EnumType, target: EnumType) -> list[str]:
    """Return the labels to add in place; none where the type needs other changes too."""
    return [label for label, _ in _additions(live, target)]


def _additions(live: EnumType, target: EnumType) -> Iterator[tuple[str, str]]:
    if not _is_within(live.labels, target.labels):
        return
    old = set(live.labels)
    for position, label in enumerate(target.labels):
        if label in old:
            continue
        position_clause = f" AFTER {literal(target.labels[position - 1])}" if position else ""
        if not position and live.labels:
            position_clause = f" BEFORE {literal(live.labels[0])}"
        yield label, position_clause


def _is_within(subset: Iterable[str], labels: Iterable[str]) -> bool:
    remaining = iter(labels)
    return all(label in remaining for label in subset)


def _rename(live: EnumType, pairs: Sequence[tuple[str, str]], description: str) -> Change:
    def statement(old: str, new: str) -> str:
        return f"ALTER TYPE {live.sql} RENAME VALUE {literal(old)} TO {literal(new)}"

    forward: list[Note | str] = []
    for before, after in pairs:
        note = Note(
            f"{before!r} was taken for renamed to {after!r}: rows keep their value under the new name.\n"
            f"If they are different values, remove {before!r} from the models, write that revision first,\n"
            f"and add {after!r} in the next."
        )
        forward += [note, statement(before, after)] if len(pairs) == 1 else [statement(before, after)]
    if len(pairs) > 1:
        forward.insert(0, Note("The values only get other letters: rows keep theirs under the new names."))
    # after everything that uses the old label was dropped, and in a downgrade before that is added again
    backward = tuple(statement(after, before) for before, after in pairs)
    return Change(Phase.CREATE_TYPES, tuple(forward), backward, description)


def _add(type_name: str, additions: list[tuple[str, str]], description: str, *, commits: bool) -> Change:
    if_not_exists = "IF NOT EXISTS " if commits else ""
    statements = [
        f"ALTER TYPE {type_name} ADD VALUE {if_not_exists}{literal(label)}{position_clause}"
        for label, position_clause in additions
    ]
    if commits:
        note = Note("What follows uses the new value, so adding it is committed first and stays if the rest fails.")
    else:
        note = Note("A new value can't be used in the transaction that adds it: use it in the next revision.")
    return Change(Phase.ADD_LABELS, (note, *statements), (), description, commits=commits)


def _recreate(
    live: EnumType, target: EnumType, columns: _Columns, dependents: Sequence[str], description: str, *, up: bool
) -> Iterator[Change]:
    """Yield the changes that create the new type and drop the old one.

    They are for the downgrade only where labels were added in place.
    """
    rename_old, old_name = (
        f"ALTER TYPE {live.sql} RENAME TO {quoted(live.former_name)}",
        quoted(live.schema, live.former_name),
    )
    drop_old = f"DROP TYPE {old_name}"
    yield Change(
        Phase.CREATE_TYPES,
        (_warning(live, target, columns), rename_old, target.creation, *live.properties) if up else (),
        (drop_old,),
        description,
    )
    yield Change(
        Phase.DROP_TYPES,
        (drop_old,) if up else (),
        (_warning(target, live, columns, dependents), rename_old, live.creation, *live.properties),
    )


def _warning(before: EnumType, after: EnumType, columns: _Columns, dependents: Sequence[str] = ()) -> Note:
    """Return a warning of the lock, the rows and the dependents of a type that is recreated."""
    removed = [label for label in before.labels if label not in after.labels]
    lines = [
        f"WARNING: PostgreSQL can't remove or move a value, so {after.sql} is recreated. Each table that has it is",
        "rewritten under an exclusive lock.",
    ]
    for label in removed:
        lines += [f"Rows with {label!r} make this fail. Change them before this line:"] if columns else []
        lines += [_update(user, label) for user in columns]
    lines += [f"The {user} uses the type: drop it before, and create it again after." for user in dependents]
    return Note("\n".join(lines))


def _update(user: tuple[Any, ...], label: str) -> str:
    """Return the statement that changes the rows of a column with a label, for a comment."""
    _, table_schema, table, column, array = user
    column, value = quoted(column), literal(label)
    change, condition = f"{column} = …", f"{column} = {value}"
    if array:
        change, condition = f"{column} = array_replace({column}, {value}, …)", f"{value} = ANY ({column})"
    return f"UPDATE {quoted(table_schema, table)} SET {change} WHERE {condition}"  # noqa: S608 - a comment


def listed(labels: Iterable[str]) -> str:
    """Return labels for a message."""
    return f"({', '.join(labels)})"

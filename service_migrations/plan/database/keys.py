"""What needs a key that pending revisions drop or rename: ON CONFLICT, the replica identity of published tables."""

from collections.abc import Iterator
from typing import Any

from service_migrations.connection.single_message import Row
from service_migrations.plan.classes import Class
from service_migrations.plan.database.changes import Changes, Key, named_in
from service_migrations.plan.database.facts import Facts
from service_migrations.plan.database.names import Object, Place, parts
from service_migrations.sql.lexer import tokenize

__all__ = ["conflicts", "nameless", "unidentified"]


def _key(row: dict[str, Any]) -> Key:
    condition = None if row["condition"] is None else named_in(tokenize(row["condition"]))
    return Key(named_in(tokenize(", ".join(row["named"]))), condition, row["primary"])


def _placed(
    changes: Changes, facts: Facts, keys: list[tuple[str, str, Place]]
) -> Iterator[tuple[str, str, Row, dict[str, Any] | None, Place]]:
    """Yield each constraint or index of those with its table, its name, the row of the table, its key and its place."""
    for table, name, place in keys:
        row = facts.relations.get(table or name)
        if row is None:
            continue
        owner = table or facts.plain(row.indexed)
        if changes.relations.left.get(owner) is None:
            last = parts(name)[1]
            found = (key for key in row.keys if last == key["constraint" if table else "name"])
            yield owner, last, row, next(found, None), place


def _dropped(changes: Changes, facts: Facts) -> Iterator[tuple[str, Row, dict[str, Any], Place]]:
    """Yield each unique key that is dropped by its name, with its table, the row of that, and its place."""
    for table, _, row, key, place in _placed(changes, facts, changes.dropped_keys):
        if key is not None and key["unique"]:
            yield table, row, key, place


def nameless(changes: Changes, facts: Facts) -> Iterator[tuple[str, str, dict[str, Any] | None, Place]]:
    """Yield each constraint whose name no constraint of its table has any more: table, name, key and place."""
    for table, name, row, key, place in _placed(changes, facts, [*changes.dropped_keys, *changes.renamed_keys]):
        is_given = {(table, name), ("", name)} & changes.given_keys
        # PostgreSQL's own names begin with that of the table
        is_chosen = (table, "") in changes.given_keys and name.startswith(f"{parts(table)[1]}_")
        if name in row.constraints and not is_given and not is_chosen:
            yield table, name, key, place


def conflicts(changes: Changes, facts: Facts) -> Iterator[tuple[Place, Class | None, str]]:
    """Yield what INSERT … ON CONFLICT needs and doesn't find any more: a key of its columns, or the name of one."""
    dropped = list(_dropped(changes, facts))
    names = {(table, key["name"]) for table, _, key, _ in dropped}
    without: set[tuple[str, str]] = set()
    for table, row, key, place in dropped:
        if any((table, column) in _gone(changes) for column in key["named"]):
            continue
        former = _key(key)
        kept = [_key(each) for each in row.keys if each["unique"] and (table, each["name"]) not in names]
        if not any(_replaces(each, former) for each in (*kept, *changes.keys.get(table, ()))):
            of, left = ("", "for all rows ") if former.condition is None else (" WHERE …", "")
            target = f"({', '.join(key['named'])}){of}"
            message = f"INSERT … ON CONFLICT {target} on {table} fails: no unique key {left}has these columns any more."
            without.add((table, key["name"]))
            yield place, Class.BREAKING, message
    for table, name, named_key, place in nameless(changes, facts):
        if named_key is not None and named_key["constraint"] and (table, named_key["name"]) not in without:
            message = (
                f"INSERT … ON CONFLICT ON CONSTRAINT {name} on {table} fails: no constraint has this name any more."
            )
            yield place, Class.BREAKING, message


def _replaces(key: Key, former: Key) -> bool:
    return key.named == former.named and key.condition in (None, former.condition)


def _gone(changes: Changes) -> set[tuple[str, str]]:
    return {(table, column) for table, column, *_ in changes.dropped_columns}


def unidentified(changes: Changes, facts: Facts) -> Iterator[tuple[Place, Class | None, str]]:
    """Yield the published tables whose rows nothing identifies: PostgreSQL refuses each UPDATE and DELETE of them."""
    for table, place in _without_identity(changes, facts).items():
        publications = facts.relations[table].publications
        if publications and not _identified(changes, table):
            yield place, Class.BREAKING, _text(table, publications, "it has no replica identity any more")
    for publication, holder, place in changes.published:
        row = facts.relations.get(holder) if isinstance(holder, str) else None
        if row and not _has_identity(row) and not _identified(changes, holder):
            yield place, Class.BREAKING, _text(str(holder), [publication], "it has no replica identity")
    for number, (name, place) in changes.bare.items():
        is_there = number in changes.relations.held.values()
        publications = facts.publishing(changes.relations.plain(name))
        if publications and is_there and not _identified(changes, number):
            yield place, None, _text(f"the new {name}", publications, "it has no primary key")


def _without_identity(changes: Changes, facts: Facts) -> dict[str, Place]:
    """Return the tables whose replica identity is dropped, with its constraint, its index or a column, or set back."""
    lost: dict[str, Place] = {}
    for table, row, key, place in _dropped(changes, facts):
        if _is_identity(row, key):
            lost.setdefault(table, place)
    for table, column, place, is_renamed in changes.dropped_columns:
        found = None if is_renamed else facts.relations.get(table)
        if found and any(_is_identity(found, key) and column in key["named"] for key in found.keys):
            lost.setdefault(table, place)
    return lost


def _is_identity(row: Row, key: dict[str, Any]) -> bool:
    return bool(key["identity"] if row.identity == "i" else row.identity == "d" and key["primary"])


def _has_identity(row: Row) -> bool:
    if row.identity == "d":
        return any(key["primary"] for key in row.keys)
    return bool(row.identity in ("f", "i"))


def _identified(changes: Changes, table: Object | None) -> bool:
    """Whether the revisions give a table a primary key, or another replica identity."""
    is_default, _ = changes.identities.get(table, (True, None))
    return not is_default or any(key.is_primary for key in changes.keys.get(table, ()))


def _text(table: str, publications: list[str], reason: str) -> str:
    noun, verb = ("publication", "has") if len(publications) == 1 else ("publications", "have")
    return f"UPDATE and DELETE of {table} fail: the {noun} {', '.join(publications)} {verb} it, and {reason}."

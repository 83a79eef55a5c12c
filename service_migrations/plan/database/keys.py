"""What needs a key that pending revisions drop or rename: ON CONFLICT, the replica identity of published tables."""

from collections.abc import Iterable, Iterator
from typing import Any

from service_migrations.connection.single_message import Row
from service_migrations.plan.classes import Class
from service_migrations.plan.database.changes import Changes
from service_migrations.plan.database.facts import Facts
from service_migrations.plan.database.key_changes import Key, named_in
from service_migrations.plan.database.names import Object, StatementPlace, parts
from service_migrations.sql.dynamic import UNKNOWN
from service_migrations.sql.lexer import tokenize

__all__ = ["conflicts", "is_elsewhere", "nameless", "unidentified"]


def _key(row: dict[str, Any]) -> Key:
    condition = None if row["condition"] is None else named_in(tokenize(row["condition"]))
    return Key(named_in(tokenize(", ".join(row["named"]))), condition, row["primary"])


def _placed(
    changes: Changes, facts: Facts, keys: Iterable[tuple[str, str, StatementPlace]]
) -> Iterator[tuple[str, str, Row, dict[str, Any] | None, StatementPlace]]:
    """Yield each constraint or index of those with its table, its name, the row of the table, its key and its place."""
    for table, name, place in keys:
        row = facts.relations.get(table or name)
        if row is None:
            continue
        owner = table or facts.plain(row.indexed)
        if changes.relations.left.get(owner) is None:
            last = parts(name)[1]
            own = (key for key in row.keys if last == key["constraint" if table else "name"])
            yield owner, last, row, next(own, None), place


def _dropped(changes: Changes, facts: Facts) -> Iterator[tuple[str, Row, dict[str, Any], StatementPlace]]:
    """Yield each unique key that is dropped by its name, with its table, the row of that, and its place."""
    for table, _, row, key, place in _placed(changes, facts, changes.keys.dropped):
        if key is not None and key["unique"]:
            yield table, row, key, place


def nameless(changes: Changes, facts: Facts) -> Iterator[tuple[str, str, Row, dict[str, Any] | None, StatementPlace]]:
    """Yield each constraint whose name no constraint of its table has any more: table, name, its row, key and place."""
    known: set[tuple[str, str]] = set()
    for table, name, row, key, place in _placed(changes, facts, changes.keys.lost()):
        is_given = changes.keys.is_given(table, name) or _is_index(changes, facts, table, name)
        if name in row.constraints and not is_given and (table, name) not in known:
            known.add((table, name))
            yield table, name, row, key, place


def _is_index(changes: Changes, facts: Facts, table: str, name: str) -> bool:
    """Whether the index of a constraint of the table gets the name; it may where its former name isn't known."""
    for index, former in changes.keys.indexes.items():
        row = facts.relations.get(former)
        is_own = row is not None and facts.plain(row.indexed) == table and parts(former)[1] in row.constraints
        if parts(index)[1] == name and (is_own or UNKNOWN in former):
            return True
    return False


def is_elsewhere(changes: Changes, facts: Facts, table: str, name: str, row: Row) -> bool:
    """Whether another table has a constraint of that name too, as SET CONSTRAINTS means each of them."""
    if any(name == given and count > 0 and own != table for (own, given), count in changes.keys.given.items()):
        return True
    lost = {(own, last) for own, last, *_ in _placed(changes, facts, changes.keys.lost())}
    others = {facts.plain(other["table"]) for other in row.others if other["name"] == name}
    gone = changes.relations.left.keys() - changes.relations.held.values()
    return any((other, name) not in lost for other in others - gone)


def conflicts(changes: Changes, facts: Facts) -> Iterator[tuple[StatementPlace, Class | None, str]]:
    """Yield what INSERT … ON CONFLICT needs and doesn't find any more: a key of its columns, or the name of one."""
    dropped = list(_dropped(changes, facts))
    names = {(table, key["name"]) for table, _, key, _ in dropped}
    without: set[tuple[str, str]] = set()
    for table, row, key, place in dropped:
        if any((table, column) in _gone(changes) for column in key["named"]):
            continue
        former = _key(key)
        kept = [_key(each) for each in row.keys if each["unique"] and (table, each["name"]) not in names]
        # under the name that PostgreSQL would have chosen, something else was dropped
        made = [
            each for each in changes.keys.of(table) if not each.is_dropped or parts(each.index)[1] in row.constraints
        ]
        if not any(each.replaces(former) for each in (*kept, *made)):
            of, left = ("", "for all rows ") if former.condition is None else (" WHERE …", "")
            target = f"({', '.join(key['named'])}){of}"
            message = f"INSERT … ON CONFLICT {target} on {table} fails: no unique key {left}has these columns any more."
            without.add((table, key["name"]))
            yield place, Class.BREAKING, message
    for table, name, _, named_key, place in nameless(changes, facts):
        if named_key is not None and named_key["constraint"] and (table, named_key["name"]) not in without:
            message = (
                f"INSERT … ON CONFLICT ON CONSTRAINT {name} on {table} fails: no constraint has this name any more."
            )
            yield place, Class.BREAKING, message


def _gone(changes: Changes) -> set[tuple[str, str]]:
    return {(table, column) for table, column, *_ in changes.dropped_columns}


def unidentified(changes: Changes, facts: Facts) -> Iterator[tuple[StatementPlace, Class | None, str]]:
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


def _without_identity(changes: Changes, facts: Facts) -> dict[str, StatementPlace]:
    """Return the tables whose replica identity is dropped, with its constraint, its index or a column, or set back."""
    lost: dict[str, StatementPlace] = {}
    for table, indexed, key, place in _dropped(changes, facts):
        if _is_identity(indexed, key):
            lost.setdefault(table, place)
    for table, column, place, is_renamed in changes.dropped_columns:
        row = None if is_renamed else facts.relations.get(table)
        if row and any(_is_identity(row, key) and column in key["named"] for key in row.keys):
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
    return not is_default or any(key.is_primary for key in changes.keys.of(table))


def _text(table: str, publications: list[str], reason: str) -> str:
    noun, verb = ("publication", "has") if len(publications) == 1 else ("publications", "have")
    return f"UPDATE and DELETE of {table} fail: the {noun} {', '.join(publications)} {verb} it, and {reason}."

"""The changes of what has one definition, or a few options: constraints, indexes, triggers, functions, sequences."""

from collections.abc import Iterator

from service_migrations.drift.repair.change import ANOTHER, Change, Pair
from service_migrations.drift.repair.create import create, drop, sequence_options

__all__ = [
    "constraint_changes",
    "extension_changes",
    "function_changes",
    "index_changes",
    "other_changes",
    "sequence_changes",
    "switched_changes",
]

_STATES = {"O": "enabled", "D": "disabled", "R": "enabled on replicas only", "A": "enabled always"}
_ENABLE = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_SEQUENCE = ("increment", "minimum", "maximum", "start", "cache", "cycle")


def constraint_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two constraints."""
    here, there = pair.here.facts["definition"], pair.there.facts["definition"]
    kind = "TABLE" if pair.there.kind == "constraint" else "DOMAIN"
    on = pair.history.on(pair.there)
    if here == f"{there} NOT VALID":
        sql = f"ALTER {kind} {on} VALIDATE CONSTRAINT {pair.there.address};"
        yield Change("is NOT VALID here, and valid in the history", sql)
    elif here != there or pair.differ("enforced"):
        text = pair.says("definition") if here != there else "is switched off here: its triggers are disabled"
        again = f"{drop(pair.here, pair.catalog)} {create(pair.there, pair.history)}"
        if kind == "TABLE":
            again = (
                f"ALTER TABLE {on} DROP CONSTRAINT {pair.there.address}, "
                f"ADD CONSTRAINT {pair.there.address} {there};"
            )  # fmt: skip
        yield Change(text, again)


def index_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two indexes."""
    if "constraint" in pair.there.facts or "constraint" in pair.here.facts:
        return
    here, there = pair.here.facts, pair.there.facts
    if here["definition"] != there["definition"] or here["valid"] != there["valid"]:
        text = pair.says("definition") if pair.differ("definition") else "is INVALID here"
        yield Change(text, f"{drop(pair.here, pair.catalog)} {create(pair.there, pair.history)}")


def switched_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two triggers, or two rules."""
    if pair.differ("definition"):
        yield Change(pair.says("definition"), f"{drop(pair.here, pair.catalog)} {create(pair.there, pair.history)}")
    elif pair.differ("enabled"):
        here, there = (one.facts["enabled"] for one in (pair.here, pair.there))
        words = f"{_ENABLE[there]} {pair.there.kind.upper()} {pair.there.address}"
        text = f"is {_STATES[here]} here, {_STATES[there]} in the history"
        yield Change(text, f"ALTER TABLE {pair.history.on(pair.there)} {words};")


def other_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two objects that have a definition and nothing else."""
    if pair.differ("definition"):
        yield Change(ANOTHER, f"{drop(pair.here, pair.catalog)} {create(pair.there, pair.history)}")


def function_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two functions."""
    if pair.differ("definition") or pair.differ("aggregate"):
        again = create(pair.there, pair.history)
        sql = f"{drop(pair.here, pair.catalog)} {again}" if pair.differ("result") else again
        yield Change(ANOTHER, sql)


def sequence_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two sequences."""
    here, there, address = pair.here.facts, pair.there.facts, pair.there.address
    if pair.differ("type"):
        yield Change(pair.says("type"), f"ALTER SEQUENCE {address} AS {there['type']};")
    names = [name for name in _SEQUENCE if pair.differ(name)]
    if names:
        told = (sequence_options(facts, *names) for facts in (here, there))
        sql = f"ALTER SEQUENCE {address} {sequence_options(there, *names)};"
        yield Change("has {} here, {} in the history".format(*told), sql)
    if pair.differ("owned_by") and "identity" not in there and "identity" not in here:
        sql = f"ALTER SEQUENCE {address} OWNED BY {there.get('owned_by', 'NONE')};"
        yield Change(pair.says("owned_by", "the owner"), sql)
    elif pair.differ("persistence"):
        yield Change(pair.says("persistence"), f"ALTER SEQUENCE {address} SET {there.get('persistence', 'LOGGED')};")


def extension_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two extensions."""
    # not the version: the history installs the server's newest, and a database keeps the one that it was made with
    if pair.differ("schema"):
        there = pair.there.facts["schema"]
        yield Change(pair.says("schema", "the schema"), f"ALTER EXTENSION {pair.there.address} SET SCHEMA {there};")

"""Changes of objects with one definition or a few options: constraints, indexes, triggers, functions, sequences."""

import re
from collections.abc import Iterator
from dataclasses import replace

from service_migrations.catalog.creation import SWITCHES
from service_migrations.catalog.definitions import SEQUENCE_OPTIONS, options, restart, sequence_options
from service_migrations.catalog.objects import Object
from service_migrations.drift.repair.change import OTHER_DEFINITION, Change, Pair
from service_migrations.drift.repair.create import create, drop
from service_migrations.sql.quoting import one_line_literal, quoted

__all__ = [
    "constraint_changes",
    "extension_changes",
    "function_changes",
    "index_changes",
    "other_changes",
    "sequence_changes",
    "switched_changes",
]

_TRIGGERS = "A superuser can disable its triggers, which checks no row: write a revision that enables them instead."
_STATES = {"O": "enabled", "D": "disabled", "R": "enabled on replicas only", "A": "enabled always"}


def constraint_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a constraint."""
    live, expected = pair.live.facts["definition"], pair.expected.facts["definition"]
    kind = "TABLE" if pair.expected.kind == "constraint" else "DOMAIN"
    on = pair.expected_catalog.on(pair.expected)
    if live == f"{expected} NOT VALID":
        sql = f"ALTER {kind} {on} VALIDATE CONSTRAINT {pair.expected.address};"
        yield Change("is NOT VALID in the database, and valid in the history", sql)
    elif "inherited" in pair.live.facts and "inherited" in pair.expected.facts:
        return  # that of the parent differs
    elif live != expected or pair.differ("enforced") or "valid_index" in pair.live.facts.keys() - pair.expected.facts:
        text = "is switched off in the database: its triggers are disabled"
        if live != expected:
            text = pair.describe("definition")
        elif "enforced" in pair.expected.facts:
            yield Change("is enforced in the database, and switched off in the history", None, _TRIGGERS)
            return
        elif not pair.differ("enforced"):
            text = "has an INVALID index in the database"
        change = _recreated(pair, text)
        if kind == "TABLE":
            add = f"ALTER TABLE {on} ADD CONSTRAINT"
            drop_and_add = f"ALTER TABLE {on} DROP CONSTRAINT {pair.expected.address}, ADD CONSTRAINT"
            creation = (change.creation or "").removeprefix(add)
            change = replace(change, sql=f"{drop_and_add}{creation}")
        yield change


def index_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of an index."""
    live, expected = pair.live.facts, pair.expected.facts
    alter = f"ALTER INDEX {pair.expected.address}"
    if pair.differ("clustered"):
        yield _clustered(pair)
    if "constraint" in expected or "constraint" in live:
        if pair.differ("options"):
            removed = [name for name in live.get("options", {}) if name not in expected.get("options", {})]
            sql = [f"{alter} RESET ({', '.join(removed)});"] if removed else []
            sql += [f"{alter} SET{options(expected).removeprefix(' WITH')};"] if "options" in expected else []
            yield Change(pair.describe("options", "the options"), " ".join(sql))
        return
    if pair.differ("statistics") and not pair.differ("definition"):
        targets = {**dict.fromkeys(live.get("statistics", {}), -1), **expected.get("statistics", {})}
        sql = [f"{alter} ALTER COLUMN {column} SET STATISTICS {target};" for column, target in targets.items()]
        yield Change(pair.describe("statistics", "the statistics targets"), " ".join(sql))
    if "inherited" in live and "inherited" in expected:
        if pair.differ("valid"):
            yield Change("is INVALID in the database", None, "Create the index of its parent again.")
    elif pair.differ("definition") or pair.differ("valid"):
        text = pair.describe("definition") if pair.differ("definition") else "is INVALID in the database"
        if not pair.differ("definition") and not expected["valid"]:
            yield Change("is valid in the database, INVALID in the history", None, "Write a revision that repairs it.")
            return
        yield _recreated(pair, text)


def _clustered(pair: Pair) -> Change:
    catalog = pair.expected_catalog
    table = catalog.parent(pair.expected)
    indexes = catalog.parts(table, "index") if table else []
    names = [index.name for index in indexes if "clustered" in index.facts]  # one at most
    where = "history" if "clustered" in pair.expected.facts else "database"
    action = f"CLUSTER ON {quoted(names[0])}" if names else "SET WITHOUT CLUSTER"
    return Change(
        f"is what CLUSTER orders by in the {where} only", f"ALTER TABLE {catalog.on(pair.expected)} {action};"
    )


def switched_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a trigger or a rule."""
    if pair.differ("definition"):
        yield _recreated(pair, pair.describe("definition"))
    elif pair.differ("enabled"):
        live, expected = (each.facts["enabled"] for each in (pair.live, pair.expected))
        action = f"{SWITCHES[expected]} {pair.expected.kind.upper()} {pair.expected.address}"
        text = f"is {_STATES[live]} in the database, {_STATES[expected]} in the history"
        yield Change(text, f"ALTER TABLE {pair.expected_catalog.on(pair.expected)} {action};")


def other_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of an object that has only a definition."""
    live, expected = (_in_one_order(each) for each in (pair.live, pair.expected))
    if live != expected:
        yield _recreated(pair, OTHER_DEFINITION)
    elif pair.differ("statistics"):
        target = pair.expected.facts.get("statistics", -1)
        sql = f"ALTER STATISTICS {pair.expected.address} SET STATISTICS {target};"
        yield Change(pair.describe("statistics", "the statistics target"), sql)


def _in_one_order(item: Object) -> str:
    """Return a definition without the order of columns, in which the server shows those of statistics."""
    definition = str(item.facts["definition"])
    match = re.search(r" ON ([^()]+) FROM ", definition) if item.kind == "statistics" else None
    return definition.replace(match[1], ", ".join(sorted(match[1].split(", ")))) if match else definition


def function_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a function."""
    if pair.differ("definition") or pair.differ("aggregate"):
        change = _recreated(pair, OTHER_DEFINITION)
        has_more_defaults = pair.live.facts.get("defaults", 0) > pair.expected.facts.get("defaults", 0)
        # PostgreSQL replaces no function with another result, or with one default less
        is_dropped = pair.differ("result") or has_more_defaults
        yield change if is_dropped else replace(change, sql=change.creation, drops=False)


def sequence_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a sequence."""
    live, expected, address = pair.live.facts, pair.expected.facts, pair.expected.address
    if ("identity" in live) != ("identity" in expected):
        return  # it is dropped and created with the identity of its column
    names = [name for name in SEQUENCE_OPTIONS if pair.differ(name)]
    texts, clauses = [], []
    if pair.differ("type"):
        texts.append(pair.describe("type"))
        clauses.append(f"AS {expected['type']}")
    if names:
        old, new = sequence_options(live, *names), sequence_options(expected, *names)
        texts.append(f"has {old} in the database, {new} in the history")
        clauses.append(f"{new}{restart(live, expected)}")
    if clauses:
        # in one statement: no type takes the limits of a larger one
        sql = f"ALTER SEQUENCE {address} {' '.join(clauses)};"
        yield Change(", and ".join(texts), sql + (_continued(pair) if names else ""))
    if pair.differ("owned_by") and "identity" not in expected and "identity" not in live:
        sql = f"ALTER SEQUENCE {address} OWNED BY {expected.get('owned_by', 'NONE')};"
        yield Change(pair.describe("owned_by", "the owner"), sql)
    elif pair.differ("persistence"):
        yield Change(
            pair.describe("persistence"), f"ALTER SEQUENCE {address} SET {expected.get('persistence', 'LOGGED')};"
        )


def _continued(pair: Pair) -> str:
    """Return the SQL that sets a sequence to the last value in its column, where it was restarted."""
    expected = pair.expected.facts
    table = pair.expected_catalog.parent(pair.expected)
    if table is None or not restart(pair.live.facts, expected):
        return ""
    column = str(expected.get("owned_by", "")).removeprefix(f"{table.address}.")
    column = quoted(str(expected["identity"])) if "identity" in expected else column
    function, since = ("max", ">=") if int(str(expected["increment"])) > 0 else ("min", "<=")
    name = one_line_literal(pair.expected.address)
    condition = f"{column} {since} {expected['start']}"
    return f" SELECT setval({name}, {function}({column})) FROM {table.address} WHERE {condition};"  # noqa: S608 - names that the server quoted


def extension_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of an extension."""
    # not the version: the history installs the server's newest, and a database keeps the one it was created with
    if pair.differ("schema"):
        schema = pair.expected.facts["schema"]
        yield Change(
            pair.describe("schema", "the schema"), f"ALTER EXTENSION {pair.expected.address} SET SCHEMA {schema};"
        )


def _recreated(pair: Pair, text: str) -> Change:
    """Return the change that drops the object of the database and creates that of the history."""
    creation = create(pair.expected, pair.expected_catalog)
    return Change(text, f"{drop(pair.live, pair.live_catalog)} {creation}", creation=creation, drops=True)

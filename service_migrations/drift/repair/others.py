"""Changes of objects with one definition or a few options: constraints, indexes, triggers, functions, sequences."""

from collections.abc import Iterator

from service_migrations.catalog.creation import SWITCHES
from service_migrations.catalog.definitions import options, sequence_options
from service_migrations.drift.repair.change import OTHER_DEFINITION, Change, Pair
from service_migrations.drift.repair.create import create, drop
from service_migrations.sql.quoting import quoted

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
_SEQUENCE_OPTIONS = ("increment", "minimum", "maximum", "start", "cache", "cycle")


def constraint_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a constraint."""
    live, expected = pair.live.facts["definition"], pair.expected.facts["definition"]
    kind = "TABLE" if pair.expected.kind == "constraint" else "DOMAIN"
    on = pair.expected_catalog.on(pair.expected)
    if live == f"{expected} NOT VALID":
        sql = f"ALTER {kind} {on} VALIDATE CONSTRAINT {pair.expected.address};"
        yield Change("is NOT VALID in the database, and valid in the history", sql)
    elif live != expected or pair.differ("enforced"):
        text = (
            pair.describe("definition")
            if live != expected
            else "is switched off in the database: its triggers are disabled"
        )
        sql = _recreate(pair)
        if kind == "TABLE":
            sql = (
                f"ALTER TABLE {on} DROP CONSTRAINT {pair.expected.address}, "
                f"ADD CONSTRAINT {pair.expected.address} {expected};"
            )  # fmt: skip
        yield Change(text, sql)


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
    if live["definition"] != expected["definition"] or live["valid"] != expected["valid"]:
        text = pair.describe("definition") if pair.differ("definition") else "is INVALID in the database"
        yield Change(text, _recreate(pair))


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
        yield Change(pair.describe("definition"), _recreate(pair))
    elif pair.differ("enabled"):
        live, expected = (each.facts["enabled"] for each in (pair.live, pair.expected))
        action = f"{SWITCHES[expected]} {pair.expected.kind.upper()} {pair.expected.address}"
        text = f"is {_STATES[live]} in the database, {_STATES[expected]} in the history"
        yield Change(text, f"ALTER TABLE {pair.expected_catalog.on(pair.expected)} {action};")


def other_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of an object that has only a definition."""
    if pair.differ("definition"):
        yield Change(OTHER_DEFINITION, _recreate(pair))
    elif pair.differ("statistics"):
        target = pair.expected.facts.get("statistics", -1)
        sql = f"ALTER STATISTICS {pair.expected.address} SET STATISTICS {target};"
        yield Change(pair.describe("statistics", "the statistics target"), sql)


def function_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a function."""
    if pair.differ("definition") or pair.differ("aggregate"):
        create_function = create(pair.expected, pair.expected_catalog)
        sql = f"{drop(pair.live, pair.live_catalog)} {create_function}" if pair.differ("result") else create_function
        yield Change(OTHER_DEFINITION, sql)


def sequence_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a sequence."""
    live, expected, address = pair.live.facts, pair.expected.facts, pair.expected.address
    if pair.differ("type"):
        yield Change(pair.describe("type"), f"ALTER SEQUENCE {address} AS {expected['type']};")
    names = [name for name in _SEQUENCE_OPTIONS if pair.differ(name)]
    if names:
        old, new = sequence_options(live, *names), sequence_options(expected, *names)
        yield Change(f"has {old} in the database, {new} in the history", f"ALTER SEQUENCE {address} {new};")
    if pair.differ("owned_by") and "identity" not in expected and "identity" not in live:
        sql = f"ALTER SEQUENCE {address} OWNED BY {expected.get('owned_by', 'NONE')};"
        yield Change(pair.describe("owned_by", "the owner"), sql)
    elif pair.differ("persistence"):
        yield Change(
            pair.describe("persistence"), f"ALTER SEQUENCE {address} SET {expected.get('persistence', 'LOGGED')};"
        )


def extension_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of an extension."""
    # not the version: the history installs the server's newest, and a database keeps the one it was created with
    if pair.differ("schema"):
        schema = pair.expected.facts["schema"]
        yield Change(
            pair.describe("schema", "the schema"), f"ALTER EXTENSION {pair.expected.address} SET SCHEMA {schema};"
        )


def _recreate(pair: Pair) -> str:
    """Return the SQL that drops the object of the database and creates that of the history."""
    return f"{drop(pair.live, pair.live_catalog)} {create(pair.expected, pair.expected_catalog)}"

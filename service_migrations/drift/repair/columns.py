"""Changes of columns: type, default, NOT NULL, expression, identity."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from service_migrations.catalog.definitions import (
    SEQUENCE_OPTIONS,
    VIEWS,
    add_not_null,
    alter_table,
    changed_options,
    column_definition,
    column_settings,
    identity_clause,
    identity_sequence,
    options,
    restart,
    sequence_options,
    sequences_of,
    storage_actions,
    with_sequences,
)
from service_migrations.catalog.objects import Object
from service_migrations.drift.repair.change import Change, Pair
from service_migrations.drift.repair.conversions import notes, using
from service_migrations.drift.repair.create import comment, create
from service_migrations.drift.repair.sequences import continued, last_of
from service_migrations.sql.quoting import quoted

__all__ = ["column_changes"]


def column_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a column, in the order in which they can be run."""
    live, expected, table = pair.live.facts, pair.expected.facts, pair.expected_catalog.on(pair.expected)
    whole = pair.expected_catalog.parent(pair.expected)
    if whole is not None and whole.kind in VIEWS:  # where its type differs, the query does
        column = f"{alter_table(whole)} ALTER COLUMN {pair.expected.address}"
        yield from _default(pair, column)
        yield from _settings(pair, column)
        return
    column = f"ALTER TABLE {table} ALTER COLUMN {pair.expected.address}"
    inherited = "inherited" in expected  # then type and expression are altered in the parent
    if pair.differ("generated") and not inherited:
        yield _generated(pair, table)
        if "generated" in expected:
            return  # it was created again with all that it has
    if "identity" in live and "identity" not in expected:
        yield _without_identity(pair, column)
    retyped = not inherited and (pair.differ("type") or pair.differ("collation"))
    if retyped:
        yield _type(pair, table)
    elif "identity" not in expected:
        yield from _default(pair, column)
    if pair.differ("not_null") and "identity" not in expected:
        yield _nullable(pair.expected, table)
    elif expected["not_null"] and live["not_null"]:
        yield from _not_null(pair, table)
    if "identity" in expected:
        yield from _identity(pair, table, column)
    yield from _settings(pair, column, retyped=retyped)


def _default(pair: Pair, column: str) -> Iterator[Change]:
    if pair.differ("default"):
        default = pair.expected.facts.get("default")
        action = "DROP DEFAULT" if default is None else f"SET DEFAULT {default}"
        yield Change(pair.describe("default", "the default"), f"{column} {action};")


def _type(pair: Pair, table: str) -> Change:
    live, expected = pair.live.facts, pair.expected.facts
    collation = f" COLLATE {expected['collation']}" if "collation" in expected else ""
    if "collation" in live and not collation:
        collation = ' COLLATE pg_catalog."default"'
    actions = [f"ALTER COLUMN {pair.expected.address} TYPE {expected['type']}{collation}{using(pair)}"]
    if "default" in live:
        actions.insert(0, f"ALTER COLUMN {pair.expected.address} DROP DEFAULT")
    if "default" in expected:
        actions.append(f"ALTER COLUMN {pair.expected.address} SET DEFAULT {expected['default']}")
    # which a change of the type sets back
    actions += [f"ALTER COLUMN {pair.expected.address} {action}" for action in storage_actions(pair.expected)]
    fact = "type" if pair.differ("type") else "collation"
    noun = "" if fact == "type" else "the collation"
    sql = f"ALTER TABLE {table} {', '.join(actions)};"
    return Change(pair.describe(fact, noun), sql, notes(pair), retypes=True)


def _settings(pair: Pair, column: str, *, retyped: bool = False) -> Iterator[Change]:
    """Yield the changes of storage, compression, statistics target and options.

    A column whose type is changed has the storage and compression of the history then.
    """
    expected = pair.expected.facts
    storage = pair.live.facts.get("storage_of_type")  # DEFAULT is known from 16 on
    for fact, default in (("storage", storage), ("compression", "DEFAULT"), ("statistics", "-1")):
        if pair.differ(fact) and (fact in expected or fact == "statistics" or not retyped):
            action = f"SET {fact.upper()} {expected.get(fact, default)}"
            noun = {"statistics": "the statistics target"}.get(fact, f"the {fact}")
            yield Change(pair.describe(fact, noun), f"{column} {action};")
    if pair.differ("options"):
        removed = [name for name in pair.live.facts.get("options", {}) if name not in expected.get("options", {})]
        sql = [f"{column} RESET ({', '.join(removed)});"] if removed else []
        sql += [f"{column} SET{options(expected).removeprefix(' WITH')};"] if "options" in expected else []
        yield Change(pair.describe("options", "the options"), " ".join(sql))
    if pair.differ("foreign_options"):
        action = changed_options(*(each.facts.get("foreign_options", {}) for each in (pair.live, pair.expected)))
        yield Change(pair.describe("foreign_options", "the options"), f"{column} {action};")


def _nullable(column: Object, table: str) -> Change:
    if column.facts["not_null"]:
        text = "takes NULL in the database but not in the history"
        return Change(text, f"ALTER TABLE {table} {add_not_null(column)};", "Fill what is NULL first.")
    text = "is NOT NULL in the database, and takes NULL in the history"
    # a primary key of more columns needs it
    return Change(text, f"ALTER TABLE {table} ALTER COLUMN {column.address} DROP NOT NULL;", after_keys=True)


def _not_null(pair: Pair, table: str) -> Iterator[Change]:
    """Yield the change of a NOT NULL that both have: whether children inherit it, or its name."""
    if pair.differ("not_null_no_inherit"):
        where = "history" if "not_null_no_inherit" in pair.expected.facts else "database"
        added = add_not_null(pair.expected)
        actions = [f"ALTER COLUMN {pair.expected.address} DROP NOT NULL", added]
        if not added.startswith("ADD "):
            actions[1:] = [f"ADD NOT NULL {pair.expected.address}"]
        text = f"has a NOT NULL that no child inherits in the {where} only"
        yield Change(text, f"ALTER TABLE {table} {', '.join(actions)};")
    elif pair.differ("not_null_name") and pair.live.not_null and pair.expected.not_null:
        text = f"has the NOT NULL {pair.live.not_null} in the database, {pair.expected.not_null} in the history"
        sql = f"ALTER TABLE {table} RENAME CONSTRAINT {pair.live.not_null} TO {pair.expected.not_null};"
        yield Change(text, sql)


def _generated(pair: Pair, table: str) -> Change:
    """Create a generated column again, which loses no data: before 17 no server alters an expression.

    A plain one keeps the values.
    """
    live, expected, address = pair.live.facts, pair.expected.facts, pair.expected.address
    text = pair.describe("generated", "the expression")
    note = "What was granted on it has to be granted again." if pair.live.grants else None
    created = create(pair.expected, pair.expected_catalog) or ""
    if "generated" in expected:
        column = f"DROP COLUMN {address}, ADD COLUMN {created.removeprefix(f'ALTER TABLE {table} ADD COLUMN ')}"
        return Change(text, f"ALTER TABLE {table} {column}", note, creation=created, drops=True)
    if not live["generated"].endswith(" VIRTUAL"):
        return Change(text, f"ALTER TABLE {table} ALTER COLUMN {address} DROP EXPRESSION;")
    # its values are stored in a new column, as no server gives a virtual one values of its own
    alter, new = f"ALTER TABLE {table}", _unused(pair)
    copy = replace(
        pair.live, address=new, facts={**live, "generated": live["generated"].replace(" VIRTUAL", " STORED")}
    )
    statements = [
        f"{alter} ADD COLUMN {column_definition(copy, pair.live_catalog)}",
        f"{alter} ALTER COLUMN {new} DROP EXPRESSION",
        f"{alter} DROP COLUMN {address}",
        f"{alter} RENAME COLUMN {new} TO {address}",
        *column_settings(pair.expected, pair.expected_catalog),
    ]
    parts = [f"{statement};" for statement in statements]
    if pair.expected.comment is not None:
        parts.append(comment(pair.expected, pair.expected_catalog))
    return Change(text, " ".join(parts), note, creation=created, drops=True)


def _unused(pair: Pair) -> str:
    """Return a name that no column of the table has."""
    table = pair.live_catalog.parent(pair.live)
    used = {column.name for column in pair.live_catalog.parts(table, "column")} if table else set()
    return quoted(next(name for name in map("values_{}".format, count(1)) if name not in used))


def _without_identity(pair: Pair, column: str) -> Change:
    sql = [f"{column} DROP IDENTITY;"]
    # the sequence of a default, whose name that of the identity has
    for sequence in sequences_of(pair.expected, pair.expected_catalog):
        current = pair.live_catalog.by_key.get(sequence.key)
        if current is not None and "identity" in current.facts:
            sql += [f"{statement};" for statement in with_sequences("", [sequence])]
            sql += filter(None, [continued(sequence, pair.expected_catalog, pair.live_catalog)])
    return Change(pair.describe("identity", "the identity"), " ".join(sql))


def _identity(pair: Pair, table: str, column: str) -> Iterator[Change]:
    live, expected = pair.live.facts, pair.expected.facts
    sequence = identity_sequence(pair.expected, pair.expected_catalog)
    text = pair.describe("identity", "the identity")
    if "identity" in live:
        if pair.differ("identity"):
            yield Change(text, f"{column} SET GENERATED {expected['identity']};")
        yield from _sequence(identity_sequence(pair.live, pair.live_catalog), sequence)
        return
    before = f"{column} DROP DEFAULT; " if "default" in live else ""
    before += "" if live["not_null"] else f"ALTER TABLE {table} {add_not_null(pair.expected)}; "
    current = pair.live_catalog.by_key.get(sequence.key) if sequence else None
    before += f"DROP SEQUENCE {current.address}; " if current else ""
    added = identity_clause(pair.expected, pair.expected_catalog)
    # its values have the type that was given before
    going_on = f" {last_of(sequence, [(table, pair.expected.address)])}" if sequence else ""
    yield Change(text, f"{before}{column} ADD {added};{going_on}")


def _sequence(live: Object | None, expected: Object | None) -> Iterator[Change]:
    """Yield the change of the sequence of an identity that has another name."""
    if live is None or expected is None or live.key == expected.key:
        return
    names = [name for name in SEQUENCE_OPTIONS if live.facts[name] != expected.facts[name]]
    sql = f"ALTER SEQUENCE {live.address} RENAME TO {quoted(expected.name)};"
    sql += f" ALTER SEQUENCE {expected.address} {sequence_options(expected.facts, *names)}" if names else ""
    sql += f"{restart(live.facts, expected.facts)};" if names else ""
    yield Change(f"has the sequence {live.name} in the database, {expected.name} in the history", sql)

"""Changes of columns: type, default, NOT NULL, expression, identity."""

import re
from collections.abc import Iterator

from service_migrations.catalog.definitions import column_definition, options
from service_migrations.catalog.objects import Object
from service_migrations.drift.repair.change import Change, Pair
from service_migrations.drift.repair.create import comment, create
from service_migrations.sql.quoting import one_line_literal

__all__ = ["column_changes", "setval"]


def column_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a column."""
    live, expected, table = pair.live.facts, pair.expected.facts, pair.expected_catalog.on(pair.expected)
    if "type" in live and "not_null" not in live:
        return  # a column of a view: its query differs
    column = f"ALTER TABLE {table} ALTER COLUMN {pair.expected.address}"
    inherited = "inherited" in expected  # then type and expression are altered in the parent
    if pair.differ("generated") and not inherited:
        yield _generated(pair, table)
        return
    if not inherited and (pair.differ("type") or pair.differ("collation")):
        collation = f" COLLATE {expected['collation']}" if "collation" in expected else ""
        if "collation" in live and not collation:
            collation = ' COLLATE pg_catalog."default"'
        actions = [f"ALTER COLUMN {pair.expected.address} TYPE {expected['type']}{collation}{_using(pair)}"]
        if "default" in live:
            actions.insert(0, f"ALTER COLUMN {pair.expected.address} DROP DEFAULT")
        if "default" in expected:
            actions.append(f"ALTER COLUMN {pair.expected.address} SET DEFAULT {expected['default']}")
        fact = "type" if pair.differ("type") else "collation"
        noun = "" if fact == "type" else "the collation"
        yield Change(pair.describe(fact, noun), f"ALTER TABLE {table} {', '.join(actions)};")
    elif pair.differ("default") and "identity" not in expected:
        action = f"SET DEFAULT {expected['default']}" if "default" in expected else "DROP DEFAULT"
        yield Change(pair.describe("default", "the default"), f"{column} {action};")
    if pair.differ("not_null") and "identity" not in expected:
        yield _nullable(expected["not_null"], column)
    if pair.differ("identity"):
        yield _identity(pair, table, column)
    yield from _settings(pair, column)


def _settings(pair: Pair, column: str) -> Iterator[Change]:
    """Yield the changes of storage, compression, statistics target and options."""
    expected = pair.expected.facts
    for fact, default in (("storage", "DEFAULT"), ("compression", "DEFAULT"), ("statistics", "-1")):
        if pair.differ(fact):
            action = f"SET {fact.upper()} {expected.get(fact, default)}"
            if fact == "storage" and fact not in expected:  # DEFAULT is known from 16 on
                yield Change(pair.describe(fact, "the storage"), None, "Set it to that of its type.")
                continue
            noun = {"statistics": "the statistics target"}.get(fact, f"the {fact}")
            yield Change(pair.describe(fact, noun), f"{column} {action};")
    if pair.differ("options"):
        removed = [name for name in pair.live.facts.get("options", {}) if name not in expected.get("options", {})]
        sql = [f"{column} RESET ({', '.join(removed)});"] if removed else []
        sql += [f"{column} SET{options(expected).removeprefix(' WITH')};"] if "options" in expected else []
        yield Change(pair.describe("options", "the options"), " ".join(sql))


def _nullable(not_null: bool, column: str) -> Change:
    if not_null:
        return Change(
            "takes NULL in the database but not in the history", f"{column} SET NOT NULL;", "Fill what is NULL first."
        )
    return Change("is NOT NULL in the database, and takes NULL in the history", f"{column} DROP NOT NULL;")


def _using(pair: Pair) -> str:
    old, new = pair.live.facts["type"], pair.expected.facts["type"]
    if re.sub(r"\(.*\)", "", old) == re.sub(r"\(.*\)", "", new):
        return ""
    if new.startswith("character") and (old.endswith("[]") or not new.endswith("[]")):
        return ""  # any type can be assigned to it, and a cast would truncate a value that is too long
    # a type outside pg_catalog, such as an enum, has casts to and from text only
    through = "::text" if "." in old or "." in new else ""
    return f" USING {pair.expected.address}{through}::{new}"


def _generated(pair: Pair, table: str) -> Change:
    """Recreate a generated column, which loses no data; before 17 no server alters an expression."""
    expected = pair.expected.facts
    text = pair.describe("generated", "the expression")
    if "generated" not in expected:
        sql = f"ALTER TABLE {table} ALTER COLUMN {pair.expected.address} DROP EXPRESSION;"
        if pair.live.facts["generated"].endswith(" VIRTUAL"):
            return Change(text, None, "A virtual column has to be dropped, added again and filled.")
        default = expected.get("default")
        sql += f" ALTER TABLE {table} ALTER COLUMN {pair.expected.address} SET DEFAULT {default};" if default else ""
        return Change(text, sql)
    recreate = (
        f"DROP COLUMN {pair.expected.address}, ADD COLUMN {column_definition(pair.expected, pair.expected_catalog)}"
    )
    parts = [f"ALTER TABLE {table} {recreate};"]
    table_object = pair.expected_catalog.parent(pair.expected)
    word = re.compile(rf"(?<!\w){re.escape(pair.expected.address)}(?!\w)")
    for index in pair.expected_catalog.parts(table_object, "index") if table_object else ():
        dropped_too = index.key in pair.live_catalog.by_key and "constraint" not in index.facts
        if dropped_too and word.search(index.facts["definition"].partition(" ON ")[2]):
            create_index = create(index, pair.expected_catalog) or ""
            parts.append(
                re.sub(r" INDEX (CONCURRENTLY )?", lambda match: f"{match[0]}IF NOT EXISTS ", create_index, count=1)
            )
    if pair.expected.comment is not None:
        parts.append(comment(pair.expected, pair.expected_catalog))
    return Change(text, " ".join(parts))


def _identity(pair: Pair, table: str, column: str) -> Change:
    live, expected = pair.live.facts, pair.expected.facts
    text = pair.describe("identity", "the identity")
    if "identity" not in expected:
        after = f" {column} SET DEFAULT {expected['default']};" if "default" in expected else ""
        after += "" if expected["not_null"] else f" {column} DROP NOT NULL;"
        return Change(text, f"{column} DROP IDENTITY;{after}")
    if "identity" in live:
        return Change(text, f"{column} SET GENERATED {expected['identity']};")
    before = f"{column} DROP DEFAULT; " if "default" in live else ""
    before += "" if live["not_null"] else f"{column} SET NOT NULL; "
    definition = column_definition(pair.expected, pair.expected_catalog)
    added = "GENERATED " + definition.partition(" GENERATED ")[2].removesuffix(" NOT NULL")
    return Change(text, f"{before}{column} ADD {added}; {setval(table, pair.expected)}")


def setval(table: str, column: Object) -> str:
    """Return the SQL that sets a column's sequence to the value after the last one in the table."""
    owner = f"pg_get_serial_sequence({one_line_literal(table)}, {one_line_literal(column.name)})"
    return f"SELECT setval({owner}, coalesce(max({column.address}), 0) + 1, false) FROM {table};"  # noqa: S608 - names that the server quoted

"""The changes of columns: type, default, NOT NULL, expression, identity."""

import re
from collections.abc import Iterator

from service_migrations.catalog.objects import Object
from service_migrations.drift.repair.change import Change, Pair
from service_migrations.drift.repair.create import column_definition, comment, create
from service_migrations.sql.quoting import one_line_literal

__all__ = ["column_changes", "setval"]


def column_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two columns."""
    here, there, table = pair.here.facts, pair.there.facts, pair.history.on(pair.there)
    if "type" in here and "not_null" not in here:
        return  # a view's: its query says so
    column = f"ALTER TABLE {table} ALTER COLUMN {pair.there.address}"
    inherited = "inherited" in there  # then type and expression are altered in the parent
    if pair.differ("generated") and not inherited:
        yield _generated(pair, table)
        return
    if not inherited and (pair.differ("type") or pair.differ("collation")):
        collation = f" COLLATE {there['collation']}" if "collation" in there else ""
        if "collation" in here and not collation:
            collation = ' COLLATE pg_catalog."default"'
        actions = [f"ALTER COLUMN {pair.there.address} TYPE {there['type']}{collation}{_using(pair)}"]
        if "default" in here:
            actions.insert(0, f"ALTER COLUMN {pair.there.address} DROP DEFAULT")
        if "default" in there:
            actions.append(f"ALTER COLUMN {pair.there.address} SET DEFAULT {there['default']}")
        fact = "type" if pair.differ("type") else "collation"
        word = "" if fact == "type" else "the collation"
        yield Change(pair.says(fact, word), f"ALTER TABLE {table} {', '.join(actions)};")
    elif pair.differ("default") and "identity" not in there:
        verb = f"SET DEFAULT {there['default']}" if "default" in there else "DROP DEFAULT"
        yield Change(pair.says("default", "the default"), f"{column} {verb};")
    if pair.differ("not_null") and "identity" not in there:
        yield _nullable(there["not_null"], column)
    if pair.differ("identity"):
        yield _identity(pair, table, column)


def _nullable(wanted: bool, column: str) -> Change:
    if wanted:
        return Change("takes NULL here, and not in the history", f"{column} SET NOT NULL;", "Fill what is NULL first.")
    return Change("is NOT NULL here, and takes NULL in the history", f"{column} DROP NOT NULL;")


def _using(pair: Pair) -> str:
    old, new = pair.here.facts["type"], pair.there.facts["type"]
    if re.sub(r"\(.*\)", "", old) == re.sub(r"\(.*\)", "", new):
        return ""
    if new.startswith("character") and (old.endswith("[]") or not new.endswith("[]")):
        return ""  # anything may be assigned to it, and a cast would cut what is too long
    # a type of a schema of ours, such as an enum, has casts to and from text only
    through = "::text" if "." in old or "." in new else ""
    return f" USING {pair.there.address}{through}::{new}"


def _generated(pair: Pair, table: str) -> Change:
    """Make a generated column again: its data follow from others, and before 17 no server alters an expression."""
    there = pair.there.facts
    text = pair.says("generated", "the expression")
    if "generated" not in there:
        sql = f"ALTER TABLE {table} ALTER COLUMN {pair.there.address} DROP EXPRESSION;"
        if pair.here.facts["generated"].endswith(" VIRTUAL"):
            return Change(text, None, "A virtual column has to be dropped, added again and filled.")
        default = there.get("default")
        sql += f" ALTER TABLE {table} ALTER COLUMN {pair.there.address} SET DEFAULT {default};" if default else ""
        return Change(text, sql)
    again = f"DROP COLUMN {pair.there.address}, ADD COLUMN {column_definition(pair.there, pair.history)}"
    parts = [f"ALTER TABLE {table} {again};"]
    whole = pair.history.parent(pair.there)
    word = re.compile(rf"(?<!\w){re.escape(pair.there.address)}(?!\w)")
    for index in pair.history.parts(whole, "index") if whole else ():
        falls = index.key in pair.catalog.by_key and "constraint" not in index.facts
        if falls and word.search(index.facts["definition"].partition(" ON ")[2]):
            again = create(index, pair.history) or ""
            parts.append(re.sub(r" INDEX (CONCURRENTLY )?", lambda m: f"{m[0]}IF NOT EXISTS ", again, count=1))
    if pair.there.comment is not None:
        parts.append(comment(pair.there, pair.history))
    return Change(text, " ".join(parts))


def _identity(pair: Pair, table: str, column: str) -> Change:
    here, there = pair.here.facts, pair.there.facts
    text = pair.says("identity", "the identity")
    if "identity" not in there:
        then = f" {column} SET DEFAULT {there['default']};" if "default" in there else ""
        then += "" if there["not_null"] else f" {column} DROP NOT NULL;"
        return Change(text, f"{column} DROP IDENTITY;{then}")
    if "identity" in here:
        return Change(text, f"{column} SET GENERATED {there['identity']};")
    before = f"{column} DROP DEFAULT; " if "default" in here else ""
    before += "" if here["not_null"] else f"{column} SET NOT NULL; "
    definition = column_definition(pair.there, pair.history)
    added = "GENERATED " + definition.partition(" GENERATED ")[2].removesuffix(" NOT NULL")
    return Change(text, f"{before}{column} ADD {added}; {setval(table, pair.there)}")


def setval(table: str, column: Object) -> str:
    """Return the SQL that puts the sequence behind a column past the values that are there."""
    owner = f"pg_get_serial_sequence({one_line_literal(table)}, {one_line_literal(column.name)})"
    return f"SELECT setval({owner}, coalesce(max({column.address}), 0) + 1, false) FROM {table};"  # noqa: S608 - names that the server quoted

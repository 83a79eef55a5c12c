"""Changes of tables, views, enums, domains and composite types."""

import re
from collections.abc import Iterator, Mapping

from service_migrations.catalog.creation import attribute_comment
from service_migrations.catalog.definitions import changed_options, options
from service_migrations.catalog.objects import Catalog, Key, Object
from service_migrations.drift.repair.change import OTHER_DEFINITION, Change, Pair, shown
from service_migrations.drift.repair.create import create, create_with_parts, detach, drop
from service_migrations.sql.quoting import one_line_literal

__all__ = [
    "composite_changes",
    "domain_changes",
    "enum_changes",
    "rows_of_default",
    "table_changes",
    "tables_of",
    "type_changes",
    "view_changes",
]

_BY_HAND = "Create a new type as in the history, alter the columns of the old one to it, and drop the old one."
_COPY = "Create a table as in the history, and copy the rows."
_SECRET = re.compile(r"passw|pwd|secret|token|credential|(?:api|access)_?key", re.IGNORECASE)
"""The name of an option of a foreign table whose value isn't printed."""
_ROWS_OUTSIDE = "ATTACH fails on a row outside of its bound, and it stays detached: move such rows first."
_ROWS_OF_DEFAULT = "It fails where {} has rows of this bound: move them first."


def table_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a table, without its parts."""
    live, expected, table = pair.live.facts, pair.expected.facts, f"ALTER TABLE {pair.expected.address}"
    if pair.differ("persistence"):
        yield Change(pair.describe("persistence"), f"{table} SET {expected['persistence']};")
    yield from _options(pair, table)
    if pair.differ("row_security"):
        action = "ENABLE" if expected["row_security"] else "DISABLE"
        old, new = (_switch(facts["row_security"]) for facts in (live, expected))
        text = f"has row level security {old} in the database, {new} in the history"
        yield Change(text, f"{table} {action} ROW LEVEL SECURITY;")
    if pair.differ("force_row_security"):
        action = "FORCE" if expected["force_row_security"] else "NO FORCE"
        old, new = (_switch(facts["force_row_security"]) for facts in (live, expected))
        text = f"has row level security for its owner {old} in the database, {new} in the history"
        yield Change(text, f"{table} {action} ROW LEVEL SECURITY;")
    if pair.differ("replica_identity") and not _comes_with_its_index(pair):
        yield Change(
            pair.describe("replica_identity", "the replica identity"),
            f"{table} REPLICA IDENTITY {expected['replica_identity']};",
        )
    if pair.differ("access_method"):
        yield Change(pair.describe("access_method", "the access method"), None, _COPY)
    if pair.differ("partition_key"):
        yield Change(pair.describe("partition_key", "the partition key"), None, _COPY)
    if pair.differ("server"):
        yield _server(pair)
    if pair.differ("of_type"):
        action = f"OF {expected['of_type']}" if "of_type" in expected else "NOT OF"
        yield Change(pair.describe("of_type", "the type"), f"{table} {action};", types=True)
    yield from _inheritance(pair, table)


def _comes_with_its_index(pair: Pair) -> bool:
    """Whether the SQL for another difference creates the index of the replica identity, and sets this with it."""
    indexes = pair.expected_catalog.parts(pair.expected, "index")
    index = next((each for each in indexes if "replica_identity" in each.facts), None)
    if index is None or "inherited" in index.facts:
        return False
    keys = [index.key, Key("constraint", index.schema, index.table, index.facts.get("constraint", ""))]
    both = [(pair.live_catalog.by_key.get(key), pair.expected_catalog.by_key.get(key)) for key in keys]
    facts = ("definition", "valid", "constraint")
    return any(
        part is not None and (live is None or any(live.facts.get(name) != part.facts.get(name) for name in facts))
        for live, part in both
    )


def _server(pair: Pair) -> Change:
    live, expected = (each.facts.get("server", {}) for each in (pair.live, pair.expected))
    if live.get("name") != expected.get("name"):
        text = f"is on the server {live.get('name')} in the database, {expected.get('name')} in the history"
        return Change(text, None, "Drop it, and create it again as in the history.")
    old, new = live.get("options", {}), expected.get("options", {})
    text = f"has the options {_without_secrets(old)} in the database, {_without_secrets(new)} in the history"
    secrets = [name for name in {**old, **new} if _SECRET.search(name) and old.get(name) != new.get(name)]
    old, new = ({name: each[name] for name in each if name not in secrets} for each in (old, new))
    note = f"Set {', '.join(secrets)} as in the history: it isn't shown." if secrets else None
    sql = f"ALTER FOREIGN TABLE {pair.expected.address} {changed_options(old, new)};" if old != new else None
    return Change(text, sql, note)


def _without_secrets(foreign_options: Mapping[str, str]) -> str:
    shown_options = (f"{name}={'***' if _SECRET.search(name) else value}" for name, value in foreign_options.items())
    return shown(", ".join(shown_options) or None)


def _inheritance(pair: Pair, table: str) -> Iterator[Change]:
    live, expected, address = pair.live.facts, pair.expected.facts, pair.expected.address
    pending = pair.differ("detach_pending")
    if pair.differ("bound") or pending or ("bound" in expected and pair.differ("inherits")):
        statements, detaches = [], detach(pair.live) if "bound" in live else ""
        if detaches:
            statements.append(detaches)
        if "bound" in expected:
            parent, bound = expected["inherits"][0], expected["bound"]
            statements.append(f"ALTER TABLE {parent} ATTACH PARTITION {address} {bound};")
        is_half = pending and not pair.differ("bound")
        text = "is half detached in the database" if is_half else pair.describe("bound", "the partition bound")
        note = None
        if "bound" in expected and not is_half:
            note = " ".join(filter(None, [_ROWS_OUTSIDE, rows_of_default(pair.expected, pair.live_catalog)]))
        yield Change(text, " ".join(statements), note, detaches=detaches, attaches="bound" in expected)
    elif pair.differ("inherits"):
        old, new = live.get("inherits", []), expected.get("inherits", [])
        actions = [f"NO INHERIT {parent}" for parent in old if parent not in new]
        actions += [f"INHERIT {parent}" for parent in new if parent not in old]
        sql = f"{table} {', '.join(actions)};" if actions else None
        yield Change(pair.describe("inherits", "the parents"), sql, None if sql else "Only their order differs.")


def rows_of_default(partition: Object, live_catalog: Catalog) -> str | None:
    """Return the note that the default partition, if there is one, may hold what belongs in another."""
    whole = partition.part_of
    parent = live_catalog.by_key.get(Key(whole[0], whole[1], None, whole[2])) if whole else None
    if parent is None or partition.facts.get("bound") in (None, "DEFAULT"):
        return None
    others = [
        each
        for each in live_catalog.parts(parent, "table", "foreign table")
        if each.facts.get("bound") == "DEFAULT" and each.key != partition.key
    ]
    return _ROWS_OF_DEFAULT.format(others[0].name) if others else None


def _options(pair: Pair, alter: str) -> Iterator[Change]:
    live, expected = (each.facts.get("options", {}) for each in (pair.live, pair.expected))
    if live != expected:
        removed = [name for name in live if name not in expected]
        sql = [f"{alter} RESET ({', '.join(removed)});"] if removed else []
        changed = {name: value for name, value in expected.items() if live.get(name) != value}
        sql += [f"{alter} SET{options({'options': changed}).removeprefix(' WITH')};"] if changed else []
        old, new = (", ".join(f"{name}={value}" for name, value in each.items()) or "none" for each in (live, expected))
        yield Change(f"has the options {old} in the database, {new} in the history", " ".join(sql))


def view_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a view, materialized or not."""
    keyword = pair.expected.kind.upper()
    if not pair.differ("definition") and not pair.differ("access_method"):
        yield from _options(pair, f"ALTER {keyword} {pair.expected.address}")
        return
    is_other = pair.differ("definition")
    text = OTHER_DEFINITION if is_other else pair.describe("access_method", "the access method")
    live, expected = (
        [(column.name, column.facts["type"], column.facts.get("collation")) for column in catalog.parts(view, "column")]
        for view, catalog in ((pair.live, pair.live_catalog), (pair.expected, pair.expected_catalog))
    )
    creation = create_with_parts(pair.expected, pair.expected_catalog, pair.live_catalog)
    if keyword == "VIEW" and expected[: len(live)] == live:
        # columns may only be added at the end, and keep type and collation (documentation, CREATE VIEW)
        create_view = create(pair.expected, pair.expected_catalog) or ""
        replacing = create_view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1)
        yield Change(text, replacing, creation=creation)
        return
    sql = f"{drop(pair.live, pair.live_catalog)} {creation}"
    yield Change(text, sql, "What was granted on it has to be granted again.", creation, drops=True)


def enum_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of an enum: labels can be renamed and added, but not removed."""
    live, expected = list(pair.live.facts.get("labels", ())), list(pair.expected.facts.get("labels", ()))
    if live == expected:
        return
    text = f"has the labels {', '.join(live)} in the database, {', '.join(expected)} in the history"
    alter = f"ALTER TYPE {pair.expected.address}"
    renamed = [(old, new) for old, new in zip(live, expected, strict=False) if old != new]
    if len(live) == len(expected) and not {old for old, _ in renamed} & set(expected):
        sql = [f"{alter} RENAME VALUE {one_line_literal(old)} TO {one_line_literal(new)};" for old, new in renamed]
        yield Change(text, " ".join(sql))
    elif [label for label in expected if label in live] == live:
        sql = []
        for position, label in enumerate(expected):
            if label not in live:
                position_clause = (
                    f" AFTER {one_line_literal(expected[position - 1])}"
                    if position
                    else f" BEFORE {one_line_literal(live[0])}"
                    if live
                    else ""
                )
                sql.append(f"{alter} ADD VALUE {one_line_literal(label)}{position_clause};")
        yield Change(text, " ".join(sql))
    else:
        note = "PostgreSQL can neither remove nor move a label. "
        yield Change(text, None, note + _BY_HAND)


def domain_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a domain, without its constraints."""
    expected, alter = pair.expected.facts, f"ALTER DOMAIN {pair.expected.address}"
    if pair.differ("type") or pair.differ("collation"):
        yield Change(pair.describe("type"), None, _BY_HAND)
    if pair.differ("default"):
        action = f"SET DEFAULT {expected['default']}" if "default" in expected else "DROP DEFAULT"
        yield Change(pair.describe("default", "the default"), f"{alter} {action};")
    if pair.differ("not_null"):
        text = (
            "takes NULL in the database but not in the history"
            if expected["not_null"]
            else "is NOT NULL in the database only"
        )
        note = "Fill what is NULL first." if expected["not_null"] else None
        yield Change(text, f"{alter} {'SET' if expected['not_null'] else 'DROP'} NOT NULL;", note)


def composite_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a composite type."""
    if pair.differ("attributes"):
        yield _attributes(pair)
    live, expected = (each.facts.get("comments", {}) for each in (pair.live, pair.expected))
    for name, _ in pair.expected.facts.get("attributes", ()):
        if live.get(name) != expected.get(name):
            old, new = (shown(each.get(name) and one_line_literal(each[name])) for each in (live, expected))
            sql = f"{attribute_comment(pair.expected, name, expected.get(name))};"
            yield Change(f"has the comment {old} on {name} in the database, {new} in the history", sql)


def _attributes(pair: Pair) -> Change:
    live, expected = (dict(each.facts.get("attributes", ())) for each in (pair.live, pair.expected))
    kept = [name for name in live if name in expected]
    added = [name for name in expected if name not in live]
    text = pair.describe("attributes", "the attributes")
    if [*kept, *added] != list(expected):
        by_hand = f"An attribute can be added at the end only. {_BY_HAND}{_renamed_attribute(pair)}"
        return Change(text, None, by_hand, reshapes=True)
    if any(live[name] != expected[name] for name in kept) and _is_stored(pair.live, pair.live_catalog):
        return Change(
            text, None, f"PostgreSQL alters no attribute of a type that a column has. {_BY_HAND}", reshapes=True
        )
    actions = [f"DROP ATTRIBUTE {name}" for name in live if name not in expected]
    note = f"This loses what is in it.{_renamed_attribute(pair)}" if actions else None
    actions += [f"ALTER ATTRIBUTE {name} TYPE {expected[name]}" for name in kept if live[name] != expected[name]]
    actions += [f"ADD ATTRIBUTE {name} {expected[name]}" for name in added]
    return Change(text, f"ALTER TYPE {pair.expected.address} {', '.join(actions)};", note, reshapes=True)


def _is_stored(composite: Object, catalog: Catalog) -> bool:
    """Whether a table has a column of a type, of an array of it, or of a type that is made of it."""
    names, number = {composite.address}, 0
    while len(names) > number:
        number = len(names)
        for item in catalog.by_key.values():
            types = [item.facts.get("type"), *(kind for _, kind in item.facts.get("attributes", ()))]
            if item.kind in ("domain", "composite type") and any(_element(kind) in names for kind in types):
                names.add(item.address)
    columns = (
        item for item in catalog.by_key.values() if item.kind == "column" and _element(item.facts["type"]) in names
    )
    return any(
        table is not None and table.kind in ("table", "materialized view") for table in map(catalog.parent, columns)
    )


def tables_of(composite: Object, catalog: Catalog) -> Iterator[Object]:
    """Yield the tables that are OF a type, whose columns are its attributes."""
    return (item for item in catalog.by_key.values() if item.facts.get("of_type") == composite.address)


def _element(kind: object) -> str:
    return str(kind).removesuffix("[]")


def _renamed_attribute(pair: Pair) -> str:
    """Return a sentence with the SQL that gives an attribute its former name, where only one name differs."""
    live, expected = (list(each.facts.get("attributes", ())) for each in (pair.live, pair.expected))
    differing = [(old, new) for old, new in zip(live, expected, strict=False) if old != new]
    if len(live) != len(expected) or len(differing) != 1 or differing[0][0][1] != differing[0][1][1]:
        return ""
    (old, _), (new, _) = differing[0]
    cascade = " CASCADE" if any(tables_of(pair.live, pair.live_catalog)) else ""
    rename = f"ALTER TYPE {pair.expected.address} RENAME ATTRIBUTE {old} TO {new}{cascade};"
    return f" If it was only renamed, run this instead: {rename}"


def type_changes(pair: Pair) -> Iterator[Change]:
    """Yield the changes of a range type or base type, which no SQL can alter."""
    if pair.live.facts != pair.expected.facts:
        yield Change(OTHER_DEFINITION, None, _BY_HAND)


def _switch(on: bool) -> str:
    return "on" if on else "off"

"""The changes of what stands by itself and is altered in place: tables, views, enums, domains, composite types."""

from collections.abc import Iterator

from service_migrations.drift.repair.change import ANOTHER, Change, Pair
from service_migrations.drift.repair.create import comment, create, drop, options
from service_migrations.sql.quoting import one_line_literal

__all__ = ["composite_changes", "domain_changes", "enum_changes", "table_changes", "type_changes", "view_changes"]

_BY_HAND = "Make a new type from the history, alter the columns that use the old one to it, and drop the old one."
_AGAIN = "Make a table from the history, and copy the rows."


def table_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two tables, apart from their parts."""
    here, there, table = pair.here.facts, pair.there.facts, f"ALTER TABLE {pair.there.address}"
    if pair.differ("persistence"):
        yield Change(pair.says("persistence"), f"{table} SET {there['persistence']};")
    yield from _options(pair, table)
    if pair.differ("row_security"):
        verb = "ENABLE" if there["row_security"] else "DISABLE"
        text = f"has row level security {_switch(here['row_security'])} here, {_switch(there['row_security'])} in the"
        yield Change(f"{text} history", f"{table} {verb} ROW LEVEL SECURITY;")
    if pair.differ("force_row_security"):
        verb = "FORCE" if there["force_row_security"] else "NO FORCE"
        told = (_switch(one["force_row_security"]) for one in (here, there))
        text = "has row level security for its owner {} here, {} in the history".format(*told)
        yield Change(text, f"{table} {verb} ROW LEVEL SECURITY;")
    if pair.differ("replica_identity"):
        yield Change(
            pair.says("replica_identity", "the replica identity"),
            f"{table} REPLICA IDENTITY {there['replica_identity']};",
        )
    if pair.differ("partition_key"):
        yield Change(pair.says("partition_key", "the partition key"), None, _AGAIN)
    if pair.differ("server"):
        yield Change(pair.says("server", "the server"), None, "Drop it, and make it again as the history does.")
    yield from _inheritance(pair, table)


def _inheritance(pair: Pair, table: str) -> Iterator[Change]:
    here, there, address = pair.here.facts, pair.there.facts, pair.there.address
    if pair.differ("bound") or ("bound" in there and pair.differ("inherits")):
        before = f"ALTER TABLE {here['inherits'][0]} DETACH PARTITION {address}; " if "bound" in here else ""
        after = f"ALTER TABLE {there['inherits'][0]} ATTACH PARTITION {address} {there['bound']};"
        yield Change(pair.says("bound", "the partition bound"), f"{before}{after if 'bound' in there else ''}".strip())
    elif pair.differ("inherits"):
        old, new = here.get("inherits", []), there.get("inherits", [])
        actions = [f"NO INHERIT {one}" for one in old if one not in new]
        actions += [f"INHERIT {one}" for one in new if one not in old]
        sql = f"{table} {', '.join(actions)};" if actions else None
        yield Change(pair.says("inherits", "the parents"), sql, None if sql else "Only their order differs.")


def _options(pair: Pair, alter: str) -> Iterator[Change]:
    here, there = (one.facts.get("options", {}) for one in (pair.here, pair.there))
    if here != there:
        gone = [name for name in here if name not in there]
        sql = [f"{alter} RESET ({', '.join(gone)});"] if gone else []
        new = {name: value for name, value in there.items() if here.get(name) != value}
        sql += [f"{alter} SET{options({'options': new}).removeprefix(' WITH')};"] if new else []
        told = (", ".join(f"{name}={value}" for name, value in one.items()) or "none" for one in (here, there))
        yield Change("has the options {} here, {} in the history".format(*told), " ".join(sql))


def view_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two views, or two materialized ones."""
    word = pair.there.kind.upper()
    if not pair.differ("definition"):
        yield from _options(pair, f"ALTER {word} {pair.there.address}")
        return
    here, there = (
        [(column.name, column.facts["type"]) for column in catalog.parts(one, "column")]
        for one, catalog in ((pair.here, pair.catalog), (pair.there, pair.history))
    )
    again = create(pair.there, pair.history) or ""
    if word == "VIEW" and there[: len(here)] == here:
        # columns may only be added at the end (documentation, CREATE VIEW)
        yield Change(ANOTHER, again.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        return
    # what falls with the view; what was missing before has a line of its own
    parts = [p for p in pair.history.parts(pair.there, "index", "trigger", "rule") if p.key in pair.catalog.by_key]
    texts = [drop(pair.here, pair.catalog), again, *(create(part, pair.history) or "" for part in parts)]
    columns = pair.history.parts(pair.there, "column")
    texts += [comment(column, pair.history) for column in columns if column.comment is not None]
    yield Change(ANOTHER, " ".join(texts), "What was granted on it has to be granted again.")


def enum_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two enums: labels can be renamed and added, and never be taken away."""
    here, there = list(pair.here.facts.get("labels", ())), list(pair.there.facts.get("labels", ()))
    if here == there:
        return
    text = f"has the labels {', '.join(here)} here, {', '.join(there)} in the history"
    alter = f"ALTER TYPE {pair.there.address}"
    renamed = [(old, new) for old, new in zip(here, there, strict=False) if old != new]
    if len(here) == len(there) and not {old for old, _ in renamed} & set(there):
        sql = [f"{alter} RENAME VALUE {one_line_literal(old)} TO {one_line_literal(new)};" for old, new in renamed]
        yield Change(text, " ".join(sql))
    elif [label for label in there if label in here] == here:
        sql = []
        for place, label in enumerate(there):
            if label not in here:
                where = (
                    f" AFTER {one_line_literal(there[place - 1])}"
                    if place
                    else f" BEFORE {one_line_literal(here[0])}"
                    if here
                    else ""
                )
                sql.append(f"{alter} ADD VALUE {one_line_literal(label)}{where};")
        yield Change(text, " ".join(sql))
    else:
        note = "PostgreSQL can neither take a label away nor move one. "
        yield Change(text, None, note + _BY_HAND)


def domain_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two domains, apart from their constraints."""
    there, alter = pair.there.facts, f"ALTER DOMAIN {pair.there.address}"
    if pair.differ("type") or pair.differ("collation"):
        yield Change(pair.says("type"), None, _BY_HAND)
    if pair.differ("default"):
        verb = f"SET DEFAULT {there['default']}" if "default" in there else "DROP DEFAULT"
        yield Change(pair.says("default", "the default"), f"{alter} {verb};")
    if pair.differ("not_null"):
        text = "takes NULL here, and not in the history" if there["not_null"] else "is NOT NULL here only"
        yield Change(text, f"{alter} {'SET' if there['not_null'] else 'DROP'} NOT NULL;")


def composite_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two composite types."""
    here, there = (dict(one.facts.get("attributes", ())) for one in (pair.here, pair.there))
    if not pair.differ("attributes"):
        return
    kept = [name for name in here if name in there]
    added = [name for name in there if name not in here]
    text = pair.says("attributes", "the attributes")
    if [*kept, *added] != list(there):
        yield Change(text, None, f"An attribute can be added at the end only. {_BY_HAND}")
        return
    actions = [f"DROP ATTRIBUTE {name}" for name in here if name not in there]
    actions += [f"ALTER ATTRIBUTE {name} TYPE {there[name]}" for name in kept if here[name] != there[name]]
    actions += [f"ADD ATTRIBUTE {name} {there[name]}" for name in added]
    yield Change(text, f"ALTER TYPE {pair.there.address} {', '.join(actions)};")


def type_changes(pair: Pair) -> Iterator[Change]:
    """Yield what differs between two range types or base types, which nothing can alter."""
    if pair.here.facts != pair.there.facts:
        yield Change(ANOTHER, None, _BY_HAND)


def _switch(on: bool) -> str:
    return "on" if on else "off"

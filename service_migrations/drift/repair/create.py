"""The SQL that makes an object of a catalog, and the SQL that drops it, each in one line.

What stands in a catalog was deparsed by the server, so most of it is a CREATE already.
"""

from collections.abc import Iterable, Mapping

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line, one_line_literal

__all__ = ["column_definition", "comment", "create", "drop", "options", "sequence_options", "word"]


def column_definition(one: Object, catalog: Catalog) -> str:
    """Return a column as CREATE TABLE and ADD COLUMN take it."""
    facts, words = one.facts, [one.address, one.facts["type"]]
    if "collation" in facts:
        words.append(f"COLLATE {facts['collation']}")
    if "default" in facts:
        words.append(f"DEFAULT {facts['default']}")
    if "generated" in facts:
        expression, _, stored = facts["generated"].rpartition(" ")
        words.append(f"GENERATED ALWAYS AS ({expression}) {stored}")
    if "identity" in facts:
        words.append(f"GENERATED {facts['identity']} AS IDENTITY{_identity_options(one, catalog)}")
    if facts["not_null"]:
        words.append("NOT NULL")
    return " ".join(words)


def _identity_options(column: Object, catalog: Catalog) -> str:
    table = catalog.parent(column)
    for sequence in catalog.parts(table, "sequence") if table else ():
        if sequence.facts.get("identity") == column.name:
            return f" (SEQUENCE NAME {sequence.address} {sequence_options(sequence.facts)})"
    return ""


def sequence_options(facts: Mapping[str, object], *names: str) -> str:
    """Return the options of a sequence, or those of these names."""
    said = {
        "increment": f"INCREMENT BY {facts.get('increment')}",
        "minimum": f"MINVALUE {facts.get('minimum')}",
        "maximum": f"MAXVALUE {facts.get('maximum')}",
        "start": f"START WITH {facts.get('start')}",
        "cache": f"CACHE {facts.get('cache')}",
        "cycle": "CYCLE" if facts.get("cycle") else "NO CYCLE",
    }
    return " ".join(text for name, text in said.items() if not names or name in names)


_ON_TABLE = ("constraint", "trigger", "rule", "policy")
_TYPES = ("enum", "composite type", "range type", "base type")


def create(one: Object, catalog: Catalog) -> str | None:
    """Return the SQL that makes an object with its comment; None for a kind whose SQL the catalog doesn't hold."""
    sql = _create(one, catalog)
    if sql is None:
        return None
    texts = [sql, comment(one, catalog) if one.comment is not None else ""]
    if one.kind == "table":
        texts += [comment(part, catalog) for part in catalog.parts(one, "column") if part.comment is not None]
    return one_line(" ".join(text for text in texts if text))


def drop(one: Object, catalog: Catalog) -> str:
    """Return the SQL that drops an object; never CASCADE, so that it fails where something else hangs on it."""
    if one.kind == "column":
        return f"ALTER TABLE {catalog.on(one)} DROP COLUMN {one.address};"
    if one.kind == "constraint":
        return f"ALTER TABLE {catalog.on(one)} DROP CONSTRAINT {one.address};"
    if one.kind == "domain constraint":
        return f"ALTER DOMAIN {catalog.on(one)} DROP CONSTRAINT {one.address};"
    if one.kind in _ON_TABLE:
        return f"DROP {one.kind.upper()} {one.address} ON {catalog.on(one)};"
    if one.kind == "index":
        return f"DROP INDEX {_concurrently(one, catalog)}{one.address};"
    return f"DROP {word(one)} {one.address};"


def comment(one: Object, catalog: Catalog) -> str:
    """Return the SQL that gives an object the comment that it has here, or none."""
    text = "NULL" if one.comment is None else one_line_literal(one.comment)
    if one.kind == "column":
        target = f"COLUMN {catalog.on(one)}.{one.address}"
    elif one.kind == "domain constraint":
        target = f"CONSTRAINT {one.address} ON DOMAIN {catalog.on(one)}"
    elif one.kind in _ON_TABLE:
        target = f"{one.kind.upper()} {one.address} ON {catalog.on(one)}"
    else:
        target = f"{word(one)} {one.address}"
    return f"COMMENT ON {target} IS {text};"


def _create(one: Object, catalog: Catalog) -> str | None:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
    facts, on = one.facts, catalog.on(one)
    match one.kind:
        case "schema":
            return f"CREATE SCHEMA {one.address};"
        case "extension":
            return f"CREATE EXTENSION {one.address} SCHEMA {facts['schema']};"
        case "table":
            return _table(one, catalog)
        case "view" | "materialized view":
            return f"CREATE {one.kind.upper()} {one.address}{options(facts)} AS {facts['definition'].strip()}"
        case "column":
            added = f"ALTER TABLE {on} ADD COLUMN {column_definition(one, catalog)};"
            return _with_sequences(added, _sequences(one, catalog))
        case "constraint" | "domain constraint":
            kind = "TABLE" if one.kind == "constraint" else "DOMAIN"
            return f"ALTER {kind} {on} ADD CONSTRAINT {one.address} {facts['definition']};"
        case "index":
            made = facts["definition"].replace(" INDEX ", f" INDEX {_concurrently(one, catalog)}", 1)
            table = catalog.parent(one)
            named = table.facts["replica_identity"] if table and "replica_identity" in facts else ""
            # of a partitioned table it is deparsed as if its partitions had none
            return f"{made.replace(' ON ONLY ', ' ON ', 1)};" + (
                f" ALTER TABLE {on} REPLICA IDENTITY {named};" if named else ""
            )
        case "sequence":
            return _with_sequences("", [one])
        case "enum":
            labels = ", ".join(map(one_line_literal, facts["labels"]))
            return f"CREATE TYPE {one.address} AS ENUM ({labels});"
        case "domain":
            return _domain(one, catalog)
        case "composite type":
            return (
                f"CREATE TYPE {one.address} AS ({', '.join(' '.join(pair) for pair in facts.get('attributes', ()))});"
            )
        case "range type":
            return f"CREATE TYPE {one.address} AS RANGE ({_settings(facts['range'])});"
        case "aggregate":
            return f"CREATE OR REPLACE AGGREGATE {one.address} ({_settings(facts['aggregate'])});"
        case "trigger" | "rule":
            state = {"O": "", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[facts["enabled"]]
            told = f" ALTER TABLE {on} {state} {one.kind.upper()} {one.address};" if state else ""
            return f"{facts['definition'].rstrip(';')};{told}"
        case "policy":
            return f"CREATE POLICY {one.address} ON {on} {facts['definition']};"
        case "function" | "procedure" | "statistics":
            return f"{facts['definition'].strip()};"
    return None


def _table(one: Object, catalog: Catalog) -> str:
    """Return CREATE TABLE with columns and with those constraints that don't lead to another table."""
    facts, parent = one.facts, catalog.parent(one)
    unlogged = "UNLOGGED " if facts["persistence"] == "UNLOGGED" else ""
    keys = [
        k for k in catalog.parts(one, "constraint") if "foreign_key" not in k.facts and not k.facts.get("inherited")
    ]
    sequences = [s for s in catalog.parts(one, "sequence") if "identity" not in s.facts]
    if parent and "bound" in facts:
        inside = [f"CONSTRAINT {key.address} {key.facts['definition']}" for key in keys]
        head = f"{one.address} PARTITION OF {parent.address}" + (f" ({', '.join(inside)})" if inside else "")
        head += f" {facts['bound']}"
    else:
        inside = [column_definition(column, catalog) for column in catalog.parts(one, "column")]
        inside += [f"CONSTRAINT {key.address} {key.facts['definition']}" for key in keys]
        head = f"{one.address} ({', '.join(inside)})"
        head += f" INHERITS ({', '.join(facts['inherits'])})" if "inherits" in facts else ""
    if "partition_key" in facts:
        head += f" PARTITION BY {facts['partition_key']}"
    texts = [_with_sequences(f"CREATE {unlogged}TABLE {head}{options(facts)};", sequences)]
    if facts["row_security"]:
        texts.append(f"ALTER TABLE {one.address} ENABLE ROW LEVEL SECURITY;")
    later = [i for i in catalog.parts(one, "index") if "replica_identity" in i.facts and "constraint" not in i.facts]
    if facts["replica_identity"] != "DEFAULT" and not later:
        texts.append(f"ALTER TABLE {one.address} REPLICA IDENTITY {facts['replica_identity']};")
    if facts["force_row_security"]:
        texts.append(f"ALTER TABLE {one.address} FORCE ROW LEVEL SECURITY;")
    return " ".join(texts)


def _sequences(column: Object, catalog: Catalog) -> list[Object]:
    """Return the sequences that a column owns without being an identity."""
    table = catalog.parent(column)
    owner = f"{catalog.on(column)}.{column.address}"
    found = catalog.parts(table, "sequence") if table else []
    return [one for one in found if one.facts.get("owned_by") == owner and "identity" not in one.facts]


def _with_sequences(sql: str, sequences: Iterable[Object]) -> str:
    """Return SQL with the sequences that it needs made before, and given to their columns afterwards."""
    before, after = [], []
    for one in sequences:
        unlogged = "UNLOGGED " if one.facts.get("persistence") == "UNLOGGED" else ""
        before.append(f"CREATE {unlogged}SEQUENCE {one.address} AS {one.facts['type']} {sequence_options(one.facts)};")
        if "owned_by" in one.facts:
            after.append(f"ALTER SEQUENCE {one.address} OWNED BY {one.facts['owned_by']};")
    return " ".join([*before, *([sql] if sql else []), *after])


def _domain(one: Object, catalog: Catalog) -> str:
    facts, words = one.facts, [f"CREATE DOMAIN {one.address} AS {one.facts['type']}"]
    words += [f"COLLATE {facts['collation']}"] if "collation" in facts else []
    words += [f"DEFAULT {facts['default']}"] if "default" in facts else []
    words += ["NOT NULL"] if facts["not_null"] else []
    checks = catalog.parts(one, "domain constraint")
    words += [f"CONSTRAINT {check.address} {check.facts['definition']}" for check in checks]
    return f"{' '.join(words)};"


def options(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the storage parameters of a table or the options of a view, as CREATE takes them."""
    found = facts.get("options")
    return f" WITH ({', '.join(f'{key}={one_line_literal(value)}' for key, value in found.items())})" if found else ""


def _settings(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _concurrently(index: Object, catalog: Catalog) -> str:
    """Spare writers the wait, where the server can: not with an index of a partitioned table."""
    parent = catalog.parent(index)
    return "" if parent is None or "partition_key" in parent.facts else "CONCURRENTLY "


def word(one: Object) -> str:
    """Return what SQL calls an object's kind, in DROP and COMMENT ON."""
    if one.kind in _TYPES:
        return "TYPE"
    return one.kind.upper()

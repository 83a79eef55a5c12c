"""The SQL that creates or drops an object of a catalog, in one line.

The server deparsed the definitions in a catalog, so most of them are a CREATE already.
"""

from collections.abc import Iterable, Mapping

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line, one_line_literal

__all__ = ["column_definition", "comment", "create", "drop", "keyword", "options", "sequence_options"]


def column_definition(column: Object, catalog: Catalog) -> str:
    """Return the definition of a column in CREATE TABLE and ADD COLUMN."""
    facts, parts = column.facts, [column.address, column.facts["type"]]
    if "collation" in facts:
        parts.append(f"COLLATE {facts['collation']}")
    if "default" in facts:
        parts.append(f"DEFAULT {facts['default']}")
    if "generated" in facts:
        expression, _, stored = facts["generated"].rpartition(" ")
        parts.append(f"GENERATED ALWAYS AS ({expression}) {stored}")
    if "identity" in facts:
        parts.append(f"GENERATED {facts['identity']} AS IDENTITY{_identity_options(column, catalog)}")
    if facts["not_null"]:
        parts.append("NOT NULL")
    return " ".join(parts)


def _identity_options(column: Object, catalog: Catalog) -> str:
    table = catalog.parent(column)
    for sequence in catalog.parts(table, "sequence") if table else ():
        if sequence.facts.get("identity") == column.name:
            return f" (SEQUENCE NAME {sequence.address} {sequence_options(sequence.facts)})"
    return ""


def sequence_options(facts: Mapping[str, object], *names: str) -> str:
    """Return all options of a sequence, or some by name."""
    clauses = {
        "increment": f"INCREMENT BY {facts.get('increment')}",
        "minimum": f"MINVALUE {facts.get('minimum')}",
        "maximum": f"MAXVALUE {facts.get('maximum')}",
        "start": f"START WITH {facts.get('start')}",
        "cache": f"CACHE {facts.get('cache')}",
        "cycle": "CYCLE" if facts.get("cycle") else "NO CYCLE",
    }
    return " ".join(clause for name, clause in clauses.items() if not names or name in names)


_ON_TABLE = ("constraint", "trigger", "rule", "policy")
_TYPES = ("enum", "composite type", "range type", "base type")


def create(item: Object, catalog: Catalog) -> str | None:
    """Return the SQL that creates an object with its comment; None for a kind without SQL in the catalog."""
    sql = _create(item, catalog)
    if sql is None:
        return None
    statements = [sql, comment(item, catalog) if item.comment is not None else ""]
    if item.kind == "table":
        statements += [comment(part, catalog) for part in catalog.parts(item, "column") if part.comment is not None]
    return one_line(" ".join(statement for statement in statements if statement))


def drop(item: Object, catalog: Catalog) -> str:
    """Return the SQL that drops an object; without CASCADE it fails where another object depends on it."""
    if item.kind == "column":
        return f"ALTER TABLE {catalog.on(item)} DROP COLUMN {item.address};"
    if item.kind == "constraint":
        return f"ALTER TABLE {catalog.on(item)} DROP CONSTRAINT {item.address};"
    if item.kind == "domain constraint":
        return f"ALTER DOMAIN {catalog.on(item)} DROP CONSTRAINT {item.address};"
    if item.kind in _ON_TABLE:
        return f"DROP {item.kind.upper()} {item.address} ON {catalog.on(item)};"
    if item.kind == "index":
        return f"DROP INDEX {_concurrently(item, catalog)}{item.address};"
    return f"DROP {keyword(item)} {item.address};"


def comment(item: Object, catalog: Catalog) -> str:
    """Return the SQL that sets or removes the comment of an object."""
    text = "NULL" if item.comment is None else one_line_literal(item.comment)
    if item.kind == "column":
        target = f"COLUMN {catalog.on(item)}.{item.address}"
    elif item.kind == "domain constraint":
        target = f"CONSTRAINT {item.address} ON DOMAIN {catalog.on(item)}"
    elif item.kind in _ON_TABLE:
        target = f"{item.kind.upper()} {item.address} ON {catalog.on(item)}"
    else:
        target = f"{keyword(item)} {item.address}"
    return f"COMMENT ON {target} IS {text};"


def _create(item: Object, catalog: Catalog) -> str | None:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
    facts, on = item.facts, catalog.on(item)
    match item.kind:
        case "schema":
            return f"CREATE SCHEMA {item.address};"
        case "extension":
            return f"CREATE EXTENSION {item.address} SCHEMA {facts['schema']};"
        case "table":
            return _table(item, catalog)
        case "view" | "materialized view":
            return f"CREATE {item.kind.upper()} {item.address}{options(facts)} AS {facts['definition'].strip()}"
        case "column":
            add = f"ALTER TABLE {on} ADD COLUMN {column_definition(item, catalog)};"
            return _with_sequences(add, _sequences(item, catalog))
        case "constraint" | "domain constraint":
            kind = "TABLE" if item.kind == "constraint" else "DOMAIN"
            return f"ALTER {kind} {on} ADD CONSTRAINT {item.address} {facts['definition']};"
        case "index":
            create_index = facts["definition"].replace(" INDEX ", f" INDEX {_concurrently(item, catalog)}", 1)
            table = catalog.parent(item)
            identity_index = table.facts["replica_identity"] if table and "replica_identity" in facts else ""
            # ON ONLY, as it is deparsed for a partitioned table, would leave out its partitions
            return f"{create_index.replace(' ON ONLY ', ' ON ', 1)};" + (
                f" ALTER TABLE {on} REPLICA IDENTITY {identity_index};" if identity_index else ""
            )
        case "sequence":
            return _with_sequences("", [item])
        case "enum":
            labels = ", ".join(map(one_line_literal, facts["labels"]))
            return f"CREATE TYPE {item.address} AS ENUM ({labels});"
        case "domain":
            return _domain(item, catalog)
        case "composite type":
            return (
                f"CREATE TYPE {item.address} AS ({', '.join(' '.join(pair) for pair in facts.get('attributes', ()))});"
            )
        case "range type":
            return f"CREATE TYPE {item.address} AS RANGE ({_settings(facts['range'])});"
        case "aggregate":
            return f"CREATE OR REPLACE AGGREGATE {item.address} ({_settings(facts['aggregate'])});"
        case "trigger" | "rule":
            state = {"O": "", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[facts["enabled"]]
            enable = f" ALTER TABLE {on} {state} {item.kind.upper()} {item.address};" if state else ""
            return f"{facts['definition'].rstrip(';')};{enable}"
        case "policy":
            return f"CREATE POLICY {item.address} ON {on} {facts['definition']};"
        case "function" | "procedure" | "statistics":
            return f"{facts['definition'].strip()};"
    return None


def _table(table: Object, catalog: Catalog) -> str:
    """Return CREATE TABLE with columns and constraints, without foreign keys."""
    facts, parent = table.facts, catalog.parent(table)
    unlogged = "UNLOGGED " if facts["persistence"] == "UNLOGGED" else ""
    keys = [
        key
        for key in catalog.parts(table, "constraint")
        if "foreign_key" not in key.facts and not key.facts.get("inherited")
    ]
    sequences = [sequence for sequence in catalog.parts(table, "sequence") if "identity" not in sequence.facts]
    if parent and "bound" in facts:
        parts = [f"CONSTRAINT {key.address} {key.facts['definition']}" for key in keys]
        head = f"{table.address} PARTITION OF {parent.address}" + (f" ({', '.join(parts)})" if parts else "")
        head += f" {facts['bound']}"
    else:
        parts = [column_definition(column, catalog) for column in catalog.parts(table, "column")]
        parts += [f"CONSTRAINT {key.address} {key.facts['definition']}" for key in keys]
        head = f"{table.address} ({', '.join(parts)})"
        head += f" INHERITS ({', '.join(facts['inherits'])})" if "inherits" in facts else ""
    if "partition_key" in facts:
        head += f" PARTITION BY {facts['partition_key']}"
    statements = [_with_sequences(f"CREATE {unlogged}TABLE {head}{options(facts)};", sequences)]
    if facts["row_security"]:
        statements.append(f"ALTER TABLE {table.address} ENABLE ROW LEVEL SECURITY;")
    identity_indexes = [
        index
        for index in catalog.parts(table, "index")
        if "replica_identity" in index.facts and "constraint" not in index.facts
    ]
    if facts["replica_identity"] != "DEFAULT" and not identity_indexes:
        statements.append(f"ALTER TABLE {table.address} REPLICA IDENTITY {facts['replica_identity']};")
    if facts["force_row_security"]:
        statements.append(f"ALTER TABLE {table.address} FORCE ROW LEVEL SECURITY;")
    return " ".join(statements)


def _sequences(column: Object, catalog: Catalog) -> list[Object]:
    """Return the sequences that a column owns, but for that of an identity."""
    table = catalog.parent(column)
    owner = f"{catalog.on(column)}.{column.address}"
    sequences = catalog.parts(table, "sequence") if table else []
    return [
        sequence
        for sequence in sequences
        if sequence.facts.get("owned_by") == owner and "identity" not in sequence.facts
    ]


def _with_sequences(sql: str, sequences: Iterable[Object]) -> str:
    """Return SQL that creates sequences, runs a statement and sets the sequences' owners."""
    before, after = [], []
    for sequence in sequences:
        unlogged = "UNLOGGED " if sequence.facts.get("persistence") == "UNLOGGED" else ""
        clauses = f"AS {sequence.facts['type']} {sequence_options(sequence.facts)}"
        before.append(f"CREATE {unlogged}SEQUENCE {sequence.address} {clauses};")
        if "owned_by" in sequence.facts:
            after.append(f"ALTER SEQUENCE {sequence.address} OWNED BY {sequence.facts['owned_by']};")
    return " ".join([*before, *([sql] if sql else []), *after])


def _domain(domain: Object, catalog: Catalog) -> str:
    facts, parts = domain.facts, [f"CREATE DOMAIN {domain.address} AS {domain.facts['type']}"]
    parts += [f"COLLATE {facts['collation']}"] if "collation" in facts else []
    parts += [f"DEFAULT {facts['default']}"] if "default" in facts else []
    parts += ["NOT NULL"] if facts["not_null"] else []
    checks = catalog.parts(domain, "domain constraint")
    parts += [f"CONSTRAINT {check.address} {check.facts['definition']}" for check in checks]
    return f"{' '.join(parts)};"


def options(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the storage parameters of a table or the options of a view, for CREATE."""
    parameters = facts.get("options")
    return (
        f" WITH ({', '.join(f'{key}={one_line_literal(value)}' for key, value in parameters.items())})"
        if parameters
        else ""
    )


def _settings(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _concurrently(index: Object, catalog: Catalog) -> str:
    """Return CONCURRENTLY, except for an index of a partitioned table, where no server allows it."""
    parent = catalog.parent(index)
    return "" if parent is None or "partition_key" in parent.facts else "CONCURRENTLY "


def keyword(item: Object) -> str:
    """Return the keyword of an object's kind in DROP and COMMENT ON."""
    if item.kind in _TYPES:
        return "TYPE"
    return item.kind.upper()

"""The statements that create an object of a catalog, from the server's own description of it.

What ``db.drift`` compares of an object, and what comes back with one that a downgrade creates again, is what stands
here: a fact that is read and isn't created would be a difference that nothing fixes.
"""

from collections.abc import Iterator
from dataclasses import replace

from service_migrations.catalog.definitions import (
    add_not_null,
    column_definition,
    column_settings,
    options,
    rerunnable,
    sequences_of,
    settings,
    using,
    with_sequences,
)
from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line_literal, quoted

__all__ = [
    "SWITCHES",
    "attribute_comment",
    "comment",
    "index_of",
    "keyword",
    "of_index",
    "own_column",
    "statements",
    "statistics_target",
]

SWITCHES = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
"""The words of ALTER TABLE for the state of a trigger or a rule."""

_ON_TABLE = ("constraint", "trigger", "rule", "policy")
_TYPES = ("enum", "composite type", "range type", "base type")


def statements(item: Object, catalog: Catalog) -> list[str] | None:
    """Return the statements that create an object, with its comment; None for a kind without SQL in the catalog.

    A table has its columns, sequences and constraints, but not its foreign keys, indexes and other parts.
    """
    created = _created(item, catalog)
    if created is None:
        return None
    return [*created, *([comment(item, catalog)] if item.comment is not None else [])]


def _created(item: Object, catalog: Catalog) -> list[str] | None:  # noqa: C901, PLR0911, PLR0912 - a case for each kind
    facts, on = item.facts, catalog.on(item)
    match item.kind:
        case "schema":
            return [f"CREATE SCHEMA {item.address}"]
        case "extension":
            return [f"CREATE EXTENSION {item.address} SCHEMA {facts['schema']}"]
        case "table":
            return _table(item, catalog)
        case "view" | "materialized view":
            query = facts["definition"].strip().removesuffix(";")
            create = f"CREATE {item.kind.upper()} {item.address}{using(facts)}{options(facts)} AS {query}"
            return [create, *_of_columns(item, catalog)]
        case "column":
            add = f"ALTER TABLE {on} ADD COLUMN {column_definition(item, catalog)}"
            return [*with_sequences(add, sequences_of(item, catalog)), *column_settings(item, catalog)]
        case "constraint" | "domain constraint":
            kind = "TABLE" if item.kind == "constraint" else "DOMAIN"
            add = f"ALTER {kind} {on} ADD CONSTRAINT {item.address} {rerunnable(facts['definition'])}"
            return [add, *of_index(index_of(item, catalog), catalog)]
        case "index":
            # ON ONLY, as it is deparsed for a partitioned table, would leave out its partitions
            create = rerunnable(facts["definition"]).replace(" ON ONLY ", " ON ", 1)
            return [create, *_index_settings(item, catalog)]
        case "sequence":
            return with_sequences("", [item])
        case "enum":
            return [f"CREATE TYPE {item.address} AS ENUM ({', '.join(map(one_line_literal, facts['labels']))})"]
        case "domain":
            return _domain(item, catalog)
        case "composite type":
            attributes = ", ".join(" ".join(pair) for pair in facts.get("attributes", ()))
            comments = [attribute_comment(item, *pair) for pair in facts.get("comments", {}).items()]
            return [f"CREATE TYPE {item.address} AS ({attributes})", *comments]
        case "range type":
            return [f"CREATE TYPE {item.address} AS RANGE ({settings(facts['range'])})"]
        case "aggregate":
            return [f"CREATE OR REPLACE AGGREGATE {item.address} ({settings(facts['aggregate'])})"]
        case "trigger" | "rule":
            create = rerunnable(facts["definition"]).rstrip(";")
            state = f"ALTER TABLE {on} {SWITCHES[facts['enabled']]} {item.kind.upper()} {item.address}"
            return [create, *([state] if facts["enabled"] != "O" else [])]
        case "policy":
            return [f"CREATE POLICY {item.address} ON {on} {rerunnable(facts['definition'])}"]
        case "statistics":
            return [facts["definition"].strip(), *statistics_target(item)]
        case "function" | "procedure":
            return [facts["definition"].strip()]
    return None


def comment(item: Object, catalog: Catalog) -> str:
    """Return the statement that sets or removes the comment of an object."""
    text = "NULL" if item.comment is None else one_line_literal(item.comment)
    if item.kind == "column":
        target = f"COLUMN {catalog.on(item)}.{item.address}"
    elif item.kind == "domain constraint":
        target = f"CONSTRAINT {item.address} ON DOMAIN {catalog.on(item)}"
    elif item.kind in _ON_TABLE:
        target = f"{item.kind.upper()} {item.address} ON {catalog.on(item)}"
    else:
        target = f"{keyword(item)} {item.address}"
    return f"COMMENT ON {target} IS {text}"


def attribute_comment(item: Object, attribute: str, text: str | None) -> str:
    """Return the statement that sets or removes the comment of an attribute of a composite type."""
    return f"COMMENT ON COLUMN {item.address}.{attribute} IS {'NULL' if text is None else one_line_literal(text)}"


def keyword(item: Object) -> str:
    """Return the keyword of an object's kind in DROP and COMMENT ON."""
    return "TYPE" if item.kind in _TYPES else item.kind.upper()


def statistics_target(item: Object) -> list[str]:
    """Return the statement for the target of a statistics object, where it has one of its own."""
    target = item.facts.get("statistics")
    return [] if target is None else [f"ALTER STATISTICS {item.address} SET STATISTICS {target}"]


def _index_settings(index: Object, catalog: Catalog) -> list[str]:
    """Return the statements for what neither the definition of an index nor that of its constraint has."""
    facts, alter = index.facts, f"ALTER TABLE {catalog.on(index)}"
    settings = [
        f"ALTER INDEX {index.address} ALTER COLUMN {column} SET STATISTICS {target}"
        for column, target in facts.get("statistics", {}).items()
    ]
    if "constraint" in facts and "options" in facts:
        settings.append(f"ALTER INDEX {index.address} SET{options(facts).removeprefix(' WITH')}")
    table = catalog.parent(index)
    if "replica_identity" in facts and table and table.facts["replica_identity"].startswith("USING INDEX"):
        settings.append(f"{alter} REPLICA IDENTITY {table.facts['replica_identity']}")
    if "clustered" in facts:
        settings.append(f"{alter} CLUSTER ON {quoted(index.name)}")
    return settings


def index_of(constraint: Object, catalog: Catalog) -> Object | None:
    """Return the index of a constraint, where it has one of its own."""
    table = catalog.parent(constraint)
    indexes = catalog.parts(table, "index") if table else []
    return next((index for index in indexes if index.facts.get("constraint") == constraint.name), None)


def of_index(index: Object | None, catalog: Catalog) -> list[str]:
    """Return the statements for what an index has apart from its definition or that of its constraint."""
    if index is None:
        return []
    return [*_index_settings(index, catalog), *([comment(index, catalog)] if index.comment is not None else [])]


def _table(table: Object, catalog: Catalog) -> list[str]:
    facts, parent = table.facts, catalog.parent(table)
    alter = f"ALTER TABLE {table.address}"
    unlogged = "UNLOGGED " if facts["persistence"] == "UNLOGGED" else ""
    columns = catalog.parts(table, "column")
    keys = [
        key
        for key in catalog.parts(table, "constraint")
        if "foreign_key" not in key.facts and not key.facts.get("inherited")
    ]
    # in CREATE TABLE a constraint is valid at once
    later = [key for key in keys if key.facts["definition"].endswith(" NOT VALID")]
    parts = [f"CONSTRAINT {key.address} {rerunnable(key.facts['definition'])}" for key in keys if key not in later]
    sequences = [sequence for sequence in catalog.parts(table, "sequence") if "identity" not in sequence.facts]
    if parent and "bound" in facts:
        head = f"{table.address} PARTITION OF {parent.address}" + (f" ({', '.join(parts)})" if parts else "")
        head += f" {facts['bound']}"
    else:
        inherited = _inherited_expressions(table, catalog)
        definitions = [column_definition(_without(inherited, column), catalog) for column in columns]
        head = f"{table.address} ({', '.join([*definitions, *parts])})"
        head += f" INHERITS ({', '.join(facts['inherits'])})" if "inherits" in facts else ""
    if "partition_key" in facts:
        head += f" PARTITION BY {facts['partition_key']}"
    created = with_sequences(f"CREATE {unlogged}TABLE {head}{using(facts)}{options(facts)}", sequences)
    if parent and "bound" in facts:
        created += _own_columns(table, parent, catalog)
    created += [f"{alter} ADD CONSTRAINT {key.address} {rerunnable(key.facts['definition'])}" for key in later]
    for key in keys:
        created += of_index(index_of(key, catalog), catalog)
        created += [comment(key, catalog)] if key.comment is not None else []
    created += _of_columns(table, catalog)
    created += [f"{alter} OF {facts['of_type']}"] if "of_type" in facts else []
    if facts["row_security"]:
        created.append(f"{alter} ENABLE ROW LEVEL SECURITY")
    if facts["force_row_security"]:
        created.append(f"{alter} FORCE ROW LEVEL SECURITY")
    if facts["replica_identity"] in ("FULL", "NOTHING"):
        created.append(f"{alter} REPLICA IDENTITY {facts['replica_identity']}")
    return created


def _inherited_expressions(table: Object, catalog: Catalog) -> set[tuple[str, object]]:
    """Return the names and expressions of the generated columns of a table's parents."""
    addresses = table.facts.get("inherits", ())
    parents = (item for item in catalog.by_key.values() if item.kind == "table" and item.address in addresses)
    columns = (column for parent in parents for column in catalog.parts(parent, "column"))
    return {(column.name, column.facts["generated"]) for column in columns if "generated" in column.facts}


def _without(inherited: set[tuple[str, object]], column: Object) -> Object:
    """Return a column without an expression that it inherits: before 16 a child's definition may not have it."""
    if (column.name, column.facts.get("generated")) not in inherited:
        return column
    return replace(column, facts={key: value for key, value in column.facts.items() if key != "generated"})


def _of_columns(table: Object, catalog: Catalog) -> Iterator[str]:
    """Yield the statements for what the columns of a table or view have apart from their definition."""
    for column in catalog.parts(table, "column"):
        yield from column_settings(column, catalog)
        if column.comment is not None:
            yield comment(column, catalog)


def _own_columns(partition: Object, parent: Object, catalog: Catalog) -> Iterator[str]:
    """Yield the statements for the columns of a partition that differ from those of its parent."""
    inherited = {column.name: column for column in catalog.parts(parent, "column")}
    for column in catalog.parts(partition, "column"):
        yield from own_column(partition, column, inherited.get(column.name, column))


def own_column(partition: Object, column: Object, inherited: Object) -> Iterator[str]:
    """Yield the statements for what differs between a column of a partition and that of its parent."""
    facts, others = column.facts, inherited.facts
    alter = f"ALTER TABLE {partition.address} ALTER COLUMN {column.address}"
    if facts.get("default") != others.get("default"):
        default = rerunnable(facts.get("default", ""))
        yield f"{alter} SET DEFAULT {default}" if default else f"{alter} DROP DEFAULT"
    for setting, usual in (("storage", others.get("storage_of_type")), ("compression", "DEFAULT")):
        if setting in others and setting not in facts:
            yield f"{alter} SET {setting.upper()} {usual}"
    if facts["not_null"] and not others["not_null"]:
        yield f"ALTER TABLE {partition.address} {add_not_null(column)}"


def _domain(domain: Object, catalog: Catalog) -> list[str]:
    facts, parts = domain.facts, [f"CREATE DOMAIN {domain.address} AS {domain.facts['type']}"]
    parts += [f"COLLATE {facts['collation']}"] if "collation" in facts else []
    parts += [f"DEFAULT {facts['default']}"] if "default" in facts else []
    parts += ["NOT NULL"] if facts["not_null"] else []
    checks = catalog.parts(domain, "domain constraint")
    # in CREATE DOMAIN a constraint is valid at once
    later = [check for check in checks if check.facts["definition"].endswith(" NOT VALID")]
    parts += [f"CONSTRAINT {check.address} {check.facts['definition']}" for check in checks if check not in later]
    created = [" ".join(parts)]
    alter = f"ALTER DOMAIN {domain.address} ADD CONSTRAINT"
    created += [f"{alter} {check.address} {check.facts['definition']}" for check in later]
    return [*created, *(comment(check, catalog) for check in checks if check.comment is not None)]

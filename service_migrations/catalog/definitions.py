"""The definitions of columns and sequences of a catalog, and the options of all objects, as SQL."""

from collections.abc import Iterable, Mapping

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line_literal, quoted

__all__ = [
    "SEQUENCE_OPTIONS",
    "VIEWS",
    "add_not_null",
    "alter_table",
    "changed_options",
    "column_definition",
    "column_settings",
    "identity_clause",
    "identity_sequence",
    "options",
    "rerunnable",
    "restart",
    "sequence_options",
    "sequences_of",
    "settings",
    "storage_actions",
    "using",
    "with_sequences",
]

SEQUENCE_OPTIONS = ("increment", "minimum", "maximum", "start", "cache", "cycle")
"""The facts of a sequence that ALTER SEQUENCE sets by one clause each."""

VIEWS = ("view", "materialized view")

_IN_LIST = ("'::character varying])::text[]", "'::character varying]::character varying[])::text[]")
"""The deparsed text of ``varchar IN (…)``, run again, gives another text; with one more cast it doesn't."""


def rerunnable(sql: str) -> str:
    """Return a deparsed text that the server deparses to the same text again."""
    return sql.replace(*_IN_LIST)


def column_definition(column: Object, catalog: Catalog) -> str:
    """Return the definition of a column in CREATE TABLE and ADD COLUMN."""
    facts, parts = column.facts, [column.address, column.facts["type"]]
    if "collation" in facts:
        parts.append(f"COLLATE {facts['collation']}")
    if "default" in facts:
        parts.append(f"DEFAULT {rerunnable(facts['default'])}")
    if "generated" in facts:
        expression, _, stored = facts["generated"].rpartition(" ")
        parts.append(f"GENERATED ALWAYS AS ({rerunnable(expression)}) {stored}")
    if "identity" in facts:
        parts.append(identity_clause(column, catalog))
    if facts["not_null"]:
        parts.append(_not_null(column.facts, "NOT NULL"))
    return " ".join(parts)


def add_not_null(column: Object) -> str:
    """Return the action of ALTER TABLE that adds the NOT NULL of a column."""
    if {"not_null_name", "not_null_no_inherit"} & column.facts.keys():  # before 18 it is no constraint
        return f"ADD {_not_null(column.facts, f'NOT NULL {column.address}')}"
    return f"ALTER COLUMN {column.address} SET NOT NULL"


def _not_null(facts: Mapping[str, str], clause: str) -> str:
    name = f"CONSTRAINT {facts['not_null_name']} " if "not_null_name" in facts else ""
    return f"{name}{clause}{' NO INHERIT' if 'not_null_no_inherit' in facts else ''}"


def storage_actions(column: Object) -> list[str]:
    """Return the actions of ALTER COLUMN that set a column's storage and compression."""
    return [f"SET {key.upper()} {column.facts[key]}" for key in ("storage", "compression") if key in column.facts]


def column_settings(column: Object, catalog: Catalog) -> list[str]:
    """Return the statements for what no definition of a column has on every version; a view's has no default either."""
    facts, table = column.facts, catalog.parent(column)
    is_of_view = table is not None and table.kind in VIEWS
    actions = [f"SET DEFAULT {rerunnable(facts['default'])}"] if is_of_view and "default" in facts else []
    actions += storage_actions(column)
    actions += [f"SET STATISTICS {facts['statistics']}"] if "statistics" in facts else []
    actions += [f"SET{options(facts).removeprefix(' WITH')}"] if "options" in facts else []
    alter = alter_table(table) if table else ""
    return [f"{alter} {', '.join(f'ALTER COLUMN {column.address} {action}' for action in actions)}"] if actions else []


def alter_table(table: Object) -> str:
    """Return the beginning of a statement that alters a column of a table or view."""
    return f"ALTER {table.kind.upper() if table.kind in VIEWS else 'TABLE'} {table.address}"


def identity_clause(column: Object, catalog: Catalog) -> str:
    """Return the clause of an identity column, with the name and the options of its sequence."""
    return f"GENERATED {column.facts['identity']} AS IDENTITY{_identity_options(column, catalog)}"


def _identity_options(column: Object, catalog: Catalog) -> str:
    sequence = identity_sequence(column, catalog)
    return f" (SEQUENCE NAME {sequence.address} {sequence_options(sequence.facts)})" if sequence else ""


def identity_sequence(column: Object, catalog: Catalog) -> Object | None:
    """Return the sequence of an identity column, which its clause creates; None for another column."""
    table = catalog.parent(column)
    sequences = catalog.parts(table, "sequence") if table else []
    return next((sequence for sequence in sequences if sequence.facts.get("identity") == column.name), None)


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


def restart(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Return the clause that restarts a sequence, where no number of the former range is in the new one.

    PostgreSQL refuses limits that the sequence's last number isn't within. Where the ranges overlap, only the server
    knows that number.
    """
    minimum, maximum = int(str(after["minimum"])), int(str(after["maximum"]))
    is_apart = minimum > int(str(before["maximum"])) or maximum < int(str(before["minimum"]))
    return " RESTART" if is_apart else ""


def sequences_of(column: Object, catalog: Catalog) -> list[Object]:
    """Return the sequences that a column owns, but for that of an identity."""
    table = catalog.parent(column)
    owner = f"{catalog.on(column)}.{column.address}"
    sequences = catalog.parts(table, "sequence") if table else []
    return [
        sequence
        for sequence in sequences
        if sequence.facts.get("owned_by") == owner and "identity" not in sequence.facts
    ]


def with_sequences(sql: str, sequences: Iterable[Object]) -> list[str]:
    """Return the statements that create sequences, a statement, and those that set the sequences' owners."""
    before, after = [], []
    for sequence in sequences:
        unlogged = "UNLOGGED " if sequence.facts.get("persistence") == "UNLOGGED" else ""
        clauses = f"AS {sequence.facts['type']} {sequence_options(sequence.facts)}"
        before.append(f"CREATE {unlogged}SEQUENCE {sequence.address} {clauses}")
        if "owned_by" in sequence.facts:
            after.append(f"ALTER SEQUENCE {sequence.address} OWNED BY {sequence.facts['owned_by']}")
    return [*before, *([sql] if sql else []), *after]


def options(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the storage parameters of a table or the options of a view, for CREATE."""
    parameters = facts.get("options")
    return (
        f" WITH ({', '.join(f'{key}={one_line_literal(value)}' for key, value in parameters.items())})"
        if parameters
        else ""
    )


def changed_options(live: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Return the clause that changes the options of a foreign table or its column."""
    actions = [f"DROP {quoted(name)}" for name in live if name not in expected]
    for name, value in expected.items():
        if live.get(name) != value:
            actions.append(f"{'SET' if name in live else 'ADD'} {quoted(name)} {one_line_literal(value)}")
    return f"OPTIONS ({', '.join(actions)})"


def using(facts: Mapping[str, str]) -> str:
    """Return the clause of an access method that isn't the usual one."""
    return f" USING {facts['access_method']}" if "access_method" in facts else ""


def settings(values: Mapping[str, object]) -> str:
    """Return the settings of a range type or an aggregate, for CREATE."""
    return ", ".join(f"{key} = {value}" for key, value in values.items())

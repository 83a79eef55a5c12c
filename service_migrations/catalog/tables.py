"""The state of a table: its columns, constraints and indexes as PostgreSQL deparses them.

Two tables are equal if their states are. The texts are those of ``pg_get_constraintdef`` and similar functions, so
nothing has to be parsed, and the text of each part is also the SQL that creates it. What a part has besides, such as
the comment on an index, is its ``rest``, which isn't compared.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from service_migrations.catalog.definitions import rerunnable
from service_migrations.catalog.restoration import NOTHING, Restoration
from service_migrations.catalog.search_path import OWN_PATH, SHOWN, set_path
from service_migrations.sql.quoting import literal, quoted

__all__ = ["NOT_VALID", "ColumnState", "Constraint", "Index", "TableState", "read", "table_oids"]

NOT_VALID = " NOT VALID"
"""The end of the text of a constraint that the server hasn't checked for the rows from before."""

_SERIALS = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}

_TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  -- asyncpg would ask the server what name[] is
  AND n.nspname = ANY(CAST(CAST(:schemas AS text[]) AS name[])) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

_STATES = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").replace("{SHOWN}", SHOWN)


@dataclass(frozen=True, slots=True)
class ColumnState:
    """A column. ``base`` is the oid of its type, or of the elements of its array.

    ``stored`` is the type that its values have: where its type is a domain, the one under it.
    ``unvalidated`` is the name of a NOT NULL that is NOT VALID: rows may have NULL, so ``not_null`` is false.
    ``storage`` are the actions that set its storage and its compression, where they aren't those of its type.
    ``settings`` are the statements for its storage and statistics, which a virtual generated column has none of.
    ``forbids_null`` is the action that adds its NOT NULL again, where that has a name or no child inherits it.
    ``numbering`` are the statements for the options of a serial's sequence that no serial has by itself, and
    ``sequence_rest`` is what a sequence has besides.
    """

    name: str
    type: str
    stored: str
    base: int
    collation: str | None
    not_null: bool
    default: str | None
    generated: str
    identity: str
    sequence: dict[str, Any] | None
    uses: frozenset[str]
    types: frozenset[int]
    comment: str | None
    unvalidated: str | None = None
    storage: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    rest: Restoration = NOTHING
    forbids_null: str = ""
    numbering: tuple[str, ...] = ()
    sequence_rest: Restoration = NOTHING

    @property
    def serial(self) -> bool:
        """Whether the default is the next number of a sequence that the column owns."""
        owned = self.sequence is not None and bool(self.sequence["serial"])
        return owned and not self.identity and (self.default or "").startswith("nextval(")

    @property
    def kind(self) -> str:
        """Its type as SQL, with the collation."""
        return self.type + (f" COLLATE {self.collation}" if self.collation else "")

    @property
    def expression(self) -> str | None:
        """The default as SQL; None also for a generated column, and for a serial one."""
        return None if self.generated or self.serial else self.default

    @property
    def identity_clause(self) -> str:
        """The clause of an identity column, else empty."""
        if not self.identity or self.sequence is None:
            return ""
        always = "ALWAYS" if self.identity == "a" else "BY DEFAULT"
        return f"GENERATED {always} AS IDENTITY ({' '.join(self.sequence_options.values())})"

    def named_identity_clause(self, table: str) -> str:
        """Return the clause of an identity column with the name of its sequence, where that isn't the usual one."""
        sequence = self.sequence or {}
        is_usual = sequence.get("relation") == f"{table}_{self.name}_seq"
        name = "" if is_usual else f"SEQUENCE NAME {sequence.get('name')} "
        return self.identity_clause.replace("(", f"({name}", 1)

    @property
    def sequence_options(self) -> dict[str, str]:
        """The options of an identity column's sequence, each as SQL."""
        sequence = self.sequence or {}
        keywords = {"start": "START WITH", "increment": "INCREMENT BY"}
        options = {
            key: f"{keywords.get(key, key.upper())} {sequence[key]}"
            for key in ("start", "increment", "minvalue", "maxvalue", "cache")
        }
        return options | {"cycle": "CYCLE" if sequence["cycle"] else "NO CYCLE"}

    @property
    def clause(self) -> str:
        """Its text in CREATE TABLE and ADD COLUMN."""
        if self.serial and self.type in _SERIALS:
            return f"{quoted(self.name)} {_SERIALS[self.type]}"
        words = [quoted(self.name), self.kind]
        if self.generated:
            stored = "STORED" if self.generated == "s" else "VIRTUAL"
            words.append(f"GENERATED ALWAYS AS ({self.default}) {stored}")
        elif self.identity:
            words.append(self.identity_clause)
        elif self.default is not None:
            words.append(f"DEFAULT {self.default}")
        return " ".join([*words, "NOT NULL"] if self.not_null and not self.identity else words)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint; ``kind`` is the letter in pg_constraint.

    Of a foreign key also its target, and the index that it refers by. ``rest_by`` returns its rest by its name.
    """

    name: str
    kind: str
    definition: str
    foreign_schema: str | None
    foreign_table: str | None
    foreign_columns: tuple[str, ...]
    local_columns: tuple[str, ...]
    rules: str
    valid: bool
    index: str | None
    uses: frozenset[str]
    types: frozenset[int]
    rest_by: Callable[[str], Restoration] = field(default=lambda _: NOTHING, compare=False)

    @property
    def rest(self) -> Restoration:
        """What it has apart from its definition, with the name that it has here."""
        return self.rest_by(self.name)


@dataclass(frozen=True, slots=True)
class Index:
    """An index without a constraint. A ``plain`` one has neither expression nor condition; ``rest_by`` as above."""

    name: str
    definition: str
    valid: bool
    plain: bool
    uses: frozenset[str]
    types: frozenset[int]
    rest_by: Callable[[str], Restoration] = field(default=lambda _: NOTHING, compare=False)

    @property
    def rest(self) -> Restoration:
        """What it has apart from its definition, with the name that it has here."""
        return self.rest_by(self.name)


@dataclass(frozen=True, slots=True)
class TableState:
    """A table. ``schema`` is None where it is the default one."""

    schema: str | None
    name: str
    comment: str | None
    columns: dict[str, ColumnState]
    constraints: dict[str, Constraint]
    indexes: dict[str, Index]
    unlogged: bool = False
    partition_key: str | None = None

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quoted(self.schema, self.name)

    @property
    def creation(self) -> list[str]:
        """The statements that create it, without its foreign keys."""
        parts = [column.clause for column in self.columns.values()]
        parts += [
            f"CONSTRAINT {quoted(constraint.name)} {constraint.definition}"
            for constraint in self.constraints.values()
            if constraint.kind != "f"
        ]
        statements = [f"CREATE TABLE {self.sql} ({', '.join(parts)})"]
        statements += [index.definition for index in self.indexes.values()]
        if self.comment:
            statements.append(f"COMMENT ON TABLE {self.sql} IS {literal(self.comment)}")
        for column in self.columns.values():
            if column.comment:
                address = f"{self.sql}.{quoted(column.name)}"
                statements.append(f"COMMENT ON COLUMN {address} IS {literal(column.comment)}")
        return statements


def table_oids(connection: Connection, schemas: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return the oids of the tables of some schemas, without partitions and members of extensions."""
    rows = connection.execute(text(_TABLES), {"schemas": list(schemas)})
    return {(schema, name): oid for oid, schema, name in rows}


def read(
    connection: Connection,
    oids: Sequence[int],
    default_schema: str | None,
    path: str,
    rename: Callable[[str], str] = str,
    *,
    restores: bool = True,
) -> dict[int, TableState]:
    """Return the states of tables, by oid.

    Args:
        connection: to their database, with the search path of the library's own queries.
        oids: of the tables.
        default_schema: the one that a name without a schema means.
        path: the search path in whose words the texts are.
        rename: applied to the JSON of each table before it is parsed.
        restores: whether to set the connection's search path again, which a rollback does as well.

    """
    if not oids:
        return {}
    rows = connection.execute(text(_STATES), {"oids": list(oids), "search_path": path}).all()
    if restores:
        set_path(connection, OWN_PATH)
    return {oid: _table(json.loads(rerunnable(rename(state))), default_schema) for oid, state in rows}


def _table(row: dict[str, Any], default_schema: str | None) -> TableState:
    schema = None if row["schema"] in (default_schema, None) else row["schema"]
    short = quoted(schema, row["name"])
    for index in row["indexes"]:
        for word in (" ON ", " ON ONLY "):
            index["definition"] = index["definition"].replace(f"{word}{row['place']} USING ", f" ON {short} USING ")
    for sequence in (column["sequence"] for column in row["columns"] if column["sequence"]):
        sequence["relation"], sequence["name"] = (
            sequence["name"],
            quoted(schema, sequence["name"]),
        )  # where its table is
    sets, lists = ("uses", "types"), ("foreign_columns", "local_columns")
    columns = [ColumnState(**column | {key: frozenset(column[key]) for key in sets}) for column in row["columns"]]
    constraints = [
        Constraint(
            **constraint
            | {key: frozenset(constraint[key]) for key in sets}
            | {key: tuple(constraint[key]) for key in lists}
        )
        for constraint in row["constraints"]
    ]
    indexes = [Index(**index | {key: frozenset(index[key]) for key in sets}) for index in row["indexes"]]
    return TableState(
        schema,
        row["name"],
        row["comment"],
        {column.name: column for column in columns},
        {constraint.name: constraint for constraint in constraints},
        {index.name: index for index in indexes},
        row["unlogged"],
        row["partition_key"],
    )

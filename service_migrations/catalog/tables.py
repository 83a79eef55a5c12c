"""A shape: what PostgreSQL itself says of one table, part by part and in its own words.

Two tables are alike if their shapes are. The words are those of ``pg_get_constraintdef`` and its kin, so nothing has
to be parsed, and each part of a shape is also the SQL that makes it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from service_migrations.sql.quoting import literal, quoted

__all__ = ["ColumnState", "Constraint", "Index", "TableState", "read", "table_oids"]

_SERIALS = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}

_IN_LIST = ("'::character varying])::text[]", "'::character varying]::character varying[])::text[]")
"""What PostgreSQL says of ``varchar IN (…)``, read again, becomes something else; with one cast more it does not."""

_TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY(:schemas) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

_SHAPES = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class ColumnState:
    """A column. ``base`` is the oid of its type, or of the elements of its array."""

    name: str
    type: str
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
        """The default as SQL; None also for a generated column, and for one that counts by itself."""
        return None if self.generated or self.serial else self.default

    @property
    def numbering(self) -> str:
        """The clause of an identity column, else empty."""
        if not self.identity or self.sequence is None:
            return ""
        always = "ALWAYS" if self.identity == "a" else "BY DEFAULT"
        return f"GENERATED {always} AS IDENTITY ({' '.join(self.counting.values())})"

    @property
    def counting(self) -> dict[str, str]:
        """The options of an identity column's sequence, each as SQL."""
        found = self.sequence or {}
        words = {"start": "START WITH", "increment": "INCREMENT BY"}
        options = {
            key: f"{words.get(key, key.upper())} {found[key]}"
            for key in ("start", "increment", "minvalue", "maxvalue", "cache")
        }
        return options | {"cycle": "CYCLE" if found["cycle"] else "NO CYCLE"}

    @property
    def clause(self) -> str:
        """What makes it, in CREATE TABLE or ADD COLUMN."""
        if self.serial and self.type in _SERIALS:
            return f"{quoted(self.name)} {_SERIALS[self.type]}"
        words = [quoted(self.name), self.kind]
        if self.generated:
            stored = "STORED" if self.generated == "s" else "VIRTUAL"
            words.append(f"GENERATED ALWAYS AS ({self.default}) {stored}")
        elif self.identity:
            words.append(self.numbering)
        elif self.default is not None:
            words.append(f"DEFAULT {self.default}")
        return " ".join([*words, "NOT NULL"] if self.not_null and not self.identity else words)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint; ``kind`` is pg_constraint's letter. Of a foreign key also what it refers to, and by which index."""

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


@dataclass(frozen=True, slots=True)
class Index:
    """An index that no constraint made. ``plain`` has neither expression nor condition."""

    name: str
    definition: str
    valid: bool
    plain: bool
    uses: frozenset[str]
    types: frozenset[int]


@dataclass(frozen=True, slots=True)
class TableState:
    """A table. ``schema`` is None where the search path leads to it anyway."""

    schema: str | None
    name: str
    comment: str | None
    columns: dict[str, ColumnState]
    constraints: dict[str, Constraint]
    indexes: dict[str, Index]

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quoted(self.schema, self.name)

    @property
    def creation(self) -> list[str]:
        """The statements that make it, with all but its foreign keys."""
        parts = [column.clause for column in self.columns.values()]
        parts += [
            f"CONSTRAINT {quoted(one.name)} {one.definition}" for one in self.constraints.values() if one.kind != "f"
        ]
        found = [f"CREATE TABLE {self.sql} ({', '.join(parts)})"]
        found += [index.definition for index in self.indexes.values()]
        if self.comment:
            found.append(f"COMMENT ON TABLE {self.sql} IS {literal(self.comment)}")
        for column in self.columns.values():
            if column.comment:
                place = f"{self.sql}.{quoted(column.name)}"
                found.append(f"COMMENT ON COLUMN {place} IS {literal(column.comment)}")
        return found


def table_oids(connection: Connection, schemas: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return the tables of some schemas, without partitions and those that an extension owns."""
    rows = connection.execute(text(_TABLES), {"schemas": list(schemas)})
    return {(schema, name): oid for oid, schema, name in rows}


def read(
    connection: Connection, oids: Sequence[int], default_schema: str | None, rename: Callable[[str], str] = str
) -> dict[int, TableState]:
    """Return the shapes of tables, by oid.

    Args:
        connection: to their database.
        oids: of the tables.
        default_schema: the one that a name without a schema means.
        rename: applied to all that the catalog says, as JSON, before it is taken apart.

    """
    rows = connection.execute(text(_SHAPES), {"oids": list(oids)}) if oids else ()
    return {oid: _shape(json.loads(rename(found).replace(*_IN_LIST)), default_schema) for oid, found in rows}


def _shape(found: dict[str, Any], default_schema: str | None) -> TableState:
    schema = None if found["schema"] in (default_schema, None) else found["schema"]
    short = quoted(schema, found["name"])
    for index in found["indexes"]:
        for word in (" ON ", " ON ONLY "):
            index["definition"] = index["definition"].replace(f"{word}{found['place']} USING ", f" ON {short} USING ")
    for sequence in (one["sequence"] for one in found["columns"] if one["sequence"]):
        sequence["name"] = quoted(schema, sequence["name"])  # where its table is
    columns = [
        ColumnState(**one | {"uses": frozenset(one["uses"]), "types": frozenset(one["types"])})
        for one in found["columns"]
    ]
    sets, lists = ("uses", "types"), ("foreign_columns", "local_columns")
    constraints = [
        Constraint(**one | {key: frozenset(one[key]) for key in sets} | {key: tuple(one[key]) for key in lists})
        for one in found["constraints"]
    ]
    indexes = [Index(**one | {key: frozenset(one[key]) for key in sets}) for one in found["indexes"]]
    return TableState(
        schema,
        found["name"],
        found["comment"],
        {one.name: one for one in columns},
        {one.name: one for one in constraints},
        {one.name: one for one in indexes},
    )

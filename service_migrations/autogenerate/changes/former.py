"""The former state of what a revision drops, for the way back: all that the catalog has of it.

PostgreSQL also makes an index, a key or a CHECK of a partition one of its table's, where that gets an equal one, and
drops both together later.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial

from sqlalchemy import Connection, text

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step, steps
from service_migrations.autogenerate.changes.table_pair import NEITHER, Directions, either
from service_migrations.catalog import creation, restoration
from service_migrations.catalog.definitions import add_not_null, column_settings, storage_actions
from service_migrations.catalog.objects import Catalog, Key, Object, read_own
from service_migrations.catalog.privileges import privileges
from service_migrations.catalog.restoration import Restoration
from service_migrations.catalog.tables import ColumnState, Constraint, Index, TableState
from service_migrations.sql.quoting import literal, quoted

__all__ = ["Former"]

_PARTS_OF_COLUMNS = """
SELECT n.nspname AS schema, r.relname AS partition, a.attname AS "column",
    CASE WHEN i.oid IS NOT NULL THEN 'index' WHEN c.oid IS NOT NULL THEN 'constraint' ELSE 'statistics' END AS kind,
    coalesce(i.relname, c.conname, s.stxname) AS name
FROM unnest(CAST(:schemas AS name[]), CAST(:partitions AS name[])) AS p (schema, name)
JOIN pg_namespace n ON n.nspname = p.schema JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = p.name
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = ANY(CAST(:columns AS name[])) AND NOT a.attisdropped
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND d.refobjsubid = a.attnum
    AND d.deptype = 'a'
LEFT JOIN pg_class i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND i.relkind IN ('i', 'I')
    AND NOT i.relispartition
LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.contype <> 'n'
    AND c.coninhcount = 0 AND c.conparentid = 0
LEFT JOIN pg_statistic_ext s ON d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid
WHERE coalesce(i.oid, c.oid, s.oid) IS NOT NULL
ORDER BY kind DESC, name, "column"
"""
"""What only partitions have, and PostgreSQL drops with a column of theirs."""

_PHASES = {
    "foreign key": (Phase.ADD_FOREIGN_KEYS, Phase.DROP_FOREIGN_KEYS),
    "constraint": (Phase.ADD_CONSTRAINTS, Phase.DROP_CONSTRAINTS),
    "index": (Phase.CREATE_INDEXES, Phase.DROP_INDEXES),
    "statistics": (Phase.CREATE_INDEXES, Phase.DROP_INDEXES),
}
"""When a part is created in an upgrade, and the phase whose reverse creates it in a downgrade."""

_CREATE = re.compile(r"^CREATE (UNIQUE )?INDEX ")
_APART = re.compile(r" WITH \([^()]*\)| TABLESPACE \S+| DESC\b| NULLS (?:FIRST|LAST)\b")
"""What isn't compared where PostgreSQL looks for an equal index."""
_UNIQUE = re.compile(r"^(?:PRIMARY KEY|UNIQUE) | (?:DEFERRABLE|INITIALLY) .*$|(?<=\)) DEFERRABLE$")
_REFERENCES = re.compile(r"(.*?REFERENCES.*?\))(.*)", re.DOTALL)

KeyOfTable = tuple[str | None, str]
"""Schema and name; the default schema is None."""


class Former:
    """The catalog of a database before a change."""

    def __init__(self, connection: Connection, default_schema: str | None, path: str) -> None:
        self._connection = connection
        self._catalog = Catalog(read_own(connection, path))
        self._role = str(connection.scalar(text("SELECT current_user")))
        self._default = default_schema

    def creation(self, table: TableState) -> tuple[Step, ...]:
        """Return the steps that create a table with all its parts, but for the foreign keys."""
        return steps(restoration.table(self._table(table), self._catalog, self._role))

    def foreign_keys(
        self, table: TableState, to: Collection[TableState] | None = None
    ) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """Return the steps that drop the foreign keys that only partitions of a table have, and those that add them.

        Args:
            table: of the database.
            to: the tables to which the keys lead, or to a partition of them; None for all.

        """
        keys = list(restoration.foreign_keys(self._table(table), self._catalog))
        if to is not None:
            addresses = {part.address for each in to for part in self._with_partitions(self._table(each))}
            keys = [key for key in keys if key.facts["foreign_key"] in addresses]
        drops = (f"ALTER TABLE {self._catalog.on(key)} DROP CONSTRAINT {key.address}" for key in keys)
        adds = (statement for key in keys for statement in creation.statements(key, self._catalog) or ())
        return tuple(drops), tuple(adds)

    def parents(self, tables: Mapping[KeyOfTable, TableState]) -> dict[KeyOfTable, set[KeyOfTable]]:
        """Return for each of some tables those that it inherits from."""
        items = {key: self._table(table) for key, table in tables.items()}
        keys = {item.address: key for key, item in items.items()}
        return {
            key: {keys[address] for address in item.facts.get("inherits", ()) if address in keys}
            for key, item in items.items()
        }

    def references(self, tables: Mapping[KeyOfTable, TableState]) -> dict[KeyOfTable, set[KeyOfTable]]:
        """Return for each of some tables the others that it or a partition refers to, themselves or a partition."""
        items = {key: self._table(table) for key, table in tables.items()}
        keys = {part.address: key for key, item in items.items() for part in self._with_partitions(item)}
        references = {}
        for key, item in items.items():
            own = (each for each in self._catalog.parts(item, "constraint") if "foreign_key" in each.facts)
            foreign = (*own, *restoration.foreign_keys(item, self._catalog))
            addresses = {each.facts["foreign_key"] for each in foreign}
            references[key] = {keys[address] for address in addresses if address in keys} - {key}
        return references

    def partitions(self, table: TableState) -> list[Object]:
        """Return all partitions of a table, also those of partitions."""
        return [*self._with_partitions(self._table(table))][1:]

    def children(self, table: TableState) -> list[Object]:
        """Return the tables that inherit from a table, and those that inherit from one of these; partitions too."""
        children, addresses = list[Object](), {self._table(table).address}
        tables = [item for item in self._tables.values() if item.facts.get("inherits")]
        while new := [
            each for each in tables if each not in children and addresses.intersection(each.facts["inherits"])
        ]:
            children += new
            addresses.update(each.address for each in new)
        return children

    def ancestors(self, table: Object) -> list[Object]:
        """Return the tables that a table inherits from, or is a partition of, the nearest first."""
        ancestors, last = list[Object](), [table]
        while last:
            addresses = dict.fromkeys(address for each in last for address in each.facts.get("inherits", ()))
            last = [self._tables[address] for address in addresses if address in self._tables]
            ancestors = [each for each in ancestors if each not in last] + last
        return ancestors

    @cached_property
    def _tables(self) -> dict[str, Object]:
        tables = (item for item in self._catalog.by_key.values() if item.kind in {"table", "foreign table"})
        return {item.address: item for item in tables}

    def columns(self, table: Object) -> dict[str, Object]:
        """Return the columns of a table, by name."""
        return {column.name: column for column in self._catalog.parts(table, "column")}

    def _statements(self, item: Object) -> tuple[str, ...]:
        """Return the statements that create a part of a table, with its comment."""
        return tuple(creation.statements(item, self._catalog) or ())

    def _with_partitions(self, item: Object) -> Iterator[Object]:
        yield item
        for partition in self._catalog.parts(item, "table"):
            yield from self._with_partitions(partition)

    def column(self, table: TableState, name: str) -> tuple[Step, ...]:
        """Return the steps that add a column with all that it has."""
        return steps(restoration.column(self._part(table, "column", name), self._catalog))

    def statistics(
        self,
        table: TableState,
        columns: Mapping[str, Directions],
        converted: Mapping[str, Directions],
        virtual: Collection[str],
    ) -> list[Change]:
        """Return the changes of statistics objects: PostgreSQL drops or rebuilds them with their columns.

        Args:
            table: of the database.
            columns: those that are dropped, with the directions of that.
            converted: those that get another type, with the directions of that: its objects are rebuilt without target.
            virtual: the columns that become virtual ones, of which PostgreSQL keeps no statistics.

        """
        owner, changes = self._table(table), []
        for item in self._catalog.parts(owner, "statistics"):
            names = item.facts.get("columns", ())
            dropped = either(NEITHER, *(columns[name] for name in names if name in columns))
            rebuilt = either(NEITHER, *(converted[name] for name in names if name in converted))
            statements = tuple(creation.statements(item, self._catalog) or ())
            target = tuple(creation.statistics_target(item))
            if dropped.up and {*names} & {*virtual}:
                lost = Restoration(lost=(f"the statistics object {item.address}: a virtual column has no statistics",))
                changes.append(Change(Phase.CREATE_INDEXES, steps(lost), ()))
            elif dropped.up or (rebuilt.up and target):
                changes.append(Change(Phase.CREATE_INDEXES, statements if dropped.up else target, ()))
            if dropped.down or (rebuilt.down and target):
                changes.append(Change(Phase.DROP_INDEXES, (), statements if dropped.down else target))
        return changes

    def parts_of_partitions(self, table: TableState, columns: Mapping[str, Directions]) -> Iterator[Change]:
        """Yield the changes that create what only partitions have, which PostgreSQL drops with its column.

        Args:
            table: of the database.
            columns: those that are dropped, with the directions of that.

        """
        partitions = {(item.schema, item.name): item for item in self.partitions(table)}
        if not partitions or not columns:
            return
        schemas, names = zip(*partitions, strict=True)
        values = {"schemas": list(schemas), "partitions": list(names), "columns": list(columns)}
        directions: dict[Object, Directions] = {}
        for row in self._connection.execute(text(_PARTS_OF_COLUMNS), values):
            partition = partitions[row.schema, row.partition]
            part = next(each for each in self._catalog.parts(partition, row.kind) if each.name == row.name)
            directions[part] = either(directions.get(part, NEITHER), columns[row.column])
        for part, dropped in directions.items():
            statements = self._statements(part)
            upgrade, downgrade = _PHASES["foreign key" if "foreign_key" in part.facts else part.kind]
            if dropped.up:
                yield Change(upgrade, statements, ())
            if dropped.down:
                yield Change(downgrade, (), statements)

    def taken_parts(self, table: TableState, added: Collection[Constraint | Index]) -> Iterator[Change]:
        """Yield the changes of the downgrade that create what partitions have and would be dropped with new parts.

        Args:
            table: of the database.
            added: the parts that it gets.

        """
        for partition in self.partitions(table) if added else ():
            owns = [
                own
                for own in self._catalog.parts(partition, "constraint", "index")
                if not own.facts.get("inherited") and "constraint" not in own.facts
            ]
            for part in added:
                taken = [own for own in owns if self._is_taken(own, part)]
                owns = [own for own in owns if own not in taken]
                for own in taken:
                    if isinstance(part, Index) and own.kind == "constraint":
                        note = (
                            f"WARNING: this fails where the constraint {own.address} of {partition.address} has become "
                            f"a part of {quoted(part.name)}.\nWith DROP INDEX … CASCADE it doesn't: the constraint is "
                            "added again, but no foreign key that needs it."
                        )
                        yield Change(Phase.CREATE_INDEXES, (), (Note(note),))
                    _, downgrade = _PHASES["foreign key" if "foreign_key" in own.facts else own.kind]
                    is_certain = own.kind == "constraint" and len(taken) == 1 and _is_equal(own, part)
                    yield Change(downgrade, (), self._statements(own) if is_certain else self._unless_kept(own))

    def _is_taken(self, own: Object, part: Constraint | Index) -> bool:
        """Whether PostgreSQL may make what a partition has the partition's part of a new one, also by its index."""
        index = creation.index_of(own, self._catalog) if own.kind == "constraint" else None
        if index is None:
            return _is_equal(own, part)
        if isinstance(part, Index):
            return not (own.definition or "").startswith("EXCLUDE") and _is_equal(index, part)
        return part.kind in "pu" and _text_of_unique(own.definition or "") == _text_of_unique(part.definition)

    def _unless_kept(self, own: Object) -> tuple[str, ...]:
        """Return the statements that create a part of a partition which may be there: of several, one is taken."""
        created, *others = self._statements(own)
        if own.kind == "index":
            return _CREATE.sub(r"CREATE \1INDEX IF NOT EXISTS ", created), *others
        table = literal(self._catalog.on(own))
        missing = (
            "NOT EXISTS (SELECT FROM pg_catalog.pg_constraint "
            f"WHERE conrelid = {table}::pg_catalog.regclass AND conname = {literal(own.name)})"
        )
        return f"DO {literal(f'BEGIN IF {missing} THEN {created}; END IF; END')}", *others

    def completed(self, table: TableState) -> TableState:
        """Return the state of a table with the rest of each part."""
        catalog = self._catalog
        return replace(
            table,
            columns={
                name: self._completed_column(self._part(table, "column", name), part)
                for name, part in table.columns.items()
            },
            constraints={
                name: replace(
                    part, rest_by=partial(restoration.constraint_rest, self._part(table, "constraint", name), catalog)
                )
                for name, part in table.constraints.items()
            },
            indexes={
                name: replace(part, rest_by=partial(restoration.index_rest, self._part(table, "index", name), catalog))
                for name, part in table.indexes.items()
            },
        )

    def _completed_column(self, column: Object, state: ColumnState) -> ColumnState:
        settings = tuple(column_settings(column, self._catalog))
        rest = Restoration(tuple(privileges(column, self._catalog)))
        named = {"not_null_name", "not_null_no_inherit"} & column.facts.keys()
        completed = replace(
            state,
            storage=tuple(storage_actions(column)),
            settings=settings,
            rest=rest,
            forbids_null=add_not_null(column) if named else "",
        )
        table = self._catalog.parent(column)
        for sequence in self._catalog.parts(table, "sequence") if table and state.sequence else ():
            if sequence.name == (state.sequence or {}).get("relation"):
                numbering = restoration.numbering(sequence, state.type)
                sequence_rest = restoration.sequence_rest(sequence, self._catalog)
                completed = replace(completed, numbering=numbering, sequence_rest=sequence_rest)
        return completed

    def _table(self, table: TableState) -> Object:
        return self._catalog.by_key[Key("table", self._schema(table), None, table.name)]

    def _part(self, table: TableState, kind: str, name: str) -> Object:
        return self._catalog.by_key[Key(kind, self._schema(table), table.name, name)]

    def _schema(self, table: TableState) -> str:
        return table.schema or self._default or ""


def _is_equal(own: Object, part: Constraint | Index) -> bool:
    definition, other = own.definition or "", part.definition
    if isinstance(part, Index) != (own.kind == "index"):
        return False
    if isinstance(part, Index):
        return _text_of_index(definition) == _text_of_index(other)
    if part.kind == "c":
        return own.name == part.name and definition.startswith("CHECK ")
    if part.kind == "f":
        return _text_of_key(definition) == _text_of_key(other)
    return definition == other


def _text_of_index(definition: str) -> tuple[bool, str]:
    start, _, rest = definition.partition(" USING ")
    return start.startswith("CREATE UNIQUE "), _APART.sub("", rest)


def _text_of_unique(definition: str) -> str:
    """Return the columns of a primary key or a unique constraint, without what the index doesn't have."""
    return _UNIQUE.sub("", definition)


def _text_of_key(definition: str) -> tuple[str, list[str]]:
    """Return what a foreign key refers to, and its rules, which SQLAlchemy writes in another order."""
    match = _REFERENCES.fullmatch(definition)
    return ("".join(match[1].split()), sorted(match[2].split())) if match else (definition, [])

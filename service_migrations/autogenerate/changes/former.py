"""The former state of what a revision drops, for the way back: all that the catalog has of it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial

from sqlalchemy import Connection, text

from service_migrations.autogenerate.changes.change import Change, Phase, Step, steps
from service_migrations.autogenerate.changes.table_pair import NEITHER, Directions, either
from service_migrations.catalog import creation, restoration
from service_migrations.catalog.definitions import add_not_null, column_settings, storage_actions
from service_migrations.catalog.objects import Catalog, Key, Object, read_own
from service_migrations.catalog.privileges import privileges
from service_migrations.catalog.restoration import Restoration
from service_migrations.catalog.tables import ColumnState, Constraint, TableState
from service_migrations.sql.quoting import quoted

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

KeyOfTable = tuple[str | None, str]
"""Schema and name; the default schema is None."""


class Former:
    """The catalog of a database before a change."""

    def __init__(self, connection: Connection, default_schema: str | None, path: str) -> None:
        self._connection = connection
        self.catalog = Catalog(read_own(connection, path))
        self._role = str(connection.scalar(text("SELECT current_user")))
        self._default = default_schema

    def creation(self, table: TableState) -> tuple[Step, ...]:
        """Return the steps that create a table with all its parts, but for the foreign keys."""
        return steps(restoration.table(self._table(table), self.catalog, self._role))

    def foreign_keys(
        self, table: TableState, to: Collection[TableState] | None = None
    ) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """Return the steps that drop the foreign keys that only partitions of a table have, and those that add them.

        Args:
            table: of the database.
            to: the tables to which the keys lead, or to a partition of them; None for all.

        """
        keys = list(restoration.foreign_keys(self._table(table), self.catalog))
        if to is not None:
            addresses = {part.address for each in to for part in self._with_partitions(self._table(each))}
            keys = [key for key in keys if key.facts["foreign_key"] in addresses]
        drops = (f"ALTER TABLE {self.catalog.on(key)} DROP CONSTRAINT {key.address}" for key in keys)
        adds = (statement for key in keys for statement in creation.statements(key, self.catalog) or ())
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
            own = (each for each in self.catalog.parts(item, "constraint") if "foreign_key" in each.facts)
            foreign = (*own, *restoration.foreign_keys(item, self.catalog))
            addresses = {each.facts["foreign_key"] for each in foreign}
            references[key] = {keys[address] for address in addresses if address in keys} - {key}
        return references

    def partitions(self, table: TableState) -> list[Object]:
        """Return all partitions of a table, also those of partitions."""
        return [*self._with_partitions(self._table(table))][1:]

    def has_foreign_partitions(self, table: TableState) -> bool:
        """Whether a foreign table is a partition of a table."""
        tables = self._with_partitions(self._table(table))
        return any(self.catalog.parts(each, "foreign table") for each in tables)

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
        tables = (item for item in self.catalog.by_key.values() if item.kind in {"table", "foreign table"})
        return {item.address: item for item in tables}

    def columns(self, table: Object) -> dict[str, Object]:
        """Return the columns of a table, by name."""
        return {column.name: column for column in self.catalog.parts(table, "column")}

    def statements(self, item: Object) -> tuple[str, ...]:
        """Return the statements that create a part of a table, with its comment."""
        return tuple(creation.statements(item, self.catalog) or ())

    def _with_partitions(self, item: Object) -> Iterator[Object]:
        yield item
        for partition in self.catalog.parts(item, "table"):
            yield from self._with_partitions(partition)

    def column(self, table: TableState, name: str) -> tuple[Step, ...]:
        """Return the steps that add a column with all that it has."""
        return steps(restoration.column(self._part(table, "column", name), self.catalog))

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
        for item in self.catalog.parts(owner, "statistics"):
            names = item.facts.get("columns", ())
            dropped = either(NEITHER, *(columns[name] for name in names if name in columns))
            rebuilt = either(NEITHER, *(converted[name] for name in names if name in converted))
            statements = tuple(creation.statements(item, self.catalog) or ())
            target = tuple(creation.statistics_target(item))
            if dropped.up and {*names} & {*virtual}:
                lost = Restoration(lost=(f"the statistics object {item.address}: a virtual column has no statistics",))
                changes.append(Change(Phase.CREATE_INDEXES, steps(lost), ()))
            elif dropped.up or (rebuilt.up and target):
                changes.append(Change(Phase.CREATE_INDEXES, statements if dropped.up else target, ()))
            if dropped.down or (rebuilt.down and target):
                changes.append(Change(Phase.DROP_INDEXES, (), statements if dropped.down else target))
        return changes

    def targets(self, table: TableState, converted: Directions) -> Iterator[Change]:
        """Yield the changes for the statistics targets of what children and partitions have as indexes of their own.

        PostgreSQL rebuilds an index on an expression without its targets, where a column of it gets another type.

        Args:
            table: of the database.
            converted: the directions in which one of its columns gets another type.

        """
        for child in self.children(table) if any(converted) else ():
            for index in self.catalog.parts(child, "index"):
                rest = () if "inherited" in index.facts else creation.of_index(index, self.catalog)
                targets = tuple(statement for statement in rest if " SET STATISTICS " in statement)
                yield Change(Phase.CREATE_INDEXES, targets if converted.up else (), ())
                yield Change(Phase.DROP_INDEXES, (), targets if converted.down else ())

    def parts_of_partitions(self, table: TableState, columns: Mapping[str, Directions]) -> Iterator[Change]:
        """Yield the changes that create what only partitions have, which PostgreSQL drops with its column.

        Args:
            table: of the database.
            columns: those that are dropped, with the directions of that.

        """
        directions: dict[Object, Directions] = {}
        for part, column in self._parts_of_partitions(table, columns):
            directions[part] = either(directions.get(part, NEITHER), columns[column])
        for part, dropped in directions.items():
            statements = self.statements(part)
            upgrade, downgrade = _PHASES["foreign key" if "foreign_key" in part.facts else part.kind]
            if dropped.up:
                yield Change(upgrade, statements, ())
            if dropped.down:
                yield Change(downgrade, (), statements)

    def _parts_of_partitions(self, table: TableState, columns: Collection[str]) -> Iterator[tuple[Object, str]]:
        """Yield what only partitions have, and PostgreSQL drops with a column, with the name of that."""
        partitions = {(item.schema, item.name): item for item in self.partitions(table)}
        if not partitions or not columns:
            return
        schemas, names = zip(*partitions, strict=True)
        values = {"schemas": list(schemas), "partitions": list(names), "columns": list(columns)}
        for row in self._connection.execute(text(_PARTS_OF_COLUMNS), values):
            parts = self.catalog.parts(partitions[row.schema, row.partition], row.kind)
            yield next(each for each in parts if each.name == row.name), row.column

    def dropped_with(self, table: TableState, column: str) -> list[str]:
        """Return what PostgreSQL drops with a column, and the models don't have, as texts."""
        statistics = self.catalog.parts(self._table(table), "statistics")
        parts = [item for item in statistics if column in item.facts.get("columns", ())]
        if table.partition_key:
            parts += [part for part, _ in self._parts_of_partitions(table, [column])]
        return [_described(part) for part in parts]

    def completed(self, table: TableState) -> TableState:
        """Return the state of a table with the rest of each part."""
        catalog = self.catalog
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
        settings = tuple(column_settings(column, self.catalog))
        rest = Restoration(tuple(privileges(column, self.catalog)))
        named = {"not_null_name", "not_null_no_inherit"} & column.facts.keys()
        completed = replace(
            state,
            storage=tuple(storage_actions(column)),
            settings=settings,
            rest=rest,
            forbids_null=add_not_null(column) if named else "",
        )
        table = self.catalog.parent(column)
        for sequence in self.catalog.parts(table, "sequence") if table and state.sequence else ():
            if sequence.name == (state.sequence or {}).get("relation"):
                numbering = restoration.numbering(sequence, state.type)
                sequence_rest = restoration.sequence_rest(sequence, self.catalog)
                completed = replace(completed, numbering=numbering, sequence_rest=sequence_rest)
        return completed

    def _table(self, table: TableState) -> Object:
        return self.catalog.by_key[Key("table", self.schema(table), None, table.name)]

    def _part(self, table: TableState, kind: str, name: str) -> Object:
        return self.catalog.by_key[Key(kind, self.schema(table), table.name, name)]

    def part_of(self, schema: str, table: str, name: str) -> Object | None:
        """Return a constraint or an index of a table; for the index of a constraint, the constraint."""
        constraint = self.catalog.by_key.get(Key("constraint", schema, table, name))
        return constraint or self.catalog.by_key.get(Key("index", schema, table, name))

    def own_parts(self, table: TableState) -> Iterator[Object]:
        """Yield what partitions of a table have of their own, and PostgreSQL creates other parts with."""
        for partition in self.partitions(table):
            for part in self.catalog.parts(partition, "constraint", "index"):
                is_own = not part.facts.get("inherited") and "constraint" not in part.facts
                if is_own and ("partition_key" in partition.facts or self.has_copies(part)):
                    yield part

    def copied(self, table: TableState, keys: Collection[Constraint]) -> list[str]:
        """Return the names of those foreign keys of a table that lead to a partitioned one."""
        names = [key.name for key in keys if key.kind == "f"]
        return [name for name in names if self.has_copies(self._part(table, "constraint", name))]

    def has_copies(self, part: Object) -> bool:
        """Whether a part is a foreign key to a partitioned table, of which it has a copy for each partition."""
        referenced = self._tables.get(part.facts.get("foreign_key", ""))
        return referenced is not None and "partition_key" in referenced.facts

    def addresses(self, part: Object) -> frozenset[str]:
        """Return the addresses, with their schemas, of the table of a part and of its partitions."""
        table = self.catalog.parent(part)
        tables = self._with_partitions(table) if table else ()
        return frozenset(quoted(each.schema, each.name) for each in tables)

    def schema(self, table: TableState) -> str:
        """Return the schema of a table, also of one in the default schema."""
        return table.schema or self._default or ""


def _described(part: Object) -> str:
    kind = "statistics object" if part.kind == "statistics" else part.kind
    return f"the {kind} {part.address}" + (f" of {part.table}" if part.kind in ("constraint", "index") else "")

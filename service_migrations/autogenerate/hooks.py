"""The hooks of a team's env.py that leave parts out of a comparison.

Alembic calls ``include_name`` and ``include_object`` for tables, columns, constraints and indexes, and ``compare_type``
and ``compare_server_default`` for columns, while it compares. Here the server describes both sides first, and what a
hook leaves out is made equal: only what differs is shown to a hook, as the object that Alembic would show.
"""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Column, Connection, MetaData, Table
from sqlalchemy.exc import SAWarning

from service_migrations.catalog.tables import ColumnState, Constraint, Index, TableState

__all__ = ["TEAM_HOOKS", "Hooks", "Key"]

TEAM_HOOKS = "migrations_team_hooks"
"""The option of the context that has the names of a team's own options."""

Key = tuple[str | None, str]
"""Schema and name of a table; the default schema is None."""

_CONSTRAINTS = {"c": "check_constraint", "f": "foreign_key_constraint", "u": "unique_constraint"}
"""Alembic's names of the kinds that it compares."""

_Part = TypeVar("_Part", ColumnState, Constraint, Index)


class Hooks:
    """The hooks of one comparison. With ``reflects``, something else needs the reflected tables, too."""

    def __init__(self, context: AutogenContext, connection: Connection, *, reflects: bool = False) -> None:
        self._context, self._connection, self._reflects = context, connection, reflects
        self._names: Collection[str] = context.opts.get(TEAM_HOOKS, ())
        self._compare_type: Any = context.opts.get("compare_type", True)
        self._compare_default: Any = context.opts.get("compare_server_default", True)
        self.reflected: Mapping[Key, Table] = {}

    def reflect(self, keys: Iterable[Key]) -> None:
        """Read the tables of the database that hooks look at, as Alembic does; nothing where there is no such hook."""
        looks = self._sees_objects or callable(self._compare_type) or callable(self._compare_default)
        if not looks and not self._reflects:
            return
        names: dict[str | None, list[str]] = {}
        for schema, name in keys:
            names.setdefault(schema, []).append(name)
        metadata, default = MetaData(), self._connection.dialect.default_schema_name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # a type or an index that SQLAlchemy doesn't know
            for schema, tables in names.items():
                # by our own search path nothing is found without its schema
                metadata.reflect(self._connection, schema=schema or default, only=tables, resolve_fks=False)
        as_models_name_it = MetaData()
        for table in list(metadata.tables.values()):
            schema = None if table.schema == default else table.schema
            table.to_metadata(as_models_name_it, schema=schema)  # type: ignore[arg-type] # None is no schema
        self.reflected = {(table.schema, table.name): table for table in as_models_name_it.tables.values()}

    @property
    def _sees_objects(self) -> bool:
        return "include_object" in self._names

    @property
    def _sees_parts(self) -> bool:
        return self._sees_objects or "include_name" in self._names

    def includes_table(self, key: Key, table: Table | None) -> bool:
        """Whether a table is compared, which the models have, the database or both."""
        live = self.reflected.get(key)
        if table is not None:
            return self._context.run_object_filters(table, table.name, "table", False, live)
        return live is None or self._context.run_object_filters(live, live.name, "table", True, None)

    def leave_out_indexes(self, table: Table) -> None:
        """Remove the indexes that a hook leaves out from a table that is created."""
        for index in [each for each in table.indexes if self._sees_objects]:
            if not self._context.run_object_filters(index, index.name, "index", False, None):
                table.indexes.discard(index)

    def agreed(self, live: TableState, target: TableState, table: Table) -> tuple[TableState, TableState]:
        """Return both sides of a table without the differences that a hook leaves out."""
        key = live.schema, live.name
        objects = _Objects(self.reflected.get(key), table)
        if self._sees_parts:
            live_columns, columns = self._parts(key, live.columns, target.columns, "column", objects.column)
            live_indexes, indexes = self._parts(key, live.indexes, target.indexes, "index", objects.index)
            live_constraints, constraints = dict(live.constraints), dict(target.constraints)
            for letter, kind in _CONSTRAINTS.items():
                sides = [
                    {name: part for name, part in side.constraints.items() if part.kind == letter}
                    for side in (live, target)
                ]
                kept_live, kept = self._parts(key, sides[0], sides[1], kind, objects.constraint)
                live_constraints = _replaced(live_constraints, sides[0], kept_live)
                constraints = _replaced(constraints, sides[1], kept)
            live = replace(live, columns=live_columns, indexes=live_indexes, constraints=live_constraints)
            target = replace(target, columns=columns, indexes=indexes, constraints=constraints)
        columns = {
            name: self._compared(live.columns[name], column, objects) if name in live.columns else column
            for name, column in target.columns.items()
        }
        return live, replace(target, columns=columns)

    def _parts(
        self,
        key: Key,
        live: Mapping[str, _Part],
        target: Mapping[str, _Part],
        kind: Any,
        find: Callable[[str, bool], Any],
    ) -> tuple[dict[str, _Part], dict[str, _Part]]:
        """Return the parts of one kind, by name, without the differences that a hook leaves out."""
        kept_live, kept = dict(live), dict(target)
        for name in dict.fromkeys([*live, *target]):
            there, wanted = live.get(name), target.get(name)
            if there == wanted:
                continue
            parents: Any = {"schema_name": key[0], "table_name": key[1]}
            included = there is None or self._context.run_name_filters(name, kind, parents)
            item, reflected = find(name, there is not None and wanted is None), find(name, True) if there else None
            if included and item is not None:
                only_live = wanted is None
                compare_to = None if only_live else reflected
                included = self._context.run_object_filters(item, name, kind, only_live, compare_to)
            if included:
                continue
            if there is None or wanted is None:
                kept_live.pop(name, None)
                kept.pop(name, None)
            else:
                kept[name] = there
        return kept_live, kept

    def _compared(self, live: ColumnState, target: ColumnState, objects: "_Objects") -> ColumnState:
        """Return a column of the models, with what isn't compared as the database has it."""
        migration_context = self._context.migration_context
        there, wanted = objects.column(live.name, True), objects.column(live.name, False)
        if live.kind != target.kind:
            mode = self._compare_type
            if callable(mode) and there is not None and wanted is not None:
                mode = mode(migration_context, there, wanted, there.type, wanted.type)
            if mode is False:
                target = replace(target, type=live.type, base=live.base, collation=live.collation, types=live.types)
        if live.expression != target.expression:
            mode = self._compare_default
            if callable(mode) and there is not None and wanted is not None:
                texts = live.expression, wanted.server_default, target.expression
                mode = mode(migration_context, there, wanted, *texts)
            if mode is False and not live.generated and not target.generated:
                target = replace(target, default=live.default)
        return target


def _replaced(
    parts: dict[str, Constraint], former: Iterable[str], kept: Mapping[str, Constraint]
) -> dict[str, Constraint]:
    return {name: part for name, part in parts.items() if name not in former} | dict(kept)


class _Objects:
    """The objects of SQLAlchemy for the parts of a table, in the database or in the models, by name."""

    def __init__(self, reflected: Table | None, model: Table) -> None:
        self._reflected, self._model = reflected, model

    def column(self, name: str, live: bool) -> Column[Any] | None:
        """Return a column; None where SQLAlchemy hasn't read it."""
        return next((column for column in self._columns(live) if column.name == name), None)

    def index(self, name: str, live: bool) -> Any:
        """Return an index; None where SQLAlchemy hasn't read it."""
        table = self._reflected if live else self._model
        return next((index for index in table.indexes if index.name == name), None) if table is not None else None

    def constraint(self, name: str, live: bool) -> Any:
        """Return a constraint; None where SQLAlchemy hasn't read it."""
        table = self._reflected if live else self._model
        return next((each for each in table.constraints if each.name == name), None) if table is not None else None

    def _columns(self, live: bool) -> Iterator[Column[Any]]:
        table = self._reflected if live else self._model
        yield from () if table is None else table.columns

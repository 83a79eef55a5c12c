"""The two sides of a comparison: tables and enum types of a database and of the models, by schema and name."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import IdentifierPreparer

from service_migrations._sqlalchemy import final_name, verbatim_dialect
from service_migrations.autogenerate.changes import enums
from service_migrations.autogenerate.changes.former import Former
from service_migrations.autogenerate.changes.table_pair import Pair, RecreatedTypes
from service_migrations.autogenerate.enum_types import EnumType, enums_of, live_enums
from service_migrations.autogenerate.hooks import Hooks, Key
from service_migrations.autogenerate.normalise import all_normalised, normalised
from service_migrations.autogenerate.operations import copied
from service_migrations.autogenerate.sequences import numbered_alike
from service_migrations.autogenerate.temporary_table import Surroundings
from service_migrations.autogenerate.times import with_live_times
from service_migrations.autogenerate.unnamable import with_unnamable
from service_migrations.catalog.search_path import SearchPath, set_path
from service_migrations.catalog.tables import TableState, read, table_oids
from service_migrations.models.tables.copies import remove_conditional
from service_migrations.models.tables.inheritance import parents_of
from service_migrations.models.tables.types import enum_of
from service_migrations.sql.lexer import requalified
from service_migrations.sql.quoting import VERBATIM

__all__ = ["Comparison", "Key"]

_SET_EXPRESSION_SINCE = (17,)


class Comparison:
    """The part of a database that one service sees, and its models."""

    def __init__(
        self,
        context: AutogenContext,
        connection: Connection,
        metadata: MetaData,
        schemas: Iterable[str | None],
        path: SearchPath,
        left_out: Collection[Key] = (),
        only: Collection[Key] | None = None,
        *,
        reflects: bool = False,
    ) -> None:
        """Read both sides.

        Args:
            context: of Alembic.
            connection: to the database.
            metadata: of the models.
            schemas: those that are compared; None is the default one.
            path: the search path of the service's SQL.
            left_out: tables that can't be compared; their types aren't either.
            only: the tables that are compared; None for all others.
            reflects: whether hooks and other comparators need reflected tables.

        """
        self.connection, self.metadata, self.path = connection, metadata, path
        self.created_schema: str | None = context.opts.get("version_table_schema")
        self.default = connection.dialect.default_schema_name
        self.hooks = Hooks(context, connection, reflects=reflects)
        names = [schema or self.default or "public" for schema in schemas]
        self._existing: dict[Key, TableState] = {}
        self._all_oids = {self.key(*name): oid for name, oid in table_oids(connection, names).items()}
        self.existing = self._all_oids.keys()
        self.all_models = {self.key(table.schema, table.name): table for table in metadata.tables.values()}
        self._choose_tables(context, left_out, only)
        self._read_types(context, names, left_out)
        self._read_tables()

    def _choose_tables(self, context: AutogenContext, left_out: Collection[Key], only: Collection[Key] | None) -> None:
        """Choose the tables of both sides that are compared; hooks of a team may leave out some."""
        oids = {
            key: oid
            for key, oid in self._all_oids.items()
            if context.run_name_filters(key[1], "table", {"schema_name": key[0]})
        }
        self.candidates = {*oids, *self.all_models} - {*left_out}
        chosen = self.candidates if only is None else self.candidates & {*only}
        oids = {key: oid for key, oid in oids.items() if key in chosen}
        models = {key: table for key, table in self.all_models.items() if key in chosen}
        self.hooks.reflect(oids)
        remove_conditional(models.values(), self.connection)
        included = {key for key in {*oids, *models} if self.hooks.includes_table(key, models.get(key))}
        self.oids = {key: oid for key, oid in oids.items() if key in included}
        self.models = {key: table for key, table in models.items() if key in included}

    def _read_types(self, context: AutogenContext, schemas: Collection[str], left_out: Collection[Key]) -> None:
        """Read the enum types of both sides, without those of tables that are left out."""
        sees_type = context.opts.get("migrations_sees_type", lambda _, __: True)
        model_types = enums_of(self.models.values(), self.default)
        type_schemas = sorted({*schemas, *(schema for schema, _ in model_types if schema)})
        all_live_types = live_enums(self.connection, type_schemas, self.default)
        types_left_out = self._types_of(self.all_models[key] for key in left_out if key in self.all_models) | {
            key
            for key, enum_type in all_live_types.items()
            if any(self.key(*user[1:3]) in left_out for user in enum_type.columns)
        }
        types_left_out &= all_live_types.keys()
        self.live_types, self.types = (
            {key: each for key, each in types.items() if sees_type(*key) and key not in types_left_out}
            for types in (all_live_types, model_types)
        )
        differing_types = [
            enum_type
            for key, enum_type in self.types.items()
            if key not in all_live_types or all_live_types[key].labels != enum_type.labels
        ]
        self.surroundings = Surroundings.of(self.path, differing_types, all_live_types.keys() | model_types.keys())

    def _read_tables(self) -> None:
        """Read the tables of the database, let the server describe those of the models, and pair them."""
        live = read(self.connection, list(self.oids.values()), self.default, self.path.text)
        self.live: dict[Key, TableState] = {key: live[oid] for key, oid in self.oids.items()}
        self.targets = self._targets()
        for key in self.targets.keys() & self.live.keys():
            self.targets[key] = with_live_times(self.live[key], self.targets[key], warns=True)
            self._leave_out(key)
        self.pairs = {key: self._pair(key, target) for key, target in self.targets.items() if key in self.live}
        self.differing = [
            (self.live_types[key], target)
            for key, target in sorted(self.types.items(), key=str)
            if key in self.live_types and self.live_types[key].labels != target.labels
        ]
        self.recreated_types = self._recreated_types()
        preparer = verbatim_dialect(self.connection.dialect).identifier_preparer
        self.named = {key: _names(self.models[key], preparer) for key in self.targets}

    def key(self, schema: str | None, name: str) -> Key:
        """Return the key of a table or type on both sides."""
        return (None if schema == self.default else schema, name)

    def normalise_again(self, keys: Collection[Key]) -> None:
        """Normalise some tables that both sides have again, each alone."""
        for key in sorted(keys, key=str):
            self.live[key] = self.former.completed(self.live[key])
            self.targets[key] = normalised(self.connection, self.models[key], self.surroundings, self.live[key])
            self._leave_out(key)
            self.pairs[key] = self._pair(key, self.targets[key])

    def existing_table(self, key: Key) -> TableState | None:
        """Return the whole state of a table of the database, also of one that isn't compared; None without one."""
        if key not in self._all_oids:
            return None
        if key not in self._existing:
            oid = self._all_oids[key]
            self._existing[key] = read(self.connection, [oid], self.default, self.surroundings.search_path)[oid]
        return self._existing[key]

    @cached_property
    def former(self) -> Former:
        """The whole catalog, which is read only where something changes."""
        return Former(self.connection, self.default, self.surroundings.search_path)

    @cached_property
    def copies(self) -> dict[str, Table]:
        """Copies of all models' tables for Alembic's renderer, by their key in the metadata."""
        return copied(
            self.metadata, verbatim_dialect(self.connection.dialect), {table.key for table in self.models.values()}
        )

    @property
    def dropped_types(self) -> list[EnumType]:
        """The enum types that the models no longer have, and that no other service's table has.

        One that no table has, and something else needs, isn't the models': they can't name a function or a domain.
        """
        return [
            live
            for key, live in sorted(self.live_types.items(), key=str)
            if key not in self.types
            and {self.key(*user[1:3]) for user in live.columns} <= self.oids.keys()
            and (live.columns or not live.needed)
        ]

    @property
    def uncompared(self) -> frozenset[int]:
        """The oids of the models' own tables that aren't compared, such as those that can't be."""
        return frozenset(
            self._all_oids[key] for key in self.all_models if key in self._all_oids and key not in self.oids
        )

    def columns_kept(self, enum_type: EnumType) -> list[tuple[Any, ...]]:
        """Return the columns of an enum type of the database that keep it, with those of other services."""
        return [user for user in enum_type.columns if self._keeps_type(self.key(*user[1:3]), user[3])]

    def _keeps_type(self, key: Key, column: str) -> bool:
        if key not in self.oids:
            return True
        pair = self.pairs.get(key)
        if pair is None or column not in pair.target.columns:
            return False
        return pair.live.columns[column].type == pair.target.columns[column].type

    def gives_type(self, enum_type: EnumType) -> bool:
        """Whether a column of the database, which has another type, gets an enum type or an array of it."""
        types = (enum_type.sql, f"{enum_type.sql}[]")
        pairs = (pair for table in self.pairs.values() for pair in table.common)
        return any(target.type in types and live.type not in types for live, target in pairs)

    def castable(self, column: str, action: str) -> bool:
        """Whether PostgreSQL can alter a column, given by name and type, with an action.

        Either may name an enum type that only the models have.
        """
        statements = [
            f"CREATE TEMPORARY TABLE migrations_cast ({column})",
            f"ALTER TABLE pg_temp.migrations_cast {action}",
        ]
        new_types = [self.types[key] for key in self.types.keys() - self.live_types.keys()]
        for enum_type in [each for each in new_types if each.sql in f"{column} {action}"]:
            temporary = replace(enum_type, schema="pg_temp")
            schema = enum_type.schema or self.default or ""
            statements = [requalified(each, schema, enum_type.name, temporary.sql) for each in statements]
            statements.insert(0, temporary.creation)
        savepoint = self.connection.begin_nested()
        try:
            set_path(self.connection, self.surroundings.search_path)
            for statement in statements:
                self.connection.exec_driver_sql(statement, execution_options=VERBATIM)
        except DBAPIError:
            return False
        finally:
            savepoint.rollback()
        return True

    def _types_of(self, tables: Iterable[Table]) -> set[Key]:
        enums = (enum_of(column.type) for table in tables for column in table.columns)
        return {self.key(enum.schema, str(enum.name)) for enum in enums if enum is not None}

    def _leave_out(self, key: Key) -> None:
        """Leave out what is no difference of a table that both sides have, and what the hooks of a team leave out."""
        numbered = numbered_alike(self.live[key], self.targets[key], self.models[key])
        self.targets[key] = with_live_times(self.live[key], with_unnamable(self.live[key], numbered))
        self.live[key], self.targets[key] = self.hooks.agreed(self.live[key], self.targets[key], self.models[key])

    def _pair(self, key: Key, target: TableState) -> Pair:
        version = self.connection.dialect.server_version_info or ()
        return Pair(self.live[key], target, version >= _SET_EXPRESSION_SINCE)

    def _targets(self) -> dict[Key, TableState]:
        """Return the models' tables as the server describes them; one that the database lacks is normalised alone."""
        both = sorted((key for key in self.models if key in self.live), key=str)
        pairs = [(self.models[key], self.live[key]) for key in both]
        normalised_pairs = dict(zip(both, all_normalised(self.connection, pairs, self.surroundings), strict=True))
        return {
            key: normalised_pairs[key]
            if key in normalised_pairs
            else normalised(self.connection, table, self.surroundings, parents=self._ancestors((key,)))
            for key, table in sorted(self.models.items(), key=str)
        }

    def new_parents(self, key: Key) -> list[Key]:
        """Return the tables that a model's table inherits from, and which the database lacks."""
        parents = [(None, name) for name in parents_of(self.all_models[key])]  # SQLAlchemy writes no schema
        return [parent for parent in parents if parent in self.all_models and parent not in self.existing]

    def _ancestors(self, path: tuple[Key, ...]) -> list[Table]:
        """Return the new parents of the last table of a path, and their own before them."""
        ancestors: dict[Table, None] = {}
        for key in self.new_parents(path[-1]):
            if key not in path:
                ancestors |= dict.fromkeys([*self._ancestors((*path, key)), self.all_models[key]])
        return list(ancestors)

    def _recreated_types(self) -> RecreatedTypes:
        recreated = [(live, target) for live, target in self.differing if not enums.renamed(live, target)]
        down = frozenset[int]().union(*(live.oids for live, _ in recreated))
        up = (live.oids for live, target in recreated if not enums.added(live, target))
        return RecreatedTypes(frozenset[int]().union(*up), down)


def _names(table: Table, preparer: IdentifierPreparer) -> frozenset[str]:
    """Return the names that a model gives to its constraints, as SQLAlchemy shortens them."""
    names = (constraint.name for constraint in table.constraints)
    return frozenset(final_name(preparer, name) for name in names if isinstance(name, str))

"""The two sides of a comparison: a database and the models, each as shapes and enum types, by schema and name."""

from collections.abc import Collection, Iterable
from functools import cached_property

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.exc import DBAPIError

from service_migrations.autogenerate import enums
from service_migrations.autogenerate.normalise import all_normalised, normalised
from service_migrations.autogenerate.operations import copied
from service_migrations.autogenerate.table_pair import Pair, Rebuilt
from service_migrations.autogenerate.temporary_table import Surroundings
from service_migrations.catalog.tables import TableState, read, table_oids

__all__ = ["Comparison", "Key"]

Key = tuple[str | None, str]
"""Schema and name; no schema where it is the default one."""


class Comparison:
    """What one service sees of a database, and what its models say."""

    def __init__(
        self, context: AutogenContext, connection: Connection, metadata: MetaData, schemas: Iterable[str | None]
    ) -> None:
        self.connection, self.metadata = connection, metadata
        self.default = connection.dialect.default_schema_name
        places = [schema or self.default or "public" for schema in schemas]
        sees_type = context.opts.get("sees_type", lambda _, __: True)
        modelled = enums.enums_of(metadata, self.default)
        everything = enums.live_enums(
            connection, sorted({*places, *(schema for schema, _ in modelled if schema)}), self.default
        )
        self.live_types = {key: one for key, one in everything.items() if sees_type(*key)}
        self.types = {key: one for key, one in modelled.items() if sees_type(*key)}
        self.oids = {
            key: oid
            for key, oid in ((self.key(*place), oid) for place, oid in table_oids(connection, places).items())
            if context.run_name_filters(key[1], "table", {"schema_name": key[0]})
        }
        self.models = {
            self.key(table.schema, table.name): table
            for table in metadata.tables.values()
            if context.run_object_filters(table, table.name, "table", False, None)
        }
        unlike = [
            one for key, one in self.types.items() if key not in everything or everything[key].labels != one.labels
        ]
        self.around = Surroundings.of(connection, unlike)
        # a planner that compiles what it takes for a large query spends more on that than on the query
        connection.execute(text("SELECT set_config('jit', 'off', true)"))
        shapes = read(connection, list(self.oids.values()), self.default)
        self.live: dict[Key, TableState] = {key: shapes[oid] for key, oid in self.oids.items()}
        self.targets = self._targets()
        self.pairs = {key: Pair(self.live[key], one) for key, one in self.targets.items() if key in self.live}
        self.differing = [
            (self.live_types[key], one)
            for key, one in sorted(self.types.items(), key=str)
            if key in self.live_types and self.live_types[key].labels != one.labels
        ]
        self.rebuilt = self._rebuilt()
        self.named = {key: _names(self.models[key]) for key in self.pairs}

    def key(self, schema: str | None, name: str) -> Key:
        """Return a name as both sides have it."""
        return (None if schema == self.default else schema, name)

    def look_again(self, keys: Collection[Key]) -> None:
        """Ask for the shapes of some tables that both sides have once more, each alone."""
        for key in sorted(keys, key=str):
            self.targets[key] = normalised(self.connection, self.models[key], self.around)
            self.pairs[key] = Pair(self.live[key], self.targets[key])

    @cached_property
    def copies(self) -> dict[str, Table]:
        """Copies of all models' tables that are fit to be rendered, by their key in the metadata."""
        return copied(self.metadata, self.connection.dialect)

    def castable(self, column: str, action: str) -> bool:
        """Whether PostgreSQL can alter a column, given by its name and type, in such a way."""
        savepoint = self.connection.begin_nested()
        try:
            self.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE migrations_cast ({column})")
            self.connection.exec_driver_sql(f"ALTER TABLE pg_temp.migrations_cast {action}")
        except DBAPIError:
            return False
        finally:
            savepoint.rollback()
        return True

    def _targets(self) -> dict[Key, TableState]:
        """Return the shapes that the models would have; of a table that only they have, what it is made of alone."""
        both = sorted((key for key in self.models if key in self.live), key=str)
        pairs = [(self.models[key], self.live[key]) for key in both]
        found = dict(zip(both, all_normalised(self.connection, pairs, self.around), strict=True))
        return {
            key: found[key] if key in found else normalised(self.connection, table, self.around)
            for key, table in sorted(self.models.items(), key=str)
        }

    def _rebuilt(self) -> Rebuilt:
        anew = [(live, target) for live, target in self.differing if not enums.renamed(live, target)]
        backward = frozenset[int]().union(*(live.oids for live, _ in anew))
        forward = (live.oids for live, target in anew if not enums.added(live, target))
        return Rebuilt(frozenset[int]().union(*forward), backward)


def _names(table: Table) -> frozenset[str]:
    """Return the names that a model gives to its constraints, which are those that the database must have."""
    return frozenset(str(one.name) for one in table.constraints if isinstance(one.name, str))

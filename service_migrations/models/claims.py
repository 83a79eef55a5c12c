"""The claims of a service's models: the tables, types and sequences of a database that are its own."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Enum, MetaData, Table
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import ARRAY, TypeEngine

from service_migrations.errors import ConfigurationError
from service_migrations.models.faults import faults_of
from service_migrations.models.importing import import_models, where, where_defined
from service_migrations.models.metadata import assemble, tables_of
from service_migrations.models.tables.types import postgres_type, sequences_of
from service_migrations.models.tables.views import Name, views_of
from service_migrations.monorepo import Service
from service_migrations.sql.created import ObjectName

__all__ = ["Claims", "load_claims", "place_of"]

Names = frozenset[Name]
"""Each as (schema, name); the schema is None where the models name none."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The tables, enum and domain types, and sequences of one service's models, and the views that they map.

    ``metadata`` is what they were read from. A view that is mapped isn't claimed: whose history creates it, owns it.
    """

    tables: Names
    enums: Names
    domains: Names = frozenset()
    sequences: Names = frozenset()
    views: Names = frozenset()
    metadata: MetaData = field(default_factory=MetaData, compare=False, repr=False)

    @classmethod
    def of(cls, metadata: MetaData) -> "Claims":
        """Return the claims of a service's metadata."""
        tables = metadata.tables.values()
        types = [column_type for column_type in _named_types(tables) if column_type.name]
        return cls(
            frozenset((table.schema, table.name) for table in tables) | faults_of(metadata).keys(),
            frozenset((enum.schema, str(enum.name)) for enum in types if isinstance(enum, Enum)),
            frozenset((domain.schema, str(domain.name)) for domain in types if isinstance(domain, DOMAIN)),
            frozenset(_sequences(tables)),
            views_of(metadata),
            metadata,
        )

    def with_views(self, is_view: Callable[[Name], bool]) -> "Claims":
        """Return the claims where some of the tables are views of a database."""
        views = frozenset(filter(is_view, self.tables))
        return replace(self, tables=self.tables - views, views=self.views | views)


_claims: "WeakKeyDictionary[ModuleType, tuple[Service, Claims]]" = WeakKeyDictionary()
"""The claims of loaded modules: in a run for all services, every service needs those of all the others."""


def load_claims(services: Iterable[Service]) -> dict[Service, Claims]:
    """Return the claims of each service.

    Raises:
        ConfigurationError: the models of one can't be assembled. Without its claims, a comparison would propose
            dropping its tables.

    """
    claims_by_service = {}
    for service in services:
        try:
            known = _claims.get(sys.modules[service.models]) if service.models in sys.modules else None
            if known is None or known[0] != service:
                module = import_models(service)
                known = _claims.get(module)
            if known is None or known[0] != service:
                known = _claims[module] = service, Claims.of(assemble(service))
            claims_by_service[service] = known[1]
        except ConfigurationError as error:
            raise error.with_hint(f"Until then nobody can tell which tables are {service}'s own.") from error
    return claims_by_service


def place_of(service: Service, name: ObjectName) -> str:
    """Return the file of the model that maps a table, or has a column of a type.

    Of a model from another package, it is the file that exports it.
    """
    module = import_models(service)
    for exported in (getattr(module, export, None) for export in getattr(module, "__all__", ())):
        if any(_has(table, name) for table in tables_of(exported, "")):
            return where_defined(service, module, exported)
    return where(service, module)


def _has(table: Table, name: ObjectName) -> bool:
    """Whether a table is the one of that name, or has a column of the type of that name.

    A table or type whose model names no schema is in the default one.
    """
    objects = {("table", table.schema, table.name)}
    objects |= {("type", column_type.schema, str(column_type.name)) for column_type in _named_types([table])}
    return bool(objects & {name, (name.kind, None, name.name)})


def _named_types(tables: Iterable[Table]) -> Iterator[Enum | DOMAIN]:
    """Yield the types of columns that are objects of their own, also inside arrays, decorators and domains."""
    types: list[TypeEngine[Any]] = [column.type for table in tables for column in table.columns]
    while types:
        column_type = postgres_type(types.pop())
        if isinstance(column_type, ARRAY):
            types.append(column_type.item_type)
        elif isinstance(column_type, DOMAIN):
            types.append(column_type.data_type)
            yield column_type
        elif isinstance(column_type, Enum) and column_type.native_enum:
            yield column_type


def _sequences(tables: Iterable[Table]) -> Iterator[tuple[str | None, str]]:
    for table in tables:
        for column in table.columns:
            for sequence in sequences_of(column):
                yield (sequence.schema, sequence.name)

"""What the models of each service claim: to which service a table, a type or a sequence belongs."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from weakref import WeakKeyDictionary

from sqlalchemy import Enum, MetaData, Sequence, Table, TypeDecorator
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import ARRAY

from service_migrations.errors import ConfigurationError
from service_migrations.models.importing import import_models, where
from service_migrations.models.metadata import assemble, tables_of
from service_migrations.monorepo import Service

__all__ = ["Claims", "claims", "place_of"]

Names = frozenset[tuple[str | None, str]]
"""Each as (schema, name); the schema is None where the models name none."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What one service's models say is its own: tables, enum and domain types, and sequences.

    ``metadata`` is what they were read from.
    """

    tables: Names
    enums: Names
    domains: Names = frozenset()
    sequences: Names = frozenset()
    metadata: MetaData = field(default_factory=MetaData, compare=False, repr=False)

    @classmethod
    def of(cls, metadata: MetaData) -> "Claims":
        """Return what a service's metadata claims."""
        tables = frozenset((table.schema, table.name) for table in metadata.tables.values())
        types = [one for one in _types(metadata.tables.values()) if one.name]
        enums = frozenset((one.schema, str(one.name)) for one in types if isinstance(one, Enum))
        domains = frozenset((one.schema, str(one.name)) for one in types if isinstance(one, DOMAIN))
        return cls(tables, enums, domains, frozenset(_sequences(metadata)), metadata)


_claims: "WeakKeyDictionary[ModuleType, tuple[Service, Claims]]" = WeakKeyDictionary()
"""What the modules that are loaded claim: in a run for all services each is asked for by all the others."""


def claims(services: Iterable[Service]) -> dict[Service, Claims]:
    """Return what each of the services claims.

    Raises:
        ConfigurationError: the models of one can't be assembled. Going on without it would mean to propose
            dropping its tables.

    """
    found = {}
    for service in services:
        try:
            known = _claims.get(sys.modules[service.models]) if service.models in sys.modules else None
            if known is None or known[0] != service:
                known = _claims[import_models(service)] = service, Claims.of(assemble(service))
            found[service] = known[1]
        except ConfigurationError as error:
            raise error.with_hint(f"Until then nobody can tell which tables are {service}'s own.") from error
    return found


def place_of(service: Service, kind: str, schema: str, name: str) -> str:
    """Return the file of the model that maps a table, or has a column of a type.

    Of a table that comes from elsewhere it is the file that exports it.
    """
    module = import_models(service)
    for exported in (getattr(module, one, None) for one in getattr(module, "__all__", ())):
        for table in tables_of(exported, ""):
            types = {("type", str(one.name), one.schema) for one in _types([table])}
            if any(
                (what, called) == (kind, name) and (space or schema) == schema
                for what, called, space in {("table", table.name, table.schema), *types}
            ):
                home = sys.modules.get(getattr(exported, "__module__", ""), module)
                return where(service, home if home.__name__.startswith(module.__name__) else module)
    return where(service, module)


def _types(tables: Iterable[Table]) -> Iterator[Enum | DOMAIN]:
    """Yield the types of columns that are objects of their own, also inside arrays, decorators and domains."""
    todo: list[object] = [column.type for table in tables for column in table.columns]
    while todo:
        kind = todo.pop()
        if isinstance(kind, ARRAY):
            todo.append(kind.item_type)
        elif isinstance(kind, TypeDecorator):
            todo.append(kind.impl)
        elif isinstance(kind, DOMAIN):
            todo.append(kind.data_type)
            yield kind
        elif isinstance(kind, Enum) and kind.native_enum:
            yield kind


def _sequences(metadata: MetaData) -> Iterator[tuple[str | None, str]]:
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.default, Sequence):
                yield (column.default.schema, column.default.name)

"""The objects that a service's models have, by their keys in a catalog: SQL that drops one takes what code uses."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import MetaData

from service_migrations.catalog.objects import Key
from service_migrations.models.claims import Claims

__all__ = ["modelled_keys"]

_RELATIONS = ("table", "foreign table", "view", "materialized view")


def modelled_keys(metadata: MetaData, schema: str) -> frozenset[Key]:
    """Return the keys of the relations, columns, indexes, constraints, types and sequences of models.

    What has no name in the models isn't among them, and neither is what only Alembic's plugins compare.

    Args:
        metadata: of the models.
        schema: that of its names without one.

    """
    return frozenset(_of_tables(metadata, schema)) | frozenset(_of_others(Claims.of(metadata), schema))


def _of_tables(metadata: MetaData, default: str) -> Iterator[Key]:
    for table in metadata.tables.values():
        schema = table.schema or default
        yield from (Key(kind, schema, None, table.name) for kind in _RELATIONS)
        parts_by_kind: dict[str, Iterable[Any]] = {
            "column": table.columns,
            "index": table.indexes,
            "constraint": table.constraints,
        }
        for kind, parts in parts_by_kind.items():
            yield from (Key(kind, schema, table.name, part.name) for part in parts if isinstance(part.name, str))


def _of_others(claims: Claims, default: str) -> Iterator[Key]:
    """Yield the keys of types and sequences, and of views that are known to be no tables."""
    for kind, names in (("enum", claims.enums), ("domain", claims.domains), ("sequence", claims.sequences)):
        yield from (Key(kind, schema or default, None, name) for schema, name in names)
    yield from (Key(kind, schema or default, None, name) for schema, name in claims.views for kind in _RELATIONS)

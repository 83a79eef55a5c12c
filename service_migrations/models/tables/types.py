"""The types of columns as PostgreSQL gets them: without variants for other databases and without decorators."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from typing import Any

import sqlalchemy
from sqlalchemy import ARRAY, Column, DefaultClause, Dialect, Enum, Sequence
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN, asyncpg
from sqlalchemy.sql.functions import next_value
from sqlalchemy.types import TypeDecorator, TypeEngine

from service_migrations._sqlalchemy import as_written, type_variants, without_variants

__all__ = ["enum_of", "is_portable", "named_type_of", "postgres_type", "sequences_of", "without_own_index"]

_DIALECT: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]


def postgres_type(column_type: TypeEngine[Any], dialect: Dialect = _DIALECT) -> TypeEngine[Any]:
    """Return a type as PostgreSQL gets it, with the elements of an array.

    Args:
        column_type: the type.
        dialect: that of the connection. A decorator may ask it for a ``Text``, which is a ``VARCHAR`` over asyncpg.

    """
    bare: Any = _undecorated(column_type, dialect)
    if isinstance(bare, ARRAY):
        elements = postgres_type(bare.item_type, dialect)
        if elements is not bare.item_type:
            bare = copy(bare)
            bare.item_type = elements
    return _standard(without_variants(bare))


def _standard(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type of a derived class as one of SQLAlchemy's public classes, where that has the same SQL.

    A class may be derived by the models, or by SQLAlchemy for a driver: a decorator whose ``load_dialect_impl`` calls
    ``type_descriptor`` has an ``AsyncpgDateTime``, which no other module can name.
    """
    if not _is_public(type(column_type)):
        for base in filter(_is_public, type(column_type).__mro__):
            with suppress(Exception):  # of an abstract class, or of the code of the derived one
                standard: TypeEngine[Any] = as_written(column_type.adapt(base))
                if _sql(standard) == _sql(column_type):
                    return standard
    return column_type


def _is_public(kind: type) -> bool:
    """Whether a class of SQLAlchemy's can be named as ``sa.…`` or ``postgresql.…``."""
    return any(getattr(module, kind.__name__, None) is kind for module in (sqlalchemy, postgresql))


def _sql(column_type: TypeEngine[Any]) -> str:
    return str(_DIALECT.type_compiler_instance.process(column_type))


def enum_of(column_type: TypeEngine[Any]) -> Enum | None:
    """Return the native enum type of a column, or of the elements of its array."""
    named = named_type_of(column_type)
    return named if isinstance(named, Enum) and named.native_enum and named.name else None


def named_type_of(column_type: TypeEngine[Any]) -> Enum | DOMAIN | None:
    """Return the type of a column, or of the elements of its array, that has a name and a schema of its own."""
    bare = _undecorated(column_type)
    while isinstance(bare, ARRAY):
        bare = _undecorated(bare.item_type)
    return bare if isinstance(bare, Enum | DOMAIN) else None


def is_portable(column_type: TypeEngine[Any]) -> bool:
    """Whether a revision can name a type by SQLAlchemy's own classes and constants alone.

    A class of the models may be renamed, and a revision has to mean the same for ever. A domain would be created again.
    """
    if not _is_public(type(column_type)) or isinstance(column_type, TypeDecorator | DOMAIN):
        return False
    parts = (part for part in vars(column_type).values() if isinstance(part, TypeEngine))
    return _is_expression(repr(column_type)) and all(map(is_portable, parts))


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def sequences_of(column: Column[Any]) -> Iterator[Sequence]:
    """Yield the sequences that number a column: in Python, or as its default in the database."""
    if isinstance(column.default, Sequence):
        yield column.default
    default = column.server_default
    if isinstance(default, DefaultClause) and isinstance(default.arg, next_value):
        yield default.arg.sequence


def without_own_index(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type that creates no index with its column, as those of GeoAlchemy2 do.

    The index is one of the table's too, for which a revision has an operation of its own.
    """
    if not getattr(column_type, "spatial_index", False):
        return column_type
    bare: Any = copy(column_type)
    bare.spatial_index = False
    return bare  # type: ignore[no-any-return]


def _undecorated(column_type: TypeEngine[Any], dialect: Dialect = _DIALECT) -> TypeEngine[Any]:
    while True:
        variant = type_variants(column_type).get(dialect.name)
        if variant is not None:
            column_type = variant
        elif isinstance(column_type, TypeDecorator):
            column_type = column_type.load_dialect_impl(dialect)
        else:
            return column_type

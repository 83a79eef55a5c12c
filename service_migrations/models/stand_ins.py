"""Foreign keys into a sibling's tables: kept, without pulling the tables in.

A service never imports another one, so its foreign key is a name, ``ForeignKey("catalog_products.id")``. Alembic and
SQLAlchemy want a table behind it; they get a stand-in with the columns that are referred to, which is neither
compared nor created nor claimed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import BLANK_SCHEMA, Column, ForeignKey, ForeignKeyConstraint, MetaData, Table
from sqlalchemy.exc import NoReferencedTableError, SQLAlchemyError

from service_migrations.errors import ConfigurationError
from service_migrations.models.claims import Claims
from service_migrations.settings.siblings import Sibling

__all__ = ["complete", "is_stand_in", "only_the_schema_differs"]

_MARK = "migrations.stand_in_for"


def complete(metadata: MetaData, place: str, default: str, claims: Mapping[Sibling, Claims]) -> None:
    """Add a stand-in for each table of a sibling's that a foreign key leads to.

    Args:
        metadata: the service's own, fresh from ``assemble``; it is changed.
        place: the file of the service's models.
        default: the schema of the service's names without one.
        claims: of the siblings that share the database.

    Raises:
        ConfigurationError: no sibling has that table, or its model hasn't that column.

    """
    theirs = {
        (table.schema or sibling.schema, table.name): (sibling, table)
        for sibling, claimed in claims.items()
        for table in claimed.metadata.tables.values()
    }
    for table in list(metadata.tables.values()):
        for key in sorted(table.foreign_keys, key=lambda one: str(one.parent.name)):
            if not _is_open(key):
                continue
            where = f"{place}: {table.name}.{key.parent.name}"
            schema, name, _ = key.target_tokens
            schema = schema or metadata.schema
            if (schema or default, name) not in theirs:
                others = ", and no service that shares its database has it" if claims else ""
                raise ConfigurationError(
                    f"{where} refers to {key.target_fullname}, which models.__all__ doesn't export{others}. "
                    f"Add the model to __all__."
                )
            sibling, original = theirs[schema or default, name]
            _stand_in(metadata, schema, original, sibling)
            if _is_open(key, strict=False):
                raise ConfigurationError(
                    f"{where} refers to {key.target_fullname}, a column that {sibling.service}'s model doesn't have. "
                    f"Correct the ForeignKey."
                )


def is_stand_in(table: object) -> bool:
    """Whether a table stands for a sibling's."""
    return isinstance(table, Table) and _MARK in table.info


def only_the_schema_differs(default: str, one: object, other: object) -> bool:
    """Whether two foreign keys differ only in that one of them names the default schema of its target.

    PostgreSQL leaves out a schema that is on the search_path, so the reflected key hasn't the name that the model
    needs where its own metadata has another schema. Alembic would replace the key again and again.
    """
    if not isinstance(one, ForeignKeyConstraint) or not isinstance(other, ForeignKeyConstraint):
        return False
    return _signature(one, default) == _signature(other, default)


def _signature(key: ForeignKeyConstraint, default: str) -> tuple[Any, ...]:
    targets = [element.column for element in key.elements]
    actions = [None if one in (None, "NO ACTION") else one.upper() for one in (key.ondelete, key.onupdate)]
    initially = None if key.initially is None or key.initially.upper() == "IMMEDIATE" else key.initially.upper()
    return (
        [column.name for column in key.columns],
        [(column.table.schema or default, column.table.name, column.name) for column in targets],
        actions,
        bool(key.deferrable),
        initially,
    )


def _is_open(key: ForeignKey, *, strict: bool = True) -> bool:
    """Whether what a foreign key leads to isn't there."""
    try:
        _ = key.column
    except NoReferencedTableError:
        return True
    except SQLAlchemyError:
        return not strict
    return False


def _stand_in(metadata: MetaData, schema: str | None, original: Table, sibling: Sibling) -> None:
    """Add a table with the columns that anything refers to; the type of a key's column comes from there."""
    wanted = set(_referred(metadata, schema, original.name))
    columns = [Column(one.name, one.type, key=one.key) for one in original.columns if {one.key, one.name} & wanted]
    Table(
        original.name,
        metadata,
        *columns,
        schema=schema or BLANK_SCHEMA,
        info={_MARK: sibling.service.name},
    )


def _referred(metadata: MetaData, schema: str | None, name: str) -> Iterable[str]:
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            tokens = key.target_tokens
            if (tokens.schema or metadata.schema, tokens.table_name) == (schema, name):
                yield tokens.column_name or key.parent.key

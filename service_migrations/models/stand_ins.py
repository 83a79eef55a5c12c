"""Stand-ins for the tables of siblings, and of other programs, that foreign keys refer to.

A service never imports another one, so its foreign key is a name, ``ForeignKey("catalog_products.id")``. Alembic and
SQLAlchemy need a table of that name. They get one with only the referenced columns, which is neither compared nor
created nor claimed. So does a table that ``ignore`` leaves out, such as Django's ``auth_user``.

A table of the models that is a partition in the database becomes one, with all its columns: it is the whole's.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import BLANK_SCHEMA, Column, ForeignKey, ForeignKeyConstraint, MetaData, Table
from sqlalchemy.exc import NoReferencedTableError, SQLAlchemyError
from sqlalchemy.types import NullType

from service_migrations.errors import ConfigurationError
from service_migrations.models.claims import Claims
from service_migrations.models.faults import add_fault
from service_migrations.models.tables.views import views_of
from service_migrations.settings.siblings import Sibling

__all__ = ["complete", "is_stand_in", "leave_partitions", "only_the_schema_differs"]

_MARK = "migrations.stand_in_for"


class _Target(NamedTuple):
    """The target of a foreign key; without a column it is the one with the key of the referring column."""

    schema: str | None
    table: str
    column: str | None

    def __str__(self) -> str:
        return ".".join(part for part in self if part is not None)


def complete(
    metadata: MetaData,
    place: str,
    default: str,
    claims: Mapping[Sibling, Claims],
    ignored_by: Callable[[str, str], str | None] = lambda *_: None,
) -> None:
    """Add a stand-in for each table of a sibling, or of another program, that a foreign key refers to.

    Args:
        metadata: the service's own, fresh from ``assemble``; it is changed.
        place: the file of the service's models.
        default: the schema of the service's names without one.
        claims: of the siblings that share the database.
        ignored_by: returns the pattern of ``ignore`` that leaves out a table of a schema and a name, or None.

    Raises:
        ConfigurationError: no sibling has that table, or its model lacks that column; or it is a view; or it is left
            out, and the referring column has no type.

    """
    sibling_tables = {
        (table.schema or sibling.schema, table.name): (sibling, table)
        for sibling, sibling_claims in claims.items()
        for table in sibling_claims.metadata.tables.values()
        if (table.schema, table.name) in sibling_claims.tables
    }
    views = {(view_schema or default, name) for view_schema, name in views_of(metadata)}
    for sibling, sibling_claims in claims.items():
        views |= {(view_schema or sibling.schema, name) for view_schema, name in sibling_claims.views}
    views -= sibling_tables.keys()  # one may map another's table so, only to read it
    for table in list(metadata.tables.values()):
        for key in sorted(table.foreign_keys, key=lambda key: str(key.parent.name)):
            target = _target(key)
            reference = f"{table.name}.{key.parent.name} refers to {target}"
            schema = target.schema or metadata.schema
            if (schema or default, target.table) in views:
                hint = "Remove the ForeignKey; a relationship can have a primaryjoin with foreign()."
                message = f"{reference}, which is a view: a foreign key needs a table."
                add_fault(metadata, table, ConfigurationError(message, path=place, hint=hint))
                continue
            if not _is_open(key):
                continue
            if (schema or default, target.table) not in sibling_tables:
                if pattern := ignored_by(schema or default, target.table):
                    _add_ignored(metadata, schema, target.table)
                    if isinstance(key.parent.type, NullType):
                        message = f"{reference}, which ignore = {pattern!r} leaves out, so its type isn't known."
                        hint = f"Write the type of {key.parent.name} in the model."
                        add_fault(metadata, table, ConfigurationError(message, path=place, hint=hint))
                    continue
                others = ", and no service that shares its database has it" if claims else ""
                message = f"{reference}, which models.__all__ doesn't export{others}."
                hint = "Add the model to __all__; a table that another program makes, add to ignore in pyproject.toml."
                add_fault(metadata, table, ConfigurationError(message, path=place, hint=hint))
                continue
            sibling, original = sibling_tables[schema or default, target.table]
            _add_stand_in(metadata, schema, original, sibling)
            if _is_open(key, strict=False):
                message = f"{reference}, a column that {sibling.service}'s model doesn't have."
                add_fault(metadata, table, ConfigurationError(message, path=place, hint="Correct the ForeignKey."))


def is_stand_in(table: object) -> bool:
    """Whether a table is a stand-in for a sibling's, or another program's."""
    return isinstance(table, Table) and _MARK in table.info


def leave_partitions(metadata: MetaData, is_partition: Callable[[tuple[str | None, str]], bool]) -> None:
    """Let the tables of a service's metadata that are partitions in a database be stand-ins."""
    for table in metadata.tables.values():
        if is_partition((table.schema, table.name)):
            table.info = {**table.info, _MARK: table.name}


def only_the_schema_differs(default: str, key: object, other: object) -> bool:
    """Whether two foreign keys differ only in naming the default schema of their target.

    PostgreSQL leaves out a schema that is on the search_path, so the reflected key lacks the schema that the model
    has to name where its own metadata has another one. Alembic would replace the key in every revision.
    """
    if not isinstance(key, ForeignKeyConstraint) or not isinstance(other, ForeignKeyConstraint):
        return False
    return _signature(key, default) == _signature(other, default)


def _signature(key: ForeignKeyConstraint, default: str) -> tuple[Any, ...]:
    targets = [element.column for element in key.elements]
    actions = [None if action in (None, "NO ACTION") else action.upper() for action in (key.ondelete, key.onupdate)]
    initially = None if key.initially is None or key.initially.upper() == "IMMEDIATE" else key.initially.upper()
    return (
        [column.name for column in key.columns],
        [(column.table.schema or default, column.table.name, column.name) for column in targets],
        actions,
        bool(key.deferrable),
        initially,
    )


def _target(key: ForeignKey) -> _Target:
    tokens = getattr(key, "target_tokens", None)  # since SQLAlchemy 2.1
    if tokens is not None:
        return _Target(*tokens)
    # SQLAlchemy 2.0 splits its names in the same way: none may contain a dot
    names = key.target_fullname.split(".")
    if len(names) == 1:
        return _Target(None, names[0], None)
    return _Target(".".join(names[:-2]) or None, names[-2], names[-1])


def _is_open(key: ForeignKey, *, strict: bool = True) -> bool:
    """Whether the target of a foreign key is missing."""
    try:
        _ = key.column
    except NoReferencedTableError:
        return True
    except SQLAlchemyError:
        return not strict
    return False


def _add_stand_in(metadata: MetaData, schema: str | None, original: Table, sibling: Sibling) -> None:
    """Add a table with the columns that foreign keys refer to, from which those keys take their types."""
    referenced = set(_referenced_columns(metadata, schema, original.name))
    columns = [
        Column(column.name, column.type, key=column.key)
        for column in original.columns
        if {column.key, column.name} & referenced
    ]
    Table(
        original.name,
        metadata,
        *columns,
        schema=schema or BLANK_SCHEMA,
        info={_MARK: sibling.service.name},
    )


def _add_ignored(metadata: MetaData, schema: str | None, name: str) -> None:
    """Add a table with the columns that foreign keys refer to, which have the types of the referring ones."""
    columns: dict[str, Column[Any]] = {}
    for table in list(metadata.tables.values()):
        for key in table.foreign_keys:
            target = _target(key)
            if (target.schema or metadata.schema, target.table) == (schema, name):
                column = target.column or key.parent.key
                if column not in columns or isinstance(columns[column].type, NullType):
                    columns[column] = Column(column, key.parent.type)
    Table(name, metadata, *columns.values(), schema=schema or BLANK_SCHEMA, info={_MARK: name})


def _referenced_columns(metadata: MetaData, schema: str | None, name: str) -> Iterator[str]:
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            target = _target(key)
            if (target.schema or metadata.schema, target.table) == (schema, name):
                yield target.column or key.parent.key

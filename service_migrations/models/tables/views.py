"""Views that classes are mapped onto: no tables for a comparison, and created by revisions that somebody writes.

A class says so with ``info={"is_view": True}`` in ``__table_args__`` or ``Table(info=…)``, as in Alembic's cookbook
(https://alembic.sqlalchemy.org/en/latest/cookbook.html). Where it doesn't, the database knows.

A temporary table, and a table or view of the server's own schemas, count as such: no revision makes them either.
"""

from collections.abc import Callable

from sqlalchemy import MetaData, Table

from service_migrations._sqlalchemy import is_temporary

__all__ = ["Name", "add_views", "is_view", "remove_views", "views_of"]

_KEY = "migrations.views"

Name = tuple[str | None, str]
"""Schema and name; the schema is None where the models name none."""


def is_view(table: Table) -> bool:
    """Whether the models say that a table is a view, a temporary table, or one of the server's own."""
    schema = table.schema or ""
    is_the_servers = schema == "information_schema" or schema.startswith("pg_")
    return bool(table.info.get("is_view")) or is_the_servers or is_temporary(table)


def views_of(metadata: MetaData) -> frozenset[Name]:
    """Return the views that the models of a service's metadata map, which has no tables for them."""
    names: frozenset[Name] = metadata.info.get(_KEY, frozenset())
    return names


def add_views(metadata: MetaData, *names: Name) -> None:
    """Add views to those of a service's metadata."""
    metadata.info[_KEY] = views_of(metadata) | frozenset(names)


def remove_views(metadata: MetaData, is_view: Callable[[Name], bool]) -> None:
    """Remove the tables that are views of a database from a service's metadata."""
    for table in [table for table in metadata.tables.values() if is_view((table.schema, table.name))]:
        metadata.remove(table)
        add_views(metadata, (table.schema, table.name))

"""The tables that a model's table inherits from (``postgresql_inherits``)."""

from sqlalchemy import Table

__all__ = ["parents_of"]


def parents_of(table: Table) -> tuple[str, ...]:
    """Return the names of the tables that a table inherits from, which SQLAlchemy writes without a schema."""
    parents = table.dialect_options["postgresql"].get("inherits") or ()
    return tuple(map(str, parents)) if isinstance(parents, list | tuple) else (str(parents),)

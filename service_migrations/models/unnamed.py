"""Constraints and indexes of the models without a name.

The rule: a UNIQUE, a FOREIGN KEY, a CHECK, an EXCLUDE or an index that has no name is a finding, since PostgreSQL
chooses a name for it: the models don't have it, and it may differ from one database to the other
(https://alembic.sqlalchemy.org/en/latest/naming.html). A primary key needs no naming convention: it gets PostgreSQL's
own name, ``<table>_pkey``, and is never dropped alone.
"""

from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Constraint, ForeignKeyConstraint, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from service_migrations.errors import DifferenceError
from service_migrations.models.claims import place_of
from service_migrations.models.stand_ins import is_stand_in
from service_migrations.models.tables.conditions import sql_of
from service_migrations.monorepo import Service
from service_migrations.sql.created import ObjectName

__all__ = ["findings"]

_KINDS: dict[type[Constraint], str] = {
    UniqueConstraint: "a UNIQUE",
    ForeignKeyConstraint: "a FOREIGN KEY",
    CheckConstraint: "a CHECK",
    ExcludeConstraint: "an EXCLUDE",
}


def findings(service: Service, metadata: MetaData, default: str) -> tuple[DifferenceError, ...]:
    """Return an error for each constraint and index without a name.

    A naming convention counts as a name.

    Args:
        service: whose models they are.
        metadata: their tables, from ``assemble``.
        default: the schema of a table without one.

    """
    errors = []
    for table in sorted(metadata.tables.values(), key=lambda table: table.key):
        unnamed = [] if is_stand_in(table) else sorted(_unnamed(table))
        if unnamed:
            place = place_of(service, ObjectName("table", table.schema or default, table.name))
            errors += [
                DifferenceError(
                    f"{table.name} has {part} without a name, so PostgreSQL chooses one that the models don't have.",
                    path=place,
                    hint="Give it a name=, or the metadata a naming_convention=.",
                )
                for part in unnamed
            ]
    return tuple(errors)


def _unnamed(table: Table) -> Iterator[str]:
    """Yield each unnamed part of a table, described for a message."""
    for constraint in table.constraints:
        for kind, description in _KINDS.items():
            # a convention that itself needs a name leaves a marker there, which isn't a str
            if isinstance(constraint, kind) and not isinstance(constraint.name, str):
                yield f"{description}{_contents(constraint)}"
    for index in table.indexes:
        if not isinstance(index.name, str):
            yield f"an index{_contents(index)}"


def _contents(part: Constraint | Index) -> str:
    """Return the condition of a CHECK, or the columns of another part, in parentheses; empty without any."""
    if isinstance(part, CheckConstraint):
        return f" ({' '.join(sql_of(part, literals=True).split())})"
    columns = ", ".join(column.name for column in getattr(part, "columns", None) or ())
    return f" ({columns})" if columns else ""

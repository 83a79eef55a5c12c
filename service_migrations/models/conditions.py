"""The conditions of CHECKs as SQL of PostgreSQL: ``str()`` compiles for no dialect, which a construct may lack."""

from sqlalchemy import CheckConstraint, Dialect
from sqlalchemy.dialects.postgresql import asyncpg

__all__ = ["sql_of"]

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]


def sql_of(check: CheckConstraint, dialect: Dialect | None = None) -> str:
    """Return the condition of a CHECK as SQL of PostgreSQL, with its values as parameters."""
    return str(check.sqltext.compile(dialect=dialect or _DIALECT))

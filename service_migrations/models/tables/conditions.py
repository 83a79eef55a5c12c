"""The conditions of CHECKs as SQL of PostgreSQL: ``str()`` compiles for no dialect, which a construct may lack."""

from contextlib import suppress

from sqlalchemy import CheckConstraint, Dialect
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import CompileError

__all__ = ["sql_of"]

_DIALECT = asyncpg.dialect()  # type: ignore[no-untyped-call]


def sql_of(check: CheckConstraint, dialect: Dialect | None = None, *, literals: bool = False) -> str:
    """Return the condition of a CHECK as SQL of PostgreSQL, with its values as parameters or as literals.

    A value that has no literal is a parameter.
    """
    if literals:
        with suppress(CompileError):
            return str(check.sqltext.compile(dialect=dialect or _DIALECT, compile_kwargs={"literal_binds": True}))
    return str(check.sqltext.compile(dialect=dialect or _DIALECT))

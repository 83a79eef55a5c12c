"""The parameters without a value in the SQL of models, which SQLAlchemy writes as NULL without a word."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BindParameter, CheckConstraint, ClauseElement, Computed, DefaultClause, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.sql.visitors import iterate

from service_migrations._sqlalchemy import exclusion_expressions

__all__ = ["open_parameters"]


def open_parameters(metadata: MetaData) -> Iterator[tuple[Table, str, str]]:
    """Yield each table whose SQL has such a parameter: the part that has the first one, and its name.

    In ``text("state <> ':none'")`` the colon begins a parameter, inside a constant too.
    """
    for table in metadata.tables.values():
        parameters = ((part, name) for part, clause in _clauses(table) for name in _open(clause))
        if first := next(parameters, None):
            yield table, *first


def _clauses(table: Table) -> Iterator[tuple[str, Any]]:
    for column in table.columns:
        default = column.server_default
        if isinstance(default, DefaultClause):
            yield f"the default of {column.name}", default.arg
        elif isinstance(default, Computed):
            yield f"the expression of {column.name}", default.sqltext
    for constraint in table.constraints:
        part = f"constraint {constraint.name}" if constraint.name else "a constraint without a name"
        if isinstance(constraint, CheckConstraint):
            yield part, constraint.sqltext
        elif isinstance(constraint, ExcludeConstraint):
            yield part, constraint.where
            for expression in exclusion_expressions(constraint):
                yield part, expression
    for index in table.indexes:
        yield from ((f"index {index.name}", clause) for clause in _of_index(index))


def _of_index(index: Index) -> Iterator[Any]:
    yield from index.expressions
    yield index.dialect_options["postgresql"]["where"]


def _open(clause: Any) -> Iterator[str]:
    if isinstance(clause, ClauseElement):
        for element in iterate(clause):
            if isinstance(element, BindParameter) and element.required:
                yield element.key

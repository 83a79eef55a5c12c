"""Statements as SQL text, with their parameters as constants, as offline mode writes them.

SQLAlchemy's own constants differ from what its parameters are online: an interval of one day becomes 24 hours, a float
a numeric, JSON's null NULL, and so does a default in Python. Here a value takes the same way as online: through the
type's bind processor, as asyncpg encodes it, with the cast that the parameter has. Over psycopg it is a constant online
too, and the same one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ClauseElement,
    Column,
    Dialect,
    Integer,
    SmallInteger,
    TextClause,
)
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import CompileError, InvalidRequestError
from sqlalchemy.schema import DDLElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from service_migrations._alembic import is_inline
from service_migrations._sqlalchemy import collected_parameters, undecorated
from service_migrations.errors import text_of
from service_migrations.history.sql.constants import constant
from service_migrations.sql.lexer import stray_parameter
from service_migrations.sql.quoting import check_sendable, literal_in_any_mode

__all__ = ["StatementError", "statements"]

_LARGEST_INTEGER = 2**31 - 1

_BACKSLASH = "\0"
"""A backslash of a constant in ``text()``; no text of PostgreSQL has this character."""

_Base: type[SQLCompiler] = asyncpg.dialect.statement_compiler


class StatementError(InvalidRequestError):
    """A statement that would fail online too."""


def statements(
    clause: ClauseElement, dialect: Dialect, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
) -> Iterator[str]:
    """Yield the SQL of a statement: one text, or one for each of several sets of parameters.

    Args:
        clause: the statement.
        dialect: that of the service's driver.
        parameters: what it is executed with.

    Raises:
        StatementError: a parameter has no value, or one that its type can't have; or what looks like a parameter isn't
            one, so that the server would refuse the statement.
        CompileError: a default in Python needs a connection.

    """
    if isinstance(clause, DDLElement):
        yield _checked(str(clause.compile(dialect=dialect)))
        return
    sets = list(parameters) if isinstance(parameters, Sequence) else [parameters or {}]
    keys = sorted(sets[0])  # as online, those of the first set are of all
    for values in sets:
        plain = clause.compile(dialect=dialect, column_keys=keys)
        defaults = _defaults(plain) if isinstance(plain, SQLCompiler) else {}
        yield _checked(str(_Compiler(dialect, clause, keys, defaults | dict(values))))


def _checked(sql: str) -> str:
    check_sendable(sql)
    if (name := stray_parameter(sql)) is not None:
        raise StatementError(
            f"{name} is no parameter: a name right before another colon isn't taken for one, and the server has none. "
            rf"Write CAST({name} AS …) for a cast"
        )
    return sql


def _defaults(statement: SQLCompiler) -> dict[str, Any]:
    """Return the values of the defaults in Python that a statement is executed with."""
    defaults = [(column, column.default) for column in statement.insert_prefetch]
    defaults += [(column, column.onupdate) for column in statement.update_prefetch]
    return {column.key: _value_of(column, default) for column, default in defaults}


def _value_of(column: Column[Any], default: Any) -> Any:
    if not default.is_callable:
        return default.arg
    try:
        return default.arg(None)
    except Exception as error:
        raise CompileError(
            f"The default of {column.table.name}.{column.name} needs a connection "
            f"({type(error).__name__}: {text_of(error)}): give the value, or run it online"
        ) from error


class _Compiler(_Base):  # type: ignore[misc, valid-type]
    """SQLAlchemy's compiler, which writes parameters as the constants of this module."""

    def __init__(self, dialect: Dialect, clause: ClauseElement, keys: list[str], values: Mapping[str, Any]) -> None:
        self._values, self._is_parameter, self._is_in_text = values, False, False
        super().__init__(dialect, clause, column_keys=keys, compile_kwargs={"literal_binds": True})

    def visit_textclause(self, textclause: TextClause, *arguments: Any, **options: Any) -> str:
        r"""Render ``text()``, whose escapes ``\:`` are replaced in the result, with its constants."""
        check_sendable(textclause.text)
        previous, self._is_in_text = self._is_in_text, True
        try:
            return str(super().visit_textclause(textclause, *arguments, **options)).replace(_BACKSLASH, "\\")
        finally:
            self._is_in_text = previous

    def render_literal_bindparam(self, bindparam: BindParameter[Any], **options: Any) -> str:
        """Render a parameter with the value that it has when the statement is executed."""
        options.setdefault("render_literal_value", self._value(bindparam))
        previous = self._is_parameter
        self._is_parameter = not (is_inline(bindparam) or bindparam.literal_execute)  # those are constants online too
        try:
            return str(super().render_literal_bindparam(bindparam, **options))
        finally:
            self._is_parameter = previous

    def render_literal_value(self, value: Any, type_: TypeEngine[Any]) -> str:
        """Render a value; where it isn't that of a parameter, as SQLAlchemy does."""
        if not self._is_parameter:
            return str(super().render_literal_value(value, type_))
        plain_type = undecorated(type_, self.dialect)
        try:
            processor = type_.dialect_impl(self.dialect).bind_processor(self.dialect)
            sent = processor(value) if processor else value
            if self.dialect.driver == "psycopg":
                return self._cast(type_, plain_type, self._sent_by_psycopg(sent))
            text = None if sent is None else constant(sent, plain_type, self.dialect)
        except Exception as error:  # a type's own code may raise anything, online too
            raise StatementError(f"A parameter of the type {type_!r} can't be {value!r}: {text_of(error)}") from error
        if text is not None and _has_its_type(text, plain_type):
            return text
        return self._cast(type_, plain_type, literal_in_any_mode(text))

    def _cast(self, type_: TypeEngine[Any], plain_type: TypeEngine[Any], sql: str) -> str:
        """Return a constant with the cast that a parameter of its type has."""
        check_sendable(sql)
        sql = sql.replace("\\", _BACKSLASH) if self._is_in_text else sql
        return str(self.render_bind_cast(type_, plain_type, sql)) if plain_type.render_bind_cast else sql

    @staticmethod
    def _sent_by_psycopg(value: Any) -> str:
        from service_migrations.libpq.literals import constant as constant_of_psycopg  # noqa: PLC0415 - may be absent

        return constant_of_psycopg(value)

    def _value(self, bindparam: BindParameter[Any]) -> Any:
        for values in (self._values, collected_parameters(self)):
            if bindparam.key in values:
                return values[bindparam.key]
        if bindparam.required:
            raise StatementError(f"A value is required for bind parameter {bindparam.key!r}")
        return bindparam.effective_value


def _has_its_type(text: str, column_type: TypeEngine[Any]) -> bool:
    """Whether a text is a constant of its type without quotes and cast."""
    if isinstance(column_type, Integer) and not isinstance(column_type, BigInteger | SmallInteger):
        return text.isdigit() and int(text) <= _LARGEST_INTEGER
    return isinstance(column_type, Boolean)

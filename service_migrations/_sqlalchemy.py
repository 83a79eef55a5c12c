"""The private names of SQLAlchemy that are used, checked on 2.0.58 and 2.1.9.

tests/upstream/test_private_names.py fails with the version where one of these names is gone.
"""

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Constraint, Dialect, Enum, Index, MetaData, Table
    from sqlalchemy.dialects.postgresql import ExcludeConstraint
    from sqlalchemy.sql.compiler import IdentifierPreparer, SQLCompiler
    from sqlalchemy.types import TypeEngine

from service_migrations.installation import require

__all__ = [
    "as_written",
    "collected_parameters",
    "connect_arguments_for",
    "copy_condition",
    "copy_enum",
    "copy_prefixes",
    "creation_order",
    "exclusion_expressions",
    "exclusion_parts",
    "expect_standard_strings",
    "final_name",
    "generated_name",
    "has_prefixes",
    "is_conditional",
    "is_created",
    "is_of_a_column",
    "is_of_a_type",
    "is_temporary",
    "is_unlogged",
    "never_reconnect",
    "restore_execution_options",
    "set_creation_order",
    "type_variants",
    "undecorated",
    "verbatim_dialect",
    "without_variants",
]

require("sqlalchemy")


def creation_order(constraint: "Constraint") -> int:
    """Return the number by which CREATE TABLE sorts a constraint."""
    return constraint._creation_order  # noqa: SLF001


def set_creation_order(constraint: "Constraint", number: int) -> None:
    """Set the number by which CREATE TABLE sorts a constraint."""
    constraint._creation_order = number  # noqa: SLF001


def is_of_a_type(constraint: "Constraint") -> bool:
    """Whether a constraint was created by the type of a column, as with ``Enum(create_constraint=True)``."""
    return constraint._type_bound  # noqa: SLF001


def copy_prefixes(table: "Table", copy: "Table") -> None:
    """Give a copy of a table the words that stand between CREATE and TABLE."""
    copy._prefixes = list(table._prefixes)  # noqa: SLF001


def exclusion_parts(constraint: "ExcludeConstraint") -> list[tuple[str | None, str]]:
    """Return the column, where it is one, and the operator of each element of an exclusion constraint."""
    return [
        (getattr(expression, "name", None), operator)
        for expression, _, operator in constraint._render_exprs  # noqa: SLF001
    ]


def copy_enum(enum: "Enum", metadata: "MetaData") -> "Enum":
    """Return a copy of an enum that belongs to a MetaData; by default it belongs to that of the original.

    With its table, SQLAlchemy copies the enum of a column, and not that of an array.
    """
    return enum.copy(_to_metadata=metadata)  # type: ignore[no-any-return, no-untyped-call]


def exclusion_expressions(constraint: "ExcludeConstraint") -> list[Any]:
    """Return the elements of an exclusion constraint: columns, expressions and texts."""
    return [expression for expression, _, _ in constraint._render_exprs]  # noqa: SLF001


def expect_standard_strings(dialect: "Dialect") -> None:
    """Let a dialect without a connection write a backslash as it is, as standard_conforming_strings has it since 9.1.

    SQLAlchemy 2.0 doubles it there, so that a script stores another text than the same revision online.
    """
    dialect._backslash_escapes = False  # type: ignore[attr-defined]  # noqa: SLF001


def is_conditional(constraint: "Constraint") -> bool:
    """Whether a function decides if CREATE TABLE includes a constraint."""
    return constraint._create_rule is not None  # noqa: SLF001


def copy_condition(part: "Constraint | Index", copy: "Constraint | Index") -> None:
    """Give a copy the condition of ``ddl_if()``."""
    copy._ddl_if = part._ddl_if  # noqa: SLF001


def is_created(part: "Constraint | Index", connection: "Connection") -> bool:
    """Whether ``create_all`` creates a part over a connection, by its ``ddl_if()``."""
    from sqlalchemy.schema import CreateIndex  # noqa: PLC0415 - imported by whoever has an index

    condition = part._ddl_if  # noqa: SLF001
    if condition is None:
        return True
    dialect = connection.dialect
    if part.__visit_name__ == "index":
        index: Any = part
        return bool(condition._should_execute(CreateIndex(index), index, connection))  # noqa: SLF001
    constraint: Any = part
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    return bool(constraint._should_create_for_compiler(compiler))  # noqa: SLF001


def is_of_a_column(index: "Index") -> bool:
    """Whether an index was created by ``index=True`` of a column."""
    return bool(index._column_flag)  # noqa: SLF001


def has_prefixes(table: "Table") -> bool:
    """Whether a table has prefixes, which are words between CREATE and TABLE, such as UNLOGGED."""
    return bool(table._prefixes)  # noqa: SLF001


def is_unlogged(table: "Table") -> bool:
    """Whether a table has the prefix UNLOGGED."""
    return "UNLOGGED" in _prefix_words(table)


def is_temporary(table: "Table") -> bool:
    """Whether a table has the prefix TEMPORARY or TEMP: it ends with the session that creates it."""
    return not _prefix_words(table).isdisjoint({"TEMPORARY", "TEMP"})


def _prefix_words(table: "Table") -> set[str]:
    return {word for prefix in table._prefixes for word in str(prefix).upper().split()}  # noqa: SLF001


def never_reconnect(connection: "Connection") -> None:
    """Forbid a connection to reconnect: a new one would not have the locks and the settings of the lost one."""
    name = "_Connection__can_reconnect"
    getattr(connection, name)  # setattr alone would not fail where the name is gone
    setattr(connection, name, False)


def connect_arguments_for(connection: Any, connect: Callable[..., Awaitable[Any]]) -> dict[str, Any]:
    """Return an argument of ``connect()`` by which the dialect for asyncpg takes a connection, once.

    The public ``async_creator`` of an engine leaves no other argument of ``connect()`` to it.

    Args:
        connection: the first one.
        connect: makes each other one, as of a revision that asks its engine for one.

    """
    unused = [connection]

    async def first_or_new(*arguments: Any, **options: Any) -> Any:
        return unused.pop() if unused else await connect(*arguments, **options)

    return {"async_creator_fn": first_or_new}


def restore_execution_options(connection: "Connection", options: Any) -> None:
    """Restore the execution options of a connection; the public method can only add options."""
    connection._execution_options = options  # noqa: SLF001


def type_variants(column_type: "TypeEngine[Any]") -> Mapping[str, "TypeEngine[Any]"]:
    """Return what ``with_variant`` has given a type, by the name of the dialect."""
    return column_type._variant_mapping  # noqa: SLF001


def without_variants(column_type: "TypeEngine[Any]") -> "TypeEngine[Any]":
    """Return a type without its variants; itself if it has none."""
    if not column_type._variant_mapping:  # noqa: SLF001
        return column_type
    bare = copy(column_type)
    bare._variant_mapping = type(column_type)._variant_mapping  # noqa: SLF001 - the empty one of the class
    return bare


def as_written(column_type: "TypeEngine[Any]") -> "TypeEngine[Any]":
    """Return a type for a driver without the argument that SQLAlchemy has added, which ``repr`` would show."""
    if column_type.__visit_name__ == "boolean":
        column_type._create_events = True  # type: ignore[attr-defined]  # noqa: SLF001
    return column_type


def final_name(preparer: "IdentifierPreparer", name: str) -> str:
    """Return the name of a constraint, shortened as in CREATE TABLE, without quotes."""
    final: Any = preparer.truncate_and_render_constraint_name(name, _alembic_quote=False)
    return str(final)


def generated_name(preparer: "IdentifierPreparer", part: "Constraint | Index") -> str | None:
    """Return the name of a constraint or an index after its naming convention, as ``final_name`` does."""
    name: Any = preparer.format_constraint(part, _alembic_quote=False)
    return None if name is None else str(name)


@lru_cache(maxsize=8)
def verbatim_dialect(dialect: "Dialect") -> "Dialect":
    """Return a dialect that writes SQL as it is, for a file or to be sent without parameters.

    That of a driver with ``%s`` for a parameter, such as psycopg, writes two percent signs for one.
    """
    if dialect.paramstyle not in ("format", "pyformat"):
        return dialect
    plain: Any = copy(dialect)
    plain.paramstyle, plain.positional = "named", False
    plain.__dict__.pop("_type_memos", None)  # the processors of literals, which double the sign too
    plain.identifier_preparer = plain.preparer(plain)
    plain.type_compiler_instance = plain.type_compiler = type(dialect.type_compiler_instance)(plain)
    return plain  # type: ignore[no-any-return]


def undecorated(column_type: "TypeEngine[Any]", dialect: "Dialect") -> "TypeEngine[Any]":
    """Return a dialect's type for a type without its decorators, which decides the cast of a parameter."""
    return column_type._unwrapped_dialect_impl(dialect)  # noqa: SLF001


def collected_parameters(compiler: "SQLCompiler") -> Mapping[str, Any]:
    """Return the values of ``params()`` of a whole statement; before SQLAlchemy 2.1 the parameters have them."""
    return getattr(compiler, "_collected_params", {})

"""The private and undocumented names of Alembic that are used, checked on 1.20.1.

tests/upstream/test_private_names.py fails with the version where one of these names is gone.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import wraps
from types import MappingProxyType
from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import BindParameter, CursorResult, Executable, Transaction, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.schema import DDLElement
from sqlalchemy.sql.visitors import iterate

__all__ = ["command_name", "continue_in", "wrap_revisions", "write_unchanged"]

_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


def command_name(options: Namespace) -> str | None:
    """Return the name of the command in the options that Alembic's ``CommandLine`` has parsed; None without one.

    An environment can't find it out in another way.
    """
    function, *_ = getattr(options, "cmd", (None,))
    return getattr(function, "__name__", None)


def wrap_revisions(
    context: MigrationContext, wrap: Callable[[MigrationContext, Callable[..., Any]], Callable[..., None]]
) -> None:
    """Let a context call, instead of each revision's function, the one that *wrap* returns for it.

    Alembic has a hook after each revision, and none around its function.
    """
    select_steps: Any = context._migrations_fn  # noqa: SLF001

    def wrapped_steps(*arguments: Any) -> Iterator[Any]:
        steps: Iterable[Any] = select_steps(*arguments)
        for step in steps:
            if not isinstance(step, RevisionStep):
                yield step
                continue
            wrapped = copy(step)  # the same steps may be selected again
            wrapped.migration_fn = wraps(step.migration_fn)(wrap(context, step.migration_fn))  # its name is logged
            yield wrapped

    context._migrations_fn = wrapped_steps  # noqa: SLF001


def continue_in(context: MigrationContext, transaction: Transaction) -> None:
    """Let a context end another transaction than the one that it began, as ``autocommit_block()`` does."""
    context._transaction = transaction  # noqa: SLF001


def write_unchanged(context: MigrationContext) -> None:
    """Let a context in offline mode write statements unchanged.

    Only the implementation of this context is replaced. Alembic has no hook for the text of a statement, and to
    register a class for PostgreSQL would change other uses of Alembic in this process.
    """
    context.impl = _Unchanged(context.dialect, context.connection, True, None, context.output_buffer, context.opts)


class _Unchanged(PostgresqlImpl):
    """PostgreSQL's implementation; without a ``__dialect__`` of its own it isn't registered."""

    def _exec(
        self,
        construct: Executable | str,
        execution_options: Mapping[str, Any] | None = None,
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] = _NO_PARAMETERS,
    ) -> CursorResult[Any] | None:
        if multiparams is not None or params:
            return super()._exec(construct, execution_options, multiparams, params)  # this refuses them
        clause: Any = text(construct) if isinstance(construct, str) else construct
        for part in iterate(clause):
            if isinstance(part, BindParameter) and part.required and part.value is None and part.callable is None:
                # as online; SQLAlchemy would write NULL
                raise InvalidRequestError(f"A value is required for bind parameter {part.key!r}")
        literal = self.literal_binds and not isinstance(clause, DDLElement)
        compiled = clause.compile(dialect=self.dialect, compile_kwargs={"literal_binds": True} if literal else {})
        statement = str(compiled).strip()
        # where "--" is in a string and not in a comment, the line break does no harm
        may_end_in_comment = "--" in statement.rpartition("\n")[2]
        self.static_output(statement + ("\n" if may_end_in_comment else "") + self.command_terminator)
        return None

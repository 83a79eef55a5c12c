"""What is private in Alembic, or no part of its documented interface, checked on 1.20.1.

tests/upstream/test_private_names.py fails with the version where one of these names is gone.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CursorResult, Executable, text
from sqlalchemy.schema import DDLElement

__all__ = ["command_name", "write_unchanged"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def command_name(options: Namespace) -> str | None:
    """Return the name of the command in the words that Alembic's ``CommandLine`` has parsed; None without one.

    In an environment, nothing else tells what it is run for.
    """
    function, *_ = getattr(options, "cmd", (None,))
    return getattr(function, "__name__", None)


def write_unchanged(context: MigrationContext) -> None:
    """Let a context in offline mode write statements unchanged.

    The implementation of this one context is replaced: Alembic has no hook for its text, and to register a class for
    PostgreSQL would change what an application does with an Alembic of its own in this process.
    """
    context.impl = _Unchanged(context.dialect, context.connection, True, None, context.output_buffer, context.opts)


class _Unchanged(PostgresqlImpl):
    """PostgreSQL's implementation; without a ``__dialect__`` of its own it isn't registered."""

    def _exec(
        self,
        construct: Executable | str,
        execution_options: Mapping[str, Any] | None = None,
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] = _NOTHING,
    ) -> CursorResult[Any] | None:
        if multiparams is not None or params:
            return super()._exec(construct, execution_options, multiparams, params)  # which refuses them
        clause: Any = text(construct) if isinstance(construct, str) else construct
        literal = self.literal_binds and not isinstance(clause, DDLElement)
        compiled = clause.compile(dialect=self.dialect, compile_kwargs={"literal_binds": True} if literal else {})
        statement = str(compiled).strip()
        # where it isn't a comment but in a string, a line of its own does no harm
        may_end_in_comment = "--" in statement.rpartition("\n")[2]
        self.static_output(statement + ("\n" if may_end_in_comment else "") + self.command_terminator)
        return None

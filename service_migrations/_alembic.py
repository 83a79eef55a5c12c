"""The private and undocumented names of Alembic that are used, checked on 1.20.1.

tests/upstream/test_private_names.py fails with the version where one of these names is gone.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from alembic.autogenerate import RevisionContext
from alembic.config import Config
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import Revision, RevisionMap
from alembic.util import PriorityDispatcher
from alembic.util.sqla_compat import _literal_bindparam
from sqlalchemy import BindParameter, CursorResult, Executable, String, Transaction, text
from sqlalchemy.engine.mock import MockConnection

from service_migrations.installation import require

__all__ = [
    "ServiceConfig",
    "answers_to_any_name",
    "check_steps",
    "command_name",
    "continue_in",
    "give_toml_table",
    "has_comparators",
    "is_inline",
    "version_locations",
    "widen_version_table",
    "wrap_revisions",
    "write_empty",
    "write_statements",
]

require("alembic")

_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


def answers_to_any_name(script: Script) -> bool:
    """Whether a revision's module answers to any name, by a ``__getattr__``, and so to what only Alembic asks for."""
    return hasattr(script.module, "_alembic_source_encoding")


def command_name(options: Namespace) -> str | None:
    """Return the name of the command in the options that Alembic's ``CommandLine`` has parsed; None without one.

    An environment can't find it out in another way.
    """
    function, *_ = getattr(options, "cmd", (None,))
    return getattr(function, "__name__", None)


def write_empty(config: Config, followed: str | None, **arguments: Any) -> Script | None:
    """Write a revision file as ``alembic revision`` does.

    Args:
        config: Alembic's configuration.
        followed: the id of the revision that it follows, which is the only head: then the other files aren't read.
        arguments: the other arguments of ``alembic.command.revision``.

    Raises:
        CommandError: as of ``alembic.command.revision``.

    """
    directory = ScriptDirectory.from_config(config)
    if followed is not None:
        directory.revision_map = RevisionMap(lambda: [Revision(followed, None)])
    arguments = {"autogenerate": False, "sql": False, "head": "head", "splice": False, **arguments}
    context = RevisionContext(config, directory, {"branch_label": None, "depends_on": None, **arguments})
    return next(iter(context.generate_scripts()))


class ServiceConfig(Config):
    """A configuration whose folders of ``prepend_sys_path`` are on ``sys.path`` once, however many histories are read.

    Alembic puts them in front whenever it reads a history: in an application that asks again and again, the path would
    grow for as long as it runs.
    """

    _prepended: ClassVar[set[str]] = set()

    def get_prepend_sys_paths_list(self) -> list[str] | None:
        """Put the folders in front, from where they were put before, and leave nothing to Alembic."""
        folders = super().get_prepend_sys_paths_list() or []
        others = list(sys.path)
        for folder in self._prepended.intersection(folders):
            with suppress(ValueError):  # other code has removed it
                others.remove(folder)
        self._prepended.update(folders)
        sys.path[:] = [*folders, *others]  # at once: another thread may import something
        return None


def give_toml_table(config: Config, table: Mapping[str, Any]) -> None:
    """Give a configuration its ``[tool.alembic]``; each would read it from pyproject.toml again."""
    config.toml_args["here"] = Path(str(config.toml_file_name)).absolute().parent.as_posix()
    vars(config)["toml_alembic_config"] = table


def wrap_revisions(
    context: MigrationContext, wrap: Callable[[MigrationContext, RevisionStep, bool], Callable[..., None]]
) -> None:
    """Let a context call, instead of each revision's function, the one that *wrap* returns for its step.

    It is also told whether another step follows.

    Alembic has a hook after each revision, and none around its function.
    """
    select_steps: Any = context._migrations_fn  # noqa: SLF001

    def wrapped_steps(*arguments: Any) -> Iterator[Any]:
        steps: list[Any] = list(select_steps(*arguments))
        for number, step in enumerate(steps, 1):
            if not isinstance(step, RevisionStep):
                yield step
                continue
            wrapped = copy(step)  # the same steps may be selected again
            function = wrap(context, step, number < len(steps))
            wrapped.migration_fn = wraps(step.migration_fn)(function)  # its name is logged
            yield wrapped

    context._migrations_fn = wrapped_steps  # noqa: SLF001


def check_steps(context: MigrationContext, check: Callable[[list[str]], None]) -> None:
    """Let a context call a function with the ids that its steps will write, before the first of them.

    Alembic selects the steps inside of ``run_migrations()``, and has no hook between the two.
    """
    select_steps: Any = context._migrations_fn  # noqa: SLF001

    def checked_steps(*arguments: Any) -> list[Any]:
        steps = list(select_steps(*arguments))
        check([revision for step in steps for revision in step.to_revisions])
        return steps

    context._migrations_fn = checked_steps  # noqa: SLF001


def widen_version_table(context: MigrationContext, characters: int) -> None:
    """Let a version table that a context creates hold ids of this length.

    Alembic's hook for it, ``version_table_impl``, is of a class that is registered for all uses in the process.
    """
    context._version.c.version_num.type = String(characters)  # noqa: SLF001


def version_locations(directory: ScriptDirectory) -> list[Path]:
    """Return the folders that a directory reads revisions from; later changes of its attributes have no effect."""
    return list(directory._version_locations)  # noqa: SLF001


def continue_in(context: MigrationContext, transaction: Transaction) -> None:
    """Let a context end another transaction than the one that it began, as ``autocommit_block()`` does."""
    context._transaction = transaction  # noqa: SLF001


def has_comparators(registered: PriorityDispatcher, *targets: str) -> bool:
    """Whether a comparator is registered for one of the targets, such as "table"."""
    return any(functions and key[0] in targets for key, functions in registered._registry.items())  # noqa: SLF001


Statements = Callable[..., Iterable[str]]
"""A function that returns the texts of a statement, of the dialect, with parameters."""


def write_statements(context: MigrationContext, statements: Statements) -> None:
    """Let a context in offline mode write the texts that a function returns for each statement.

    Only the implementation of this context is replaced. Alembic has no hook for the text of a statement, and to
    register a class for PostgreSQL would change other uses of Alembic in this process. A revision's own executions
    (``op.get_bind().execute``) keep their parameters, which Alembic drops.
    """
    impl = _Offline(context.dialect, context.connection, True, None, context.output_buffer, context.opts)
    impl.statements = statements
    context.impl = impl
    if isinstance(context.connection, MockConnection):
        context.connection._execute_impl = impl.execute_with  # noqa: SLF001


class _Offline(PostgresqlImpl):
    """PostgreSQL's implementation; without a ``__dialect__`` of its own it isn't registered."""

    statements: Statements

    def execute_with(self, construct: Executable, parameters: Any = None) -> None:
        """Write a statement with parameters."""
        for sql in self.statements(construct, self.dialect, parameters or None):
            statement = sql.strip()
            # where "--" is in a string and not in a comment, the line break does no harm
            may_end_in_comment = "--" in statement.rpartition("\n")[2]
            self.static_output(statement + ("\n" if may_end_in_comment else "") + self.command_terminator)

    def bulk_insert(self, table: Any, rows: list[dict[str, Any]], multiinsert: bool = True) -> None:
        """Write the rows as they are inserted online; Alembic would skip a type's own SQL for a parameter."""
        if not isinstance(rows, list):
            raise TypeError("List expected")
        if rows and not isinstance(rows[0], dict):
            raise TypeError("List of dictionaries expected")
        insert = table.insert().inline()
        if multiinsert and rows:
            self.execute_with(insert, rows)
        else:
            for row in rows:
                self.execute_with(insert.values(**row))

    def _exec(
        self,
        construct: Executable | str,
        execution_options: Mapping[str, Any] | None = None,  # noqa: ARG002 - Alembic's signature
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] = _NO_PARAMETERS,
    ) -> CursorResult[Any] | None:
        self.execute_with(text(construct) if isinstance(construct, str) else construct, multiparams or params)
        return None


def is_inline(parameter: BindParameter[Any]) -> bool:
    """Whether a parameter is one of ``op.inline_literal()``, which is a constant online too."""
    return isinstance(parameter, _literal_bindparam)

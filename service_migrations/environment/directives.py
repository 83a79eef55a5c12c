"""The operations of a comparison as a team's ``process_revision_directives`` finds them: those of Alembic.

A hook looks for ``CreateTableOp`` or, inside ``ModifyTableOps``, for ``AddColumnOp``, as Alembic's ``Rewriter`` does. A
change of the library is a container of such operations that no hook knows, so it is unpacked before the hook and packed
again after it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from alembic.operations.ops import ExecuteSQLOp, MigrateOperation, MigrationScript, ModifyTableOps, OpContainer

from service_migrations.autogenerate.changes.change import Change, Comment, Note, Step, in_table
from service_migrations.sql.quoting import escaped

__all__ = ["Hook", "as_directives"]

Hook = Callable[[Any, Any, list[MigrationScript]], None]
"""A function with the arguments of ``process_revision_directives``."""


def as_directives(hook: Hook) -> Hook:
    """Return a hook that calls another one with Alembic's own operations."""

    def process(context: Any, revision: Any, directives: list[MigrationScript]) -> None:
        origins: dict[int, _Origin] = {}
        for group in _groups(directives):
            group.ops = list(_unpacked(group.ops, origins))
        hook(context, revision, directives)
        for group in _groups(directives):
            group.ops = list(_packed(group.ops, origins))

    return process


class _Origin(NamedTuple):
    """The origin of an operation, which is kept with it: another object can't have its identity."""

    directive: MigrateOperation
    step: Step
    change: Change

    @property
    def step_left(self) -> Step:
        """The step, or the operation where a hook has changed it."""
        if isinstance(self.directive, ExecuteSQLOp) and isinstance(self.step, str):
            return self.step if self.directive.sqltext == escaped(self.step) else self.directive
        if isinstance(self.directive, ModifyTableOps) and self.directive.ops != [self.step]:
            return self.directive
        return self.step


def _groups(directives: Iterable[MigrationScript]) -> Iterator[OpContainer]:
    for script in directives:
        yield from (*script.upgrade_ops_list, *script.downgrade_ops_list)


def _unpacked(operations: Iterable[MigrateOperation], origins: dict[int, _Origin]) -> Iterator[MigrateOperation]:
    for operation in operations:
        if not isinstance(operation, Change) or all(isinstance(step, Note) for step in operation.forward):
            yield operation
            continue
        for step in operation.forward:
            directive = _directive(step)
            origins[id(directive)] = _Origin(directive, step, operation)
            yield directive


def _directive(step: Step) -> MigrateOperation:
    if isinstance(step, Note):
        return Comment(step)
    return ExecuteSQLOp(escaped(step)) if isinstance(step, str) else in_table(step)


def _packed(operations: Iterable[MigrateOperation], origins: dict[int, _Origin]) -> Iterator[MigrateOperation]:
    """Yield the operations that a hook has left, those of one change as one again."""
    pairs = [
        (operation, origins.get(id(operation)))
        for operation in operations
        if not isinstance(operation, OpContainer) or not operation.is_empty()
    ]
    for change, group in groupby(pairs, lambda pair: pair[1].change if pair[1] else None):
        if change is None:
            yield from (operation for operation, _ in group)
            continue
        steps = tuple(origin.step_left for _, origin in group if origin)
        if any(not isinstance(step, Note) for step in steps):
            yield replace(change, forward=steps)

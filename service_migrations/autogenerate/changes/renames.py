"""Renames of tables, columns and enum types.

A comparison can't tell one from a drop and an addition, so a person has to. The renames are then run on the server for
the time of the comparison: PostgreSQL carries keys, indexes, CHECKs, views and sequences along, and the comparison
finds what else differs.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from alembic.operations.ops import DropColumnOp, DropTableOp, MigrateOperation
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.catalog.search_path import SearchPath, service_path
from service_migrations.catalog.tables import TableState
from service_migrations.errors import UsageError
from service_migrations.failures.driver_errors import describe, sqlstate
from service_migrations.sql.quoting import VERBATIM, quoted

__all__ = ["PossibleRename", "Rename", "applied", "noted", "option", "possible_renames", "present_types"]

_DENIED = "42501"
_WRONG_STATEMENT = "42"
"""The class of SQLSTATEs for a statement that can't be run on these objects."""
_Dropped = tuple[str | None, str | None, str] | str
"""The schema, table and name of a dropped table or column, or the statement that drops something."""
_TAKEN = ("42P07", "42710")
"""A relation, or a type, that has the name."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A rename of a table, a column or an enum type.

    Attributes:
        schema: of the table or type; None where it is the default one.
        table: the table of a column, by the name that it has after all renames; None where a table or type is renamed.
        old: the name in the database.
        new: the name in the models.
        is_type: whether an enum type is renamed.

    """

    schema: str | None
    table: str | None
    old: str
    new: str
    is_type: bool = False

    @property
    def option(self) -> str:
        """The value of ``--rename`` for it."""
        return option(self.schema, self.table, self.old, self.new)

    @property
    def question(self) -> str:
        """The question whether it is one."""
        if self.table is None:
            return f"Was the {self._kind} {quoted(self.schema, self.old)} renamed to {quoted(self.new)}?"
        return f"Table {quoted(self.schema, self.table)}: Was {quoted(self.old)} renamed to {quoted(self.new)}?"

    @property
    def sql(self) -> str:
        """The statement that renames it."""
        if self.table is None:
            return f"ALTER {self._kind.upper()} {quoted(self.schema, self.old)} RENAME TO {quoted(self.new)}"
        table = quoted(self.schema, self.table)
        return f"ALTER TABLE {table} RENAME COLUMN {quoted(self.old)} TO {quoted(self.new)}"

    @property
    def _kind(self) -> str:
        return "type" if self.is_type else "table"

    @property
    def reverse(self) -> "Rename":
        """The rename of the downgrade."""
        return replace(self, old=self.new, new=self.old)

    @property
    def dropped(self) -> "_Dropped":
        """What a revision without it drops."""
        return f"DROP TYPE {quoted(self.schema, self.old)}" if self.is_type else (*self.place, self.old)

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Where its names are unique."""
        return self.schema, self.table

    def is_beside(self, other: "Rename") -> bool:
        """Whether both can be renames: they have no name in common."""
        return self.place != other.place or (self.old != other.old and self.new != other.new)


@dataclass(frozen=True, slots=True)
class PossibleRename(Note):
    """The comment at a dropped table, column or enum type, which may have been renamed."""

    renames: tuple[Rename, ...]


def option(schema: str | None, table: str | None, old: str, new: str) -> str:
    """Return the value of ``--rename`` for a rename; a name with a dot, a colon or a space is quoted as in SQL."""
    return ":".join(".".join(_word(name) for name in (schema, table, name) if name is not None) for name in (old, new))


def _word(name: str) -> str:
    needs_quotes = not name or any(character in '".:' or character.isspace() for character in name)
    return '"' + name.replace('"', '""') + '"' if needs_quotes else name


@contextmanager
def applied(connection: Connection, path: SearchPath, renames: Sequence[Rename]) -> Iterator[list[Change]]:
    """Run renames on the server, by the service's search path, until the end of the block; yield their changes.

    Raises:
        UsageError: PostgreSQL refuses one of them.

    """
    if not renames:
        yield []
        return
    savepoint = connection.begin_nested()
    try:
        steps = list(_in_order(renames))
        with service_path(connection, path.text):
            for step in steps:
                _run(connection, step)
        yield [Change(Phase.RENAME, (step.sql,), (step.reverse.sql,), step.sql) for step in steps]
    finally:
        savepoint.rollback()


def _run(connection: Connection, rename: Rename) -> None:
    try:
        connection.exec_driver_sql(rename.sql, execution_options=VERBATIM)
    except DBAPIError as error:
        state = sqlstate(error) or ""
        if state == _DENIED or not state.startswith(_WRONG_STATEMENT):
            raise
        hint = "Drop or rename that in a revision before this one, or choose another name." if state in _TAKEN else ""
        raise UsageError(f"PostgreSQL refuses {rename.sql}: {describe(error)}.", hint=hint) from error


def present_types(renames: Iterable[Rename]) -> dict[Key, str]:
    """Return the present names of the enum types among what is renamed, as SQL, by schema and new name."""
    return {(each.schema, each.new): quoted(each.schema, each.old) for each in renames if each.is_type}


def _in_order(renames: Sequence[Rename]) -> Iterator[Rename]:
    """Yield renames in a valid order: columns last, and a name that another one takes is freed before."""
    taken = {(rename.place, rename.new) for rename in renames}
    for group in (
        [each for each in renames if each.table is None],
        [each for each in renames if each.table is not None],
    ):
        aside = {
            rename: replace(rename, new=f"migrations_name_{number}")
            for number, rename in enumerate(group)
            if (rename.place, rename.old) in taken
        }
        yield from aside.values()
        for rename in group:
            yield replace(rename, old=aside[rename].new) if rename in aside else rename


def noted(changes: Sequence[Change], comparison: Comparison, service: str) -> list[Change]:
    """Return changes with a comment at each dropped table, column or enum type that may have been renamed."""
    possible: dict[_Dropped, list[Rename]] = {}
    for rename in _possible(comparison):
        possible.setdefault(rename.dropped, []).append(rename)
    noted_changes = []
    for change in changes:
        renames = [rename for step in change.forward for rename in possible.get(_dropped(step), ())]
        notes: list[Note] = [_comment(renames, service)] if renames else []
        notes += [
            _moved(*move, comparison.default)
            for move in _moves(comparison)
            if _place(move[0]) in map(_dropped, change.forward)
        ]
        noted_changes.append(replace(change, forward=(*notes, *change.forward)))
    return noted_changes


def possible_renames(operations: Iterable[MigrateOperation]) -> list[Rename]:
    """Return the renames that the comments of changes name."""
    changes = (operation for operation in operations if isinstance(operation, Change))
    steps = (step for change in changes for step in change.forward)
    return [rename for step in steps if isinstance(step, PossibleRename) for rename in step.renames]


def _possible(comparison: Comparison) -> Iterator[Rename]:
    """Yield the renames that would explain what is dropped, and something new that is like it."""
    dropped = [table for key, table in comparison.live.items() if key not in comparison.targets]
    new = [table for key, table in comparison.targets.items() if key not in comparison.live]
    for table in dropped:
        for other in new:
            if table.schema == other.schema and _columns(table) == _columns(other):
                yield Rename(table.schema, None, table.name, other.name)
    for pair in comparison.pairs.values():
        live, target = _columns(pair.live), _columns(pair.target)
        for name in [each for each in live if each not in target]:
            for new_name in [each for each in target if each not in live]:
                if live[name] == target[new_name]:
                    yield Rename(pair.live.schema, pair.live.name, name, new_name)
    yield from _possible_of_types(comparison)


def _possible_of_types(comparison: Comparison) -> Iterator[Rename]:
    new = [enum_type for key, enum_type in comparison.types.items() if key not in comparison.live_types]
    for dropped in comparison.dropped_types:
        for enum_type in new:
            if (dropped.schema, dropped.labels) == (enum_type.schema, enum_type.labels):
                yield Rename(dropped.schema, None, dropped.name, enum_type.name, is_type=True)


def _moves(comparison: Comparison) -> Iterator[tuple[TableState, TableState]]:
    """Yield each dropped table with a new one of its name and columns in another schema."""
    new = [table for key, table in comparison.targets.items() if key not in comparison.live]
    for table in (table for key, table in comparison.live.items() if key not in comparison.targets):
        same = (other for other in new if (other.name, [*other.columns]) == (table.name, [*table.columns]))
        yield from ((table, other) for other in same)


def _moved(table: TableState, other: TableState, default: str | None) -> Note:
    return Note(
        f"WARNING: what is in {table.sql} is lost. If it was moved to {other.sql}, delete this file and write by hand\n"
        f"(--empty), after CREATE SCHEMA: ALTER TABLE {table.sql} SET SCHEMA {quoted(other.schema or default or '')}\n"
        "Its types are moved likewise, by ALTER TYPE."
    )


def _place(table: TableState) -> tuple[str | None, str | None, str]:
    return table.schema, None, table.name


def _columns(table: TableState) -> dict[str, tuple[object, ...]]:
    """Return what a renamed column keeps, of each column."""
    return {
        column.name: (column.kind, column.not_null, column.identity, column.generated and column.default)
        for column in table.columns.values()
    }


def _dropped(step: Step) -> _Dropped:
    if isinstance(step, str):
        return step
    if isinstance(step, DropColumnOp):
        return step.schema, step.table_name, step.column_name
    return (step.schema, None, step.table_name) if isinstance(step, DropTableOp) else ""


def _comment(renames: Sequence[Rename], service: str) -> PossibleRename:
    first, new = renames[0], " or ".join(quoted(rename.new) for rename in renames)
    dropped = quoted(first.schema, first.table, first.old)
    effect = f"each table that has {dropped} is rewritten" if first.is_type else f"what is in {dropped} is lost"
    lines = [f"WARNING: {effect}. If it was renamed to {new}, delete this file and run:"]
    lines += [f'inv db.revision --service {service} -m "…" --rename {shlex.quote(each.option)}' for each in renames]
    return PossibleRename("\n".join(lines), tuple(renames))

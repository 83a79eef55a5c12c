"""The rows of a table that a database takes: the values whose checks hold together, and the columns that are left out.

Like ``probe.py``, which imports it, this file is run by the interpreter of the models, and imports SQLAlchemy alone.
"""

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING or __package__:
    from service_migrations.compat import rows
    from service_migrations.compat.statements import Statements
else:
    import rows
    from statements import Statements

__all__ = ["fit"]

_TRIES = 200
"""How many rows are tried until the checks of a table hold."""
_CHECK_VIOLATION = "23514"


def fit(statements: Statements, made: rows.Rows, table: sa.Table) -> dict[str, str]:
    """Choose the values of a plain row of a table, and return why columns are left out, by their names.

    Args:
        statements: what runs them.
        made: the maker of rows, which keeps the choice.
        table: the table.

    """
    _choose(statements, made, table)
    if left_out := _leave_out(statements, made, table):
        _choose(statements, made, table)
    return left_out


def _choose(statements: Statements, made: rows.Rows, table: sa.Table) -> None:
    """Choose the values of a plain row so that the checks of the table hold together."""
    chosen = made.chosen.setdefault(table.key, {})
    for _ in range(_TRIES):
        try:
            failed = statements.attempt(lambda: made.insert(statements.run, table))
        except rows.UnfillableError:
            return
        if failed is None or failed.sqlstate != _CHECK_VIOLATION or failed.table != table.key:
            return
        for column in _columns_of_check(table, failed.why):  # counts up, digit by digit
            chosen[column.name] = chosen.get(column.name, 0) + 1
            if chosen[column.name] < len(made.candidates(column)):
                break
            chosen[column.name] = 0
        else:
            return


def _leave_out(statements: Statements, made: rows.Rows, table: sa.Table) -> dict[str, str]:
    """Leave out the columns that keep a row from being made and aren't needed; return why, by column."""
    reasons: dict[str, str] = {}
    with suppress(rows.UnfillableError):
        if statements.attempt(lambda: made.insert(statements.run, table)) is None:
            return reasons
        if statements.attempt(lambda: made.insert(statements.run, table, only_needed=True)) is not None:
            return reasons
        for column in made.optional(table):
            given = {column.name: made.plain(column)}
            failed = statements.attempt(partial(made.insert, statements.run, table, only_needed=True, given=given))
            if failed is not None and failed.sqlstate != _CHECK_VIOLATION:
                made.left_out.add((table.key, column.name))
                reasons[f"{table.key}.{column.name}"] = f"{failed.why} [{failed.sqlstate}]"
    return reasons


def _columns_of_check(table: sa.Table, message: str) -> "list[sa.Column[Any]]":
    columns = [column for column in table.columns if rows.is_written(column) and not column.foreign_keys]
    checks = [
        each for each in rows.constraints(table) if isinstance(each, sa.CheckConstraint) and f'"{each.name}"' in message
    ]
    text = " ".join(str(check.sqltext) for check in checks)
    return [column for column in columns if rows.is_named_in(column, text)] or columns

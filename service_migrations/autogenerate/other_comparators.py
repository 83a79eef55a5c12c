"""The comparators of other packages for tables and columns, which Alembic's comparison of tables would call.

Those for the whole database are called by Alembic itself, after the library's own.
"""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import AlterColumnOp, ModifyTableOps, UpgradeOps
from alembic.runtime.plugins import Plugin
from sqlalchemy import Connection, Table

from service_migrations._alembic import has_comparators
from service_migrations._asyncpg import read_char_as_text
from service_migrations.autogenerate.comparison import Comparison
from service_migrations.autogenerate.hooks import TEAM_HOOKS, Key

__all__ = ["OtherComparators"]

_COMPARED = ("alembic.autogenerate.", "alembic.ext.", "service_migrations.")
"""The plugins that aren't of others: Alembic's, which would compare once more, and the library's."""


class OtherComparators:
    """The comparators that env.py has imported or named in ``autogenerate_plugins``, without Alembic's own."""

    def __init__(self, context: AutogenContext) -> None:
        self._context = context
        self._registered = comparators.branch()
        if "autogenerate_plugins" in context.opts.get(TEAM_HOOKS, ()):
            names = [name for name in context.opts["autogenerate_plugins"] if not name.startswith(_COMPARED)]
            left_out = [f"~{prefix}*" for prefix in _COMPARED]  # a pattern such as * means them too
            Plugin.populate_autogenerate_priority_dispatch(self._registered, [*names, *left_out])

    @property
    def are_for_tables(self) -> bool:
        """Whether there is one for tables or columns."""
        return has_comparators(self._registered, "table", "column")

    def prepare(self, connection: Connection) -> None:
        """Let them read the catalog as over psycopg2, for which they were written: ``"char"`` as text, not as bytes."""
        if connection.dialect.driver == "asyncpg" and has_comparators(
            self._registered, "autogenerate", "schema", "table", "column"
        ):
            read_char_as_text(connection.connection.driver_connection)

    def compare(self, comparison: Comparison, operations: UpgradeOps) -> None:
        """Add what they find: before the changes for a table that is dropped, after them for any other."""
        if not self.are_for_tables:
            return
        keys = sorted({*comparison.live, *comparison.targets}, key=str)
        dropped = [key for key in keys if key not in comparison.targets]
        operations_by_key = {key: list(self._of_table(comparison, key)) for key in keys}
        operations.ops[0:0] = [operation for key in dropped for operation in operations_by_key[key]]
        operations.ops.extend(operation for key in keys if key not in dropped for operation in operations_by_key[key])

    def _of_table(self, comparison: Comparison, key: Key) -> Iterator[ModifyTableOps]:
        schema, name = key
        live, model = comparison.hooks.reflected.get(key), comparison.models.get(key)
        table_operations = ModifyTableOps(name, [], schema=schema)
        if live is not None and model is not None:
            table_operations.ops.extend(self._of_columns(key, live, model))
        self._dispatch("table", table_operations, schema, name, live, model)
        if not table_operations.is_empty():
            yield table_operations

    def _of_columns(self, key: Key, live: Table, model: Table) -> Iterator[AlterColumnOp]:
        schema, name = key
        live_columns = {column.name: column for column in live.columns}
        for column in model.columns:
            if column.name in live_columns and not column.system:
                there = live_columns[column.name]
                operation = AlterColumnOp(
                    name, column.name, schema=schema, existing_type=there.type, existing_nullable=there.nullable
                )
                self._dispatch("column", operation, schema, name, column.name, there, column)
                if operation.has_changes():
                    yield operation

    def _dispatch(self, target: str, *arguments: Any) -> None:
        self._registered.dispatch(target, qualifier=self._context.dialect.name)(self._context, *arguments)

"""The options of ``context.configure()`` for comparing models with a database; no upgrade imports this module."""

import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from alembic.operations.ops import CreateTableOp, MigrateOperation, MigrationScript
from alembic.runtime.migration import MigrationContext

from service_migrations.autogenerate.change import Change
from service_migrations.autogenerate.operations import render_item
from service_migrations.autogenerate.plugin import PLUGIN
from service_migrations.autogenerate.rename_requests import Request
from service_migrations.autogenerate.renames import possible_renames
from service_migrations.errors import UsageError
from service_migrations.ownership.view import Ownership

__all__ = ["comparison_options"]

# before Alembic 1.19.2 it was part of alembic.autogenerate, and before 1.19 it didn't exist
_BY_NAME = ("alembic.ext.checkconstraint_byname",) if find_spec("alembic.ext") else ()
_PLUGINS = ("alembic.autogenerate.*", *_BY_NAME, PLUGIN)
"""The plugins of a comparison. Our own runs first; Alembic's are for a role that ours can't be used with."""


def comparison_options(
    ownership: Ownership, renames: Sequence[Request] = (), *, writes_revision: bool
) -> dict[str, Any]:
    """Return the options with which Alembic compares what a service may see of its database.

    Args:
        ownership: what the service may see.
        renames: the tables and columns that were renamed.
        writes_revision: whether a revision file is written from the differences.

    """
    options: dict[str, Any] = {
        "include_name": ownership.sees,
        "include_object": ownership.compares,
        "migrations_sees_type": ownership.sees_type,
        "autogenerate_plugins": _PLUGINS,
        "migrations_renames": renames,
        "render_item": render_item,
        # a comparison writes nothing, not even an empty version table
        "dont_mutate": True,
    }
    options["process_revision_directives"] = partial(_finish, writes_revision)
    return options


_OF_ENUM_TYPES = "alembic_postgresql_enum"
"""The plugin whose operations are left out: enum types are compared here, with their owners."""


def _finish(writes_revision: bool, context: MigrationContext, _: Any, directives: list[MigrationScript]) -> None:
    """Leave out what is compared twice, refuse what must be written by hand, and write no file without a change."""
    groups = [group for script in directives for group in script.upgrade_ops_list]
    for group in (*groups, *(group for script in directives for group in script.downgrade_ops_list)):
        group.ops = [each for each in group.ops if type(each).__module__.partition(".")[0] != _OF_ENUM_TYPES]
    if not writes_revision:
        return
    operations = [operation for group in groups for operation in group.ops]
    for operation in operations:
        if isinstance(operation, Change) and operation.refusal:
            raise UsageError(
                operation.refusal, service=context.opts["migrations_service"], hint=_rename_hint(operations)
            )
    for operation in operations:
        if isinstance(operation, CreateTableOp):
            operation.info = {}  # objects of the models, which would be written into the file
    if all(group.is_empty() for group in groups):
        directives.clear()


def _rename_hint(operations: Iterable[MigrateOperation]) -> str:
    """Return how to rename instead of dropping, where that is possible."""
    options = [shlex.quote(rename.option) for rename in possible_renames(operations)]
    return f"If it was renamed: --rename {' or --rename '.join(options)}." if options else ""

"""The options of ``context.configure()`` for comparing models with a database; no upgrade imports this module."""

import logging
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from alembic.operations.ops import CreateTableOp, MigrateOperation, MigrationScript, UpgradeOps
from alembic.runtime.migration import MigrationContext

from service_migrations.autogenerate.changes.change import Change
from service_migrations.autogenerate.changes.rename_requests import Request
from service_migrations.autogenerate.changes.renames import possible_renames
from service_migrations.autogenerate.operations import render_item
from service_migrations.autogenerate.plugin import PLUGIN
from service_migrations.autogenerate.uncompared import Uncompared, joined
from service_migrations.environment.other_packages import leave_out_compared_twice, leave_out_protected
from service_migrations.errors import MigrationError, UsageError
from service_migrations.history.baseline import digest
from service_migrations.ownership.view import Ownership

__all__ = ["comparison_options", "entry"]

logger = logging.getLogger(__name__)

# before Alembic 1.19.2 it was part of alembic.autogenerate, and before 1.19 it didn't exist
_BY_NAME = ("alembic.ext.checkconstraint_byname",) if find_spec("alembic.ext") else ()
_PLUGINS = ("alembic.autogenerate.*", *_BY_NAME, PLUGIN)
"""The plugins of a comparison. Our own runs first; Alembic's are for a role that ours can't be used with."""


def comparison_options(
    ownership: Ownership,
    renames: Sequence[Request] = (),
    *,
    writes_revision: bool,
    accepted: Collection[str] = (),
) -> dict[str, Any]:
    """Return the options with which Alembic compares what a service may see of its database.

    Args:
        ownership: what the service may see.
        renames: the tables and columns that were renamed.
        writes_revision: whether a revision file is written from the differences.
        accepted: the entries of differences that the baseline accepts, which no revision is written for.

    """
    left_out: set[tuple[str | None, str]] = set()

    def sees(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        is_left_out = kind == "table" and (parents.get("schema_name"), name) in left_out
        return not is_left_out and ownership.sees(name, kind, parents)

    def compares(item: Any, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        schema = getattr(item, "schema", None)
        is_left_out = kind == "table" and (None if schema == ownership.default else schema, name) in left_out
        return not is_left_out and ownership.compares(item, name, kind, reflected, other)

    options: dict[str, Any] = {
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": True,
        "include_name": sees,
        "include_object": compares,
        "migrations_left_out": left_out,
        "migrations_sees_type": ownership.sees_type,
        "autogenerate_plugins": _PLUGINS,
        "migrations_renames": renames,
        "render_item": render_item,
        "migrations_accepted": accepted,
        # a comparison writes nothing, not even an empty version table
        "dont_mutate": True,
    }
    options["process_revision_directives"] = partial(_finish, ownership, writes_revision)
    return options


def _finish(
    ownership: Ownership,
    writes_revision: bool,
    context: MigrationContext,
    _: Any,
    directives: list[MigrationScript],
) -> None:
    """Leave out what other packages must not change, and make a revision file of the rest, if one is written."""
    leave_out_compared_twice(directives)
    leave_out_protected(context, directives, ownership)
    if writes_revision:
        _finish_revision(context, directives)


def _finish_revision(context: MigrationContext, directives: list[MigrationScript]) -> None:
    """Leave out what is accepted or can't be compared, refuse what must be written by hand, and write no empty file."""
    uncompared = _without_uncompared(directives)
    for script in directives:
        for upgrade, downgrade in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True):
            if _leave_out(upgrade, context.opts["migrations_accepted"]):
                upgrade.reverse_into(downgrade)
    groups = [group for script in directives for group in script.upgrade_ops_list]
    operations = [operation for group in groups for operation in group.ops]
    for operation in operations:
        if isinstance(operation, Change) and operation.refusal:
            raise UsageError(
                operation.refusal, service=context.opts["migrations_service"], hint=_rename_hint(operations)
            )
        if isinstance(operation, CreateTableOp):
            operation.info = {}  # objects of the models, which would be written into the file
    if all(group.is_empty() for group in groups):
        directives.clear()
        if uncompared:
            raise joined(uncompared)
    for error in uncompared:
        logger.warning("This revision leaves a table as it is. %s", error)


def _without_uncompared(directives: Iterable[MigrationScript]) -> list[MigrationError]:
    """Leave out the tables that can't be compared, and return what is wrong with them."""
    errors: list[MigrationError] = []
    for script in directives:
        for group in (*script.upgrade_ops_list, *script.downgrade_ops_list):
            errors += [each.error for each in group.ops if isinstance(each, Uncompared) and each.error not in errors]
            group.ops = [each for each in group.ops if not isinstance(each, Uncompared)]
    return errors


def entry(change: Change) -> str:
    """Return the entry of a change for a baseline, with a hash of the SQL that would bring back what is there."""
    return f"{change.description} [{digest([step for step in change.backward if isinstance(step, str)])}]"


def _leave_out(operations: UpgradeOps, accepted: Collection[str]) -> bool:
    """Remove the changes that a baseline accepts, and what only makes these possible; return whether there are any."""
    kept = [op for op in operations.ops if not (isinstance(op, Change) and entry(op) in accepted)]
    if len(kept) == len(operations.ops):
        return False
    is_needed = any(not isinstance(op, Change) or op.description for op in kept)
    operations.ops[:] = kept if is_needed else []
    return True


def _rename_hint(operations: Iterable[MigrateOperation]) -> str:
    """Return how to rename instead of dropping, where that is possible."""
    options = [shlex.quote(rename.option) for rename in possible_renames(operations)]
    return f"If it was renamed: --rename {' or --rename '.join(options)}." if options else ""

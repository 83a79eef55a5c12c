"""The options of ``context.configure()`` for comparing models with a database: what they need, no upgrade imports."""

from importlib.util import find_spec
from typing import Any

from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext

from service_migrations.autogenerate.change import Change
from service_migrations.autogenerate.operations import render_item
from service_migrations.autogenerate.plugin import PLUGIN
from service_migrations.errors import UsageError
from service_migrations.ownership.view import Ownership

__all__ = ["comparison_options"]

# before Alembic 1.19.2 it was one of the others, and before 1.19 there was none
_BY_NAME = ("alembic.ext.checkconstraint_byname",) if find_spec("alembic.ext") else ()
_PLUGINS = ("alembic.autogenerate.*", *_BY_NAME, PLUGIN)
"""The comparison of our own comes first; Alembic's are for a role that it can't work for."""


def comparison_options(ownership: Ownership, *, writes_revision: bool) -> dict[str, Any]:
    """Return the options that make Alembic compare as a service sees its database.

    Args:
        ownership: what the service sees.
        writes_revision: whether a file is to be made of the differences.

    """
    options: dict[str, Any] = {
        "include_name": ownership.sees,
        "include_object": ownership.compares,
        "sees_type": ownership.sees_type,
        "autogenerate_plugins": _PLUGINS,
        "render_item": render_item,
        # a comparison writes nothing, not even an empty version table
        "dont_mutate": True,
    }
    if writes_revision:
        options["process_revision_directives"] = _drop_if_nothing_changed
    return options


def _drop_if_nothing_changed(context: MigrationContext, _: Any, directives: list[MigrationScript]) -> None:
    """Leave no file to be written where nothing changed, and refuse one that must be written by hand."""
    operations = [one for script in directives for group in script.upgrade_ops_list for one in group.ops]
    for operation in operations:
        if isinstance(operation, Change) and operation.refusal:
            raise UsageError(operation.refusal, service=context.opts["service"])
    if all(group.is_empty() for script in directives for group in script.upgrade_ops_list):
        directives.clear()

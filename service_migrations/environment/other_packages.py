"""The operations that comparators of other packages add, which know nothing of the services that share a database."""

import ast
import logging
from io import StringIO
from typing import Any

import sqlalchemy
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations
from alembic.operations.ops import MigrateOperation, MigrationScript
from alembic.runtime.migration import MigrationContext

from service_migrations.ownership.view import Ownership
from service_migrations.sql.destroyed import destroyed

__all__ = ["leave_out_compared_twice", "leave_out_protected"]

logger = logging.getLogger(__name__)

_OF_ENUM_TYPES = "alembic_postgresql_enum"
"""The plugin whose operations are left out: enum types are compared here, with their owners."""


def leave_out_compared_twice(directives: list[MigrationScript]) -> None:
    """Leave out what the library compares itself."""
    for group in (group for script in directives for group in (*script.upgrade_ops_list, *script.downgrade_ops_list)):
        group.ops = [each for each in group.ops if _package(each) != _OF_ENUM_TYPES]


def leave_out_protected(context: MigrationContext, directives: list[MigrationScript], ownership: Ownership) -> None:
    """Leave out the operations of other packages that would destroy objects of another service."""
    for script in directives:
        for upgrade, downgrade in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True):
            kept = []
            for operation in upgrade.ops:
                protected = ownership.protected(destroyed(_sql(context, operation))) if _is_of_others(operation) else ()
                if protected:
                    names = ", ".join(sorted(f"{each.kind} {each.name}" for each in protected))
                    logger.info("%s is left out: this service doesn't own %s", type(operation).__name__, names)
                else:
                    kept.append(operation)
            if len(kept) < len(upgrade.ops):
                upgrade.ops = kept
                upgrade.reverse_into(downgrade)


def _package(operation: object) -> str:
    return type(operation).__module__.partition(".")[0]


def _is_of_others(operation: object) -> bool:
    return _package(operation) not in ("alembic", "service_migrations")


def _sql(context: MigrationContext, operation: MigrateOperation) -> str:
    """Return the SQL that an operation of a revision runs.

    A package may have no other form of an operation than the code that it writes into the revision, so that is run
    offline, and where it needs a connection, its strings are taken.
    """
    rendering = AutogenContext(context)
    rendered = renderers.dispatch(operation)(rendering, operation)
    lines = [rendered] if isinstance(rendered, str) else rendered
    code = "\n".join([*sorted(rendering.imports), *lines])
    output = StringIO()
    offline = MigrationContext.configure(
        dialect=context.dialect, opts={"as_sql": True, "literal_binds": True, "output_buffer": output}
    )
    names: dict[str, Any] = {
        str(context.opts["alembic_module_prefix"]).partition(".")[0]: Operations(offline),
        str(context.opts["sqlalchemy_module_prefix"]).partition(".")[0]: sqlalchemy,
    }
    try:
        exec(code, names)  # noqa: S102 - what the revision would have
    except Exception:  # noqa: BLE001 - of the code of another package
        constants = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant))
        return ";\n".join(value for value in constants if isinstance(value, str))
    return output.getvalue()

"""Autogenerate: models compared with a database, each in PostgreSQL's own words, as a plugin of Alembic's.

Alembic's comparators read the models in Python and the database through reflection, and have to guess whether two
texts mean the same. Where the role may not make temporary tables they still do, by name.
"""

import logging
import re
import sys
from collections.abc import Iterable, Iterator

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import MetaData, text

from service_migrations.autogenerate import enums, tables
from service_migrations.autogenerate.change import Change, Phase
from service_migrations.autogenerate.comparison import Comparison
from service_migrations.autogenerate.dependents import obstacles
from service_migrations.autogenerate.normalise import NoTemporaryTablesError
from service_migrations.errors import ConfigurationError
from service_migrations.sql.quoting import literal, quoted

__all__ = ["PLUGIN"]

PLUGIN = "service_migrations.autogenerate.plugin"
"""Its name among autogenerate_plugins."""

logger = logging.getLogger(__name__)


def compare(context: AutogenContext, operations: UpgradeOps, schemas: Iterable[str | None]) -> PriorityDispatchResult:
    """Add all that differs to ``operations``, in an order that works, and leave nothing to Alembic's comparators."""
    connection, metadata = context.connection, context.metadata
    if connection is None or not isinstance(metadata, MetaData):
        return PriorityDispatchResult.CONTINUE
    try:
        found = sorted(_changes(Comparison(context, connection, metadata, schemas)), key=lambda one: one.phase)
    except NoTemporaryTablesError:
        logger.warning(
            "CHECKs, defaults and expressions were compared by name only: this role may make no temporary tables. "
            "The owner of the database can run: GRANT TEMPORARY ON DATABASE … TO …;"
        )
        return PriorityDispatchResult.CONTINUE
    except ConfigurationError as error:
        raise ConfigurationError(f"{context.opts.get('service', 'models')}: {error}") from error
    operations.ops.extend(one for one in found if one.forward or one.backward)
    return PriorityDispatchResult.STOP


def _changes(comparison: Comparison) -> list[Change]:
    """Return all changes; those of one phase in the order that they have to have."""
    altered = tables.altered(comparison)
    if altered:
        comparison.look_again(altered)
        altered = tables.altered(comparison)
    found = [*_types(comparison), *tables.dropped(comparison), *(one for some in altered.values() for one in some)]
    found += tables.created(comparison, set(altered))
    later = "\n".join(str(step) for one in found for step in one.forward if isinstance(step, str))
    later += "\n".join(
        sql for key in comparison.targets.keys() - comparison.live.keys() for sql in comparison.targets[key].creation
    )
    later += "\n".join(
        one.clause
        for pair in comparison.pairs.values()
        for one in pair.target.columns.values()
        if one.name not in pair.live.columns
    )
    for live, target in comparison.differing:
        commits = any(_named(label, later) for label in enums.added(live, target))
        found += enums.changes(live, target, commits=commits)
    return [*_schemas(comparison), *obstacles(comparison), *found] if found else []


def _types(comparison: Comparison) -> Iterator[Change]:
    for key, target in sorted(comparison.types.items(), key=str):
        if key not in comparison.live_types:
            steps = ((target.creation,), (f"DROP TYPE {target.sql}",))
            yield Change(Phase.TYPES_COME, *steps, f"create_type {target.sql} {enums.listed(target.labels)}")
    for key, live in sorted(comparison.live_types.items(), key=str):
        users = {comparison.key(user[1], user[2]) for user in live.users}
        if key not in comparison.types and users <= comparison.oids.keys():
            steps = ((f"DROP TYPE {live.sql}",), (live.creation,))
            yield Change(Phase.TYPES_GO, *steps, f"drop_type {live.sql} {enums.listed(live.labels)}")


def _schemas(comparison: Comparison) -> Iterator[Change]:
    """Yield the making of each schema that what comes is in and that isn't there.

    Not of the service's own, which is made before its first revision. The downgrade leaves it: somebody else may have
    made it where IF NOT EXISTS found it, or may have made something in it.
    """
    come = (comparison.targets.keys() - comparison.live.keys()) | (
        comparison.types.keys() - comparison.live_types.keys()
    )
    wanted = {schema for schema, _ in come if schema} - {comparison.metadata.schema}
    if wanted:
        there = set(comparison.connection.scalars(text("SELECT nspname::text FROM pg_namespace")))
        for name in sorted(wanted - there):
            steps = ((f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}",), ())
            yield Change(Phase.SCHEMAS_COME, *steps, f"create_schema {quoted(name)}")


def _named(label: str, sql: str) -> bool:
    """Whether SQL says a label, by itself or in an array."""
    return re.search(rf"""['{{,"]{re.escape(literal(label)[1:-1])}['}},"]""", sql) is not None


def setup(plugin: Plugin) -> None:
    """Register the comparison (Alembic calls this)."""
    plugin.add_autogenerate_comparator(compare, "schema", "tables", priority=DispatchPriority.FIRST)


Plugin.setup_plugin_from_module(sys.modules[__name__], PLUGIN)

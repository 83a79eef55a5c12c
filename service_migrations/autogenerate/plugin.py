"""The plugin of Alembic that compares models with a database, both as PostgreSQL describes them.

Alembic's comparators read the models in Python and the database by reflection, and have to guess whether two texts mean
the same. They are still used, with names only, where the role may not create temporary tables.
"""

import logging
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.exc import DBAPIError

from service_migrations._sqlalchemy import verbatim_dialect
from service_migrations.autogenerate.changes import enums, renames, tables
from service_migrations.autogenerate.changes.change import Change, Phase
from service_migrations.autogenerate.changes.dependents import refusals, users_of_types
from service_migrations.autogenerate.changes.rename_requests import Request, renames_of
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.compilation import refuse_uncompilable, uncompilable
from service_migrations.autogenerate.normalise import NoTemporaryTablesError
from service_migrations.autogenerate.other_comparators import OtherComparators
from service_migrations.autogenerate.references import impossible
from service_migrations.autogenerate.sequences import created, needed_schemas
from service_migrations.autogenerate.uncompared import Uncompared, failing, is_of_a_table, needing
from service_migrations.catalog.search_path import OWN_PATH, SearchPath, search_path, set_path
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.models.faults import faults_of
from service_migrations.models.tables.info import differing_info
from service_migrations.sql.quoting import VERBATIM, literal, quoted

__all__ = ["PLUGIN"]

PLUGIN = "service_migrations.autogenerate.plugin"
"""Its name among autogenerate_plugins."""

_SETTINGS = f"""
    DO $$ BEGIN
        SET LOCAL {SearchPath(OWN_PATH, ()).assignment};
        SET LOCAL quote_all_identifiers TO off;
        SET LOCAL bytea_output TO hex;
        SET LOCAL extra_float_digits TO 1;
        SET LOCAL DateStyle TO ISO;
        SET LOCAL jit TO off;
    END $$
"""
"""What counts until the end of the transaction, whatever the database or the role has set.

The path of our own queries; how the server prints expressions, since a revision's text is also run in databases that
read ``03/02/2020`` otherwise (how constants are read stays as it is: the models' were written for that); and that
nothing is compiled: the planner overestimates these queries, and compiling them takes longer than running them.
"""

logger = logging.getLogger(__name__)


def compare(context: AutogenContext, operations: UpgradeOps, schemas: Iterable[str | None]) -> PriorityDispatchResult:
    """Add all differences to ``operations`` in a valid order, instead of Alembic's comparators.

    A table that can't be compared, and what needs it, is added as ``Uncompared``.

    Raises:
        ConfigurationError: the models can't be written as SQL, for a reason that isn't one table's.

    """
    connection, metadata = context.connection, context.metadata
    if connection is None or not isinstance(metadata, MetaData):
        return PriorityDispatchResult.CONTINUE
    _write_verbatim(context)
    service, requests = context.opts.get("migrations_service"), context.opts.get("migrations_renames", ())
    _warn_of_differing_info(metadata, service)
    path, schemas, others = search_path(connection), tuple(schemas), OtherComparators(context)
    others.prepare(connection)
    connection.exec_driver_sql(_SETTINGS, execution_options=VERBATIM)
    sides = partial(Comparison, context, connection, metadata, schemas, path, reflects=others.are_for_tables)
    uncompared = _faulty(metadata, connection, service)
    try:
        comparison, changes = _all_changes(connection, sides, uncompared, requests, service)
    except NoTemporaryTablesError as error:
        if requests:
            message = f"--rename needs a comparison by the server, and {error.reason}."
            raise error.kind(message, service=service, hint=error.hint) from None
        logger.warning("CHECKs, defaults and expressions were compared by name only: %s. %s", error.reason, error.hint)
        for key, table in _models(metadata, connection).items():
            if key not in uncompared and (fault := uncompilable(table, context.dialect, service)):
                uncompared[key] = fault
        context.opts.get("migrations_left_out", set()).update(uncompared)
        operations.ops.extend(map(Uncompared, uncompared.values()))
        _prepare_alembic(connection, path, service, error)
        return PriorityDispatchResult.CONTINUE
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message, service=service, path=error.path, line=error.line, hint=error.hint
        ) from error
    except UsageError as error:
        raise UsageError(error.message, service=service, hint=error.hint) from error
    except (DBAPIError, MigrationError):
        raise
    except Exception:
        refuse_uncompilable(metadata, context.dialect, service)
        raise
    changes.sort(key=lambda change: change.phase)
    operations.ops.extend(map(Uncompared, uncompared.values()))
    operations.ops.extend(change for change in changes if change.forward or change.backward)
    set_path(connection, path.text)  # for the comparators of other packages, which are the team's
    others.compare(comparison, operations)
    return PriorityDispatchResult.STOP


def _write_verbatim(context: AutogenContext) -> None:
    """Let Alembic write into the file what it compiles as it is: a revision's SQL has no driver's ``%%``."""
    migration = context.migration_context
    context.dialect = migration.dialect = migration.impl.dialect = verbatim_dialect(migration.dialect)


def _warn_of_differing_info(metadata: MetaData, service: str | None) -> None:
    if differing := differing_info(metadata):
        logger.warning(
            "The exported MetaData of %s have different info[%s], so the comparators of other packages find none of "
            "them. Give them one value.",
            service,
            ", ".join(map(repr, differing)),
        )


def _models(metadata: MetaData, connection: Connection) -> dict[Key, Table]:
    default = connection.dialect.default_schema_name
    tables = metadata.tables.values()
    return {(None if table.schema == default else table.schema, table.name): table for table in tables}


def _faulty(metadata: MetaData, connection: Connection, service: str | None) -> dict[Key, MigrationError]:
    """Return the errors of the tables of the models that are wrong without any database."""
    default = connection.dialect.default_schema_name
    errors: dict[Key, MigrationError] = {}
    for (schema, name), error in faults_of(metadata).items():
        copy = ConfigurationError(error.message, service=service, path=error.path, line=error.line, hint=error.hint)
        errors[None if schema == default else schema, name] = copy
    return errors


def _all_changes(
    connection: Connection,
    sides: Callable[..., Comparison],
    uncompared: dict[Key, MigrationError],
    requests: Sequence[Request],
    service: str | None,
) -> tuple[Comparison, list[Change]]:
    """Return both sides and all changes of the tables that can be compared; the others are added to *uncompared*."""

    def attempt(only: Collection[Key]) -> Comparison:
        with connection.begin_nested():
            comparison = sides(uncompared, only)
            _changes(comparison)
            return comparison

    while True:
        try:
            with connection.begin_nested():  # a query that fails mustn't end the transaction
                comparison = sides(uncompared)
                more = needing(comparison, uncompared, service) or impossible(comparison, service)
                if not more:
                    requested = renames_of(requests, comparison)
                    with renames.applied(connection, comparison.path, requested) as renaming:
                        comparison = sides(uncompared) if renaming else comparison
                        changes = _changes(comparison, renames.present_types(requested))
                        noted = renames.noted(changes, comparison, str(service))
                        return comparison, [*renaming, *noted]
        except Exception as error:
            if not is_of_a_table(error):
                raise
            more = failing(attempt, error, service)
            if not more:
                raise
        uncompared |= more


def _prepare_alembic(
    connection: Connection, path: SearchPath, service: str | None, reason: NoTemporaryTablesError
) -> None:
    """Set the service's search path, by which Alembic's comparators find the tables.

    Raises:
        MigrationError: everybody may create in one of its schemas. SQLAlchemy's reflection qualifies no operator.

    """
    if open_schemas := connection.scalars(_OPEN, {"schemas": list(path.schemas)}).all():
        names = ", ".join(map(quoted, open_schemas))
        raise reason.kind(
            f"{reason.reason}, and a comparison by name isn't safe where everybody may create functions and operators "
            f"({names}).",
            service=service,
            hint=f"{reason.hint} Or its owner can run: REVOKE CREATE ON SCHEMA {names} FROM PUBLIC;",
        )
    set_path(connection, path.text)


_OPEN = text(
    """
    SELECT n.nspname FROM pg_namespace n WHERE n.nspname = ANY (CAST(:schemas AS text[])) AND EXISTS (
        SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
        WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
    ORDER BY 1
    """
)


def _changes(comparison: Comparison, present_types: Mapping[Key, str] = MappingProxyType({})) -> list[Change]:
    """Return all changes; those of one phase are in their final order.

    Enum types that this revision renames have their present names in *present_types*, as SQL.
    """
    altered = tables.altered(comparison)
    if altered:
        comparison.normalise_again(altered)
        altered = tables.altered(comparison)
    altering = (change for table_changes in altered.values() for change in table_changes)
    sequences_created = created(comparison.connection, comparison.models, comparison.live, comparison.default)
    changes = [*_types(comparison), *sequences_created, *tables.dropped(comparison), *altering]
    changes += tables.persistence(comparison)
    changes += tables.created(comparison, set(altered))
    later_sql = "\n".join(str(step) for change in changes for step in change.forward if isinstance(step, str))
    later_sql += "\n".join(
        sql for key in comparison.targets.keys() - comparison.live.keys() for sql in comparison.targets[key].creation
    )
    later_sql += "\n".join(
        column.clause
        for pair in comparison.pairs.values()
        for column in pair.target.columns.values()
        if column.name not in pair.live.columns
    )
    users = users_of_types(comparison, [live for live, _ in comparison.differing])
    for live, target in comparison.differing:
        added = enums.added(live, target)
        # a row of a column that gets the type may have the new value already
        commits = comparison.gives_type(live) if added else False
        commits = commits or any(_uses_label(later_sql, label) for label in added)
        present = present_types.get((live.schema, live.name), live.sql)
        changes += enums.changes(live, target, comparison.columns_kept(live), users[live], present, commits=commits)
    return [*_schemas(comparison), *refusals(comparison, changes), *changes] if changes else []


def _types(comparison: Comparison) -> Iterator[Change]:
    for key, target in sorted(comparison.types.items(), key=str):
        if key not in comparison.live_types:
            steps = ((target.creation,), (f"DROP TYPE {target.sql}",))
            yield Change(Phase.CREATE_TYPES, *steps, f"create_type {target.sql} {enums.listed(target.labels)}")
    for live in comparison.dropped_types:
        drop, create = (f"DROP TYPE {live.sql}",), (live.creation, *live.properties)
        yield Change(Phase.DROP_TYPES, drop, create, f"drop_type {live.sql} {enums.listed(live.labels)}")


def _schemas(comparison: Comparison) -> Iterator[Change]:
    """Yield the changes that create the missing schemas of new tables, types and sequences.

    The schema of the version table is created before the first revision. The downgrade keeps a schema: it may have
    existed before, or may contain other objects.
    """
    new = (comparison.targets.keys() - comparison.live.keys()) | (
        comparison.types.keys() - comparison.live_types.keys()
    )
    needed = {schema for schema, _ in new if schema} | needed_schemas(comparison.models.values())
    needed -= {comparison.created_schema}
    if needed:
        existing = set(comparison.connection.scalars(text("SELECT nspname::text FROM pg_namespace")))
        for name in sorted(needed - existing):
            steps = ((f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}",), ())
            yield Change(Phase.CREATE_SCHEMAS, *steps, f"create_schema {quoted(name)}")


def _uses_label(sql: str, label: str) -> bool:
    """Whether SQL contains a label, as a constant or in an array."""
    return re.search(rf"""['{{,"]{re.escape(literal(label)[1:-1])}['}},"]""", sql) is not None


def setup(plugin: Plugin) -> None:
    """Register the comparison; Alembic calls this."""
    plugin.add_autogenerate_comparator(compare, "schema", "tables", priority=DispatchPriority.FIRST)


Plugin.setup_plugin_from_module(sys.modules[__name__], PLUGIN)

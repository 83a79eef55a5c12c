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
from alembic.runtime.plugins import Plugin, _all_plugins
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import MetaData, text

from migrations import enums, tables
from migrations.changes import BY_HAND, Change, Note, Phase, literal
from migrations.errors import ConfigurationError
from migrations.pairs import converted, remade
from migrations.sides import Sides
from migrations.twin import NoTwinError

__all__ = ["PLUGIN"]

PLUGIN = "migrations.autogenerate"
"""Its name among autogenerate_plugins."""

logger = logging.getLogger(__name__)

_VIEWS = """
SELECT DISTINCT d.refobjid::bigint, a.attname, v.relname FROM pg_depend d
JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND v.relkind IN ('v', 'm')
    AND d.refobjid = ANY(:oids) AND v.oid <> d.refobjid
"""


def compare(context: AutogenContext, operations: UpgradeOps, schemas: Iterable[str | None]) -> PriorityDispatchResult:
    """Add all that differs to ``operations``, in an order that works, and leave nothing to Alembic's comparators."""
    connection, metadata = context.connection, context.metadata
    if connection is None or not isinstance(metadata, MetaData):
        return PriorityDispatchResult.CONTINUE
    try:
        found = sorted(_changes(Sides(context, connection, metadata, schemas)), key=lambda one: one.phase)
    except NoTwinError:
        logger.warning(
            "CHECKs, defaults and expressions were compared by name only: this role may make no temporary tables. "
            "The owner of the database can run: GRANT TEMPORARY ON DATABASE … TO …;"
        )
        return PriorityDispatchResult.CONTINUE
    except ConfigurationError as error:
        raise ConfigurationError(f"{context.opts.get('service', 'models')}: {error}") from error
    operations.ops.extend(one for one in found if one.forward or one.backward)
    return PriorityDispatchResult.STOP


def _changes(sides: Sides) -> list[Change]:
    """Return all changes; those of one phase in the order that they have to have."""
    altered = tables.altered(sides)
    if altered:
        sides.look_again(altered)
        altered = tables.altered(sides)
    found = [*_types(sides), *tables.dropped(sides), *(one for some in altered.values() for one in some)]
    found += tables.created(sides, set(altered))
    later = "\n".join(str(step) for one in found for step in one.forward if isinstance(step, str))
    later += "\n".join(sql for key in sides.targets.keys() - sides.live.keys() for sql in sides.targets[key].creation)
    later += "\n".join(
        one.clause
        for pair in sides.pairs.values()
        for one in pair.target.columns.values()
        if one.name not in pair.live.columns
    )
    for live, target in sides.differing:
        commits = any(_named(label, later) for label in enums.added(live, target))
        found += enums.changes(live, target, commits=commits)
    return [*_in_the_way(sides), *found]


def _types(sides: Sides) -> Iterator[Change]:
    for key, target in sorted(sides.types.items(), key=str):
        if key not in sides.live_types:
            steps = ((target.creation,), (f"DROP TYPE {target.sql}",))
            yield Change(Phase.TYPES_COME, *steps, f"create_type {target.sql} {enums.listed(target.labels)}")
    for key, live in sorted(sides.live_types.items(), key=str):
        users = {sides.key(user[1], user[2]) for user in live.users}
        if key not in sides.types and users <= sides.oids.keys():
            steps = ((f"DROP TYPE {live.sql}",), (live.creation,))
            yield Change(Phase.TYPES_GO, *steps, f"drop_type {live.sql} {enums.listed(live.labels)}")


def _in_the_way(sides: Sides) -> Iterator[Change]:
    """Yield a refusal for each view that uses what can't be changed or dropped below it."""
    for live, _ in sides.differing:
        foreign = sorted(user[2] for user in live.users if user[0] in "rpf" and sides.key(*user[1:3]) not in sides.oids)
        if foreign and live.oids <= sides.rebuilt.forward:
            line = f"the type {live.sql} has to be made anew, and {', '.join(foreign)}, which isn't ours, uses it"
            yield Change(Phase.LABELS, (Note(line),), (), refusal=f"{line}. Agree on it with its service first.")
    gone = {
        (sides.oids[key], name)
        for key, shape in sides.live.items()
        if key not in sides.targets
        for name in shape.columns
    }
    for key, pair in sides.pairs.items():
        gone |= {(sides.oids[key], name) for name in pair.live.columns if name not in pair.target.columns}
        moved = (*converted(pair, sides.rebuilt).items(), *remade(pair, sides.rebuilt).items())
        gone |= {(sides.oids[key], name) for name, when in moved if when[0]}
    if not gone:
        return
    places = {oid: sides.live[key].sql for key, oid in sides.oids.items()}
    for oid, column, view in sides.connection.execute(text(_VIEWS), {"oids": sorted({oid for oid, _ in gone})}):
        if (oid, column) in gone:
            line = f"the view {view} uses {places[oid]}.{column}, which can't be changed or dropped below it"
            yield Change(Phase.LABELS, (Note(line),), (), refusal=f"{line}. {BY_HAND}")


def _named(label: str, sql: str) -> bool:
    """Whether SQL says a label, by itself or in an array."""
    return re.search(rf"""['{{,"]{re.escape(literal(label)[1:-1])}['}},"]""", sql) is not None


def setup(plugin: Plugin) -> None:
    """Register the comparison (Alembic calls this)."""
    plugin.add_autogenerate_comparator(compare, "schema", "tables", priority=DispatchPriority.FIRST)


if PLUGIN not in _all_plugins:
    Plugin.setup_plugin_from_module(sys.modules[__name__], PLUGIN)

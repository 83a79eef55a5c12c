"""Dependent objects that keep PostgreSQL from changing or dropping a table, column or type.

Autogenerate drops and adds a table's own parts around a change. It can't recreate a view, a trigger, a policy or a
foreign key of another service, so it refuses a change that needs that: the revision would fail when it runs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service_migrations.autogenerate.change import Change, Note, Phase
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.constraints import keys_of
from service_migrations.autogenerate.table_pair import NEITHER, converted_columns, recreated_columns

__all__ = ["refusals"]

_USERS = """
SELECT d.refobjid::bigint AS oid, a.attname AS part, u.type AS kind, u.identity AS name,
    coalesce(r.ev_class, t.tgrelid, p.polrelid)::bigint AS home
FROM pg_depend d
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
CROSS JOIN pg_identify_object(CASE WHEN v.oid IS NULL THEN d.classid ELSE v.tableoid END, coalesce(v.oid, d.objid), 0) u
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(:oids) AND d.deptype = 'n'
    AND d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass)
ORDER BY kind, name, part
"""
"""The objects that use columns; ``home`` is the table that an object is dropped with. A view appears by its rule."""

_FOREIGN_KEYS = """
SELECT c.confrelid::bigint AS oid, c.conname AS name, c.conrelid::regclass::text AS home, i.relname AS index,
    far.attname AS part, format_type(near.atttypid, near.atttypmod) AS type
FROM pg_constraint c JOIN pg_class i ON i.oid = c.conindid CROSS JOIN unnest(c.conkey, c.confkey) AS k(near, far)
JOIN pg_attribute near ON near.attrelid = c.conrelid AND near.attnum = k.near
JOIN pg_attribute far ON far.attrelid = c.confrelid AND far.attnum = k.far
WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = ANY(:oids)
    AND coalesce(pg_partition_root(c.conrelid), c.conrelid) <> ALL(:oids)
ORDER BY home, name, k.near
"""
"""Foreign keys of tables that this service doesn't see; the keys of a partition are its parent's."""

_CHILDREN = """
SELECT i.inhparent::bigint AS oid, i.inhrelid::regclass::text AS name
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = ANY(:oids) AND i.inhrelid <> ALL(:oids) AND NOT c.relispartition ORDER BY name
"""
"""Tables that inherit; a partition is dropped and created with its parent."""


def refusals(comparison: Comparison) -> Iterator[Change]:
    """Yield a refusal for each object that prevents a change and that the service can't recreate."""
    yield from _types(comparison)
    yield from _users(comparison)
    yield from _foreign_keys(comparison)
    yield from _children(comparison)


def _types(comparison: Comparison) -> Iterator[Change]:
    for live, _ in comparison.differing:
        foreign = sorted(
            user[2] for user in live.users if user[0] in "rpf" and comparison.key(*user[1:3]) not in comparison.oids
        )
        if foreign and live.oids <= comparison.recreated_types.up:
            reason = f"the type {live.sql} has to be recreated, and {', '.join(foreign)}, which isn't ours, uses it"
            yield _refusal(reason, "Agree on it with its service first.")


def _users(comparison: Comparison) -> Iterator[Change]:
    keys = {oid: key for key, oid in comparison.oids.items()}
    dropped = {oid for oid, key in keys.items() if key not in comparison.targets}
    changed = _dropped_columns(comparison) | {
        (comparison.oids[key], name)
        for key, pair in comparison.pairs.items()
        for name, directions in converted_columns(pair, comparison.recreated_types).items()
        if directions.up
    }
    oids = dropped | {oid for oid, _ in changed}
    for user in _query(comparison, _USERS, oids) if oids else ():
        if (user.oid, user.part) in changed or (user.oid in dropped and user.home != user.oid):
            used = _describe(comparison, keys[user.oid], user.part)
            yield _refusal(
                f"the {user.kind} {user.name} uses {used}, so PostgreSQL can't change or drop that",
                f"Write this revision by hand (--empty): drop the {user.kind}, make the change, create the {user.kind} "
                "again.",
            )


def _foreign_keys(comparison: Comparison) -> Iterator[Change]:
    keys = {oid: key for key, oid in comparison.oids.items()}
    dropped_columns = _dropped_columns(comparison)
    for row in _query(comparison, _FOREIGN_KEYS, keys.keys()):
        key = keys[row.oid]
        pair, column, reason = comparison.pairs.get(key), _describe(comparison, key, row.part), ""
        if pair is None:
            reason = f"needs {_describe(comparison, key)}, which this would drop"
        elif (row.oid, row.part) in dropped_columns:
            reason = f"needs {column}, which this would drop"
        elif keys_of(pair, comparison.recreated_types, comparison.named[key]).indexes.get(row.index, NEITHER).up:
            reason = f"needs {row.index} of {_describe(comparison, key)}, which this would drop"
        else:
            live, target = pair.live.columns[row.part], pair.target.columns[row.part]
            if live.kind != target.kind and not _is_valid_reference(comparison, row.type, target.kind):
                reason = f"can't lead from {row.type} to {column} as {target.kind}"
        if reason:
            yield _refusal(
                f"the foreign key {row.name} of {row.home} {reason}",
                f"Agree on it with the service that has {row.home} first; `inv db.owners` names it.",
            )


def _children(comparison: Comparison) -> Iterator[Change]:
    dropped = {oid: key for key, oid in comparison.oids.items() if key not in comparison.targets}
    for child in _query(comparison, _CHILDREN, dropped) if dropped else ():
        reason = f"the table {child.name} inherits from {_describe(comparison, dropped[child.oid])}"
        yield _refusal(f"{reason}, so PostgreSQL can't drop that", "Write this revision by hand (--empty).")


def _dropped_columns(comparison: Comparison) -> set[tuple[int, str]]:
    """Return the columns that an upgrade drops or recreates, of the tables that both sides have."""
    columns = set()
    for key, pair in comparison.pairs.items():
        dropped = pair.live.columns.keys() - pair.target.columns.keys()
        recreated = {
            name for name, directions in recreated_columns(pair, comparison.recreated_types).items() if directions.up
        }
        columns |= {(comparison.oids[key], name) for name in dropped | recreated}
    return columns


def _is_valid_reference(comparison: Comparison, near: str, far: str) -> bool:
    """Whether PostgreSQL accepts a foreign key from a column of one type to a column of another."""
    savepoint = comparison.connection.begin_nested()
    try:
        comparison.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE far (key {far} UNIQUE)")
        comparison.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE near (key {near} REFERENCES pg_temp.far (key))")
    except DBAPIError:
        return False
    finally:
        savepoint.rollback()
    return True


def _query(comparison: Comparison, sql: str, oids: Iterable[int]) -> list[Any]:
    return list(comparison.connection.execute(text(sql), {"oids": sorted(oids)}))


def _describe(comparison: Comparison, key: Key, column: str | None = None) -> str:
    """Return the name of a table of the database, or of a column of it, for a message."""
    return f"{comparison.live[key].sql}.{column}" if column else comparison.live[key].sql


def _refusal(reason: str, hint: str) -> Change:
    return Change(Phase.ADD_LABELS, (Note(reason),), (), refusal=f"{reason}. {hint}")

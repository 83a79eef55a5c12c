"""Obstacles: what others have built on a table, which makes PostgreSQL refuse to change or drop what is below it.

Autogenerate takes a table's own parts out of the way and puts them back. A view, a trigger, a policy or another
service's foreign key it can't make again, so a revision that needs one gone is refused: it would be written, reviewed,
and fail.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service_migrations.autogenerate.change import Change, Note, Phase
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.constraints import keys_of
from service_migrations.autogenerate.table_pair import NEITHER, converted, remade

__all__ = ["obstacles"]

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
"""What names columns; ``home`` is the table that it is dropped with. A view is named by its rule."""

_FOREIGN_KEYS = """
SELECT c.confrelid::bigint AS oid, c.conname AS name, c.conrelid::regclass::text AS home, i.relname AS index,
    far.attname AS part, format_type(near.atttypid, near.atttypmod) AS type
FROM pg_constraint c JOIN pg_class i ON i.oid = c.conindid CROSS JOIN unnest(c.conkey, c.confkey) AS k(near, far)
JOIN pg_attribute near ON near.attrelid = c.conrelid AND near.attnum = k.near
JOIN pg_attribute far ON far.attrelid = c.confrelid AND far.attnum = k.far
WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = ANY(:oids) AND c.conrelid <> ALL(:oids)
ORDER BY home, name, k.near
"""
"""Those of tables that this service doesn't see; a partition's are its parent's."""


def obstacles(comparison: Comparison) -> Iterator[Change]:
    """Yield a refusal for each thing that the service can't take out of the way of its own changes."""
    yield from _types(comparison)
    yield from _users(comparison)
    yield from _foreign_keys(comparison)


def _types(comparison: Comparison) -> Iterator[Change]:
    for live, _ in comparison.differing:
        foreign = sorted(
            user[2] for user in live.users if user[0] in "rpf" and comparison.key(*user[1:3]) not in comparison.oids
        )
        if foreign and live.oids <= comparison.rebuilt.forward:
            line = f"the type {live.sql} has to be made anew, and {', '.join(foreign)}, which isn't ours, uses it"
            yield _refusal(line, "Agree on it with its service first.")


def _users(comparison: Comparison) -> Iterator[Change]:
    keys = {oid: key for key, oid in comparison.oids.items()}
    dropped = {oid for oid, key in keys.items() if key not in comparison.targets}
    changed = _dropped_columns(comparison) | {
        (comparison.oids[key], name)
        for key, pair in comparison.pairs.items()
        for name, when in converted(pair, comparison.rebuilt).items()
        if when[0]
    }
    oids = dropped | {oid for oid, _ in changed}
    for one in _ask(comparison, _USERS, oids) if oids else ():
        if (one.oid, one.part) in changed or (one.oid in dropped and one.home != one.oid):
            place, what = _place(comparison, keys[one.oid], one.part), one.kind
            yield _refusal(
                f"the {what} {one.name} uses {place}, which can't be changed or dropped below it",
                f"Write this revision by hand (--empty): drop the {what}, make the change, make the {what} again.",
            )


def _foreign_keys(comparison: Comparison) -> Iterator[Change]:
    keys = {oid: key for key, oid in comparison.oids.items()}
    gone = _dropped_columns(comparison)
    for one in _ask(comparison, _FOREIGN_KEYS, keys.keys()):
        key = keys[one.oid]
        pair, place, lost = comparison.pairs.get(key), _place(comparison, key, one.part), ""
        if pair is None:
            lost = f"needs {_place(comparison, key)}, which this would drop"
        elif (one.oid, one.part) in gone:
            lost = f"needs {place}, which this would drop"
        elif keys_of(pair, comparison.rebuilt, comparison.named[key]).indexes.get(one.index, NEITHER)[0]:
            lost = f"needs {one.index} of {_place(comparison, key)}, which this would drop"
        else:
            live, target = pair.live.columns[one.part], pair.target.columns[one.part]
            if live.kind != target.kind and not _fits(comparison, one.type, target.kind):
                lost = f"can't lead from {one.type} to {place} as {target.kind}"
        if lost:
            yield _refusal(
                f"the foreign key {one.name} of {one.home} {lost}",
                f"Agree on it with the service that has {one.home} first; `inv db.owners` names it.",
            )


def _dropped_columns(comparison: Comparison) -> set[tuple[int, str]]:
    """Return the columns that go, for good or to be made anew, of the tables that stay."""
    found = set()
    for key, pair in comparison.pairs.items():
        again = {name for name, when in remade(pair, comparison.rebuilt).items() if when[0]}
        found |= {
            (comparison.oids[key], name) for name in (pair.live.columns.keys() - pair.target.columns.keys()) | again
        }
    return found


def _fits(comparison: Comparison, near: str, far: str) -> bool:
    """Whether PostgreSQL takes a foreign key from a column of one type to a column of another."""
    savepoint = comparison.connection.begin_nested()
    try:
        comparison.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE far (key {far} UNIQUE)")
        comparison.connection.exec_driver_sql(f"CREATE TEMPORARY TABLE near (key {near} REFERENCES pg_temp.far (key))")
    except DBAPIError:
        return False
    finally:
        savepoint.rollback()
    return True


def _ask(comparison: Comparison, sql: str, oids: Iterable[int]) -> list[Any]:
    return list(comparison.connection.execute(text(sql), {"oids": sorted(oids)}))


def _place(comparison: Comparison, key: Key, column: str | None = None) -> str:
    """Return a table of the database, or a column of it, as a person would write it."""
    return f"{comparison.live[key].sql}.{column}" if column else comparison.live[key].sql


def _refusal(line: str, mend: str) -> Change:
    return Change(Phase.LABELS, (Note(line),), (), refusal=f"{line}. {mend}")

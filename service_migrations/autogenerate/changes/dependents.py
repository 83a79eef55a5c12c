"""Objects that keep PostgreSQL from changing, dropping or creating a table, column or type.

Autogenerate drops and adds a table's own parts around a change. It can't recreate a view, a trigger, a policy, a
function or a foreign key of another service, so it refuses a change that needs that: the revision would fail when it
runs. What PostgreSQL drops or rebuilds by itself is no reason to refuse. Likewise a name that another object has.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alembic.operations.ops import (
    CreateIndexOp,
    CreateTableOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    DropTableOp,
)
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, text

from service_migrations.autogenerate.changes.change import Change, Note, Phase
from service_migrations.autogenerate.changes.constraints import keys_of
from service_migrations.autogenerate.changes.inheritance.own_columns import other_defaults
from service_migrations.autogenerate.changes.matches import Matches
from service_migrations.autogenerate.changes.table_pair import NEITHER, Pair, converted_columns, recreated_columns
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.enum_types import EnumType
from service_migrations.autogenerate.references import is_valid_reference, refused_by_partitions
from service_migrations.autogenerate.sequences import new_sequences
from service_migrations.catalog.search_path import OWN_PATH, SHOWN, set_path
from service_migrations.sql.quoting import quoted

__all__ = ["refusals", "users_of_columns", "users_of_types"]

_USERS = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")

_CATALOGS = {"new type": ("type",), "new table": ("relation", "type"), "new relation": ("relation",)}
"""Where a name may be once in a schema: a table has a row type."""

_FOREIGN_KEYS = f"""
SELECT c.confrelid::bigint AS oid, c.conname AS name, c.conrelid::bigint AS home_oid,
    c.conrelid::regclass::text AS home, i.relname AS index,
    far.attname AS part, format_type(near.atttypid, near.atttypmod) AS type
FROM {SHOWN} JOIN pg_constraint c ON shown.path IS NOT NULL
JOIN pg_class i ON i.oid = c.conindid CROSS JOIN unnest(c.conkey, c.confkey) AS k(near, far)
JOIN pg_attribute near ON near.attrelid = c.conrelid AND near.attnum = k.near
JOIN pg_attribute far ON far.attrelid = c.confrelid AND far.attnum = k.far
WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = ANY(:oids)
    AND coalesce(pg_partition_root(c.conrelid), c.conrelid) <> ALL(:oids)
ORDER BY home, name, k.near
"""  # noqa: S608 - a constant
"""Foreign keys of tables that this service doesn't see; the keys of a partition are its parent's."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that an upgrade drops, changes or creates: a kind of dependents.sql, and a text for a message."""

    kind: str
    oid: int
    name: str | None
    text: str
    schema: str | None = None
    type: int | None = None


def refusals(comparison: Comparison, changes: Iterable[Change]) -> Iterator[Change]:
    """Yield a refusal for the objects that prevent one of the changes and that the service can't recreate."""
    changes = list(changes)
    yield from _types(comparison)
    dropped, changed = list(_dropped(comparison, changes)), list(_changed(comparison))
    created = list(_created(comparison, changes))
    yield from _users(comparison, dropped + changed)
    yield from _holders(comparison, dropped, created)
    yield from _namesakes(comparison, created)
    yield from _foreign_keys(comparison)
    yield from _keys_of_partitions(comparison)


def users_of_types(comparison: Comparison, types: Iterable[EnumType]) -> dict[EnumType, list[str]]:
    """Return what uses each of these types, or a column of it, and isn't recreated with it.

    Such as ``function public.rank(state)``, or the partition key of a table. A downgrade drops and adds generated
    columns itself.
    """
    owners, parts = [], []
    for enum_type in types:
        columns = [(comparison.key(*user[1:3]), user[3]) for user in enum_type.columns]
        changed = [
            _Part("changed", comparison.oids[key], name, f"{quoted(*key)}.{name}")
            for key, name in columns
            if key in comparison.oids
        ]
        parts += [_type(enum_type), *changed]
        owners += [enum_type] * (1 + len(changed))
    users: dict[EnumType, list[str]] = {enum_type: [] for enum_type in owners}
    recreated = [part for part, _ in _recreated_in_downgrade(comparison)] if parts else []
    for number, names in _query(comparison, [*parts, *recreated]).items():
        if number < len(owners):
            users[owners[number]] += [name for name in names if name not in users[owners[number]]]
    return users


def users_of_columns(comparison: Comparison) -> dict[Key, dict[str, list[str]]]:
    """Return what uses the columns that a downgrade drops and adds again, by table and column."""
    recreated, users = list(_recreated_in_downgrade(comparison)), defaultdict[Key, dict[str, list[str]]](dict)
    for number, names in _query(comparison, [part for part, _ in recreated]).items():
        part, key = recreated[number]
        users[key][str(part.name)] = names
    return users


def _recreated_in_downgrade(comparison: Comparison) -> Iterator[tuple[_Part, Key]]:
    for key, pair in comparison.pairs.items():
        for name, directions in recreated_columns(pair, comparison.recreated_types).items():
            if directions.down:
                yield _Part("column", comparison.oids[key], name, _describe(comparison, key, name)), key


def _types(comparison: Comparison) -> Iterator[Change]:
    for live, _ in comparison.differing:
        foreign = sorted(user[2] for user in live.columns if comparison.key(*user[1:3]) not in comparison.oids)
        if foreign and live.oids <= comparison.recreated_types.up:
            reason = f"the type {live.sql} has to be recreated, and {', '.join(foreign)}, which isn't ours, uses it"
            yield _refusal(reason, "Agree on it with its service first.")


def _users(comparison: Comparison, parts: list[_Part]) -> Iterator[Change]:
    reasons = defaultdict(list)
    for number, users in _query(comparison, parts).items():
        for user in users:
            reasons[user].append(parts[number].text)
    if reasons:
        uses = ", and ".join(f"the {user} uses {', '.join(dict.fromkeys(used))}" for user, used in reasons.items())
        yield _refusal(
            f"{uses}, so PostgreSQL can't change or drop that",
            "Write this revision by hand (--empty): drop what uses it, make the change, and create the former again.",
        )


def _holders(comparison: Comparison, dropped: list[_Part], created: list[_Part]) -> Iterator[Change]:
    """Yield a refusal for each object that has the name of a new part, and that isn't dropped before."""
    for number, holders in _query(comparison, [*created, *dropped]).items():
        if number < len(created):
            yield _refusal(
                f"the {holders[0]} has the name of {created[number].text}, so PostgreSQL can't create that",
                "Give one of them another name, or drop the former in a revision by hand before (--empty).",
            )


def _namesakes(comparison: Comparison, created: list[_Part]) -> Iterator[Change]:
    """Yield a refusal for each new part that has the name of another new one, also of another kind."""
    taken: dict[tuple[str, Key], _Part] = {}
    for part in created:
        name = comparison.key(part.schema, part.name or "")
        for catalog in _CATALOGS[part.kind]:
            former = taken.setdefault((catalog, name), part)
            if former is not part:
                yield _refusal(
                    f"{part.text} has the name of {former.text}, so PostgreSQL can't create both",
                    "Give one of them another name.",
                )
                break


def _created(comparison: Comparison, changes: Iterable[Change]) -> Iterator[_Part]:
    """Yield the names that an upgrade takes, without those that it frees by a rename."""
    for key, target in comparison.types.items():
        if key not in comparison.live_types:
            yield _Part("new type", 0, target.name, f"the type {target.sql}", target.schema)
    for sequence in new_sequences(comparison.connection, comparison.models.values(), comparison.default):
        name = quoted(sequence.schema, sequence.name)
        yield _Part("new relation", 0, sequence.name, f"the sequence {name}", sequence.schema)
    for step in (step for change in changes for step in change.forward):
        if isinstance(step, CreateTableOp):
            table = quoted(step.schema, step.table_name)
            yield _Part("new table", 0, step.table_name, f"the table {table}", step.schema)
            keys = [part.name for part in step.columns if isinstance(part, PrimaryKeyConstraint | UniqueConstraint)]
            new = comparison.key(step.schema, step.table_name)
            constraints = comparison.targets[new].constraints
            keys += [
                name for name in sorted(comparison.named[new] & constraints.keys()) if constraints[name].kind == "x"
            ]
            # of equal constraints PostgreSQL creates one, as of unique=True beside a UniqueConstraint
            for name in dict.fromkeys(name for name in keys if isinstance(name, str)):
                yield _relation(name, table, step.schema)
        elif isinstance(step, CreateIndexOp):
            yield _relation(str(step.index_name), quoted(step.schema, step.table_name), step.schema)
    parts = {key: Matches.of(pair, comparison.named[key]) for key, pair in comparison.pairs.items()}
    freed = {(key[0], name) for key, matches in parts.items() for name in matches.renames}
    for key, pair in comparison.pairs.items():
        names = [name for name in parts[key].new_relations(pair) if (key[0], name) not in freed]
        serials = [target for live, target in pair.common if target.serial and not live.serial]
        names += [column.sequence["relation"] for column in serials if column.sequence]
        yield from (_relation(name, pair.live.sql, key[0]) for name in names)


def _relation(name: str, table: str, schema: str | None) -> _Part:
    return _Part("new relation", 0, name, f"{quoted(name)} of {table}", schema)


def _dropped(comparison: Comparison, changes: Iterable[Change]) -> Iterator[_Part]:
    """Yield what an upgrade drops."""
    for step in (step for change in changes for step in change.forward):
        if isinstance(step, DropTableOp | DropColumnOp | DropConstraintOp | DropIndexOp):
            key = comparison.key(step.schema, step.table_name or "")
            table, oid = _describe(comparison, key), comparison.oids[key]
            if isinstance(step, DropTableOp):
                yield _Part("table", oid, None, table)
            elif isinstance(step, DropColumnOp):
                yield _Part("column", oid, step.column_name, f"{table}.{step.column_name}")
            elif isinstance(step, DropConstraintOp):
                yield _Part("constraint", oid, str(step.constraint_name), f"{step.constraint_name} of {table}")
            else:
                yield _Part("index", oid, str(step.index_name), f"{step.index_name} of {table}")
    for key, pair in comparison.pairs.items():
        yield from _dropped_of_columns(comparison, key, pair)
    recreated_types = [live for live, _ in comparison.differing if live.oids <= comparison.recreated_types.up]
    yield from (_type(enum_type) for enum_type in [*recreated_types, *comparison.dropped_types])


def _dropped_of_columns(comparison: Comparison, key: Key, pair: Pair) -> Iterator[_Part]:
    """Yield the columns of a table that an upgrade drops and adds again, and the sequences and defaults of others."""
    recreated = recreated_columns(pair, comparison.recreated_types)
    for name in (name for name, directions in recreated.items() if directions.up):
        yield _Part("column", comparison.oids[key], name, _describe(comparison, key, name))
    for live, target in pair.common:
        if (live.serial and not target.serial) or (live.identity and not target.identity):
            sequence = f"the sequence of {_describe(comparison, key, live.name)}"
            yield _Part("sequence", comparison.oids[key], live.name, sequence)
            for child in other_defaults(comparison, key, live.name):
                yield _Part("default", comparison.oids[child], live.name, _describe(comparison, child, live.name))


def _changed(comparison: Comparison) -> Iterator[_Part]:
    """Yield the columns that change, apart from those that are dropped, and the tables that get a new one."""
    for key, pair in comparison.pairs.items():
        converted = converted_columns(pair, comparison.recreated_types)
        for live, target in pair.common:
            text = _describe(comparison, key, live.name)
            if converted.get(live.name, NEITHER).up:
                yield _Part("changed", comparison.oids[key], live.name, text)
            if live.generated and not target.generated:
                yield _Part("plain", comparison.oids[key], live.name, text)
            if live.not_null and not target.not_null:
                yield _Part("nullable", comparison.oids[key], live.name, text)
        if pair.target.unlogged and not pair.live.unlogged:
            yield _Part("unlogged", comparison.oids[key], None, f"{_describe(comparison, key)}, which becomes UNLOGGED")
        yield from _filled(comparison, key, pair)


def _filled(comparison: Comparison, key: Key, pair: Pair) -> Iterator[_Part]:
    """Yield a table that gets a column, and where every row gets a value of that or of a changed expression."""
    oid, table = comparison.oids[key], _describe(comparison, key)
    for name, target in pair.target.columns.items():
        live = pair.live.columns.get(name)
        if live is not None and (not target.generated or live.default == target.default):
            continue
        if live is None:
            yield _Part("extended", oid, None, f"{table}, which gets {name}")
        # without a value it depends on the type, which may be a domain with a CHECK
        is_certain = bool(target.default or target.identity)
        yield _Part(
            "filled", oid, None, f"{table}, whose rows get a value of {name}", type=None if is_certain else target.base
        )


def _type(enum_type: EnumType) -> _Part:
    return _Part("type", min(enum_type.oids), None, f"the type {enum_type.sql}")


def _query(comparison: Comparison, parts: list[_Part]) -> dict[int, list[str]]:
    """Return the users of parts, by the number of the part."""
    rows = [asdict(part) | {"number": number} for number, part in enumerate(parts)]
    values = {"parts": json.dumps(rows), "tables": sorted(comparison.oids.values()), "default": comparison.default}
    users: dict[int, list[str]] = {}
    for number, kind, name, _ in comparison.connection.execute(text(_USERS), values) if parts else ():
        users.setdefault(number, []).append(f"{kind} {name}")
    return users


def _foreign_keys(comparison: Comparison) -> Iterator[Change]:
    keys = {oid: key for key, oid in comparison.oids.items()}
    dropped_columns = _dropped_columns(comparison)
    values = {"oids": sorted(keys), "search_path": comparison.surroundings.search_path}
    rows: Iterable[Any] = comparison.connection.execute(text(_FOREIGN_KEYS), values).all()
    set_path(comparison.connection, OWN_PATH)
    for row in rows:
        key = keys[row.oid]
        pair, column, reason = comparison.pairs.get(key), _describe(comparison, key, row.part), ""
        if pair is None:
            reason = f"needs {_describe(comparison, key)}, which this would drop"
        elif (row.oid, row.part) in dropped_columns:
            reason = f"needs {column}, which this would drop"
        elif pair.target.unlogged and not pair.live.unlogged:
            reason = f"needs {_describe(comparison, key)} as a logged table"
        elif keys_of(pair, comparison.recreated_types, comparison.named[key]).indexes.get(row.index, NEITHER).up:
            reason = f"needs {row.index} of {_describe(comparison, key)}, which this would drop"
        else:
            live, target = pair.live.columns[row.part], pair.target.columns[row.part]
            if live.kind != target.kind and not is_valid_reference(comparison, row.type, target.kind):
                reason = f"can't lead from {row.type} to {column} as {target.kind}"
        if reason:
            hint = f"Agree on it with the service that has {row.home} first; `inv db.owners` names it."
            if row.home_oid in comparison.uncompared:
                hint = f"The models' own {row.home} isn't compared: where it can't be, `inv db.check` says why."
            yield _refusal(f"the foreign key {row.name} of {row.home} {reason}", hint)


def _keys_of_partitions(comparison: Comparison) -> Iterator[Change]:
    """Yield a refusal for each table that only the database partitions, whose new keys need the partition key."""
    for key, pair in comparison.pairs.items():
        if not pair.live.partition_key or pair.target.partition_key:
            continue
        matches = Matches.of(pair, comparison.named[key])
        kept = {match.name for match in matches.indexes.values()}
        new = [constraint for constraint in matches.added if constraint.kind in ("p", "u", "x")]
        indexes = [index for name, index in pair.target.indexes.items() if name not in kept]
        if reason := refused_by_partitions(comparison, key, [*new, *indexes]):
            yield _refusal(
                f"{pair.live.sql} is partitioned by {pair.live.partition_key} in the database, so PostgreSQL "
                f"can't make a key of the models: {reason}",
                "Add the columns of the partition key to the key in the models.",
            )


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


def _describe(comparison: Comparison, key: Key, column: str | None = None) -> str:
    """Return the name of a table of the database, or of a column of it, for a message."""
    return f"{comparison.live[key].sql}.{column}" if column else comparison.live[key].sql


def _refusal(reason: str, hint: str) -> Change:
    return Change(Phase.ADD_LABELS, (Note(reason),), (), refusal=f"{reason}. {hint}")

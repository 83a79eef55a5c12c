"""The differences between the catalog of a database and that of its replayed history.

All objects of the history count. Of the objects that only the database has, a part of one of the history's objects
counts (a column, an index, a policy …), and another object counts where the service sees it. Members of extensions
don't count, and neither do partitions that only the database has: they are created while the service runs.
"""

from collections.abc import Callable, Container, Iterable
from datetime import datetime

from service_migrations.catalog.objects import Catalog, Key, Object
from service_migrations.drift.difference import Difference
from service_migrations.drift.moves import is_equal, moved_back
from service_migrations.drift.order import ordered
from service_migrations.drift.repair import Change, changes, continued, create, drop, privilege_changes, rows_of_default
from service_migrations.drift.step import Step
from service_migrations.drift.times import with_live_times
from service_migrations.history.baseline import digest
from service_migrations.sql.quoting import quoted

__all__ = ["Difference", "compare", "without_surplus_extensions"]

_TYPES = ("enum", "domain", "composite type", "range type", "base type")
_ROUTINES = ("function", "procedure", "aggregate")
_VIEWS = ("view", "materialized view")
_TABLES = ("table", "foreign table")

_DROPPED_FIRST = ("policy", "trigger", "rule", *_VIEWS, "statistics", "index", "constraint", "column")
"""In this order. Other objects, such as functions, come last: altered objects may still use them."""

_CREATED = ("schema", "extension", "", "column", "changed", "constraint", "index", "view")
"""In this order, "" being types, sequences, functions and tables by age; all other kinds follow."""

_SURPLUS = "is in the database but not in the history"
_VALUE_FIRST = "Rows need a value first."
_LOSES = "This loses what is in it."
_MODELLED = "The models have it: write a revision that creates it where it is missing."


def compare(
    live: Iterable[Object],
    history: Iterable[Object],
    sees: Callable[[Object], bool],
    *,
    grants: bool = False,
    alone: bool = False,
    modelled: Container[Key] = (),
    since: datetime | None = None,
) -> tuple[Difference, ...]:
    """Return the differences in an order in which their SQL can be run.

    Args:
        live: the catalog of the database.
        history: the catalog that the replayed history leaves, without objects of siblings.
        sees: whether an object of the database counts that is no part of another and isn't in the history.
        grants: compare owners and privileges too.
        alone: whether no other service has the database.
        modelled: what the service's models have, and no SQL drops.
        since: when the replay began; what it has of times since then is no difference.

    """
    live_catalog = Catalog(item for item in live if item.extension is None)
    replayed = (item for item in history if item.extension is None)
    expected_catalog = Catalog(replayed if since is None else with_live_times(replayed, live_catalog, since))
    live_catalog, moves = moved_back(live_catalog, expected_catalog, sees, alone=alone)
    steps: list[Step] = []
    for expected in expected_catalog.by_key.values():
        current = live_catalog.by_key.get(expected.key)
        if current is None or _is_another(current, expected):
            if not _is_created_with_another(expected, expected_catalog, live_catalog):
                steps.append(
                    Step(_create_order(expected), expected.key, _missing(expected, expected_catalog, live_catalog))
                )
            continue
        steps += [
            Step(_change_order(expected, change), expected.key, _changed(expected, change), change=change)
            for change in changes(current, expected, live_catalog, expected_catalog)
        ]
        if grants:
            steps += [
                Step((99, 0, 0), expected.key, _changed(expected, change), change=change)
                for change in privilege_changes(current, expected, expected_catalog)
            ]
    for current in live_catalog.by_key.values():
        counterpart = expected_catalog.by_key.get(current.key)
        is_missing = counterpart is None or _is_another(current, counterpart)
        if is_missing and _is_surplus(current, live_catalog, expected_catalog, sees):
            difference = _surplus(current, live_catalog, expected_catalog, modelled)
            steps.append(Step(_drop_order(current), current.key, difference, removes=True))
    moved = [Difference(move.expected.kind, _name(move.expected), move.text, move.sql) for move in moves]
    return *moved, *ordered(steps, live_catalog, expected_catalog)


def without_surplus_extensions(differences: Iterable[Difference]) -> list[Difference]:
    """Return the differences without extensions that only the database has."""
    return [each for each in differences if each.kind != "extension" or each.text != _SURPLUS]


def _is_another(live: Object, expected: Object) -> bool:
    """Whether two objects of one key are not the same: an index of a constraint, or what is part of a view."""
    if live.part_of and expected.part_of and live.part_of[0] != expected.part_of[0]:
        return True
    return live.kind == "index" and ("constraint" in live.facts) != ("constraint" in expected.facts)


def _is_implicit(item: Object) -> bool:
    """Whether an object is always created and dropped with another: inherited, or of a constraint or an identity."""
    return bool(
        item.facts.get("inherited")
        or (item.kind == "index" and "constraint" in item.facts)
        or (item.kind == "sequence" and "identity" in item.facts)
    )


def _is_created_with_another(item: Object, expected_catalog: Catalog, live_catalog: Catalog) -> bool:
    """Whether the SQL for another object creates a missing one."""
    if _is_implicit(item):
        return True
    parent = expected_catalog.parent(item)
    if parent is None:
        return False
    if item.kind == "column" and parent.kind in _VIEWS:
        return True
    if parent.key in live_catalog.by_key:
        return item.kind == "sequence" and not _has_owning_column(item, expected_catalog, live_catalog)
    return item.kind in ("column", "sequence", "domain constraint") or (
        item.kind == "constraint" and "foreign_key" not in item.facts
    )


def _is_surplus(item: Object, live_catalog: Catalog, expected_catalog: Catalog, sees: Callable[[Object], bool]) -> bool:
    """Whether an object that only the database has counts as a difference."""
    if _is_implicit(item):
        return False
    parent = live_catalog.parent(item)
    if parent is None:
        return sees(item)
    in_history = parent.key in expected_catalog.by_key
    if item.kind in _TABLES or not in_history or (item.kind == "column" and parent.kind in _VIEWS):
        return False
    return item.kind != "sequence" or _has_owning_column(item, live_catalog, expected_catalog)


def _has_owning_column(sequence: Object, own: Catalog, other: Catalog) -> bool:
    """Whether the other catalog too has the column that owns a sequence; else both are created and dropped together."""
    table = own.parent(sequence)
    columns = own.parts(table, "column") if table else []
    owner = sequence.facts.get("owned_by")
    return any(f"{own.on(column)}.{column.address}" == owner and column.key in other.by_key for column in columns)


def _missing(item: Object, expected_catalog: Catalog, live_catalog: Catalog) -> Difference:
    sql = create(item, expected_catalog)
    if item.kind == "table" and (renamed := _renamed_partition(item, expected_catalog, live_catalog)):
        sql = f"ALTER TABLE {renamed.address} RENAME TO {quoted(item.name)};"
        if renamed.schema != item.schema:
            # one of its old name may be in that schema, and one of its new name in this one
            address = f"{quoted(renamed.schema)}.{quoted(item.name)}"
            sql += f" ALTER TABLE {address} SET SCHEMA {quoted(item.schema)};"
    if item.kind == "sequence" and sql:
        sql = f"{sql} {continued(item, expected_catalog, live_catalog)}".strip()
    note = None
    if sql is None:
        note = "Create it as in the history."
    elif (
        item.kind == "column" and item.facts["not_null"] and not {"default", "identity", "generated"} & set(item.facts)
    ):
        note = _VALUE_FIRST
    elif elsewhere := _elsewhere(item, expected_catalog, live_catalog):
        move = f"ALTER TABLE {elsewhere.address} SET SCHEMA {quoted(item.schema)};"
        note = f"An equal one is in the schema {elsewhere.schema}. If it was moved, run this instead: {move}"
    else:
        note = rows_of_default(item, live_catalog)
    text = "is in the history but not in the database"
    return Difference(item.kind, _name(item), text, sql, note, _digest(item, expected_catalog))


def _surplus(item: Object, live_catalog: Catalog, expected_catalog: Catalog, modelled: Container[Key]) -> Difference:
    if item.key in modelled:
        return Difference(item.kind, _name(item), _SURPLUS, None, _MODELLED, _digest(item, live_catalog))
    note = _LOSES if item.kind in ("table", "column", "sequence") else None
    if rename := _rename_back(item, live_catalog, expected_catalog):
        note = f"{_LOSES} If it was only renamed, run this instead: {rename}"
    return Difference(item.kind, _name(item), _SURPLUS, drop(item, live_catalog), note, _digest(item, live_catalog))


def _digest(item: Object, catalog: Catalog) -> str:
    """Return a hash of an object and its parts, without its owner, comment and privileges."""
    parts = catalog.all_parts(item)
    return digest(*((*each.key, dict(each.facts)) for each in (item, *parts)))


def _rename_back(item: Object, live_catalog: Catalog, expected_catalog: Catalog) -> str | None:
    """Return the SQL that restores the name of a column or table, where exactly one missing object is equal to it."""
    if item.kind == "column":
        alter = f"ALTER TABLE {live_catalog.on(item)} RENAME COLUMN {item.address}"
        table = live_catalog.parent(item)
        columns = expected_catalog.parts(table, "column") if table and "of_type" not in table.facts else []
        equal = [column for column in columns if column.facts == item.facts]
    elif item.kind == "table":
        alter = f"ALTER TABLE {item.address} RENAME"
        objects = expected_catalog.by_key.values()
        tables = [other for other in objects if other.kind == "table" and other.schema == item.schema]
        columns_of_item = _columns(item, live_catalog)
        equal = [other for other in tables if _columns(other, expected_catalog) == columns_of_item]
    else:
        return None
    missing = [other for other in equal if other.key not in live_catalog.by_key]
    return f"{alter} TO {quoted(missing[0].name)};" if len(missing) == 1 else None


def _elsewhere(table: Object, expected_catalog: Catalog, live_catalog: Catalog) -> Object | None:
    """Return the one table of the same name, owner and columns in another schema."""
    equal = [
        other
        for other in live_catalog.by_key.values()
        if other.name == table.name
        and other.key not in expected_catalog.by_key
        and is_equal(other, table, live_catalog, expected_catalog)
    ]
    return equal[0] if len(equal) == 1 else None


def _renamed_partition(table: Object, expected_catalog: Catalog, live_catalog: Catalog) -> Object | None:
    """Return the partition that only the database has, and whose bound is that of a missing one."""
    parent = live_catalog.parent(table)
    partitions = live_catalog.parts(parent, "table") if parent and "bound" in table.facts else []
    return next(
        (
            other
            for other in partitions
            if other.facts["bound"] == table.facts["bound"] and other.key not in expected_catalog.by_key
        ),
        None,
    )


def _columns(table: Object, catalog: Catalog) -> list[tuple[str, object]]:
    return [(column.name, column.facts["type"]) for column in catalog.parts(table, "column")]


def _changed(item: Object, change: Change) -> Difference:
    return Difference(item.kind, _name(item), change.text, change.sql, change.note)


def _name(item: Object) -> str:
    """Return an object's name for a message: a column has its table, and public is left out."""
    parts = [item.schema] if item.schema != "public" and item.kind not in ("schema", "extension") else []
    return ".".join([*parts, *([item.table] if item.table and item.kind != "index" else []), item.name])


def _drop_order(item: Object) -> tuple[int, int, int]:
    if item.kind in _DROPPED_FIRST:
        # a foreign key before the key that it refers to; of views, materialized or not, the newest first
        return 0, _DROPPED_FIRST.index("view" if item.kind in _VIEWS else item.kind), -item.place
    return 9, 0, -item.place


def _create_order(item: Object) -> tuple[int, int, int]:
    if item.kind in (*_TYPES, *_ROUTINES, *_TABLES, "sequence"):
        return 1, _CREATED.index(""), item.place
    if item.kind == "index" and item.part_of and item.part_of[0] in _VIEWS:
        return 1, len(_CREATED), 0
    kind = "view" if item.kind in _VIEWS else item.kind
    return 1, _CREATED.index(kind) if kind in _CREATED else len(_CREATED), item.place


def _change_order(item: Object, change: Change) -> tuple[int, int, int]:
    if change.after_keys:
        return 1, _CREATED.index("index"), 0
    # a label before the default that names it; a view after the columns that it shows
    if item.kind in (*_TYPES, *_VIEWS, "constraint", "index"):
        return _create_order(item)
    return 1, _CREATED.index("changed"), 0

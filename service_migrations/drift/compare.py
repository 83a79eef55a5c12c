"""Two catalogs compared: the live database's with the history's, as far as a service has a say in it.

All of the history counts. Of what only the live database has, a part of one of the history's objects counts (a
column, an index, a policy …), and an object that stands by itself counts where the caller says that it is seen. The
members of an extension don't count, and neither do partitions that the history doesn't know: something makes those
while the service runs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.connection.admin import quoted
from service_migrations.drift.repair import Change, changes, create, drop, privilege_changes

__all__ = ["Difference", "compare"]

_TYPES = ("enum", "domain", "composite type", "range type", "base type")
_ROUTINES = ("function", "procedure", "aggregate")
_VIEWS = ("view", "materialized view")
_TABLES = ("table", "foreign table")

_DROPPED_FIRST = ("policy", "trigger", "rule", *_VIEWS, "statistics", "index", "constraint", "column")
"""In this order; what is left, such as a function, may be in use until what uses it is altered, and so goes last."""

_MADE = ("schema", "extension", "", "column", "changed", "constraint", "index", "view")
"""In this order, "" being types, sequences, functions and tables as they were made; everything else comes after."""

_NOT_EMPTY = "Rows need a value first."
_LOSES = "This loses what is in it."


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is otherwise in the live database than in the history.

    ``sql`` brings the database to what the history says, in one line and of one statement or more; None where no SQL
    can, and ``note`` then says what to do. Else ``note`` is what to know before running it.
    """

    kind: str
    name: str
    text: str
    sql: str | None
    note: str | None = None

    def __str__(self) -> str:
        mend = " -- ".join(part for part in (self.sql, self.note) if part)
        return f"{self.kind} {self.name} {self.text}: {mend}"


def compare(
    live: Iterable[Object], history: Iterable[Object], sees: Callable[[Object], bool], *, grants: bool = False
) -> tuple[Difference, ...]:
    """Return what differs, in an order in which the SQL can be run.

    Args:
        live: the catalog of the database.
        history: the catalog of what the history makes, without anything of a sibling's.
        sees: whether an object of the live database counts that stands by itself and isn't in the history.
        grants: compare owners and privileges too.

    """
    here = Catalog(one for one in live if one.extension is None)
    there = Catalog(one for one in history if one.extension is None)
    found: list[tuple[tuple[int, int, int], Difference]] = []
    for one in there.by_key.values():
        twin = here.by_key.get(one.key)
        if twin is None or _is_made_otherwise(twin, one):
            if not _comes_along(one, there, here):
                found.append((_making(one), _missing(one, there)))
            continue
        found += [(_changing(one), _difference(one, change)) for change in changes(twin, one, here, there)]
        if grants:
            found += [((99, 0, 0), _difference(one, change)) for change in privilege_changes(twin, one, there)]
    for one in here.by_key.values():
        twin = there.by_key.get(one.key)
        if (twin is None or _is_made_otherwise(one, twin)) and _is_surplus(one, here, there, sees):
            found.append((_dropping(one), _surplus(one, here, there)))
    return tuple(difference for _, difference in sorted(found, key=lambda each: (each[0], each[1].name)))


def _is_made_otherwise(here: Object, there: Object) -> bool:
    """Whether a constraint made the one index, and the other is just an index."""
    return here.kind == "index" and ("constraint" in here.facts) != ("constraint" in there.facts)


def _comes_along(one: Object, there: Catalog, here: Catalog) -> bool:
    """Whether what is missing is made together with something else."""
    if (
        one.facts.get("inherited")
        or (one.kind == "index" and "constraint" in one.facts)
        or "identity" in _sequence(one)
    ):
        return True
    parent = there.parent(one)
    if parent is None or one.kind in _TABLES:
        return False
    if one.kind == "column" and parent.kind in _VIEWS:
        return True
    if parent.key in here.by_key:
        return one.kind == "sequence" and not _column_of(one, there, here)
    return one.kind in ("column", "sequence", "domain constraint") or (
        one.kind == "constraint" and "foreign_key" not in one.facts
    )


def _is_surplus(one: Object, here: Catalog, there: Catalog, sees: Callable[[Object], bool]) -> bool:
    if (
        one.facts.get("inherited")
        or (one.kind == "index" and "constraint" in one.facts)
        or "identity" in _sequence(one)
    ):
        return False
    parent = here.parent(one)
    if parent is None:
        return sees(one)
    if one.kind in _TABLES or parent.key not in there.by_key or (one.kind == "column" and parent.kind in _VIEWS):
        return False
    return one.kind != "sequence" or _column_of(one, here, there)


def _sequence(one: Object) -> frozenset[str]:
    return frozenset(one.facts) if one.kind == "sequence" else frozenset()


def _column_of(sequence: Object, own: Catalog, other: Catalog) -> bool:
    """Whether the column that owns a sequence is in the other catalog too; else both come and go together."""
    table = own.parent(sequence)
    columns = own.parts(table, "column") if table else []
    owned = sequence.facts.get("owned_by")
    return any(f"{own.on(one)}.{one.address}" == owned and one.key in other.by_key for one in columns)


def _missing(one: Object, there: Catalog) -> Difference:
    sql = create(one, there)
    note = None
    if sql is None:
        note = "Make it as the history does."
    elif one.kind == "column" and one.facts["not_null"] and not {"default", "identity", "generated"} & set(one.facts):
        note = _NOT_EMPTY
    return Difference(one.kind, _name(one), "is in the history, and not here", sql, note)


def _surplus(one: Object, here: Catalog, there: Catalog) -> Difference:
    note = _LOSES if one.kind in ("table", "column", "sequence") else None
    if renamed := _renamed(one, here, there):
        note = f"{_LOSES} If it was only renamed, run this instead: {renamed}"
    return Difference(one.kind, _name(one), "is here, and not in the history", drop(one, here), note)


def _renamed(one: Object, here: Catalog, there: Catalog) -> str | None:
    """Return the SQL that gives back a column or table its name, where exactly one that is missing is just like it."""
    if one.kind == "column":
        alter = f"ALTER TABLE {here.on(one)} RENAME COLUMN {one.address}"
        table = here.parent(one)
        rivals = there.parts(table, "column") if table else []
        like = [other for other in rivals if other.facts == one.facts]
    elif one.kind == "table":
        alter = f"ALTER TABLE {one.address} RENAME"
        tables = [other for other in there.by_key.values() if other.kind == "table" and other.schema == one.schema]
        like = [other for other in tables if _columns(other, there) == _columns(one, here)]
    else:
        return None
    gone = [other for other in like if other.key not in here.by_key]
    return f"{alter} TO {quoted(gone[0].name)};" if len(gone) == 1 else None


def _columns(table: Object, catalog: Catalog) -> list[tuple[str, object]]:
    return [(column.name, column.facts["type"]) for column in catalog.parts(table, "column")]


def _difference(one: Object, change: Change) -> Difference:
    return Difference(one.kind, _name(one), change.text, change.sql, change.note)


def _name(one: Object) -> str:
    """Return a name as a person writes it: that of a column with its table, and public left out."""
    parts = [one.schema] if one.schema != "public" and one.kind not in ("schema", "extension") else []
    return ".".join([*parts, *([one.table] if one.table and one.kind != "index" else []), one.name])


def _dropping(one: Object) -> tuple[int, int, int]:
    if one.kind in _DROPPED_FIRST:
        # a foreign key before the key that it leads to; of views, materialized or not, the newest first
        return 0, _DROPPED_FIRST.index("view" if one.kind in _VIEWS else one.kind), -one.place
    return 9, 0, -one.place


def _making(one: Object) -> tuple[int, int, int]:
    if one.kind in (*_TYPES, *_ROUTINES, *_TABLES, "sequence"):
        return 1, _MADE.index(""), one.place
    if one.kind == "index" and one.part_of and one.part_of[0] in _VIEWS:
        return 1, len(_MADE), 0
    kind = "view" if one.kind in _VIEWS else one.kind
    return 1, _MADE.index(kind) if kind in _MADE else len(_MADE), one.place


def _changing(one: Object) -> tuple[int, int, int]:
    # a label before the default that names it; a view after the columns that it shows
    if one.kind in (*_TYPES, *_VIEWS, "constraint", "index"):
        return _making(one)
    return 1, _MADE.index("changed"), 0

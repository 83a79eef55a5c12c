"""Mending: what differs between two catalogs' objects of one name, and the SQL that makes it as the history says."""

from collections.abc import Callable, Iterator, Mapping

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.drift.repair.change import Change, Pair, shown
from service_migrations.drift.repair.columns import column_changes
from service_migrations.drift.repair.create import comment, create, drop, word
from service_migrations.drift.repair.others import (
    constraint_changes,
    extension_changes,
    function_changes,
    index_changes,
    other_changes,
    sequence_changes,
    switched_changes,
)
from service_migrations.drift.repair.privileges import privilege_changes
from service_migrations.drift.repair.tables_and_types import (
    composite_changes,
    domain_changes,
    enum_changes,
    table_changes,
    type_changes,
    view_changes,
)
from service_migrations.sql.quoting import one_line_literal

__all__ = ["Change", "changes", "create", "drop", "privilege_changes", "word"]

_CHANGES: Mapping[str, Callable[[Pair], Iterator[Change]]] = {
    "schema": lambda _: iter(()),
    "extension": extension_changes,
    **dict.fromkeys(("table", "foreign table"), table_changes),
    **dict.fromkeys(("view", "materialized view"), view_changes),
    "column": column_changes,
    **dict.fromkeys(("constraint", "domain constraint"), constraint_changes),
    "index": index_changes,
    "sequence": sequence_changes,
    "enum": enum_changes,
    "domain": domain_changes,
    "composite type": composite_changes,
    **dict.fromkeys(("range type", "base type"), type_changes),
    **dict.fromkeys(("function", "procedure", "aggregate"), function_changes),
    **dict.fromkeys(("trigger", "rule"), switched_changes),
    **dict.fromkeys(("policy", "statistics"), other_changes),
}
"""For each kind of object what can be said of two of them."""


def changes(here: Object, there: Object, catalog: Catalog, history: Catalog) -> list[Change]:
    """Return what differs between an object of the live catalog and that of the history, with the SQL that mends it.

    Args:
        here: the object as the live database has it.
        there: the object of the same key as the history makes it.
        catalog: what *here* is from.
        history: what *there* is from.

    """
    found = list(_CHANGES[here.kind](Pair(here, there, catalog, history)))
    if here.comment != there.comment and here.kind not in ("extension", "schema"):
        told = [shown(one.comment and one_line_literal(one.comment)) for one in (here, there)]
        found.append(Change(f"has the comment {told[0]} here, {told[1]} in the history", comment(there, history)))
    return found

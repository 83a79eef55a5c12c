"""The differences between two objects of one name, and the SQL that fixes them."""

from collections.abc import Callable, Iterator, Mapping

from service_migrations.catalog.creation import keyword
from service_migrations.catalog.objects import Catalog, Object
from service_migrations.drift.repair.change import Change, Pair, shown
from service_migrations.drift.repair.columns import column_changes
from service_migrations.drift.repair.create import (
    comment,
    create,
    create_with_parts,
    detach,
    drop,
    parts_of_view,
    with_parts,
)
from service_migrations.drift.repair.others import (
    constraint_changes,
    extension_changes,
    function_changes,
    index_changes,
    other_changes,
    sequence_changes,
    switched_changes,
)
from service_migrations.drift.repair.partitions import in_the_way
from service_migrations.drift.repair.privileges import privilege_changes
from service_migrations.drift.repair.sequences import continued
from service_migrations.drift.repair.tables_and_types import (
    composite_changes,
    domain_changes,
    enum_changes,
    rows_of_default,
    table_changes,
    tables_of,
    type_changes,
    view_changes,
)
from service_migrations.sql.quoting import one_line_literal

__all__ = [
    "Change",
    "changes",
    "continued",
    "create",
    "create_with_parts",
    "detach",
    "drop",
    "in_the_way",
    "keyword",
    "parts_of_view",
    "privilege_changes",
    "rows_of_default",
    "tables_of",
    "with_parts",
]

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
"""The function that compares two objects, for each kind."""


def changes(live: Object, expected: Object, live_catalog: Catalog, expected_catalog: Catalog) -> list[Change]:
    """Return the changes that make an object of the database equal to that of the history.

    Args:
        live: the object of the database.
        expected: the object of the same key that the history creates.
        live_catalog: that of the database.
        expected_catalog: that of the replayed history.

    """
    differences = list(_CHANGES[live.kind](Pair(live, expected, live_catalog, expected_catalog)))
    if live.comment != expected.comment and live.kind != "extension" and not _is_new_public(live, expected):
        old, new = (shown(each.comment and one_line_literal(each.comment)) for each in (live, expected))
        text = f"has the comment {old} in the database, {new} in the history"
        differences.append(Change(text, comment(expected, expected_catalog)))
    return differences


def _is_new_public(*schemas: Object) -> bool:
    """Whether no history and nobody by hand gave the schema public its comment; a restored database may have none."""
    return all(
        schema.kind == "schema" and schema.name == "public" and schema.comment in (None, "standard public schema")
        for schema in schemas
    )

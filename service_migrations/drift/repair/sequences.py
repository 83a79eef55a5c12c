"""The number at which a sequence that is created again goes on."""

from collections.abc import Iterable, Iterator

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line_literal

__all__ = ["continued", "last_of"]

_NUMBERS = ("smallint", "integer", "bigint", "numeric")


def continued(sequence: Object, expected_catalog: Catalog, live_catalog: Catalog) -> str:
    """Return the SQL that sets a new sequence to the last number in the rows; empty where no column has rows yet.

    Without it the sequence begins at its start: the next rows get numbers that others have, which only a key refuses.
    Without a row in its range it stays there, since ``setval`` ignores NULL.
    """
    columns = list(_columns(sequence, expected_catalog, live_catalog))
    return last_of(sequence, columns) if columns else ""


def last_of(sequence: Object, columns: Iterable[tuple[str, str]]) -> str:
    """Return the SQL that sets a sequence to the last number in columns, each given by the address of its table."""
    facts = sequence.facts
    function, limits = "max", (facts["start"], facts["maximum"])
    if int(str(facts["increment"])) < 0:
        function, limits = "min", (facts["minimum"], facts["start"])
    queries = (f"SELECT {column} FROM {table}" for table, column in columns)  # noqa: S608 - names that the server quoted
    name, numbers = one_line_literal(sequence.address), " UNION ALL ".join(queries)
    return (
        f"SELECT setval({name}, {function}(number)) FROM ({numbers}) AS numbers (number) "  # noqa: S608 - names that the server quoted
        f"WHERE number BETWEEN {limits[0]} AND {limits[1]};"
    )


def _columns(sequence: Object, expected_catalog: Catalog, live_catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield the table and the name of each column of the database that gets its numbers from a sequence."""
    default = f"nextval({one_line_literal(sequence.address)}::regclass)"
    for column in expected_catalog.by_key.values():
        if column.kind != "column":
            continue
        table, live = f"{expected_catalog.on(column)}", live_catalog.by_key.get(column.key)
        owns = sequence.facts.get("owned_by") == f"{table}.{column.address}"
        if (owns or column.facts.get("default") == default) and live and live.facts.get("type") in _NUMBERS:
            yield table, column.address

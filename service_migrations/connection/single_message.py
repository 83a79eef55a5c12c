"""Queries of the library's own in a single message, so that they wait for the server only once.

asyncpg prepares a query before it executes it, and so waits twice: over a network that is what a migration takes its
time for. COPY is one message of PostgreSQL's simple query protocol that returns rows, here each as a JSON object.
"""

import json
import re
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

__all__ = ["ROWS", "Row", "as_list", "constant", "copy_rows", "fetch", "parse", "statement"]

ROWS = "/* service_migrations: rows */ "
"""The start of a query that returns each row as one JSON object."""

Row = SimpleNamespace
"""A row, with an attribute for each column. Values are those of JSON: a timestamp is a text."""

_PARAMETER = re.compile(r"(?<![:\w]):(\w+)(?![:\w])")


def statement(query: str, values: dict[str, Any]) -> str:
    """Return a query as one that returns JSON, with its parameters as constants.

    Args:
        query: of the library's own, whose columns have different names.
        values: what its parameters (``:name``) are: texts, numbers, booleans, lists of texts, None.

    """
    sql = _bound(query, values)
    return f"{ROWS}SELECT CAST(pg_catalog.row_to_json(own_row) AS pg_catalog.text) AS row FROM ({sql}) AS own_row"  # noqa: S608 - ours


def as_list(query: str, values: dict[str, Any]) -> str:
    """Return a query of one JSON value, a list with an object for each row; arguments as of ``statement``."""
    listed = "coalesce(pg_catalog.json_agg(pg_catalog.row_to_json(own_row)), '[]')"
    return f"SELECT {listed} FROM ({_bound(query, values)}) AS own_row"  # noqa: S608 - ours


def _bound(query: str, values: dict[str, Any]) -> str:
    # a name in a query without parameters may have a colon
    return _PARAMETER.sub(lambda match: constant(values[match[1]]), query) if values else query


def constant(value: Any) -> str:
    """Return a value as a constant of SQL, whatever ``standard_conforming_strings`` is."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, str):
        text = value.replace("'", "''")
        return "E'{}'".format(text.replace("\\", r"\\")) if "\\" in text else f"'{text}'"
    return f"ARRAY[{', '.join(map(constant, value))}]"


def parse(texts: Iterable[str]) -> list[Row]:
    """Return the rows of a statement by their JSON."""
    return [Row(**json.loads(text)) for text in texts]


async def copy_rows(connection: Any, sql: str) -> list[str]:
    """Return the JSON of each row of a ``statement``, over a connection of asyncpg's."""
    received = bytearray()

    async def receive(data: bytes) -> None:
        received.extend(data)

    await connection.copy_from_query(f"{sql}\n", output=receive)  # a listener may have put a comment behind it
    # JSON has no control character, so that COPY has changed nothing but the backslash
    return [line.replace(r"\\", "\\") for line in received.decode().split("\n")[:-1]]


async def fetch(connection: Any, query: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query over a connection of asyncpg's; arguments as of ``statement``."""
    return parse(await copy_rows(connection, statement(query, values)))

"""Made rows: what a table accepts, read from the catalog, and the INSERT that fills it.

A row that is there, such as one of the team's own, is the pattern of the others. Only what has to differ from row to
row is new: keys, and the references to other tables. Whether the rows are valid, the server decides.
"""

import json
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import asyncpg

from service_migrations.errors import text_of
from service_migrations.evidence.values import candidates, value
from service_migrations.sql.quoting import quoted

__all__ = ["Column", "Table", "fill", "first_line", "read_tables"]

_TABLES = """
SELECT json_build_object(
    'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname,
    'columns', (
        SELECT json_agg(json_build_object(
            'number', a.attnum, 'name', a.attname,
            'kind', CASE WHEN coalesce(b.typtype, t.typtype) = 'e' THEN 'enum' ELSE coalesce(b.typname, t.typname) END,
            'formatted', format_type(a.atttypid, a.atttypmod),
            'length', CASE WHEN m.typmod < 0 THEN -1
                WHEN coalesce(b.typname, t.typname) = 'numeric'
                THEN greatest(((m.typmod - 4) >> 16) - m.scale - (m.scale < 0)::int, 0)
                WHEN coalesce(b.typname, t.typname) IN ('bit', 'varbit') THEN m.typmod ELSE m.typmod - 4 END,
            'required', a.attnotnull OR t.typnotnull, 'has_default', a.atthasdef,
            'is_generated', a.attgenerated <> '' OR a.attidentity <> '') ORDER BY a.attnum)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
        CROSS JOIN LATERAL (SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END) AS o (typmod)
        CROSS JOIN LATERAL (SELECT o.typmod, (((o.typmod - 4) & 2047) # 1024) - 1024) AS m (typmod, scale)
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'checks', (
        SELECT json_agg(json_build_object('name', k.conname, 'columns', k.conkey,
            'sql', pg_get_expr(k.conbin, k.conrelid)))
        FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'),
    'keys', (
        SELECT json_agg(json_build_object('columns', k.conkey, 'target', k.confrelid::bigint,
            'referenced', (SELECT json_agg(r.attname ORDER BY u.position) FROM unnest(k.confkey) WITH ORDINALITY
                AS u (number, position) JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = u.number))
            ORDER BY k.conname)
        FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0),
    'unique', (
        SELECT json_agg(DISTINCT u.number) FROM pg_index i CROSS JOIN LATERAL (
            SELECT unnest(i.indkey::int2[])::int AS number UNION
            SELECT d.refobjsubid FROM pg_depend d WHERE i.indexprs IS NOT NULL AND d.classid = 'pg_class'::regclass
              AND d.objid = i.indexrelid AND d.refobjid = c.oid) AS u
        WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND u.number > 0))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.oid >= 16384 AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_toast', $1) AND c.relname <> ALL ($2::name[])
ORDER BY c.oid
"""
_G, _ROW, _COMBINATION = "made_rows_.g", "row_number_of_made_rows_", "combination_of_made_rows_"
"""Names that no column has: the number of a made row, and those of the rows and combinations that it is made of."""
_PATTERNS = 1000
"""Rows that serve as patterns."""
_FAR = 100_000
"""The number of a late row: a value that grows with it leaves a range at some time."""
_COMBINATIONS = 3000
"""Combinations of values that are tried for the CHECKs of one table."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its type, and whether it needs a value."""

    number: int
    name: str
    kind: str
    formatted: str
    length: int
    required: bool
    has_default: bool
    is_generated: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and what its rows have to satisfy.

    Attributes:
        oid: its oid.
        schema: its schema.
        name: its name.
        columns: all, in their order.
        checks: its CHECKs: name, columns and expression.
        keys: its foreign keys: columns, the target's oid and the referenced columns.
        unique: the numbers of the columns of its unique indexes.

    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    checks: tuple[tuple[str, tuple[int, ...], str], ...]
    keys: tuple[tuple[tuple[int, ...], int, tuple[str, ...]], ...]
    unique: frozenset[int]

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quoted(self.schema, self.name)

    @classmethod
    def parse(cls, text: str) -> "Table":
        """Parse a row of the query."""
        row: dict[str, Any] = json.loads(text)
        return cls(
            row["oid"],
            row["schema"],
            row["name"],
            tuple(Column(**column) for column in row["columns"] or ()),
            tuple((check["name"], tuple(check["columns"] or ()), check["sql"]) for check in row["checks"] or ()),
            tuple((tuple(key["columns"]), key["target"], tuple(key["referenced"])) for key in row["keys"] or ()),
            frozenset(row["unique"] or ()),
        )


async def read_tables(
    connection: "asyncpg.Connection[asyncpg.Record]", schema: str, ignored: list[str]
) -> dict[int, Table]:
    """Return the tables of a database by oid, without those of a schema and those of some names."""
    rows = await connection.fetch(_TABLES, schema, ignored)
    return {table.oid: table for table in (Table.parse(row[0]) for row in rows)}


async def fill(
    connection: "asyncpg.Connection[asyncpg.Record]", table: Table, tables: dict[int, Table], rows: int
) -> str | None:
    """Fill a table up to so many rows, and return why it has fewer; None where it hasn't."""
    count = await connection.fetchval(f"SELECT count(*) FROM {table.sql}")  # noqa: S608 - quoted
    if count >= rows:
        return None
    problem = None
    # first with a value in each column; a CHECK may want some of them empty
    for minimal in (False, True):
        try:
            async with connection.transaction():
                sql = await _insert(connection, table, tables, rows - count, has_pattern=count > 0, minimal=minimal)
                await connection.execute(sql)
        except (asyncpg.PostgresError, _UnfillableError) as error:
            problem = problem or f"{table.name}: {first_line(error)}"
        else:
            break
    total = await connection.fetchval(f"SELECT count(*) FROM {table.sql}")  # noqa: S608 - quoted
    if total >= rows:
        return None
    if total > count:
        return f"{table.name} has {total} rows: its unique columns take no more"
    return (
        f"{table.name} can't be filled: {problem.partition(': ')[2]}"
        if problem
        else (f"{table.name} can't be filled: its unique columns take no more")
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error, or its class: a trigger may raise one without a message."""
    return text_of(error, first_line=True) or type(error).__name__


class _UnfillableError(Exception):
    """A table needs a value that isn't known."""


async def _insert(
    connection: "asyncpg.Connection[asyncpg.Record]",
    table: Table,
    tables: dict[int, Table],
    count: int,
    *,
    has_pattern: bool,
    minimal: bool,
) -> str:
    """Return the INSERT of some rows."""
    sources = [f"generate_series(1, {count}) AS made_rows_ (g)"]
    expressions: dict[int, str] = {}
    pattern = f"SELECT * FROM {table.sql} LIMIT {_PATTERNS}" if has_pattern else ""  # noqa: S608 - quoted
    if has_pattern:
        size = await connection.fetchval(f"SELECT count(*) FROM ({pattern}) AS r")  # noqa: S608 - quoted
        numbered = f"SELECT *, row_number() OVER () AS {_ROW} FROM ({pattern}) AS r"  # noqa: S608 - quoted
        sources.append(f"JOIN ({numbered}) AS p ON p.{_ROW} = 1 + {_G} % {size}")
    await _refer(connection, table, tables, sources, expressions, minimal=minimal)
    references = frozenset(expressions)
    for column in table.columns:
        if column.is_generated or column.number in expressions:
            continue
        expression = _expression(table, column, has_pattern=has_pattern, minimal=minimal)
        if expression is not None:
            expressions[column.number] = expression
    expressions |= await _satisfying(connection, table, expressions, references, pattern)
    if not expressions:
        return f"INSERT INTO {table.sql} SELECT FROM {' '.join(sources)}"
    names = {column.number: quoted(column.name) for column in table.columns}
    columns, values = ", ".join(names[number] for number in expressions), ", ".join(expressions.values())
    return f"INSERT INTO {table.sql} ({columns}) SELECT {values} FROM {' '.join(sources)} ON CONFLICT DO NOTHING"  # noqa: S608


def _expression(table: Table, column: Column, *, has_pattern: bool, minimal: bool) -> str | None:
    """Return the value of a column that refers to no other table; None where it is left out.

    Raises:
        _UnfillableError: it needs a value, and none is known of its type.

    """
    if has_pattern and column.number not in table.unique:
        return f"p.{quoted(column.name)}"
    if column.has_default or (minimal and not column.required):
        return None
    made = value(column.kind, column.formatted, column.length, column.name, _number(has_pattern=has_pattern))
    if made is None and column.required:
        raise _UnfillableError(f"no value is known for {column.name}, of type {column.formatted}")
    return made


def _number(*, has_pattern: bool) -> str:
    """Return the number of a made row, as SQL: not one that a row of the team's own has."""
    return f"({_G} + 1000000)" if has_pattern else _G


async def _refer(
    connection: "asyncpg.Connection[asyncpg.Record]",
    table: Table,
    tables: dict[int, Table],
    sources: list[str],
    expressions: dict[int, str],
    *,
    minimal: bool,
) -> None:
    """Add the rows that foreign keys refer to: of several keys, all their combinations one after the other."""
    by_number = {column.number: column for column in table.columns}
    turn = 1
    for index, (numbers, target, referenced) in enumerate(table.keys):
        required = any(by_number[number].required for number in numbers)
        other = tables.get(target)
        size = await connection.fetchval(f"SELECT count(*) FROM {other.sql}") if other else 0  # noqa: S608 - quoted
        if other is None or other is table or not size or (minimal and not required):
            if required:
                name = other.name if other else "a table that isn't filled"
                raise _UnfillableError(f"{by_number[numbers[0]].name} refers to {name}, which has no rows")
            expressions |= {number: f"NULL::{by_number[number].formatted}" for number in numbers}
            continue
        columns = ", ".join(map(quoted, referenced))
        numbered = f"SELECT {columns}, row_number() OVER () AS {_ROW} FROM {other.sql}"  # noqa: S608 - quoted
        sources.append(f"JOIN ({numbered}) AS r{index} ON r{index}.{_ROW} = 1 + (({_G} - 1) / {turn}) % {size}")
        turn *= size
        for number, name in zip(numbers, referenced, strict=True):
            expressions.setdefault(number, f"r{index}.{quoted(name)}")


async def _satisfying(
    connection: "asyncpg.Connection[asyncpg.Record]",
    table: Table,
    expressions: dict[int, str],
    references: frozenset[int],
    pattern: str,
) -> dict[int, str]:
    """Return other expressions for the columns of CHECKs that the expressions don't satisfy.

    Raises:
        _UnfillableError: no combination of values that are known satisfies them.

    """
    by_number = {column.number: column for column in table.columns}
    checks = [
        (set(numbers), sql)
        for _, numbers, sql in table.checks
        if numbers and not any(by_number[number].is_generated for number in numbers)
    ]
    checks = [(numbers, sql) for numbers, sql in checks if not numbers & references]
    g = _number(has_pattern=bool(pattern))
    changed: dict[int, str] = {}
    while checks:
        numbers, conditions = set(checks[0][0]), list[str]()
        while group := [check for check in checks if check[0] & numbers]:
            numbers |= set().union(*(members for members, _ in group))
            conditions += [sql for _, sql in group]
            checks = [check for check in checks if check not in group]
        ordered = sorted(numbers)
        choices = []
        for number in ordered:
            column = by_number[number]
            # a column with a default may need a value beside that of another one
            made = value(column.kind, column.formatted, column.length, column.name, g)
            first = expressions.get(number) or made or ""
            constants = list(candidates(column.kind, column.formatted, " ".join(conditions), g))
            if made and column.kind in ("date", "timestamp", "timestamptz"):
                constants += [f"({made} {sign} INTERVAL '1 day')::{column.formatted}" for sign in "+-"]
            if pattern:
                constants.insert(0, f"p.{quoted(column.name)}")
                if column.kind in ("text", "varchar", "citext"):
                    own = f"p.{quoted(column.name)}"
                    constants[:0] = [f"({own} || {g})::{column.formatted}", f"({g} || {own})::{column.formatted}"]
            empty = [] if column.required else [f"NULL::{column.formatted}"]
            choices.append([*([first] if first else []), *constants, *empty])
        best = all(choices) and await _first(
            connection, [quoted(by_number[number].name) for number in ordered], choices, conditions, pattern
        )
        if not best:
            raise _UnfillableError(f"no value is known for {' AND '.join(conditions)}")
        changed |= dict(zip(ordered, best, strict=True))
    return changed


async def _first(
    connection: "asyncpg.Connection[asyncpg.Record]",
    names: list[str],
    choices: list[list[str]],
    conditions: list[str],
    pattern: str,
) -> tuple[str, ...] | None:
    """Return the first combination that satisfies the conditions for several rows, the first ones and a late one."""
    # the sum of the positions decides, so that no column varies before all others are through
    widest = max((len(choice) for choice in choices), default=0)
    while len(choices) > 1 and widest > 1 and _size(choices, widest) > _COMBINATIONS:
        widest -= 1
    combinations = list(islice(product(*(choice[:widest] if len(choices) > 1 else choice for choice in choices)), 5000))
    values = ", ".join(f"({index}, {', '.join(combination)})" for index, combination in enumerate(combinations))
    where = " AND ".join(f"({condition}) IS NOT FALSE" for condition in conditions)
    tried = (
        f"SELECT t.* FROM unnest(ARRAY[1, 2, {_FAR}]) AS made_rows_ (g) "  # noqa: S608 - quoted
        f"CROSS JOIN (SELECT * FROM ({pattern or 'SELECT'}) AS r LIMIT 1) AS p, "
        f"LATERAL (VALUES {values}) AS t ({_COMBINATION}, {', '.join(names)})"
    )
    query = (
        f"SELECT {_COMBINATION} FROM ({tried}) AS t WHERE {where} "  # noqa: S608 - quoted
        f"GROUP BY {_COMBINATION} HAVING count(*) = 3 ORDER BY {_COMBINATION} LIMIT 1"
    )
    index = await connection.fetchval(query)
    return None if index is None else combinations[index]


def _size(choices: list[list[str]], widest: int) -> int:
    size = 1
    for choice in choices:
        size *= min(len(choice), widest)
    return size

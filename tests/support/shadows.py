"""Shadows: functions, operators and types of somebody else's that fit our SQL better than PostgreSQL's own.

What our SQL uses is found by parsing it, and that of the drivers below: a query that somebody adds has its shadows too.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from service_migrations.settings.dsn import Dsn
from service_migrations.sql.lexer import Token, tokenize
from tests.support.database import query, run_script

PACKAGE = Path(__file__).resolve().parents[2] / "service_migrations"
_DRIVERS = ("asyncpg.introspection", "sqlalchemy.dialects.postgresql.base", "sqlalchemy.dialects.postgresql.asyncpg")
_SYMBOLS = set("+-*/<>=~!@#%^&|`?")
_WRITTEN_BY_SQLALCHEMY = {"=", "<>", "!=", "~~", "!~~", "||"}
_IMPLIED = {"IN": "=", "LIKE": "~~", "NULLIF": "=", "USING": "=", "BETWEEN": ">="}
"""Words of SQL that look up an operator by its name."""

_SQL = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|JOIN|OPERATOR|CAST|EXISTS|pg_catalog|SET)\b|::")
TYPES = [
    *("oid", "regclass", "name", "text", "varchar", '"char"', "int2", "int4", "int8", "bool"),
    *("timestamptz", "interval", "jsonb", "name[]", "text[]", "varchar[]", "oid[]", '"char"[]'),
]
"""The types of our arguments, in pairs for operators."""

_ALIKE = [
    {"name", "text", "varchar", '"char"'},
    {"oid", "regclass", "int2", "int4", "int8"},
    {"name[]", "text[]", "varchar[]"},
]
_MOST = 200
"""The shadows of one function: enough for each argument on its own to be of another type."""


@cache
def used_names() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the functions, operators and types that our SQL names."""
    functions, operators, types = set[str](), set(_WRITTEN_BY_SQLALCHEMY), set[str]()
    for sql in _texts():
        tokens = list(tokenize(sql))
        functions |= {token.value for token, after in pairwise(tokens) if token.kind == "word" and after == "("}
        operators |= {_IMPLIED[token.value.upper()] for token in tokens if token.value.upper() in _IMPLIED}
        operators.update(_operators(tokens))
        types |= {
            after.value
            for token, after in pairwise(token for token in tokens if token.value not in ("pg_catalog", "."))
            if token in ("::", "as") and after.kind in ("word", "name")
        }
    return frozenset(functions), frozenset(operators), frozenset(types)


def _operators(tokens: Iterable[Token]) -> Iterator[str]:
    symbol = ""
    for token in tokens:
        if token.kind == "symbol" and token.value in _SYMBOLS:
            symbol += token.value
        elif symbol:
            yield symbol
            symbol = ""


def _texts() -> Iterator[str]:
    yield from (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.sql"))
    for path in [*PACKAGE.rglob("*.py"), *map(_source, _DRIVERS)]:
        source = path.read_text(encoding="utf-8")
        yield from (f"{name}()" for name in re.findall(r"func\.(?:pg_catalog\.)?(\w+)", source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.search(node.value):
                yield node.value


def _source(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def plant(hostile: Dsn, schema: str) -> set[str]:
    """Plant shadows of everything that our SQL uses; each leaves a trace in the sequence ``public.ran`` and fails.

    Returns:
        The names of the functions, operators and types that have shadows.

    """
    functions, operators, types = used_names()
    spelled = dict(zip(TYPES, _formatted(hostile, TYPES), strict=True))
    shadows = {
        **_operator_shadows(hostile, f'"{schema}"', operators, spelled),
        **_function_shadows(hostile, f'"{schema}"', functions, spelled),
        **_type_shadows(hostile, f'"{schema}"', types),
    }
    statements = list(shadows.values())
    for start in range(0, len(statements), 500):
        run_script(hostile, ["; ".join(statements[start : start + 500])])
    return {key[0] for key in shadows}


def _operator_shadows(
    dsn: Dsn, schema: str, operators: frozenset[str], spelled: dict[str, str]
) -> dict[tuple[str, ...], str]:
    existing: dict[tuple[str, str, str], str] = {
        (row[0], row[1], row[2]): row[3]
        for row in query(
            dsn,
            "SELECT oprname, format_type(oprleft, NULL), format_type(oprright, NULL), format_type(oprresult, NULL) "
            "FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' ORDER BY oid DESC",
        )
    }
    results = {name: result for (name, _, _), result in existing.items()}
    shadows: dict[tuple[str, ...], str] = {}
    for operator in sorted(operators & results.keys()):
        result = results[operator] if results[operator] in ("boolean", "text", "interval", "jsonb") else "integer"
        for left, right in product(TYPES, TYPES):
            if (operator, spelled[left], spelled[right]) in existing:
                continue
            function = f"{schema}.shadow_{result}"
            key = (function, left, right)
            shadows.setdefault(key, _function(function, (left, right), result, f"an operator ({left}, {right})"))
            shadows[operator, left, right] = (
                f"CREATE OPERATOR {schema}.{operator} (FUNCTION = {function}, LEFTARG = {left}, RIGHTARG = {right})"
            )
    return shadows


def _function_shadows(
    dsn: Dsn, schema: str, functions: frozenset[str], spelled: dict[str, str]
) -> dict[tuple[str, ...], str]:
    shadows: dict[tuple[str, ...], str] = {}
    for row in _signatures(dsn, functions):
        for arguments in _variants(row, spelled):
            sql = _function(f'{schema}."{row["name"]}"', arguments, row["result"], f"{row['name']} {arguments}")
            shadows.setdefault((row["name"], *(spelled.get(each, each) for each in arguments)), sql)
    return shadows


def _type_shadows(dsn: Dsn, schema: str, types: frozenset[str]) -> dict[tuple[str, ...], str]:
    rows = query(
        dsn,
        "SELECT typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' "
        "AND typcategory <> 'A' AND typname = ANY ($1::text[])",
        sorted({_ALIASES.get(name.strip('"'), name.strip('"')) for name in types}),
    )
    shadows: dict[tuple[str, ...], str] = {}
    if rows:
        shadows["checks", ""] = _function(f"{schema}.shadow_check", (), "boolean", "a type")
    for (name,) in rows:
        shadows[name, ""] = f'CREATE DOMAIN {schema}."{name}" AS pg_catalog."{name}" CHECK ({schema}.shadow_check())'
    return shadows


_ALIASES = {
    "int": "int4",
    "smallint": "int2",
    "bigint": "int8",
    "integer": "int4",
    "boolean": "bool",
    "float": "float8",
}


def _formatted(dsn: Dsn, types: list[str]) -> list[str]:
    sql = "SELECT t::regtype::text FROM unnest($1::text[]) WITH ORDINALITY AS u (t, n) ORDER BY n"
    return [row[0] for row in query(dsn, sql, types)]


def _function(name: str, arguments: tuple[str, ...], result: str, what: str) -> str:
    what = what.replace("'", "")
    body = f"BEGIN PERFORM pg_catalog.nextval('public.ran'); RAISE EXCEPTION 'shadow of {what}'; END"
    return f"CREATE FUNCTION {name}({', '.join(arguments)}) RETURNS {result} LANGUAGE plpgsql AS $body$ {body} $body$"


def _signatures(dsn: Dsn, functions: frozenset[str]) -> list[Any]:
    return query(
        dsn,
        """
        SELECT proname::text AS name, provariadic = '"any"'::regtype AS any,
               ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n)
                   AS arguments,
               EXISTS (SELECT FROM pg_type t WHERE t.typtype = 'p' AND t.oid = ANY (proargtypes)) AS polymorphic,
               CASE WHEN (SELECT typtype FROM pg_type t WHERE t.oid = prorettype) = 'p' THEN 'text'
                    ELSE format_type(prorettype, NULL) END AS result
        FROM pg_proc WHERE proname = ANY ($1::text[]) AND pronamespace = 'pg_catalog'::regnamespace
          AND pronargs <= 3 AND prokind = 'f' ORDER BY oid
        """,
        sorted(functions),
    )


def _variants(row: Any, spelled: dict[str, str]) -> list[tuple[str, ...]]:
    """Return the arguments of the shadows of a function: types that are taken for its own."""
    arguments = list(row["arguments"])
    by_format = {formatted: name for name, formatted in spelled.items()}
    if row["any"] or row["polymorphic"]:
        choices = [TYPES if len(arguments) == 1 else ["name", "text", "oid"] for _ in arguments]
        lists = [choices, *([[["name", "text"]] * n for n in (2, 3, 4)] if row["any"] else [])]
    else:
        lists = [[_alike(argument, by_format) for argument in arguments]]
    variants = {variant for choices in lists for variant in [*product(*choices)][:_MOST]}
    own = tuple(arguments)
    return sorted(variant for variant in variants if tuple(spelled.get(each, each) for each in variant) != own)


def _alike(argument: str, by_format: dict[str, str]) -> list[str]:
    name = by_format.get(argument, argument)
    return [name, *sorted(each for group in _ALIKE if name in group for each in group if each != name)]

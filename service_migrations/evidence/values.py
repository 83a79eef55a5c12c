"""Values of made rows: an SQL expression for each type, and candidates for columns that a CHECK limits."""

import re
from collections.abc import Iterator

from service_migrations.sql.lexer import tokenize
from service_migrations.sql.patterns import matching
from service_migrations.sql.quoting import literal

__all__ = ["candidates", "value"]

_BY_TYPE = {
    "int2": "({g} % 32000 + 1)::int2",
    "int4": "{g}::int4",
    "int8": "{g}::int8",
    "oid": "{g}::oid",
    "float4": "{g}::float4",
    "float8": "{g}::float8",
    "money": "({g} % 1000)::numeric::money",
    "bool": "({g} % 2 = 0)",
    "uuid": "md5({seed} || {g})::uuid",
    "date": "DATE '2020-01-01' + ({g} % 20000)::int",
    "timestamp": "TIMESTAMP '2020-01-01' + {g} * INTERVAL '1 minute'",
    "timestamptz": "TIMESTAMPTZ '2020-01-01 00:00Z' + {g} * INTERVAL '1 minute'",
    "time": "TIME '00:00' + {g} * INTERVAL '1 second'",
    "timetz": "TIMETZ '00:00Z' + {g} * INTERVAL '1 second'",
    "interval": "{g} * INTERVAL '1 second'",
    "json": "json_build_object('n', {g})",
    "jsonb": "jsonb_build_object('n', {g})",
    "bytea": "decode(md5({seed} || {g}), 'hex')",
    "inet": "INET '10.0.0.0' + {g}",
    "cidr": "host(INET '10.0.0.0' + {g})::cidr",
    "macaddr": "('02' || lpad(to_hex({g}), 10, '0'))::macaddr",
    "tsvector": "to_tsvector('simple', {seed} || {g})",
    "point": "point({g}, {g})",
    "int4range": "int4range({g}::int4, {g}::int4 + 1)",
    "int8range": "int8range({g}, {g} + 1)",
    "numrange": "numrange({g}, {g} + 1)",
    "daterange": "daterange(DATE '2020-01-01' + ({g} % 20000)::int, DATE '2020-01-02' + ({g} % 20000)::int)",
    "tsrange": "tsrange(TIMESTAMP '2020-01-01' + {g} * INTERVAL '1 minute', "
    "TIMESTAMP '2020-01-01' + ({g} + 1) * INTERVAL '1 minute')",
    "tstzrange": "tstzrange(TIMESTAMPTZ '2020-01-01 00:00Z' + {g} * INTERVAL '1 minute', "
    "TIMESTAMPTZ '2020-01-01 00:00Z' + ({g} + 1) * INTERVAL '1 minute')",
    "xml": "xmlelement(name n, {g}::text)",
    "hstore": "('n=>' || {g})::hstore",
    "ltree": "('n' || {g})::ltree",
}
"""Distinct values for distinct {g}, as far as the type has as many."""

_TEXTS = ("text", "varchar", "bpchar", "citext", "name")
_LONG = 12
_SAMPLES = (
    *("a", "A", "ab", "AB", "EUR", "eur", "en", "en-GB", "name", "a-b", "a_b", "0", "1", "123", "1234567890"),
    *("a@example.org", "https://example.org", "example.org", "+31201234567", "2020-01-01", "12:00", "{}", "#aabbcc"),
)
_DISTINCT = (
    *("'a' || {g}", "'A' || {g}", "{g}::text", "'a' || {g} || '@example.org'", "'https://example.org/' || {g}"),
    *(
        "'+31' || 200000000 + {g}",
        "md5({g}::text)",
        "chr(65 + ({g} / 676 % 26)::int) || chr(65 + ({g} / 26 % 26)::int) || chr(65 + ({g} % 26)::int)",
    ),
)
"""Texts of which each row has another one."""
_NUMBERS = ("0", "1", "2", "10", "100", "-1", "0.5")


def value(kind: str, formatted: str, length: int, seed: str, g: str) -> str | None:
    """Return the expression of a value; None where nothing is known of the type.

    Args:
        kind: the name of the base type in pg_type; ``enum`` for every enum.
        formatted: the type of the column, as SQL.
        length: the longest text, or the digits before the point of a number; -1 where it is unlimited.
        seed: a text that differs from column to column.
        g: the number of the row, from 1, as SQL of type bigint.

    """
    if kind == "enum":
        labels = f"enum_range(NULL::{formatted})"
        return f"({labels})[1 + {g} % cardinality({labels})]"
    if kind in _TEXTS:
        return _text(formatted, length, seed, g)
    if kind in ("numeric", "bit", "varbit"):
        limited = f"{g} % {10 ** min(length, 15)}" if length >= 0 else g
        return f"({limited})::{formatted}" if kind == "numeric" else f"({g}::int)::bit({max(length, 1)})::{formatted}"
    if kind.startswith("_"):
        element = value(kind[1:], formatted.removesuffix("[]"), length, seed, g)
        return f"ARRAY[{element}]::{formatted}" if element else None
    pattern = _BY_TYPE.get(kind)
    return f"({pattern.format(g=g, seed=literal(seed))})::{formatted}" if pattern else None


def _text(formatted: str, length: int, seed: str, g: str) -> str:
    if 0 <= length < _LONG:
        return f"right(lpad({g}::text, {length}, '0'), {length})::{formatted}"
    text = f"{literal(seed[:20] + ' ')} || {g}"
    return f"({text})::{formatted}" if length < 0 else f"right({text}, {length})::{formatted}"


def candidates(kind: str, formatted: str, conditions: str, g: str) -> Iterator[str]:
    """Yield expressions of constants that may satisfy the CHECKs in which a column is, the likeliest first.

    Args:
        kind: as of ``value``.
        formatted: as of ``value``.
        conditions: the text of the CHECKs.
        g: as of ``value``.

    """
    strings = [token.value for token in tokenize(conditions) if token.kind == "string"]
    numbers = [token.value for token in tokenize(conditions) if token.kind == "number"]
    if kind == "enum":
        yield from (f"{literal(text)}::{formatted}" for text in dict.fromkeys(strings) if text.isidentifier())
        yield from (f"(enum_range(NULL::{formatted}))[{number}]" for number in range(1, 8))
    elif kind in _TEXTS:
        yield from (f"({pattern.format(g=g)})::{formatted}" for pattern in _DISTINCT)
        texts = [sample for text in strings for sample in (matching(text), text.strip("%"))]
        yield from (f"{literal(text)}::{formatted}" for text in dict.fromkeys((*texts, *_SAMPLES)))
    elif kind in ("int2", "int4", "int8", "numeric", "float4", "float8", "money"):
        near = [text for number in numbers if re.fullmatch(r"\d{1,9}(\.\d+)?", number) for text in _near(number)]
        yield from (f"({text})::numeric::{formatted}" for text in dict.fromkeys((*near, *_NUMBERS)))
    elif kind == "bool":
        yield from ("true", "false")
    elif kind in ("jsonb", "json"):
        yield from (f"'{text}'::{formatted}" for text in ("{}", "[]", '"a"', "1"))
    elif kind.startswith("_"):
        inner = candidates(kind[1:], formatted.removesuffix("[]"), conditions, g)
        yield from (f"ARRAY[{element}]::{formatted}" for element in inner)
        yield f"'{{}}'::{formatted}"


def _near(number: str) -> tuple[str, ...]:
    return number, f"{number} + 1", f"{number} - 1"

"""Quoting: names, constants and statements as SQL text."""

import re
from itertools import pairwise

from sqlalchemy.dialects.postgresql import asyncpg

from service_migrations.sql.lexer import Statement, statements

__all__ = [
    "VERBATIM",
    "check_sendable",
    "escaped",
    "line_of_copy_from_client",
    "literal",
    "literal_in_any_mode",
    "one_line",
    "one_line_literal",
    "quoted",
]

_PREPARER = asyncpg.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_PREPARER.legal_characters = re.compile(r"[a-z0-9_]+\Z")
_WORDS = (
    "authorization between bigint binary bit boolean char character coalesce collation concurrently cross "
    "current_schema dec decimal exists extract float freeze full greatest grouping ilike inner inout int integer "
    "interval is isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query "
    "json_scalar json_serialize json_table json_value least left like merge_action national natural nchar none "
    "normalize notnull nullif numeric out outer overlaps overlay position precision real right row setof similar "
    "smallint substring tablesample time timestamp treat trim values varchar verbose xmlattributes xmlconcat "
    "xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable"
)
_PREPARER.reserved_words = _PREPARER.reserved_words | frozenset(_WORDS.split())
"""Quoted is what quote_ident() of PostgreSQL quotes: our names are looked for in the server's texts."""

VERBATIM = {"no_parameters": True}
"""The execution options of a text that is sent as it is: psycopg would take a % in it for a parameter."""

_STREAM = re.compile(r"\bSTD(?:IN|OUT)\b", re.IGNORECASE)

_BIND = re.compile(r"(?<![:\w\\]):(?=\w+(?![:\w]))|\\(?=:\w*(?![:\w]))")
"""What ``sqlalchemy.text`` would take for a parameter, or for the escape of one."""

_TOKEN = re.compile(
    r"""(?P<dollar>\$(?P<tag>\w*)\$(?P<body>.*?)\$(?P=tag)\$)|(?P<escaped>\bE'(?:[^'\\]|''|\\.)*')"""
    r"""|(?P<text>'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")|(?P<space>\s+)""",
    re.DOTALL,
)


def check_sendable(sql: str) -> None:
    """Refuse a statement that a driver can't send: it would take its connection for lost, or wait for ever.

    Raises:
        TypeError: it has a NUL, or a half of a surrogate pair, or is a COPY from or to the client, which waits.

    """
    if _STREAM.search(sql):
        for statement in statements(sql):
            if _is_copy(statement, "from", "stdin"):
                raise TypeError(
                    "COPY FROM STDIN waits for rows, and nobody sends them. Write op.bulk_insert(…), or INSERT … VALUES"
                )
            if _is_copy(statement, "to", "stdout"):
                raise TypeError("COPY TO STDOUT sends rows, and nobody reads them. Write a SELECT, and read its rows")
    odd = "\0" if "\0" in sql else None
    if odd is None and not sql.isascii():
        odd = next((character for character in sql if "\ud800" <= character <= "\udfff"), None)
    if odd is not None:
        line = sql.count("\n", 0, sql.index(odd)) + 1
        raise TypeError(
            f"line {line} of the statement has the character U+{ord(odd):04X}, which PostgreSQL doesn't take"
        )


def line_of_copy_from_client(sql: str) -> int | None:
    """Return the line of the first statement that waits for rows of the client; None where there is none."""
    if not _STREAM.search(sql):
        return None
    return next((statement.line for statement in statements(sql) if _is_copy(statement, "from", "stdin")), None)


def _is_copy(statement: Statement, *direction: str) -> bool:
    """Whether a statement is a COPY of a direction; what stands in parentheses is a query, or columns."""
    depth, words = 0, []
    for token in statement.tokens:
        depth += (token == "(") - (token == ")")
        if not depth:
            words.append(token)
    return words[0] == "copy" and any(pair == direction for pair in pairwise(token.value for token in words))


def quoted(*names: str | None) -> str:
    """Quote a name for SQL, qualified by the names before it; None is left out."""
    return ".".join(_PREPARER.quote(name) for name in names if name is not None)


def literal(text: str | None) -> str:
    """Return a text as a string constant of SQL, None as NULL."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def literal_in_any_mode(text: str | None) -> str:
    """Return a text as a string constant, None as NULL, whatever ``standard_conforming_strings`` is."""
    return "E" + literal(text.replace("\\", r"\\")) if text is not None and "\\" in text else literal(text)


def escaped(sql: str) -> str:
    """Escape SQL for ``sqlalchemy.text``, which takes a colon before a word for a parameter."""
    return _BIND.sub(lambda match: "\\" + match.group(), sql)


def one_line_literal(text: str) -> str:
    """Return a text as a string constant in one line."""
    content = text.replace("'", "''")
    if not re.search(r"[\\\n\r]", content):
        return f"'{content}'"
    for character, escape in (("\\", r"\\"), ("\n", r"\n"), ("\r", r"\r")):
        content = content.replace(character, escape)
    return f"E'{content}'"


def one_line(sql: str) -> str:
    """Return SQL in one line; quoted text keeps its meaning.

    A list of differences is read, searched and piped by the line.
    """

    def flatten(match: re.Match[str]) -> str:
        if match["space"]:
            return " "
        if match["dollar"]:
            return one_line_literal(match["body"])
        if match["text"] and "\n" in match["text"]:
            return one_line_literal(match["text"][1:-1].replace("''", "'"))
        return match[0].replace("\n", r"\n") if match["escaped"] else match[0]

    return _TOKEN.sub(flatten, sql).strip()

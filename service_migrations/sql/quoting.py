"""Quoting: names, constants and whole statements as SQL writes them."""

import re

from sqlalchemy.dialects.postgresql import asyncpg

__all__ = ["escaped", "literal", "one_line", "one_line_literal", "quoted"]

_PREPARER = asyncpg.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_BIND = re.compile(r"(?<![:\w\\]):(?=\w+(?![:\w]))|\\(?=:\w*(?![:\w]))")
"""What ``sqlalchemy.text`` would take for a parameter, or for the escape of one."""

_TOKEN = re.compile(
    r"""(?P<dollar>\$(?P<tag>\w*)\$(?P<body>.*?)\$(?P=tag)\$)|(?P<escaped>\bE'(?:[^'\\]|''|\\.)*')"""
    r"""|(?P<text>'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")|(?P<space>\s+)""",
    re.DOTALL,
)


def quoted(*names: str | None) -> str:
    """Return a name as SQL writes it, qualified by those before it that are there."""
    return ".".join(_PREPARER.quote(name) for name in names if name is not None)


def literal(text: str | None) -> str:
    """Return a text as SQL writes it."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def escaped(sql: str) -> str:
    """Return SQL as ``sqlalchemy.text`` has to be given it: a colon before a word would be a parameter."""
    return _BIND.sub(lambda found: "\\" + found.group(), sql)


def one_line_literal(text: str) -> str:
    """Return a text as a string constant of one line."""
    quoted = text.replace("'", "''")
    if not re.search(r"[\\\n\r]", quoted):
        return f"'{quoted}'"
    for sign, escape in (("\\", r"\\"), ("\n", r"\n"), ("\r", r"\r")):
        quoted = quoted.replace(sign, escape)
    return f"E'{quoted}'"


def one_line(sql: str) -> str:
    """Return SQL in one line; what stands in quotes keeps its meaning.

    A list of differences is read, searched and piped by the line.
    """

    def flat(match: re.Match[str]) -> str:
        if match["space"]:
            return " "
        if match["dollar"]:
            return one_line_literal(match["body"])
        if match["text"] and "\n" in match["text"]:
            return one_line_literal(match["text"][1:-1].replace("''", "'"))
        return match[0].replace("\n", r"\n") if match["escaped"] else match[0]

    return _TOKEN.sub(flat, sql).strip()

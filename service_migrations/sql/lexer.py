"""SQL as tokens and statements, so that no string, comment or body is taken for a command.

Only as much of PostgreSQL's lexer as that needs. Source: documentation, 4.1 Lexical Structure.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from service_migrations.sql.identifiers import cut, folded

__all__ = ["Statement", "Token", "line_of_backslash", "requalified", "statements", "stray_parameter", "tokenize"]

_NO_LETTER = r"\x00-@\[-^`{-\x7f"
"""What no name begins with: PostgreSQL takes every character beyond ASCII for a letter, also a vowel sign or 🍕.

A class of what is a letter, of a million characters, takes Python ten milliseconds.
"""
_NO_LETTER_OR_DIGIT = r"\x00-/:-@\[-^`{-\x7f"
_NOT_IN_NAME = r"\x00-\#%-/:-@\[-^`{-\x7f"

_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\n\r\f\v]+ | --[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z))
    | (?P<dollar>\$(?P<tag>(?:[^{_NO_LETTER}][^{_NO_LETTER_OR_DIGIT}]*)?)\$)
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*(?:"|\Z))
    | (?P<word>[^{_NO_LETTER}][^{_NOT_IN_NAME}]*)
    | (?P<number>[0-9][\w.]*)
    | (?P<symbol>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)

_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{1,2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<one>.))",
    re.DOTALL,
)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token: ``kind`` is word, name (quoted), string, number or symbol; ``line`` counts from 1.

    A word and a name are as PostgreSQL has them: a word in lower case, and both cut where they are too long.
    """

    kind: str
    value: str
    line: int

    def __eq__(self, other: object) -> bool:
        """Whether this is that word or symbol; a quoted name or a string never is."""
        return self.kind in ("word", "symbol") and self.value == other

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True, slots=True)
class Statement:
    """The tokens of one statement, without its semicolon, its first and last line, and where it ends in the text."""

    tokens: tuple[Token, ...]
    line: int
    end: int
    stop: int


def tokenize(text: str) -> Iterator[Token]:
    """Yield the tokens of a text; white space and comments are left out."""
    return (token for token, _, _ in _placed(text))


def requalified(text: str, schema: str, name: str, replacement: str) -> str:
    """Replace a qualified name in a text; strings and comments stay as they are."""
    placed = list(_placed(text))
    spans = [
        (qualifier[1], last[2])
        for before, qualifier, dot, last in zip([None, *placed], placed, placed[1:], placed[2:], strict=False)
        if dot[0] == "." and _is(qualifier[0], schema) and _is(last[0], name) and not (before and before[0] == ".")
    ]
    for start, end in reversed(spans):
        text = text[:start] + replacement + text[end:]
    return text


def line_of_backslash(text: str) -> int | None:
    """Return the line of the first backslash that is in no string, name or comment; None without one."""
    return next((token.line for token in tokenize(text) if token == "\\"), None) if "\\" in text else None


def stray_parameter(text: str) -> str | None:
    """Return the first colon of a text that PostgreSQL has no meaning for, with the word after it; None without one.

    A colon is a cast (::), an assignment (:=), or separates the bounds of a subscript, as in ``a[1:2]``.
    """
    brackets: list[bool] = []
    """Of each open one, whether it is that of a subscript."""
    placed = list(_placed(text))
    for index, (token, _, end) in enumerate(placed):
        before = placed[index - 1][0] if index else None
        after, start = (placed[index + 1][0], placed[index + 1][1]) if index + 1 < len(placed) else (None, -1)
        if token == "[":
            brackets.append(before is not None and _can_have_subscripts(before))
        elif token == "(":
            brackets.append(False)
        elif token in ("]", ")"):
            brackets = brackets[:-1]
        elif token == ":" and not (brackets and brackets[-1]) and not (after == "=" and start == end):
            follows = after is not None and start == end and after.kind in ("word", "number")
            return f":{text[start : placed[index + 1][2]]}" if follows else ":"
    return None


def _can_have_subscripts(token: Token) -> bool:
    """Whether a bracket after a token is that of a subscript; after ARRAY or another bracket it begins a list."""
    return (token.kind in ("word", "name", "string") and token != "array") or token in (")", "]")


def _is(token: Token, name: str) -> bool:
    return token.kind in ("word", "name") and token.value == name


def _placed(text: str) -> Iterator[tuple[Token, int, int]]:
    """Yield the tokens of a text, each with its start and end."""
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # can't be: a symbol is any character
            return
        kind, value, end = match.lastgroup or "", match[0], match.end()
        if match["comment"]:
            end = _end_of_comment(text, end)
        elif match["dollar"]:
            body_end = text.find(value, end)
            body_end = len(text) if body_end < 0 else body_end
            body = Token("string", text[end:body_end], line)
            end = min(len(text), body_end + len(value))
            yield body, position, end
        elif match["escaped"] or match["string"]:
            string = value[value.index("'") + 1 :].removesuffix("'").replace("''", "'")
            string = _ESCAPE.sub(_unescaped, string) if match["escaped"] else string
            yield Token("string", string, line), position, end
        elif match["quoted"]:
            quoted = value[value.index('"') + 1 :].removesuffix('"').replace('""', '"')
            yield Token("name", cut(quoted), line), position, end
        elif not match["space"]:
            yield Token(kind, cut(folded(value)) if kind == "word" else value, line), position, end
        line += text.count("\n", position, end)
        position = end


def _unescaped(match: re.Match[str]) -> str:
    if match["one"]:
        return _CONTROLS.get(match["one"], match["one"])
    if match["octal"]:
        return chr(int(match["octal"], 8) % 256)
    code = int(match["hex"] or match["short"] or match["long"], 16)
    return chr(code) if code <= sys.maxunicode else match[0]


def statements(text: str) -> Iterator[Statement]:
    """Split a text into statements.

    The body of a function stays whole, also one that isn't a string (BEGIN ATOMIC).
    """
    statement: list[Token] = []
    depth, is_atomic = 0, False
    for token, _, stop in _placed(text):
        if token == ";" and not depth:
            if statement:
                yield Statement(tuple(statement), statement[0].line, token.line, stop)
            statement, is_atomic = [], False
            continue
        if token == "(":
            depth += 1
        elif token == ")":
            depth = max(0, depth - 1)
        elif token == "atomic" and statement and statement[-1] == "begin":
            depth, is_atomic = depth + 1, True
        elif is_atomic:
            depth += (token == "case") - (token == "end")
        statement.append(token)
    if statement:
        yield Statement(tuple(statement), statement[0].line, statement[-1].line, len(text))


def _end_of_comment(text: str, position: int) -> int:
    """Return the end of a block comment; they nest."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(text, position):
        depth += 1 if match[0] == "/*" else -1
        if not depth:
            return match.end()
    return len(text)

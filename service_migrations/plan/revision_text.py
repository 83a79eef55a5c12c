"""What the text of a revision file shows that its SQL doesn't: what it allows, and wider types."""

import ast
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from service_migrations.history.files.parsing import parse

__all__ = ["RevisionText", "keyword", "revision_text", "widens"]

_ALLOWED = re.compile(r"#+\s*allow\s+breaking\s*:\s*(\S.*)")
_INTEGERS = ("SmallInteger", "SMALLINT", "Integer", "INTEGER", "INT", "BigInteger", "BIGINT")
_TEXTS = ("String", "VARCHAR", "Unicode", "Text", "TEXT", "UnicodeText", "CHAR")
_NUMBERS = ("Numeric", "NUMERIC", "DECIMAL")


@dataclass(frozen=True, slots=True)
class RevisionText:
    """A revision file.

    Attributes:
        tree: its syntax tree.
        allowed: why it may break running code: the text after ``# allow breaking:``, a comment, so that it may be
            written after the revision was applied somewhere; empty without it.
        widenings: the lines of each ``alter_column()`` whose ``type_`` takes all that its ``existing_type`` took.
        unrewritten: those of them after which the rows are as they were.

    """

    tree: ast.Module
    allowed: str
    widenings: frozenset[int]
    unrewritten: frozenset[int]


def revision_text(path: Path) -> RevisionText:
    """Read a revision file.

    Raises:
        OSError: it can't be read.
        SyntaxError: it is no Python.

    """
    content = path.read_bytes()
    tree = parse(content)
    # a plan may have hundreds of files, and reading the tokens of one takes milliseconds
    allowed = _allowed(content) if b"breaking" in content else ""
    calls = list(_alterations(tree)) if b"alter_column" in content else []
    widenings, unrewritten = (_lines(filter(test, calls)) for test in (widens, _rewrites_nothing))
    return RevisionText(tree, allowed, widenings, unrewritten)


def _allowed(content: bytes) -> str:
    tokens = tokenize.tokenize(BytesIO(content).readline)
    comments = (token.string.strip() for token in tokens if token.type == tokenize.COMMENT)
    return next((match[1].strip() for comment in comments if (match := _ALLOWED.fullmatch(comment))), "")


def _alterations(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "alter_column":
            yield node


def _lines(calls: Iterable[ast.Call]) -> frozenset[int]:
    return frozenset(line for call in calls for line in range(call.lineno, (call.end_lineno or 0) + 1))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value of a keyword of a call."""
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def widens(call: ast.Call) -> bool:
    """Whether the new type of an ``alter_column()`` takes all that the one of before took, without a USING."""
    before, after = (_type(keyword(call, name)) for name in ("existing_type", "type_"))
    if before is None or after is None or keyword(call, "postgresql_using"):
        return False
    (name, limits), (new_name, new_limits) = before, after
    if name in _INTEGERS and new_name in _INTEGERS:
        return _size(name) <= _size(new_name)
    if name in _TEXTS and new_name in _TEXTS and new_name != "CHAR":
        return not new_limits or (bool(limits) and limits[0] <= new_limits[0])
    if name in _NUMBERS and new_name in _NUMBERS:
        (precision, scale), (new_precision, new_scale) = ((*each, 0, 0)[:2] for each in (limits, new_limits))
        digits, new_digits = precision - scale, new_precision - new_scale
        return not new_limits or (bool(limits) and digits <= new_digits and scale <= new_scale)
    return False


def _rewrites_nothing(call: ast.Call) -> bool:
    """Whether PostgreSQL only writes a wider type down: a longer varchar, or a numeric with as many decimal places."""
    before, after = (_type(keyword(call, name)) for name in ("existing_type", "type_"))
    if before is None or after is None or not widens(call):
        return False
    if before[0] in _NUMBERS:
        (_, scale), (_, new_scale) = ((*each[1], 0, 0)[:2] for each in (before, after))
        return not after[1] or scale == new_scale
    return before[0] in _TEXTS and before[0] != "CHAR"


def _size(name: str) -> int:
    return next(size for size, word in enumerate(("small", "int", "big")) if name.lower().startswith(word))


def _type(node: ast.expr | None) -> tuple[str, tuple[int, ...]] | None:
    """Return the name of a type and its limits; None where they aren't written out."""
    arguments: list[ast.expr] = []
    if isinstance(node, ast.Call):
        if [each.arg for each in node.keywords] not in (
            [],
            ["length"],
            ["precision"],
            ["precision", "scale"],
            ["scale"],
        ):
            return None
        arguments = [*node.args, *(each.value for each in node.keywords)]
        node = node.func
    if not isinstance(node, ast.Attribute | ast.Name):
        return None
    name = node.attr if isinstance(node, ast.Attribute) else node.id
    limits = [each.value for each in arguments if isinstance(each, ast.Constant) and isinstance(each.value, int)]
    return (name, tuple(limits)) if len(limits) == len(arguments) else None

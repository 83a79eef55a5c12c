"""The parent that a revision file names: read where it stands in the text, and exchanged without touching the rest."""

import ast
import re
from itertools import accumulate

from service_migrations.errors import UsageError

__all__ = ["exchange"]

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_REVISES = re.compile(rb"^([ \t]*(?:\"{3}|'{3})?Revises:)[ \t]*[\w.,\- ]*", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"


def exchange(source: bytes, parent: str, where: str) -> bytes:
    """Return a revision file's text with another ``down_revision``, and another ``Revises:`` in its docstring.

    Args:
        source: the text, in UTF-8.
        parent: the id of the new parent.
        where: the file's name for a message.

    Raises:
        UsageError: the text has no ``down_revision = "…"`` of its own, or is no Python.

    """
    text = source.removeprefix(_BOM)
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{where} is no Python: {error}. Nothing was changed.") from error
    values = [value for node in module.body if (value := _down_revision(node)) is not None]
    if len(values) != 1 or not _is_plain(values[0]):
        raise UsageError(
            f'{where}: down_revision is no plain text, so it can\'t be exchanged. Write down_revision = "{parent}" '
            f"there by hand. Nothing was changed."
        )
    starts = [0, *accumulate(len(line) for line in _LINE.findall(text))]
    old = slice(*_span(values[0], starts))
    quote = b"'" if text[old].startswith(b"'") else b'"'
    changed = text[: old.start] + quote + parent.encode() + quote + text[old.stop :]
    docstring = module.body[0]
    if isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant):
        # it stands before the assignment, so its place is the same
        first, last = _span(docstring, starts)
        told = _REVISES.sub(lambda found: found[1] + b" " + parent.encode(), changed[first:last], count=1)
        changed = changed[:first] + told + changed[last:]
    return source[: len(source) - len(text)] + changed


def _down_revision(node: ast.stmt) -> ast.expr | None:
    """Return what a statement assigns to ``down_revision``."""
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return None
    return value if any(isinstance(one, ast.Name) and one.id == "down_revision" for one in targets) else None


def _is_plain(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str))


def _span(node: ast.stmt | ast.expr, starts: list[int]) -> tuple[int, int]:
    """Return where a node begins and ends; Python counts its columns in bytes of UTF-8."""
    last, column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return starts[node.lineno - 1] + node.col_offset, starts[last - 1] + column

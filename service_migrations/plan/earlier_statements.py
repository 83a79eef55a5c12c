"""The statements by which a history has created functions and domains before a plan.

What a call of a function does is in its body, and a column of a domain with a constraint is checked row by row.
"""

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from service_migrations.history.files.parsing import tree_of
from service_migrations.history.revisions import History
from service_migrations.history.sql.offline import Rendered
from service_migrations.history.sql.texts import text_of
from service_migrations.sql.lexer import Token, statements

__all__ = ["earlier_statements"]

_STATEMENT = r"\b(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE|DOMAIN)|(?:ALTER|DROP)\s+DOMAIN)\s"
_IN_FILE, _IN_TEXT = re.compile(_STATEMENT.encode(), re.IGNORECASE), re.compile(_STATEMENT, re.IGNORECASE)


def earlier_statements(history: History, rendered: Collection[Rendered]) -> Iterator[Sequence[Token]]:
    """Yield the statements that the texts of the revisions outside of a plan show; of a downgrade, of all revisions."""
    planned = {each.revision.revision for each in rendered if not each.down}
    for revision in history.revisions:
        path = history.service.root / revision.path
        if revision.revision not in planned and path.is_file():
            yield from _statements_of(path)


def _statements_of(path: Path) -> Iterator[Sequence[Token]]:
    """Yield those of a revision file that aren't in its downgrade()."""
    source = path.read_bytes()
    if not _IN_FILE.search(source):
        return
    try:
        tree = tree_of(source)
    except (SyntaxError, ValueError):
        return
    parts: set[int] = set()
    for top in tree.body:
        if isinstance(top, ast.FunctionDef) and top.name == "downgrade":
            continue
        for node in ast.walk(top):
            text = None if id(node) in parts else text_of(node, parts)
            if text and _IN_TEXT.search(text):
                yield from (each.tokens for each in statements(text))

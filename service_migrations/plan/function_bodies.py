"""The functions that a history has created before a plan: what a call of one does is in its body."""

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from service_migrations.history.files.parsing import tree_of
from service_migrations.history.revisions import History
from service_migrations.history.sql.offline import Rendered
from service_migrations.history.sql.texts import text_of
from service_migrations.plan.statements.called import body_of, created_function
from service_migrations.sql.lexer import Token, statements

__all__ = ["function_bodies"]

_CREATED = r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\s"
_IN_FILE, _IN_TEXT = re.compile(_CREATED.encode(), re.IGNORECASE), re.compile(_CREATED, re.IGNORECASE)
_CALLED = re.compile(r"\w+(?=\"?\s*\()")


def function_bodies(history: History, rendered: Collection[Rendered]) -> dict[str, Sequence[Token]]:
    """Return the tokens in the body of each function that the plan may call, by its name.

    They are those that the texts of the revisions outside of the plan show; of a downgrade, of all revisions.
    """
    called = {name.lower() for each in rendered for piece in each.pieces for name in _CALLED.findall(piece.sql)}
    planned = {each.revision.revision for each in rendered if not each.down}
    bodies: dict[str, Sequence[Token]] = {}
    for revision in history.revisions:
        path = history.service.root / revision.path
        if revision.revision in planned or not called or not path.is_file():
            continue
        for tokens in _created_functions(path):
            name = created_function(tokens)
            if name.rpartition(".")[2] in called:
                bodies[name] = body_of(tokens)
    return bodies


def _created_functions(path: Path) -> Iterator[Sequence[Token]]:
    """Yield each CREATE FUNCTION that is not in the downgrade() of a revision file."""
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
                yield from (each.tokens for each in statements(text) if created_function(each.tokens))

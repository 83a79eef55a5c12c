"""The functions that a plan creates and then calls: what they do is seen, since their bodies are there."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from service_migrations.plan.statements.nested import Unseen, nested_statements
from service_migrations.sql.clauses import name_at
from service_migrations.sql.lexer import Token, tokenize

__all__ = ["Bodies", "body_of", "called_statements"]

Bodies = Mapping[str, Sequence[Token]]
"""The tokens of each body, by the name of its function."""

_START = Token("symbol", ";", 1)
_CALLS_NONE = ("create", "alter", "drop", "comment", "grant", "revoke")
"""Statements in which a function is named and not called; a trigger calls it later."""
_READABLE = ("plpgsql", "sql")


def body_of(statement: Sequence[Token]) -> Sequence[Token]:
    """Return the tokens in the body of a CREATE FUNCTION or PROCEDURE; none where it can't be read."""
    language = next((after.value for word, after in pairwise(statement) if word == "language"), "sql")
    if language.lower() not in _READABLE:
        return ()
    for index, (word, after) in enumerate(pairwise(statement)):
        if word == "as" and after.kind == "string":
            return (_START, *tokenize(after.value))
        if word == "begin" and after == "atomic":
            return (_START, *statement[index + 2 :])
    return ()


def called_statements(
    statement: Sequence[Token], bodies: Bodies, seen: frozenset[str] = frozenset()
) -> Iterator[Sequence[Token] | Unseen]:
    """Yield the statements of the functions that a statement calls, and of those that these call.

    Args:
        statement: its tokens.
        bodies: those of the functions that the plan has created.
        seen: the functions that call it.

    """
    if not bodies or not statement or statement[0] in _CALLS_NONE:
        return
    tokens = list(statement)
    if statement[0] == "do":
        tokens = [each for token in statement if token.kind == "string" for each in tokenize(token.value)]
    for index, token in enumerate(tokens[:-1]):
        if tokens[index + 1] != "(" or token.kind not in ("word", "name") or tokens[max(0, index - 1)] == "into":
            continue
        name = name_at(tokens, index - 2 * (index > 1 and tokens[index - 1] == "."))[0]
        if name in bodies and name not in seen:
            yield from nested_statements(bodies[name], is_block=True)
            yield from called_statements(bodies[name], bodies, seen | {name})

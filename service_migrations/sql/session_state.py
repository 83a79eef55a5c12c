"""What SQL leaves in the session that runs it: settings, a role, temporary tables, prepared statements, cursors."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from service_migrations.sql.clauses import actions, statement_inside
from service_migrations.sql.lexer import Token, statements, tokenize

__all__ = ["restoring"]

_BEGIN_STATEMENT = (";", "begin", "then", "else", "loop")
"""What stands before a statement in the body of a DO block."""
_KINDS, _BEFORE_TEMPORARY = ("table", "view", "recursive", "sequence"), ("into", "local", "global")
_OF_TRANSACTION = ("local", "transaction", "constraints")
_ROLES = {"role": "RESET ROLE", "session_authorization": "RESET SESSION AUTHORIZATION"}
_RESET, _CLOSE, _DEALLOCATE = "RESET ALL", "CLOSE ALL", "DEALLOCATE ALL"
_DROP_TEMPORARY = (_CLOSE, "DISCARD TEMP")
_ORDER = (_RESET, *_DROP_TEMPORARY, _DEALLOCATE, _ROLES["session_authorization"], _ROLES["role"])


def restoring(sql: str) -> list[str]:
    """Return the statements that put back what a text sets for its session; an empty list where it sets nothing.

    They restore the values with which the session began, whatever was set before the text, and drop all temporary
    tables, prepared statements and cursors. What a function does that the text calls isn't seen.
    """
    clauses = {each for statement in statements(sql) for each in _restoring(statement.tokens)}
    return [each for each in _ORDER if each in clauses]


def _restoring(statement: Sequence[Token]) -> Iterator[str]:
    words = [token.value if token.kind == "word" else "" for token in statement]
    if words[0] == "set":
        yield from _of_set(words[1 + (words[1:2] == ["session"]) :])
    elif words[0] in ("create", "select", "with") and _makes_temporary(statement):
        yield from _DROP_TEMPORARY
    elif words[0] == "prepare" and words[1:2] != ["transaction"]:
        yield _DEALLOCATE
    elif words[0] == "declare" and ("with", "hold") in pairwise(words):
        yield _CLOSE
    elif words[0] == "do":
        for token in statement:
            if token.kind == "string":
                yield from _of_block(list(tokenize(token.value)))
    for index, (token, after) in enumerate(pairwise(statement)):
        if token == "set_config" and after == "(":
            yield from _of_function(statement_inside(statement[index + 2 :]))


def _makes_temporary(statement: Sequence[Token]) -> bool:
    """Whether CREATE, or SELECT … INTO, makes something temporary; a column may be called temp."""
    for before, token, after in zip(statement, statement[1:], statement[2:], strict=False):
        is_word = token in ("temp", "temporary") and (after in _KINDS or before in _BEFORE_TEMPORARY)
        if is_word or (token == "pg_temp" and after == "."):
            return True
    return False


def _of_set(words: Sequence[str]) -> Iterator[str]:
    if words[:1] == ["authorization"]:
        yield _ROLES["session_authorization"]
    elif words[:1] and words[0] not in _OF_TRANSACTION:
        yield _ROLES.get(words[0], _RESET)


def _of_function(inside: Sequence[Token]) -> Iterator[str]:
    arguments = list(actions(inside))
    if len(arguments) == len(("name", "value", "is_local")) and arguments[2] != ["true"]:
        yield _ROLES.get(arguments[0][0].value.lower(), _RESET)


def _of_block(body: Sequence[Token]) -> Iterator[str]:
    """Yield what the statements of a block, and of the texts that it executes, leave."""
    for index, token in enumerate(body):
        before = body[index - 1] if index else Token("symbol", ";", 1)
        if token.kind == "string":
            yield from _restoring_of_text(token.value)
        elif token.kind == "word" and (before in _BEGIN_STATEMENT or token == "set_config"):
            yield from _restoring(statement_inside(body[index:]))


def _restoring_of_text(text: str) -> Iterator[str]:
    return (each for statement in statements(text) for each in _restoring(statement.tokens))

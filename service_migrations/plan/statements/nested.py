"""The statements inside of a statement: in a CTE, in the body of a DO block, in the text that its EXECUTE runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service_migrations.sql.clauses import statement_inside
from service_migrations.sql.dynamic import UNKNOWN, executed_texts
from service_migrations.sql.lexer import Token, statements, tokenize

__all__ = ["ROW_CHANGES", "Unseen", "nested_statements", "statements_of_block"]

ROW_CHANGES = ("insert", "update", "delete", "merge")
"""The commands that change rows."""

_NESTED_COMMANDS = (*ROW_CHANGES, "truncate", "drop", "alter", "call", "create", "grant", "revoke")
_BLOCK_COMMANDS = ("reindex", "refresh", "lock", "cluster", "copy", "comment")
"""Commands that only a block runs; elsewhere they are names of columns."""
_BLOCK_STARTS = (";", "begin", "then", "else", "loop")
_STATEMENT_STARTS_AFTER = (";", "begin", "then", "else", "loop", "(", ")", "in")
"""IN is that of FOR … IN DELETE … RETURNING … LOOP, and of FOR … IN EXECUTE."""
_READABLE = ("plpgsql", "sql")
"""The languages of blocks that are read."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Code inside of a statement that isn't there to be read: ``subject`` is what stands before "can't be seen"."""

    subject: str


def statements_of_block(block: Sequence[Token]) -> Iterator[Sequence[Token] | Unseen]:
    """Yield the statements in the body of a DO block."""
    language = next((after.value for word, after in pairwise(block) if word == "language"), _READABLE[0])
    if language not in _READABLE:
        yield Unseen(f"a block in {language} does")
        return
    for token in block:
        if token.kind == "string":
            body = [Token("symbol", ";", 1), *tokenize(token.value)]
            yield from nested_statements(body, is_block=True)


def nested_statements(statement: Sequence[Token], *, is_block: bool = False) -> Iterator[Sequence[Token] | Unseen]:
    """Yield the statements in a CTE, or in the body of a block."""
    end_of_merge = 0
    for index, token in enumerate(statement[1:], 1):
        before = statement[index - 1]
        starts = before in _STATEMENT_STARTS_AFTER or (before == "for" and token == "execute")  # OPEN … FOR EXECUTE
        if token.kind != "word" or not starts or index < end_of_merge:
            continue
        own = statement_inside(statement[index:])
        if before == "in":  # the loop's own statements follow
            own = own[: next((end for end, each in enumerate(own) if each == "loop"), len(own))]
        if token.value == "merge":  # its THEN DELETE is no statement
            end_of_merge = index + len(own)
        if token.value == "execute":
            yield from _executed(own[1:])
        elif token.value in _NESTED_COMMANDS or (
            is_block and before in _BLOCK_STARTS and token.value in _BLOCK_COMMANDS and not _is_assigned(own)
        ):
            yield own


def _is_assigned(own: Sequence[Token]) -> bool:
    """Whether a statement of a block begins with a variable."""
    return own[1:2] != [] and own[1] in (":", "=", ".", "[")


def _executed(expression: Sequence[Token]) -> Iterator[Sequence[Token] | Unseen]:
    """Yield what a block's EXECUTE runs; that of a trigger names a function."""
    if expression[:1] and expression[0] in ("function", "procedure"):
        return
    texts = list(executed_texts(expression))
    is_read = expression[:1] and (expression[0].kind in ("string", "symbol") or expression[0] == "format")
    if not is_read or not texts or any(text.startswith(UNKNOWN) for text in texts):
        yield Unseen("EXECUTE runs")
    for text in texts:
        yield from (statement.tokens for statement in statements(text))

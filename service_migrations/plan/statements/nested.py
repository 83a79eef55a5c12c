"""The statements inside of a statement: in a CTE, in the body of a DO block, in the text that its EXECUTE runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service_migrations.sql.clauses import actions, name_at, own_at, statement_inside
from service_migrations.sql.created import KINDS
from service_migrations.sql.dynamic import UNKNOWN, executed_texts, possible_texts
from service_migrations.sql.lexer import Token, statements, tokenize

__all__ = ["ROW_CHANGES", "Unseen", "is_statement", "nested_statements", "statements_of_block"]

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
_OBJECT_KINDS = (*KINDS, "index", "unique", "or", "unlogged", "trigger", "policy", "rule", "database", "owned")
_SECOND_WORDS = {
    **dict.fromkeys(("create", "alter", "drop"), _OBJECT_KINDS),
    **dict.fromkeys(("insert", "merge"), ("into",)),
    "delete": ("from",),
    "refresh": ("materialized",),
    "reindex": ("index", "table", "schema", "database", "system"),
}
"""What tells a statement from prose, such as the text of a message."""


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
    """Yield the statements in a CTE, or in the body of a block.

    Where what a block executes isn't known, such as a variable, each statement in a text of the block may be that.
    """
    end_of_merge, is_unseen = 0, False
    for index, token in enumerate(statement[1:], 1):
        before = statement[index - 1]
        starts = (
            before in _STATEMENT_STARTS_AFTER
            or (before == "for" and token == "execute")  # OPEN … FOR EXECUTE
            or (is_block and before == ">" and statement[index - 2] == ">")  # <<label>>
        )
        if token.kind != "word" or not starts or index < end_of_merge:
            continue
        own = statement_inside(statement[index:])
        if before == "in":  # the loop's own statements follow
            own = own[: next((end for end, each in enumerate(own) if each == "loop"), len(own))]
        if token.value == "merge":  # its THEN DELETE is no statement
            end_of_merge = index + len(own)
        if token.value == "execute":
            for executed in _executed(own[1:]):
                is_unseen = is_unseen or isinstance(executed, Unseen)
                yield executed
        elif token.value in _NESTED_COMMANDS or (
            is_block and before in _BLOCK_STARTS and token.value in _BLOCK_COMMANDS and not _is_assigned(own)
        ):
            yield own
    if is_block and is_unseen:
        texts = dict.fromkeys(possible_texts(statement))
        yield from (inside.tokens for text in texts for inside in statements(text) if is_statement(inside.tokens))


def is_statement(tokens: Sequence[Token]) -> bool:
    """Whether a text is a statement that may be executed, and no prose."""
    first, second = ([token.value if token.kind == "word" else "" for token in tokens[:2]] + ["", ""])[:2]
    if first in _SECOND_WORDS:
        return second in _SECOND_WORDS[first]
    if first == "update":
        return own_at(tokens, "set") is not None
    return first == "truncate" or (first == "call" and tokens[-1] == ")")


def _is_assigned(own: Sequence[Token]) -> bool:
    """Whether a statement of a block begins with a variable."""
    return own[1:2] != [] and own[1] in (":", "=", ".", "[")


def _executed(expression: Sequence[Token]) -> Iterator[Sequence[Token] | Unseen]:
    """Yield what a block's EXECUTE runs; that of a trigger names a function."""
    if expression[:1] and expression[0] in ("function", "procedure"):
        return
    inside = [statement.tokens for text in executed_texts(expression) for statement in statements(text)]
    if not all(map(_is_known, inside)) or not inside:
        yield Unseen("EXECUTE runs")
    yield from inside


def _is_known(statement: Sequence[Token]) -> bool:
    """Whether it is known what a statement does, be it to an object whose name is put together."""
    if any(UNKNOWN in token.value for token in statement[: 1 + (statement[0] in _SECOND_WORDS)]):
        return False
    if statement[0] != "alter":
        return True
    parts = list(actions(statement[name_at(statement, 2)[1] :]))
    return bool(parts) and not any(UNKNOWN in part[0].value for part in parts)

"""The conditions of DELETE and UPDATE that take all rows: people write them to please a linter."""

from collections.abc import Iterator, Sequence

from service_migrations.sql.clauses import has_own, own_at, statement_inside
from service_migrations.sql.lexer import Token

__all__ = ["takes_all"]

_COMPARISON = 3
"""How many tokens two values and what is between them have."""


def takes_all(statement: Sequence[Token]) -> bool:
    """Whether a DELETE or UPDATE has no condition, or one that is always true."""
    start = own_at(statement, "where")
    if start is None:
        return True
    return _is_true(statement[start + 1 : own_at(statement, "returning")])


def _is_true(condition: Sequence[Token]) -> bool:
    """Whether a condition is certainly true: of constants, or of a value and itself, also with AND and OR."""
    while len(condition) > 1 and condition[0] == "(" and len(statement_inside(condition[1:])) == len(condition) - 2:
        condition = condition[1:-1]
    for word, combine in (("or", any), ("and", all)):
        if has_own(condition, word):
            return combine(map(_is_true, _split(condition, word)))
    values = [token.value.lower() for token in condition]
    if values in (["true"], ["not", "false"]):
        return True
    if len(condition) != _COMPARISON:
        return False
    left, operator, right = condition
    if operator == "=":
        return left.kind in ("number", "string") and left.value == right.value
    if left.kind == right.kind == "number" and left.value.isdigit() and right.value.isdigit():
        return (operator == "<" and int(left.value) < int(right.value)) or (
            operator == ">" and int(left.value) > int(right.value)
        )
    return False


def _split(tokens: Sequence[Token], word: str) -> Iterator[Sequence[Token]]:
    """Split tokens at a word outside of parentheses."""
    while (index := own_at(tokens, word)) is not None:
        yield tokens[:index]
        tokens = tokens[index + 1 :]
    yield tokens

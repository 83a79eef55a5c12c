"""Texts that are put together when they run: what is known of them before."""

import re
from collections.abc import Iterator, Sequence

from service_migrations.sql.clauses import actions, statement_inside
from service_migrations.sql.lexer import Token

__all__ = ["UNKNOWN", "executed_texts", "fits"]

UNKNOWN = "…"
"""What stands for a part that isn't known, such as a name that ``format`` or ``||`` fills in; a letter of a name."""

_PLACE = re.compile(r"%(?:\d+\$)?-?(?:\d+|\*)?[ILs]")
"""Where ``format`` fills something in."""


def executed_texts(expression: Sequence[Token]) -> Iterator[str]:
    """Yield the texts that the EXECUTE of a block may run."""
    if "||" not in "".join(token.value for token in expression if token.kind == "symbol"):
        yield from (_PLACE.sub(UNKNOWN, token.value) for token in expression if token.kind == "string")
        return
    parts: list[str] = []
    index = 0
    while index < len(expression):
        token = expression[index]
        index += 1
        if token == "format" and expression[index : index + 1] and expression[index] == "(":
            arguments = statement_inside(expression[index + 1 :])  # all but the first stand for its places
            parts.extend(executed_texts(next(iter(actions(arguments)), ())))
            index += len(arguments) + 2
        elif token.kind == "string":
            parts.append(_PLACE.sub(UNKNOWN, token.value))
        elif token.kind != "symbol" and parts[-1:] != [UNKNOWN]:
            parts.append(UNKNOWN)
    yield "".join(parts)


def fits(name: str, pattern: str) -> bool:
    """Whether a name may be one of which only parts are known."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split(UNKNOWN))), name, re.DOTALL) is not None

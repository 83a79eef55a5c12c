"""What ends a sequence earlier: a limit, a smaller type, another direction."""

from collections.abc import Iterator, Sequence

from service_migrations.plan.statements.columns import words_of
from service_migrations.sql.lexer import Token

__all__ = ["limits"]

_SMALLER = ("smallint", "int2", "integer", "int", "int4")
_LARGEST = "9223372036854775807"
"""The last number of a bigint."""


def limits(options: Sequence[Token], name: str) -> Iterator[str]:
    """Yield how the next value of a sequence, or of an identity column, fails after its options are others.

    Args:
        options: the tokens that set them.
        name: that of the sequence, or of the column.

    """
    words = words_of(options)
    values = [token.value for token in options]
    for at, word in enumerate(words):
        rest = values[at + 1 : at + 3]
        is_limit = word == "maxvalue" and words[at - 1] != "no" and rest[:1] != [_LARGEST]
        if is_limit or (word == "as" and rest[:1] and rest[0] in _SMALLER):
            yield f"An INSERT that takes the next value of {name} fails from its new limit on."
            return
        if word == "increment" and "-" in (rest[:2] if rest[:1] == ["by"] else rest[:1]):
            yield f"An INSERT that takes the next value of {name} fails at its first value, or gets a number again."
            return

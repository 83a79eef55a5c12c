"""The text of a revision for squawk: each statement begins on a line of its own, and those of a DO block follow it.

squawk names the line of a warning, and takes the body of a block for a string.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from service_migrations.plan.squawk import SquawkWarning, squawk
from service_migrations.plan.statements.called import Bodies, called_statements
from service_migrations.plan.statements.nested import Unseen, statements_of_block
from service_migrations.sql.dynamic import UNKNOWN
from service_migrations.sql.lexer import Token
from service_migrations.sql.quoting import one_line_literal

__all__ = ["SquawkLine", "block_statements", "sql_of", "warnings_of"]

_SYNTAX_ERROR = "syntax-error"


@dataclass(frozen=True, slots=True)
class SquawkLine:
    """One line.

    Attributes:
        text: its text.
        statement: the index of its statement in the review; None for one of a transaction.
        sql_line: the line of the plan's SQL that it is of.
        is_nested: whether the statement is one of a DO block.

    """

    text: str
    statement: int | None = None
    sql_line: int | None = None
    is_nested: bool = False


async def warnings_of(lines: Sequence[SquawkLine], version: str) -> list[SquawkWarning]:
    """Return the warnings of squawk about lines, whose indexes are those of their lines.

    Raises:
        SquawkError: squawk is missing, or failed.

    """
    numbered = list(enumerate(lines))
    warnings = await _warnings([each for each in numbered if not each[1].is_nested], version)
    nested = [each for each in numbered if each[1].is_nested]
    return warnings + (await _warnings(nested, version) if nested else [])


async def _warnings(lines: Sequence[tuple[int, SquawkLine]], version: str) -> list[SquawkWarning]:
    sql = "\n".join(["BEGIN;", *(line.text for _, line in lines), "COMMIT;"])
    warnings = await squawk(sql, version)
    numbers = list(dict.fromkeys(line.statement for _, line in lines if line.statement is not None))
    if len(numbers) > 1 and any(warning.rule == _SYNTAX_ERROR for warning in warnings):
        # of a text with a statement that it can't read, squawk reads no other one either
        middle = next(at for at, (_, line) in enumerate(lines) if line.statement == numbers[len(numbers) // 2])
        return await _warnings(lines[:middle], version) + await _warnings(lines[middle:], version)
    # the first line is that of BEGIN, and lines count from 1
    placed = ((warning, warning.line - 2) for warning in warnings)
    return [
        replace(warning, line=lines[at][0]) if 0 <= at < len(lines) else replace(warning, line=-1)
        for warning, at in placed
    ]


def block_statements(statement: Sequence[Token], bodies: Bodies) -> Iterator[Sequence[Token]]:
    """Yield the statements in a DO block, or in functions that a statement calls, that squawk may know."""
    inside = [*(statements_of_block(statement) if statement[0] == "do" else ()), *called_statements(statement, bodies)]
    for each in inside:
        if not isinstance(each, Unseen) and each and each[0] in ("alter", "create", "reindex"):
            yield each


def sql_of(tokens: Sequence[Token]) -> str:
    """Return tokens as a statement on one line."""
    return f"{' '.join(map(_text, tokens))};"


def _text(token: Token) -> str:
    if token.kind == "string":
        return one_line_literal(token.value)
    if token.kind == "name" or UNKNOWN in token.value:
        quoted = token.value.replace('"', '""').replace("\n", " ")
        return f'"{quoted}"'
    return token.value

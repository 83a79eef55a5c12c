"""The clauses of one statement, read from its tokens: names, the actions of an ALTER, conditions."""

from collections.abc import Iterator, Sequence

from service_migrations.sql.lexer import Token

__all__ = [
    "actions",
    "checked_column",
    "has_own",
    "index_table",
    "name_at",
    "names",
    "names_in_parentheses",
    "not_nulls",
    "own_at",
    "parts_at",
    "split_name",
    "statement_inside",
]

_BEFORE_NAME = ("if", "not", "exists", "only", "concurrently")


def parts_at(tokens: Sequence[Token], index: int) -> tuple[list[str], int]:
    """Return the parts of the qualified name at an index, and the index after it.

    There are none where no name is at that index.
    """
    while index < len(tokens) and tokens[index].kind == "word" and tokens[index].value in _BEFORE_NAME:
        index += 1
    parts: list[str] = []
    while index < len(tokens) and tokens[index].kind in ("word", "name"):
        parts.append(tokens[index].value)
        index += 1
        if index >= len(tokens) or tokens[index] != ".":
            break
        index += 1
    return parts, index


def name_at(tokens: Sequence[Token], index: int) -> tuple[str, int]:
    """Return the qualified name at an index, without ``public.``, and the index after it.

    A part with a dot of its own is in quotes, so that ``"a.b"`` isn't table ``b`` of schema ``a``.
    """
    parts, index = parts_at(tokens, index)
    name = ".".join(f'"{part}"' if "." in part else part for part in parts)
    return name.removeprefix("public."), index + (index < len(tokens) and tokens[index] == "*")


def split_name(name: str) -> tuple[str, str]:
    """Return the schema and the last part of a name as ``name_at`` has it; the schema is empty without one."""
    start = name.rfind('"', 0, -1) if name.endswith('"') else name.rfind(".") + 1
    return name[: max(start, 0)].removesuffix("."), name[max(start, 0) :]


def names(tokens: Sequence[Token]) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name_at(action, 0)[0] for action in actions(tokens)]


def names_in_parentheses(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Return the names of the list in the first parentheses; none where there are no parentheses."""
    start = next((index for index, token in enumerate(tokens) if token == "("), len(tokens))
    end = next((index for index, token in enumerate(tokens) if index > start and token == ")"), len(tokens))
    return tuple(names(tokens[start + 1 : end]))


def index_table(tokens: Sequence[Token]) -> str:
    """Return the table of CREATE INDEX … ON."""
    on = [index for index, token in enumerate(tokens) if token == "on"]
    return name_at(tokens, on[0] + 1)[0] if on else ""


def actions(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Split tokens at the commas outside of parentheses."""
    action: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "," and not depth:
            if action:
                yield action
            action = []
        else:
            action.append(token)
    if action:
        yield action


def not_nulls(tokens: Sequence[Token]) -> list[list[Token]]:
    """Return the actions of an ALTER TABLE that set a column NOT NULL."""
    table_actions = actions(tokens[name_at(tokens, 2)[1] :])
    return [action for action in table_actions if [token.value for token in action[-3:]] == ["set", "not", "null"]]


def checked_column(action: Sequence[Token]) -> list[str]:
    """Return the column of ``CHECK (column IS NOT NULL)``; empty for another action."""
    words = [token.value for token in action]
    if "check" not in words:
        return []
    condition = action[words.index("check") + 1 :]
    identifiers = [token for token in condition if token.kind in ("word", "name")]
    test = [token.value for token in identifiers[1:]]
    return [identifiers[0].value] if test in (["is", "not", "null"], ["is", "not", "null", "not", "valid"]) else []


def has_own(tokens: Sequence[Token], word: str) -> bool:
    """Whether a word occurs outside of parentheses."""
    return own_at(tokens, word) is not None


def own_at(tokens: Sequence[Token], word: str) -> int | None:
    """Return where a word first occurs outside of parentheses; None where it doesn't."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if token == word and not depth:
            return index
    return None


def statement_inside(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens to the end of the statement, or of the parentheses around it."""
    statement: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if depth < 0 or (token == ";" and not depth):
            break
        statement.append(token)
    return statement

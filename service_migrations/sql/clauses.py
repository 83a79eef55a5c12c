"""The parts of one statement, read from its tokens: names, the actions of an ALTER, what stands in parentheses."""

from collections.abc import Iterator, Sequence

from service_migrations.sql.lexer import Token

__all__ = [
    "actions",
    "checked_column",
    "has_own",
    "index_table",
    "name_at",
    "names",
    "not_nulls",
    "parts_at",
    "statement_inside",
]

_NOISE = ("if", "not", "exists", "only", "concurrently")


def parts_at(found: Sequence[Token], index: int) -> tuple[list[str], int]:
    """Return the parts of the qualified name at an index, none where there is no name, and the index behind it."""
    while index < len(found) and found[index].kind == "word" and found[index].value in _NOISE:
        index += 1
    parts: list[str] = []
    while index < len(found) and found[index].kind in ("word", "name"):
        parts.append(found[index].value)
        index += 1
        if index >= len(found) or found[index] != ".":
            break
        index += 1
    return parts, index


def name_at(found: Sequence[Token], index: int) -> tuple[str, int]:
    """Return the qualified name at an index, without ``public.``, and the index behind it."""
    parts, index = parts_at(found, index)
    return ".".join(parts).removeprefix("public."), index + (index < len(found) and found[index] == "*")


def names(found: Sequence[Token]) -> list[str]:
    """Return the names of a list with commas."""
    return [name_at(action, 0)[0] for action in actions(found)]


def index_table(found: Sequence[Token]) -> str:
    """Return the table of CREATE INDEX … ON."""
    on = [index for index, part in enumerate(found) if part == "on"]
    return name_at(found, on[0] + 1)[0] if on else ""


def actions(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Split at the commas outside of parentheses."""
    action: list[Token] = []
    depth = 0
    for part in found:
        depth += (part == "(") - (part == ")")
        if part == "," and not depth:
            if action:
                yield action
            action = []
        else:
            action.append(part)
    if action:
        yield action


def not_nulls(found: Sequence[Token]) -> list[list[Token]]:
    """Return the actions of an ALTER TABLE that set a column NOT NULL."""
    found_actions = actions(found[name_at(found, 2)[1] :])
    return [action for action in found_actions if [one.value for one in action[-3:]] == ["set", "not", "null"]]


def checked_column(action: Sequence[Token]) -> list[str]:
    """Return the column of ``CHECK (column IS NOT NULL)``, if the action is that one."""
    words = [part.value for part in action]
    if "check" not in words:
        return []
    inner = action[words.index("check") + 1 :]
    names = [part for part in inner if part.kind in ("word", "name")]
    shape = [part.value for part in names[1:]]
    return [names[0].value] if shape in (["is", "not", "null"], ["is", "not", "null", "not", "valid"]) else []


def has_own(found: Sequence[Token], word: str) -> bool:
    """Whether a word stands outside of parentheses."""
    depth = 0
    for part in found:
        depth += (part == "(") - (part == ")")
        if part == word and not depth:
            return True
    return False


def statement_inside(found: Sequence[Token]) -> list[Token]:
    """Return the tokens to the end of the statement, or of the parentheses that it stands in."""
    taken: list[Token] = []
    depth = 0
    for part in found:
        depth += (part == "(") - (part == ")")
        if depth < 0 or (part == ";" and not depth):
            break
        taken.append(part)
    return taken

"""The columns that a plan has added or changed: what an INSERT that doesn't name them writes there."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from service_migrations.sql.clauses import name_at, split_name
from service_migrations.sql.lexer import Token

__all__ = [
    "AFTER_DEFAULT",
    "SERIAL",
    "Column",
    "Columns",
    "added_column",
    "is_null",
    "outside",
    "starts_constraint",
    "words_of",
]

SERIAL = ("serial", "bigserial", "smallserial", "serial2", "serial4", "serial8")
_CONSTRAINTS = ("constraint", "check", "unique", "primary", "foreign", "exclude", "not")
AFTER_DEFAULT = ("not", "null", "constraint", "check", "unique", "primary", "references", "collate", "generated")
"""What ends the expression of a DEFAULT."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that running code doesn't name.

    Attributes:
        takes_null: whether it takes NULL.
        default: ``none``, ``constant``, or ``own`` where each row gets a value of its own.

    """

    takes_null: bool = True
    default: str = "none"


@dataclass(slots=True)
class Columns:
    """What is known of columns.

    Attributes:
        new: the columns that were added, by table and name.
        nullable: the other columns that take NULL since.

    """

    new: dict[tuple[str, str], Column] = field(default_factory=dict)
    nullable: set[tuple[str, str]] = field(default_factory=set)

    def copy(self) -> "Columns":
        """Return a copy that a statement can be tried on."""
        return Columns(dict(self.new), set(self.nullable))

    def are_new(self, table: str, names: Sequence[str]) -> bool:
        """Whether all these columns were added."""
        return bool(names) and all((table, name) in self.new for name in names)

    def apply(self, table: str, action: Sequence[Token]) -> None:
        """Apply an action of an ALTER TABLE."""
        words = words_of(action)
        if words[0] == "add" and not starts_constraint(action):
            name, column = added_column(action)
            if "exists" not in words[:5]:
                self.new[table, name] = column
        elif words[0] in ("alter", "drop"):
            name, end = name_at(action, 1 + (words[1:2] == ["column"]))
            self._alter((table, name), words[0], words[end:], action[end:])
        elif words[:2] == ["rename", "to"]:
            to = ".".join(filter(None, [split_name(table)[0], name_at(action, 2)[0]]))
            self.new = {(to if key[0] == table else key[0], key[1]): column for key, column in self.new.items()}
        elif words[0] == "rename" and words[1:2] != ["constraint"]:
            name, end = name_at(action, 1 + (words[1:2] == ["column"]))
            if (table, name) in self.new:
                self.new[table, name_at(action, end + 1)[0]] = self.new.pop((table, name))

    def _alter(self, key: tuple[str, str], verb: str, words: Sequence[str], rest: Sequence[Token]) -> None:
        column = self.new.get(key)
        if words[:3] == ["drop", "not", "null"] and column is None:
            self.nullable.add(key)
        elif words[:3] == ["set", "not", "null"]:
            self.nullable.discard(key)
        if column is None:
            return
        if verb == "drop":
            del self.new[key]
        elif words[1:3] == ["not", "null"]:
            self.new[key] = replace(column, takes_null=words[0] == "drop")
        elif words[:2] == ["set", "default"]:
            self.new[key] = replace(column, default=_default(rest[1:]))
        elif words[:2] in (["drop", "default"], ["drop", "identity"]):
            self.new[key] = replace(column, default="none")
        elif words[:2] == ["add", "generated"]:
            self.new[key] = replace(column, default="own")


def starts_constraint(action: Sequence[Token]) -> bool:
    """Whether an ADD adds a constraint, not a column."""
    return len(action) > 1 and action[1].kind == "word" and action[1].value in _CONSTRAINTS


def added_column(action: Sequence[Token]) -> tuple[str, Column]:
    """Return the name of an added column, and what it is."""
    name, end = name_at(action, 1 + (len(action) > 1 and action[1] == "column"))
    pairs = set(pairwise(words_of(outside(action[end:]))))
    required = ("not", "null") in pairs or ("primary", "key") in pairs
    return name, Column(not required, _default(action[end:]))


def _default(tokens: Sequence[Token]) -> str:
    """Return the kind of the default of a column or of SET DEFAULT."""
    words = words_of(tokens)
    if (words[:1] and words[0] in SERIAL) or "generated" in words_of(outside(tokens)):
        return "own"
    if "default" not in words:
        return "none"
    start = words.index("default") + 1
    end = next((index for index in range(start + 1, len(words)) if words[index] in AFTER_DEFAULT), len(words))
    if start >= len(words) or is_null(tokens[start:]):
        return "none"
    calls = (words[index] and tokens[index + 1] == "(" for index in range(start, end - 1))
    return "own" if any(calls) or words[start].startswith("current_") else "constant"


def is_null(tokens: Sequence[Token]) -> bool:
    """Whether an expression is NULL, also in parentheses and with a type: ``CAST(NULL AS int)``, ``NULL::int``."""
    start = next((at for at, token in enumerate(tokens) if token not in ("(", "cast")), len(tokens))
    after = tokens[start + 1 : start + 2]
    return bool(tokens[start:]) and tokens[start] == "null" and not (after and after[0] in ("is", "isnull", "notnull"))


def words_of(tokens: Sequence[Token]) -> list[str]:
    """Return the words among tokens, each at its place; the others are empty."""
    return [token.value if token.kind == "word" else "" for token in tokens]


def outside(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens outside of parentheses."""
    result: list[Token] = []
    depth = 0
    for token in tokens:
        depth += token == "("
        if not depth:
            result.append(token)
        depth -= token == ")"
    return result

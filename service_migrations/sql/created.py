"""What a script has made and not dropped again: the objects that its statements leave in a database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service_migrations.sql.clauses import parts_at
from service_migrations.sql.lexer import Token, statements, tokens

__all__ = ["KINDS", "Created", "ObjectName"]


class ObjectName(NamedTuple):
    """An object of a database; schema and name of a schema or an extension are both its own name."""

    kind: str
    schema: str
    name: str


KINDS = {
    "table": "table",
    "foreign": "table",
    "view": "view",
    "materialized": "view",
    "sequence": "sequence",
    "type": "type",
    "domain": "type",
    "function": "function",
    "procedure": "function",
    "routine": "function",
    "aggregate": "function",
    "schema": "schema",
    "extension": "extension",
}
"""The words behind CREATE, ALTER and DROP, and the kind that each is of: types and domains have one space of names,
so have functions, procedures and aggregates; tables, views and sequences can be told apart by what they are."""

_RELATIONS = ("table", "view", "sequence")
"""What ALTER TABLE may rename, whatever it is (documentation, ALTER TABLE)."""

_BEFORE = ("or", "replace", "unlogged", "global", "recursive", "constraint")
_STARTS = (";", "begin", "then", "else", "loop")


@dataclass(slots=True)
class Created:
    """What is there after the statements so far.

    ``default`` is the schema of a name without one. ``former`` is what a statement dropped, renamed or moved away, also
    where none has made it: a database that hasn't had that statement has it.
    """

    default: str
    things: set[ObjectName] = field(default_factory=set)
    former: set[ObjectName] = field(default_factory=set)

    def learn(self, sql: str) -> None:
        """Take in what a text of statements makes, renames, moves and drops."""
        for statement in statements(sql):
            self._learn(statement.tokens)

    def _learn(self, found: Sequence[Token], *, certain: bool = True) -> None:
        words = [part.value if part.kind == "word" else "" for part in found]
        if words[:1] == ["create"]:
            self._create(found, words)
        elif words[:1] == ["drop"] and certain:
            self._drop(found, words)
        elif words[:1] == ["alter"]:
            self._alter(found, words)
        elif words[:1] == ["set"] and "search_path" in words[:3]:
            names = [part.value for part in found[words.index("search_path") + 2 :] if part.kind != "symbol"]
            self.default = names[0] if names else self.default
        elif words[:1] == ["do"]:
            # what a block drops depends on its conditions; what it makes is claimed even if it didn't have to
            for body in (part for part in found if part.kind == "string"):
                for inner in _inside(list(tokens(body.value))):
                    self._learn(inner, certain=False)

    def _create(self, found: Sequence[Token], words: list[str]) -> None:
        index = 1
        while index < len(words) and words[index] in _BEFORE:
            index += 1
        if index >= len(words) or words[index] not in KINDS:  # a temporary table ends with its session
            return
        kind = KINDS[words[index]]
        index += 1 + (words[index] in ("foreign", "materialized"))
        name, _ = self._name(found, index)
        if name is None:
            return
        if kind in ("schema", "extension"):
            self.things.add(ObjectName(kind, name[1], name[1]))
            return
        self.things.add(ObjectName(kind, *name))

    def _drop(self, found: Sequence[Token], words: list[str]) -> None:
        if len(words) < 2 or words[1] not in KINDS:  # noqa: PLR2004 - DROP, kind
            return
        kind = KINDS[words[1]]
        start = 2 + (words[1] in ("foreign", "materialized"))
        for part in _parts(found[start:]):
            name, _ = self._name(part, 0)
            if name is None:
                continue
            if kind == "schema":
                self._forget({one for one in self.things if one.schema == name[1] and one.kind != "extension"})
            elif kind == "extension":
                self._forget({ObjectName(kind, name[1], name[1])})
            else:
                self._forget({ObjectName(kind, *name)})

    def _alter(self, found: Sequence[Token], words: list[str]) -> None:
        if len(words) < 2 or words[1] not in KINDS:  # noqa: PLR2004 - ALTER, kind
            return
        kind = KINDS[words[1]]
        name, end = self._name(found, 2 + (words[1] in ("foreign", "materialized")))
        if name is None:
            return
        rest, behind = words[end:], list(found[end:])
        if rest[:1] == [""] and behind and behind[0] == "(":  # the arguments of a function
            close = _close(behind)
            rest, behind = rest[close:], behind[close:]
        if rest[:2] == ["rename", "to"] and behind[2:]:
            self._move(kind, name, (name[0], behind[2].value))
        elif rest[:2] == ["set", "schema"] and behind[2:]:
            self._move(kind, name, (behind[2].value, name[1]))

    def _move(self, kind: str, old: tuple[str, str], new: tuple[str, str]) -> None:
        if kind == "schema":
            inside = {one for one in self.things if one.schema == old[1] and one.kind != "extension"}
            self._forget(inside)
            self.things |= {ObjectName(what, new[1], new[1] if what == kind else name) for what, _, name in inside}
            return
        for what in _RELATIONS if kind == "table" else (kind,):
            if (what, *old) in self.things:
                self.things.add(ObjectName(what, *new))
            self._forget({ObjectName(what, *old)})

    def _forget(self, gone: set[ObjectName]) -> None:
        self.things -= gone
        self.former |= gone

    def _name(self, found: Sequence[Token], index: int) -> tuple[tuple[str, str] | None, int]:
        """Return the qualified name at an index, and the index behind it."""
        parts, index = parts_at(found, index)
        if not parts:
            return None, index
        return (parts[-2] if len(parts) > 1 else self.default, parts[-1]), index


def _parts(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Split at the commas outside of parentheses."""
    part: list[Token] = []
    depth = 0
    for one in found:
        depth += (one == "(") - (one == ")")
        if one == "," and not depth:
            yield part
            part = []
        else:
            part.append(one)
    yield part


def _close(found: Sequence[Token]) -> int:
    """Return the index behind the parenthesis that closes the first one."""
    depth = 0
    for index, one in enumerate(found):
        depth += (one == "(") - (one == ")")
        if not depth:
            return index + 1
    return len(found)


def _inside(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the statements of a block's body, also those that an EXECUTE holds as a string."""
    piece: list[Token] = []
    for one in found:
        if one in _STARTS:
            yield from _with_executed(piece)
            piece = []
        else:
            piece.append(one)
    yield from _with_executed(piece)


def _with_executed(piece: list[Token]) -> Iterator[list[Token]]:
    yield piece
    if piece and piece[0] == "execute":
        for part in piece:
            if part.kind == "string":
                yield list(tokens(part.value))

"""The objects that a script creates and doesn't drop again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service_migrations.sql.clauses import actions, parts_at
from service_migrations.sql.lexer import Token, statements, tokenize

__all__ = ["KINDS", "Created", "ObjectName"]


class ObjectName(NamedTuple):
    """The name of an object of a database; a schema or an extension has its own name as its schema."""

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
"""The word after CREATE, ALTER or DROP, and its kind. Types and domains share one namespace, and so do functions,
procedures and aggregates; tables, views and sequences are told apart by their kind."""

_RELATIONS = ("table", "view", "sequence")
"""The kinds that ALTER TABLE may rename (documentation, ALTER TABLE)."""

_MODIFIERS = ("or", "replace", "unlogged", "global", "recursive", "constraint")
_BLOCK_SEPARATORS = (";", "begin", "then", "else", "loop")


@dataclass(slots=True)
class Created:
    """The objects that exist after the statements so far.

    ``default_schema`` is the schema of a name without one. ``former`` are the objects that a statement dropped, renamed
    or moved, also where no statement created them: a database in which that statement hasn't run has them.
    """

    default_schema: str
    objects: set[ObjectName] = field(default_factory=set)
    former: set[ObjectName] = field(default_factory=set)

    def apply(self, sql: str) -> None:
        """Apply the statements of a text: what they create, rename, move and drop."""
        for statement in statements(sql):
            self._apply(statement.tokens)

    def _apply(self, tokens: Sequence[Token], *, certain: bool = True) -> None:
        words = [token.value if token.kind == "word" else "" for token in tokens]
        if words[:1] == ["create"]:
            self._create(tokens, words)
        elif words[:1] == ["drop"] and certain:
            self._drop(tokens, words)
        elif words[:1] == ["alter"]:
            self._alter(tokens, words)
        elif words[:1] == ["set"] and "search_path" in words[:3]:
            names = [token.value for token in tokens[words.index("search_path") + 2 :] if token.kind != "symbol"]
            self.default_schema = names[0] if names else self.default_schema
        elif words[:1] == ["do"]:
            # what a block drops depends on its conditions; what it creates is claimed even if the condition was false
            for body in (token for token in tokens if token.kind == "string"):
                for statement in _block_statements(list(tokenize(body.value))):
                    self._apply(statement, certain=False)

    def _create(self, tokens: Sequence[Token], words: list[str]) -> None:
        index = 1
        while index < len(words) and words[index] in _MODIFIERS:
            index += 1
        if index >= len(words) or words[index] not in KINDS:  # a temporary table ends with its session
            return
        kind = KINDS[words[index]]
        index += 1 + (words[index] in ("foreign", "materialized"))
        name, _ = self._name(tokens, index)
        if name is None:
            return
        if kind in ("schema", "extension"):
            self.objects.add(ObjectName(kind, name[1], name[1]))
            return
        self.objects.add(ObjectName(kind, *name))

    def _drop(self, tokens: Sequence[Token], words: list[str]) -> None:
        if len(words) < 2 or words[1] not in KINDS:  # noqa: PLR2004 - DROP, kind
            return
        kind = KINDS[words[1]]
        start = 2 + (words[1] in ("foreign", "materialized"))
        for dropped in actions(tokens[start:]):
            name, _ = self._name(dropped, 0)
            if name is None:
                continue
            if kind == "schema":
                self._remove(self._inside(name[1]))
            elif kind == "extension":
                self._remove({ObjectName(kind, name[1], name[1])})
            else:
                self._remove({ObjectName(kind, *name)})

    def _alter(self, tokens: Sequence[Token], words: list[str]) -> None:
        if len(words) < 2 or words[1] not in KINDS:  # noqa: PLR2004 - ALTER, kind
            return
        kind = KINDS[words[1]]
        name, end = self._name(tokens, 2 + (words[1] in ("foreign", "materialized")))
        if name is None:
            return
        action, action_tokens = words[end:], list(tokens[end:])
        if action[:1] == [""] and action_tokens and action_tokens[0] == "(":  # the arguments of a function
            close = _close(action_tokens)
            action, action_tokens = action[close:], action_tokens[close:]
        if action[:2] == ["rename", "to"] and action_tokens[2:]:
            self._rename(kind, name, (name[0], action_tokens[2].value))
        elif action[:2] == ["set", "schema"] and action_tokens[2:]:
            self._rename(kind, name, (action_tokens[2].value, name[1]))

    def _rename(self, kind: str, old: tuple[str, str], new: tuple[str, str]) -> None:
        if kind == "schema":
            inside = self._inside(old[1])
            self._remove(inside)
            self.objects |= {
                ObjectName(object_kind, new[1], new[1] if object_kind == kind else name)
                for object_kind, _, name in inside
            }
            return
        for object_kind in _RELATIONS if kind == "table" else (kind,):
            if (object_kind, *old) in self.objects:
                self.objects.add(ObjectName(object_kind, *new))
            self._remove({ObjectName(object_kind, *old)})

    def _remove(self, names: set[ObjectName]) -> None:
        self.objects -= names
        self.former |= names

    def _inside(self, schema: str) -> set[ObjectName]:
        """Return a schema and the objects in it; an extension is in no schema."""
        return {name for name in self.objects if name.schema == schema and name.kind != "extension"}

    def _name(self, tokens: Sequence[Token], index: int) -> tuple[tuple[str, str] | None, int]:
        """Return the qualified name at an index, and the index after it."""
        parts, index = parts_at(tokens, index)
        if not parts:
            return None, index
        return (parts[-2] if len(parts) > 1 else self.default_schema, parts[-1]), index


def _close(tokens: Sequence[Token]) -> int:
    """Return the index after the parenthesis that closes the first one."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if not depth:
            return index + 1
    return len(tokens)


def _block_statements(body: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the statements of a block's body, and those in the strings of an EXECUTE."""
    statement: list[Token] = []
    for token in body:
        if token in _BLOCK_SEPARATORS:
            yield from _with_executed(statement)
            statement = []
        else:
            statement.append(token)
    yield from _with_executed(statement)


def _with_executed(statement: list[Token]) -> Iterator[list[Token]]:
    yield statement
    if statement and statement[0] == "execute":
        for token in statement:
            if token.kind == "string":
                yield list(tokenize(token.value))

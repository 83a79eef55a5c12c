"""The objects that a script creates and doesn't drop again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from service_migrations.sql.clauses import actions, parts_at
from service_migrations.sql.dynamic import UNKNOWN, executed_texts
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
procedures and aggregates; tables, views and sequences differ by their kind."""

_RELATIONS = ("table", "view", "sequence")
"""The kinds that ALTER TABLE may rename (documentation, ALTER TABLE)."""

_MODIFIERS = ("or", "replace", "unlogged", "global", "recursive", "constraint")
_TEMPORARY = ("temp", "temporary", "local", "global")
_INTO = ("unlogged", "table")
_BLOCK_SEPARATORS = (";", "begin", "then", "else", "loop")


@dataclass(slots=True)
class Created:
    """The objects that exist after the statements so far.

    ``default_schema`` is the schema of a name without one. ``former`` are the objects that a statement dropped, renamed
    or moved, also where no statement created them: a database in which that statement hasn't run has them. ``possible``
    are those that a function creates, if it is called. A name that a block puts together has UNKNOWN for other parts.
    """

    default_schema: str
    own_schema: str = field(init=False, repr=False)
    objects: set[ObjectName] = field(default_factory=set)
    former: set[ObjectName] = field(default_factory=set)
    possible: set[ObjectName] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Remember the schema of names without one, for a search_path that is set back to its default."""
        self.own_schema = self.default_schema

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
        elif words[:1] in (["set"], ["reset"]):
            self._set(tokens, words)
        elif words[:1] in (["select"], ["with"]) and certain:  # in a block, INTO assigns to a variable
            self._select(tokens)
        elif words[:1] == ["do"]:
            self._apply_blocks(tokens)

    def _set(self, tokens: Sequence[Token], words: list[str]) -> None:
        if words[0] == "set" and "search_path" in words[:3]:
            self._set_path(tokens[words.index("search_path") + 2 :])
        elif words[:2] == ["set", "schema"]:
            self._set_path(tokens[2:])
        elif words in (["reset", "search_path"], ["reset", "all"]):
            self._set_path(())

    def _set_path(self, values: Sequence[Token]) -> None:
        """Make the first schema of a path that of new objects, where it isn't that of the role."""
        names = [token for token in values if token.kind != "symbol" and token.value != "$user"]
        self.default_schema = self.own_schema if not names or names[0] == "default" else names[0].value

    def _select(self, tokens: Sequence[Token]) -> None:
        """Apply ``SELECT … INTO`` a new table, and ``set_config`` of the search_path."""
        depth, is_query = 0, True
        for index, token in enumerate(tokens):
            depth += (token == "(") - (token == ")")
            if not depth and token in ("insert", "merge"):
                is_query = False
            elif not depth and is_query and token == "into":
                rest = [each for each in tokens[index + 1 : index + 3] if each in _INTO]
                name, _ = self._name(tokens, index + 1 + len(rest))
                if name is not None and not any(each in _TEMPORARY for each in tokens[index + 1 : index + 3]):
                    self.objects.add(ObjectName("table", *name))
            elif token == "set_config":
                setting, value = (tokens[place : place + 1] for place in (index + 2, index + 4))
                if [each.value for each in setting] == ["search_path"] and value and value[0].kind == "string":
                    self._set_path(list(tokenize(value[0].value)))

    def _create(self, tokens: Sequence[Token], words: list[str]) -> None:
        index = 1
        while index < len(words) and words[index] in _MODIFIERS:
            index += 1
        if index >= len(words) or words[index] not in KINDS:  # a temporary table ends with its session
            return
        kind = KINDS[words[index]]
        index += 1 + (words[index] in ("foreign", "materialized"))
        name, end = self._name(tokens, index)
        if name is None or (UNKNOWN in name[1] and words[end : end + 2] == ["partition", "of"]):  # its parent's
            return
        if kind == "schema":
            self._create_schema(name[1], tokens, words)
            return
        if kind == "extension":
            self.objects.add(ObjectName(kind, name[1], name[1]))
            return
        self.objects.add(ObjectName(kind, *name))
        if kind == "function":
            body = Created(self.default_schema)
            body._apply_blocks(tokens)
            self.possible |= body.objects | body.possible

    def _apply_blocks(self, tokens: Sequence[Token]) -> None:
        """Apply the blocks in the strings of a statement: the body of a DO or of a function.

        What a block drops depends on its conditions; what it creates is claimed even if the condition was false.
        """
        for body in (token for token in tokens if token.kind == "string"):
            for statement in _block_statements(list(tokenize(body.value))):
                self._apply(statement, certain=False)

    def _create_schema(self, name: str, tokens: Sequence[Token], words: list[str]) -> None:
        """Apply CREATE SCHEMA, which may name a role alone, and create objects in it."""
        if name == "authorization" and name in words[:-1]:
            name = tokens[words.index(name) + 1].value
        self.objects.add(ObjectName("schema", name, name))
        starts = [index for index, word in enumerate(words) if word in ("create", "grant")]
        before, self.default_schema = self.default_schema, name
        for start, end in pairwise([*starts, len(words)][1:]):
            self._apply(tokens[start:end])
        self.default_schema = before

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
            if (object_kind, *old) in self.objects or UNKNOWN in old[1]:
                self.objects.add(ObjectName(object_kind, *new))
            if UNKNOWN not in old[1]:  # others may have such a name
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
        for text in executed_texts(statement[1:]):
            yield list(tokenize(text))

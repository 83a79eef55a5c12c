"""What a statement does to a database that is in use: the classes of a plan.

Read from the tokens of the statement alone. What takes a long lock is mostly squawk's knowledge (squawk.py); here is
what it doesn't know.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from migrations.sqltext import Token, statements, tokens

__all__ = ["Class", "Scope", "classify"]


class Class(StrEnum):
    """What a revision does, from harmless to final."""

    ADDITIVE = "additive"
    DATA = "data"
    CONCURRENT = "concurrent"
    LOCKS = "locks long or rewrites"
    DESTRUCTIVE = "destructive"
    IRREVERSIBLE = "irreversible"


Found = tuple[Class, str]
"""A class, and why."""

_CHANGES = ("insert", "update", "delete", "merge")
_INNER = (*_CHANGES, "truncate", "drop", "alter", "call")
_LOSES = ("table", "type", "domain", "schema", "database")
_BEFORE_A_STATEMENT = (";", "begin", "then", "else", "loop", "(", ")")
_SERIAL = ("serial", "bigserial", "smallserial", "serial2", "serial4", "serial8")
_REWRITES = ("tablespace", "logged", "unlogged", "access")
_NOISE = ("if", "not", "exists", "only")


@dataclass(slots=True)
class Scope:
    """What the statements before have made or proved, so that nobody uses it or has to wait for it yet.

    ``made`` has (kind, name) of tables, types and schemas; ``indexes`` the table of each index; ``claimed`` the
    column of each CHECK (column IS NOT NULL), by (table, constraint), and ``proved`` those that are validated.
    """

    made: set[tuple[str, str]] = field(default_factory=set)
    indexes: dict[str, str] = field(default_factory=dict)
    claimed: dict[tuple[str, str], str] = field(default_factory=dict)
    proved: set[tuple[str, str]] = field(default_factory=set)

    def is_new(self, found: Sequence[Token]) -> bool:
        """Whether all that a statement works on was made in this plan."""
        objects = _objects(found, self)
        return bool(objects) and all(one in self.made for one in objects)

    def is_proved(self, found: Sequence[Token]) -> bool:
        """Whether each column that a statement sets NOT NULL has a validated CHECK that says so."""
        table = _name(found, 2)[0]
        proved = {self.claimed[one] for one in self.proved if one[0] == table}
        set_here = [_name(action, 1 + (action[1] == "column"))[0] for action in _not_nulls(found)]
        return bool(set_here) and proved.issuperset(set_here)

    def learn(self, found: Sequence[Token]) -> None:
        """Take in what a statement has made, renamed or validated."""
        first = found[0] if found else None
        if first == "create":
            self._learn_create(found)
        elif first == "drop" and len(found) > 1:
            self.made -= set(_objects(found, self))
        elif first == "alter" and len(found) > 2:  # noqa: PLR2004 - ALTER, kind, name
            self._learn_alter(found)

    def _learn_create(self, found: Sequence[Token]) -> None:
        kinds = [index for index, part in enumerate(found[:5]) if part.value in (*_LOSES, "index", "view")]
        if not kinds or any(part == "exists" for part in found[: kinds[0] + 4]):
            return
        kind = found[kinds[0]].value
        if kind == "index":
            table = _index_table(found)
            names = [part for part in found[kinds[0] + 1 :] if part.value != "concurrently"]
            if table and names and names[0].value != "on":
                self.indexes[_name(names, 0)[0]] = table
        elif kind != "view" or any(part == "materialized" for part in found[:4]):
            self.made.add(("table" if kind == "view" else kind, _name(found, kinds[0] + 1)[0]))

    def _learn_alter(self, found: Sequence[Token]) -> None:
        kind = found[1].value
        table, start = _name(found, 2)
        for action in _actions(found[start:]):
            words = [part.value for part in action]
            if words[:2] == ["rename", "to"] and (kind, table) in self.made:
                self.made.remove((kind, table))
                self.made.add((kind, ".".join([*table.split(".")[:-1], _name(action, 2)[0]])))
            elif words[:2] == ["add", "constraint"]:
                for column in _checked(action):
                    self.claimed[table, words[2]] = column
                    if words[-2:] != ["not", "valid"]:
                        self.proved.add((table, words[2]))
            elif words[:2] == ["validate", "constraint"] and (table, words[2]) in self.claimed:
                self.proved.add((table, words[2]))
            elif words[:2] == ["drop", "constraint"]:
                self.proved.discard((table, words[-1]))


def classify(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    """Yield the classes of one statement, each with its reason; nothing for one that only adds.

    Args:
        found: the statement's tokens.
        scope: what the ones before it have made.

    """
    first = found[0].value if found and found[0].kind == "word" else ""
    if first in _READERS:
        yield from _READERS[first](found, scope)
    elif first == "copy" and _own(found, "from"):
        yield Class.DATA, "COPY … FROM adds rows."
    elif first == "call":
        yield Class.DATA, "What the procedure does can't be seen here."
    elif first in ("lock", "cluster") or (first == "vacuum" and any(part == "full" for part in found)):
        yield Class.LOCKS, f"{first.upper()} keeps readers and writers out of the table."


def _with(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    yield from _nested(found[1:], scope)


def _do(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    for part in found:
        if part.kind == "string":
            yield from _nested([Token("symbol", ";", 1), *tokens(part.value)], scope)


def _change(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    first = found[0].value
    yield Class.DATA, f"{first.upper()} changes rows."
    if first == "delete" and not _own(found, "where"):
        yield from _lost(found, scope, "DELETE without WHERE empties the table.")
    if first != "merge":  # its DELETE is one of the rows that match
        yield from _nested(found[1:], scope)


def _truncate(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    yield from _lost(found, scope, "TRUNCATE empties the table.")


def _nested(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    """Yield the classes of the statements inside: of a CTE, or of the body of a DO block."""
    for index, part in enumerate(found):
        before = found[index - 1] if index else None
        if part == "execute" and before is not None and before in _BEFORE_A_STATEMENT:
            for piece in _until(found[index:]):
                if piece.kind == "string":
                    for inner in statements(piece.value):
                        yield from classify(inner.tokens, scope)
        elif part.kind == "word" and part.value in _INNER and before is not None and before in _BEFORE_A_STATEMENT:
            yield from classify(_until(found[index:]), scope)


def _drop(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    kind = found[1].value if len(found) > 1 else ""
    if kind in _LOSES:
        yield from _lost(found, scope, f"DROP {kind.upper()} loses what is in it.")
    elif kind == "owned" or (kind == "extension" and any(part == "cascade" for part in found)):
        yield Class.DESTRUCTIVE, f"DROP {kind.upper()} can take tables and columns with it."
    elif kind == "index" and any(part == "concurrently" for part in found):
        yield Class.CONCURRENT, "DROP INDEX CONCURRENTLY runs outside of a transaction."


def _alter(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    kind = found[1].value if len(found) > 1 else ""
    if kind not in ("table", "type", "foreign", "materialized"):
        return
    for action in _actions(found[_name(found, 2)[1] :]):
        words = [part.value if part.kind == "word" else "" for part in action]
        if words[0] == "drop" and _is_column(kind, words):
            yield from _lost(found, scope, "DROP COLUMN loses what is in it.")
        elif words[:2] == ["detach", "partition"] and "concurrently" in words:
            yield Class.CONCURRENT, "DETACH PARTITION CONCURRENTLY runs outside of a transaction."
        elif not scope.is_new(found):
            yield from _locks(words)


def _is_column(kind: str, words: list[str]) -> bool:
    """Whether it is a column, or the attribute of a type, that an action drops."""
    return words[1:2] == ["attribute"] if kind == "type" else words[1:2] != ["constraint"]


def _locks(words: list[str]) -> Iterator[Found]:
    """Yield what squawk doesn't know of one action on a table that was there before."""
    if words[0] == "set" and words[1:2] and words[1] in _REWRITES:
        yield Class.LOCKS, f"SET {words[1].upper()} rewrites the table, and keeps readers and writers out."
    elif words[:2] == ["attach", "partition"]:
        yield Class.LOCKS, "ATTACH PARTITION scans the partition, unless a validated CHECK proves its bounds."
    elif words[0] == "add" and words[1:2] != ["constraint"] and set(words) & set(_SERIAL):
        yield Class.LOCKS, "A serial column is filled row by row: the table is rewritten under its lock."
    elif words[0] == "add" and words[1:2] != ["constraint"] and "check" in words[2:]:
        yield Class.LOCKS, "A CHECK beside a new column is verified by a scan under the table's lock."


def _build(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    """Yield the classes of CREATE INDEX, REINDEX and REFRESH."""
    words = [part.value for part in found if part.kind == "word"]
    concurrently = "concurrently" in words[:5]
    if words[0] == "create" and "index" not in words[:3]:
        return
    if concurrently:
        yield Class.CONCURRENT, f"{words[0].upper()} … CONCURRENTLY lets others read and write meanwhile."
    elif words[0] == "refresh" and not scope.is_new(found):
        yield Class.LOCKS, "REFRESH without CONCURRENTLY keeps readers out."


def _lost(found: Sequence[Token], scope: Scope, why: str) -> Iterator[Found]:
    if not scope.is_new(found):
        yield Class.DESTRUCTIVE, why


def _objects(found: Sequence[Token], scope: Scope) -> list[tuple[str, str]]:
    """Return (kind, name) of what a statement works on, so far as that can be told from it."""
    words = [part.value if part.kind == "word" else "" for part in [*found[:4], *[Token("symbol", ";", 0)] * 4]]
    index = words[1] == "index"
    if words[0] == "create" and "index" in words[1:3]:
        return [("table", _index_table(found))]
    if words[0] == "drop" and index:
        return [("table", scope.indexes.get(name, "")) for name in _names(found[2 + (words[2] == "concurrently") :])]
    if words[0] == "truncate":
        return [("table", name) for name in _names(found[1 + (words[1] == "table") :])]
    if words[0] in ("delete", "refresh"):
        return [("table", _name(found, 2 + (words[0] == "refresh"))[0])]
    if words[0] in ("drop", "alter"):
        view = words[1] == "materialized"
        return [
            ("table" if view else words[1], name)
            for name in _names(found[2 + view :])[: None if words[0] == "drop" else 1]
        ]
    return []


def _name(found: Sequence[Token], index: int) -> tuple[str, int]:
    """Return the qualified name at an index, without ``public.``, and the index behind it."""
    while index < len(found) and found[index].kind == "word" and found[index].value in _NOISE:
        index += 1
    parts: list[str] = []
    while index < len(found) and found[index].kind in ("word", "name"):
        parts.append(found[index].value)
        index += 1
        if index >= len(found) or found[index] != ".":
            break
        index += 1
    return ".".join(parts).removeprefix("public."), index + (index < len(found) and found[index] == "*")


def _names(found: Sequence[Token]) -> list[str]:
    """Return the names of a list with commas."""
    return [_name(action, 0)[0] for action in _actions(found)]


def _index_table(found: Sequence[Token]) -> str:
    """Return the table of CREATE INDEX … ON."""
    on = [index for index, part in enumerate(found) if part == "on"]
    return _name(found, on[0] + 1)[0] if on else ""


def _actions(found: Sequence[Token]) -> Iterator[list[Token]]:
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


def _not_nulls(found: Sequence[Token]) -> list[list[Token]]:
    actions = _actions(found[_name(found, 2)[1] :])
    return [action for action in actions if [one.value for one in action[-3:]] == ["set", "not", "null"]]


def _checked(action: Sequence[Token]) -> list[str]:
    """Return the column of ``CHECK (column IS NOT NULL)``, if the action is that one."""
    words = [part.value for part in action]
    if "check" not in words:
        return []
    inner = action[words.index("check") + 1 :]
    names = [part for part in inner if part.kind in ("word", "name")]
    shape = [part.value for part in names[1:]]
    return [names[0].value] if shape in (["is", "not", "null"], ["is", "not", "null", "not", "valid"]) else []


def _own(found: Sequence[Token], word: str) -> bool:
    """Whether a word stands outside of parentheses."""
    depth = 0
    for part in found:
        depth += (part == "(") - (part == ")")
        if part == word and not depth:
            return True
    return False


def _until(found: Sequence[Token]) -> list[Token]:
    """Return the tokens to the end of the statement, or of the parentheses that it stands in."""
    taken: list[Token] = []
    depth = 0
    for part in found:
        depth += (part == "(") - (part == ")")
        if depth < 0 or (part == ";" and not depth):
            break
        taken.append(part)
    return taken


_READERS: dict[str, Callable[[Sequence[Token], Scope], Iterator[Found]]] = {
    **dict.fromkeys(("with", "explain", "prepare"), _with),
    **dict.fromkeys(_CHANGES, _change),
    **dict.fromkeys(("create", "reindex", "refresh"), _build),
    "do": _do,
    "truncate": _truncate,
    "drop": _drop,
    "alter": _alter,
}

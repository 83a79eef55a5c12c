"""What a statement does to a database that is in use: the classes of a plan.

Read from the tokens of the statement alone. What takes a long lock is mostly squawk's knowledge (squawk.py); here is
what it doesn't know.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from service_migrations.plan.novelty import LOSES, Scope
from service_migrations.sql.clauses import actions, has_own, name_at, statement_inside
from service_migrations.sql.lexer import Token, statements, tokenize

__all__ = ["Class", "classify"]


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
_BEFORE_A_STATEMENT = (";", "begin", "then", "else", "loop", "(", ")")
_SERIAL = ("serial", "bigserial", "smallserial", "serial2", "serial4", "serial8")
_REWRITES = ("tablespace", "logged", "unlogged", "access")


def classify(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    """Yield the classes of one statement, each with its reason; nothing for one that only adds.

    Args:
        found: the statement's tokens.
        scope: what the ones before it have made.

    """
    first = found[0].value if found and found[0].kind == "word" else ""
    if first in _READERS:
        yield from _READERS[first](found, scope)
    elif first == "copy" and has_own(found, "from"):
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
            yield from _nested([Token("symbol", ";", 1), *tokenize(part.value)], scope)


def _change(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    first = found[0].value
    yield Class.DATA, f"{first.upper()} changes rows."
    if first == "delete" and not has_own(found, "where"):
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
            for piece in statement_inside(found[index:]):
                if piece.kind == "string":
                    for inner in statements(piece.value):
                        yield from classify(inner.tokens, scope)
        elif part.kind == "word" and part.value in _INNER and before is not None and before in _BEFORE_A_STATEMENT:
            yield from classify(statement_inside(found[index:]), scope)


def _drop(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    kind = found[1].value if len(found) > 1 else ""
    if kind in LOSES:
        yield from _lost(found, scope, f"DROP {kind.upper()} loses what is in it.")
    elif kind == "owned" or (kind == "extension" and any(part == "cascade" for part in found)):
        yield Class.DESTRUCTIVE, f"DROP {kind.upper()} can take tables and columns with it."
    elif kind == "index" and any(part == "concurrently" for part in found):
        yield Class.CONCURRENT, "DROP INDEX CONCURRENTLY runs outside of a transaction."


def _alter(found: Sequence[Token], scope: Scope) -> Iterator[Found]:
    kind = found[1].value if len(found) > 1 else ""
    if kind not in ("table", "type", "foreign", "materialized"):
        return
    for action in actions(found[name_at(found, 2)[1] :]):
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


_READERS: dict[str, Callable[[Sequence[Token], Scope], Iterator[Found]]] = {
    **dict.fromkeys(("with", "explain", "prepare"), _with),
    **dict.fromkeys(_CHANGES, _change),
    **dict.fromkeys(("create", "reindex", "refresh"), _build),
    "do": _do,
    "truncate": _truncate,
    "drop": _drop,
    "alter": _alter,
}

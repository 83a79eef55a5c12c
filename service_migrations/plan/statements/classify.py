"""What a statement does to a database that is in use, as classes of a plan.

They are read from the statement's tokens. squawk knows most of the statements that take a long lock (squawk.py); this
module has those that it doesn't know.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from service_migrations.plan.classes import Class, Reason
from service_migrations.plan.statements.breaking import breaks
from service_migrations.plan.statements.called import called_statements
from service_migrations.plan.statements.columns import SERIAL
from service_migrations.plan.statements.conditions import takes_all
from service_migrations.plan.statements.nested import ROW_CHANGES, Unseen, nested_statements, statements_of_block
from service_migrations.plan.statements.novelty import LOSES, Scope
from service_migrations.sql.clauses import actions, has_own, name_at, names, own_at, parts_at, statement_inside
from service_migrations.sql.lexer import Token

__all__ = ["classify"]

_UNSEEN = "What {} can't be seen here."
_STRONGEST = ["access", "exclusive"]
_SHARED_WITH_WRITERS = (["access", "share"], ["row", "share"], ["row", "exclusive"], ["share", "update", "exclusive"])
_REWRITES = {"tablespace": "TABLESPACE", "logged": "LOGGED", "unlogged": "UNLOGGED", "access": "ACCESS METHOD"}
_TAKES_COLUMNS = (
    *("access method", "collation", "foreign data wrapper", "function", "language", "operator"),
    *("procedure", "routine", "server", "text search"),
)
"""What columns and tables can depend on, so that DROP … CASCADE takes them too."""


def classify(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    """Yield the classes of one statement with their reasons; a statement that only adds has none.

    What a block or a procedure may do to earlier objects of the plan is taken from the scope at once.

    Args:
        statement: the statement's tokens.
        scope: what the statements before it have created.

    """
    first = statement[0].value if statement and statement[0].kind == "word" else ""
    yield from ((Class.BREAKING, message) for message in breaks(statement, scope))
    if first in _CLASSIFIERS:
        yield from _CLASSIFIERS[first](statement, scope)
    called = list(called_statements(statement, scope.bodies))
    if called:
        scope.doubt_all(called)  # as of a block
        yield from _classes_of(called, scope)
    elif first == "call":
        scope.doubt(statement)
        yield Class.DATA, _UNSEEN.format("the procedure does")
    elif first == "lock":
        yield from _lock(statement)
    elif first == "cluster" or (first == "vacuum" and "full" in _options(statement)[0]):
        yield Class.LOCKS, f"{first.upper()} keeps readers and writers out of the table."


def _lock(statement: Sequence[Token]) -> Iterator[Reason]:
    """Yield the class of LOCK by its mode (PostgreSQL documentation, 13.3.1 Table-Level Locks)."""
    words = [token.value for token in statement if token.kind == "word"]
    mode = words[words.index("in") + 1 : words.index("mode")] if {"in", "mode"} <= set(words) else _STRONGEST
    if mode == _STRONGEST:
        yield Class.LOCKS, "LOCK keeps readers and writers out of the table."
    elif mode not in _SHARED_WITH_WRITERS:
        yield Class.LOCKS, "LOCK keeps writers out of the table."


def _with(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    yield from _nested(statement, scope)


def _options(statement: Sequence[Token]) -> tuple[set[str], int]:
    """Return the options behind a command that are on, in parentheses or as words, and where parentheses end."""
    if len(statement) > 1 and statement[1] == "(":
        inside = statement_inside(statement[2:])
        on = [action for action in actions(inside) if action[-1].value not in ("false", "off", "0")]
        return {action[0].value for action in on}, len(inside) + 3
    return {token.value for token in statement[1:5] if token.kind == "word"}, 1


def _explain(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    """Yield the classes of the statement that EXPLAIN runs, if it runs it."""
    options, start = _options(statement)
    if start == 1:
        options = {token.value for token in statement[1:3] if token.kind == "word"}
    while start < len(statement) and statement[start].value in ("analyze", "analyse", "verbose"):
        start += 1
    if {"analyze", "analyse"} & options:
        yield from classify(statement[start:], scope)


def _prepare(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    start = own_at(statement, "as")
    if start is not None:  # otherwise it is PREPARE TRANSACTION
        yield from classify(statement[start + 1 :], scope)


def _copy(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    if has_own(statement, "from"):
        yield Class.DATA, "COPY … FROM adds rows."
    yield from _nested(statement, scope)


def _do(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    scope.doubt(statement)  # its statements run in any order, and some of them more than once
    yield from _classes_of(statements_of_block(statement), scope)


def _change(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    first = statement[0].value
    yield Class.DATA, f"{first.upper()} changes rows."
    if first == "delete" and takes_all(statement):
        yield from _loss(statement, scope, "DELETE without WHERE empties the table.")
    elif first == "update" and takes_all(statement) and _empties(statement, scope):
        yield from _loss(statement, scope, "SET … = NULL or DEFAULT without WHERE loses what is in the column.")
    if first != "merge":  # its DELETE is only of the rows that match
        yield from _nested(statement, scope)


def _empties(statement: Sequence[Token], scope: Scope) -> bool:
    """Whether an UPDATE sets a column to NULL, or to its default, that the plan hasn't added."""
    table, start = name_at(statement, 1)[0], (own_at(statement, "set") or 0) + 1
    emptied = [
        name for each in actions(statement[start:]) for name, value in _assignments(each) if value and _is_null(value)
    ]
    return any(not scope.columns.are_new(table, [column]) for column in emptied)


def _assignments(assignment: Sequence[Token]) -> Iterator[tuple[str, Sequence[Token]]]:
    """Yield columns and values of an assignment: ``a = 1``, or ``(a, b) = (1, 2)``, also with ROW or SELECT."""
    equals = own_at(assignment, "=")
    if equals is None:
        return
    value = assignment[equals + 1 :]
    if assignment[0] != "(":
        yield assignment[0].value, value
        return
    inside = [token for token in value if token not in ("row", "select")][1:-1]
    columns = names(assignment[1 : equals - 1])
    yield from zip(columns, actions(inside), strict=False)


def _is_emptied(statement: Sequence[Token], action: Sequence[Token], scope: Scope) -> bool:
    """Whether an action of ALTER TABLE converts a column, which the plan hasn't added, by an expression without it."""
    start = own_at(action, "using")
    if start is None or statement[1] != "table" or _is_new_column(statement, action, scope):
        return False
    column = parts_at(action, 1 + (list(action[1:2]) == ["column"]))[0][-1:]
    row = parts_at(statement, 2)[0][-1:]  # a function may take the whole row
    return not {*column, *row} & {token.value for token in action[start + 1 :] if token.kind in ("word", "name")}


def _is_new_column(statement: Sequence[Token], action: Sequence[Token], scope: Scope) -> bool:
    """Whether the plan has added the column that an action of ALTER TABLE changes or drops."""
    table, column = name_at(statement, 2)[0], name_at(action, 1 + (list(action[1:2]) == ["column"]))[0]
    return statement[1] == "table" and scope.columns.are_new(table, [column])


def _partition(parent: str, scope: Scope, attached: str = "", created: str = "") -> Iterator[Reason]:
    """Yield the long lock of a new partition: the scan of what is attached, and of a DEFAULT one beside it."""
    default = scope.defaults.get(parent, "")
    if attached and not {("table", parent), ("table", attached)} & scope.created:
        yield Class.LOCKS, "ATTACH PARTITION scans the partition, unless a validated CHECK proves its bounds."
    elif default and ("table", default) not in scope.created and default not in (attached, created):
        yield (
            Class.LOCKS,
            f"The DEFAULT partition {default} is scanned under its lock, unless a CHECK excludes the rows.",
        )


def _is_null(value: Sequence[Token]) -> bool:
    """Whether a value is NULL, also with a cast, or DEFAULT."""
    return next((token in ("null", "default") for token in value if token not in ("(", "cast", "select")), False)


def _truncate(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    if statement[-1] == "cascade":  # a foreign key of an earlier table may lead to a new one
        yield Class.DESTRUCTIVE, "TRUNCATE … CASCADE also empties each table with a foreign key to it."
    else:
        yield from _loss(statement, scope, "TRUNCATE empties the table.")


def _nested(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    """Yield the classes of the statements in a CTE."""
    yield from _classes_of(nested_statements(statement), scope)


def _classes_of(inside: Iterable[Sequence[Token] | Unseen], scope: Scope) -> Iterator[Reason]:
    for each in inside:
        if isinstance(each, Unseen):
            yield Class.DATA, _UNSEEN.format(each.subject)
        else:
            yield from classify(each, scope)


def _drop(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    kind = statement[1].value if len(statement) > 1 else ""
    if kind in LOSES:
        yield from _loss(statement, scope, f"DROP {kind.upper()} loses what is in it.")
    elif taking := "owned" if kind == "owned" else _taking_columns(statement):
        yield Class.DESTRUCTIVE, f"DROP {taking.upper()} can take tables and columns with it."
    elif kind == "index" and any(word == "concurrently" for word in statement):
        yield Class.CONCURRENT, "DROP INDEX CONCURRENTLY runs outside of a transaction."


def _taking_columns(statement: Sequence[Token]) -> str:
    """Return the kind of what a DROP … CASCADE drops, if columns can depend on it; else empty."""
    words = f"{' '.join(token.value for token in statement[1:4])} "
    kinds = (kind for kind in _TAKES_COLUMNS if words.startswith(f"{kind} "))
    return next(kinds, "") if statement[-1] == "cascade" else ""


def _alter(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    kind = statement[1].value if len(statement) > 1 else ""
    if kind == "domain" and not scope.is_new(statement):
        words = [token.value for token in statement[name_at(statement, 2)[1] :]]
        if words == ["set", "not", "null"] or words[:1] == ["validate"]:
            yield Class.LOCKS, "Each table with the domain is scanned, and writers are kept out meanwhile."
    pairs = set(pairwise(token.value if token.kind == "word" else "" for token in statement))
    if ("set", "tablespace") in pairs and (kind == "index" or ("in", "tablespace") in pairs):
        yield Class.LOCKS, "SET TABLESPACE copies the files, and keeps readers and writers out."
    if kind not in ("table", "type", "foreign", "materialized"):
        return
    for action in actions(statement[name_at(statement, 3 if kind in ("foreign", "materialized") else 2)[1] :]):
        yield from _of_action(statement, action, scope)


def _of_action(statement: Sequence[Token], action: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    words = [token.value if token.kind == "word" else "" for token in action]
    if words[0] == "drop" and _is_column(statement[1].value, words):
        if not _is_new_column(statement, action, scope):
            yield from _loss(statement, scope, "DROP COLUMN loses what is in it.")
    elif words[0] == "alter" and _is_emptied(statement, action, scope):
        yield from _loss(statement, scope, "USING without the column loses what is in it.")
    elif words[:2] == ["detach", "partition"] and "concurrently" in words:
        yield Class.CONCURRENT, "DETACH PARTITION CONCURRENTLY runs outside of a transaction."
    elif words[:2] == ["attach", "partition"]:
        yield from _partition(name_at(statement, 2)[0], scope, name_at(action, 2)[0])
    elif not scope.is_new(statement):
        yield from _locks(words)
        if words[0] == "add" and _added_type(action) in scope.domains:
            yield (
                Class.LOCKS,
                "A column of a domain with a constraint is checked: the table is rewritten under its lock.",
            )


def _added_type(action: Sequence[Token]) -> str:
    """Return the type of the column that an ADD adds; empty for an array."""
    end = name_at(action, 1 + (list(action[1:2]) == ["column"]))[1]
    name, end = name_at(action, end)
    return "" if list(action[end : end + 1]) == ["["] else name


def _is_column(kind: str, words: list[str]) -> bool:
    """Whether an action drops a column, or the attribute of a type."""
    return words[1:2] == ["attribute"] if kind == "type" else words[1:2] != ["constraint"]


def _locks(words: list[str]) -> Iterator[Reason]:
    """Yield the long locks of an action on a table with rows that squawk doesn't know."""
    if words[0] == "set" and words[1:2] and words[1] in _REWRITES:
        yield Class.LOCKS, f"SET {_REWRITES[words[1]]} rewrites the table, and keeps readers and writers out."
    elif words[:2] == ["alter", "constraint"] and words[-1:] == ["enforced"] and words[-2] != "not":
        yield Class.LOCKS, "ENFORCED verifies the constraint by a scan under the table's lock."
    elif words[0] == "alter" and ("set", "expression") in pairwise(words):
        yield Class.LOCKS, "SET EXPRESSION computes a stored column again: the table is rewritten under its lock."
    elif words[0] == "add" and words[1:2] != ["constraint"] and set(words) & set(SERIAL):
        yield Class.LOCKS, "A serial column is filled row by row: the table is rewritten under its lock."
    elif words[0] == "add" and words[1:2] != ["constraint"] and "check" in words[2:]:
        yield Class.LOCKS, "A CHECK beside a new column is verified by a scan under the table's lock."


def _build(statement: Sequence[Token], scope: Scope) -> Iterator[Reason]:
    """Yield the classes of CREATE INDEX, REINDEX and REFRESH."""
    words = [token.value for token in statement if token.kind == "word"]
    options, start = _options(statement)
    concurrently = "concurrently" in options or any(word == "concurrently" for word in statement[start : start + 3])
    kind = words[2:3] if words[1:2] == ["unique"] else words[1:2]  # a table may be called "index"
    if words[0] == "create" and kind != ["index"]:
        if "table" in words[:4]:
            yield from _nested(statement, scope)  # CREATE TABLE … AS WITH
            of = next((at for at, pair in enumerate(pairwise(statement)) if [*pair] == ["partition", "of"]), None)
            if of is not None:
                yield from _partition(
                    name_at(statement, of + 2)[0], scope, created=name_at(statement, words.index("table") + 1)[0]
                )
        return
    if concurrently:
        yield Class.CONCURRENT, f"{words[0].upper()} … CONCURRENTLY lets others read and write meanwhile."
    elif words[0] == "refresh" and not scope.is_new(statement):
        yield Class.LOCKS, "REFRESH without CONCURRENTLY keeps readers out."
    elif words[0] == "reindex":
        yield Class.LOCKS, "REINDEX without CONCURRENTLY keeps writers out, and readers who would use the index."


def _loss(statement: Sequence[Token], scope: Scope, reason: str) -> Iterator[Reason]:
    if not scope.is_new(statement):
        yield Class.DESTRUCTIVE, reason


_CLASSIFIERS: dict[str, Callable[[Sequence[Token], Scope], Iterator[Reason]]] = {
    "with": _with,
    "explain": _explain,
    "prepare": _prepare,
    "copy": _copy,
    **dict.fromkeys(ROW_CHANGES, _change),
    **dict.fromkeys(("create", "reindex", "refresh"), _build),
    "do": _do,
    "truncate": _truncate,
    "drop": _drop,
    "alter": _alter,
}

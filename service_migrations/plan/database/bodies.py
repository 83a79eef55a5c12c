"""Functions of the database whose bodies name what pending revisions drop or rename: they fail at their next call.

A body that is a text depends on nothing for PostgreSQL, so that DROP and RENAME don't stop at it. What it names is read
from its words; where a word may mean something else, such as a variable or a column of another table, nothing is found.
"""

from collections.abc import Iterable, Iterator, Sequence

from service_migrations.connection.single_message import Row
from service_migrations.plan.classes import Class
from service_migrations.plan.database.changes import Changes
from service_migrations.plan.database.facts import Facts
from service_migrations.plan.database.keys import is_elsewhere, nameless
from service_migrations.plan.database.names import StatementPlace, means, parts
from service_migrations.sql.lexer import Token, tokenize

__all__ = ["failing", "words_to_find"]

_BEFORE_TABLE = ("from", "join", "into", "update", "using", "table", "only", "truncate")
_NO_ALIAS = (
    *("set", "where", "on", "join", "left", "right", "inner", "full", "cross", "natural", "order", "group", "limit"),
    *("values", "select", "using", "returning", "union", "for", "loop", "into", "as", "having", "default", "when"),
)
_RECORDS = ("new", "old")


def words_to_find(changes: Changes) -> set[str]:
    """Return the words of which a body has to have one."""
    tables = {name for name, _ in (*changes.relations.free(), *changes.functions.free())}
    names = {*tables, *(name for _, name, _ in changes.keys.lost())}
    return {parts(name)[1] for name in names} | {column for _, column, *_ in changes.dropped_columns}


def failing(changes: Changes, facts: Facts) -> Iterator[tuple[StatementPlace, Class | None, str]]:
    """Yield each function that isn't replaced, with what it names."""
    replaced = {holder for kind, holder, _ in changes.settled if kind == "body"}
    for row in facts.bodies:
        name = facts.plain(f"{row.schema}.{row.name}")
        if name in changes.functions.left or any(means(holder, name) for holder in replaced):
            continue
        statements = [*_split(tokenize(row.body))]
        for place, named in _named(changes, facts, row, statements):
            fired_by = ", ".join(dict.fromkeys(map(facts.plain, row.fired_by)))
            effect = f"the statements on {fired_by} that fire it fail" if fired_by else "its next call fails"
            yield place, Class.BREAKING, f"The function {name} isn't replaced and names {named}: {effect}."


def _named(changes: Changes, facts: Facts, row: Row, body: list[list[Token]]) -> Iterator[tuple[StatementPlace, str]]:
    default = facts.default
    for table, place in changes.relations.free():
        is_read = table in facts.relations and any(_is_read(statement, table, default) for statement in body)
        if is_read and not _is_common_table(body, table):
            yield place, table
    for function, place in changes.functions.free():
        is_only = len(facts.functions.get(function, ())) == 1
        if is_only and any(_is_called(statement, function, default) for statement in body):
            yield place, f"{function}()"
    for table, name, own, _, place in nameless(changes, facts):
        is_set = any(_sets_constraint(statement, name, default) for statement in body)
        is_named = any(_has_constraint(statement, table, name, default) for statement in body)
        if is_named or (is_set and not is_elsewhere(changes, facts, table, name, own)):
            yield place, f"the constraint {name} of {table}"
    fired_by = set(map(facts.plain, row.fired_by))
    for table, column, place, _ in changes.dropped_columns:
        relation = facts.relations.get(table)
        is_gone = relation and column in relation.columns and not changes.has_column(table, column)
        if not is_gone or table in changes.relations.left or _is_common_table(body, table):
            continue
        is_fired = fired_by == {table}
        if any(_has_column(statement, table, column, default, is_fired=is_fired) for statement in body):
            yield place, f"{table}.{column}"


def _split(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    """Split the tokens of a body at semicolons, and behind the words that begin a statement of PL/pgSQL."""
    statement: list[Token] = []
    for token in tokens:
        if token in (";", "then", "loop", "begin", "else"):
            yield statement
            statement = []
        else:
            statement.append(token)
    yield statement


def _ends(statement: Sequence[Token], name: str, default: str) -> Iterator[tuple[int, int]]:
    """Yield where a name begins and ends in a statement, unless another schema is before it."""
    schema, last = parts(name)
    for at, token in enumerate(statement):
        if token.kind not in ("word", "name") or token.value != last:
            continue
        is_qualified = at > 1 and statement[at - 1] == "."
        if not is_qualified:
            if not schema:
                yield at, at + 1
        elif statement[at - 2].value in ((schema,) if schema else (default, "public")):
            yield at - 2, at + 1


def _word(tokens: Sequence[Token], at: int) -> str:
    """Return the word or symbol at an index; empty for another token, and beyond the ends."""
    token = tokens[at] if 0 <= at < len(tokens) else None
    return token.value if token is not None and token.kind in ("word", "symbol") else ""


def _is_read(statement: Sequence[Token], table: str, default: str) -> bool:
    """Whether a table is where a statement names tables, or types that are those of its rows and columns."""
    for start, end in _ends(statement, table, default):
        if _word(statement, start - 1) in _BEFORE_TABLE and not _is_variable(statement, start):
            return True
        if _word(statement, end + 2 * (_word(statement, end) == ".")) == "%":
            return True
    return False


def _is_variable(statement: Sequence[Token], at: int) -> bool:
    """Whether a name behind INTO is a variable: only that of INSERT, and of MERGE, is a table."""
    return _word(statement, at - 1) == "into" and _word(statement, at - 2) not in ("insert", "merge")


def _is_common_table(body: Sequence[Sequence[Token]], table: str) -> bool:
    """Whether the name is that of a CTE, or of a temporary table."""
    last = parts(table)[1]
    for statement in body:
        is_temporary = any(token in ("temp", "temporary") for token in statement)
        for at, token in enumerate(statement):
            is_cte = _word(statement, at + 1) == "as" and _word(statement, at + 2) in ("(", "not", "materialized")
            if token.kind in ("word", "name") and token.value == last and (is_cte or is_temporary):
                return True
    return False


def _is_called(statement: Sequence[Token], function: str, default: str) -> bool:
    return any(
        _word(statement, end) == "(" and _word(statement, start - 1) not in ("into", "table", "as")
        for start, end in _ends(statement, function, default)
    )


def _sets_constraint(statement: Sequence[Token], name: str, default: str) -> bool:
    """Whether a statement is SET CONSTRAINTS with a name: of each table that has one."""
    is_set = _word(statement, 0) == "set" and _word(statement, 1) == "constraints"
    return is_set and bool([*_ends(statement, name, default)])


def _has_constraint(statement: Sequence[Token], table: str, name: str, default: str) -> bool:
    """Whether a statement names a constraint of a table: ON CONFLICT ON CONSTRAINT, ALTER TABLE … CONSTRAINT."""
    is_named = any(
        token.kind in ("word", "name")
        and token.value == name
        and _word(statement, at - 1) == "constraint"
        and _word(statement, at - 2) != "add"
        for at, token in enumerate(statement)
    )
    return is_named and _is_read(statement, table, default)


def _has_column(statement: Sequence[Token], table: str, column: str, default: str, *, is_fired: bool) -> bool:
    """Whether a statement surely names a column of a table."""
    tables = _tables(statement)
    own = [place for place in _ends(statement, table, default) if place in tables]
    aliases = {parts(table)[1]} if own else set()
    for _, end in own:
        alias = end + (_word(statement, end) == "as")
        if alias < len(statement) and statement[alias].kind in ("word", "name") and statement[alias] not in _NO_ALIAS:
            aliases.add(statement[alias].value)
    for at, token in enumerate(statement):
        if token.kind not in ("word", "name") or token.value != column:
            continue
        if _word(statement, at - 1) == ".":
            before = statement[at - 2].value if at > 1 else ""
            is_type = _word(statement, at + 1) == "%" and before == parts(table)[1]
            if before in aliases or is_type or (is_fired and before in _RECORDS):
                return True
        elif own and len(tables) == 1 and not _is_other(statement, at):
            return True
    return False


def _is_other(statement: Sequence[Token], at: int) -> bool:
    """Whether a word without a table is something else than a column: an alias, a variable, a function, an argument."""
    after = _word(statement, at + 1)
    return (
        _word(statement, at - 1) in ("as", "into", "::", *_BEFORE_TABLE)
        or after in ("(", ".")
        or after + _word(statement, at + 2) in (":=", "=>")
    )


def _tables(statement: Sequence[Token]) -> list[tuple[int, int]]:
    """Return where the tables of a statement begin and end."""
    return [
        (at, at + 1 + 2 * (_word(statement, at + 1) == "."))
        for at, token in enumerate(statement)
        if _word(statement, at - 1) in _BEFORE_TABLE
        and token.kind in ("word", "name")
        and token not in _BEFORE_TABLE
        and not _is_variable(statement, at)
    ]

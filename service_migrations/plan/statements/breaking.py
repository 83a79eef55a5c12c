"""What breaks the code that runs now: the statements after which its own statements fail, or may fail.

While pods are replaced, old code works on the new schema. ``inv db.compat`` measures that; these rules read it from the
statement, which knows neither the code nor the types and constraints of before, so some are about what may be.
"""

from collections.abc import Iterator, Sequence

from service_migrations.plan.statements.access import OWN_ROLE, access, publication
from service_migrations.plan.statements.columns import (
    Columns,
    added_column,
    is_null,
    outside,
    starts_constraint,
    words_of,
)
from service_migrations.plan.statements.constraints import constraint, has_own_values, refuses_null
from service_migrations.plan.statements.novelty import Scope
from service_migrations.plan.statements.sequences import limits
from service_migrations.sql.clauses import actions, index_table, name_at, names
from service_migrations.sql.lexer import Token

__all__ = ["breaks"]

_USED = {
    *("table", "foreign", "view", "materialized", "sequence", "function", "procedure", "routine", "aggregate"),
    *("type", "domain", "schema", "database", "extension", "operator", "cast", "collation", "role", "user", "group"),
    *("owned", "policy", "server", "text"),
}
"""The kinds of objects that statements use; not indexes, triggers or statistics."""

_RECREATED = ("view", "materialized", "function", "procedure", "routine", "aggregate", "policy")
"""The kinds that can only be changed by a new one, in the usual case: what is in it isn't seen."""

_LONG = {"foreign": 2, "materialized": 2, "text": 3}
"""How many words name a kind that begins with one: FOREIGN TABLE, MATERIALIZED VIEW, TEXT SEARCH DICTIONARY."""

_RENAMED = _USED - {"table", "type", "owned", "policy", "operator", "cast", "foreign"}
_WIDEST = {
    *(("text",), ("varchar",), ("character", "varying"), ("bigint",), ("int8",), ("numeric",), ("decimal",)),
    *(("double", "precision"), ("float8",)),
}
"""Types without a limit, to which PostgreSQL casts by itself from what is narrower."""

_SET_SCHEMA = ["set", "schema"]
_NO_VALUES = (["drop", "default"], ["drop", "identity"], ["drop", "expression"])

_OF_OWNERS = {"create", "trigger", "references", "maintain"}
"""The privileges that no statement of an application needs."""


def breaks(statement: Sequence[Token], scope: Scope) -> Iterator[str]:
    """Yield what of the running code fails, or may fail, after a statement; what the plan has created is no part of it.

    Args:
        statement: the statement's tokens.
        scope: what the statements before it have created.

    """
    words = words_of(statement)
    if len(words) < 3 or scope.is_unused(statement):  # noqa: PLR2004 - the shortest has a verb, a kind and a name
        return
    if words[0] == "drop" and words[1] in _USED and words[1:3] != ["foreign", "data"]:
        yield from _drop(statement, scope)
    elif words[0] == "revoke":
        yield from _revoke(statement, scope)
    elif words[0] == "create":
        yield from _create(statement, scope)
    elif words[:2] == ["alter", "table"] or words[:3] == ["alter", "foreign", "table"]:
        yield from _table(statement, scope)
    elif words[:2] in (["alter", "type"], ["alter", "domain"]):
        yield from _type(statement)
    else:
        yield from _others(statement, words, scope)


def _others(statement: Sequence[Token], words: Sequence[str], scope: Scope) -> Iterator[str]:
    if words[1] in ("publication", "subscription"):
        yield from publication(words, _name(statement, words[1]))
    elif words[:2] == ["alter", "policy"] and "rename" not in words:
        yield f"Rows that the policy {_name(statement, 'policy')} doesn't permit any more are refused or left out."
    elif words[:2] == ["reassign", "owned"] and words[-1] not in OWN_ROLE:
        yield "Statements of the former owner fail, unless a GRANT allows them."
    elif words[0] == "refresh" and words[-3:] == ["with", "no", "data"]:
        yield f"Statements that read {name_at(statement, 3)[0]} fail until the next REFRESH: it has no data."
    elif words[:2] == ["alter", "operator"] and words[2] not in ("class", "family") and words[-3:-1] == _SET_SCHEMA:
        end = next((index for index, token in enumerate(statement) if token == "("), 2)
        operator = "".join(token.value for token in statement[2:end])
        yield f"Statements that use operator {operator} fail: it is in another schema."
    elif words[0] == "alter" and words[1] in _RENAMED:
        own = words_of(outside(statement[2:]))
        yield from access(statement, own)
        if words[1] == "sequence":
            yield from limits(statement[2:], _name(statement, "sequence"))
        elif words[1] == "view" and "check_option" in words and "set" in own:
            yield f"A row that {_name(statement, 'view')} doesn't show is refused where it is written through the view."
        if ("rename" in own and not scope.are_recreated(statement)) or own[-3:-1] == _SET_SCHEMA:
            yield f"Statements that use {_label(words)} {_name(statement, words[1])} fail: its name is another one."


def _name(statement: Sequence[Token], kind: str) -> str:
    return name_at(statement, 1 + _LONG.get(kind, 1))[0]


def _label(words: Sequence[str]) -> str:
    """Return the kind of the object of a DROP or ALTER."""
    return " ".join(words[1 : 1 + _LONG.get(words[1], 1)])


def _drop(statement: Sequence[Token], scope: Scope) -> Iterator[str]:
    kind = statement[1].value
    if kind in _RECREATED and scope.are_recreated(statement):
        return
    if kind == "policy":
        yield f"Rows that the policy {_name(statement, kind)} permits may be refused or left out."
    elif kind == "owned":
        yield "Statements that use what the role owns fail, and so do those that need its privileges."
    else:
        end = next((index for index, word in enumerate(statement) if word in ("cascade", "restrict")), len(statement))
        dropped = ", ".join(filter(None, names(statement[1 + _LONG.get(kind, 1) : end])))
        label = _label(words_of(statement))
        yield f"Statements that use {f'{label} {dropped}' if dropped else f'the {label}'} fail."


def _revoke(statement: Sequence[Token], scope: Scope) -> Iterator[str]:
    words = words_of(statement)
    if words[2:4] == ["option", "for"]:
        return
    on = words.index("on") if "on" in words else 0
    if on:
        privileges = {word for word in words_of(outside(statement[1:on])) if word}
        end = words.index("from", on) if "from" in words[on:] else len(words)
        kind = "".join(words[on + 1 : on + 2])
        kind = kind if kind in (*_USED, "table") and words[on + 2 : on + 3] != ["from"] else ""
        start = on + 1 + bool(kind)
        kind = {"procedure": "function", "routine": "function"}.get(kind, kind or "table")
        objects = {(kind, name) for name in names(statement[start:end])}
        views = {("view", name) for _, name in objects} if kind == "table" else objects
        if privileges <= _OF_OWNERS or objects <= scope.created or views <= scope.created:
            return
    yield "Statements that need the revoked privilege fail."


def _create(statement: Sequence[Token], scope: Scope) -> Iterator[str]:
    words = words_of(statement)
    if words[1:3] == ["unique", "index"]:
        table = index_table(statement)
        on = words.index("on") if "on" in words else 0
        if table and not has_own_values(statement[name_at(statement, on + 1)[1] :], table, scope.columns):
            yield f"A row of {table} with the values of another one is refused by the new unique index."
    elif (words[1] == "rule" or words[1:4] == ["or", "replace", "rule"]) and "instead" in words and "to" in words:
        table = name_at(statement, words.index("to") + 1)[0]
        if {("table", table), ("view", table)}.isdisjoint(scope.created) and words[words.index("to") - 1] != "select":
            yield f"Statements that change {table} do what the new rule says instead."
    elif "view" in words[1:5]:
        yield from _view(statement, words, scope)
    elif words[1] == "policy" and "restrictive" in words and "on" in words:
        on = words.index("on")
        table = name_at(statement, on + 1)[0]
        if ("table", table) not in scope.created:
            yield f"Rows of {table} that the new policy doesn't permit are refused or left out."


def _view(statement: Sequence[Token], words: Sequence[str], scope: Scope) -> Iterator[str]:
    """Yield how statements fail with a view that takes the place of another one, or of a table."""
    name = name_at(statement, words.index("view") + 1)[0]
    is_former = ("table", name) in scope.former or (
        words[1:3] == ["or", "replace"] and ("view", name) not in scope.created
    )
    if is_former and words[-3:] == ["with", "no", "data"]:
        yield f"Statements that read {name} fail until the next REFRESH: it has no data."
    elif is_former and (words[-2:] == ["check", "option"] or "check_option" in words):
        yield f"A row that {name} doesn't show is refused where it is written through the view."


def _table(statement: Sequence[Token], scope: Scope) -> Iterator[str]:
    if scope.is_proved(statement):  # by a CHECK of this plan, which is what breaks
        return
    table, start = name_at(statement, 2 + (statement[1] == "foreign"))
    columns = scope.columns.copy()
    parts = list(actions(statement[start:]))
    named = [(name_at(action, 1 + (words_of(action)[1:2] == ["column"]))[0], words_of(action)) for action in parts]
    relaxed = {
        name
        for name, words in named
        if words[-3:] == ["drop", "not", "null"] or scope.later["default", f"{table}.{name}"] > 0
    }
    for action in parts:
        words = words_of(action)
        if words[0] == "add":
            yield from (constraint if starts_constraint(action) else _added)(action, table, columns)
        elif words[0] == "alter" and words[1:2] != ["constraint"]:
            yield from _column(action, table, columns, relaxed, is_widening=scope.is_widening)
            yield from _identity(action, table, columns)
        elif words[0] == "rename" and words[1:2] != ["constraint"]:
            yield from _rename(action, table, columns, scope, statement)
        elif partition := _left(action, table):
            if ("table", partition) not in scope.created and scope.later["partition", partition] < 1:
                yield f"Rows of {partition} are left out, and those that belong there may be refused."
        else:
            yield from _other(action, table, columns)
        columns.apply(table, action)


def _left(action: Sequence[Token], table: str) -> str:
    """Return the table that leaves its parent by DETACH PARTITION or NO INHERIT; empty for another action."""
    words = words_of(action)
    if words[:2] == ["detach", "partition"] and "finalize" not in words:
        return name_at(action, 2)[0]
    return table if words[:2] == ["no", "inherit"] else ""


def _other(action: Sequence[Token], table: str, columns: Columns) -> Iterator[str]:
    words = words_of(action)
    if words[0] == "drop" and words[1:2] != ["constraint"]:
        name = name_at(action, 1 + (words[1:2] == ["column"]))[0]
        if (table, name) not in columns.new:
            yield f"Statements that name {table}.{name} fail: the column is gone."
    elif words[:2] == ["alter", "constraint"] and words[-1:] == ["enforced"] and words[-2] != "not":
        yield f"Rows of {table} that the constraint doesn't take are refused, now that it is enforced."
    elif words[:2] == ["set", "schema"]:
        yield f"Statements that use {table} fail: it is in another schema."
    elif words[-3:] == ["row", "level", "security"] and words[0] in ("enable", "force"):
        yield f"Rows of {table} that no policy permits are refused or left out."
    elif words[:2] == ["owner", "to"] and words[-1] not in OWN_ROLE:
        yield f"Statements of the former owner of {table} fail, unless a GRANT allows them."
    elif words[:3] == ["replica", "identity", "nothing"]:
        yield f"UPDATE and DELETE of {table} fail if a publication has it."


def _type(statement: Sequence[Token]) -> Iterator[str]:
    kind = statement[1].value
    name, start = name_at(statement, 2)
    words = words_of(statement[start:])
    if words[:1] == ["rename"] and words[1:2] not in (["constraint"], ["to"]):
        part = "a label" if words[1:2] == ["value"] else "an attribute"
        yield f"Statements that use {part} of {name} fail: its name is another one."
    elif words[:2] == ["rename", "to"] or words[:2] == ["set", "schema"]:
        yield f"Statements that use {kind} {name} fail: its name is another one."
    elif any(action[1:2] and action[1] == "attribute" for action in actions(statement[start:])):
        yield f"Statements with values of {name} fail: its attributes are others."
    elif kind == "domain" and (words[:1] == ["add"] or words[:3] == ["set", "not", "null"]):
        if words[-2:] != ["not", "enforced"]:
            yield f"Values that the new constraint of {name} doesn't take are refused."
    elif words[:2] == ["drop", "default"]:
        yield f"An INSERT that leaves a column to the default of {name} writes NULL, or fails."


def _rename(
    action: Sequence[Token], table: str, columns: Columns, scope: Scope, statement: Sequence[Token]
) -> Iterator[str]:
    words = words_of(action)
    if words[1:2] == ["to"]:
        if not scope.are_recreated(statement):  # a view with the former name
            yield f"Statements that use {table} fail: its name is another one."
        return
    name = name_at(action, 1 + (words[1:2] == ["column"]))[0]
    if (table, name) not in columns.new:
        yield f"Statements that name {table}.{name} fail: its name is another one."


def _added(action: Sequence[Token], table: str, _: Columns) -> Iterator[str]:
    """Yield how an INSERT that doesn't name a new column fails."""
    name, column = added_column(action)
    words = words_of(outside(action))
    if column.default == "none" and (not column.takes_null or ("check" in words and refuses_null(action))):
        yield f"An INSERT without {table}.{name} fails: the new column takes no NULL and has no default."
    elif column.default == "constant" and ("unique" in words or "primary" in words):
        yield f"An INSERT without {table}.{name} fails from the second row on: its default is UNIQUE."


def _column(
    action: Sequence[Token], table: str, columns: Columns, relaxed: set[str], *, is_widening: bool
) -> Iterator[str]:
    """Yield how statements fail after an ALTER COLUMN."""
    name, end = name_at(action, 1 + (words_of(action)[1:2] == ["column"]))
    words, column = words_of(action[end:]), columns.new.get((table, name))
    place = f"{table}.{name}"
    if words[:3] == ["set", "not", "null"]:
        if column is None:
            yield f"Statements that write NULL to {place} fail."
        elif column.default == "none":
            yield f"An INSERT without {place} fails: the new column takes no NULL and has no default."
    elif words[:2] in _NO_VALUES or (words[:2] == ["set", "default"] and is_null(action[end + 2 :])):
        takes_null = column.takes_null if column else (table, name) in columns.nullable or name in relaxed
        if not takes_null:
            yield f"An INSERT without {place} fails if it takes no NULL: nothing fills it in any more."
    elif column is not None:
        return
    elif words[:1] == ["type"] or words[:3] == ["set", "data", "type"]:
        if not is_widening and not _is_widest(action[end + 1 + 2 * (words[0] == "set") :]):
            yield f"A value that fits {place} now may not fit its new type."
    elif words[-1:] and "generated" in words and "always" in words:
        yield f"An INSERT that gives {place} a value fails: it is GENERATED ALWAYS."


def _identity(action: Sequence[Token], table: str, columns: Columns) -> Iterator[str]:
    """Yield how an INSERT fails after the sequence of an identity column has other options."""
    name, end = name_at(action, 1 + (words_of(action)[1:2] == ["column"]))
    words = words_of(action[end:])
    if words[:1] == ["set"] and {"maxvalue", "increment"} & set(words) and (table, name) not in columns.new:
        yield from limits(action[end:], f"{table}.{name}")


def _is_widest(tokens: Sequence[Token]) -> bool:
    """Whether a type has no limit, and no USING says that the values become others."""
    return tuple(token.value for token in tokens) in _WIDEST

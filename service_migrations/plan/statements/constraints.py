"""What running code's rows may violate: new constraints and unique indexes of tables that it fills.

A constraint that only new columns of the same plan can violate doesn't count: it holds where old code leaves them to
NULL, or to a default of their own.
"""

from collections.abc import Iterator, Sequence

from service_migrations.plan.statements.columns import Column, Columns, outside, words_of
from service_migrations.sql.clauses import name_at, names
from service_migrations.sql.lexer import Token

__all__ = ["constraint", "has_own_values", "refuses_null"]

_CONDITION_WORDS = {
    *("and", "or", "not", "is", "null", "true", "false", "in", "between", "like", "ilike", "similar", "to", "any"),
    *("all", "array", "case", "when", "then", "else", "end", "cast", "as", "distinct", "from", "collate", "unknown"),
    *("asc", "desc", "nulls", "first", "last", "with", "without", "time", "zone", "some", "symmetric", "escape"),
    *("varying", "precision"),
}
"""Words of conditions that aren't columns."""


def constraint(action: Sequence[Token], table: str, columns: Columns) -> Iterator[str]:
    """Yield how statements fail after ADD CONSTRAINT; a constraint that only new columns can violate doesn't count."""
    words = words_of(action)
    start = 3 if words[1] == "constraint" else 1
    kind = words[start] if len(words) > start else ""
    rest = action[start + 1 :]
    own = words_of(outside(action))
    if own[-2:] == ["not", "enforced"] or (kind == "unique" and own[-3:-1] == ["using", "index"]):
        return
    if kind == "not":
        column = columns.new.get((table, name_at(action, start + 2)[0]))
        if column is None or column.default == "none":
            yield f"Statements that write no value to {table}.{name_at(action, start + 2)[0]} fail."
    elif kind == "check":
        named = _named(rest)
        unfilled = [name for name in named if columns.new.get((table, name), Column()).default == "none"]
        if not columns.are_new(table, named) or (unfilled and refuses_null(rest)):
            yield f"A row of {table} that violates the new CHECK is refused."
    elif kind == "foreign":
        inside = list(rest[1:])
        keys = names(inside[1 : next((index for index, token in enumerate(inside) if token == ")"), 0)])
        if not columns.are_new(table, keys):
            yield f"A row of {table} without its parent is refused by the new FOREIGN KEY, and so is a parent's DELETE."
    elif kind in ("unique", "exclude", "primary") and not has_own_values(
        rest, table, columns, needs_value=kind == "primary"
    ):
        label = "PRIMARY KEY" if kind == "primary" else kind.upper()
        yield f"A row of {table} that violates the new {label} is refused."


def has_own_values(tokens: Sequence[Token], table: str, columns: Columns, *, needs_value: bool = False) -> bool:
    """Whether a key has a new column that is NULL, or another value, in each row that running code inserts."""
    where = next((index for index, token in enumerate(tokens) if token in ("where", "include")), len(tokens))
    own = words_of(outside(tokens[:where]))
    needs_value = needs_value or ("nulls", "not", "distinct") in zip(own, own[1:], own[2:], strict=False)
    new = [columns.new[table, name] for name in _named(tokens[:where]) if (table, name) in columns.new]
    allowed = ("own",) if needs_value else ("own", "none")
    return any(column.default in allowed for column in new)


def _named(tokens: Sequence[Token]) -> list[str]:
    """Return the columns in the parentheses of a constraint or an index, and whatever may be one."""
    columns: list[str] = []
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        is_type = index > 0 and tokens[index - 1] == "::"
        if depth < 1 or is_type or token.kind not in ("word", "name") or (token.kind == "word" and following == "("):
            continue
        if token.kind == "name" or token.value not in _CONDITION_WORDS:
            columns.append(token.value)
    return columns


def refuses_null(tokens: Sequence[Token]) -> bool:
    """Whether a CHECK may be false for NULL: it usually is neither true nor false then, and holds."""
    words = words_of(tokens)
    triples = zip(words, words[1:], words[2:], strict=False)
    return ("is", "not", "null") in triples or not {"coalesce", "num_nulls", "num_nonnulls", "distinct"}.isdisjoint(
        words
    )

"""The warnings of squawk that don't apply, as measurements of servers show (tests/server/evidence)."""

from collections.abc import Sequence

from service_migrations.plan.statements.columns import AFTER_DEFAULT, outside, starts_constraint, words_of
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.clauses import actions, name_at
from service_migrations.sql.lexer import Token

__all__ = ["unfounded"]

_UNENFORCED = ("adding-foreign-key-constraint", "constraint-missing-not-valid")

_STABLE = """
abs array bit btrim cast char character coalesce concat current_database current_schema current_setting
date_part date_trunc daterange decimal decode encode extract greatest int4range int8range interval
json_build_array json_build_object jsonb_build_array jsonb_build_object least length lower make_date
make_interval md5 now nullif numeric numrange pg_backend_pid repeat round row statement_timestamp substring
time timestamp timestamptz timezone to_char to_date to_json to_jsonb to_timestamp transaction_timestamp trim
tsrange tstzrange upper varchar varying
"""
"""What isn't volatile before a parenthesis: PostgreSQL computes such a default once, for all rows that are there."""


def unfounded(statement: Sequence[Token], scope: Scope) -> frozenset[str]:
    """Return the rules that don't apply to a statement.

    Args:
        statement: its tokens.
        scope: what the statements before it have created.

    """
    rules = set()
    words = [token.value for token in statement if token.kind == "word"]
    if words[:2] == ["alter", "domain"] and words[-2:] == ["not", "valid"]:
        rules.add("ban-alter-domain-with-add-constraint")
    elif words[:1] == ["create"] and "index" in words[1:3] and _is_of_parent_only(statement):
        rules.add("require-concurrent-index-creation")
    elif words[:2] == ["alter", "table"]:
        table, start = name_at(statement, 2)
        parts = list(actions(statement[start:]))
        if not any(map(_is_verified, parts)):
            rules.add("adding-foreign-key-constraint")
        if not any(map(_fills_rows, parts)):
            rules.add("adding-field-with-default")
        if all(_is_of_new_column(part, table, scope) for part in parts if part[0] == "drop"):
            rules.add("ban-drop-column")
        if scope.is_unrewritten:
            rules.add("changing-column-type")
        added = [part for part in parts if part[0] == "add" and starts_constraint(part)]
        if added and all(words_of(part)[-2:] == ["not", "enforced"] for part in added):
            rules.update(_UNENFORCED)
    return frozenset(rules)


def _is_of_parent_only(statement: Sequence[Token]) -> bool:
    """Whether an index is built ON ONLY a table: a partitioned one, whose partitions' indexes are attached to it."""
    on = next((index for index, token in enumerate(statement) if token == "on"), len(statement))
    return on + 1 < len(statement) and statement[on + 1] == "only"


def _is_verified(action: Sequence[Token]) -> bool:
    """Whether an action lets PostgreSQL verify the rows of foreign keys: those of a new, empty column it doesn't."""
    words = [token.value for token in action if token.kind == "word"]
    return words[1:2] in (["constraint"], ["foreign"]) or not {"default", "generated"}.isdisjoint(words)


def _fills_rows(action: Sequence[Token]) -> bool:
    """Whether an action adds a column with a value of its own in each row: a volatile default, a stored expression."""
    if action[0] != "add" or starts_constraint(action):
        return False
    words = words_of(outside(action))
    if "generated" in words:
        return "identity" in words or "stored" in words  # VIRTUAL is the default, and is computed when it is read
    if "default" not in words:
        return False
    default = action[next(index for index, token in enumerate(action) if token == "default") + 1 :]
    depth = 0
    for end, token in enumerate(default):
        depth += (token == "(") - (token == ")")
        if end and not depth and token in AFTER_DEFAULT:
            default = default[:end]  # CHECK (…) and REFERENCES u (id) call nothing
            break
    return any(
        default[index + 1] == "(" and token.kind in ("word", "name") and not _is_stable(default[: index + 1])
        for index, token in enumerate(default[:-1])
    )


def _is_stable(tokens: Sequence[Token]) -> bool:
    """Whether the name at the end of tokens is that of a function of PostgreSQL's that isn't volatile."""
    schema = tokens[-3].value if len(tokens) > 2 and tokens[-2] == "." else "pg_catalog"  # noqa: PLR2004 - a qualified name
    return tokens[-1].kind == "word" and tokens[-1].value in _STABLE.split() and schema == "pg_catalog"


def _is_of_new_column(action: Sequence[Token], table: str, scope: Scope) -> bool:
    """Whether a DROP is one of a constraint, or of a column that the plan has added."""
    words = words_of(action)
    name = name_at(action, 1 + (words[1:2] == ["column"]))[0]
    return words[1:2] == ["constraint"] or scope.columns.are_new(table, [name])

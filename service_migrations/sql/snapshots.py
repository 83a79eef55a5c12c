"""Whether a transaction has a snapshot after some statements: before its first one, SET TRANSACTION still works.

Source: PostgreSQL's ``PlannedStmtRequiresSnapshot``.
"""

from service_migrations.sql.lexer import Statement, statements

__all__ = ["has_snapshot", "needs_snapshot"]

_ENDS = ("abort", "begin", "commit", "end", "prepare", "rollback", "start")
"""Statements of which a transaction begins or ends; PREPARE only with TRANSACTION, ROLLBACK only without TO."""
_WITHOUT = (
    "checkpoint",
    "fetch",
    "listen",
    "lock",
    "notify",
    "release",
    "reset",
    "savepoint",
    "set",
    "show",
    "unlisten",
)


def needs_snapshot(text: str) -> bool:
    """Whether the first statement of a text takes the transaction's snapshot."""
    first = next(statements(text), None)
    return first is not None and _after(first, before=False)


def has_snapshot(text: str, *, before: bool) -> bool:
    """Whether the transaction has its snapshot after the statements of a text.

    Args:
        text: one statement, or several.
        before: whether it has it before them.

    """
    for statement in statements(text):
        before = _after(statement, before=before)
    return before


def _after(statement: Statement, *, before: bool) -> bool:
    word, words = statement.tokens[0].value, {token.value for token in statement.tokens if token.kind == "word"}
    if word == "rollback" and "to" in words:
        return before
    if word in _ENDS and (word != "prepare" or "transaction" in {token.value for token in statement.tokens[1:2]}):
        return False
    return before if word in _WITHOUT else True

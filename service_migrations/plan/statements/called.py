"""The functions that a statement calls: what they do is seen where their bodies, or the texts that they run, are."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from service_migrations.plan.statements.nested import Unseen, is_statement, nested_statements
from service_migrations.sql.clauses import actions, name_at, split_name, statement_inside
from service_migrations.sql.dynamic import executed_texts
from service_migrations.sql.lexer import Token, statements, tokenize

__all__ = ["Bodies", "body_of", "called_statements", "created_function"]

Bodies = Mapping[str, Sequence[Token]]
"""The tokens of each body, by the name of its function."""

_START = Token("symbol", ";", 1)
_CALLS_NONE = ("create", "alter", "drop", "comment", "grant", "revoke")
"""Statements in which a function is named and not called; a trigger calls it later."""
_READABLE = ("plpgsql", "sql")
_RUN_A_TEXT = (
    *("query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema"),
    *("dblink", "dblink_exec", "dblink_open", "dblink_send_query"),
)
"""Functions that run a text, here or in another database (documentation, 9.15 XML Functions, F.11 dblink)."""
_KINDS = (["function"], ["procedure"])
_QUERIES = ("select", "table", "values", "with")


def created_function(statement: Sequence[Token]) -> str:
    """Return the name of the function or procedure that a statement creates; empty for another statement."""
    start = 3 if [*statement[1:3]] == ["or", "replace"] else 1
    is_created = statement[:1] != () and statement[0] == "create" and [*statement[start : start + 1]] in _KINDS
    return name_at(statement, start + 1)[0] if is_created else ""


def body_of(statement: Sequence[Token]) -> Sequence[Token]:
    """Return the tokens in the body of a CREATE FUNCTION or PROCEDURE; none where it can't be read."""
    language = next((after.value for word, after in pairwise(statement) if word == "language"), "sql")
    if language.lower() not in _READABLE:
        return ()
    for index, (word, after) in enumerate(pairwise(statement)):
        if word == "as" and after.kind == "string":
            return (_START, *tokenize(after.value))
        if word == "begin" and after == "atomic":
            return (_START, *statement[index + 2 :])
    return ()


def called_statements(
    statement: Sequence[Token], bodies: Bodies, seen: frozenset[str] = frozenset()
) -> Iterator[Sequence[Token] | Unseen]:
    """Yield the statements of the functions that a statement calls, and of those that these call.

    Args:
        statement: its tokens.
        bodies: those of the functions that the history and the plan have created.
        seen: the functions that call it.

    """
    if not statement or statement[0] in _CALLS_NONE:
        return
    tokens = list(statement)
    if statement[0] == "do":
        tokens = [each for token in statement if token.kind == "string" for each in tokenize(token.value)]
    for index, token in enumerate(tokens[:-1]):
        if tokens[index + 1] != "(" or token.kind not in ("word", "name") or tokens[max(0, index - 1)] == "into":
            continue
        name = name_at(tokens, index - 2 * (index > 1 and tokens[index - 1] == "."))[0]
        if split_name(name.removeprefix("pg_catalog."))[1] in _RUN_A_TEXT and name not in bodies:
            yield from _run_texts(token.value, statement_inside(tokens[index + 2 :]))
        if name in bodies and name not in seen:
            yield from nested_statements(bodies[name], is_block=True)
            yield from called_statements(bodies[name], bodies, seen | {name})


def _run_texts(function: str, arguments: Sequence[Token]) -> Iterator[Sequence[Token] | Unseen]:
    """Yield the statements in the arguments of a function that runs one of them."""
    texts = (text for argument in actions(arguments) for text in executed_texts(argument))
    inside = [each.tokens for text in texts for each in statements(text)]
    run = [tokens for tokens in inside if tokens[0] in _QUERIES or is_statement(tokens)]
    yield from run
    if not run:
        yield Unseen(f"{function} runs")

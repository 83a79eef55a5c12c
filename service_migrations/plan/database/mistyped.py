"""Statements on rows that the server refuses as it reads them, since a part has another type than it needs.

``UPDATE t SET number = :text`` runs over psycopg2, which writes a constant without a type. asyncpg's parameters have
one, and rendered statements have it as a cast. Whether it fits depends on the columns, so the server is asked to
prepare such a statement, which neither plans nor runs it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import search_path
from service_migrations.connection.drivers import driver_of, run_script
from service_migrations.failures.driver_errors import describe, sqlstate
from service_migrations.history.sql.offline import Rendered
from service_migrations.plan.review import PlanFinding
from service_migrations.sql.asyncpg_refusals import advice
from service_migrations.sql.lexer import Token, statements

__all__ = ["mistyped"]

_STATES = ("42804", "42883", "42P18", "42725")
"""A wrong type; no such function or operator; a type that can't be inferred; several functions or operators."""
_ON_ROWS = ("delete", "insert", "merge", "select", "update", "values", "with")
_UNKNOWN = ("call", "discard", "do", "execute", "load", "prepare", "reset", "set")
"""What may change any table, or what names mean."""
_MEANINGS = ("cast", "extension", "operator")
"""Kinds of objects that decide which types fit, without being named."""
_MOST, _LONGEST = 200, 16 * 1024
"""How many statements are tried, such as those of a data migration, and the characters of one."""
_NAME = "service_migrations_plan"
_LOCK_TIMEOUT = "100ms"
"""The server locks the tables that it reads of, as an UPDATE does, until the statement is prepared."""
_BEFORE_TABLES = ("from", "into", "join", "lateral", "only", "update", "using")
_BEHIND_TABLES = ("group", "having", "on", "order", "returning", "set", "when", "where")
_CAST_OF_PARAMETER = re.compile(r"::[A-Z]{2}")
"""A cast as SQLAlchemy writes it."""


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement of a revision, with the lines of its file and of its SQL."""

    sql: str
    rendered: Rendered
    line: int
    sql_line: int


async def mistyped(connection: AsyncConnection, rendered: Sequence[Rendered]) -> dict[str, tuple[PlanFinding, ...]]:
    """Return the findings of each revision, by its id. Nothing is run, and no transaction is open afterwards.

    Only a statement is looked at whose tables and functions no statement before it names, as it might change them.

    Args:
        connection: to the database of the service, with no transaction open.
        rendered: the revisions in the order in which they run.

    Raises:
        SQLAlchemyError: the connection is lost.

    """
    candidates = list(_candidates(rendered))[:_MOST]
    if not candidates:
        return {}
    try:
        findings = await connection.run_sync(lambda own: list(_refused(own, candidates)))
    finally:
        await connection.rollback()
    by_revision: dict[str, tuple[PlanFinding, ...]] = {}
    for statement, message, hint in findings:
        revision, text = statement.rendered.revision, f"{message}. {hint}".rstrip()
        rule = "driver" if hint else "refused"
        finding = PlanFinding(rule, text, None, revision.path, statement.line, statement.sql_line)
        by_revision[revision.revision] = (*by_revision.get(revision.revision, ()), finding)
    return by_revision


def _candidates(rendered: Sequence[Rendered]) -> Iterator[_Statement]:
    """Yield the statements on rows that what runs before them has no part in."""
    changed: set[str] = set()
    for revision in rendered:
        offset = 0
        for piece in revision.pieces:
            if piece.is_transaction:
                continue
            parsed = list(statements(piece.sql))
            tokens = parsed[0].tokens if len(parsed) == 1 else ()
            if not tokens or tokens[0] in _UNKNOWN or _calls_only(tokens):
                return
            words = {token.value for token in tokens if token.kind in ("word", "name")}
            if tokens[0] in _ON_ROWS:
                if not _named(tokens) & changed and len(piece.sql) <= _LONGEST:
                    yield _Statement(piece.sql.rstrip().rstrip(";"), revision, piece.source, offset + parsed[0].line)
            else:
                changed |= words
                if any(token in _MEANINGS for token in tokens[1:4]):
                    return
            offset += piece.sql.count("\n") + 2
        if not revision.is_whole:
            return


def _calls_only(tokens: Sequence[Token]) -> bool:
    """Whether a SELECT reads no table, so that it is there for what its functions do."""
    return tokens[0] == "select" and "from" not in tokens


def _named(tokens: Sequence[Token]) -> set[str]:
    """Return the names of the tables, functions and types in a statement, without their schemas; aliases too."""
    names, is_list = set(), False
    for before, token, after in zip([None, *tokens[:-1]], tokens, [*tokens[1:], None], strict=True):
        if token in _BEFORE_TABLES:
            is_list = token == "from"
        elif token in _BEHIND_TABLES:
            is_list = False
        if token.kind not in ("word", "name"):
            continue
        is_table = before is not None and (before in _BEFORE_TABLES or before == "." or (is_list and before == ","))
        if is_table or before in ("::", "as") or after in ("(", "."):
            names.add(token.value)
    return names


def _refused(connection: Connection, statements_on_rows: Sequence[_Statement]) -> Iterator[tuple[_Statement, str, str]]:
    """Yield the statements that the server refuses for a type, with the reason, and what helps over asyncpg."""
    errors: tuple[type[Exception], ...] = (*driver_of(connection).errors, OSError)
    is_asyncpg = connection.dialect.driver == "asyncpg"
    connection.exec_driver_sql(f"SET LOCAL {search_path(connection).assignment}")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    for statement in statements_on_rows:
        script = (f"SAVEPOINT {_NAME}", f"PREPARE {_NAME} AS {statement.sql}", f"DEALLOCATE {_NAME}")
        try:
            run_script(connection, ";\n".join((*script, f"ROLLBACK TO SAVEPOINT {_NAME}")))
        except errors as error:
            # where the connection is lost, this statement fails as any other one would
            connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_NAME}")
            state, text = sqlstate(error), describe(error)
            if state in _STATES:
                has_parameters = is_asyncpg and _CAST_OF_PARAMETER.search(statement.sql) is not None
                yield statement, f"{text} [{state}]", advice(state, text, has_parameters=has_parameters)

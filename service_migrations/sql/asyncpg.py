"""What psycopg2 takes and asyncpg refuses: how it is found in a text, and what helps after it has failed.

asyncpg prepares each statement on the server, with its parameters apart: so a text has one command, a parameter has
one type, and ``%s`` means nothing.
"""

import re

from service_migrations.sql.lexer import statements

__all__ = ["SETTING", "advice", "refusal"]

SETTING = 'set driver = "psycopg" for the service in pyproject.toml'
_ONE_COMMAND = "Write one op.execute() for each"
_CAST = "CAST(:name AS type), or a Python value of that type"

_TYPES = ("22000", "42804", "42883", "42P08", "42P18")
"""SQLSTATEs of a parameter with a wrong type; the first one is asyncpg's own, before anything is sent."""

_PLACEHOLDER = re.compile(r"%s|%\(\w+\)s")
_IN = re.compile(r"\bIN\s+(:\w+)", re.IGNORECASE)
_UNTYPED = re.compile(r"\b(jsonb?_build_(?:object|array))\s*\((?:[^()]*,)?\s*(:\w+)\s*[,)]", re.IGNORECASE)


def refusal(text: str, *, has_parameters: bool = False, is_expanded: bool = False) -> str | None:
    """Return why asyncpg refuses a text of SQL, as two sentences; None where it isn't certain that it does.

    Args:
        text: as it is written in a revision.
        has_parameters: whether values for ``%s`` are given with it.
        is_expanded: whether a list of an ``IN`` is one of SQLAlchemy's expanding parameters.

    """
    count = sum(1 for _ in statements(text))
    if count > 1:
        return f"asyncpg takes one command at a time, and this text has {count}. {_ONE_COMMAND}, or {SETTING}."
    if has_parameters and (match := _PLACEHOLDER.search(text)):
        return f"asyncpg knows no {match[0]}. Write op.execute(sa.text(…).bindparams(…)), or {SETTING}."
    if not is_expanded and (match := _IN.search(text)):
        return (
            f"asyncpg takes no list for IN {match[1]}. Write sa.bindparam({match[1][1:]!r}, expanding=True), "
            f"or = ANY({match[1]}), or {SETTING}."
        )
    if match := _UNTYPED.search(text):
        return f"asyncpg needs the type of {match[2]} in {match[1]}(). Write CAST({match[2]} AS text), or {SETTING}."
    return None


def advice(state: str | None, text: str, *, has_parameters: bool) -> str:
    """Return what helps where asyncpg has refused what psycopg2 takes; empty for any other failure.

    Args:
        state: the SQLSTATE; asyncpg gives its own refusals one too.
        text: the message.
        has_parameters: whether the statement had parameters.

    """
    if "multiple commands" in text:
        reason = f"asyncpg takes one command at a time. {_ONE_COMMAND}"
    elif state == "42601" and 'at or near "%"' in text:
        reason = "asyncpg knows no %s. Write op.execute(sa.text(…).bindparams(…))"
    elif "AsyncAdapt_asyncpg" in text and "has no attribute" in text:
        reason = "A cursor of asyncpg's has no COPY and no mogrify(). Write it as SQL"
    elif has_parameters and state == "42601" and 'at or near "$' in text:
        reason = "asyncpg takes no list there. Write sa.bindparam(…, expanding=True), or = ANY(:name)"
    elif has_parameters and state in _TYPES:
        reason = f"asyncpg sends each parameter with one type. Write {_CAST}"
    else:
        return ""
    return f"{reason}, or {SETTING}."

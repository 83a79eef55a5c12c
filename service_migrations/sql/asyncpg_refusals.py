"""What psycopg2 takes and asyncpg refuses: how it is found in a text, and what helps after it has failed.

asyncpg prepares each statement on the server, with its parameters apart: so a text has one command, a parameter has
one type, and ``%s`` means nothing.
"""

import re

from service_migrations.sql.lexer import statements, tokenize

__all__ = ["SETTING", "advice", "refusal"]

SETTING = 'set driver = "psycopg" for the service in pyproject.toml'
_ONE_COMMAND = "Write one op.execute() for each"
_CAST = "CAST(:name AS type), or a Python value of that type"
_VALUE = "a Python value of that type, or CAST(CAST(:name AS text) AS type) for a text"
_WRITTEN = "Write the value into the text"

_TYPES = ("22000", "42725", "42804", "42883", "42P08", "42P18")
"""SQLSTATEs of a parameter with a wrong type; the first one is asyncpg's own, before anything is sent."""

_NAME = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
"""A parameter of a text, as SQLAlchemy reads it: also in a string and in a body."""
_PLACEHOLDER = re.compile(r"%s|%\(\w+\)s")
_IN = re.compile(r"\bIN\s+(:\w+)", re.IGNORECASE)
_SENT_IN = re.compile(r"\bIN\s+\$\d", re.IGNORECASE)
_CONSTANT = re.compile(r"\b(DATE|TIME|TIMESTAMP|TIMESTAMPTZ|INTERVAL)\s+(:\w+)(?!\w*:)", re.IGNORECASE)
_UNTYPED = (
    re.compile(r"\b(jsonb?_build_(?:object|array)|concat)\s*\((?:[^()]*,)?\s*(:\w+)\s*[,)]", re.IGNORECASE),
    re.compile(r"\b(concat_ws|format)\s*\([^()]*,\s*(:\w+)\s*[,)]", re.IGNORECASE),
    re.compile(r"\b(to_jsonb?)\s*\(\s*(:\w+)\s*\)", re.IGNORECASE),
)
"""Functions that take any type in this place."""
_WITHOUT_PARAMETERS = frozenset(
    ("alter", "analyze", "comment", "create", "do", "drop", "grant", "lock", "notify", "revoke", "set", "truncate")
)
"""The first words of commands in which PostgreSQL takes no parameter, whatever they are about."""


def refusal(
    text: str,
    *,
    has_parameters: bool = False,
    is_expanded: bool = False,
    is_typed: bool = False,
    has_names: bool = False,
) -> str | None:
    """Return why asyncpg refuses a text of SQL, as two sentences; None where it isn't certain that it does.

    Args:
        text: as it is written in a revision.
        has_parameters: whether values for ``%s`` are given with it.
        is_expanded: whether a list of an ``IN`` is one of SQLAlchemy's expanding parameters.
        is_typed: whether its parameters have types, as those of ``bindparams(name=value)``, which SQLAlchemy casts to.
        has_names: whether ``:name`` is a parameter everywhere, as in ``sa.text()``.

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
    return (_of_command(text) if has_names else None) or (None if is_typed else _of_function(text))


def _of_command(text: str) -> str | None:
    """Return the refusal of a parameter that the grammar of PostgreSQL has no place for."""
    if (name := _NAME.search(text)) and (command := _without_parameters(text)):
        return f"PostgreSQL takes no parameter in {command}, such as {name[0]}. {_WRITTEN}, or {SETTING}."
    if match := _CONSTANT.search(text):
        cast = f"CAST(CAST({match[2]} AS text) AS {match[1].lower()})"
        return f"PostgreSQL takes no parameter behind {match[1]}. Write {cast}, or {SETTING}."
    return None


def _of_function(text: str) -> str | None:
    """Return the refusal of a parameter whose type can't be inferred, because a function takes any."""
    names = _NAME.findall(text)
    for match in filter(None, (pattern.search(text) for pattern in _UNTYPED)):
        if names.count(match[2][1:]) == 1:  # else its type may be that of another place
            return (
                f"asyncpg needs the type of {match[2]} in {match[1]}(). Write CAST({match[2]} AS text), or {SETTING}."
            )
    return None


def _without_parameters(text: str) -> str:
    """Return the word that a command begins with, where PostgreSQL takes no parameter in it; else nothing."""
    words = [token.value for token in tokenize(text) if token.kind == "word"]
    if not words or words[0] not in _WITHOUT_PARAMETERS:
        return ""
    is_query = words[0] == "create" and "table" in words[1:5] and "as" in words  # CREATE TABLE … AS SELECT :name
    return "" if is_query else words[0].upper()


def advice(state: str | None, text: str, *, has_parameters: bool, statement: str = "") -> str:
    """Return what helps where asyncpg has refused what psycopg2 takes; empty for any other failure.

    Args:
        state: the SQLSTATE; asyncpg gives its own refusals one too.
        text: the message.
        has_parameters: whether the statement had parameters.
        statement: as it was sent.

    """
    takes_none = "arguments for this query" in text or (state == "0A000" and "bound parameters" in text)
    if "multiple commands" in text:
        reason = f"asyncpg takes one command at a time. {_ONE_COMMAND}"
    elif state == "42601" and 'at or near "%"' in text:
        reason = "asyncpg knows no %s. Write op.execute(sa.text(…).bindparams(…))"
    elif "AsyncAdapt_asyncpg" in text and "has no attribute" in text:
        reason = "That is psycopg2's own"
        if "cursor'" in text:
            reason = "A cursor of asyncpg's has no COPY and no mogrify(). Write it as SQL"
    elif has_parameters and state == "42601" and 'at or near "$' in text and _SENT_IN.search(statement):
        reason = "asyncpg takes no list there. Write sa.bindparam(…, expanding=True), or = ANY(:name)"
    elif has_parameters and (takes_none or (state == "42601" and 'at or near "$' in text)):
        reason = f"PostgreSQL takes no parameter there, and asyncpg writes none into the text. {_WRITTEN}"
    elif has_parameters and state == _TYPES[0]:
        reason = f"asyncpg sends each parameter with one type. Write {_VALUE}"
    elif has_parameters and state in _TYPES:
        reason = f"asyncpg sends each parameter with one type. Write {_CAST}"
    else:
        return ""
    return f"{reason}, or {SETTING}."

"""Who reaches what: roles, owners, databases and publications, of which running code is a client too."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from service_migrations.plan.statements.columns import words_of
from service_migrations.sql.clauses import name_at
from service_migrations.sql.lexer import Token

__all__ = ["OWN_ROLE", "access", "publication"]

_REFUSING = {
    "nologin": "it can't log in any more",
    "noinherit": "it has the privileges of its groups only after SET ROLE",
    "nosuperuser": "it has only the privileges that it was granted",
    "nobypassrls": "policies apply to it",
    "password": "its former password may be refused",
    "valid": "its password ends",
    "connection": "more connections are refused",
}
"""The options of ALTER ROLE that take something away, and what."""

_SEARCHED = ("search_path", "role", "default_transaction_read_only", "row_security")
"""Settings of a role or a database with which the statements of new connections may fail."""

OWN_ROLE = ("current_user", "session_user", "current_role")
"""The role that migrates, which mostly is that of the running code too."""

_OWNED = ("view", "materialized", "sequence", "schema", "database")


def access(statement: Sequence[Token], own: Sequence[str]) -> Iterator[str]:
    """Yield whom an ALTER keeps out.

    Args:
        statement: the ALTER, of a kind of object that statements use.
        own: its words outside of parentheses, from the name on.

    """
    words = words_of(statement)
    kind = words[1]
    name = name_at(statement, 2 + (kind == "materialized"))[0]
    pairs = set(pairwise(own))
    settings = {after for word, after in pairs if word in ("set", "reset")}
    if kind == "group" and {"drop"} & set(own[1:2]):
        yield "Statements that need the privileges of the group fail."
    elif kind in ("role", "user", "group", "database") and settings:
        if settings & {*_SEARCHED, "all"}:
            yield f"Statements of new connections may fail: {kind} {name} has other settings."
    elif _is_unlimited(statement):
        return
    elif kind in ("role", "user", "group"):
        yield from (f"Connections of the role {name} may fail: {_REFUSING[word]}." for word in own if word in _REFUSING)
    elif kind == "database" and ("connection" in own or ("allow_connections", "false") in pairs):
        yield f"Connections to the database {name} may be refused."
    if ("owner", "to") in pairs and kind in _OWNED and own[-1] not in OWN_ROLE:
        yield f"Statements of the former owner of {name} fail, unless a GRANT allows them."


def _is_unlimited(statement: Sequence[Token]) -> bool:
    """Whether an ALTER only takes a limit away: VALID UNTIL 'infinity', CONNECTION LIMIT -1."""
    values = [token.value for token in statement[-4:]]
    return values[-3:] == ["valid", "until", "infinity"] or values == ["connection", "limit", "-", "1"]


def publication(words: Sequence[str], name: str) -> Iterator[str]:
    """Yield how a subscriber fails, or gets less, after a statement about a publication or a subscription.

    Args:
        words: those of the statement.
        name: that of the publication or the subscription.

    """
    subject = f"{words[1]} {name}"
    if words[0] == "drop" or (words[0] == "alter" and "rename" in words):
        yield f"What is replicated by the {subject} stops."
    elif words[0] == "alter" and any(
        pair in (("drop", "table"), ("drop", "tables"), ("set", "table"), ("set", "tables")) for pair in pairwise(words)
    ):
        yield f"Tables that the {subject} doesn't have any more aren't replicated."
    elif words[0] == "alter" and "disable" in words:
        yield f"What is replicated by the {subject} stops."

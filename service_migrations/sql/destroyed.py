"""The objects that a script drops and doesn't create again, and those whose rows or privileges it changes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service_migrations.sql.clauses import actions, parts_at
from service_migrations.sql.lexer import Token, statements

__all__ = ["Destroyed", "destroyed"]

_MODIFIERS = ("or", "replace", "global", "local", "recursive", "constraint", "unlogged", "foreign", "materialized")
_OF_TABLES = ("trigger", "policy", "rule")
_WITH_PRIVILEGES = ("schema", "database", "function", "procedure", "routine", "sequence", "type", "domain", "table")
_ROLES = ("role", "user", "group")


class Destroyed(NamedTuple):
    """An object by its kind, schema and name.

    The schema is empty where the statement names none. ``kind`` is the word after DROP. It is "table", with the name of
    the table, for a trigger, a policy and a rule, and where rows are deleted; "role" for a user and a group, too; and
    "grantee" for a role that loses a privilege.
    """

    kind: str
    schema: str
    name: str


def destroyed(sql: str) -> list[Destroyed]:
    """Return what the statements of a text destroy, and what they grant and revoke privileges on."""
    gone: dict[Destroyed, None] = {}
    created: dict[str, set[str]] = {}
    for statement in statements(sql):
        tokens = statement.tokens
        words = [token.value if token.kind == "word" else "" for token in tokens]
        if words[:1] == ["create"]:
            schema, name = _created(tokens, words)
            created.setdefault(name, set()).add(schema)
        elif words[:1] == ["drop"]:
            gone |= dict.fromkeys(_dropped(tokens, words))
        elif words[:2] in (["delete", "from"], ["truncate", "table"]):
            gone |= dict.fromkeys(_named("table", tokens[2:]))
        elif words[:1] == ["truncate"]:
            gone |= dict.fromkeys(_named("table", tokens[1:]))
        elif words[:1] in (["grant"], ["revoke"]) or ("revoke" in words and words[:1] == ["alter"]):
            gone |= dict.fromkeys(_privileges(tokens, words))
    return [each for each in gone if not _is_created(each, created.get(each.name, set()))]


def _is_created(each: Destroyed, schemas: set[str]) -> bool:
    """Whether a name is created in one of some schemas; one without a schema may be in any."""
    return bool(schemas) and (not each.schema or not schemas.isdisjoint({"", each.schema}))


def _created(tokens: Sequence[Token], words: Sequence[str]) -> tuple[str, str]:
    """Return schema and name of what a statement creates; of a trigger, policy or rule, its table's."""
    index = _kind_at(words)
    if index < len(words) and words[index] in _OF_TABLES and "on" in words:
        index = words.index("on")
    parts, _ = parts_at(tokens, index + 1)
    return (parts[-2] if len(parts) > 1 else "", parts[-1] if parts else "")


def _kind_at(words: Sequence[str]) -> int:
    """Return the index of the word for the kind of object, after CREATE or DROP and what stands between them."""
    return next((index for index, word in enumerate(words[1:], 1) if word not in _MODIFIERS), len(words))


def _dropped(tokens: Sequence[Token], words: Sequence[str]) -> Iterator[Destroyed]:
    index = _kind_at(words)
    kind = words[index] if index < len(words) else ""
    if kind in _OF_TABLES and "on" in words:
        yield from _named("table", tokens[words.index("on") + 1 :])
    else:
        yield from _named("role" if kind in _ROLES else kind, tokens[index + 1 :])


def _privileges(tokens: Sequence[Token], words: Sequence[str]) -> Iterator[Destroyed]:
    """Yield the objects of a GRANT or REVOKE, and the roles that lose a privilege, by default as well."""
    preposition = "to" if words[0] == "grant" else "from"
    end = words.index(preposition) if preposition in words else len(words)
    if words[0] != "alter" and "on" in words[:end]:
        index = words.index("on") + 1
        kind = words[index] if words[index] in _WITH_PRIVILEGES else "table"
        index += words[index] == kind
        if kind not in ("schema", "database") and words[index] != "all":
            yield from _named(kind, tokens[index:end])
    if preposition == "from" and end < len(words):
        grantees = _named("grantee", tokens[end + 1 :])
        yield from (grantee for grantee in grantees if grantee.name != "public")


def _named(kind: str, tokens: Sequence[Token]) -> Iterator[Destroyed]:
    """Yield the objects of a comma-separated list of names."""
    for each in actions(tokens):
        parts, _ = parts_at(each, 0)
        if parts:
            yield Destroyed(kind, parts[-2] if len(parts) > 1 else "", parts[-1])

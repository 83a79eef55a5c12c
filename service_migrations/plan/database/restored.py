"""What is set again by a statement in the text of a revision, where it isn't known whether and when that runs."""

from collections.abc import Iterator, Sequence

from service_migrations.plan.statements.columns import outside, words_of
from service_migrations.sql.clauses import actions, name_at, names, parts_at
from service_migrations.sql.dynamic import UNKNOWN
from service_migrations.sql.lexer import Token

__all__ = ["restored", "taken"]

_MOVES = (["rename", "to"], ["set", "schema"])
_LONG = ("materialized", "foreign")


def taken(statement: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """Yield the kinds and the names of what a statement drops, renames or moves."""
    words = words_of(statement)
    if len(words) < 3 or words[0] not in ("drop", "alter"):  # noqa: PLR2004 - a verb, a kind and a name
        return
    start = 2 + (words[1] in _LONG)
    if words[0] == "drop":
        end = next((at for at, word in enumerate(words) if word in ("cascade", "restrict")), len(words))
        yield from ((words[start - 1], name) for name in names(statement[start:end]) if name)
        return
    name, end = name_at(statement, start)
    if any(words_of(action)[:2] in _MOVES for action in actions(outside(statement[end:]))):
        yield words[start - 1], name


def restored(statement: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield statements that set again what a statement does, and take nothing."""
    words = words_of(statement)
    if words[:1] in (["grant"], ["comment"]) or words[:2] in (["alter", "default"], ["alter", "publication"]):
        yield statement
    elif words[:1] == ["create"] and not {"temp", "temporary"} & set(words[1:4]):
        yield [*_words("create", "or", "replace"), *statement[3 if words[1:3] == ["or", "replace"] else 1 :]]
    elif words[:1] == ["alter"] and len(words) > 2:  # noqa: PLR2004 - ALTER, kind, name
        start = 2 + (words[1] in _LONG)
        parts, end = parts_at(statement, start)
        rest = statement[end:] if words[start - 1] in ("table", "view") else outside(statement[end:])
        for action in actions(rest):
            yield from _of_action(words[start - 1], parts, statement[:end], action)


def _of_action(
    kind: str, parts: list[str], head: Sequence[Token], action: Sequence[Token]
) -> Iterator[Sequence[Token]]:
    own = words_of(action)
    if own[:2] in _MOVES:
        given = parts_at(action, 2)[0]
        if not given:
            return
        if kind == "index":
            yield [*_words("alter", "table", UNKNOWN, "add", "constraint"), *_name(given)]
        else:
            moved = [*parts[:-1], *given] if own[0] == "rename" else [*given, *parts[-1:]]
            yield [*_words("create", "or", "replace", kind), *_name(moved)]
    elif own[0] == "rename" and "to" in own:
        part = "constraint" if own[1] == "constraint" else "column"
        yield [*head, *_words("add", part), *action[own.index("to") + 1 :]]
    elif own[0] != "drop" and own[:3] not in (["replica", "identity", "default"], ["replica", "identity", "nothing"]):
        yield [*head, *action]


def _words(*words: str) -> list[Token]:
    return [Token("word", word, 1) for word in words]


def _name(parts: Sequence[str]) -> list[Token]:
    """Return the tokens of a name in quotes."""
    tokens = [token for part in parts for token in (Token("symbol", ".", 1), Token("name", part, 1))]
    return tokens[1:]

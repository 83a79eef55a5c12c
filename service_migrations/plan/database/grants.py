"""What a GRANT, or a default privilege, gives to whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service_migrations.plan.database.names import Object
from service_migrations.plan.statements.columns import outside, words_of
from service_migrations.sql.dynamic import UNKNOWN, fits
from service_migrations.sql.lexer import Token

__all__ = ["Grant", "given"]

_NEEDED = {
    **dict.fromkeys(("functions", "procedures", "routines"), frozenset({"EXECUTE"})),
    **dict.fromkeys(("sequences", "types", "schemas"), frozenset[str]()),
    "tables": frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"}),
}
"""The privileges that statements of an application need, of each kind of which a GRANT may mean all objects.

The privileges of a sequence have names of these, and are none of a table or a function.
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges of an object for roles, or of what is made later in a schema; each may be UNKNOWN.

    Attributes:
        privileges: in capitals, also ALL.
        roles: those that get them.
        on: the object; None for a default privilege.
        schema: that of a default privilege; UNKNOWN stands for each one.
        since: the number of the first new object that gets a default privilege.

    """

    privileges: frozenset[str]
    roles: frozenset[str]
    on: Object | None = None
    schema: str = ""
    since: int = 0

    def reaches(self, holder: Object, schema: str) -> bool:
        """Whether it is about an object in a schema."""
        if self.schema:
            return isinstance(holder, int) and holder >= self.since and fits(schema, self.schema)
        return self.on == holder

    def gives(self, privilege: str, roles: Iterable[str]) -> bool:
        """Whether one of some roles gets a privilege."""
        has_it = not self.privileges.isdisjoint((privilege, "ALL", UNKNOWN))
        return has_it and any(fits(role, own) for role in roles for own in self.roles)


def given(statement: Sequence[Token], words: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the privileges and the roles of a GRANT; on many objects, only privileges that their kind has."""
    on = words.index("on")
    to = len(words) - 1 - words[::-1].index("to") if "to" in words else len(words) - 1
    end = next((at for at, word in enumerate(words[to:], to) if word == "with"), len(words))
    roles = frozenset(token.value for token in statement[to + 1 : end] if token.kind in ("word", "name"))
    privileges = frozenset(word.upper() for word in words_of(outside(statement[1:on])) if word)
    kind = next((word for word in words[on + 1 : on + 3] if word in _NEEDED), "")
    if kind and not {"ALL", UNKNOWN} & privileges:
        return privileges & _NEEDED[kind], roles
    return _NEEDED.get(kind, privileges), roles

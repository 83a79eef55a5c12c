"""A change: one difference between an object of the database and that of the history, with the SQL that fixes it."""

from dataclasses import dataclass

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line

__all__ = ["OTHER_DEFINITION", "Change", "Pair", "shown"]

OTHER_DEFINITION = "has another definition in the database than in the history"
"""The text where the definitions themselves are too long for a line."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference of an object that both catalogs have.

    ``sql`` is None where a person has to do what ``note`` describes. ``creation`` is what is left of it to run where
    the object was dropped before. ``drops``: the SQL drops the object, and ``retypes``: it gives a column another type;
    the server refuses both while others depend on it. ``after_keys``: a key of before, which is changed too, needs what
    it takes away. ``detaches``: the first statement of the SQL, which frees the bound of a partition, and
    ``attaches``: the SQL needs a bound. ``reshapes``: it is refused while a table is OF the type,
    and ``types``: a table is OF another type, or of none.
    """

    text: str
    sql: str | None
    note: str | None = None
    creation: str | None = None
    drops: bool = False
    retypes: bool = False
    after_keys: bool = False
    detaches: str = ""
    attaches: bool = False
    reshapes: bool = False
    types: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """An object of the database with the one that the history creates, each with its catalog."""

    live: Object
    expected: Object
    live_catalog: Catalog
    expected_catalog: Catalog

    def differ(self, fact: str) -> bool:
        """Whether a fact differs between both."""
        return self.live.facts.get(fact) != self.expected.facts.get(fact)

    def describe(self, fact: str, noun: str = "") -> str:
        """Describe a fact of both."""
        live, expected = shown(self.live.facts.get(fact)), shown(self.expected.facts.get(fact))
        return f"{f'has {noun}' if noun else 'is'} {live} in the database, {expected} in the history"


def shown(fact: object) -> str:
    """Return a fact for a message."""
    return "none" if fact is None else one_line(str(fact))

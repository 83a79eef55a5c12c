"""A change: one thing that differs between an object as it is here and as the history says, with its SQL."""

from dataclasses import dataclass

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.quoting import one_line

__all__ = ["ANOTHER", "Change", "Pair", "shown"]

ANOTHER = "has another definition here than in the history"
"""Said where the definitions themselves are too long for a line."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference of an object that is in both catalogs. ``sql`` is None where a person has to do ``note``."""

    text: str
    sql: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """An object as it is here, and as it is in the history."""

    here: Object
    there: Object
    catalog: Catalog
    history: Catalog

    def differ(self, fact: str) -> bool:
        """Whether a fact isn't the same on both sides."""
        return self.here.facts.get(fact) != self.there.facts.get(fact)

    def says(self, fact: str, word: str = "") -> str:
        """Tell a fact on both sides."""
        prefix = f"has {word} " if word else "is "
        return f"{prefix}{shown(self.here.facts.get(fact))} here, {shown(self.there.facts.get(fact))} in the history"


def shown(fact: object) -> str:
    """Return a fact as a person reads it."""
    return "none" if fact is None else one_line(str(fact))

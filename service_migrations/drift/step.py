"""A step: the SQL of one difference, to be put into an order with that of the others."""

from dataclasses import dataclass, replace

from service_migrations.catalog.objects import Key
from service_migrations.drift.difference import Difference
from service_migrations.drift.repair import Change

__all__ = ["Step"]

_LAST = 9
"""The last place of a step that changes more than owners and grants."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The SQL of one difference.

    ``place`` sorts the steps that don't depend on each other. ``removes``: only the database has the object.
    ``change`` is that of an object that both have.
    """

    place: tuple[int, int, int]
    key: Key
    difference: Difference
    removes: bool = False
    change: Change | None = None

    @property
    def is_of_privileges(self) -> bool:
        """Whether it changes an owner or grants, after everything else."""
        return self.place[0] > _LAST

    def with_sql(self, sql: list[str], notes: list[str]) -> Difference:
        """Return its difference with the SQL that was planned, and further notes."""
        difference = self.difference
        if difference.sql is None or not sql:
            return difference
        note = " ".join(part for part in (difference.note, *notes) if part) or None
        return replace(difference, sql=" ".join(part for part in sql if part), note=note)

"""One database, by its name and the places where it may be: whether two DSNs lead to the same one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from service_migrations.settings.dsn import Dsn

__all__ = ["Database", "grouped"]

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Database:
    """One database, by its name and the places where it may be; a place that isn't known is anywhere."""

    name: str
    places: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, dsn: Dsn) -> "Database":
        """Return the database that a DSN leads to."""
        # a socket is this machine too: of two services one may use it, and the other one TCP
        hosts = tuple(("localhost" if host.startswith("/") else host, port) for host, port in dsn.hosts)
        return cls(dsn.database, replace(dsn, hosts=hosts).server)

    def may_be(self, other: "Database") -> bool:
        """Whether both can be one database; of several hosts one in common is enough."""
        apart = self.places and other.places and not self.places & other.places
        return self.name == other.name and not apart


def grouped(items: Iterable[_Item], database: Callable[[_Item], Database]) -> list[list[_Item]]:
    """Return items in groups of one database each, in the order in which each group's first item stands.

    Args:
        items: what has a database.
        database: returns that of one item.

    """
    parents: dict[tuple[object, ...], tuple[object, ...]] = {}

    def root(place: tuple[object, ...]) -> tuple[object, ...]:
        while parents[place] != place:
            place = parents[place]
        return place

    placed: list[tuple[tuple[object, ...], _Item]] = []
    for item in items:
        wanted = database(item)
        places: list[tuple[object, ...]] = [(wanted.name, place) for place in wanted.places] or [(wanted.name,)]
        for place in places:
            parents.setdefault(place, place)
            parents[root(place)] = root(places[0])
        placed.append((places[0], item))
    groups: dict[tuple[object, ...], list[_Item]] = {}
    for place, item in placed:
        groups.setdefault(root(place), []).append(item)
    return list(groups.values())

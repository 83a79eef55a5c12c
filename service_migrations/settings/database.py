"""A database by its name and addresses, which shows whether two DSNs lead to the same one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from service_migrations.settings.dsn import Dsn

__all__ = ["Database", "grouped"]

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Database:
    """A database: its name, and the addresses that it may have; an empty set of them may be any."""

    name: str
    addresses: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, dsn: Dsn) -> "Database":
        """Return the database that a DSN leads to."""
        # a socket is also this machine: of two services, one may use it and the other TCP
        hosts = tuple(("localhost" if host.startswith("/") else host, port) for host, port in dsn.hosts)
        return cls(dsn.database, replace(dsn, hosts=hosts).server)

    def may_be(self, other: "Database") -> bool:
        """Whether both may be the same database; of several hosts one in common is enough."""
        differ = self.addresses and other.addresses and not self.addresses & other.addresses
        return self.name == other.name and not differ


def grouped(items: Iterable[_Item], database: Callable[[_Item], Database]) -> list[list[_Item]]:
    """Return items in groups of one database each, in the order of each group's first item.

    Args:
        items: the items, each of which has a database.
        database: returns the database of an item.

    """
    parents: dict[tuple[object, ...], tuple[object, ...]] = {}

    def root(key: tuple[object, ...]) -> tuple[object, ...]:
        while parents[key] != key:
            key = parents[key]
        return key

    keyed_items: list[tuple[tuple[object, ...], _Item]] = []
    for item in items:
        own = database(item)
        keys: list[tuple[object, ...]] = [(own.name, address) for address in own.addresses] or [(own.name,)]
        for key in keys:
            parents.setdefault(key, key)
            parents[root(key)] = root(keys[0])
        keyed_items.append((keys[0], item))
    groups: dict[tuple[object, ...], list[_Item]] = {}
    for key, item in keyed_items:
        groups.setdefault(root(key), []).append(item)
    return list(groups.values())

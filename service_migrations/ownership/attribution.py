"""To which service each object of a database belongs, and why it does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service_migrations.catalog.objects import Object
from service_migrations.monorepo import Service
from service_migrations.ownership.past import HistoryClaims
from service_migrations.sql.created import ObjectName

__all__ = ["Claimant", "Owned", "attribute"]

_KINDS = {
    "table": "table",
    "foreign table": "table",
    "view": "view",
    "materialized view": "view",
    "sequence": "sequence",
    "index": "index",
    "enum": "type",
    "domain": "type",
    "composite type": "type",
    "range type": "type",
    "base type": "type",
    "function": "function",
    "procedure": "function",
    "aggregate": "function",
    "schema": "schema",
    "extension": "extension",
}
"""The kinds that have an owner, as histories name them; columns, constraints and the like are their table's."""

_Answer = tuple[str | None, str]
"""An owner, and why."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A service that shares the database: what its models claim, what its history made, and its own two tables."""

    service: Service
    models: frozenset[ObjectName]
    past: HistoryClaims
    version_table: str


@dataclass(frozen=True, slots=True)
class Owned:
    """One object: ``owner`` is a service, None where there is none, ``why`` empty where nobody claims it."""

    kind: str
    schema: str
    name: str
    owner: str | None
    why: str

    @property
    def is_nobodys(self) -> bool:
        """Whether neither a service claims it nor another object brings it."""
        return self.owner is None and not self.why


@dataclass(frozen=True, slots=True)
class _Book:
    """All that an answer is found in."""

    claimants: Sequence[Claimant]
    objects: Mapping[tuple[str, str, str], Object]
    addresses: Mapping[str, Object]
    constructors: Mapping[tuple[str, str], Object]


def attribute(objects: Iterable[Object], claimants: Sequence[Claimant]) -> tuple[Owned, ...]:
    """Give each object its owner, those of nobody last.

    What an extension brought is the extension's; models come before histories; what is part of another object, an
    index, the sequence of a serial or an identity column, a partition, has the owner of that; a history that can't be
    replayed claims the words of its files.
    """
    listed = {(one.kind, one.schema, one.name): one for one in objects if one.kind in _KINDS}
    listed.pop(("schema", "public", "public"), None)
    # an index has no name of its own but in its table's schema, so all names here tell one object from another
    addresses = {one.address: one for one in listed.values() if _KINDS[one.kind] == "table"}
    book = _Book(claimants, listed, addresses, dict(_constructors(listed.values())))
    found = [Owned(one.kind, one.schema, one.name, *_answer(one, book)) for one in listed.values()]
    return tuple(sorted(found, key=lambda one: (one.is_nobodys, one.schema, one.kind, one.name)))


def _constructors(objects: Iterable[Object]) -> Iterator[tuple[tuple[str, str], Object]]:
    """Yield the names of the functions that a range type brings, one for the range and one for its multirange."""
    for one in objects:
        if one.kind == "range type":
            multirange = str(one.facts.get("range", {}).get("multirange_type_name", ""))
            yield (one.schema, one.name), one
            yield (one.schema, multirange.rpartition(".")[2].strip('"')), one


def _answer(item: Object, book: _Book) -> _Answer:
    thing = _thing(item)
    for answer in (
        _by_extension(item, book),
        _by_bookkeeping(item, book),
        _by_models(thing, book),
        _by_parent(item, book),
        _by_history(thing, book),
    ):
        if answer is not None:
            return answer
    return None, ""


def _thing(item: Object) -> ObjectName:
    """Return an object as models and histories name it: a function without its arguments."""
    if item.kind in ("schema", "extension"):
        return ObjectName(item.kind, item.name, item.name)
    kind = _KINDS[item.kind]
    return ObjectName(kind, item.schema, item.name.partition("(")[0] if kind == "function" else item.name)


def _by_extension(item: Object, book: _Book) -> _Answer | None:
    if item.extension is None:
        return None
    wanted = ObjectName("extension", item.extension, item.extension)
    return _names(one for one in book.claimants if one.past.made(wanted)), f"extension {item.extension}"


def _by_bookkeeping(item: Object, book: _Book) -> _Answer | None:
    for one in book.claimants if item.kind == "table" else ():
        if item.name == one.version_table:
            return one.service.name, "version table"
        if item.name == one.service.ledger_table:
            return one.service.name, "ledger"
    return None


def _by_models(thing: ObjectName, book: _Book) -> _Answer | None:
    kind, schema, name = thing
    for one in book.claimants:
        mapped = thing in one.models or (kind == "view" and ("table", schema, name) in one.models)
        if mapped or (kind == "schema" and any(space == name for _, space, _ in one.models)):
            return one.service.name, "models"
    return None


def _by_parent(item: Object, book: _Book) -> _Answer | None:
    parents = [book.objects[item.part_of]] if item.part_of and item.part_of in book.objects else []
    parents += [book.addresses[name] for name in item.facts.get("inherits") or () if name in book.addresses]
    if item.kind == "function" and (maker := book.constructors.get(_thing(item)[1:])) is not None:
        parents = [maker]
    if not parents:
        return None
    owner, why = _answer(parents[0], book)
    return owner, f"part of {parents[0].kind} {parents[0].schema}.{parents[0].name}" if why else ""


def _by_history(thing: ObjectName, book: _Book) -> _Answer | None:
    if makers := _names(one for one in book.claimants if one.past.made(thing)):
        return makers, "history"
    if givers := _names(one for one in book.claimants if one.past.gave_up(thing)):
        return givers, "history, which drops or renames it"
    if namers := _names(one for one in book.claimants if one.past.may_have_made(thing)):
        return namers, "history, which names it where it can't be replayed"
    return None


def _names(claimants: Iterable[Claimant]) -> str | None:
    return ", ".join(one.service.name for one in claimants) or None

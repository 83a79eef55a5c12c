"""The rules that decide which service owns an object; check, revision, drift and owners all use them.

A rule is a small function that returns a decision or None, and the first decision counts. Rules for parts of other
objects come first, then those for the claims of models, then those for the claims of histories. A history has to be
replayed, which takes time: the rules that need one are only applied where the quick ones return None.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service_migrations.catalog.objects import Object
from service_migrations.monorepo import Service
from service_migrations.ownership.candidates import Candidate, from_catalog
from service_migrations.ownership.claimants import Claimant, Claimants
from service_migrations.sql.created import ObjectName

__all__ = ["HISTORY_RULES", "QUICK_RULES", "Attribution", "Decision", "Owned", "Rule", "attribute", "is_ignored"]

_VERSION_TABLES = "alembic_version"
_LEDGERS = "migration_log"
"""Prefixes of the names of version tables and ledgers, also of services that no longer exist."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of one rule: the owner of an object, and the reason.

    ``services`` is empty where nobody owns it, and has several where the rule can't choose: then none of them drops
    it. Where ``same_as`` is set, the owner is that object's. A ``kept`` object is never dropped by itself: it is
    created and dropped with something else.
    """

    why: str
    services: tuple[Service, ...] = ()
    same_as: ObjectName | None = None
    kept: bool = False


Rule = Callable[[Candidate, Claimants], Decision | None]


def member_of_an_extension(candidate: Candidate, _: Claimants) -> Decision | None:
    """Give a member the owner of its extension, which creates and drops it, also where a model maps it."""
    if candidate.extension is None:
        return None
    extension = ObjectName("extension", candidate.extension, candidate.extension)
    return Decision(f"extension {candidate.extension}", same_as=extension, kept=True)


def bookkeeping(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Give a version table or ledger to its service, by the names in its settings. No revision creates them."""
    if versions := claimants.with_version_table(candidate.name):
        return Decision("version table", _services(versions), kept=True)
    if ledgers := claimants.with_ledger(candidate.name):
        return Decision("ledger", _services(ledgers), kept=True)
    return None


def claimed_by_models(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Give an object to the service whose models claim it, and a schema to all that have a model in it.

    A service that may have this database takes nothing from one that has it for certain.
    """
    name = candidate.name
    claiming = claimants.with_model_in(name.name) if name.kind == "schema" else claimants.with_model(name)
    services = _services(claimant for claimant in claiming if claimant.certain) or _services(claiming)
    return Decision("models", services) if services else None


def part_of_another(candidate: Candidate, _: Claimants) -> Decision | None:
    """Give a part the owner of the whole, with which it is dropped. Models come first: a partition may have one."""
    return None if candidate.parent is None else Decision("part", same_as=candidate.parent, kept=True)


def leftover_bookkeeping(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Keep a table with the name of a version table or ledger that no service has in that schema.

    It may belong to a removed service, or to another branch or monorepo. A service whose table of that name is in
    another schema may have moved. A table that models claim only looks like one.
    """
    kind, _, name = candidate.name
    if kind != "table":
        return None
    versions = _services(claimants.with_version_table(name))
    if versions or name.startswith(_VERSION_TABLES):
        return Decision("version table" if versions else "version table of no known service", versions, kept=True)
    ledgers = _services(claimants.with_ledger(name))
    if ledgers or name.startswith(_LEDGERS):
        return Decision("ledger" if ledgers else "ledger of no known service", ledgers, kept=True)
    return None


def created_by_a_history(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Give an object to the service whose history created it, and didn't drop or rename it."""
    services = _services(claimant for claimant in claimants if claimant.history.has_created(candidate.name))
    return Decision("history", services) if services else None


def removed_by_a_history(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Give an object to the service whose history drops or renames it.

    That revision may not have been applied. Several services own the object where a sibling may have created one of
    that name since.
    """
    name = candidate.name
    if not any(claimant.history.has_removed(name) for claimant in claimants):
        return None
    owners = (
        claimant
        for claimant in claimants
        if claimant.history.has_removed(name) or claimant.history.may_have_created(name)
    )
    return Decision("history, which drops or renames it", _services(owners))


def named_by_a_history(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Give an object to the services that name it in a revision that can't be replayed."""
    services = _services(claimant for claimant in claimants if claimant.history.may_have_created(candidate.name))
    return Decision("history, which names it where it can't be replayed", services) if services else None


def mapped_by_models(candidate: Candidate, claimants: Claimants) -> Decision | None:
    """Give a view or foreign table that no history names to the services that map a class onto it."""
    services = _services(claimants.with_view(candidate.name)) if candidate.is_view else ()
    return Decision("models", services) if services else None


QUICK_RULES: tuple[Rule, ...] = (
    member_of_an_extension,
    bookkeeping,
    claimed_by_models,
    part_of_another,
    leftover_bookkeeping,
)
"""The rules that are applied first; they need no history."""

HISTORY_RULES: tuple[Rule, ...] = (
    created_by_a_history,
    removed_by_a_history,
    named_by_a_history,
    mapped_by_models,
)
"""The rules for all other objects. The caller holds the process lock."""

_NOBODY = Decision("")


class Attribution:
    """The owners of the objects of one database, by the rules."""

    def __init__(self, claimants: Claimants, candidates: Iterable[Candidate]) -> None:
        self.claimants = claimants
        self.candidates = tuple(candidates)
        self._by_name = {candidate.name: candidate for candidate in self.candidates}

    def quick_decision(self, candidate: Candidate) -> Decision | None:
        """Return the decision of the rules that need no history; None where none has one."""
        return self._first_decision(QUICK_RULES, candidate)

    def decision(self, candidate: Candidate) -> Decision:
        """Return the decision of all rules. The caller holds the process lock."""
        return self.quick_decision(candidate) or self._first_decision(HISTORY_RULES, candidate) or _NOBODY

    def owner(self, candidate: Candidate) -> tuple[tuple[Service, ...], str]:
        """Return the owners of an object and the reason; a part has those of the whole."""
        decision = self.decision(candidate)
        if decision.same_as is None:
            return decision.services, decision.why
        whole = self._by_name.get(decision.same_as) or Candidate(decision.same_as.kind, decision.same_as)
        services, why = self.owner(whole)
        if candidate.extension is None:
            return services, f"part of {whole.kind} {whole.name.schema}.{whole.name.name}" if why else ""
        return services, decision.why

    def _first_decision(self, rules: Iterable[Rule], candidate: Candidate) -> Decision | None:
        return next((decision for rule in rules if (decision := rule(candidate, self.claimants)) is not None), None)


def is_ignored(candidate: Candidate, services: Iterable[Service]) -> bool:
    """Whether the setting ``ignore`` of a service matches an object: a table, or whatever has a name like one."""
    kind, schema, name = candidate.name
    if kind in ("schema", "extension"):
        return False
    return any(service.ignored_by(schema, name) is not None for service in services)


@dataclass(frozen=True, slots=True)
class Owned:
    """One object with its owner: the name of a service, None without one.

    ``owner`` is a comma-separated list where the rules can't choose between services. ``why`` is the reason, empty
    where nobody claims the object.
    """

    kind: str
    schema: str
    name: str
    owner: str | None
    why: str

    @property
    def is_nobodys(self) -> bool:
        """Whether no service claims it, and it is no part of another object."""
        return not self.why


def attribute(objects: Iterable[Object], claimants: Claimants) -> tuple[Owned, ...]:
    """Return each object of a database with its owner, those without one last.

    What its owner ignores is left out, and what nobody owns and any service ignores. The caller holds the process lock.
    """
    candidates = from_catalog(objects)
    attribution = Attribution(claimants, candidates.values())
    everybody = tuple(claimant.service for claimant in claimants)
    by_name = {candidate.name: candidate for candidate in candidates.values()}
    owned = []
    for key, candidate in candidates.items():
        services, why = attribution.owner(candidate)
        whole = by_name.get(candidate.parent, candidate) if candidate.parent else candidate
        if any(is_ignored(part, services or everybody) for part in (candidate, whole)):
            continue
        names = ", ".join(service.name for service in services)
        owned.append(Owned(key.kind, key.schema, key.name, names or None, why))
    return tuple(sorted(owned, key=lambda item: (item.is_nobodys, item.schema, item.kind, item.name)))


def _services(claimants: Iterable[Claimant]) -> tuple[Service, ...]:
    return tuple(claimant.service for claimant in claimants)

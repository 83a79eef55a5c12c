"""The rules that say whose an object of a database is, and why: check, revision, drift and owners all ask these.

A rule is a small function that answers or passes, and the first that answers decides. What comes and goes with
something else is asked for first, then what models claim, then what histories have made. A history has to be replayed,
which takes time: the rules that need one are only asked where the quick ones pass.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service_migrations.catalog.objects import Object
from service_migrations.monorepo import Service
from service_migrations.ownership.candidates import Candidate, from_catalog
from service_migrations.ownership.claimants import Claimant, Claimants
from service_migrations.sql.created import ObjectName

__all__ = ["HISTORY_RULES", "QUICK_RULES", "Answer", "Attribution", "Owned", "Rule", "attribute"]

_VERSION_TABLES = "alembic_version"
_LEDGERS = "migration_log"
"""What the names of version tables and ledgers begin with, also of a service that is no longer there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whose an object is by one rule, and why.

    ``services`` is empty where it is nobody's, and has several where the rule can't choose: then it is no single
    one's to drop. Where ``same_as`` is set, the owner is that object's. What is ``kept`` comes and goes with something
    else, so nobody drops it by itself.
    """

    why: str
    services: tuple[Service, ...] = ()
    same_as: ObjectName | None = None
    kept: bool = False


Rule = Callable[[Candidate, Claimants], Answer | None]


def member_of_an_extension(candidate: Candidate, _: Claimants) -> Answer | None:
    """Give a member the owner of its extension, which made it and drops it, also where a model maps it."""
    if candidate.extension is None:
        return None
    extension = ObjectName("extension", candidate.extension, candidate.extension)
    return Answer(f"extension {candidate.extension}", same_as=extension, kept=True)


def bookkeeping(candidate: Candidate, claimants: Claimants) -> Answer | None:
    """Give a version table and a ledger to their service, by the names of its settings. No revision makes them."""
    if versions := claimants.with_version_table(candidate.name):
        return Answer("version table", _services(versions), kept=True)
    if ledgers := claimants.with_ledger(candidate.name):
        return Answer("ledger", _services(ledgers), kept=True)
    return None


def claimed_by_models(candidate: Candidate, claimants: Claimants) -> Answer | None:
    """Give an object to the service whose models claim it, and a schema to all that have a model in it.

    A service of which it isn't certain that it has this database takes nothing from one that has it.
    """
    name = candidate.name
    claiming = claimants.with_model_in(name.name) if name.kind == "schema" else claimants.with_model(name)
    if name.kind == "view" and not claiming:  # a class can be mapped to a view, as if that were a table
        claiming = claimants.with_model(name._replace(kind="table"))
    services = _services(claimant for claimant in claiming if claimant.certain) or _services(claiming)
    return Answer("models", services) if services else None


def part_of_another(candidate: Candidate, _: Claimants) -> Answer | None:
    """Give a part the owner of the whole, with which it goes. A partition may have a model, so models come first."""
    return None if candidate.parent is None else Answer("part", same_as=candidate.parent, kept=True)


def leftover_bookkeeping(candidate: Candidate, claimants: Claimants) -> Answer | None:
    """Keep a table that looks like a version table or a ledger, though no service here has it where it is.

    It may be of a service that is gone, or of another branch or monorepo. A service whose table of that name is in
    another schema may have moved; a table that models claim only has such a name.
    """
    kind, _, name = candidate.name
    if kind != "table":
        return None
    versions = _services(claimants.with_version_table(name))
    if versions or name.startswith(_VERSION_TABLES):
        return Answer("version table" if versions else "version table of no known service", versions, kept=True)
    ledgers = _services(claimants.with_ledger(name))
    if ledgers or name.startswith(_LEDGERS):
        return Answer("ledger" if ledgers else "ledger of no known service", ledgers, kept=True)
    return None


def made_by_a_history(candidate: Candidate, claimants: Claimants) -> Answer | None:
    """Give an object that no model claims to the service whose history made it, and didn't drop or rename it."""
    services = _services(claimant for claimant in claimants if claimant.history.made(candidate.name))
    return Answer("history", services) if services else None


def given_up_by_a_history(candidate: Candidate, claimants: Claimants) -> Answer | None:
    """Give an object to the service whose history drops or renames it, in a revision that may not have been applied.

    It is no single one's where a sibling may have made an object of that name since.
    """
    name = candidate.name
    if not any(claimant.history.gave_up(name) for claimant in claimants):
        return None
    histories = (
        claimant for claimant in claimants if claimant.history.gave_up(name) or claimant.history.may_have_made(name)
    )
    return Answer("history, which drops or renames it", _services(histories))


def named_by_a_history(candidate: Candidate, claimants: Claimants) -> Answer | None:
    """Give an object to the service that may have made it: a revision that can't be replayed names it."""
    services = _services(claimant for claimant in claimants if claimant.history.may_have_made(candidate.name))
    return Answer("history, which names it where it can't be replayed", services) if services else None


QUICK_RULES: tuple[Rule, ...] = (
    member_of_an_extension,
    bookkeeping,
    claimed_by_models,
    part_of_another,
    leftover_bookkeeping,
)
"""The rules that come first, and need no history."""

HISTORY_RULES: tuple[Rule, ...] = (made_by_a_history, given_up_by_a_history, named_by_a_history)
"""The rules for what the others pass. The caller holds the process lock."""

_NOBODY = Answer("")


class Attribution:
    """The answers of the rules for the objects of one database."""

    def __init__(self, claimants: Claimants, candidates: Iterable[Candidate]) -> None:
        self.claimants = claimants
        self.candidates = tuple(candidates)
        self._by_name = {candidate.name: candidate for candidate in self.candidates}

    def quick_answer(self, candidate: Candidate) -> Answer | None:
        """Return what the rules say that need no history; None where they all pass."""
        return self._first(QUICK_RULES, candidate)

    def answer(self, candidate: Candidate) -> Answer:
        """Return what the rules say. The caller holds the process lock."""
        return self.quick_answer(candidate) or self._first(HISTORY_RULES, candidate) or _NOBODY

    def owner(self, candidate: Candidate) -> tuple[tuple[Service, ...], str]:
        """Return the services that own an object, and why; of a part those of the whole."""
        answer = self.answer(candidate)
        if answer.same_as is None:
            return answer.services, answer.why
        whole = self._by_name.get(answer.same_as) or Candidate(answer.same_as.kind, answer.same_as)
        services, why = self.owner(whole)
        if candidate.extension is None:
            return services, f"part of {whole.kind} {whole.name.schema}.{whole.name.name}" if why else ""
        return services, answer.why

    def _first(self, rules: Iterable[Rule], candidate: Candidate) -> Answer | None:
        return next((answer for rule in rules if (answer := rule(candidate, self.claimants)) is not None), None)


@dataclass(frozen=True, slots=True)
class Owned:
    """One object: ``owner`` is a service, None where there is none, ``why`` empty where nobody claims it.

    ``owner`` is a list of services, with commas, where the rules can't choose between them.
    """

    kind: str
    schema: str
    name: str
    owner: str | None
    why: str

    @property
    def is_nobodys(self) -> bool:
        """Whether neither a service claims it nor another object brings it."""
        return self.owner is None and not self.why


def attribute(objects: Iterable[Object], claimants: Claimants) -> tuple[Owned, ...]:
    """Give each object of a database its owner, those of nobody last. The caller holds the process lock."""
    candidates = from_catalog(objects)
    attribution = Attribution(claimants, candidates.values())
    owned = []
    for key, candidate in candidates.items():
        services, why = attribution.owner(candidate)
        names = ", ".join(service.name for service in services)
        owned.append(Owned(key.kind, key.schema, key.name, names or None, why))
    return tuple(sorted(owned, key=lambda item: (item.is_nobodys, item.schema, item.kind, item.name)))


def _services(claimants: Iterable[Claimant]) -> tuple[Service, ...]:
    return tuple(claimant.service for claimant in claimants)

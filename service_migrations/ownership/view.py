"""The part of a database that one service sees, where several may share it.

A service sees the objects that its models claim, those that it alone owns, and those that nobody owns. So the table of
a removed model is still dropped, and a sibling's tables, types and version table are invisible. The rules of
attribution.py decide the owner.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import MetaData

from service_migrations.models.stand_ins import is_stand_in, only_the_schema_differs
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import Attribution, is_ignored
from service_migrations.ownership.candidates import Candidate
from service_migrations.ownership.claimants import Claimant
from service_migrations.ownership.past import is_named, words
from service_migrations.sql.created import ObjectName
from service_migrations.sql.destroyed import Destroyed

__all__ = ["Ownership", "visible_objects"]


@dataclass(frozen=True, slots=True)
class Ownership:
    """The part of a database that is compared with one service's models.

    ``objects`` are the tables, types and sequences that its models claim, and the tables and types of the database that
    it sees. ``schemas`` are those that are compared. ``metadata`` is that of the models, ``default`` the schema of a
    name without one. ``siblings`` are the other services that have, or may have, this database. ``hidden`` are the
    tables and types of the database that it doesn't see, and ``service`` is the service itself.
    """

    metadata: MetaData
    default: str
    schemas: frozenset[str]
    objects: frozenset[ObjectName]
    siblings: tuple[Service, ...] = ()
    hidden: frozenset[ObjectName] = frozenset()
    service: Service | None = None

    def sees(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """Whether a reflected object is compared (Alembic's ``include_name``)."""
        if kind == "schema":
            return (name or self.default) in self.schemas
        if kind != "table" or name is None:
            return True
        return ObjectName("table", parents.get("schema_name") or self.default, name) in self.objects

    def sees_type(self, schema: str | None, name: str) -> bool:
        """Whether an enum or domain type of the database or the models is compared."""
        return ObjectName("type", schema or self.default, name) in self.objects

    def compares(self, item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        """Whether a pair of objects is compared (Alembic's ``include_object``)."""
        if kind == "table":
            return not is_stand_in(item)
        if kind not in _KINDS:
            return not reflected or self._may_drop(item, name or "")
        return kind != "foreign_key_constraint" or not only_the_schema_differs(self.default, item, other)

    def _may_drop(self, item: object, name: str) -> bool:
        """Whether an object of another plugin's kind, such as a function, may be dropped where the models lack it.

        What is on a table follows the table. Any other must not be named in a revision of a service that shares the
        database.
        """
        table = getattr(item, "on_entity", None)
        if isinstance(table, str):
            schema, _, table_name = table.replace('"', "").rpartition(".")
            return ObjectName("table", schema or self.default, table_name) in self.objects
        simple_name = name.partition("(")[0].replace('"', "").rpartition(".")[2]
        return not any(is_named(simple_name, words(sibling)) for sibling in self.siblings)

    def protected(self, objects: Iterable[Destroyed]) -> frozenset[Destroyed]:
        """Return those of the objects that an operation of another package must not destroy.

        These are a sibling's, by their tables or by the names in its revisions. What is no object of this database
        alone, or may contain objects of other applications, is dropped only if this service's own revisions name it.
        """
        of_siblings = frozenset[str]().union(*map(words, self.siblings))
        own = words(self.service) if self.service else frozenset[str]()
        return frozenset(each for each in objects if self._is_protected(each, of_siblings, own))

    def _is_protected(self, each: Destroyed, of_siblings: frozenset[str], own: frozenset[str]) -> bool:
        if each.kind in _SHARED:
            return is_named(each.name, of_siblings) or each.name not in own
        table = ObjectName("table", each.schema or self.default, each.name)
        if each.kind == "table" and (table in self.objects or table in self.hidden):
            return table in self.hidden
        return is_named(each.name, of_siblings)


_SHARED = ("role", "database", "schema", "extension")
"""The kinds of objects that aren't of one database alone, or that contain others."""

_KINDS = frozenset(
    {
        "schema",
        "table",
        "column",
        "index",
        "unique_constraint",
        "foreign_key_constraint",
        "check_constraint",
    }
)
"""The kinds of objects that Alembic itself compares."""


def visible_objects(attribution: Attribution, service: Service) -> frozenset[Candidate]:
    """Return the objects of a database that one service sees. The caller holds the process lock.

    It alone owns them, or nobody does, and they aren't created and dropped with something else. A schema is never
    among them: other applications may have objects in it. In a schema that this service's models don't name, it sees
    only what its own history has created: other objects may be another application's. An extension is in no schema.
    What the service's own setting ``ignore`` matches isn't seen either.

    Check, revision and drift all use this.
    """
    claimant = attribution.claimants[service]
    return frozenset(candidate for candidate in attribution.candidates if _is_visible(candidate, attribution, claimant))


def _is_visible(candidate: Candidate, attribution: Attribution, claimant: Claimant) -> bool:
    name = candidate.name
    if name.kind == "schema" or is_ignored(candidate, (claimant.service,)):
        return False
    decision = attribution.quick_decision(candidate)
    if decision is None:
        # no sibling's history has to be replayed for the objects of other applications in their own schemas
        if name.kind != "extension" and name.schema not in claimant.schemas and not claimant.history.has_created(name):
            return False
        decision = attribution.decision(candidate)
    return not decision.kept and decision.services in ((), (claimant.service,))

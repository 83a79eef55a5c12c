"""The view of one service on a database that several may share: what a comparison sees of it.

A service sees what its models claim, and what is there and is its own alone, or nobody's. So its own removed model
still yields a drop, and a sibling's tables, types and version table are invisible. attribution.py says what is whose.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import MetaData

from service_migrations.models.stand_ins import is_stand_in, only_the_schema_differs
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import Attribution
from service_migrations.ownership.candidates import Candidate
from service_migrations.ownership.claimants import Claimant
from service_migrations.sql.created import ObjectName

__all__ = ["Ownership", "seen"]


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a comparison of one service sees of a database.

    ``objects`` are the tables, types and sequences that its models claim, and the tables and types of the database that
    it sees. ``schemas`` are those in which it looks. ``metadata`` is what the database is compared with, ``default``
    the schema of a name without one.
    """

    metadata: MetaData
    default: str
    schemas: frozenset[str]
    objects: frozenset[ObjectName]

    def sees(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """Whether a reflected object is compared at all (Alembic's ``include_name``)."""
        if kind == "schema":
            return (name or self.default) in self.schemas
        if kind != "table" or name is None:
            return True
        return ObjectName("table", parents.get("schema_name") or self.default, name) in self.objects

    def sees_type(self, schema: str | None, name: str) -> bool:
        """Whether an enum or domain type of the database, or of the models, is this service's to compare."""
        return ObjectName("type", schema or self.default, name) in self.objects

    def compares(self, item: object, _: str | None, kind: str, __: bool, other: object) -> bool:
        """Whether a pair of objects is compared (Alembic's ``include_object``)."""
        if kind == "table":
            return not is_stand_in(item)
        return kind != "foreign_key_constraint" or not only_the_schema_differs(self.default, item, other)


def seen(attribution: Attribution, service: Service) -> frozenset[Candidate]:
    """Return the objects of a database that one service sees. The caller holds the process lock.

    They are its own alone, or nobody's, and don't come and go with something else. A schema is never among them: who
    else has something in it can't be known. In a schema that this service's models don't name, it sees only what its
    own history has made: there, what is nobody's may be another application's. An extension is in no schema.

    This is what check, revision and drift have in common; what each compares it with is its own.
    """
    me = attribution.claimants[service]
    return frozenset(candidate for candidate in attribution.candidates if _is_seen(candidate, attribution, me))


def _is_seen(candidate: Candidate, attribution: Attribution, me: Claimant) -> bool:
    name = candidate.name
    if name.kind == "schema":
        return False
    answer = attribution.quick_answer(candidate)
    if answer is None:
        # of what other applications have in schemas of their own, no sibling's history has to be replayed
        if name.kind != "extension" and name.schema not in me.schemas and not me.history.made(name):
            return False
        answer = attribution.answer(candidate)
    return not answer.kept and answer.services in ((), (me.service,))

"""Ownership: what a comparison may see of a database that several services share.

What is in the database is seen if this service claims it, or if nobody does: so one's own removed model still yields
its drop, and a sibling's tables, types and version table are invisible. survey.py finds out who claims what.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import MetaData

from service_migrations.models.stand_ins import is_stand_in, only_the_schema_differs
from service_migrations.sql.created import ObjectName

__all__ = ["LEDGERS", "VERSION_TABLES", "Ownership"]

VERSION_TABLES = "alembic_version"
"""Every version table begins so, also that of a service which is no longer there; none is ever proposed for a drop."""

LEDGERS = "migration_log"
"""And so does every ledger; a service that claims a table of such a name sees it nevertheless."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The view of one service on a database: of tables and types, as (kind, schema, name).

    ``own`` is what its models claim, ``hidden`` what belongs to somebody or something else, and ``left`` what its
    history has made in a schema that its models no longer name. ``metadata`` is what the database is compared with;
    ``default`` the schema of a name without one.
    """

    metadata: MetaData
    default: str
    own: frozenset[ObjectName]
    hidden: frozenset[ObjectName]
    left: frozenset[ObjectName]
    version_table: str

    def sees(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """Whether a reflected object is compared at all (Alembic's ``include_name``)."""
        if kind == "schema":
            return (name or self.default) in self._schemas() | {schema for _, schema, _ in self.left}
        if kind != "table" or name is None:
            return True
        if name == self.version_table or name.startswith(VERSION_TABLES):
            return False
        table = ObjectName("table", parents.get("schema_name") or self.default, name)
        return table in self.own or (not name.startswith(LEDGERS) and self._is_nobodys(table))

    def sees_type(self, schema: str | None, name: str) -> bool:
        """Whether an enum or domain type of the database, or of the models, is this service's to compare."""
        kind = ObjectName("type", schema or self.default, name)
        return kind in self.own or self._is_nobodys(kind)

    def compares(self, item: object, _: str | None, kind: str, __: bool, other: object) -> bool:
        """Whether a pair of objects is compared (Alembic's ``include_object``)."""
        if kind == "table":
            return not is_stand_in(item)
        return kind != "foreign_key_constraint" or not only_the_schema_differs(self.default, item, other)

    def _schemas(self) -> set[str]:
        """Return the schemas that are compared whole: those of the models, and the one of names without a schema."""
        return {schema for kind, schema, _ in self.own if kind == "table"} | {self.default}

    def _is_nobodys(self, thing: ObjectName) -> bool:
        return thing in self.left or (thing[1] in self._schemas() and thing not in self.hidden)

"""Ownership: what a comparison may see of a database that several services share.

A reflected table is seen if this service claims it, or if nobody does: so one's own removed model still yields its
drop, and a sibling's tables, enum types and version table are invisible.
"""

from collections.abc import Mapping
from typing import Any

import alembic_postgresql_enum as enums
from sqlalchemy import MetaData

from migrations.discovery import Service
from migrations.metadata import Claims

__all__ = ["Ownership"]

_DEFAULT_SCHEMA = "public"
_VERSION_TABLES = "alembic_version"
"""Every version table begins so, also that of a service which is no longer there; none is ever proposed for a drop."""

_LEDGERS = "migration_log"
"""And so does every ledger; a service that claims a table of such a name sees it nevertheless."""

_PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")


class Ownership:
    """The view of one service on a database."""

    def __init__(self, metadata: MetaData, siblings: Mapping[Service, Claims], version_table: str) -> None:
        self._own = {_key(table.schema, table.name) for table in metadata.tables.values()}
        self._schemas = {schema for schema, _ in self._own} | {None}
        self._foreign = {_key(*table) for claims in siblings.values() for table in claims.tables} - self._own
        own_enums = {name for _, name in Claims.of(metadata).enums}
        self._foreign_enums = {name for claims in siblings.values() for _, name in claims.enums} - own_enums
        self._version_table = version_table

    def options(self) -> dict[str, Any]:
        """Return the options of ``context.configure()`` that make a comparison see this view."""
        enums.set_configuration(enums.Config(include_name=lambda name: name not in self._foreign_enums))
        return {"include_name": self.sees, "autogenerate_plugins": _PLUGINS}

    def sees(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """Whether a reflected object is compared at all (Alembic's ``include_name``)."""
        if kind == "schema":
            return _key(name, "")[0] in self._schemas
        if kind != "table" or name is None:
            return True
        if name == self._version_table or name.startswith(_VERSION_TABLES):
            return False
        key = _key(parents.get("schema_name"), name)
        return key not in self._foreign and (key in self._own or not name.startswith(_LEDGERS))


def _key(schema: str | None, name: str) -> tuple[str | None, str]:
    return (None if schema == _DEFAULT_SCHEMA else schema, name)

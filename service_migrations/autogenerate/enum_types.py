"""Enum types of the models and of the database."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, text

from service_migrations.errors import ConfigurationError
from service_migrations.models.tables.texts import plain
from service_migrations.models.tables.types import enum_of
from service_migrations.sql.identifiers import LONGEST, cut
from service_migrations.sql.quoting import literal, quoted

__all__ = ["EnumType", "enums_of", "live_enums"]

_LIVE = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum type. ``oids`` are its own and its array's; ``users`` is (kind, schema, relation, column, array).

    ``properties`` are the statements that give a new type the comment, the owner and the privileges of this one, and
    ``former_names`` the names that are no longer free for the old type. It is ``needed`` where something that isn't
    part of a table uses it, such as a function or a domain.
    """

    schema: str | None
    name: str
    labels: tuple[str, ...]
    oids: frozenset[int] = frozenset()
    users: tuple[tuple[Any, ...], ...] = ()
    properties: tuple[str, ...] = ()
    former_names: frozenset[str] = frozenset()
    needed: bool = False

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quoted(self.schema, self.name)

    @property
    def creation(self) -> str:
        """The statement that creates it."""
        return f"CREATE TYPE {self.sql} AS ENUM ({', '.join(map(literal, self.labels))})"

    @property
    def columns(self) -> list[tuple[Any, ...]]:
        """Its users without the views, whose columns nobody can alter."""
        return [user for user in self.users if user[0] not in ("v", "m")]

    @property
    def former_name(self) -> str:
        """The name of the old type while the new one is created."""
        suffixes = ("__former", *(f"__former{number}" for number in range(len(self.former_names))))
        names = (cut(self.name, LONGEST - len(suffix)) + suffix for suffix in suffixes)
        return next(name for name in names if name not in self.former_names)


def enums_of(tables: Iterable[Table], default_schema: str | None) -> dict[tuple[str | None, str], EnumType]:
    """Return the enum types of the columns of models, by schema and name.

    Raises:
        ConfigurationError: two columns name one type and differ in its labels.

    """
    types: dict[tuple[str | None, str], EnumType] = {}
    for table in tables:
        for column in table.columns:
            enum = enum_of(column.type)
            if enum is None:
                continue
            schema = None if enum.schema == default_schema else enum.schema
            enum_type = EnumType(schema, plain(enum.name), tuple(plain(enum.enums)))
            if types.setdefault((schema, enum_type.name), enum_type) != enum_type:
                raise ConfigurationError(
                    f"{table.name}.{column.name}: another column has the enum type {enum_type.name} with other labels.",
                    hint="Give both the same Enum.",
                )
    return types


def live_enums(
    connection: Connection, schemas: Sequence[str], default_schema: str | None
) -> dict[tuple[str | None, str], EnumType]:
    """Return the enum types of some schemas, without members of extensions."""
    rows = connection.execute(text(_LIVE), {"schemas": list(schemas)}).mappings()
    types = {}
    for row in rows:
        schema = None if row["schema"] == default_schema else row["schema"]
        users = tuple(
            (kind, None if user_schema == default_schema else user_schema, *rest)
            for kind, user_schema, *rest in json.loads(row["users"] or "[]")
        )
        labels, oids = tuple(row["labels"] or ()), frozenset((row["oid"], row["array"]))
        properties = tuple(_properties(quoted(schema, row["name"]), row))
        types[schema, row["name"]] = EnumType(
            schema, row["name"], labels, oids, users, properties, frozenset(row["former_names"]), row["needed"]
        )
    return types


def _properties(type_name: str, row: RowMapping) -> Iterator[str]:
    if row["comment"]:
        yield f"COMMENT ON TYPE {type_name} IS {literal(row['comment'])}"
    if row["owner"]:
        yield f"ALTER TYPE {type_name} OWNER TO {quoted(row['owner'])}"
    owner = quoted(row["owner"]) if row["owner"] else "CURRENT_USER"
    grants, default_grants = json.loads(row["grants"] or "{}"), json.loads(row["default_grants"] or "{}")
    for role in sorted({*grants, *default_grants}):
        if grants.get(role) == default_grants.get(role):
            continue
        if role in default_grants:
            yield f"REVOKE ALL ON TYPE {type_name} FROM {role or owner}"
        if role in grants:
            option = " WITH GRANT OPTION" if grants[role] and role else ""
            yield f"GRANT USAGE ON TYPE {type_name} TO {role or owner}{option}"

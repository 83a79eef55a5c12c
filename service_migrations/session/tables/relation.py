"""A relation of a known name, and whether it may be read: nothing is read from one that is not looked at before.

The version table and the ledger are found by their names. Whoever may create in a schema of the search path can create
one of them first: as a view, or with policies, so that a function of theirs runs with our rights; or as a plain table
with rows of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import INFO, SearchPath
from service_migrations.connection.rows import rows
from service_migrations.session.tables.trust import IS_TRUSTED
from service_migrations.sql.quoting import quoted

__all__ = ["RELATIONS", "Relation", "first", "named", "schemas"]

RELATIONS = f"""
    SELECT n.nspname AS schema, format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind,
           row_security_active(c.oid) AS is_filtered, pg_get_userbyid(c.relowner) AS owner, {IS_TRUSTED} AS is_trusted
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = CAST(:name AS name) AND NOT starts_with(n.nspname::text, 'pg_')
"""  # noqa: S608 - a constant
"""All relations of a name, apart from the system's and temporary ones."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation.

    Attributes:
        schema: its schema.
        name: its qualified and quoted name.
        kind: the letter in pg_class.
        is_filtered: whether policies filter its rows for our role.
        owner: its owner.
        is_trusted: whether it wasn't created by just anybody.

    """

    schema: str
    name: str
    kind: str
    is_filtered: bool
    owner: str
    is_trusted: bool

    @property
    def problem(self) -> tuple[str, str] | None:
        """Why its rows aren't read, and what to do; None where they can be."""
        if self.kind not in ("r", "p"):
            return "is no table", "Find out who made it, and drop it."
        if self.is_filtered:
            return (
                "has row level security, so that its rows can't be trusted",
                f"Its owner can run: ALTER TABLE {self.name} DISABLE ROW LEVEL SECURITY;",
            )
        if not self.is_trusted:
            revoke = f"REVOKE CREATE ON SCHEMA {quoted(self.schema)} FROM PUBLIC;"
            return (
                f"belongs to {self.owner}, and everybody may create in its schema, so that its rows can't be trusted",
                f"Find out who made it; then drop it, or connect as {self.owner}, or run: {revoke}",
            )
        return None


async def named(connection: AsyncConnection, name: str) -> tuple[Relation, ...]:
    """Return every relation of a name, apart from the system's and temporary ones. Read-only."""
    return tuple(Relation(**vars(row)) for row in await rows(connection, f"{RELATIONS} ORDER BY 1", name=name))


def first(relations: Sequence[Relation], order: Sequence[str]) -> Relation | None:
    """Return the relation that a name means, of those of that name, by an order of schemas."""
    by_schema = {relation.schema: relation for relation in relations}
    return next((by_schema[schema] for schema in order if schema in by_schema), None)


def schemas(connection: AsyncConnection, schema: str | None) -> tuple[str, ...]:
    """Return the schemas in which a name is looked up: the given one, or those of the service's search path."""
    path: SearchPath = connection.info[INFO]
    return (schema,) if schema else path.schemas

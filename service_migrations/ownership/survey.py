"""A survey of a database: which of its tables and types are a service's own, its siblings', or nobody's.

Models are asked first. Only where the database holds what no model claims are histories replayed too, so that a
clean check of one service among hundreds stays quick.
"""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.session import Session
from service_migrations.errors import ConfigurationError
from service_migrations.models.claims import Claims, claims, place_of
from service_migrations.models.metadata import models_file
from service_migrations.models.stand_ins import complete
from service_migrations.monorepo import Service
from service_migrations.ownership.past import past
from service_migrations.ownership.view import LEDGERS, VERSION_TABLES, Ownership
from service_migrations.settings.siblings import Sibling, siblings as siblings_of
from service_migrations.sql.created import ObjectName

__all__ = ["claimed", "refuse_two_claimants", "survey"]

_CENSUS = text(
    """
    WITH member AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
         space AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
    SELECT 'table' AS kind, nspname::text AS schema, relname::text AS name,
           EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = c.oid)
           OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS dependent
    FROM pg_class c JOIN space ON space.oid = relnamespace WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT 'type', nspname, typname,
           EXISTS (SELECT FROM member WHERE classid = 'pg_type'::regclass AND objid = t.oid)
    FROM pg_type t JOIN space ON space.oid = typnamespace WHERE typtype IN ('e', 'd')
    """
)
"""An extension's table or type is its extension's, and a partition, or any other child, its parent's."""


async def survey(session: Session) -> Ownership:
    """Return what one service sees of its database, for a comparison. The caller holds the gate.

    Raises:
        ConfigurationError: the models of the service, or of one that shares its database, can't be assembled; two of
            them claim one object; a foreign key leads to a table that nobody has.

    """
    service, access = session.history.service, session.access
    metadata = session.metadata
    default, there, dependent = await _census(session.connection)
    tables = {name for kind, _, name in there if kind == "table"}
    siblings = siblings_of(service, access.databases, access.sources, tables)
    theirs = dict(zip(siblings, claims([one.service for one in siblings]).values(), strict=True))
    own = claimed(Claims.of(metadata), default)
    foreign = {sibling: claimed(one, sibling.schema) for sibling, one in theirs.items()}
    for sibling, things in foreign.items():
        if sibling.certain:
            refuse_two_claimants((service, own), (sibling.service, things), access.target)
    complete(metadata, models_file(service), default, theirs)
    hidden = set(dependent).union(*foreign.values())
    schemas = {schema for kind, schema, _ in own if kind == "table"} | {default}
    left = set()
    for thing in sorted(there - own - hidden):
        if thing[2].startswith((VERSION_TABLES, LEDGERS)):
            continue
        if thing[1] not in schemas:
            if past(service, default).made(thing) and not any(past(*_of(one)).made(thing) for one in siblings):
                left.add(thing)
        elif _is_a_siblings(thing, siblings, service, default):
            hidden.add(thing)
    return Ownership(metadata, default, own, frozenset(hidden), frozenset(left), access.version_table)


def claimed(claims: Claims, default: str) -> frozenset[ObjectName]:
    """Return what models claim as (kind, schema, name), each with its schema."""
    kinds = {"table": claims.tables, "type": claims.enums | claims.domains, "sequence": claims.sequences}
    return frozenset(
        ObjectName(kind, schema or default, name) for kind, names in kinds.items() for schema, name in names
    )


def refuse_two_claimants(
    one: tuple[Service, frozenset[ObjectName]], other: tuple[Service, frozenset[ObjectName]], target: str
) -> None:
    """Refuse two services of one database whose models claim the same object.

    Raises:
        ConfigurationError: they do; the message has both files.

    """
    for kind, schema, name in sorted(one[1] & other[1]):
        places = " and ".join(sorted(place_of(service, kind, schema, name) for service in (one[0], other[0])))
        raise ConfigurationError(
            f"{places} both claim the {kind} {schema}.{name} of {target}. Remove it from one of them, or give one "
            f"service another database or schema."
        )


async def _census(connection: AsyncConnection) -> tuple[str, frozenset[ObjectName], frozenset[ObjectName]]:
    """Return the default schema, the tables and types that are there, and those of them that are part of another."""
    default = await connection.scalar(text("SELECT current_schema()"))
    rows = (await connection.execute(_CENSUS)).all()
    # with a transaction open, Alembic would commit nothing
    await connection.rollback()
    there = {ObjectName(row.kind, row.schema, row.name): row.dependent for row in rows}
    return str(default or "public"), frozenset(there), frozenset(thing for thing, part in there.items() if part)


def _is_a_siblings(thing: ObjectName, siblings: Iterable[Sibling], service: Service, default: str) -> bool:
    """Whether a sibling's history made it; or may have, or gives it up, and one's own didn't make it."""
    pasts = [past(*_of(one)) for one in siblings]
    return any(one.made(thing) for one in pasts) or (
        any(one.gave_up(thing) or one.may_have_made(thing) for one in pasts) and not past(service, default).made(thing)
    )


def _of(sibling: Sibling) -> tuple[Service, str]:
    return sibling.service, sibling.schema

"""The tables and types of a database that one service sees.

The claims of models come first. Histories are replayed only where the database has objects that no model claims, so
that a clean check of one service among hundreds stays quick.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import INFO, SearchPath
from service_migrations.models.claims import Claims
from service_migrations.models.metadata import models_file
from service_migrations.models.stand_ins import complete, leave_partitions
from service_migrations.models.tables.views import remove_views
from service_migrations.ownership.attribution import Attribution
from service_migrations.ownership.candidates import Candidate
from service_migrations.ownership.claimants import Claimants, sibling_claims, views_among
from service_migrations.ownership.view import Ownership, visible_objects
from service_migrations.session.session import Session
from service_migrations.sql.created import ObjectName

__all__ = ["current_schema", "survey"]

_TABLES_AND_TYPES = text(
    """
    WITH member AS (
        SELECT d.classid, d.objid, e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
    ), space AS (
        SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), parent AS (
        SELECT DISTINCT ON (i.inhrelid) i.inhrelid, n.nspname, c.relname FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
        ORDER BY i.inhrelid, i.inhseqno
    )
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
           ELSE 'table' END AS kind, n.nspname::text AS schema, c.relname::text AS name,
           m.extname::text AS extension, p.nspname::text AS parent_schema, p.relname::text AS parent,
           c.relispartition AS is_partition
    FROM pg_class c JOIN space n ON n.oid = c.relnamespace
    LEFT JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    LEFT JOIN parent p ON p.inhrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT CASE t.typtype WHEN 'e' THEN 'enum' ELSE 'domain' END, n.nspname, t.typname, m.extname, NULL, NULL, false
    FROM pg_type t JOIN space n ON n.oid = t.typnamespace
    LEFT JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
    WHERE t.typtype IN ('e', 'd')
    """
)
"""Relations and types only: a comparison with models needs no more, and the whole catalog takes longer."""


async def survey(session: Session) -> Ownership:
    """Return the part of a database that one service sees. The caller holds the process lock.

    Raises:
        ConfigurationError: the models of the service, or of one that shares its database, can't be assembled; two of
            them claim one object; a foreign key leads to a table that no service has.

    """
    service, connector, metadata = session.history.service, session.connector, session.metadata
    schema, relations_and_types, partitions = await _relations_and_types(session.connection)
    remove_views(metadata, views_among(relations_and_types, schema))
    leave_partitions(metadata, lambda name: (name[0] or schema, name[1]) in partitions)
    claims_of_siblings = sibling_claims(connector, relations_and_types)
    candidates = [candidate for candidate in relations_and_types if not candidate.is_view]
    claimants = Claimants.of(connector, schema, Claims.of(metadata), claims_of_siblings)
    claimants.refuse_two_for_one_object(connector.target, service)
    complete(metadata, models_file(service), schema, claims_of_siblings, service.ignored_by)
    names = {candidate.name for candidate in visible_objects(Attribution(claimants, candidates), service)}
    claimant = claimants[service]
    names -= claimant.views  # a table that the models take for a view is left alone
    schemas = claimant.schemas | {name.schema for name in names}
    siblings = tuple(each.service for each in claimants if each.service != service)
    objects = claimant.models | names
    hidden = frozenset(candidate.name for candidate in candidates) - objects
    return Ownership(metadata, schema, schemas, objects, siblings, hidden, service)


def current_schema(connection: AsyncConnection) -> str:
    """Return the schema of the service's names without one."""
    path: SearchPath = connection.info[INFO]
    return path.default or "public"


async def _relations_and_types(connection: AsyncConnection) -> tuple[str, list[Candidate], set[tuple[str, str]]]:
    """Return the default schema, the tables, views and types of the database, and which tables are partitions."""
    schema = current_schema(connection)
    rows = (await connection.execute(_TABLES_AND_TYPES)).all()
    # with a transaction open, Alembic would commit nothing
    await connection.rollback()
    candidates = []
    for row in rows:
        parent = ObjectName("table", row.parent_schema, row.parent) if row.parent else None
        name = ObjectName("type" if row.kind in ("enum", "domain") else "table", row.schema, row.name)
        candidates.append(Candidate(row.kind, name, row.extension, parent))
    return schema, candidates, {(row.schema, row.name) for row in rows if row.is_partition}

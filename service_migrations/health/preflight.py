"""The pre-flight check: what would make an upgrade fail or unsafe, found before anything is changed."""

import inspect
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from service_migrations.catalog.search_path import INFO, SearchPath
from service_migrations.connection.rows import Query, together
from service_migrations.connection.single_message import Row
from service_migrations.databases.preparation import IS_BEING_CREATED, UNPREPARED
from service_migrations.errors import ResultError
from service_migrations.health.findings import (
    Finding,
    oldest_version,
    role_finding,
    schema_findings,
    server_findings,
    table_findings,
)
from service_migrations.history.revision import Revision
from service_migrations.session.session import Session
from service_migrations.session.tables.relation import schemas

__all__ = ["findings_of", "preflight", "queries", "require_clean"]

log = logging.getLogger(__name__)

_SERVER = f"""
    WITH target AS (SELECT CAST(:schema AS text) AS name)
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major,
           pg_is_in_recovery() AS standby,
           current_setting('transaction_read_only')::bool AS read_only,
           (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only_by,
           current_user AS role,
           r.rolsuper AS superuser,
           quote_ident(current_database()) AS database,
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) = {UNPREPARED} AS unprepared,
           {IS_BEING_CREATED} AS being_created,
           quote_ident(target.name) AS schema,
           n.oid IS NOT NULL AS there,
           CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege(n.oid, 'CREATE') END AS may_create,
           ARRAY(
               SELECT quote_ident(s.nspname) FROM pg_namespace s
               WHERE s.nspname = ANY (CAST(:schemas AS text[]) || target.name)
                 AND EXISTS (SELECT FROM aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
                             WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
               ORDER BY 1
           ) AS open
    FROM target JOIN pg_roles r ON r.rolname = current_user LEFT JOIN pg_namespace n ON n.nspname = target.name
"""  # noqa: S608 - constants
_TABLES = """
    SELECT c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
           CASE WHEN n.nspname = ANY (CAST(:path AS text[])) THEN quote_ident(c.relname)
                ELSE format('%I.%I', n.nspname, c.relname) END AS shown,
           quote_ident(r.rolname) AS role,
           c.relowner = r.oid OR CASE WHEN r.rolsuper THEN o.rolsuper
                                      ELSE pg_has_role(r.oid, c.relowner, 'MEMBER') END AS own,
           ARRAY(SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) AS triggers,
           ARRAY(SELECT quote_ident(rulename) FROM pg_rewrite WHERE ev_class = c.oid) AS rules
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles r ON r.rolname = current_user LEFT JOIN pg_roles o ON o.oid = c.relowner
    WHERE c.relname = ANY (CAST(:names AS text[])) AND n.nspname = ANY (CAST(:table_schemas AS text[])) AND NOT EXISTS (
        SELECT FROM pg_class f JOIN pg_namespace m ON m.oid = f.relnamespace WHERE f.relname = c.relname
            AND array_position(CAST(:table_schemas AS text[]), m.nspname::text)
                < array_position(CAST(:table_schemas AS text[]), n.nspname::text))
    ORDER BY c.relname = :ledger
"""
"""A superuser is a member of every role, so for a superuser only the tables of superusers count as its own."""


async def preflight(session: Session, creating: Iterable[Revision] = ()) -> tuple[Finding, ...]:
    """Check server, role, schema and version table, in one message; nothing is changed.

    Args:
        session: a session without an open transaction; none is open afterwards either.
        creating: revisions that are going to be run, which may create tables.

    Returns:
        The findings, the most basic first; one with an ``error`` must stop a run.

    """
    try:
        server, tables = await together(session.connection, *queries(session))
    finally:
        await session.connection.rollback()
    return findings_of(session, server, tables, creating)


def queries(session: Session) -> tuple[Query, Query]:
    """Return the queries of the check: of server, role and schema, and of the tables of the library's own."""
    schema, path = session.schema, session.connection.info[INFO]
    version_table, ledger = session.connector.version_table, session.history.service.ledger_table
    target_schema: dict[str, Any] = {"schema": schema or path.default, "schemas": list(path.schemas)}
    names: dict[str, Any] = {"names": [version_table, ledger], "ledger": ledger, "path": list(path.schemas)}
    return (_SERVER, target_schema), (_TABLES, names | {"table_schemas": schemas(session.connection, schema)})


def findings_of(
    session: Session, server: Sequence[Row], tables: Sequence[Row], creating: Iterable[Revision] = ()
) -> tuple[Finding, ...]:
    """Return the findings in what the two ``queries`` returned; the rest is as of ``preflight``."""
    path: SearchPath = session.connection.info[INFO]
    service, target, version_table = session.history.service, session.connector.target, session.connector.version_table
    findings = list(server_findings(target, server[0], oldest_version(service.root)))
    findings += schema_findings(target, server[0], path.text)
    for table in tables:
        findings += table_findings(target, table, version_table=version_table)
    lacks_version_table = version_table not in {table.name for table in tables}
    if not server[0].may_create and (
        lacks_version_table or any(_creates_table(session, revision) for revision in creating)
    ):
        findings.append(role_finding(target, server[0]))
    return tuple(replace(finding, service=service.name) for finding in findings)


def require_clean(findings: Collection[Finding]) -> frozenset[str]:
    """Refuse a run where the findings of the pre-flight check have an error.

    Returns:
        The names of the tables and other objects with warnings, which are logged.

    Raises:
        ConfigurationError, AccessDeniedError: the check has an error; the message ends with the fix.

    """
    for finding in findings:
        if error := finding.as_error():
            raise error
    for finding in findings:
        log.warning("%s", finding.text)
    return frozenset(finding.about for finding in findings)


def _creates_table(session: Session, revision: Revision) -> bool:
    """Whether a revision surely needs the right to create; for any other the server decides while it runs."""
    script = session.history.directory.get_revision(revision.revision)
    if script is None:
        message = f"the revision {revision.revision} is gone. Nothing was run."
        raise ResultError(message, service=session.history.service)
    try:
        source, schema = inspect.getsource(script.module.upgrade), session.metadata.schema
    except (OSError, TypeError):  # such as functools.partial()
        return False
    if schema != session.schema:
        return False  # the version table has a schema of its own
    return "create_table(" in source and (schema is not None or "schema=" not in source)

"""The pre-flight: what would go wrong in an upgrade, or make it a trap, found before anything is changed."""

import inspect
import logging
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Row, text

from migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, ResultError
from migrations.revisions import Revision
from migrations.session import Session

__all__ = ["Finding", "cleared", "oldest", "preflight"]

log = logging.getLogger(__name__)

_SERVER = text(
    """
    WITH target AS (
        -- pg_temp is on the path too: what was created there would be gone with the connection
        SELECT coalesce(CAST(:schema AS text),
                        CASE WHEN current_schema() !~ '^pg_temp_' THEN current_schema() END) AS name
    )
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major,
           pg_is_in_recovery() AS standby,
           current_setting('transaction_read_only')::bool AS read_only,
           (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only_by,
           current_user AS role,
           r.rolsuper AS superuser,
           quote_ident(current_database()) AS database,
           current_setting('search_path') AS search_path,
           quote_ident(target.name) AS schema,
           n.oid IS NOT NULL AS there,
           CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege(n.oid, 'CREATE') END AS may_create,
           ARRAY(
               SELECT quote_ident(s.nspname) FROM pg_namespace s
               WHERE s.nspname::text = ANY (current_schemas(false)::text[] || target.name)
                 AND EXISTS (SELECT FROM aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
                             WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
               ORDER BY 1
           ) AS open
    FROM target JOIN pg_roles r ON r.rolname = current_user LEFT JOIN pg_namespace n ON n.nspname = target.name
    """
)
_TABLES = text(
    """
    SELECT c.relname AS name, c.oid::regclass::text AS shown, pg_get_userbyid(c.relowner) AS owner,
           quote_ident(r.rolname) AS role,
           c.relowner = r.oid OR CASE WHEN r.rolsuper THEN o.rolsuper
                                      ELSE pg_has_role(r.oid, c.relowner, 'MEMBER') END AS own,
           ARRAY(SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) AS triggers,
           ARRAY(SELECT quote_ident(rulename) FROM pg_rewrite WHERE ev_class = c.oid) AS rules
    FROM pg_class c JOIN pg_roles r ON r.rolname = current_user LEFT JOIN pg_roles o ON o.oid = c.relowner
    WHERE c.oid IN (to_regclass(:versions), to_regclass(:ledger))
    """
)
"""A superuser is a member of every role, and runs the triggers of any: for one, only a superuser's table is its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a line that ends with what mends it.

    ``error`` is what an upgrade would raise; None where it goes on, and the finding is a warning. ``about`` is the
    table or whatever else it is about.
    """

    text: str
    error: type[MigrationError] | None = None
    about: str = ""

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return "error" if self.error else "warning"


@cache
def oldest() -> int:
    """Return the oldest major version that is tested, from the one list of them, without what runs servers."""
    packages = Path(__file__).with_name("postgres") / "packages.toml"
    return int(next(iter(tomllib.loads(packages.read_text(encoding="utf-8")))))


async def preflight(session: Session, creating: Iterable[Revision] = ()) -> tuple[Finding, ...]:
    """Look at server, role, schema and version table, in two queries; nothing is changed.

    Args:
        session: with no transaction open, then and afterwards.
        creating: revisions that are going to be run, in which to look for tables that they create.

    Returns:
        What is wrong, the most basic first; a finding with an ``error`` is one that nothing should be run over.

    """
    service, connection, schema = session.history.service, session.connection, session.schema
    quoted = connection.dialect.identifier_preparer
    prefix = f"{quoted.quote(schema)}." if schema else ""
    names = {"versions": session.access.version_table, "ledger": service.ledger_table}
    try:
        server = (await connection.execute(_SERVER, {"schema": schema})).one()
        qualified = {key: prefix + quoted.quote(name) for key, name in names.items()}
        tables = (await connection.execute(_TABLES, qualified)).all()
    finally:
        await connection.rollback()
    where = f"{service}: {session.access.target}"
    found = [*_server(where, server), *_schemas(where, server)]
    for table in tables:
        found += _table(where, table, trusted_with=names["versions"])
    missing = names["versions"] not in {table.name for table in tables}
    if not server.may_create and (missing or any(_creates_table(session, revision) for revision in creating)):
        found.append(_grant(where, server))
    return tuple(found)


async def cleared(session: Session, creating: Iterable[Revision] = ()) -> frozenset[str]:
    """Make sure that nothing speaks against a run; arguments as of ``preflight``.

    Returns:
        What there are warnings about, which are logged.

    Raises:
        ConfigurationError, AccessDeniedError: something does; the message ends with what mends it.

    """
    found = await preflight(session, creating)
    for finding in found:
        if finding.error:
            raise finding.error(finding.text)
    for finding in found:
        log.warning("%s", finding.text)
    return frozenset(finding.about for finding in found)


def _server(where: str, server: Row[Any]) -> Iterable[Finding]:
    if server.major < oldest():
        yield Finding(
            f"{where} is PostgreSQL {server.version}, and the oldest that migrations are tested on is {oldest()}. "
            f"Upgrade the server.",
            ConfigurationError,
        )
    if server.standby:
        yield Finding(
            f"{where} is a standby, which is read-only: name the primary in DATABASE_DSN, or add "
            f"target_session_attrs=read-write to it.",
            ConfigurationError,
        )
    elif server.read_only:
        yield Finding(
            f"{where} is read-only. {_writable(server)}",
            ConfigurationError,
        )


def _writable(server: Row[Any]) -> str:
    """Return what takes back default_transaction_read_only where it was set."""
    role = f'ROLE "{server.role}"'
    whose = {
        "database": f"DATABASE {server.database}",
        "user": role,
        "database user": f"{role} IN DATABASE {server.database}",
    }.get(server.read_only_by)
    if whose:
        return f"Run: BEGIN READ WRITE; ALTER {whose} SET default_transaction_read_only = off; COMMIT;"
    if server.read_only_by == "client":
        return "Remove default_transaction_read_only from the DSN."
    return "A superuser can run: ALTER SYSTEM SET default_transaction_read_only = off; SELECT pg_reload_conf();"


def _schemas(where: str, server: Row[Any]) -> Iterable[Finding]:
    if server.schema is None:
        yield Finding(
            f"{where}: none of the schemas of search_path ({server.search_path}) is there. "
            f"Correct MIGRATIONS_SEARCH_PATH.",
            ConfigurationError,
        )
    if server.superuser:
        for name in server.open:
            yield Finding(
                f"{where}: {server.role} is a superuser, and anybody may create functions and operators in the schema "
                f"{name}, which would run with its rights. Migrate as the service's own role, or run: "
                f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;",
                ConfigurationError,
                name,
            )


def _table(where: str, table: Row[Any], trusted_with: str) -> Iterable[Finding]:
    """Yield what makes it unsafe to write a table; the ledger is then left alone, and the rest goes on."""
    error = ConfigurationError if table.name == trusted_with else None
    suffix = "" if error else " Until then nothing is written to it."
    kinds = (("trigger", table.triggers, " ON "), ("rule", table.rules, " ON "))
    for kind, found, on in kinds:
        for name in found:
            yield Finding(
                f"{where}: {table.shown} has the {kind} {name}, which would run with the rights of a migration."
                f"{suffix} Its owner can run: DROP {kind.upper()} {name}{on}{table.shown};",
                error,
                table.name,
            )
    if not table.own:
        yield Finding(
            f"{where}: {table.shown} belongs to {table.owner}, who decides what runs when it is written.{suffix} "
            f"Migrate as {table.owner}, or run: ALTER TABLE {table.shown} OWNER TO {table.role};",
            error,
            table.name,
        )


def _grant(where: str, server: Row[Any]) -> Finding:
    kind, name = ("SCHEMA", server.schema) if server.there else ("DATABASE", server.database)
    return Finding(
        f"{where}: {server.role} may not create {'tables in' if server.there else 'a schema in'} {kind.lower()} {name}."
        f' Its owner can run: GRANT CREATE ON {kind} {name} TO "{server.role}";',
        AccessDeniedError,
        name,
    )


def _creates_table(session: Session, revision: Revision) -> bool:
    """Whether a revision surely needs the right to create; of any other the server is asked, which knows."""
    script = session.history.directory.get_revision(revision.revision)
    if script is None:
        raise ResultError(f"{session.history.service}: the revision {revision.revision} is gone. Nothing was run.")
    source = inspect.getsource(script.module.upgrade)
    return "create_table(" in source and (session.schema is not None or "schema=" not in source)

"""The examination of a service's database, server and settings for problems of upgrades; it only reads."""

import ast
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.catalog.search_path import INFO, SHOWN, SearchPath
from service_migrations.connection.connector import connector
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError
from service_migrations.health.findings import Finding, version_findings
from service_migrations.health.preflight import preflight
from service_migrations.history.files.parsing import source_text
from service_migrations.history.revisions import History, read
from service_migrations.history.sql.refused import refused
from service_migrations.ledger.edited import check_edits
from service_migrations.monorepo import Service, resolve
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.other_version_tables import other_tables
from service_migrations.settings.model import Settings
from service_migrations.settings.sources import Sources

__all__ = ["examine"]

log = logging.getLogger(__name__)

_SKEW = 5.0
"""Seconds between two clocks from which on log lines of both machines can't be put in order."""

_EXTENSION = re.compile(r"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?[\"']?([a-z_][\w-]*)", re.IGNORECASE)

_MAJOR = text("SELECT current_setting('server_version_num')::int / 10000")
_DATABASE = text(
    """
    SELECT current_database() AS name, pg_encoding_to_char(encoding) AS encoding,
           extract(epoch FROM clock_timestamp())::float AS clock,
           quote_ident(current_user) AS role
    FROM pg_database WHERE datname = current_database()
    """
)
_EXTENSIONS = text(
    """
    SELECT wanted.name, quote_ident(wanted.name) AS quoted, a.name IS NOT NULL AS available,
           r.rolsuper OR NOT coalesce(v.superuser, true)
               OR v.trusted AND has_database_privilege(current_database(), 'CREATE') AS allowed
    FROM unnest(CAST(:names AS text[])) AS wanted (name)
    JOIN pg_roles r ON r.rolname = current_user
    LEFT JOIN pg_available_extensions a ON a.name = wanted.name
    LEFT JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
    WHERE a.installed_version IS NULL
    ORDER BY wanted.name
    """
)
_INDEXES = text(
    f"""
    SELECT i.indexrelid::regclass::text AS name, i.indrelid::regclass::text AS on
    FROM {SHOWN} JOIN pg_index i ON shown.path IS NOT NULL JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND c.relkind = 'i'
      AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
    ORDER BY 1
    """  # noqa: S608 - a constant
)
_TRANSACTIONS = text(
    """
    SELECT pid, usename, coalesce(nullif(application_name, ''), 'no application_name') AS application, state,
           extract(epoch FROM clock_timestamp() - xact_start)::int AS age
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND xact_start <= clock_timestamp() - make_interval(secs => :patience)
    ORDER BY xact_start
    """
)
_HIDDEN = text(
    """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query = '<insufficient privilege>'
      AND usesysid IS NOT NULL
    """
)
"""Only sessions of roles: a worker of autovacuum has none, and yields to an ALTER TABLE by itself."""

_PREPARED = text(
    """
    SELECT quote_literal(gid) AS gid, owner, extract(epoch FROM clock_timestamp() - prepared)::int AS age
    FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared
    """
)


async def examine(
    service: str | Service,
    *,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
    patience: float = 60.0,
    clock: Callable[[], float] = time.time,
) -> tuple[Finding, ...]:
    """Find everything that would stop or block an upgrade. Read-only.

    Args:
        service: the service, or its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.
        patience: seconds that a transaction may be open before it is reported.
        clock: returns this machine's time, in seconds since the epoch.

    Returns:
        The findings, each of which ends with the fix; one that prevents further checks comes first.

    Raises:
        UsageError: the service doesn't exist.

    """
    service = resolve(service)
    findings: list[Finding] = []
    sources = settings.sources if settings else Sources()
    try:
        findings += [Finding(line, about=".env") for line in sources.exposed(service)]
        history = read(service)
        async with open_session(history, connector(service, engine, settings)) as session:
            findings += await _examine(session, history, patience, clock)
    except MigrationError as error:
        log.debug("%s", service, exc_info=True)
        findings.insert(0, Finding.of(error, "connection"))
    return tuple(findings)


async def _examine(session: Session, history: History, patience: float, clock: Callable[[], float]) -> list[Finding]:
    findings: list[Finding] = []
    pending = history.revisions
    try:
        current = await session.applied()
        pending = history.pending(current)
        if current:
            findings += await _other_version_tables(session)
        await check_edits(session, current, "refuse")
    except MigrationError as error:
        findings.append(Finding.of(error, session.connector.version_table))
    findings += await preflight(session, pending)
    target = session.connector.target
    findings += [
        Finding(f"{revision.path}:{line}: {reason}", MigrationError, revision.revision, history.service.name)
        for revision in pending
        for line, reason in refused(history.service, revision.path)
    ]
    own_findings = [finding async for finding in _version_findings(session, target, clock)]
    own_findings += [finding async for finding in _database_findings(session, target, clock)]
    own_findings += [finding async for finding in _extension_findings(session, target, history)]
    own_findings += [finding async for finding in _blocking_findings(session, target, patience)]
    return [*findings, *(replace(finding, service=history.service.name) for finding in own_findings)]


async def _other_version_tables(session: Session) -> list[Finding]:
    """Find tables that are left from before the service had its version table: a program may still read them."""
    ids, tables = [revision.revision for revision in session.history.revisions], []
    with suppress(MigrationError):  # one that can't be read is nobody's business while the own one has revisions
        tables = await other_tables(session.connection, session.connector, await session.version_schema(), ids)
    await session.connection.rollback()
    return [
        Finding(
            f"{session.connector.target}: {table.quoted} holds {', '.join(table.revisions)} of this history, and isn't "
            f"the version table. If nothing uses it: DROP TABLE {table.quoted};",
            about=table.quoted,
        )
        for table in tables
    ]


async def _version_findings(session: Session, target: str, clock: Callable[[], float]) -> AsyncIterator[Finding]:
    ((major,),) = await _rows(session, _MAJOR)
    today = datetime.fromtimestamp(clock(), UTC).date()
    for finding in version_findings(target, major, session.history.service.root, today):
        yield finding


async def _database_findings(session: Session, target: str, clock: Callable[[], float]) -> AsyncIterator[Finding]:
    before = clock()
    (database,) = await _rows(session, _DATABASE)
    after = clock()
    if database.encoding != "UTF8":
        yield Finding(
            f"{target} is encoded in {database.encoding}, which can't hold every character. Dump it and load it into: "
            f"CREATE DATABASE \"{database.name}_utf8\" ENCODING 'UTF8' TEMPLATE template0;",
            about="encoding",
        )
    # the distance of the server's clock from the interval of the query
    skew = max(before - database.clock, database.clock - after)
    if skew > _SKEW:
        yield Finding(
            f"{target}: the clocks of the server and of this machine are {skew:.0f} s apart. "
            f"Let both follow a time server: timedatectl set-ntp true",
            about="clock",
        )


async def _extension_findings(session: Session, target: str, history: History) -> AsyncIterator[Finding]:
    names = _wanted_extensions(history)
    for extension in await _rows(session, _EXTENSIONS, names=names) if names else ():
        if not extension.available:
            yield Finding(
                f"{target}: a revision creates the extension {extension.name}, which the server doesn't have. "
                f"Install its package there, and run: CREATE EXTENSION {extension.quoted};",
                ConfigurationError,
                extension.name,
            )
        elif not extension.allowed:
            yield Finding(
                f"{target}: a revision creates the extension {extension.name}, which this role may not. "
                f"A superuser can run: CREATE EXTENSION {extension.quoted};",
                AccessDeniedError,
                extension.name,
            )


async def _blocking_findings(session: Session, target: str, patience: float) -> AsyncIterator[Finding]:
    path: SearchPath = session.connection.info[INFO]
    for index in await _rows(session, _INDEXES, search_path=path.text):
        yield Finding(
            f"{target}: the index {index.name} of {index.on} is INVALID: its build was cut off, and no query uses it. "
            f"Drop it, and upgrade again: DROP INDEX CONCURRENTLY {index.name};",
            about=index.name,
        )
    for transaction in await _rows(session, _TRANSACTIONS, patience=patience):
        yield Finding(
            f"{target}: a transaction of pid {transaction.pid} (user {transaction.usename}, {transaction.application}, "
            f"{transaction.state}) is open for {transaction.age} s, and an ALTER TABLE would wait for it. "
            f"If nobody needs it: SELECT pg_terminate_backend({transaction.pid});",
            about=f"pid {transaction.pid}",
        )
    for prepared in await _rows(session, _PREPARED):
        yield Finding(
            f"{target}: a prepared transaction of {prepared.owner} keeps its locks for {prepared.age} s. "
            f"If nobody is going to commit it: ROLLBACK PREPARED {prepared.gid};",
            about=prepared.gid,
        )
    (hidden,) = await _rows(session, _HIDDEN)
    if hidden[0]:
        (database,) = await _rows(session, _DATABASE)
        yield Finding(
            f"{target}: {hidden[0]} sessions of other roles don't show how long their transactions are open. "
            f"A superuser can run: GRANT pg_read_all_stats TO {database.role};",
            about="pg_stat_activity",
        )


async def _rows(session: Session, statement: TextClause, **values: Any) -> Iterable[Any]:
    try:
        return (await session.connection.execute(statement, values)).all()
    finally:
        await session.connection.rollback()


def _wanted_extensions(history: History) -> list[str]:
    service = history.service
    sources = [source_text((service.root / revision.path).read_bytes()) for revision in history.revisions]
    texts = (text for source in sources if "extension" in source.lower() for text in _constants(source))
    return sorted({name.lower() for text in texts for name in _EXTENSION.findall(text)})


def _constants(source: str) -> Iterator[str]:
    """Yield the texts in a file, without its comments and docstrings, which only speak of what it does."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return  # reported where the history is read
    spoken = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
            yield node.value

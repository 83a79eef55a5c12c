"""The doctor: what is wrong, or may soon be, with a service's database, server and settings; nothing is changed."""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.session import Session, open_session
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError
from service_migrations.health.findings import Finding
from service_migrations.health.preflight import preflight
from service_migrations.history.revisions import History, read
from service_migrations.monorepo import Service, resolve
from service_migrations.settings.model import Settings
from service_migrations.settings.sources import Sources

__all__ = ["examine"]

_SKEW = 5.0
"""Seconds between two clocks from which on the times of a log and of the server's can't be told apart."""

_EXTENSION = re.compile(r"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?\\?[\"']?([a-z_][\w-]*)", re.IGNORECASE)

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
    """
    SELECT i.indexrelid::regclass::text AS name, i.indrelid::regclass::text AS on
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND c.relkind = 'i'
      AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
    ORDER BY 1
    """
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
"""Sessions of roles: a worker of autovacuum is nobody's, and gives way to an ALTER TABLE by itself."""

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
    """Look for everything that would stop an upgrade, or be in its way. Read-only.

    Args:
        service: its name.
        engine: an engine of the caller's to take a connection from; without it, the service's own settings.
        settings: the service's, where they are loaded already.
        patience: seconds that a transaction may be open before it is told of.
        clock: seconds since the epoch, as it is here.

    Returns:
        The findings, each of which ends with what mends it; what makes others impossible to look for comes first.

    Raises:
        UsageError: there is no such service.

    """
    found = resolve(service)
    findings: list[Finding] = []
    sources = settings.sources if settings else Sources()
    try:
        findings += [Finding(line, about=".env") for line in sources.exposed(found)]
        history = read(found)
        async with open_session(history, connector(found, engine, settings)) as session:
            findings += await _examine(session, history, patience, clock)
    except MigrationError as error:
        findings.insert(0, Finding.of(error, "connection"))
    return tuple(findings)


async def _examine(session: Session, history: History, patience: float, clock: Callable[[], float]) -> list[Finding]:
    found: list[Finding] = []
    pending = history.revisions
    try:
        pending = history.pending(await session.applied())
    except MigrationError as error:
        found.append(Finding.of(error, session.access.version_table))
    found += await preflight(session, pending)
    where = session.access.target
    beside = [finding async for finding in _database(session, where, clock)]
    beside += [finding async for finding in _extensions(session, where, history)]
    beside += [finding async for finding in _in_the_way(session, where, patience)]
    return [*found, *(replace(finding, service=history.service.name) for finding in beside)]


async def _database(session: Session, where: str, clock: Callable[[], float]) -> AsyncIterator[Finding]:
    before = clock()
    (database,) = await _rows(session, _DATABASE)
    after = clock()
    if database.encoding != "UTF8":
        yield Finding(
            f"{where} is encoded in {database.encoding}, which can't hold every character. Dump it and load it into: "
            f"CREATE DATABASE \"{database.name}_utf8\" ENCODING 'UTF8' TEMPLATE template0;",
            about="encoding",
        )
    # by how much the server's clock is outside the time in which it was asked
    skew = max(before - database.clock, database.clock - after)
    if skew > _SKEW:
        yield Finding(
            f"{where}: the clocks of the server and of this machine are {skew:.0f} s apart. "
            f"Let both follow a time server: timedatectl set-ntp true",
            about="clock",
        )


async def _extensions(session: Session, where: str, history: History) -> AsyncIterator[Finding]:
    names = _wanted_extensions(history)
    for extension in await _rows(session, _EXTENSIONS, names=names) if names else ():
        if not extension.available:
            yield Finding(
                f"{where}: a revision creates the extension {extension.name}, which the server doesn't have. "
                f"Install its package there, and run: CREATE EXTENSION {extension.quoted};",
                ConfigurationError,
                extension.name,
            )
        elif not extension.allowed:
            yield Finding(
                f"{where}: a revision creates the extension {extension.name}, which this role may not. "
                f"A superuser can run: CREATE EXTENSION {extension.quoted};",
                AccessDeniedError,
                extension.name,
            )


async def _in_the_way(session: Session, where: str, patience: float) -> AsyncIterator[Finding]:
    for index in await _rows(session, _INDEXES):
        yield Finding(
            f"{where}: the index {index.name} of {index.on} is INVALID: its build was cut off, and no query uses it. "
            f"Drop it, and upgrade again: DROP INDEX CONCURRENTLY {index.name};",
            about=index.name,
        )
    for one in await _rows(session, _TRANSACTIONS, patience=patience):
        yield Finding(
            f"{where}: a transaction of pid {one.pid} (user {one.usename}, {one.application}, {one.state}) is open for "
            f"{one.age} s, and an ALTER TABLE would wait for it. "
            f"If nobody needs it: SELECT pg_terminate_backend({one.pid});",
            about=f"pid {one.pid}",
        )
    for one in await _rows(session, _PREPARED):
        yield Finding(
            f"{where}: a prepared transaction of {one.owner} keeps its locks for {one.age} s. "
            f"If nobody is going to commit it: ROLLBACK PREPARED {one.gid};",
            about=one.gid,
        )
    (hidden,) = await _rows(session, _HIDDEN)
    if hidden[0]:
        (database,) = await _rows(session, _DATABASE)
        yield Finding(
            f"{where}: {hidden[0]} sessions of other roles don't show how long their transactions are open. "
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
    files = [(service.root / revision.path).read_text(encoding="utf-8") for revision in history.revisions]
    return sorted({name.lower() for file in files for name in _EXTENSION.findall(file)})

"""The scan of many databases: their revisions, read at once over asyncpg, without importing Alembic or revision files.

Nearly every deploy has nothing to do, and the scan is its whole cost. Only certain results count: in any doubt the
service goes through an ordinary upgrade.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from service_migrations.connection import opened
from service_migrations.connection.opened import Opened
from service_migrations.connection.parameters import connect_timeout
from service_migrations.connection.simple_query import Connection
from service_migrations.connection.single_message import fetch
from service_migrations.errors import MigrationError
from service_migrations.failures.connections import connect_failure
from service_migrations.history.files.static import Chain, read_chain
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome
from service_migrations.rollout.schemas import UNSURE, Schemas
from service_migrations.session.tables.trust import IS_TRUSTED
from service_migrations.session.tables.version_tables import VERSION_TABLES
from service_migrations.settings.model import Settings
from service_migrations.settings.siblings import version_tables_of_siblings
from service_migrations.upgrade.retries import scaled_attempts

__all__ = ["Capacity", "KnownState", "Scan", "ScannedService", "scan", "scan_one"]

_FREE_CONNECTIONS = """
    SELECT CAST(pg_catalog.current_setting('max_connections') AS pg_catalog.int4)
           OPERATOR(pg_catalog.-) CAST(pg_catalog.current_setting('superuser_reserved_connections') AS pg_catalog.int4)
           OPERATOR(pg_catalog.-)
           coalesce(CAST(pg_catalog.current_setting('reserved_connections', true) AS pg_catalog.int4), 0) AS allowed,
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
            WHERE datid IS NOT NULL AND usesysid IS NOT NULL) AS used,
           (SELECT pg_catalog.json_object_agg(r.rolname, ARRAY[
                CAST(r.rolconnlimit AS pg_catalog.int8),
                (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
                 WHERE a.usesysid OPERATOR(pg_catalog.=) r.oid)])
            FROM pg_catalog.pg_roles r
            WHERE r.rolname OPERATOR(pg_catalog.=) ANY (CAST(CAST(:roles AS pg_catalog.text[]) AS pg_catalog.name[]))
              AND r.rolconnlimit OPERATOR(pg_catalog.>=) 0 AND NOT r.rolsuper
           ) AS roles,
           current_user AS role
"""


@dataclass(slots=True)
class Capacity:
    """How many connections a server and its roles have left; None where that isn't known."""

    free: int | None = None
    roles: dict[str, int] = field(default_factory=dict)

    def of(self, role: str) -> int | None:
        """Return how many connections a role can open; None where that isn't known."""
        known = [count for count in (self.free, self.roles.get(role)) if count is not None]
        return min(known, default=None)

    async def query(self, connection: Any, roles: Iterable[str]) -> None:
        """Query the server over a connection that is going to be closed, and so isn't counted."""
        (row,) = await fetch(connection, _FREE_CONNECTIONS, roles=list(roles))
        self.free = row.allowed - row.used + 1
        self.roles = {role: limit - used + (role == row.role) for role, (limit, used) in (row.roles or {}).items()}


log = logging.getLogger(__name__)

_AT_ONCE = 32
_AT_ONCE_UNKNOWN = 8
"""Connections at once to one server, and to one whose free connections aren't known."""

_TABLES = f"""
    SELECT pg_catalog.pg_backend_pid() AS pid, c.relname AS name, n.nspname AS schema, c.relkind AS kind,
           pg_catalog.row_security_active(c.oid) AS filtered, pg_catalog.pg_table_is_visible(c.oid) AS visible,
           {IS_TRUSTED} AS trusted, pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.'
               OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname) AS quoted,
           EXISTS (SELECT FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attisdropped
                     AND a.attname OPERATOR(pg_catalog.=) CAST('checksum' AS pg_catalog.name)) AS checksums
    FROM (SELECT) AS always
    LEFT JOIN (pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace)
           ON c.relname OPERATOR(pg_catalog.=) ANY (CAST(CAST(:names AS pg_catalog.text[]) AS pg_catalog.name[]))
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class KnownState:
    """The certain facts about one service: the revisions of its files and of its database (none: ``()``)."""

    chain: Chain | None = None
    current: tuple[str, ...] | None = None
    error: MigrationError | None = None
    edited: bool = False

    @property
    def at_head(self) -> bool:
        """Whether an upgrade surely has nothing to do."""
        return bool(
            self.chain and self.chain.revisions and self.current == self.chain.effective_heads and not self.edited
        )

    @property
    def behind(self) -> tuple[str, ...] | None:
        """The revisions of a database for which an upgrade surely has some to run; None where it may be refused."""
        return self.current if self.pending and not self.edited else None

    @property
    def pending(self) -> int | None:
        """How many revisions an upgrade surely runs; None where that isn't certain."""
        if self.chain is None or self.current is None:
            return None
        return 0 if self.at_head else self.chain.pending(self.current)


@dataclass(frozen=True, slots=True)
class Scan:
    """The state of each service, and the capacity of each server by its addresses."""

    states: dict[Service, KnownState]
    capacities: dict[frozenset[tuple[str, int]], Capacity]


@dataclass(frozen=True, slots=True)
class ScannedService:
    """What the scan of one service has read.

    Attributes:
        outcome: that of an upgrade that surely has nothing to do; None where an ordinary upgrade has to decide.
        behind: as of ``KnownState``.
        opened: the connection, over which an upgrade can go on; None where nothing is certain.

    """

    outcome: Outcome | None
    behind: tuple[str, ...] | None
    opened: Opened | None


async def scan(all_settings: Iterable[Settings]) -> Scan:
    """Read the state of many services at once. Read-only, without any lock.

    Args:
        all_settings: the settings of each.

    Returns:
        What is certain. An ``error`` means that a server can't be reached.

    """
    servers: dict[frozenset[tuple[str, int]], list[Settings]] = {}
    for settings in all_settings:
        servers.setdefault(settings.dsn.server, []).append(settings)
    roots = {settings.service.root for group in servers.values() for settings in group}
    schemas = {root: Schemas(root) for root in roots}
    capacities = {server: Capacity() for server in servers}
    states: dict[Service, KnownState] = {}

    async def scan_server(server: frozenset[tuple[str, int]], group: list[Settings]) -> None:
        capacity, roles = capacities[server], sorted({settings.dsn.user for settings in group})
        remaining = iter(group)
        for settings in remaining:
            states[settings.service] = await _read_state(settings, schemas[settings.service.root], capacity, roles)
            if capacity.free is not None or states[settings.service].error:
                break
        semaphore = asyncio.Semaphore(
            _AT_ONCE_UNKNOWN if capacity.free is None else max(1, min(_AT_ONCE, capacity.free // 2))
        )

        async def read_state(settings: Settings) -> None:
            async with semaphore:
                states[settings.service] = await _read_state(settings, schemas[settings.service.root])

        await asyncio.gather(*(read_state(settings) for settings in remaining))

    await asyncio.gather(*(scan_server(server, group) for server, group in servers.items()))
    return Scan(states, capacities)


@asynccontextmanager
async def scan_one(settings: Settings) -> AsyncIterator[ScannedService]:
    """Read the state of one service; its connection is closed behind the block.

    Raises:
        UnreachableError, ConfigurationError: the server can't be reached.

    """
    service, first = settings.service, scaled_attempts(settings.limits.lock_timeout)[0]
    limits = replace(settings.limits, lock_timeout=first.lock_timeout)
    state, connection = await _connect_and_read(replace(settings, limits=limits), Schemas(service.root))
    try:
        if state.error:
            raise state.error
        current = state.current or ()
        outcome = Outcome(service.name, settings.target, current, current, (), 0.0) if state.at_head else None
        yield ScannedService(outcome, state.behind, Opened(connection, limits) if connection else None)
    finally:
        if connection:
            await opened.close(connection)


async def _read_state(
    settings: Settings, schemas: Schemas, capacity: Capacity | None = None, roles: Iterable[str] = ()
) -> KnownState:
    state, connection = await _connect_and_read(settings, schemas, capacity, roles)
    if connection:
        await opened.close(connection)
    return state


async def _connect_and_read(
    settings: Settings, schemas: Schemas, capacity: Capacity | None = None, roles: Iterable[str] = ()
) -> tuple[KnownState, Connection | None]:
    """Return the state of a service, and the connection over which it was read, where that is certain."""
    chain = read_chain(settings.service)
    has_head = bool(chain and chain.revisions)
    if not has_head and capacity is None:
        return KnownState(chain), None  # errors in the files are reported before a connection is opened
    try:
        connection = await opened.connect(settings)
    except MigrationError as error:
        return KnownState(chain, error=error), None
    except (TimeoutError, OSError) as error:
        # nothing answers: an ordinary upgrade would only report the same a second time
        failure = connect_failure(error, settings.service, settings.dsn)
        failure.__cause__ = error
        return KnownState(chain, error=failure if has_head else None), None
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, an ordinary upgrade explains it
        return _unknown(settings, chain, f"{type(error).__name__} at connect"), None
    state: KnownState | None = None
    try:
        schema = settings.service.version_table_schema or schemas.of(settings.service)
        # not by cancelling: asyncpg would then send the server a message, and wait for that too
        timer = asyncio.get_running_loop().call_later(connect_timeout(settings), connection.terminate)
        try:
            if capacity is not None:
                await capacity.query(connection, roles)
            state = await _read_tables(connection, settings, chain, schema)
        finally:
            timer.cancel()
    except Exception as error:  # noqa: BLE001 - as above
        return _unknown(settings, chain, type(error).__name__), None
    finally:
        if state is None or state.current is None:
            await opened.close(connection)
    return state, connection if state.current is not None else None


async def _read_tables(connection: Any, settings: Settings, chain: Chain | None, schema: str | None) -> KnownState:
    names = [settings.version_table, settings.service.ledger_table]
    rows = await fetch(connection, _TABLES, names=names)
    if rows[0].pid != connection.get_server_pid():
        return _unknown(settings, chain, "a pooler")
    versions = [row for row in rows if row.name == names[0]]
    ledgers = [
        row
        for row in rows
        if row.name == names[1] and row.checksums and row.kind == "r" and not row.filtered and row.trusted
    ]
    current: tuple[str, ...] = ()
    logged: dict[str, str] = {}
    if versions:
        table = versions[0]
        is_in_schema = table.visible if schema is None else table.schema == schema
        if (
            len(versions) > 1
            or len(ledgers) > 1
            or table.kind not in ("r", "p")
            or table.filtered
            or not table.trusted
            or schema == UNSURE
            or not is_in_schema
        ):
            return _unknown(settings, chain, "which version table is it?")
        current, logged = await _read_revisions(connection, table.quoted, ledgers[0].quoted if ledgers else None)
    if not current:
        if await _has_another_version_table(connection, settings):
            return _unknown(settings, chain, "was it migrated with another version table?")
        return KnownState(chain, ())
    edited = chain is not None and _is_edited(logged, chain)
    state = KnownState(chain, current, edited=edited)
    if chain is None or not state.at_head:
        return state
    # the older revisions aren't needed any more, and would be most of the memory for hundreds of services
    heads = tuple(revision for revision in chain.revisions if revision.is_head)
    return KnownState(Chain(heads, {}, chain.effective_heads), current)


async def _has_another_version_table(connection: Any, settings: Settings) -> bool:
    """Whether there is a version table that isn't a sibling's; what it holds is for an ordinary upgrade to read."""
    names = {row.name for row in await fetch(connection, VERSION_TABLES)} - {settings.version_table}
    if not names:
        return False
    databases = settings.databases | {settings.database}
    return not names <= version_tables_of_siblings(
        settings.service, settings.version_table, databases, settings.sources
    )


async def _read_revisions(connection: Any, table: str, ledger: str | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the revisions of a version table, and the checksums in a ledger by revision.

    Args:
        connection: of asyncpg's.
        table: the version table's name, which the server has quoted.
        ledger: as *table*; None where there is none.

    """
    newest = f"SELECT DISTINCT ON (revision) revision, checksum FROM {ledger} ORDER BY revision, id DESC"  # noqa: S608
    objects = f"SELECT pg_catalog.json_object_agg(revision, checksum) FROM ({newest}) AS newest"  # noqa: S608
    checksums = f"({objects})" if ledger else "NULL"
    current = f"SELECT coalesce(CAST(version_num AS pg_catalog.text), 'NULL') FROM {table}"  # noqa: S608
    query = f"SELECT ARRAY({current}) AS current, {checksums} AS logged"
    (row,) = await fetch(connection, query)
    return tuple(sorted(row.current)), row.logged or {}


def _is_edited(logged: dict[str, str], chain: Chain) -> bool:
    """Whether a file differs, byte for byte, from the one that was run; the change may have no meaning."""
    return any(known and chain.checksums.get(revision, known) != known for revision, known in logged.items())


def _unknown(settings: Settings, chain: Chain | None, reason: str) -> KnownState:
    log.debug("%s: not certain without an ordinary upgrade (%s)", settings.service, reason)
    return KnownState(chain)

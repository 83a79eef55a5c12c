"""Where many databases are, found out at once: over asyncpg alone, and with the revision files unimported.

Nearly every deploy has nothing to do, and this is what it costs then. Only what is certain counts: in any doubt the
full way decides.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from service_migrations.connection.parameters import connect_arguments, session_settings
from service_migrations.errors import MigrationError
from service_migrations.failures import connect_failure
from service_migrations.history.static import Chain, read_chain
from service_migrations.monorepo import Service
from service_migrations.outcome import Outcome
from service_migrations.rollout.schemas import UNSURE, Schemas
from service_migrations.settings.model import Settings

__all__ = ["Capacity", "Found", "Scan", "outcome_at_head", "scan"]

_FREE = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0)
           - (SELECT count(*)::int FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL) + 1
"""
_ROLES = """
    SELECT r.rolname, r.rolconnlimit - (SELECT count(*)::int FROM pg_stat_activity a WHERE a.usesysid = r.oid)
           + (r.rolname = current_user)::int
    FROM pg_roles r WHERE r.rolname = ANY ($1::text[]::name[]) AND r.rolconnlimit >= 0 AND NOT r.rolsuper
"""
"""Both leave out the connection that asks, which is going to be closed."""


@dataclass(slots=True)
class Capacity:
    """How many connections a server has left, and how many of its roles have; None where it didn't say."""

    free: int | None = None
    roles: dict[str, int] = field(default_factory=dict)

    def of(self, role: str) -> int | None:
        """Return how many connections a role can have."""
        known = [count for count in (self.free, self.roles.get(role)) if count is not None]
        return min(known, default=None)

    async def ask(self, connection: Any, roles: Iterable[str]) -> None:
        """Ask the server; the connection that asks is going to be closed, and isn't counted."""
        self.free = await connection.fetchval(_FREE)
        self.roles = dict(await connection.fetch(_ROLES, list(roles)))


log = logging.getLogger(__name__)

_AT_ONCE = 32
_AT_ONCE_UNKNOWN = 8
"""Connections at once to one server, and to one that didn't say how many it has left."""

_TABLES = """
    SELECT pg_backend_pid() AS pid, c.relname AS name, n.nspname AS schema, c.relkind AS kind,
           pg_table_is_visible(c.oid) AS visible, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS quoted,
           EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attname = 'checksum' AND NOT a.attisdropped) AS checksums
    FROM (VALUES (1)) AS one (row)
    LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)
           ON c.relname = ANY ($1::text[]::name[]) AND c.relkind NOT IN ('i', 'I', 'c', 'S', 't')
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What is certain of one service: the revisions of its files, and that of its database (none: ``()``)."""

    chain: Chain | None = None
    current: tuple[str, ...] | None = None
    error: MigrationError | None = None
    edited: bool = False

    @property
    def at_head(self) -> bool:
        """Whether there is surely nothing to do."""
        return bool(self.chain and self.chain.head and self.current == (self.chain.head,) and not self.edited)

    @property
    def pending(self) -> int | None:
        """How many revisions are surely left to run; None where that isn't sure."""
        if self.chain is None or self.current is None or len(self.current) > 1:
            return None
        if not self.current:
            return len(self.chain.ids)
        if self.current[0] not in self.chain.ids:
            return None
        return len(self.chain.ids) - 1 - self.chain.ids.index(self.current[0])


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found of each service, and the room on each server, by its addresses."""

    found: dict[Service, Found]
    rooms: dict[frozenset[tuple[str, int]], Capacity]


async def scan(many: Iterable[Settings]) -> Scan:
    """Look at the databases of services, all at once. Read-only, and no lock is taken.

    Args:
        many: the settings of each.

    Returns:
        What is certain. An ``error`` is one of a server that can't be reached.

    """
    servers: dict[frozenset[tuple[str, int]], list[Settings]] = {}
    for settings in many:
        servers.setdefault(settings.dsn.server, []).append(settings)
    roots = {settings.service.root for on_it in servers.values() for settings in on_it}
    schemas = {root: Schemas(root) for root in roots}
    rooms = {server: Capacity() for server in servers}
    found: dict[Service, Found] = {}

    async def of_server(server: frozenset[tuple[str, int]], on_it: list[Settings]) -> None:
        room, roles = rooms[server], sorted({settings.dsn.user for settings in on_it})
        waiting = iter(on_it)
        for settings in waiting:
            found[settings.service] = await _look(settings, schemas[settings.service.root], room, roles)
            if room.free is not None or found[settings.service].error:
                break
        turns = asyncio.Semaphore(_AT_ONCE_UNKNOWN if room.free is None else max(1, min(_AT_ONCE, room.free // 2)))

        async def take_turn(settings: Settings) -> None:
            async with turns:
                found[settings.service] = await _look(settings, schemas[settings.service.root])

        await asyncio.gather(*(take_turn(settings) for settings in waiting))

    await asyncio.gather(*(of_server(server, on_it) for server, on_it in servers.items()))
    return Scan(found, rooms)


async def outcome_at_head(settings: Settings) -> Outcome | None:
    """Return the outcome of an upgrade that surely has nothing to do; None where the full way has to be gone.

    Raises:
        UnreachableError, ConfigurationError: the server can't be reached.

    """
    service = settings.service
    found = await _look(settings, Schemas(service.root))
    if found.error:
        raise found.error
    current = found.current or ()
    return Outcome(service.name, settings.target, current, current, (), 0.0) if found.at_head else None


async def _look(settings: Settings, schemas: Schemas, room: Capacity | None = None, roles: Iterable[str] = ()) -> Found:
    chain = read_chain(settings.service)
    sure = bool(chain and chain.head)
    if not sure and room is None:
        return Found(chain)  # what is wrong with the files is told before anything is connected to
    arguments = connect_arguments(settings)
    try:
        connection = await asyncpg.connect(
            **arguments, server_settings=session_settings(settings), command_timeout=arguments["timeout"]
        )
    except (TimeoutError, OSError) as error:
        # nobody answers: that is what the full way would say too, and once is enough
        return Found(chain, error=connect_failure(error, settings.service, settings.dsn) if sure else None)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, the full way explains it
        return _unsure(settings, chain, f"{type(error).__name__} at connect")
    try:
        if room is not None:
            await room.ask(connection, roles)
        return await _read(connection, settings, chain, schemas.of(settings.service))
    except Exception as error:  # noqa: BLE001 - as above
        return _unsure(settings, chain, type(error).__name__)
    finally:
        connection.terminate() if connection.is_closed() else await _close(connection)


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=1)
    except Exception:  # noqa: BLE001 - it is read-only: there is nothing to lose
        connection.terminate()


async def _read(connection: Any, settings: Settings, chain: Chain | None, schema: str | None) -> Found:
    names = [settings.version_table, settings.service.ledger_table]
    rows = await connection.fetch(_TABLES, names)
    if rows[0]["pid"] != connection.get_server_pid():
        return _unsure(settings, chain, "a pooler")
    versions = [row for row in rows if row["name"] == names[0]]
    ledgers = [row for row in rows if row["name"] == names[1] and row["checksums"] and row["kind"] == b"r"]
    if not versions:
        return Found(chain, ())
    table = versions[0]
    in_place = table["visible"] if schema is None else table["schema"] == schema
    if len(versions) > 1 or len(ledgers) > 1 or table["kind"] not in (b"r", b"p") or schema == UNSURE or not in_place:
        return _unsure(settings, chain, "which version table is it?")
    # the name was quoted by the server
    current = tuple(sorted(row[0] for row in await connection.fetch(f"SELECT version_num FROM {table['quoted']}")))  # noqa: S608
    edited = chain is not None and bool(ledgers) and await _is_edited(connection, ledgers[0]["quoted"], chain)
    found = Found(chain, current, edited=edited)
    if chain is None or not found.at_head:
        return found
    # the way there is of no more use: of hundreds of services these would be most of what is held
    return Found(Chain(chain.revisions[-1:], {}), current)


async def _is_edited(connection: Any, ledger: str, chain: Chain) -> bool:
    """Whether a file isn't what it was when it ran, byte for byte; whether that means anything is not decided here."""
    query = f"SELECT DISTINCT ON (revision) revision, checksum FROM {ledger} ORDER BY revision, id DESC"  # noqa: S608
    rows = await connection.fetch(query)
    return any(then and chain.checksums.get(revision, then) != then for revision, then in rows)


def _unsure(settings: Settings, chain: Chain | None, reason: str) -> Found:
    log.debug("%s: not sure from outside (%s)", settings.service, reason)
    return Found(chain)

"""What ALTER DATABASE and ALTER ROLE … IN DATABASE have set for a service's database, given to a scratch database.

A replay without it differs from the upgrade: a constant such as a time or a bound is read in another time zone, and a
revision that asks for a setting of its own finds none.
"""

import logging
import re
from dataclasses import dataclass, replace
from types import MappingProxyType

import asyncpg

from service_migrations.databases.admin import connected, within
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings
from service_migrations.sql.quoting import literal, quoted

__all__ = ["DatabaseSetting", "database_settings", "with_settings"]

log = logging.getLogger(__name__)

_QUERY = """
    SELECT s.setrole <> 0 AS of_role, split_part(c.entry, '=', 1) AS name,
        substr(c.entry, strpos(c.entry, '=') + 1) AS value
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS c (entry)
    WHERE d.datname = current_database() AND (s.setrole = 0 OR s.setrole = quote_ident(session_user)::regrole)
        AND split_part(c.entry, '=', 1) <> ALL ($1)
    ORDER BY 1, 2
"""
_LEFT_OUT = (
    "search_path",  # each session of ours sets it
    "default_transaction_read_only",  # in a scratch database too, nothing could be written
    "default_tablespace",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
)
_SEPARATOR = re.compile(r"[\\'\s]")
"""What ends a value in the options of a connection, or is read as an escape or a quote."""


@dataclass(frozen=True, slots=True)
class DatabaseSetting:
    """One setting; ``of_role`` is one of the service's role in this database, which has precedence."""

    of_role: bool
    name: str
    value: str


async def database_settings(connection: "asyncpg.Connection") -> list[DatabaseSetting]:
    """Return the settings that a service's sessions get from its database; those of a role come last."""
    return [DatabaseSetting(**row) for row in await connection.fetch(_QUERY, _LEFT_OUT)]


async def with_settings(settings: Settings, creator: Dsn, name: str, values: list[DatabaseSetting]) -> Dsn:
    """Give a scratch database settings, and return its DSN for the service's role.

    Only a superuser may give a database a setting that no extension knows (``app.tenant``): a session sets it itself.
    What only a superuser may set at all is left out.
    """
    dsn, own = within(settings.dsn, name), {}
    if values:
        async with connected(settings, creator) as connection:
            for each in values:
                scope = f"ROLE {quoted(dsn.user)} IN" if each.of_role else ""
                change = f"SET {quoted(each.name)} TO {literal(each.value)}"
                try:
                    await connection.execute(f"ALTER {scope} DATABASE {quoted(name)} {change}")
                except asyncpg.InsufficientPrivilegeError as error:
                    log.debug("%s: %s: %s", settings.service, each.name, error)
                    if "." in each.name:
                        own[each.name] = each.value
                except asyncpg.PostgresError as error:
                    log.debug("%s: %s: %s", settings.service, each.name, error)
    if not own:
        return dsn
    options = [f"-c {key}={_SEPARATOR.sub(_escaped, value)}" for key, value in own.items()]
    # the DSN's own ones have precedence: they come last
    parameters = {**dsn.parameters, "options": " ".join([*options, dsn.parameters.get("options", "")]).strip()}
    return replace(dsn, parameters=MappingProxyType(parameters))


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"

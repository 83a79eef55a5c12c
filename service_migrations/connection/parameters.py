"""The arguments of asyncpg's ``connect()``, and the session settings of a migration."""

import getpass
import os
import socket
from typing import TYPE_CHECKING, Any

from service_migrations.errors import ConfigurationError
from service_migrations.settings.duration import milliseconds
from service_migrations.settings.model import Limits, Settings

if TYPE_CHECKING:
    import asyncpg

__all__ = [
    "APPLICATION",
    "END_WITH_CLIENT",
    "NO_TIMEOUTS",
    "connect_arguments",
    "connect_timeout",
    "session_settings",
    "timeouts",
    "without_transaction_timeout",
]

APPLICATION = "migrations"
"""The start of the ``application_name`` of every migrating connection."""

END_WITH_CLIENT = {"client_connection_check_interval": "2000"}
"""The startup parameter by which the server notices within 2 s that the client is gone, and stops its statement."""
NO_TIMEOUTS = dict.fromkeys(
    ("idle_in_transaction_session_timeout", "idle_session_timeout", "lock_timeout", "statement_timeout"), "0"
)
"""The startup parameters of a session that runs no revision: a role has such timeouts for what applications do."""
_TRANSACTION_TIMEOUT_SINCE = 17
_NO_TRANSACTION_TIMEOUT = """
    SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {pid}
        THEN pg_catalog.set_config('transaction_timeout', '0', false) END
"""
"""Not behind a pooler: in its transaction mode, the setting would reach the sessions of other clients."""


def connect_arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments of asyncpg's ``connect()``, without session settings.

    Raises:
        ConfigurationError: the DSN's certificates can't be read.

    """
    try:
        return {**settings.dsn.connect_args(), "timeout": connect_timeout(settings)}
    except ConfigurationError as error:
        raise ConfigurationError(error.message, service=settings.service, hint=error.hint) from error


def connect_timeout(settings: Settings) -> float:
    """Return the seconds that connecting may take: the DSN's own, or else those of the settings."""
    return settings.dsn.connect_timeout or settings.limits.connect_timeout


def timeouts(limits: Limits) -> dict[str, str]:
    """Return the server's timeouts, in milliseconds."""
    return {
        "lock_timeout": f"{milliseconds(limits.lock_timeout)}",
        "statement_timeout": f"{milliseconds(limits.statement_timeout)}",
        "idle_in_transaction_session_timeout": f"{milliseconds(limits.idle_timeout)}",
    }


def session_settings(settings: Settings) -> dict[str, str]:
    """Return the startup parameters: they override the settings of the role, and survive RESET."""
    user = getpass.getuser() if os.environ.get("USER") or os.environ.get("LOGNAME") else "?"
    return {
        "application_name": f"{APPLICATION} {settings.service} {user}@{socket.gethostname()}"[:63],
        "search_path": f"{settings.search_path}, pg_temp",
        "idle_session_timeout": "0",
        **END_WITH_CLIENT,
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        **settings.dsn.server_settings,
        # last: a DSN that the application uses too may have timeouts of its own, with which no wait would end
        **timeouts(settings.limits),
    }


async def without_transaction_timeout(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> "asyncpg.Connection[asyncpg.Record]":
    """Let the transactions of a session that runs no revision take their time, whatever its role has.

    As a startup parameter, it would be fatal on older servers. The connection is returned; where that fails, or where
    the command is stopped meanwhile, it is closed.
    """
    if connection.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
        try:
            await connection.execute(_NO_TRANSACTION_TIMEOUT.format(pid=connection.get_server_pid()))
        except BaseException:
            connection.terminate()
            raise
    return connection

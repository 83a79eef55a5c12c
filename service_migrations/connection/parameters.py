"""What a connection is opened with: the arguments of asyncpg's ``connect()``, and the session settings beside them."""

import getpass
import os
import socket
from typing import Any

from service_migrations.settings.duration import milliseconds
from service_migrations.settings.model import Limits, Settings

__all__ = ["APPLICATION", "connect_arguments", "session_settings", "timeouts"]

APPLICATION = "migrations"
"""What the ``application_name`` of every migrating connection begins with."""


def connect_arguments(settings: Settings) -> dict[str, Any]:
    """Return what asyncpg's ``connect()`` is called with, without session settings."""
    timeout = settings.dsn.connect_timeout or settings.limits.connect_timeout
    return {**settings.dsn.connect_args(), "timeout": timeout}


def timeouts(limits: Limits) -> dict[str, str]:
    """Return the server's own timeouts, in milliseconds as it wants them."""
    return {
        "lock_timeout": f"{milliseconds(limits.lock_timeout)}",
        "statement_timeout": f"{milliseconds(limits.statement_timeout)}",
        "idle_in_transaction_session_timeout": f"{milliseconds(limits.idle_timeout)}",
    }


def session_settings(settings: Settings) -> dict[str, str]:
    """Return what is given as startup parameters: those beat the settings of the role, and survive RESET."""
    user = getpass.getuser() if os.environ.get("USER") or os.environ.get("LOGNAME") else "?"
    return {
        "application_name": f"{APPLICATION} {settings.service} {user}@{socket.gethostname()}"[:63],
        "search_path": f"{settings.search_path}, pg_temp",
        "idle_session_timeout": "0",
        # the server notices within 2 s that we are gone, and stops the statement that it ran for us
        "client_connection_check_interval": "2000",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        **settings.dsn.server_settings,
        # last: a DSN that the application uses too may have its own, without which no wait would end
        **timeouts(settings.limits),
    }

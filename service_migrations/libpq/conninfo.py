"""The arguments of psycopg's ``connect()``, so that libpq reads nothing from the environment or the home folder."""

import asyncio
import math
import os
import ssl
from collections.abc import Mapping
from typing import Any

import asyncpg
import psycopg
from psycopg import pq

from service_migrations.errors import ConfigurationError
from service_migrations.settings.dsn import Dsn

__all__ = ["Connections"]

_NO_FILE = f"{os.devnull}/none"
"""A path that can't exist, where libpq would otherwise look into the home folder (documentation, 34.19)."""

_NEUTRAL = {"sslcertmode": "allow", "min_protocol_version": "3.0", "max_protocol_version": "3.0"}
"""The defaults of what can't be empty, for options that a variable of the environment sets."""

_IF_GIVEN = ("load_balance_hosts", "ssl_max_protocol_version", "ssl_min_protocol_version")
"""The parameters whose default is libpq's own; one from before 16 doesn't know the first."""


class Connections:
    """The maker of connections to a database.

    libpq doesn't report the SQLSTATE of a refused connection. asyncpg does, so after a failure it tries once with the
    same DSN, and its error is raised.
    """

    def __init__(self, dsn: Dsn, timeout: float, server_settings: Mapping[str, str]) -> None:
        """Check the files of the DSN.

        Args:
            dsn: the database.
            timeout: seconds for each host.
            server_settings: the startup parameters.

        Raises:
            ConfigurationError: a certificate can't be read, or the libpq is older than a parameter of the DSN.

        """
        self._dsn, self._timeout, self._server_settings = dsn, timeout, dict(server_settings)
        self._of_asyncpg = dsn.connect_args()
        self._of_psycopg = _arguments(dsn, timeout, server_settings)
        self._made: list[psycopg.AsyncConnection[Any]] = []

    async def connect(self) -> "psycopg.AsyncConnection[Any]":
        """Connect.

        Raises:
            Exception: as asyncpg's, where it can't connect either; else psycopg's, or a TimeoutError.

        """
        password = await self._dsn.current_password()  # of a command, it may have expired
        arguments = {**self._of_psycopg, "password": password or ""}
        try:
            async with asyncio.timeout(self._timeout * len(self._dsn.hosts)):
                connection = await _connect(arguments)
        except psycopg.errors.ConnectionTimeout as error:
            raise TimeoutError from error
        except psycopg.Error as error:
            if "unsupported startup parameter" in str(error):
                raise
            await self._raise_reason()
            raise
        self._made.append(connection)
        return connection

    def close(self, *_: object) -> None:
        """Close what is still open: SQLAlchemy forgets a connection where it is cancelled while it looks at it."""
        for connection in self._made:
            connection.pgconn.finish()
        self._made.clear()

    async def _raise_reason(self) -> None:
        """Raise the error of asyncpg's attempt; nothing where it succeeds."""
        connection = await asyncpg.connect(
            **self._of_asyncpg, timeout=self._timeout, server_settings=self._server_settings
        )
        connection.terminate()


async def _connect(arguments: Mapping[str, Any]) -> "psycopg.AsyncConnection[Any]":
    """Connect; where this is cancelled, close what psycopg was connecting, which it leaves to the garbage collector."""
    connecting = asyncio.ensure_future(psycopg.AsyncConnection.connect(**arguments))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_close)
        raise


def _close(connecting: "asyncio.Future[psycopg.AsyncConnection[Any]]") -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().pgconn.finish()


def _arguments(dsn: Dsn, timeout: float, server_settings: Mapping[str, str]) -> dict[str, Any]:
    options = dict(server_settings)
    arguments: dict[str, Any] = {
        "host": ",".join(host for host, _ in dsn.hosts),
        "port": ",".join(str(port) for _, port in dsn.hosts),
        "hostaddr": "",
        "user": dsn.user,
        "dbname": dsn.database,
        "passfile": _NO_FILE,
        "connect_timeout": math.ceil(timeout),
        "client_encoding": "UTF8",
        "application_name": options.pop("application_name", ""),
        "options": " ".join(f"-c {name}={_escaped(value)}" for name, value in options.items()),
        "target_session_attrs": dsn.parameters.get("target_session_attrs", "any"),
        "gssencmode": "disable",
        **_tls(dsn.parameters),
        **{name: dsn.parameters[name] for name in _IF_GIVEN if name in dsn.parameters},
    }
    unknown = arguments.keys() - {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if refused := sorted(unknown & dsn.parameters.keys()):
        version = pq.version_pretty(pq.version())
        raise ConfigurationError(
            f"The libpq that psycopg uses here is {version}, which doesn't know {refused[0]} of the DSN. "
            'Leave it out, or install "psycopg[binary]", which brings a newer one.'
        )
    for name in unknown:  # what an older one does anyhow
        del arguments[name]
    for option in pq.Conninfo.get_defaults():
        name, variable = option.keyword.decode(), (option.envvar or b"").decode()
        if variable in os.environ and name not in (*arguments, "service", "password"):
            arguments[name] = _NEUTRAL.get(name, (option.compiled or b"").decode())
    return arguments


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _tls(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return libpq's parameters for TLS; where a root certificate is needed and not named, the system's are used."""
    mode, root = parameters.get("sslmode", "prefer"), parameters.get("sslrootcert")
    if root == "system" or (root is None and mode in ("verify-ca", "verify-full")):
        paths = ssl.get_default_verify_paths()  # the libpq of psycopg's wheels has another idea of the system's
        root = paths.cafile or paths.openssl_cafile
    return {
        "sslmode": mode,
        "sslnegotiation": "postgres",
        "sslrootcert": root or _NO_FILE,
        "sslcert": parameters.get("sslcert", _NO_FILE),
        "sslkey": parameters.get("sslkey", _NO_FILE),
        "sslcrl": parameters.get("sslcrl", _NO_FILE),
        "sslpassword": "",
    }

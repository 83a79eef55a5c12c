"""The arguments of psycopg's ``connect()``, so that libpq reads nothing from the environment or the home folder."""

import asyncio
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import psycopg
from psycopg import pq

from service_migrations.settings.dsn import Dsn

__all__ = ["creator"]

_NO_FILE = f"{os.devnull}/none"
"""A path that can't exist, where libpq would otherwise look into the home folder (documentation, 34.19)."""

_NEUTRAL = {"sslcertmode": "allow", "min_protocol_version": "3.0", "max_protocol_version": "3.0"}
"""The defaults of what can't be empty, for options that a variable of the environment sets."""


def creator(
    dsn: Dsn, timeout: float, server_settings: Mapping[str, str]
) -> "Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]":
    """Return a function that connects.

    libpq doesn't report the SQLSTATE of a refused connection. asyncpg does, so after a failure it tries once with the
    same DSN, and what it says is raised.

    Args:
        dsn: the database.
        timeout: seconds for a host.
        server_settings: the startup parameters.

    """

    async def connect() -> "psycopg.AsyncConnection[Any]":
        arguments = _arguments(dsn, timeout, server_settings)
        try:
            async with asyncio.timeout(timeout * len(dsn.hosts)):
                return await psycopg.AsyncConnection.connect(**arguments)
        except psycopg.errors.ConnectionTimeout as error:
            raise TimeoutError from error
        except psycopg.Error as error:
            if "unsupported startup parameter" in str(error):
                raise
            await _raise_reason(dsn, timeout, server_settings)
            raise

    return connect


async def _raise_reason(dsn: Dsn, seconds: float, server_settings: Mapping[str, str]) -> None:
    """Raise the error that asyncpg connects with; nothing where it succeeds."""
    connection = await asyncpg.connect(**dsn.connect_args(), timeout=seconds, server_settings=dict(server_settings))
    connection.terminate()


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
    }
    for option in pq.Conninfo.get_defaults():
        name, variable = option.keyword.decode(), (option.envvar or b"").decode()
        if variable in os.environ and name not in (*arguments, "service", "password"):
            arguments[name] = _NEUTRAL.get(name, (option.compiled or b"").decode())
    return {**arguments, "password": dsn.password or ""}


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
        "sslcrl": _NO_FILE,
        "sslpassword": "",
    }

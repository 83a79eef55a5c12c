"""A DSN as a value: where the database is, without its password ever standing in a printable place."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from service_migrations.settings.tls import tls_context

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Dsn", "server_options"]

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Dsn:
    """One PostgreSQL database and how to reach it."""

    user: str
    database: str
    hosts: tuple[tuple[str, int], ...]
    password: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def url(self) -> "URL":
        """The URL for an async engine, without the password: an engine prints its URL."""
        from sqlalchemy import URL  # noqa: PLC0415 - a sixth of the time of a command that has nothing to do

        host, port = self.hosts[0]
        return URL.create("postgresql+asyncpg", self.user, None, host, port, self.database)

    @property
    def target(self) -> str:
        """What a person is told of it: ``app@localhost:5432/billing``."""
        return f"{self.user}@{self._places(socket_safe='/')}/{self.database}"

    @property
    def identity(self) -> tuple[object, ...]:
        """What is equal for two DSNs of one database, whoever connects and by whichever name of this machine."""
        return (self.server, self.database)

    @property
    def server(self) -> frozenset[tuple[str, int]]:
        """What is equal for two DSNs of one server."""
        return frozenset(("localhost" if host in _LOCAL else host.lower(), port) for host, port in self.hosts)

    @property
    def is_local(self) -> bool:
        """Whether every host is this machine."""
        return all(host in _LOCAL or host.startswith("/") for host, _ in self.hosts)

    @property
    def connect_timeout(self) -> float:
        """The DSN's own ``connect_timeout`` in seconds, 0 where it has none."""
        return float(self.parameters.get("connect_timeout", 0))

    @property
    def server_settings(self) -> dict[str, str]:
        """The server parameters that the DSN itself asks for (``options``, ``application_name``)."""
        found = dict(server_options(self.parameters.get("options", "")))
        if "application_name" in self.parameters:
            found["application_name"] = self.parameters["application_name"]
        return found

    def connect_args(self) -> dict[str, Any]:
        """Return what asyncpg's ``connect()`` is called with.

        The password travels as a callable, so that no repr of a parameter can show it; a missing one is
        empty rather than absent, since asyncpg would look into PGPASSWORD and ``~/.pgpass`` for it.
        """
        # first, since it may fail, and a report with the frame's variables would show the secret
        # of several hosts one may be a socket, on which there is no TLS, and the next one not
        tls = False if all(host.startswith("/") for host, _ in self.hosts) else tls_context(self.parameters)
        secret = self.password or ""
        return {
            "host": [host for host, _ in self.hosts],
            "port": [port for _, port in self.hosts],
            "user": self.user,
            "database": self.database,
            "password": lambda: secret,
            "ssl": tls,
            "direct_tls": False,  # asyncpg would look into PGSSLNEGOTIATION for it
            "target_session_attrs": self.parameters.get("target_session_attrs", "any"),
        }

    def masked(self) -> str:
        """Return the DSN as ``db.env`` prints it."""
        user = quote(self.user, safe="") + (":***" if self.password else "")
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in self.parameters.items())
        return f"postgresql://{user}@{self._places()}/{quote(self.database, safe='')}" + (f"?{query}" if query else "")

    def _places(self, socket_safe: str = "") -> str:
        """Return the hosts with their ports, as a DSN has them: an IPv6 address in brackets, a socket escaped."""
        hosts = ((f"[{host}]" if ":" in host else quote(host, safe=socket_safe), port) for host, port in self.hosts)
        return ",".join(f"{host}:{port}" for host, port in hosts)


def server_options(text: str) -> list[tuple[str, str]]:
    """Parse libpq's ``options``: ``-c name=value``, ``-cname=value`` or ``--name=value``.

    Raises:
        ValueError: it is something else.

    """
    found = []
    words = iter(shlex.split(text))
    for word in words:
        if word == "-c":
            setting = next(words, "")
        elif word.startswith(("--", "-c")):
            setting = word[2:]
        else:
            raise ValueError(word)
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(word)
        found.append((name.replace("-", "_"), value))
    return found

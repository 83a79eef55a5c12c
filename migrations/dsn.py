"""A DSN, parsed once: where the database is, without its password ever standing in a printable place."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote

from migrations.errors import ConfigurationError
from migrations.tls import SSLMODES, check_tls, tls_context

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Dsn", "parse"]

_PARAMETERS = frozenset(
    {
        "application_name",
        "connect_timeout",
        "host",
        "options",
        "port",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
    }
)
"""What is understood of libpq's parameters (documentation, 34.1.2 Parameter Key Words)."""

_SESSION_ATTRS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
_DIALECTS = ("postgres", "postgresql")
_DEFAULT_PORT = 5432
_LOCAL = ("localhost", "127.0.0.1", "::1")
_SHAPE = "postgresql://user:password@host:5432/database"
_URL = re.compile(
    r"[^:]+://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
"""What SQLAlchemy's ``make_url`` takes, and libpq's several hosts beside it (documentation, 34.1.1.2)."""


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
        found = dict(_server_options(self.parameters.get("options", "")))
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


def parse(text: str, where: str) -> Dsn:
    """Parse a DSN; *where* is what an error message begins with, such as ``services/billing/.env: DATABASE_DSN``.

    No message repeats the text: it holds a password.

    Raises:
        ConfigurationError: it is no URL, not PostgreSQL's, lacks a part, or has a parameter that isn't understood.

    """
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigurationError(f"{where} is no URL. Write it as {_SHAPE}.")
    if scheme.partition("+")[0] not in _DIALECTS:
        raise ConfigurationError(f"{where} is for {scheme!r}, not for PostgreSQL. Write it as {_SHAPE}.")
    if re.search(r"<\w+>", text):
        raise ConfigurationError(f"{where} still holds the example's <placeholders>. Fill them in, or run `inv up`.")
    if rest.count("@") > 1:
        # the rest of the password would be taken for a host, and the resolver would send it out
        raise ConfigurationError(
            f"{where} holds an unescaped '@'. Write it as %40, or give the password apart as DATABASE_PASSWORD."
        )
    match = _URL.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{where} is no URL. Write it as {_SHAPE}.")
    user, password, database = (part and unquote(part) for part in match.group("user", "password", "database"))
    query: dict[str, str] = {}
    for key, value in parse_qsl(match["query"] or ""):
        query[key] = f"{query[key]},{value}" if key in query else value
    _check_parameters(query, where)
    hosts, _, port = match["hosts"].rpartition(":") if match["hosts"].startswith(":") else (match["hosts"], "", "")
    hosts = unquote(hosts) or query.pop("host", "")  # %2Ftmp is a socket
    ports = query.pop("port", "") or port or str(_DEFAULT_PORT)
    for part, value in (("host", hosts), ("database", database), ("user", user)):
        if not value:
            raise ConfigurationError(f"{where} names no {part}. Write it as {_SHAPE}.")
    return Dsn(
        user=user or "",
        database=database or "",
        hosts=_places(hosts, ports, where),
        password=password,
        parameters=MappingProxyType(query),
    )


def _places(hosts: str, ports: str, where: str) -> tuple[tuple[str, int], ...]:
    names = hosts.split(",")
    numbers = ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise ConfigurationError(f"{where} names {len(names)} hosts and {len(numbers)} ports. Give each host its port.")
    places = []
    for name, number in zip(names, numbers, strict=True):
        match = re.fullmatch(
            r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*?)(?::(\d+))?", name
        )
        port = (match[2] if match else None) or number
        if not match or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - 16 bits
            raise ConfigurationError(
                f"{where} names a host or a port that can't be (is its port a number?). Write it as {_SHAPE}."
            )
        places.append((match[1].strip("[]"), int(port)))
    return tuple(places)


def _check_parameters(query: Mapping[str, str], where: str) -> None:
    for key in query:
        if key not in _PARAMETERS:
            raise ConfigurationError(
                f"{where} has the parameter {key!r}, which isn't understood here. "
                f"Understood: {', '.join(sorted(_PARAMETERS))}."
            )
    for key, allowed in (("sslmode", SSLMODES), ("target_session_attrs", _SESSION_ATTRS)):
        if query.get(key, allowed[0]) not in allowed:
            raise ConfigurationError(f"{where}: {key}={query[key]} isn't one of {', '.join(allowed)}.")
    if not query.get("connect_timeout", "0").isdecimal():
        raise ConfigurationError(
            f"{where}: connect_timeout={query['connect_timeout']} isn't a whole number of seconds."
        )
    check_tls(query, where)
    try:
        list(_server_options(query.get("options", "")))
    except ValueError:
        raise ConfigurationError(f"{where}: options isn't of the form '-c name=value -c name=value'.") from None


def _server_options(text: str) -> list[tuple[str, str]]:
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

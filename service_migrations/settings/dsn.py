"""A DSN: a value without its password in its repr, parsed from a URI, with its hosts and its TLS."""

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from service_migrations.errors import ConfigurationError
from service_migrations.files import refuse_irregular
from service_migrations.settings.libpq import parameters as read_parameters, server_options

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["CONTROL", "PARTS", "Dsn", "parse", "tls_context"]

_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def tls_context(parameters: Mapping[str, str]) -> Any:
    """Return asyncpg's ``ssl``, which never falls back to a connection without TLS where TLS is required.

    ``require`` encrypts without verifying the certificate, except where a root certificate is given
    (as libpq does: documentation, 34.19.1); without ``sslrootcert``, verification uses the system's.
    """
    mode = parameters.get("sslmode", "prefer")
    if mode == "disable":
        return False
    if mode in ("allow", "prefer"):
        return mode
    import ssl  # noqa: PLC0415 - most local databases never need it

    root_certificate = parameters.get("sslrootcert")
    certificates = [parameters[key] for key in _FILES if key in parameters and parameters[key] != "system"]
    verify = mode in ("verify-ca", "verify-full") or bool(root_certificate)
    try:
        for path in certificates:
            refuse_irregular(path)
        context = ssl.create_default_context(cafile=None if root_certificate in (None, "system") else root_certificate)
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        # Python 3.13 verifies more of an authority's certificate than libpq and older Pythons
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if "sslcert" in parameters:
            # without this argument, OpenSSL would ask on the terminal for the password of an encrypted key
            context.load_cert_chain(parameters["sslcert"], parameters.get("sslkey"), password="")
        if "sslcrl" in parameters:
            context.load_verify_locations(cafile=parameters["sslcrl"])
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    except OSError as error:
        names = ", ".join(f"{key}={parameters[key]}" for key in _FILES if key in parameters)
        raise ConfigurationError(f"The certificate files of the DSN can't be read ({names}): {error}.") from error
    for key, end in (("ssl_min_protocol_version", "minimum_version"), ("ssl_max_protocol_version", "maximum_version")):
        if key in parameters:
            setattr(context, end, ssl.TLSVersion[parameters[key].replace(".", "_")])
    return context


_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Dsn:
    """A PostgreSQL database, and how to connect to it."""

    user: str
    database: str
    hosts: tuple[tuple[str, int], ...]
    password: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    has_escapes: bool = field(default=False, repr=False, compare=False)
    """Whether the password had a % in the text that was parsed."""
    password_source: Callable[[], Awaitable[str]] | None = field(default=None, repr=False, compare=False)
    """A coroutine function that returns the password of a new connection, where it may expire."""

    @property
    def url(self) -> "URL":
        """The URL for an async engine, without the password: an engine prints its URL."""
        from sqlalchemy import URL  # noqa: PLC0415 - a sixth of the time of a command that has nothing to do

        host, port = self.hosts[0]
        return URL.create("postgresql+asyncpg", self.user, None, host, port, self.database)

    @property
    def target(self) -> str:
        """The database as messages name it: ``app@localhost:5432/billing``."""
        return f"{self.user}@{self._addresses(socket_safe='/:')}/{self.database}"

    @property
    def identity(self) -> tuple[object, ...]:
        """A value that is equal for two DSNs of one database, whatever role and name of this machine they use."""
        return (self.server, self.database)

    @property
    def server(self) -> frozenset[tuple[str, int]]:
        """A value that is equal for two DSNs of one server."""
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
        """The server parameters that the DSN sets (``options``, ``application_name``)."""
        settings = dict(server_options(self.parameters.get("options", "")))
        if "application_name" in self.parameters:
            settings["application_name"] = self.parameters["application_name"]
        return settings

    async def current_password(self) -> str:
        """Return the password of a connection that is opened now; empty where there is none.

        Raises:
            MigrationError: the command or function that returns it fails.

        """
        if self.password_source:
            return await self.password_source()
        return self.password or ""

    def connect_args(self) -> dict[str, Any]:
        """Return the arguments of asyncpg's ``connect()``.

        The password is a callable, so that no repr of an argument shows it, and each connection gets one that hasn't
        expired; a missing one is empty, since asyncpg would otherwise read PGPASSWORD and ``~/.pgpass``.
        """
        # before the password: it may fail, and a report with the frame's variables would show the secret
        # of several hosts some may be sockets, which have no TLS
        tls = False if all(host.startswith("/") for host, _ in self.hosts) else tls_context(self.parameters)
        secret, hosts = self.password or "", list(self.hosts)
        if self.parameters.get("load_balance_hosts") == "random":
            random.shuffle(hosts)

        def constant() -> str:
            return secret

        return {
            "host": [host for host, _ in hosts],
            "port": [port for _, port in hosts],
            "user": self.user,
            "database": self.database,
            "password": self.password_source or constant,
            "ssl": tls,
            "direct_tls": False,  # asyncpg would otherwise read PGSSLNEGOTIATION
            "target_session_attrs": self.parameters.get("target_session_attrs", "any"),
        }

    def masked(self) -> str:
        """Return the DSN as ``db.env`` prints it."""
        user = quote(self.user, safe="") + (":***" if self.password or self.password_source else "")
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in self.parameters.items())
        return f"postgresql://{user}@{self._addresses()}/{quote(self.database, safe='')}" + (
            f"?{query}" if query else ""
        )

    def uri(self) -> str:
        """Return the DSN with its password, as for libpq, drivers and .env files; it is never printed."""
        return self.masked().replace(":***@", f":{quote(self.password or '', safe='')}@", 1)

    def _addresses(self, socket_safe: str = "") -> str:
        """Return the hosts with their ports as in a DSN: an IPv6 address in brackets, a socket escaped."""
        hosts = (
            (f"[{host}]" if ":" in host and host[0] != "/" else quote(host, safe=socket_safe), port)
            for host, port in self.hosts
        )
        return ",".join(f"{host}:{port}" for host, port in hosts)


CONTROL = re.compile(r"[\x00-\x08\n-\x1f\x7f]")
"""Characters that are never meant to be in a DSN or a password: the line end of a mounted secret, a %00; not a tab."""

_DIALECTS = ("postgres", "postgresql")
_DEFAULT_PORT = 5432
_SHAPE = "postgresql://user:password@host:5432/database"
PARTS = re.compile(
    r"[^:]+://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
"""The syntax of SQLAlchemy's ``make_url``, with several hosts as in libpq (documentation, 34.1.1.2)."""


_VARIABLE = re.compile(r"\$\{\w+(?::?[-?+=][^}]*)?\}")
_PASSWORD = re.compile(r"(?:password|passwd|pwd)\s*=", re.IGNORECASE)
_BARE_VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]*")


def parse(text: str, prefix: str) -> Dsn:
    """Parse a DSN.

    No message repeats the text: it contains a password.

    Args:
        text: the DSN.
        prefix: the start of an error message, such as ``services/billing/.env: DATABASE_DSN``.

    Raises:
        ConfigurationError: the text is no URL, not one of PostgreSQL, lacks a part, or has an unknown parameter.

    """
    text = text.strip()
    if CONTROL.search(unquote(text)):
        raise ConfigurationError(f"{prefix} holds a control character, such as a line end or %00.", hint="Remove it.")
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{prefix} holds an escape that is no UTF-8, such as %E9 for é.",
            hint="Write é as %C3%A9, and a % itself as %25.",
        ) from None
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigurationError(f"{prefix} is no URL.", hint=f"Write it as {_SHAPE}.")
    if scheme.partition("+")[0] not in _DIALECTS:
        raise ConfigurationError(f"{prefix} is for {scheme!r}, not for PostgreSQL.", hint=f"Write it as {_SHAPE}.")
    if re.search(r"<\w+>", text):
        raise ConfigurationError(
            f"{prefix} still holds the example's <placeholders>.",
            hint="Fill them in, or remove the file and run `inv up`.",
        )
    if rest.count("@") > 1:
        # the rest of the password would become the host, and the resolver would send it over the network
        raise ConfigurationError(
            f"{prefix} holds an unescaped '@'.",
            hint="Write it as %40, or give the password apart as DATABASE_PASSWORD.",
        )
    match = PARTS.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{prefix} is no URL.", hint=f"Write it as {_SHAPE}.")
    _refuse_variables(match, prefix)
    _refuse_lost_password(match, prefix)
    user, password, database = (part and unquote(part) for part in match.group("user", "password", "database"))
    query = read_parameters(match["query"] or "", prefix)
    host, port = _host_and_port(match["hosts"])
    # as with libpq, a parameter wins over the part before the path
    hosts = query.pop("host", "") or unquote(host)  # %2Ftmp is a socket
    ports = query.pop("port", "") or port or str(_DEFAULT_PORT)
    for part, value in (("host", hosts), ("database", database), ("user", user)):
        if not value:
            raise ConfigurationError(f"{prefix} names no {part}.", hint=f"Write it as {_SHAPE}.")
    return Dsn(
        user=user or "",
        database=database or "",
        hosts=_hosts(hosts, ports, prefix),
        password=password,
        parameters=MappingProxyType(query),
        has_escapes="%" in (match["password"] or ""),
    )


def _refuse_variables(match: re.Match[str], prefix: str) -> None:
    """Refuse what a shell or Compose would have replaced; in a password, only where it is all of it."""
    parts = " ".join(filter(None, match.group("user", "hosts", "database", "query")))
    variable = (
        _VARIABLE.search(parts)
        or _VARIABLE.fullmatch(match["password"] or "")
        or _BARE_VARIABLE.search(match["hosts"] or "")  # no host has a dollar; a name may
    )
    if variable:
        raise ConfigurationError(
            f"{prefix} holds {variable[0]}, and nothing is interpolated.",
            hint="Write the value itself, or set the whole DSN in the environment.",
        )


def _refuse_lost_password(match: re.Match[str], prefix: str) -> None:
    """Refuse a password parameter that a wrong separator has made a part of something else, which is shown."""
    values = [item.partition("=")[2] for item in (match["query"] or "").split("&")]
    parts = filter(None, [*match.group("user", "hosts", "database"), *values])
    if any(_PASSWORD.search(unquote(part)) for part in parts):
        raise ConfigurationError(
            f"{prefix} has a password parameter inside of something else.",
            hint="Begin the parameters with ? and separate them with &.",
        )


def _host_and_port(hosts: str) -> tuple[str, str]:
    """Return a single host and its port, or all hosts as they are."""
    # the folder of a socket may have colons, so that only a number behind the last one is a port
    is_socket = unquote(hosts).startswith("/")
    match = re.fullmatch(r"([^,]*?)(?::(\d+))?" if is_socket else r"(\[[^\]]*\]|[^:,]*)(?::([^,]*))?", hosts)
    return (match[1], match[2] or "") if match else (hosts, "")


def _hosts(hosts: str, ports: str, prefix: str) -> tuple[tuple[str, int], ...]:
    names = hosts.split(",")
    numbers = ports.split(",")
    if len(numbers) == 1:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise ConfigurationError(
            f"{prefix} names {len(names)} hosts and {len(numbers)} ports.", hint="Give each host its port."
        )
    addresses = []
    for name, number in zip(names, numbers, strict=True):
        host, port = name, number
        if not name.startswith("/") or not number.isdecimal():  # a socket's folder may have colons, as Cloud SQL's has
            match = re.fullmatch(
                r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*?)(?::(\d+))?", name
            )
            host, port = (match[1].strip("[]"), match[2] or number) if match else ("", number)
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - 16 bits
            raise ConfigurationError(
                f"{prefix} names a host or a port that can't be (is its port a number?).", hint=f"Write it as {_SHAPE}."
            )
        addresses.append((host, int(port)))
    return tuple(addresses)

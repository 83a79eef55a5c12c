"""A connection URI, as libpq calls the text of a DSN: parsed once, and what isn't understood is refused by name."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from service_migrations.errors import ConfigurationError
from service_migrations.settings._m_dsn import Dsn, server_options
from service_migrations.settings.tls import SSLMODES, check_tls

__all__ = ["CONTROL", "parse"]

CONTROL = re.compile(r"[\x00-\x08\n-\x1f\x7f]")
"""What stands in no DSN and in no password by intent: the line end of a mounted secret, a %00; not a tab."""

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
_SHAPE = "postgresql://user:password@host:5432/database"
_URL = re.compile(
    r"[^:]+://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
"""What SQLAlchemy's ``make_url`` takes, and libpq's several hosts beside it (documentation, 34.1.1.2)."""


def parse(text: str, where: str) -> Dsn:
    """Parse a DSN; *where* is what an error message begins with, such as ``services/billing/.env: DATABASE_DSN``.

    No message repeats the text: it holds a password.

    Raises:
        ConfigurationError: it is no URL, not PostgreSQL's, lacks a part, or has a parameter that isn't understood.

    """
    text = text.strip()
    if CONTROL.search(unquote(text)):
        raise ConfigurationError(f"{where} holds a control character, such as a line end or %00. Remove it.")
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigurationError(f"{where} is no URL. Write it as {_SHAPE}.")
    if scheme.partition("+")[0] not in _DIALECTS:
        raise ConfigurationError(f"{where} is for {scheme!r}, not for PostgreSQL. Write it as {_SHAPE}.")
    if re.search(r"<\w+>", text):
        raise ConfigurationError(
            f"{where} still holds the example's <placeholders>. Fill them in, or remove the file and run `inv up`."
        )
    if rest.count("@") > 1:
        # the rest of the password would be taken for a host, and the resolver would send it out
        raise ConfigurationError(
            f"{where} holds an unescaped '@'. Write it as %40, or give the password apart as DATABASE_PASSWORD."
        )
    match = _URL.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{where} is no URL. Write it as {_SHAPE}.")
    user, password, database = (part and unquote(part) for part in match.group("user", "password", "database"))
    query = _parameters(match["query"] or "", where)
    single = re.fullmatch(r"(\[[^\]]*\]|[^:,]*)(?::([^,]*))?", match["hosts"])
    host, port = single.groups() if single else (match["hosts"], "")
    # as with libpq, a parameter beats what stands before the path
    hosts = query.pop("host", "") or unquote(host)  # %2Ftmp is a socket
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


def _parameters(text: str, where: str) -> dict[str, str]:
    query: dict[str, str] = {}
    # for libpq a plus is a plus, unlike for a browser
    for key, value in parse_qsl(text.replace("+", "%2B"), keep_blank_values=True):
        if key not in _PARAMETERS:
            raise ConfigurationError(
                f"{where} has the parameter {key!r}, which isn't understood here. "
                f"Understood: {', '.join(sorted(_PARAMETERS))}."
            )
        if not value:
            # an unset variable in ?sslmode=${X} must not turn TLS off
            raise ConfigurationError(f"{where}: {key} is empty. Give it a value, or remove it.")
        query[key] = f"{query[key]},{value}" if key in query else value
    _check_values(query, where)
    return query


def _check_values(query: Mapping[str, str], where: str) -> None:
    for key, allowed in (("sslmode", SSLMODES), ("target_session_attrs", _SESSION_ATTRS)):
        if query.get(key, allowed[0]) not in allowed:
            raise ConfigurationError(f"{where}: {key}={query[key]} isn't one of {', '.join(allowed)}.")
    if not query.get("connect_timeout", "0").isdecimal():
        raise ConfigurationError(
            f"{where}: connect_timeout={query['connect_timeout']} isn't a whole number of seconds."
        )
    check_tls(query, where)
    try:
        list(server_options(query.get("options", "")))
    except ValueError:
        raise ConfigurationError(f"{where}: options isn't of the form '-c name=value -c name=value'.") from None

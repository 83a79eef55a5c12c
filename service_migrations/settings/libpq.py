"""The parameters behind the ``?`` of a DSN: which are honoured, which mean nothing here, and which are refused.

The keywords are those of libpq (documentation of PostgreSQL 18, 34.1.2 Parameter Key Words), and those that the
dialects of SQLAlchemy take from a URL. What protects or chooses a connection is never passed over.
"""

import re
import shlex
from collections.abc import Mapping
from urllib.parse import parse_qsl

from service_migrations.errors import ConfigurationError

__all__ = ["HONOURED", "PASSED_OVER", "REFUSED", "SSLMODES", "parameters", "server_options"]

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SSLMODES_WITHOUT_PROOF = SSLMODES[:3]
_SESSION_ATTRS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")

_ANY = r".*"
_NUMBER = r"-?\d+"
_PROTOCOL = r"TLSv1(\.[123])?"

HONOURED: Mapping[str, str] = {
    "application_name": _ANY,
    "connect_timeout": r"\d+",
    "host": _ANY,
    "load_balance_hosts": "disable|random",
    "options": _ANY,
    "port": _ANY,
    "ssl_max_protocol_version": _PROTOCOL,
    "ssl_min_protocol_version": _PROTOCOL,
    "sslcert": _ANY,
    "sslcrl": _ANY,
    "sslkey": _ANY,
    "sslmode": "|".join(SSLMODES),
    "sslrootcert": _ANY,
    "target_session_attrs": "|".join(_SESSION_ATTRS),
}
"""The parameters with libpq's meaning, and a pattern of their values."""

_EXPECTED = {
    "connect_timeout": "a whole number of seconds",
    "sslmode": f"one of {', '.join(SSLMODES)}",
    "target_session_attrs": f"one of {', '.join(_SESSION_ATTRS)}",
    "load_balance_hosts": "disable or random",
    "ssl_max_protocol_version": "a version such as TLSv1.3",
    "ssl_min_protocol_version": "a version such as TLSv1.3",
}

PASSED_OVER: Mapping[str, tuple[str, str]] = {
    "channel_binding": (
        "disable|prefer",
        "asyncpg binds no channel: write channel_binding=prefer, and sslmode=verify-full against a wrong server",
    ),
    "client_encoding": (r"(?i:utf-?_?8|unicode|auto)", "a migration speaks UTF-8"),
    "fallback_application_name": (_ANY, ""),
    "gssdelegation": ("0", "Kerberos is not supported here"),
    "gssencmode": ("disable|prefer", "asyncpg encrypts with TLS only"),
    "keepalives": ("[01]", "write 0 or 1"),
    "keepalives_count": (_NUMBER, "write a whole number"),
    "keepalives_idle": (_NUMBER, "write a whole number"),
    "keepalives_interval": (_NUMBER, "write a whole number"),
    "krbsrvname": ("postgres", "Kerberos is not supported here"),
    "max_protocol_version": (r"3\.\d|latest", "write 3.0 or leave it out"),
    "min_protocol_version": (r"3\.0", "asyncpg speaks version 3.0"),
    "replication": ("(?i:false|off|no|0)", "a connection for replication runs no migrations"),
    "sslcertmode": ("allow", "leave it out; without sslcert no certificate is sent"),
    "sslcompression": ("[01]", "write 0 or 1"),
    "sslnegotiation": ("postgres", "write sslnegotiation=postgres"),
    "sslsni": ("1", "the name of the server is always sent"),
    "tcp_user_timeout": (_NUMBER, "write a whole number"),
    # asyncpg's and psycopg's own arguments, which SQLAlchemy takes from a URL
    "async_fallback": (_ANY, ""),
    "command_timeout": (_ANY, ""),
    "max_cacheable_statement_size": (_ANY, ""),
    "max_cached_statement_lifetime": (_ANY, ""),
    "prepare_threshold": (_ANY, ""),
    "prepared_statement_cache_size": (_ANY, ""),
    "statement_cache_size": (_ANY, ""),
    "timeout": (_ANY, ""),
}
"""The parameters that mean nothing for a migration: a pattern of the values for which that is so, and what to do."""

_APART = "Give it as DATABASE_PASSWORD, or before the @"
_SERVICE = "Write the values themselves: no file of libpq's is read"
_KERBEROS = "Kerberos is not supported here"
_OAUTH = "DATABASE_PASSWORD_COMMAND gets a token"

REFUSED: Mapping[str, str] = {
    "connection_limit": "Leave it out: a migration has no pool",
    "dbname": "Write the database behind the /",
    "gsslib": _KERBEROS,
    "hostaddr": "Write the address as the host",
    "oauth_client_id": _OAUTH,
    "oauth_client_secret": _OAUTH,
    "oauth_issuer": _OAUTH,
    "oauth_scope": _OAUTH,
    "passfile": "DATABASE_PASSWORD_FILE names a file that holds the password",
    "password": _APART,
    "pgbouncer": "DATABASE_DIRECT_DSN names the server itself",
    "pool_timeout": "Leave it out: a migration has no pool",
    "requirepeer": "The owner of a socket can't be checked here",
    "require_auth": "Leave it out: sslmode=verify-full keeps a wrong server from asking for the password",
    "schema": "MIGRATIONS_SEARCH_PATH names the schema",
    "scram_client_key": _APART,
    "scram_server_key": _APART,
    "search_path": "MIGRATIONS_SEARCH_PATH names the schema",
    "service": _SERVICE,
    "servicefile": _SERVICE,
    "sslcrldir": "Write the file of revoked certificates as sslcrl",
    "sslkeylogfile": "Leave it out",
    "sslpassword": "Use a key without a password",
    "user": "Write the role before the @",
}
"""The parameters that can't be honoured, and what to do instead."""

_ALIASES = {"ssl": "sslmode"}
"""asyncpg's name of a parameter, and libpq's."""

_NEEDS_PROOF = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version")


def parameters(text: str, prefix: str) -> dict[str, str]:
    """Return the honoured parameters of a query string.

    Raises:
        ConfigurationError: a parameter is unknown, can't be honoured, or has a wrong value.

    """
    given: dict[str, str] = {}
    # libpq keeps a plus, unlike a browser
    for key, value in parse_qsl(text.replace("+", "%2B"), keep_blank_values=True):
        if key not in HONOURED and key not in PASSED_OVER and key not in _ALIASES:
            _refuse(key, prefix)
        if not value:
            # an unset variable in ?sslmode=${X} must not turn TLS off
            raise ConfigurationError(f"{prefix}: {key} is empty.", hint="Give it a value, or remove it.")
        given[key] = f"{given[key]},{value}" if key in given else value
    for alias, key in _ALIASES.items():
        if alias in given and given.setdefault(key, given[alias]) != given.pop(alias):
            raise ConfigurationError(f"{prefix}: {alias} and {key} differ.", hint=f"Leave {alias} out.")
    for key in PASSED_OVER.keys() & given.keys():
        pattern, advice = PASSED_OVER[key]
        value = given.pop(key)
        if not re.fullmatch(pattern, value):
            raise ConfigurationError(f"{prefix}: {key}={value} can't be honoured: {advice}.")
    _check_values(given, prefix)
    return given


def _refuse(key: str, prefix: str) -> None:
    if key in REFUSED:
        raise ConfigurationError(
            f"{prefix} has the parameter {key!r}, which can't be honoured here.", hint=f"{REFUSED[key]}."
        )
    # what is no name may be a part of a password, of which a separator is missing
    shown = f"the parameter {key!r}, which" if re.fullmatch(r"\w+", key) else "a parameter that"
    raise ConfigurationError(
        f"{prefix} has {shown} isn't understood here.",
        hint=f"Understood: {', '.join(sorted([*HONOURED, *PASSED_OVER]))}.",
    )


def _check_values(query: Mapping[str, str], prefix: str) -> None:
    for key, value in query.items():
        if not re.fullmatch(HONOURED[key], value, re.DOTALL):
            raise ConfigurationError(f"{prefix}: {key}={value} isn't {_EXPECTED[key]}.")
    _check_tls(query, prefix)
    try:
        list(server_options(query.get("options", "")))
    except ValueError:
        raise ConfigurationError(f"{prefix}: options isn't of the form '-c name=value -c name=value'.") from None


def _check_tls(query: Mapping[str, str], prefix: str) -> None:
    """Refuse certificates and versions that have no effect: whoever names one relies on them."""
    mode = query.get("sslmode", "prefer")
    for key in _NEEDS_PROOF:
        if key in query and mode in _SSLMODES_WITHOUT_PROOF:
            raise ConfigurationError(
                f"{prefix}: {key} has no effect with sslmode={mode}.", hint="Set sslmode=verify-full."
            )
    if query.get("sslrootcert") == "system" and mode != "verify-full":
        # anybody gets a certificate of some authority: libpq refuses it too (documentation, 34.1.2)
        raise ConfigurationError(f"{prefix}: sslrootcert=system needs sslmode=verify-full.")
    if "sslcrl" in query and mode == "require" and "sslrootcert" not in query:
        raise ConfigurationError(
            f"{prefix}: sslcrl has no effect with sslmode=require and no sslrootcert.", hint="Set sslmode=verify-full."
        )
    oldest, newest = (query.get(f"ssl_{end}_protocol_version", "") for end in ("min", "max"))
    if oldest and newest and oldest > newest:
        raise ConfigurationError(f"{prefix}: ssl_min_protocol_version is above ssl_max_protocol_version.")


def server_options(text: str) -> list[tuple[str, str]]:
    """Parse libpq's ``options``: ``-c name=value``, ``-cname=value`` or ``--name=value``.

    Raises:
        ValueError: the text has another form.

    """
    options = []
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    # for the server a double quote is a part of the value: search_path="Sales" is another schema without it
    lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escapedquotes = True, "", "'", ""
    words = iter(list(lexer))
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
        options.append((name.replace("-", "_"), value))
    return options

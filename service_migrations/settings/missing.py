"""The errors of a DSN that is missing, with what the .env files have instead of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from service_migrations.configuration import TABLE
from service_migrations.errors import ConfigurationError
from service_migrations.files import is_there
from service_migrations.pyproject import FILE
from service_migrations.service import Service
from service_migrations.settings.env_file import Assignment
from service_migrations.settings.template import Variable

__all__ = ["dsn_missing", "meant_key", "similar_key", "variables_missing"]

_TYPO, _NEAR = 0.8, 0.9
_OURS = "MIGRATION"
_URL = re.compile(r"postgres(ql)?(\+\w+)?://")
_PARTS = {
    **dict.fromkeys(("HOST", "HOSTNAME", "SERVER"), "host"),
    "PORT": "port",
    **dict.fromkeys(("USER", "USERNAME"), "user"),
    **dict.fromkeys(("PASSWORD", "PASS"), "password"),
    **dict.fromkeys(("DB", "DBNAME", "DB_NAME", "NAME", "DATABASE"), "database"),
}
"""The part of a DSN by the word for it at the end of a variable's name."""
_PART = re.compile(
    # the shortest prefix: that of POSTGRES_DBNAME is POSTGRES_
    rf"(?P<prefix>(?:\w*?_)??(?:POSTGRES(?:QL)?|PG|DB|DATABASE|SQL)_?)(?P<part>{'|'.join(_PARTS)})"
)


def dsn_missing(service: Service, lines: Sequence[Assignment]) -> ConfigurationError:
    """Return the error of a service without a DSN.

    Args:
        service: the service.
        lines: the assignments of its .env files.

    """
    path, key = service.relative(service.env_file), service.dsn_key or "DATABASE_DSN"
    set_variable = f"set {service.env_prefix}{key}"
    if not is_there(service.env_file) and not lines:
        return ConfigurationError(
            f"{path} does not exist, so {key} is missing.", path=path, hint=_first_steps(service, set_variable)
        )
    if similar := similar_key(service, lines):
        hint = f"See .env.example, or {set_variable}."
        return ConfigurationError(f"{key} is missing (is {similar} a typo?).", path=path, hint=hint)
    if proposal := _proposal(lines):
        hint = f"Write {proposal} into [tool.{TABLE}] of {FILE}, or {set_variable}."
        return ConfigurationError(f"{key} is missing.", path=path, hint=hint)
    return ConfigurationError(f"{key} is missing.", path=path, hint=f"See .env.example, or {set_variable}.")


def similar_key(service: Service, lines: Sequence[Assignment]) -> str | None:
    """Return the key that is nearly the one of the DSN, which was probably meant; None where there is none."""
    key = service.dsn_key or "DATABASE_DSN"
    # DATABASE_USER and so on are a part each, however near they are
    keys = [line.key for line in lines if not _PART.fullmatch(line.key)]
    return next(iter(get_close_matches(key, keys, cutoff=_TYPO)), None)


def meant_key(key: str, keys: Iterable[str]) -> str | None:
    """Return which of *keys* another one is nearly, where it can't be a team's own; None for none."""
    return next(iter(get_close_matches(key, keys, cutoff=_NEAR)), None) if key.startswith(_OURS) else None


def variables_missing(service: Service, variables: Iterable[Variable], place: str) -> ConfigurationError:
    """Return the error of a template whose variables aren't set."""
    path, keys = service.relative(service.env_file), [variable.key for variable in variables]
    names, verb = " and ".join(keys), "is" if len(keys) == 1 else "are"
    prefixed = " and ".join(service.env_prefix + key for key in keys)
    if not is_there(service.env_file):
        text = f"{path} does not exist, so {names} {verb} missing, which {place} of {FILE} names."
        return ConfigurationError(text, path=path, hint=_first_steps(service, f"set {prefixed}"))
    text = f"{names} {verb} missing, which {place} of {FILE} names."
    return ConfigurationError(text, path=path, hint=f"Add {'it' if len(keys) == 1 else 'them'}, or set {prefixed}.")


def _first_steps(service: Service, set_variable: str) -> str:
    if service.environment or service.is_env_file_given:
        return f"S{set_variable[1:]}."
    return f"Copy .env.example there, {set_variable}, or run `inv up`."


def _proposal(lines: Sequence[Assignment]) -> str | None:
    """Return the line of the table with which the variables of the .env files are used; None where none are."""
    for line in lines:
        if line.value and _URL.match(line.value):
            return f'dsn_key = "{line.key}"'
    by_prefix: dict[str, dict[str, str]] = {}
    for line in lines:
        if match := _PART.fullmatch(line.key):
            by_prefix.setdefault(match["prefix"], {}).setdefault(_PARTS[match["part"]], line.key)
    known = [parts for parts in by_prefix.values() if len(parts) > 1 and parts.keys() & {"user", "password"}]
    return f'dsn = "{_template(max(known, key=len))}"' if known else None


def _template(parts: Mapping[str, str]) -> str:
    user = f"{{{parts['user']}}}" if "user" in parts else "{name}"
    password = f":{{{parts['password']}}}" if "password" in parts else ""
    host = f"{{{parts['host']}}}" if "host" in parts else "localhost"
    port = f":{{{parts['port']}}}" if "port" in parts else ""
    database = f"{{{parts['database']}}}" if "database" in parts else "{name}"
    return f"postgresql://{user}{password}@{host}{port}/{database}"

"""``[tool.service-migrations]`` of pyproject.toml: what is true of a monorepo's code, typed and validated.

Convention stands in for every key that is missing. What differs per environment, such as a DSN or a timeout, is a
setting (settings/) and never stands here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from service_migrations.errors import ConfigurationError

__all__ = ["FILE", "TABLE", "Configuration", "ServiceTable", "read_configuration", "read_tools"]

FILE = "pyproject.toml"
TABLE = "service-migrations"

_NAME = "{name}"
_FIELD = re.compile(r"\{[^{}]*\}")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """``[tool.service-migrations.service.<name>]``: what one service does otherwise; None where it does not."""

    path: str | None = None
    source: str | None = None
    models: str | None = None
    versions: str | None = None
    version_table: str | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole table. In the templates, ``{name}`` stands for the name of a service.

    Attributes:
        services: globs of the directories of services, relative to the top level.
        source: template of the folder that is put on ``sys.path`` to import the models.
        models: template of the dotted name of the module whose ``__all__`` names the models.
        versions: template of the folder of the revisions.
        version_table: template of the name of the version table.
        postgres: the major versions of the servers that the team runs; empty for all that a package provides.
        service: what single services do otherwise, by name.
        given: the keys that the table holds; all others come from convention.

    """

    services: tuple[str, ...] = ("services/*",)
    source: str = "."
    models: str = "services.{name}.models"
    versions: str = "migrations/versions/{name}"
    version_table: str = "alembic_version_{name}"
    postgres: tuple[str, ...] = ()
    service: Mapping[str, ServiceTable] = field(default_factory=dict)
    given: frozenset[str] = frozenset()


def read_tools(root: Path) -> Mapping[str, Any]:
    """Return the ``[tool]`` tables of a folder's pyproject.toml; none where there is no such file.

    Raises:
        ConfigurationError: the file is not TOML, or can't be read.

    """
    path = root / FILE
    try:
        stamp = path.stat()
    except OSError:
        return {}
    return _parsed(path, stamp.st_mtime_ns, stamp.st_size)


def read_configuration(root: Path) -> Configuration:
    """Return the configuration of the monorepo at a top level.

    Raises:
        ConfigurationError: a key is unknown or has a value of another type; the message has the nearest known key.

    """
    table = read_tools(root).get(TABLE, {})
    where = f"{FILE}: [tool.{TABLE}]"
    if not isinstance(table, dict):
        raise ConfigurationError(f"{FILE}: tool.{TABLE} is {_kind(table)}. Write a table, [tool.{TABLE}].")
    _refuse_unknown(table, (one.name for one in fields(Configuration) if one.name != "given"), where)
    found: dict[str, Any] = {"given": frozenset(table)}
    for key, value in table.items():
        place = f"{where} {key}"
        if key == "services":
            found[key] = tuple(_glob(one, place) for one in _strings(value, place))
        elif key == "postgres":
            found[key] = tuple(_major(one, place) for one in _strings(value, place))
        elif key == "service":
            found[key] = _services(value)
        else:
            found[key] = _template(key, _string(value, place), place)
    return Configuration(**found)


@lru_cache(maxsize=16)
def _parsed(path: Path, _mtime: int, _size: int) -> Mapping[str, Any]:
    import tomllib  # noqa: PLC0415 - `inv --list` reads no configuration

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}. Correct the file.") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}.") from None
    tools = document.get("tool", {})
    return tools if isinstance(tools, dict) else {}


def _services(value: object) -> dict[str, ServiceTable]:
    where = f"[tool.{TABLE}.service]"
    if not isinstance(value, dict):
        raise ConfigurationError(f"{FILE}: {where} is {_kind(value)}. Write a table for each service.")
    found: dict[str, ServiceTable] = {}
    for name, table in value.items():
        place = f"{FILE}: [tool.{TABLE}.service.{name}]"
        if not isinstance(table, dict):
            raise ConfigurationError(f"{place} is {_kind(table)}. Write a table.")
        same = next((other for other in found if other.replace("-", "_") == name.replace("-", "_")), None)
        if same is not None:
            raise ConfigurationError(f"{place}: {same} and {name} are one name. Remove one of the tables.")
        _refuse_unknown(table, (one.name for one in fields(ServiceTable)), place)
        values = {key: _string(one, f"{place} {key}") for key, one in table.items()}
        found[name] = ServiceTable(
            **{key: _template(key, one, f"{place} {key}", name=name) for key, one in values.items()}
        )
    return found


def _refuse_unknown(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in table:
        if key not in names:
            near = get_close_matches(key.replace("-", "_"), names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}."
            raise ConfigurationError(f"{where}: there is no key {key!r}. {hint}")


def _string(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{where} is {_kind(value)}. Write a string.")
    return value


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ConfigurationError(f"{where} is {_kind(value)}. Write a list of strings.")
    return value


def _kind(value: object) -> str:
    if value in ("", []) or (isinstance(value, str) and not value.strip()):
        return "empty"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    if isinstance(value, list):
        return "a list of other things than strings"
    return names.get(type(value), f"a {type(value).__name__}")


def _template(key: str, value: str, where: str, name: str | None = None) -> str:
    """Return a value with nothing in braces but ``{name}``, and in a service's own table with nothing at all."""
    for placeholder in _FIELD.findall(value):
        if placeholder != _NAME:
            raise ConfigurationError(f"{where}: {placeholder} means nothing. Only {_NAME} is replaced.")
    if name is not None:
        value = value.replace(_NAME, name)
    example = value.replace(_NAME, "name")
    if key == "models" and not _MODULE.fullmatch(example):
        raise ConfigurationError(f"{where} is {value!r}. Write a dotted module, such as payments.db.models.")
    if key == "version_table" and not _IDENTIFIER.fullmatch(example):
        raise ConfigurationError(f"{where} is {value!r}, which is not a table's name.")
    if key in ("path", "source", "versions"):
        _refuse_outside(value, where)
    if key in ("versions", "version_table") and name is None and _NAME not in value:
        raise ConfigurationError(f"{where} is {value!r} for every service. Put {_NAME} into it.")
    return value


def _glob(value: str, where: str) -> str:
    _refuse_outside(value, where)
    if "**" in value:
        raise ConfigurationError(f"{where}: {value!r} doesn't say which folder names a service. Write * for each.")
    return value.rstrip("/")


def _major(value: str, where: str) -> str:
    if not value.isdecimal():
        raise ConfigurationError(f'{where}: {value!r} is not a major version. Write them as in ["14", "18"].')
    return value


def _refuse_outside(value: str, where: str) -> None:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigurationError(f"{where}: {value!r} leads out of the repository. Write a path below {FILE}.")

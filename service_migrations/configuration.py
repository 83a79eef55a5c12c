"""The table ``[tool.service-migrations]`` of pyproject.toml, typed and validated.

Every missing key has a default by convention. A value that differs per environment, such as a DSN or a timeout, is a
setting (settings/) and no key of this table.
"""

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from service_migrations.errors import ConfigurationError
from service_migrations.pyproject import FILE, read_tools

__all__ = [
    "DRIVERS",
    "TABLE",
    "Configuration",
    "ServiceTable",
    "is_service_name",
    "misspelled_table",
    "read_configuration",
    "service_name",
]

TABLE = "service-migrations"

DRIVERS = ("asyncpg", "psycopg")

_SAME_WORDS, _LETTERS = 0.9, 1
"""How alike two names are, of 1, that differ by a letter or two; and how many letters one of them may have more."""

_NAME = "{name}"
_PATH = "{path}"
_SERVICE = re.compile(r"[a-z][a-z0-9_]*")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_FUNCTION = re.compile(rf"{_MODULE.pattern}:[^\W\d]\w*")
_LONGEST_SCHEMA = 63
_LONGEST_FILE_NAME = 255
_LONGEST_NAME = 59
"""Characters of a version table's name: the name of its key has four more, and PostgreSQL cuts a name after 63."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """``[tool.service-migrations.service.<name>]``: the values of one service; None for the convention."""

    path: str | None = None
    source: str | None = None
    models: str | None = None
    versions: tuple[str, ...] | None = None
    recursive_version_locations: bool | None = None
    version_table: str | None = None
    version_table_schema: str | None = None
    driver: str | None = None
    env_file: str | None = None
    dsn: str | None = None
    dsn_key: str | None = None
    password: str | None = None
    ignore: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole table. In templates, ``{name}`` is replaced by the name of a service, ``{path}`` by its directory.

    Attributes:
        services: globs of the directories of services, relative to the top level.
        source: template of the folder that is put on ``sys.path`` to import the models.
        models: template of the dotted name of the module whose ``__all__`` names the models.
        versions: templates of the folders of the revisions; a new one is written to the first.
        recursive_version_locations: whether revisions are in folders below these too, as Alembic calls it.
        version_table: template of the name of the version table.
        version_table_schema: template of its schema; None for that of the models' MetaData, or else the search_path.
        driver: the driver over which Alembic runs.
        env_file: template of the .env of a service; None for the one in its directory.
        dsn: template of the DSN, with the variables of a .env or the environment in braces.
        dsn_key: the variable that a team has instead of DATABASE_DSN.
        password: the function that returns a password, ``package.module:function``, for one that expires.
        ignore: patterns of tables that no comparison looks at, such as ``*_archive``.
        postgres: the major versions of the servers that the team runs; empty for all that a package provides.
        service: the tables of single services, by name; ``billing-api`` is the service billing_api.
        given: the keys that the table has; all others come from convention.

    """

    services: tuple[str, ...] = ("services/*",)
    source: str = "."
    models: str = "services.{name}.models"
    versions: tuple[str, ...] = ("migrations/versions/{name}",)
    recursive_version_locations: bool = False
    version_table: str = "alembic_version_{name}"
    version_table_schema: str | None = None
    driver: str = "asyncpg"
    env_file: str | None = None
    dsn: str | None = None
    dsn_key: str | None = None
    password: str | None = None
    ignore: tuple[str, ...] = ()
    postgres: tuple[str, ...] = ()
    service: Mapping[str, ServiceTable] = field(default_factory=dict)
    given: frozenset[str] = frozenset()


def service_name(text: str) -> str:
    """Return the name of a service as in Python: ``billing_api`` for ``billing-api``."""
    return text.replace("-", "_")


def misspelled_table(tools: Iterable[str]) -> str | None:
    """Return the name of a table that was meant as this one; with it, conventions would hold silently.

    Where this table is there, or a word of the name is another one, it is that of another tool.
    """
    names = list(tools)
    for name in names if TABLE not in names else ():
        plain = name.lower().replace("_", "-")
        is_alike = plain[:1] == TABLE[0] and abs(len(plain) - len(TABLE)) <= _LETTERS
        if is_alike and get_close_matches(TABLE, [plain], cutoff=_SAME_WORDS):
            return name
    return None


def is_service_name(name: str) -> bool:
    """Whether a name is valid in Python, and in PostgreSQL without quotes."""
    return _SERVICE.fullmatch(name) is not None and not keyword.iskeyword(name)


def read_configuration(root: Path) -> Configuration:
    """Return the configuration of the monorepo at a top level.

    Raises:
        ConfigurationError: the table's name is misspelled, or a key is unknown or has a value of another type; the
            message has the nearest known name.

    """
    tools = read_tools(root)
    if wrong := misspelled_table(tools):
        raise _error(f"[tool.{wrong}] is no table that is read.", f"Did you mean [tool.{TABLE}]?")
    table = tools.get(TABLE, {})
    table_name = f"[tool.{TABLE}]"
    if not isinstance(table, dict):
        raise ConfigurationError(f"tool.{TABLE} is {_kind(table)}.", path=FILE, hint=f"Write a table, [tool.{TABLE}].")
    _refuse_unknown(table, (key.name for key in fields(Configuration) if key.name != "given"), table_name)
    values: dict[str, Any] = {"given": frozenset(table)}
    for key, value in table.items():
        key_name = f"{table_name} {key}"
        if key == "service":
            values[key] = _services(value)
        else:
            values[key] = _value(key, value, key_name)
    return Configuration(**values)


def _services(value: object) -> dict[str, ServiceTable]:
    all_tables = f"[tool.{TABLE}.service]"
    if not isinstance(value, dict):
        raise ConfigurationError(f"{all_tables} is {_kind(value)}.", path=FILE, hint="Write a table for each service.")
    tables: dict[str, ServiceTable] = {}
    written_names: dict[str, str] = {}
    paths: dict[str, str] = {}
    for key, table in value.items():
        table_name = f"[tool.{TABLE}.service.{key}]"
        if not isinstance(table, dict):
            raise _error(f"{table_name} is {_kind(table)}.", "Write a table.")
        name = service_name(key)
        if not is_service_name(name):
            raise _error(
                f"{table_name}: {key!r} can't be a service.",
                "Write a name of lower-case letters, digits and underscores that begins with a letter.",
            )
        if name in tables:
            raise _error(f"{table_name}: {written_names[name]} and {key} are one name.", "Remove one of the tables.")
        tables[name], written_names[name] = _service(table, table_name, name), key
        path = tables[name].path
        if path is not None and paths.setdefault(path, key) != key:
            raise _error(f"{table_name}: {paths[path]} has the path {path!r} too.", "Correct one of the tables.")
    return tables


def _service(table: Mapping[str, object], prefix: str, name: str) -> ServiceTable:
    _refuse_unknown(table, (key.name for key in fields(ServiceTable)), prefix)
    return ServiceTable(**{key: _value(key, value, f"{prefix} {key}", name=name) for key, value in table.items()})


def _refuse_unknown(table: Mapping[str, object], known: Iterable[str], prefix: str) -> None:
    names = list(known)
    for key in table:
        if key not in names:
            similar = get_close_matches(key.replace("-", "_"), names, n=1)
            hint = f"Did you mean {similar[0]}?" if similar else f"Known: {', '.join(names)}."
            raise ConfigurationError(f"{prefix}: there is no key {key!r}.", path=FILE, hint=hint)


def _error(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(message, path=FILE, hint=hint)


def _string(value: object, prefix: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _error(f"{prefix} is {_kind(value)}.", "Write a string.")
    return value


def _strings(value: object, prefix: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise _error(f"{prefix} is {_kind(value)}.", "Write a list of strings.")
    return [_string(item, f"{prefix}[{index}]") for index, item in enumerate(value)]


def _kind(value: object) -> str:
    if value == [] or (isinstance(value, str) and not value.strip()):
        return "empty"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def _value(key: str, value: object, prefix: str, name: str | None = None) -> Any:
    """Return the valid value of a key; *name* is that of the service whose own table it is in."""
    if read := _READERS.get(key):
        return read(value, prefix)
    if key == "versions":
        folders = _strings(value, prefix) if isinstance(value, list) else [_string(value, prefix)]
        return tuple(_template(key, folder, prefix, name) for folder in folders)
    return _template(key, _string(value, prefix), prefix, name)


def _template(key: str, value: str, prefix: str, name: str | None = None) -> str:
    """Return a valid template, in which only ``{name}`` and, in a path, ``{path}`` are in braces."""
    is_path = key in ("source", "versions", "env_file")
    if name is not None:
        value = value.replace(_NAME, name)
    example = value.replace(_NAME, "name")
    if is_path:
        example = example.replace(_PATH, "path")
    if "{" in example or "}" in example:
        replaced = f"{_NAME} and {_PATH} are" if is_path else f"{_NAME} is"
        raise _error(f"{prefix} is {value!r}.", f"Only {replaced} replaced; remove all other braces.")
    if key == "models":
        _check_module(value, example, prefix)
    if key in ("version_table", "version_table_schema") and not _IDENTIFIER.fullmatch(example):
        schema = ", without a schema and" if key == "version_table" else ""
        raise _error(f"{prefix} is {value!r}.", f"Write letters, digits and underscores{schema} without quotes.")
    if key == "version_table_schema" and (value.startswith("pg_") or value == "information_schema"):
        raise _error(f"{prefix} is {value!r}.", "Name another: PostgreSQL keeps this name for itself.")
    if key == "version_table_schema" and name is not None and len(value) > _LONGEST_SCHEMA:
        raise _error(f"{prefix} has {len(value)} characters.", f"PostgreSQL has room for {_LONGEST_SCHEMA} of them.")
    if key == "version_table" and name is not None and len(value) > _LONGEST_NAME:
        raise _error(f"{prefix} has {len(value)} characters.", f"PostgreSQL has room for {_LONGEST_NAME} of them.")
    if key == "versions" and name is None and _NAME not in value and _PATH not in value:
        raise _error(f"{prefix} is {value!r} for every service.", f"Put {_NAME} or {_PATH} into it.")
    return _inside(value, prefix) if is_path or key == "path" else value


def _check_module(value: str, example: str, prefix: str) -> None:
    if not _MODULE.fullmatch(example):
        raise _error(f"{prefix} is {value!r}.", "Write a dotted module, such as payments.db.models.")
    _refuse_long(example.split("."), prefix)


def _glob(value: str, prefix: str) -> str:
    pattern = _inside(value, prefix)
    if "**" in pattern:
        raise _error(f"{prefix}: {value!r} doesn't say which folder names a service.", "Write * for each.")
    if pattern == ".":
        raise _error(f"{prefix}: {value!r} is the top level.", "Write the folders below it, such as services/*.")
    return pattern


def _major(value: str, prefix: str) -> str:
    if not value.isdecimal():
        raise _error(f"{prefix}: {value!r} is not a major version.", 'Write them as in ["14", "18"].')
    return value


def _inside(value: str, prefix: str) -> str:
    """Return a path below the top level, in normalised form."""
    if re.search(r"[\x00-\x1f]", value):
        raise _error(f"{prefix}: {value!r} has a control character.", "Write a path in one line.")
    path = PurePosixPath(value)
    _refuse_long(path.parts, prefix)
    if path.is_absolute() or ".." in path.parts:
        raise _error(f"{prefix}: {value!r} leads out of the repository.", f"Write a path below {FILE}.")
    return path.as_posix()


def _refuse_long(parts: Iterable[str], prefix: str) -> None:
    """Refuse the name of a file or folder that no file system of Linux or macOS has."""
    longest = max((len(part.encode()) for part in parts), default=0)
    if longest > _LONGEST_FILE_NAME:
        raise _error(f"{prefix} has a name of {longest} bytes.", f"A folder's has {_LONGEST_FILE_NAME} at most.")


def _boolean(value: object, prefix: str) -> bool:
    if not isinstance(value, bool):
        raise _error(f"{prefix} is {_kind(value)}.", "Write true or false.")
    return value


def _driver(value: object, prefix: str) -> str:
    if (driver := _string(value, prefix)) not in DRIVERS:
        raise _error(f"{prefix} is {driver!r}.", f"Write {' or '.join(DRIVERS)}.")
    return driver


def _variable(value: object, prefix: str) -> str:
    if not _VARIABLE.fullmatch(variable := _string(value, prefix)):
        raise _error(f"{prefix} is {variable!r}.", "Write the name of a variable, such as DATABASE_URL.")
    return variable


def _function(value: object, prefix: str) -> str:
    if not _FUNCTION.fullmatch(function := _string(value, prefix)):
        raise _error(f"{prefix} is no function.", "Write it as package.module:function; a password stays out of here.")
    return function


_READERS: Mapping[str, Callable[[object, str], Any]] = {
    "services": lambda value, prefix: tuple(_glob(pattern, prefix) for pattern in _strings(value, prefix)),
    "postgres": lambda value, prefix: tuple(_major(version, prefix) for version in _strings(value, prefix)),
    "ignore": lambda value, prefix: tuple(_strings(value, prefix)),
    "recursive_version_locations": _boolean,
    "driver": _driver,
    "dsn": _string,
    "dsn_key": _variable,
    "password": _function,
}
"""What reads the value of a key; every other is a template."""

"""The template of a DSN in pyproject.toml, which is filled from the variables that a team has.

``postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_HOST}:{POSTGRES_PORT:-5432}/{POSTGRES_DB}``: each value is
percent-encoded here, and ``{name}`` is the name of the service.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.pyproject import FILE
from service_migrations.service import Service
from service_migrations.settings.dsn import CONTROL, PARTS, parse
from service_migrations.settings.setting import DEFAULT, Origin, Setting

__all__ = ["SERVER", "Filled", "Role", "Template", "Variable", "template_of"]

Role = Literal["host", "port", "user", "database", "password", "parameter"]
"""The part of a DSN that a variable stands in."""

SERVER = ("host", "port")
"""The parts that lead to a server."""

_NAME = "{name}"
_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_MARKS = 0xE000
"""The first private character of Unicode: each variable is one of these while the text is taken apart."""
_GROUPS: Mapping[str, Role] = {"user": "user", "password": "password", "hosts": "host", "database": "database"}
_WITH_PORT = re.compile(r"[^:/@\s]+:\d+")
_UNFILLED = re.compile(r"<\w+>|\$\{\w+\}")
"""A placeholder of an example, or a variable that nobody replaces."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a template, with its default value and the part of the DSN that it stands in."""

    key: str
    default: str | None
    role: Role


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled template.

    Attributes:
        setting: the DSN; its layer is the highest of the variables that lead to the server, database and role.
        withheld: the password that is left out, since it is for the server of a lower layer.
        server: the setting of the highest layer that leads to the server, where a password is withheld.

    """

    setting: Setting
    withheld: Setting | None = None
    server: Setting | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template, taken apart.

    Attributes:
        place: the table and key in pyproject.toml.
        variables: its variables, in their order.

    """

    place: str
    variables: tuple[Variable, ...]
    _text: str = field(repr=False)
    _text_without_password: str = field(repr=False)

    def missing(self, values: Mapping[str, Sequence[Setting]]) -> tuple[Variable, ...]:
        """Return the variables without a value or a default, each once."""
        lacking = (item for item in self.variables if not values.get(item.key) and item.default is None)
        return tuple({item.key: item for item in lacking}.values())

    def layer(self, values: Mapping[str, Sequence[Setting]]) -> int:
        """Return the highest layer of the variables that lead to the server, the database and the role."""
        leading = [item.key for item in self.variables if item.role not in ("password", "parameter")]
        return max((values[key][0].origin.layer for key in leading if values.get(key)), default=DEFAULT)

    def fill(self, values: Mapping[str, Sequence[Setting]]) -> Filled:
        """Return the DSN of the values; of each variable the first one counts, or its default.

        A password goes only to the server to which it would go without the layers above its own: never that of a .env
        to a host of the environment.

        Args:
            values: of each variable all layers, the winning one first; a password may be missing.

        Raises:
            ConfigurationError: a value is a placeholder, or holds a control character.

        """
        chosen = {item.key: values[item.key][0] for item in self.variables if values.get(item.key)}
        for item in self.variables:
            if item.key in chosen:
                _check(chosen[item.key], item)
        password = [chosen.get(item.key) for item in self.variables if item.role == "password"]
        given = [setting for setting in password if setting and setting.value]
        if not given or len(given) < len(password):
            return Filled(self._setting(self._text_without_password, values))
        lowest = min(given, key=lambda setting: setting.origin.layer)
        servers = [chosen[item.key] for item in self.variables if item.role in SERVER and item.key in chosen]
        if self.server(values) != self.server(values, lowest.origin.layer):
            highest = max(servers, key=lambda setting: setting.origin.layer)
            return Filled(self._setting(self._text_without_password, values), lowest, highest)
        return Filled(self._setting(self._text, values))

    def server(self, values: Mapping[str, Sequence[Setting]], layer: int | None = None) -> object:
        """Return a value that is equal for two DSNs of one server; None where a variable is missing or wrong.

        Args:
            values: as of ``fill``.
            layer: the highest layer that counts; None for all.

        """
        limited = {
            item.key: [
                setting for setting in values.get(item.key, ()) if layer is None or setting.origin.layer <= layer
            ]
            for item in self.variables
        }
        if any(item.role in SERVER for item in self.missing(limited)):
            return None
        known = {
            item.key: settings
            for item in self.variables
            if (settings := limited[item.key] if item.role in SERVER else values.get(item.key))
        }
        try:
            return parse(self._filled(self._text_without_password, known), self.place).server
        except MigrationError:
            return None

    def _setting(self, text: str, values: Mapping[str, Sequence[Setting]]) -> Setting:
        return Setting("DATABASE_DSN", self._filled(text, values), Origin(self.layer(values), self.place), "dsn")

    def _filled(self, text: str, values: Mapping[str, Sequence[Setting]]) -> str:
        for index, item in enumerate(self.variables):
            settings = values.get(item.key)
            value = settings[0].value if settings else item.default or ""
            text = text.replace(chr(_MARKS + index), quote(value, safe=""))
        return text


def template_of(service: Service) -> Template | None:
    """Return the template of a service's DSN; None where the table has none.

    Raises:
        ConfigurationError: the template is no URL, holds a password, or has braces that name no variable.

    """
    return None if service.dsn is None else _parsed(service.dsn, service.name, f"{service.table_of('dsn')} dsn")


@lru_cache(maxsize=1024)
def _parsed(text: str, name: str, place: str) -> Template:
    written: list[tuple[str, str | None]] = []

    def mark(match: re.Match[str]) -> str:
        written.append((match[1], match[2]))
        return chr(_MARKS + len(written) - 1)

    marked = _VARIABLE.sub(mark, text.strip().replace(_NAME, name))
    if "{" in marked or "}" in marked:
        raise _error(f"{place} has braces that name no variable.", "Write {VARIABLE}, or {VARIABLE:-default}.")
    match = PARTS.fullmatch(marked)
    if not match or any(_role_at(marked, index, match) is None for index in range(len(written))):
        only = written[0][0] if len(written) == 1 and len(marked) == 1 else ""
        hint = f'Write dsn_key = "{only}".' if only else "Write it as postgresql://{USER}:{PASSWORD}@{HOST}/{DATABASE}."
        raise _error(f"{place} is no URL with variables in its parts.", hint)
    variables = tuple(
        Variable(key, default, _role_at(marked, index, match) or "parameter")
        for index, (key, default) in enumerate(written)
    )
    literal = re.sub(r"[\ue000-\uf8ff]", "", match["password"] or "")
    if literal or any(item.role == "password" and item.default for item in variables):
        raise _error(f"{place} holds a password, and the file is committed.", "Write a variable in its place.")
    start, end = match.span("password")
    without = marked if match["password"] is None else marked[: start - 1] + marked[end:]
    return Template(place, variables, marked, without)


def _role_at(text: str, index: int, match: re.Match[str]) -> Role | None:
    """Return the part of the DSN that a mark stands in; None for one in no part, such as the scheme."""
    position = text.index(chr(_MARKS + index))
    for group, role in _GROUPS.items():
        start, end = match.span(group)
        if start <= position < end:
            return "port" if role == "host" and text[position - 1] == ":" else role
    start, end = match.span("query")
    if not start <= position < end:
        return None
    key = text[start:position].rpartition("&")[2].partition("=")[0]
    return "host" if key == "host" else "port" if key == "port" else "parameter"


def _check(setting: Setting, variable: Variable) -> None:
    # any text may be a password
    unfilled = _UNFILLED.search(setting.value) if variable.role != "password" else None
    if unfilled:
        hint = "Fill it in; nothing is interpolated."
        raise ConfigurationError(f"{setting.name} still holds {unfilled[0]}.", path=setting.origin.path, hint=hint)
    if variable.role == "host" and _WITH_PORT.fullmatch(setting.value):
        raise ConfigurationError(
            f"{setting.name} holds a port too, {setting.value!r}, and stands for the host alone.",
            path=setting.origin.path,
            hint=f"Give the port a place of its own in the template: {{{variable.key}}}:{{PORT}}.",
        )
    if CONTROL.search(setting.value):
        raise ConfigurationError(
            f"{setting.name} holds a control character, such as a line end.",
            path=setting.origin.path,
            hint="Remove it.",
        )


def _error(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(message, path=FILE, hint=hint)

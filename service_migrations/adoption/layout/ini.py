"""The options of plain Alembic: a section of an ini file, and ``[tool.alembic]`` of a pyproject.toml."""

import configparser
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import filterfalse
from pathlib import Path

from service_migrations.adoption.code.variables import Text, Variable
from service_migrations.files import read_text

__all__ = ["DEFAULT_SECTION", "AlembicOptions", "read_options", "unreadable"]

DEFAULT_SECTION = "alembic"

_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}
_INTERPOLATED = re.compile(r"%\(([^)]+)\)s|%%")
_DEEPEST = configparser.MAX_INTERPOLATION_DEPTH
_OF_ANOTHER_KIND = re.compile(r"post_write_hooks|loggers|handlers|formatters|(?:logger|handler|formatter)_.+")
"""Sections of Alembic's and of logging, which have the options of [DEFAULT] too."""


@dataclass(frozen=True, slots=True)
class AlembicOptions:
    """The options of one environment of plain Alembic.

    Attributes:
        path: the ini file, or the pyproject.toml.
        root: the top level of the monorepo.
        section: the name of the section, ``alembic`` unless one file has several.
        values: the options as they are written; a list of TOML has one item on each line.
        lines: the line of each option, where it is known.

    """

    path: Path
    root: Path
    section: str = DEFAULT_SECTION
    values: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the file, in which ``alembic`` is run."""
        return self.path.parent

    @property
    def script_location(self) -> Path | None:
        """The folder of env.py; None where the file names none and has none beside it."""
        if location := self.value("script_location"):
            path = _existing(location, self._bases)
            if (path / "env.py").is_file():
                return path
            # `alembic -c migrations/alembic.ini` in a folder above
            above = (_existing(location, (base,)) for base in self._above)
            return next((folder for folder in above if self._is_history(folder)), path)
        return self.folder if (self.folder / "env.py").is_file() else None

    def version_locations(self, script_location: Path) -> tuple[Path, ...]:
        """Return the folders of the revisions."""
        text = self.value("version_locations")
        if not text:
            return (script_location / "versions",)
        return tuple(self.resolved(location) for location in self._split(text))

    @property
    def recursive(self) -> bool:
        """Whether Alembic reads revisions in folders below."""
        return (self.value("recursive_version_locations") or "").lower() in ("true", "1", "yes", "on")

    @property
    def import_folders(self) -> tuple[Path, ...]:
        """The folders of ``prepend_sys_path``."""
        text = self.value("prepend_sys_path")
        return tuple(map(self.resolved, self._split(text))) if text else ()

    def value(self, name: str) -> str | None:
        """Return an option with ``%(here)s`` and other options filled in; of the environment's, as it is written."""
        text = self.values.get(name)
        if text is None:
            return None
        return "".join(f"%({part.name})s" if isinstance(part, Variable) else part for part in self._parts(text)).strip()

    def _parts(self, text: str, given: Mapping[str, Text] | None = None, depth: int = 1) -> Text:
        """Return a text with the options that it names filled in, and those that these name; others are variables."""
        given = given or {}
        result: list[str | Variable] = []
        position = 0
        for match in _INTERPOLATED.finditer(text):
            result.append(text[position : match.start()])
            key, position = match[1], match.end()
            own = self.values.get(key.lower()) if key else None
            if match[0] == "%%":
                result.append("%")
            elif key in given or key.lower() in given:
                result += given[key if key in given else key.lower()]
            elif key == "here":
                result.append(str(self.folder))
            elif own is None or depth >= _DEEPEST:  # a circle of options
                result.append(Variable(key))
            else:
                result += self._parts(own, given, depth + 1)
        return tuple(part for part in (*result, text[position:]) if part != "")

    def text(self, name: str, given: Mapping[str, Text]) -> Text | None:
        """Return an option as a text in which names that the file doesn't have are variables.

        Args:
            name: the option.
            given: what env.py sets by ``set_section_option``.

        """
        value = self.values.get(name)
        if value is None:
            return None
        return self._parts(value, given)

    def resolved(self, location: str) -> Path:
        """Return the folder of an option: a path, or ``package:folder``."""
        return _existing(location, (*self._bases, *self._above))

    def _is_history(self, folder: Path) -> bool:
        has_versions = (folder / "versions").is_dir() or "version_locations" in self.values
        return has_versions and (folder / "env.py").is_file()

    @property
    def _bases(self) -> tuple[Path, ...]:
        return self.folder, self.folder / "src", self.root

    @property
    def _above(self) -> list[Path]:
        """The folders between that of the file and the top level, in which ``alembic`` may be run too."""
        return [folder for folder in self.folder.parents if folder != self.root and folder.is_relative_to(self.root)]

    def _split(self, text: str) -> list[str]:
        name = self.value("path_separator") or self.value("version_path_separator")
        if name in _SEPARATORS:
            parts = text.split(_SEPARATORS[name])
        elif "\n" in text:
            parts = text.split("\n")
        else:
            parts = re.split(r", *| +|:(?=/|\.|$)", text)  # as Alembic did before there was an option for it
        return [part.strip() for part in parts if part.strip()]


def _existing(location: str, bases: Iterable[Path]) -> Path:
    if ":" in location and not Path(location).is_absolute():
        package, *parts = location.split(":")
        location = "/".join([package.replace(".", "/"), *parts])
    candidates = [Path(os.path.normpath(base / location)) for base in bases]
    return next((path for path in candidates if path.exists()), candidates[0])


def read_options(path: Path, root: Path) -> Iterator[AlembicOptions]:
    """Yield the environments that an ini file or a pyproject.toml has; a file that isn't one has none."""
    if path.suffix == ".toml":
        if values := _toml(path):
            yield AlembicOptions(path, root, values=values)
        return
    try:
        text, parser = _parsed(path)
    except (configparser.Error, UnicodeDecodeError, OSError):
        return
    beside = _beside(path)
    for section in filterfalse(_OF_ANOTHER_KIND.fullmatch, parser.sections()):
        own = dict(parser.items(section))
        is_default = section == DEFAULT_SECTION and ("script_location" in beside or (path.parent / "env.py").is_file())
        if "script_location" in own or is_default:
            yield AlembicOptions(path, root, section, {**beside, **own}, _lines(text, section))


def unreadable(path: Path) -> str | None:
    """Return why an ini file can't be read; None where it can."""
    try:
        _parsed(path)
    except UnicodeDecodeError:
        return "it isn't UTF-8"
    except configparser.Error as error:
        return str(error).splitlines()[0].rstrip(".")
    except OSError as error:
        return error.strerror or "unknown"
    return None


def _parsed(path: Path) -> tuple[str, configparser.RawConfigParser]:
    parser = configparser.RawConfigParser(strict=False)
    text = read_text(path, encoding="utf-8-sig")
    parser.read_string(text)
    return text, parser


def _lines(text: str, section: str) -> dict[str, int]:
    """Return the line of each option of a section."""
    lines: dict[str, int] = {}
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\[([^\]]+)\]", line):
            current = match[1]
        elif current in (section, "DEFAULT") and (match := re.match(r"([\w.]+)\s*[=:]", line)):
            lines[match[1].lower()] = number
    return lines


def _beside(path: Path) -> dict[str, str]:
    """Return the options of the pyproject.toml beside an ini file, which Alembic reads too."""
    return _toml(path.parent / "pyproject.toml")


def _toml(path: Path) -> dict[str, str]:
    try:
        text = read_text(path)
        table = tomllib.loads(text).get("tool", {}).get("alembic", {}) if "alembic" in text else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError):
        return {}
    if not isinstance(table, dict):
        return {}
    return {
        key: "\n".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in table.items()
    } | ({"path_separator": "newline"} if any(isinstance(value, list) for value in table.values()) else {})

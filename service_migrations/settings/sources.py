"""The sources of settings: the environment, the service's .env and the root's .env, and which of them wins.

``load_dotenv`` writes to the process, so that the first service's DSN would win for all the others. This module writes
nothing to ``os.environ``, and reads a .env with python-dotenv's own parser, without interpolation.
"""

import logging
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import CONTROL, Dsn, parse
from service_migrations.settings.env_file import Line, read

__all__ = ["KEYS", "Origin", "Setting", "Sources", "given_dsns", "other_dsn"]

log = logging.getLogger(__name__)

KEYS: Mapping[str, str | None] = {
    "DATABASE_DSN": None,
    "DATABASE_DIRECT_DSN": None,
    "DATABASE_PASSWORD": None,
    "DATABASE_PASSWORD_FILE": None,
    "DATABASE_ADMIN_DSN": None,
    "DATABASE_SCRATCH_DSN": None,
    "MIGRATIONS_VERSION_TABLE": None,
    "MIGRATIONS_SEARCH_PATH": "public",
    "MIGRATIONS_CONNECT_TIMEOUT": "10s",
    "MIGRATIONS_LOCK_WAIT": "60s",
    "MIGRATIONS_LOCK_TIMEOUT": "5s",
    "MIGRATIONS_STATEMENT_TIMEOUT": "0",
    "MIGRATIONS_IDLE_TIMEOUT": "5m",
    "MIGRATIONS_EDITED": "refuse",
}
"""Every key, with its default. ``.env.example`` explains each."""


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The origin of a value; the higher layer wins."""

    layer: int
    place: str

    def __str__(self) -> str:
        return self.place

    @property
    def path(self) -> str | None:
        """The file and the line, as ``services/billing/.env:3``; None for a value that isn't from a file."""
        return self.place if self.layer in (_ROOT_FILE, _SERVICE_FILE) else None


_ROOT_FILE, _SERVICE_FILE, _BARE, _PREFIXED = 1, 2, 3, 4

_DEFAULT = Origin(0, "default")
_SHARED = stat.S_IRGRP | stat.S_IROTH
_warned: set[object] = set()
"""Files and keys with a logged warning: a process reads them many times, and one warning is enough."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key with its value and its origin. The value may be a secret; ``shown`` is for output."""

    key: str
    value: str = field(repr=False)
    origin: Origin

    @property
    def name(self) -> str:
        """The key as messages name it, with the variable where the value is from the environment."""
        return self.key if self.origin.path else f"{self.origin}: {self.key}"

    @property
    def shown(self) -> str:
        """The value with its password masked."""
        if self.key == "DATABASE_PASSWORD":
            return "***"
        if self.key.endswith("_DSN"):
            try:
                return parse(self.value, self.key).masked()
            except MigrationError:
                return "*** (no valid DSN)"
        return self.value


class Sources:
    """The sources of all settings of a command: the environment, and each file as it was at its first reading.

    A command passes one value on, so that it uses the database that a person has confirmed. The class has no repr of
    its attributes, which contain passwords.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Read the environment of the process, or use another one."""
        self._environment = dict(os.environ if environment is None else environment)
        self._files: dict[Path, tuple[Line, ...] | ConfigurationError] = {}
        self._without_bare: Sources | None = None

    def of_siblings(self) -> "Sources":
        """Return the same sources without variables that have no prefix: those are for the selected service."""
        if self._without_bare is None:
            sources = Sources({name: value for name, value in self._environment.items() if name not in KEYS})
            sources._files, sources._without_bare = self._files, sources
            self._without_bare = sources
        return self._without_bare

    def has_bare(self, key: str) -> bool:
        """Whether the environment has a key without the prefix of a service."""
        return bool(self._environment.get(key))

    def collect(self, service: Service) -> dict[str, tuple[Setting, ...]]:
        """Return the settings of a service by key; of each key all layers, the winning one first.

        Highest first: ``BILLING_<KEY>`` in the environment, ``<KEY>`` in the environment, the service's .env, the
        root's .env, the default. An empty value in the environment counts as not set.

        Raises:
            ConfigurationError: a .env can't be read, or has a line that is no assignment.

        """
        layers: dict[str, list[Setting]] = {key: [] for key in KEYS}
        for key, settings in layers.items():
            for layer, name in ((_PREFIXED, service.env_prefix + key), (_BARE, key)):
                if self._environment.get(name):
                    settings.append(Setting(key, self._environment[name], Origin(layer, f"environment {name}")))
        for layer, path in _files(service):
            file_settings = self._of_file(service, path, layer)
            for setting in file_settings:
                layers[setting.key].append(setting)
            if path not in _warned and _is_exposed(path, file_settings):
                _warned.add(path)
                log.warning("%s", _exposure(service, path))
        for key, default in KEYS.items():
            if default is not None:
                layers[key].append(Setting(key, default, _DEFAULT))
        return {key: tuple(settings) for key, settings in layers.items()}

    def exposed(self, service: Service) -> tuple[str, ...]:
        """Return a line for each .env of a service that contains a password and that other users can read.

        Raises:
            ConfigurationError: a .env can't be read, or has a line that is no assignment.

        """
        return tuple(
            _exposure(service, path)
            for layer, path in _files(service)
            if _is_exposed(path, self._of_file(service, path, layer))
        )

    def service_dsn(self, service: Service, collected: Mapping[str, tuple[Setting, ...]]) -> Dsn:
        """Return the DSN of a service by its collected settings; the highest layer decides.

        So a DIRECT_DSN in a .env never wins over the environment. A password apart that is of a lower layer than the
        DSN is used only where that layer has a DSN of the same server: a .env's password goes to no other host.

        Raises:
            ConfigurationError: there is no DSN, or it or its password is invalid.

        """
        candidates = given_dsns(collected)
        if not candidates:
            raise self._missing(service)
        first_dsn = candidates[0]
        dsn = _parsed(first_dsn)
        secrets = [*collected["DATABASE_PASSWORD"], *collected["DATABASE_PASSWORD_FILE"]]
        if not secrets:
            return dsn
        secret = max(secrets, key=lambda setting: setting.origin.layer)
        same_layer = [setting for setting in secrets if setting.origin.layer == secret.origin.layer]
        if len(same_layer) > 1:
            raise ConfigurationError(
                f"{secret.name} and {same_layer[1].key} are both set.",
                path=secret.origin.path,
                hint="Remove one of them.",
            )
        if secret.origin.layer < first_dsn.origin.layer:
            if dsn.password is not None:
                return dsn
            if not _names_server(collected, secret.origin.layer, dsn):
                if (service.env_file, secret.key) not in _warned:
                    _warned.add((service.env_file, secret.key))
                    log.warning(
                        *("%s: %s of %s is for another server, and isn't sent to that of %s.", service, secret.key),
                        *(secret.origin, first_dsn.origin),
                    )
                return dsn
        return replace(dsn, password=_password(secret, service), has_escapes=False)

    def forget(self, path: Path) -> None:
        """Forget a file that was written, so that it is read again."""
        self._files.pop(path, None)

    def _of_file(self, service: Service, path: Path, layer: int) -> list[Setting]:
        """Return the settings of a .env; of a key with two lines, the last."""
        shown_path = service.relative(path)
        settings: dict[str, Setting] = {}
        for line in self._lines(path, shown_path):
            if line.key in KEYS:
                if not line.value:
                    raise ConfigurationError(
                        f"{line.key} is empty.",
                        path=shown_path,
                        line=line.number,
                        hint="Give it a value, or remove the line.",
                    )
                settings[line.key] = Setting(line.key, line.value, Origin(layer, f"{shown_path}:{line.number}"))
        return list(settings.values())

    def _lines(self, path: Path, shown_path: str) -> "tuple[Line, ...]":
        if path not in self._files:
            try:
                self._files[path] = read(path, shown_path)
            except ConfigurationError as error:
                # a new error: the frames of the old one hold the file's text, and a report with the variables of
                # frames (pytest --showlocals) prints them
                self._files[path] = error.with_hint("")
        lines = self._files[path]
        if isinstance(lines, ConfigurationError):
            raise lines.with_hint("")
        return lines

    def _missing(self, service: Service) -> ConfigurationError:
        path = service.env_file
        shown_path = service.relative(path)
        set_variable = f"set {service.env_prefix}DATABASE_DSN"
        if not path.exists():
            hint = f"Copy .env.example there, {set_variable}, or run `inv up`."
            return ConfigurationError(
                f"{shown_path} does not exist, so DATABASE_DSN is missing.", path=shown_path, hint=hint
            )
        similar = get_close_matches("DATABASE_DSN", [line.key for line in self._lines(path, shown_path)], n=1)
        typo_hint = f" (is {similar[0]} a typo?)" if similar else ""
        if similar == ["DATABASE_URL"]:
            typo_hint = " (there is a DATABASE_URL: call it DATABASE_DSN)"
        hint = f"See .env.example, or {set_variable}."
        return ConfigurationError(f"DATABASE_DSN is missing{typo_hint}.", path=shown_path, hint=hint)


def given_dsns(collected: Mapping[str, tuple[Setting, ...]]) -> list[Setting]:
    """Return the DSNs of the highest layer that has one, the direct one first."""
    candidates = [*collected["DATABASE_DIRECT_DSN"], *collected["DATABASE_DSN"]]
    highest = max((setting.origin.layer for setting in candidates), default=0)
    return [setting for setting in candidates if setting.origin.layer == highest]


def _files(service: Service) -> tuple[tuple[int, Path], ...]:
    return (_SERVICE_FILE, service.env_file), (_ROOT_FILE, service.root / ".env")


def _exposure(service: Service, path: Path) -> str:
    shown_path = service.relative(path)
    return f"{shown_path} holds a password, and others than its owner can read it. Run: chmod 600 {shown_path}"


def _is_exposed(path: Path, settings: Iterable[Setting]) -> bool:
    # outside POSIX the mode bits don't show who can read the file
    return os.name == "posix" and any(map(_holds_password, settings)) and bool(path.stat().st_mode & _SHARED)


def _holds_password(setting: Setting) -> bool:
    if not setting.key.endswith("_DSN"):
        return setting.key == "DATABASE_PASSWORD"
    try:
        return parse(setting.value, setting.key).password is not None
    except MigrationError:
        return False  # an invalid DSN is refused anyway


def _names_server(collected: Mapping[str, tuple[Setting, ...]], layer: int, dsn: Dsn) -> bool:
    """Whether a DSN of a layer leads to the server of another DSN."""
    settings = (*collected["DATABASE_DIRECT_DSN"], *collected["DATABASE_DSN"])
    return any(_parsed(setting).server == dsn.server for setting in settings if setting.origin.layer == layer)


def other_dsn(collected: Mapping[str, tuple[Setting, ...]], key: str) -> Dsn | None:
    """Return the DSN of a database that isn't the service's own; None where it isn't set."""
    settings = collected[key]
    return _parsed(settings[0]) if settings else None


def _password(secret: Setting, service: Service) -> str:
    if secret.key == "DATABASE_PASSWORD":
        password = secret.value
    else:
        path = service.root / secret.value  # tasks can be started in any folder
        try:
            password = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            text = f"{secret.name} can't be read: {reason}."
            raise ConfigurationError(text, path=secret.origin.path) from None
    if CONTROL.search(password):
        raise ConfigurationError(
            f"{secret.name} holds a control character, such as a line end.",
            path=secret.origin.path,
            hint="Remove it.",
        )
    return password


def _parsed(setting: Setting) -> Dsn:
    try:
        return parse(setting.value, setting.name)
    except ConfigurationError as error:
        # a new error: the frames of the old one hold the text, and pytest prints the arguments of frames
        raise error.at(setting.origin.path) from None

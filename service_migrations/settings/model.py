"""The settings of one service, as a value: which database, as whom, and how long things may take."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.duration import seconds
from service_migrations.settings.sources import KEYS, Setting, collect, other_dsn, service_dsn

__all__ = ["Limits", "Settings", "edited", "limits", "load", "load_many", "version_table"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,58}")
"""A version table's name: 63 bytes less the ``_pkc`` of its constraint."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    For ``statement_timeout`` and ``idle_timeout`` 0 is without limit; for ``lock_wait`` it fails at once.
    """

    connect_timeout: float
    lock_wait: float
    lock_timeout: float
    statement_timeout: float
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What one service's migrations need to know."""

    service: Service
    dsn: Dsn
    version_table: str
    search_path: str
    limits: Limits
    edited: Literal["refuse", "warn"] = "refuse"
    admin: Dsn | None = None
    scratch: Dsn | None = None

    @property
    def target(self) -> str:
        """The database without its password, as every line that is about to change something names it."""
        return self.dsn.target


def load(service: Service, environment: Mapping[str, str] | None = None) -> Settings:
    """Load one service's settings; nothing is connected to, and nothing is written anywhere.

    Raises:
        ConfigurationError: a key is missing or wrong; the message names file and key, never a secret's value.

    """
    found = collect(service, environment)
    return Settings(
        service=service,
        dsn=service_dsn(service, found),
        admin=other_dsn(found, "DATABASE_ADMIN_DSN"),
        scratch=other_dsn(found, "DATABASE_SCRATCH_DSN"),
        version_table=_version_table(service, found),
        search_path=_first(found, "MIGRATIONS_SEARCH_PATH").value,
        limits=_limits(found),
        edited=_edited(found),
    )


def load_many(
    services: Sequence[Service], environment: Mapping[str, str] | None = None
) -> list[Settings | MigrationError]:
    """Load the settings of several services: one entry for each, its settings or its own error.

    Raises:
        UsageError: a bare DSN in the environment would aim all of them at one database.
        ConfigurationError: two services resolve to one database and one version table.

    """
    if len(services) > 1:
        for key in ("DATABASE_DSN", "DATABASE_DIRECT_DSN"):
            if (os.environ if environment is None else environment).get(key):
                raise UsageError(
                    f"environment {key}: it would aim all {len(services)} services at one database. "
                    f"Name one with --service, or set {services[0].env_prefix}{key} and so on."
                )
    loaded: list[Settings | MigrationError] = []
    for service in services:
        try:
            loaded.append(load(service, environment))
        except MigrationError as error:
            loaded.append(error)
    try:
        _refuse_shared_version_table([entry for entry in loaded if isinstance(entry, Settings)], environment)
    except ConfigurationError as error:
        # a new error: a frame of the old one holds the whole environment, and pytest --showlocals prints it
        raise ConfigurationError(str(error)) from None
    return loaded


def version_table(service: Service, environment: Mapping[str, str] | None = None) -> str:
    """Return the name of the version table, which offline mode needs too, where there may be no DSN."""
    return _version_table(service, collect(service, environment))


def limits(service: Service, environment: Mapping[str, str] | None = None) -> Limits:
    """Return the limits alone, which hold on an engine of the caller's too."""
    return _limits(collect(service, environment))


def edited(service: Service, environment: Mapping[str, str] | None = None) -> Literal["refuse", "warn"]:
    """Return what an upgrade does over edited files, which holds on an engine of the caller's too."""
    return _edited(collect(service, environment))


def _first(found: Mapping[str, tuple[Setting, ...]], key: str) -> Setting:
    return found[key][0]


def _limits(found: Mapping[str, tuple[Setting, ...]]) -> Limits:
    def value(name: str, *, zero: bool) -> float:
        setting = _first(found, f"MIGRATIONS_{name}")
        return seconds(setting.value, f"{setting.origin}: {setting.key}", zero=zero)

    return Limits(
        connect_timeout=value("CONNECT_TIMEOUT", zero=False),
        lock_wait=value("LOCK_WAIT", zero=True),
        # without end, an ALTER TABLE would queue behind a report, and everything else behind it
        lock_timeout=value("LOCK_TIMEOUT", zero=False),
        statement_timeout=value("STATEMENT_TIMEOUT", zero=True),
        idle_timeout=value("IDLE_TIMEOUT", zero=True),
    )


def _edited(found: Mapping[str, tuple[Setting, ...]]) -> Literal["refuse", "warn"]:
    setting = _first(found, "MIGRATIONS_EDITED")
    if setting.value == "refuse":
        return "refuse"
    if setting.value == "warn":
        return "warn"
    raise ConfigurationError(f"{setting.origin}: MIGRATIONS_EDITED is {setting.value!r}. Write refuse or warn.")


def _version_table(service: Service, found: Mapping[str, tuple[Setting, ...]]) -> str:
    settings = found["MIGRATIONS_VERSION_TABLE"]
    if not settings:
        return service.version_table
    name = settings[0].value
    if not _IDENTIFIER.fullmatch(name):
        raise ConfigurationError(
            f"{settings[0].origin}: MIGRATIONS_VERSION_TABLE is {name!r}, which is no table's name."
        )
    return name


def _refuse_shared_version_table(selected: Iterable[Settings], environment: Mapping[str, str] | None) -> None:
    """Refuse two services that would write one version table: the second would never create its tables."""
    chosen = {settings.service: settings for settings in selected}
    # a bare variable is meant for the selected service: it says nothing of its siblings
    mine = os.environ if environment is None else environment
    prefixed = {name: value for name, value in mine.items() if name not in KEYS}
    for root in {service.root for service in chosen}:
        for sibling in discover(root):
            if sibling in chosen:
                continue
            try:
                chosen[sibling] = load(sibling, prefixed)
            except MigrationError:
                continue  # a sibling without settings has no database to collide in
    seen: dict[tuple[object, ...], Settings] = {}
    for settings in chosen.values():
        other = seen.setdefault((settings.dsn.identity, settings.version_table), settings)
        if other is not settings:
            raise ConfigurationError(
                f"{other.service} and {settings.service} both keep their revision in {settings.version_table} of "
                f"{settings.target}. Remove MIGRATIONS_VERSION_TABLE from one, or give it another database."
            )

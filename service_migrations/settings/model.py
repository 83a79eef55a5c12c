"""The settings of one service, as a value: which database, as whom, and how long things may take."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.database import Database, grouped
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.settings.duration import seconds
from service_migrations.settings.sources import Setting, Sources, given_dsns, other_dsn

__all__ = ["Limits", "Options", "Settings", "databases", "load", "load_many", "load_options", "load_unchecked"]

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
class Options:
    """What holds for a service's migrations whichever connection they run on."""

    version_table: str
    search_path: str
    limits: Limits
    edited: Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What one service's migrations need to know. Loaded once for a command, and passed on.

    ``databases`` is where its DSNs lead; ``sources`` is what all of it was read from, for questions about siblings.
    """

    service: Service
    dsn: Dsn
    version_table: str
    search_path: str
    limits: Limits
    edited: Literal["refuse", "warn"] = "refuse"
    admin: Dsn | None = None
    scratch: Dsn | None = None
    databases: frozenset[Database] = frozenset()
    sources: Sources = field(default_factory=Sources, repr=False, compare=False)

    @property
    def target(self) -> str:
        """The database without its password, as every line that is about to change something names it."""
        return self.dsn.target

    @property
    def database(self) -> Database:
        """The database that migrations connect to."""
        return Database.of(self.dsn)


def load(service: Service, sources: Sources | None = None) -> Settings:
    """Load one service's settings; nothing is connected to, and nothing is written anywhere.

    Args:
        service: the service.
        sources: what to read from, where that is read in part already.

    Raises:
        ConfigurationError: a key is missing or wrong; the message names file and key, never a secret's value. Or a
            sibling keeps its revision in the same table of the same database.

    """
    found = load_many([service], sources)[0]
    if isinstance(found, MigrationError):
        raise found
    return found


def load_many(services: Sequence[Service], sources: Sources | None = None) -> list[Settings | MigrationError]:
    """Load the settings of several services: one entry for each, its settings or its own error.

    Args:
        services: which ones.
        sources: as of ``load``.

    Raises:
        UsageError: a bare DSN in the environment would aim all of them at one database.
        ConfigurationError: two services resolve to one database and one version table.

    """
    sources = sources or Sources()
    if len(services) > 1:
        for key in ("DATABASE_DSN", "DATABASE_DIRECT_DSN"):
            if sources.has_bare(key):
                raise UsageError(
                    f"environment {key}: it would aim all {len(services)} services at one database.",
                    hint=f"Name one with --service, or set {services[0].env_prefix}{key} and so on.",
                )
    loaded: list[Settings | MigrationError] = []
    for service in services:
        try:
            loaded.append(load_unchecked(service, sources))
        except MigrationError as error:
            loaded.append(error)
    _refuse_shared_version_table([entry for entry in loaded if isinstance(entry, Settings)], sources)
    return loaded


def load_unchecked(service: Service, sources: Sources) -> Settings:
    """Load one service's settings, whatever those of its siblings are.

    Raises:
        ConfigurationError: a key is missing or wrong.

    """
    found = sources.collect(service)
    options = _options(service, found)
    return Settings(
        service=service,
        dsn=sources.service_dsn(service, found),
        admin=other_dsn(found, "DATABASE_ADMIN_DSN"),
        scratch=other_dsn(found, "DATABASE_SCRATCH_DSN"),
        version_table=options.version_table,
        search_path=options.search_path,
        limits=options.limits,
        edited=options.edited,
        databases=databases(found),
        sources=sources,
    )


def load_options(service: Service, sources: Sources) -> Options:
    """Load what holds on an engine of the caller's too, and offline, where there may be no DSN.

    Raises:
        ConfigurationError: a key is wrong.

    """
    return _options(service, sources.collect(service))


def databases(found: Mapping[str, tuple[Setting, ...]]) -> frozenset[Database]:
    """Return where a service's DSNs lead: its own and the direct one, of the highest layer that has one.

    Both are one database, and a pooler stands before one of them. None where there is no valid DSN.
    """
    known = set()
    for setting in given_dsns(found):
        with suppress(MigrationError):
            known.add(Database.of(parse(setting.value, setting.key)))
    return frozenset(known)


def _options(service: Service, found: Mapping[str, tuple[Setting, ...]]) -> Options:
    return Options(
        version_table=_version_table(service, found),
        search_path=_first(found, "MIGRATIONS_SEARCH_PATH").value,
        limits=_limits(found),
        edited=_edited(found),
    )


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
    raise ConfigurationError(
        f"{setting.name} is {setting.value!r}.", path=setting.origin.path, hint="Write refuse or warn."
    )


def _version_table(service: Service, found: Mapping[str, tuple[Setting, ...]]) -> str:
    settings = found["MIGRATIONS_VERSION_TABLE"]
    if not settings:
        return service.version_table
    name = settings[0].value
    if not _IDENTIFIER.fullmatch(name):
        raise ConfigurationError(
            f"{settings[0].name} is {name!r}, which is no table's name.", path=settings[0].origin.path
        )
    return name


def _refuse_shared_version_table(selected: Sequence[Settings], sources: Sources) -> None:
    """Refuse two services that would write one version table: the second would never create its tables."""
    chosen = {settings.service: settings for settings in selected}
    others = sources.of_siblings()
    for root in {service.root for service in chosen}:
        for sibling in discover(root):
            if sibling in chosen:
                continue
            with suppress(MigrationError):  # one without settings has no database to collide in
                chosen[sibling] = load_unchecked(sibling, others)
    for group in grouped(chosen.values(), lambda settings: settings.database):
        seen: dict[str, Settings] = {}
        for settings in group:
            other = seen.setdefault(settings.version_table, settings)
            if other is not settings:
                raise ConfigurationError(
                    f"{other.service} and {settings.service} both keep their revision in "
                    f"{settings.version_table} of {settings.target}.",
                    hint="Remove MIGRATIONS_VERSION_TABLE from one, or give it another database.",
                )

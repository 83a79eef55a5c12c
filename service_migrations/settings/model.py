"""The settings of one service: its database, its role, and its timeouts."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from service_migrations.catalog.own_path import default_of, names_of
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.monorepo import Service, discover
from service_migrations.settings.database import Database, grouped
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.settings.duration import seconds
from service_migrations.settings.setting import Setting, given_dsns, other_dsn
from service_migrations.settings.sources import Sources

__all__ = ["Limits", "Options", "Settings", "databases", "load", "load_many", "load_options", "load_unchecked"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,58}")
"""A version table's name: 63 bytes less the ``_pkc`` of its constraint."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The timeouts of a service's migrations, in seconds.

    Attributes:
        connect_timeout: for opening a connection.
        lock_wait: for the migration lock; 0 fails at once.
        lock_timeout: for the lock of one statement on a table.
        statement_timeout: for one statement; 0 is no limit.
        idle_timeout: for a transaction that is idle; 0 is no limit.

    """

    connect_timeout: float
    lock_wait: float
    lock_timeout: float
    statement_timeout: float
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a service that don't depend on the connection."""

    version_table: str
    search_path: str
    limits: Limits
    edited: Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one service, which are loaded once for a command, and passed on.

    Attributes:
        service: the service.
        dsn: the database that migrations connect to.
        version_table: the name of the version table.
        search_path: the ``search_path`` of a session.
        limits: the timeouts.
        edited: what happens to a file that was edited after it had been applied.
        admin: the administrator's DSN, where one is set.
        scratch: the DSN of an empty database for replays, where one is set.
        databases: the databases that the service's DSNs lead to.
        sources: what the settings were read from; those of siblings are read from it too.
        is_temporary: whether the database is dropped or emptied afterwards, so that its state is nobody's concern.
        unprepared: why ``bootstrap.sql`` wasn't run in such a database, and what to do, as one sentence.

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
    is_temporary: bool = False
    unprepared: str = ""

    @property
    def target(self) -> str:
        """The database without its password, as messages name it."""
        return self.dsn.target

    @property
    def database(self) -> Database:
        """The database that migrations connect to."""
        return Database.of(self.dsn)


def load(service: Service, sources: Sources | None = None) -> Settings:
    """Load one service's settings, without a connection.

    Args:
        service: the service.
        sources: what to read them from; None for the environment and the files.

    Raises:
        ConfigurationError: a key is missing or wrong; the message names file and key, never a secret's value. Or a
            sibling keeps its revision in the same table of the same database.

    """
    settings = load_many([service], sources)[0]
    if isinstance(settings, MigrationError):
        raise settings
    return settings


def load_many(services: Sequence[Service], sources: Sources | None = None) -> list[Settings | MigrationError]:
    """Load the settings of several services, in their order; an error stands for those that can't be loaded.

    Args:
        services: the services.
        sources: as of ``load``.

    Raises:
        UsageError: a DSN in the environment without a service's prefix would lead all services to one database.
        ConfigurationError: two services have the same version table of the same database.

    """
    sources = sources or Sources()
    _refuse_one_dsn_for_many(services, sources)
    results: list[Settings | MigrationError] = []
    for service in services:
        try:
            results.append(load_unchecked(service, sources))
        except MigrationError as error:
            results.append(error)
    loaded = [settings for settings in results if isinstance(settings, Settings)]
    _refuse_one_database_for_many(loaded, sources)
    _refuse_shared_version_table(loaded, sources)
    return results


def _refuse_one_dsn_for_many(services: Sequence[Service], sources: Sources) -> None:
    """Refuse a DSN without a service's prefix, of the environment or of --env-file, for several services."""
    dsn_keys = filter(None, (service.dsn_key for service in services))
    for key in dict.fromkeys(("DATABASE_DSN", "DATABASE_DIRECT_DSN", *dsn_keys)):
        users = [service for service in services if key in ("DATABASE_DSN", "DATABASE_DIRECT_DSN", service.dsn_key)]
        if len(users) > 1 and (place := sources.bare(users[0], key)):
            raise UsageError(
                f"{place}: it would aim all {len(users)} services at one database.",
                hint=f"Name one with --service, or set {users[0].env_prefix}{key} and so on.",
            )


def _refuse_one_database_for_many(loaded: Sequence[Settings], sources: Sources) -> None:
    """Refuse variables of a template without a service's prefix that lead two services to one database.

    A host for all services is no mistake; a database for all is, and so is a host where each .env names another one.
    """
    own = [settings for settings in loaded if settings.service.dsn]
    if len(own) > 1:
        for group in grouped(own, lambda settings: settings.database):
            for first, second in pairwise(group):
                place = sources.merging_variable(first.service, second.service)
                if place:
                    variable = f"{first.service.env_prefix}{place.split()[-1]}"
                    raise UsageError(
                        f"{place}: it would aim {first.service} and {second.service} at one database.",
                        hint=f"Name one with --service, or set {variable} and so on.",
                    )


def load_unchecked(service: Service, sources: Sources) -> Settings:
    """Load one service's settings without a comparison with those of its siblings.

    Raises:
        ConfigurationError: a key is missing or wrong.

    """
    collected = sources.collect(service)
    options = _options(service, collected)
    return Settings(
        service=service,
        dsn=sources.service_dsn(service, collected),
        admin=other_dsn(collected, "DATABASE_ADMIN_DSN"),
        scratch=other_dsn(collected, "DATABASE_SCRATCH_DSN"),
        version_table=options.version_table,
        search_path=options.search_path,
        limits=options.limits,
        edited=options.edited,
        databases=databases(collected),
        sources=sources,
    )


def load_options(service: Service, sources: Sources) -> Options:
    """Load the settings that hold also on an engine of the caller's and offline, where no DSN is needed.

    Raises:
        ConfigurationError: a key is wrong.

    """
    return _options(service, sources.collect(service))


def databases(collected: Mapping[str, tuple[Setting, ...]]) -> frozenset[Database]:
    """Return the databases of a service's DSNs, which are its own and the direct one of the highest layer with a DSN.

    Both lead to one database, one of them through a pooler. Without a valid DSN the set is empty.
    """
    leads_to = set()
    for setting in given_dsns(collected):
        with suppress(MigrationError):
            leads_to.add(Database.of(parse(setting.value, setting.key)))
    return frozenset(leads_to)


def _options(service: Service, collected: Mapping[str, tuple[Setting, ...]]) -> Options:
    return Options(
        version_table=_version_table(service, collected),
        search_path=_search_path(collected),
        limits=_limits(collected),
        edited=_edited(collected),
    )


def _first(collected: Mapping[str, tuple[Setting, ...]], key: str) -> Setting:
    return collected[key][0]


def _search_path(collected: Mapping[str, tuple[Setting, ...]]) -> str:
    setting = _first(collected, "MIGRATIONS_SEARCH_PATH")
    if "pg_catalog" in [*names_of(setting.value)][1:]:
        raise ConfigurationError(
            f"{setting.name} names pg_catalog behind another schema, whose functions would be used instead of "
            "PostgreSQL's own.",
            path=setting.origin.path,
            hint="Leave pg_catalog out: it comes first then.",
        )
    return setting.value


def _limits(collected: Mapping[str, tuple[Setting, ...]]) -> Limits:
    def value(name: str, *, zero: bool) -> float:
        setting = _first(collected, f"MIGRATIONS_{name}")
        return seconds(setting.value, f"{setting.origin}: {setting.key}", zero=zero)

    return Limits(
        connect_timeout=value("CONNECT_TIMEOUT", zero=False),
        lock_wait=value("LOCK_WAIT", zero=True),
        # without a limit, an ALTER TABLE would queue behind a long query, and every other statement behind it
        lock_timeout=value("LOCK_TIMEOUT", zero=False),
        statement_timeout=value("STATEMENT_TIMEOUT", zero=True),
        idle_timeout=value("IDLE_TIMEOUT", zero=True),
    )


def _edited(collected: Mapping[str, tuple[Setting, ...]]) -> Literal["refuse", "warn"]:
    setting = _first(collected, "MIGRATIONS_EDITED")
    if setting.value == "refuse":
        return "refuse"
    if setting.value == "warn":
        return "warn"
    raise ConfigurationError(
        f"{setting.name} is {setting.value!r}.", path=setting.origin.path, hint="Write refuse or warn."
    )


def _version_table(service: Service, collected: Mapping[str, tuple[Setting, ...]]) -> str:
    settings = collected["MIGRATIONS_VERSION_TABLE"]
    if not settings:
        return service.version_table
    name = settings[0].value
    if not _IDENTIFIER.fullmatch(name):
        raise ConfigurationError(
            f"{settings[0].name} is {name!r}, which is no table's name.",
            path=settings[0].origin.path,
            hint="Write it without a schema, which is that of the models' MetaData." if "." in name else "",
        )
    return name


def _refuse_shared_version_table(loaded: Sequence[Settings], sources: Sources) -> None:
    """Refuse two services with one version table: the second would never create its tables."""
    settings_by_service = {settings.service: settings for settings in loaded}
    others = sources.of_siblings()
    for root in {service.root for service in settings_by_service}:
        for sibling in discover(root):
            if sibling in settings_by_service:
                continue
            with suppress(MigrationError):  # a sibling without settings has no database here
                settings_by_service[sibling] = load_unchecked(sibling, others)
    for group in grouped(settings_by_service.values(), lambda settings: settings.database):
        by_version_table: dict[tuple[str, str], Settings] = {}
        for settings in group:
            schema = settings.service.version_table_schema
            names = [(settings.version_table, name) for name in ((schema,) if schema else _schemas(settings))]
            other = next((by_version_table[name] for name in names if name in by_version_table), None)
            if other is not None:
                raise ConfigurationError(
                    f"{other.service} and {settings.service} both keep their revision in "
                    f"{settings.version_table} of {settings.target}.",
                    hint="Remove MIGRATIONS_VERSION_TABLE from one, or give it another database, version_table or "
                    "version_table_schema.",
                )
            by_version_table |= dict.fromkeys(names, settings)


def _schemas(settings: Settings) -> tuple[str, ...]:
    """Return the schema of a version table without a setting, as far as it is known before the models are imported.

    It is the first of the search_path, or that of the models' MetaData; the empty name stands for the latter.
    """
    return ("", default_of(settings.search_path))

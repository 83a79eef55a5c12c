"""The monorepo: its top level, and the services in it.

A service is a directory with models. All its names and folders follow from its name, unless pyproject.toml has others
(configuration.py).
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from service_migrations.configuration import TABLE, Configuration, ServiceTable, read_configuration, service_name
from service_migrations.env_files import chosen_env_file
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.pyproject import FILE, read_alembic_table
from service_migrations.service import Service, refuse_shared, service_problem, with_foreign_locations
from service_migrations.top_level import locate

__all__ = [
    "Monorepo",
    "NoSuchServiceError",
    "Service",
    "discover",
    "discovering_once",
    "find",
    "resolve",
    "resolve_all",
    "select",
]

log = logging.getLogger(__name__)

_discovered: ContextVar[list[tuple["Monorepo", tuple[Service, ...]]] | None] = ContextVar("discovered", default=None)
"""The services of each monorepo, while a block of ``discovering_once`` runs."""

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_WILDCARD = re.compile(r"[*?\[]")
_logged: set[tuple[Path, str]] = set()
"""Directories whose skipping was logged, and why: once in a process is enough."""


class NoSuchServiceError(UsageError):
    """No service has a name; the message begins with it, so that a task can put its option before."""


@dataclass(frozen=True, slots=True)
class Monorepo:
    """A monorepo: its top level, and the configuration in its pyproject.toml."""

    root: Path
    configuration: Configuration = field(repr=False)

    @classmethod
    def at(cls, root: Path) -> "Monorepo":
        """Return the monorepo at a top level.

        Raises:
            ConfigurationError: its pyproject.toml is invalid.

        """
        return cls(root, read_configuration(root))

    @classmethod
    def locate(cls, root: Path | None = None) -> "Monorepo":
        """Return the monorepo at *root*, else at MIGRATIONS_ROOT, else around the working directory.

        That is the nearest folder whose pyproject.toml has ``[tool.service-migrations]`` or ``[tool.alembic]``; a file
        that has neither belongs to a part of a monorepo.

        Raises:
            UsageError: there is no monorepo around the working directory.
            ConfigurationError: MIGRATIONS_ROOT isn't a top level, or a pyproject.toml is invalid or has no table.

        """
        return cls.at(locate(root))

    def services(self) -> tuple[Service, ...]:
        """Return all services, in alphabetical order.

        A directory that can't be a service is skipped with a warning.

        Raises:
            ConfigurationError: two directories have one service name, two services have the same models or revisions, a
                glob of the table matches nothing, or a service of the table has no directory.

        """
        known = _discovered.get()
        for monorepo, services in known or ():
            if monorepo == self:
                return services
        services = self._services()
        if known is not None:
            known.append((self, services))
        return services

    def _services(self) -> tuple[Service, ...]:
        services_by_name: dict[str, Service] = {}
        for name, path in self._directories():
            service = self._service(name, path)
            if service is None:
                continue
            name = service.name  # noqa: PLW2901 - with underscores where the directory has dashes
            if problem := service_problem(service):
                if (path, str(problem)) not in _logged:
                    _logged.add((path, str(problem)))
                    log.warning("%s It is skipped.", problem)
                continue
            other = services_by_name.setdefault(name, service)
            if other is not service:
                raise ConfigurationError(
                    f"{other.relative(other.path)} and {service.relative(path)} are both the service {name}.",
                    hint=f"Rename one, or give one a table with a path in {FILE}.",
                )
        for name, table in self.configuration.service.items():
            if name not in services_by_name and table.path is None:
                raise ConfigurationError(
                    f"[tool.{TABLE}.service.{name}] has no path, and no directory of that name with "
                    f"models matches {' or '.join(self.configuration.services)}.",
                    path=FILE,
                    hint="Add the path, or remove the table.",
                )
        services = with_foreign_locations([services_by_name[name] for name in sorted(services_by_name)])
        refuse_shared(services)
        return services

    def find(self, name: str) -> Service:
        """Return the service with a name; ``billing-api`` and ``billing_api`` are the same name.

        The name is checked before anything is imported or opened: it may come from a URL of a chat-ops bot.

        Raises:
            NoSuchServiceError: no service has this name; the message suggests the nearest one.
            ConfigurationError: the directory of that name can't be a service; the message gives the reason.

        """
        services = self.services()
        normalised = service_name(name)
        for service in services:
            if service.name == normalised:
                return service
        for directory_name, path in self._directories():
            candidate = self._service(directory_name, path) if service_name(directory_name) == normalised else None
            if candidate is not None and (problem := service_problem(candidate)):
                raise problem
        known = [service.name for service in services]
        near = get_close_matches(normalised, known, n=1, cutoff=0.6)
        patterns = " or ".join(self.configuration.services)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known) or f'none, {patterns} is empty'}."
        raise NoSuchServiceError(f"{name!r}: there is no such service in {patterns}.", hint=hint)

    def select(self, names: Iterable[str]) -> tuple[Service, ...]:
        """Return the named services, each once, or all services where no name is given.

        Raises:
            UsageError: a name is unknown, or the monorepo has no services.
            ConfigurationError: as of ``find``.

        """
        selected = tuple(dict.fromkeys(map(self.find, names))) or self.services()
        if not selected:
            models = self.configuration.models.replace("{name}", "<name>").replace(".", "/")
            raise UsageError(
                f"{' or '.join(self.configuration.services)} holds no service.",
                hint=f"Write {models}.py or a package {models}; where yours are elsewhere, set services and models in "
                f"{FILE}.",
            )
        return selected

    def service_at(self, folder: Path) -> Service | None:
        """Return the service that a folder belongs to, by its directory or its revisions; None where there is none."""
        if folder == self.root:
            return None  # without resolving the folders of all services
        own_folders = [
            (own, service) for service in self.services() for own in (service.path, *service.version_locations)
        ]
        around = [(own, service) for own, service in own_folders if own != self.root]
        matches = [(own.resolve(), service) for own, service in around if folder.is_relative_to(own.resolve())]
        return max(matches, key=lambda match: len(match[0].parts), default=(None, None))[1]

    def _directories(self) -> Iterator[tuple[str, Path]]:
        """Yield the name and path of each directory that may be a service; its models may be missing."""
        configured = {self.root / table.path: name for name, table in self.configuration.service.items() if table.path}
        for path, name in configured.items():
            if not path.is_dir():
                key, folder = f"[tool.{TABLE}.service.{name}] path", path.relative_to(self.root).as_posix()
                raise ConfigurationError(f"{key}: {folder!r} is no directory.", path=FILE)
            yield name, path
        visited = set(configured)
        for pattern in self.configuration.services:
            parts = PurePosixPath(pattern).parts
            wildcard_indexes = [index for index, part in enumerate(parts) if _WILDCARD.search(part)]
            matches = [path for path in sorted(self.root.glob(pattern)) if path.is_dir()]
            if not matches and "services" in self.configuration.given:
                raise ConfigurationError(f"[tool.{TABLE}] services: {pattern!r} matches no directory.", path=FILE)
            for path in matches:
                name = path.relative_to(self.root).parts[wildcard_indexes[-1] if wildcard_indexes else -1]
                if name[0] not in "_." and path not in visited:
                    visited.add(path)
                    yield name, path

    def _is_recursive(self, table: ServiceTable) -> bool:
        """Whether ``[tool.alembic]`` has the option, and our own table says nothing of it."""
        if table.recursive_version_locations is not None or "recursive_version_locations" in self.configuration.given:
            return False
        return read_alembic_table(self.root).get("recursive_version_locations") is True

    def _service(self, name: str, path: Path) -> Service | None:
        """Return the service in a directory; None where the directory has neither models nor revisions.

        The name is that of Python, with underscores for dashes. Where models are only there under the directory's own
        name, which Python can't import, the service has that one.

        Raises:
            ConfigurationError: the service has a table in pyproject.toml, and its models are missing.

        """
        table = self.configuration.service.get(service_name(name), ServiceTable())
        candidates = [self._filled(candidate, path, table) for candidate in dict.fromkeys((service_name(name), name))]
        service = next((candidate for candidate in candidates if candidate.models_file is not None), None)
        if service is None and any(getattr(table, key) is not None for key in ServiceTable.__slots__):
            missing = candidates[0]
            raise ConfigurationError(
                f"[tool.{TABLE}.service.{missing}]: there is no module {missing.models} {missing.source_place}.",
                path=FILE,
                hint="Correct source or models.",
            )
        # a history whose models are gone or misnamed must not be left out of an upgrade without a word
        return service or next((candidate for candidate in candidates if _has_revisions(candidate)), None)

    def _filled(self, name: str, path: Path, table: ServiceTable) -> Service:
        """Return the service of a name in a directory, by its table, the shared one and convention."""
        configuration = self.configuration
        own_keys = {key for key in ServiceTable.__slots__ if getattr(table, key) is not None}
        shared_keys = {"path" if key == "services" else key for key in configuration.given}

        folder = path.relative_to(self.root).as_posix()

        def value(key: str) -> Any:
            own = getattr(table, key)
            return getattr(configuration, key) if own is None else own

        def filled(template: str) -> str:
            return template.replace("{name}", name).replace("{path}", folder)

        schema, env_file = value("version_table_schema"), value("env_file")
        own_env_file = self.root / filled(env_file) if env_file else path / ".env"
        return Service(
            name=name,
            root=self.root,
            path=path,
            source=self.root / filled(value("source")),
            models=filled(value("models")),
            version_locations=tuple(self.root / filled(location) for location in value("versions")),
            recursive_version_locations=value("recursive_version_locations") or self._is_recursive(table),
            version_table=filled(value("version_table")),
            version_table_schema=filled(schema) if schema else None,
            driver=value("driver"),
            # what the service's own table names replaces what all services have
            dsn=table.dsn or (None if table.dsn_key else value("dsn")),
            dsn_key=table.dsn_key or (None if table.dsn else value("dsn_key")),
            password=value("password"),
            ignore=value("ignore"),
            configured=frozenset(own_keys | (shared_keys & set(ServiceTable.__slots__))),
            own_keys=frozenset(own_keys),
            **chosen_env_file(own_env_file, self.root),
        )


def discover(root: Path | None = None) -> tuple[Service, ...]:
    """Return all services of a monorepo; arguments and errors are those of ``Monorepo.locate`` and ``services``."""
    return Monorepo.locate(root).services()


@contextmanager
def discovering_once() -> Iterator[None]:
    """Let the folders of a monorepo be read once while the block runs, which adds and removes no service.

    A command asks who shares its database and its models several times, and there may be hundreds of services.
    """
    token = _discovered.set([])
    try:
        yield
    finally:
        _discovered.reset(token)


def find(name: str, root: Path | None = None) -> Service:
    """Return one service of a monorepo; arguments and errors are those of ``Monorepo.locate`` and ``find``."""
    if not isinstance(name, str):
        raise TypeError(f"a service is its name or a Service, not {type(name).__name__}")
    return Monorepo.locate(root).find(name)


def resolve(service: str | Service) -> Service:
    """Return the service with a name, or the service itself: every public function takes both."""
    return service if isinstance(service, Service) else find(service)


def resolve_all(services: str | Service | Iterable[str | Service]) -> list[Service]:
    """Return several services, by name or as they are; a lone one is one, as a string isn't a list of letters."""
    return [resolve(service) for service in ([services] if isinstance(services, str | Service) else services)]


def select(names: Iterable[str], root: Path | None = None) -> tuple[Service, ...]:
    """Return the named services or all; arguments and errors are those of ``Monorepo.locate`` and ``select``."""
    return Monorepo.locate(root).select(names)


def _has_revisions(service: Service) -> bool:
    return any(True for location in service.version_locations for _ in location.glob("*.py"))

"""The monorepo and its services: where it is, what is a service there, and what follows from a service's name.

A service is a directory with models. Its name decides everything else, unless its table in pyproject.toml says
otherwise (configuration.py).
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from service_migrations.configuration import (
    FILE,
    TABLE,
    Configuration,
    ServiceTable,
    is_service_name,
    read_configuration,
    read_tools,
    service_name,
)
from service_migrations.errors import ConfigurationError, MigrationError, UsageError

__all__ = ["Monorepo", "Service", "discover", "find", "resolve", "select"]

log = logging.getLogger(__name__)

_ROOT = "MIGRATIONS_ROOT"
"""The variable that names the top level where no folder above the working directory is one."""

_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names: NAMEDATALEN - 1 (documentation, 4.1.1 Identifiers and Key Words)."""

_WILDCARD = re.compile(r"[*?\[]")
_noted: set[Path] = set()
"""Directories that were skipped with a note: one line for each is enough for a process."""


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One service of a monorepo, with every name that belongs to it.

    Attributes:
        name: what ``--service`` takes.
        root: the monorepo's top level.
        path: the directory of the service.
        source: the folder that is put on ``sys.path`` to import its models.
        models: the dotted name of the module whose ``__all__`` names the models.
        versions: the folder of its revisions.
        version_table: the name of the table that holds its current revision.
        configured: which of these come from the table in pyproject.toml; the others come from convention.

    """

    name: str
    root: Path = field(repr=False)
    path: Path = field(repr=False)
    source: Path = field(repr=False)
    models: str = field(repr=False)
    versions: Path = field(repr=False)
    version_table: str = field(repr=False)
    configured: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def __str__(self) -> str:
        return self.name

    @property
    def package(self) -> str:
        """The service's own package: a model that is mapped in it has to be exported."""
        if self.source != self.root:
            return self.models.partition(".")[0]
        return self.models.rpartition(".")[0] or self.models

    @property
    def models_file(self) -> Path | None:
        """The file of the models: a module, or the ``__init__.py`` of a package; None where there is neither."""
        place = self.source.joinpath(*self.models.split("."))
        return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)

    @property
    def env_file(self) -> Path:
        """The service's own ``.env``, which may not exist."""
        return self.path / ".env"

    @property
    def env_example(self) -> Path:
        """The example that ``.env`` is made from: the service's own where it has one, else the shared one."""
        own = self.path / ".env.example"
        return own if own.is_file() else self.root / ".env.example"

    @property
    def env_prefix(self) -> str:
        """What a key in the environment begins with when it is meant for this service alone."""
        return f"{self.name.upper()}_"

    @property
    def head_file(self) -> Path:
        """The file that names the head of these revisions."""
        return self.versions / "head.txt"

    @property
    def ledger_table(self) -> str:
        """The name of the table that says which revision ran when, and by whom."""
        return f"migration_log_{self.name}"

    def relative(self, path: Path) -> str:
        """Return a path as a person at the top level would type it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


@dataclass(frozen=True, slots=True)
class Monorepo:
    """A monorepo: its top level, and what its pyproject.toml says."""

    root: Path
    configuration: Configuration = field(repr=False)

    @classmethod
    def at(cls, root: Path) -> "Monorepo":
        """Return the monorepo at a top level.

        Raises:
            ConfigurationError: its pyproject.toml is wrong.

        """
        return cls(root, read_configuration(root))

    @classmethod
    def locate(cls, root: Path | None = None) -> "Monorepo":
        """Return the monorepo at *root*, else at MIGRATIONS_ROOT, else around the working directory.

        That is the nearest folder above it whose pyproject.toml has ``[tool.service-migrations]`` or
        ``[tool.alembic]``; one that has neither belongs to a part of a monorepo and is passed over.

        Raises:
            UsageError: there is none.
            ConfigurationError: MIGRATIONS_ROOT is no such folder, or a pyproject.toml is wrong.

        """
        if root is not None:
            return cls.at(root.absolute())
        if given := os.environ.get(_ROOT):
            root = Path(given).resolve()
            if not _is_root(root):
                raise ConfigurationError(
                    f"environment {_ROOT}: {given} has no {FILE} with [tool.{TABLE}] or [tool.alembic].",
                    hint="Name a monorepo's top level, or unset it.",
                )
            return cls.at(root)
        here = Path.cwd()
        for folder in (here, *here.parents):
            if _is_root(folder):
                return cls.at(folder)
        raise UsageError(
            f"There is no monorepo here: neither {here} nor a folder above it has a {FILE} with "
            f"[tool.{TABLE}] or [tool.alembic].",
            hint=f"Change to one, set {_ROOT}, or run `service-migrations db.init` to begin one.",
        )

    def services(self) -> tuple[Service, ...]:
        """Return all services, in alphabetical order.

        A directory that can't be a service is skipped with a note, so that it doesn't stop the others.

        Raises:
            ConfigurationError: two directories are one service, two services have the same models or revisions, a glob
                of the table matches nothing, or a service of the table has no directory.

        """
        found: dict[str, Service] = {}
        for name, path in self._directories():
            service = self._service(name, path)
            if service is None:
                continue
            if problem := _problem(service):
                if path not in _noted:
                    _noted.add(path)
                    log.warning("%s It is skipped.", problem)
                continue
            other = found.setdefault(name, service)
            if other is not service:
                raise ConfigurationError(
                    f"{other.relative(other.path)} and {service.relative(path)} are both the service {name}.",
                    hint=f"Rename one, or give one a table with a path in {FILE}.",
                )
        for name, table in self.configuration.service.items():
            if name not in found and table.path is None:
                raise ConfigurationError(
                    f"[tool.{TABLE}.service.{name}] has no path, and no directory of that name with "
                    f"models matches {' or '.join(self.configuration.services)}.",
                    path=FILE,
                    hint="Add the path, or remove the table.",
                )
        services = tuple(found[name] for name in sorted(found))
        _refuse_shared(services)
        return services

    def find(self, name: str) -> Service:
        """Return the service of that name; ``billing-api`` and ``billing_api`` mean the same.

        The name is checked before anything is imported or opened: it may come from a URL of a chat-ops bot.

        Raises:
            UsageError: there is no such service; the message has the nearest name.
            ConfigurationError: there is, and it can't be one; the message says why.

        """
        services = self.services()
        wanted = service_name(name)
        for service in services:
            if service.name == wanted:
                return service
        for skipped, path in self._directories():
            refused = self._service(skipped, path) if skipped in (name, wanted) else None
            if refused is not None and (problem := _problem(refused)):
                raise problem
        known = [service.name for service in services]
        near = get_close_matches(wanted, known, n=1, cutoff=0.6)
        where = " or ".join(self.configuration.services)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known) or f'none, {where} is empty'}."
        raise UsageError(f"--service {name!r}: there is no such service in {where}.", hint=hint)

    def select(self, names: Iterable[str]) -> tuple[Service, ...]:
        """Return the named services, each once, or all of them where no name was given.

        Raises:
            UsageError: one of them doesn't exist, or there are none at all.
            ConfigurationError: as of ``find``.

        """
        chosen = tuple(dict.fromkeys(map(self.find, names))) or self.services()
        if not chosen:
            raise UsageError(
                f"{' or '.join(self.configuration.services)} holds no service.",
                hint="A service is a directory with "
                f"{self.configuration.models.replace('{name}', '<name>').replace('.', '/')}.py or a "
                "package of that name.",
            )
        return chosen

    def _directories(self) -> Iterator[tuple[str, Path]]:
        """Yield the name and the directory of what may be a service; its models may be missing."""
        placed = {self.root / table.path: name for name, table in self.configuration.service.items() if table.path}
        for path, name in placed.items():
            if not path.is_dir():
                place, folder = f"[tool.{TABLE}.service.{name}] path", path.relative_to(self.root).as_posix()
                raise ConfigurationError(f"{place}: {folder!r} is no directory.", path=FILE)
            yield name, path
        seen = set(placed)
        for pattern in self.configuration.services:
            parts = PurePosixPath(pattern).parts
            wild = [number for number, part in enumerate(parts) if _WILDCARD.search(part)]
            matches = [path for path in sorted(self.root.glob(pattern)) if path.is_dir()]
            if not matches and "services" in self.configuration.given:
                raise ConfigurationError(f"[tool.{TABLE}] services: {pattern!r} matches no directory.", path=FILE)
            for path in matches:
                name = path.relative_to(self.root).parts[wild[-1] if wild else -1]
                if name[0] not in "_." and path not in seen:
                    seen.add(path)
                    yield name, path

    def _service(self, name: str, path: Path) -> Service | None:
        """Return the service in a directory; None where it has no models.

        Raises:
            ConfigurationError: its models aren't where its table in pyproject.toml says.

        """
        configuration = self.configuration
        table = configuration.service.get(name, ServiceTable())
        own = {key for key in ServiceTable.__slots__ if getattr(table, key) is not None}
        given = {"path" if key == "services" else key for key in configuration.given}

        def value(key: str) -> str:
            return str(getattr(table, key) or getattr(configuration, key)).replace("{name}", name)

        service = Service(
            name=name,
            root=self.root,
            path=path,
            source=self.root / value("source"),
            models=value("models"),
            versions=self.root / value("versions"),
            version_table=value("version_table"),
            configured=frozenset(own | (given & set(ServiceTable.__slots__))),
        )
        if service.models_file is None:
            if own:
                where = "at the top level" if service.source == self.root else f"in {value('source')}"
                raise ConfigurationError(
                    f"[tool.{TABLE}.service.{name}]: there is no module {service.models} {where}.",
                    path=FILE,
                    hint="Correct source or models.",
                )
            return None
        return service


def discover(root: Path | None = None) -> tuple[Service, ...]:
    """Return all services of a monorepo; arguments and errors are those of ``Monorepo.locate`` and ``services``."""
    return Monorepo.locate(root).services()


def find(name: str, root: Path | None = None) -> Service:
    """Return one service of a monorepo; arguments and errors are those of ``Monorepo.locate`` and ``find``."""
    return Monorepo.locate(root).find(name)


def resolve(service: str | Service) -> Service:
    """Return the service of a name, or the service itself: at the door of the library, once."""
    return find(service) if isinstance(service, str) else service


def select(names: Iterable[str], root: Path | None = None) -> tuple[Service, ...]:
    """Return the named services or all; arguments and errors are those of ``Monorepo.locate`` and ``select``."""
    return Monorepo.locate(root).select(names)


def _is_root(folder: Path) -> bool:
    return bool({TABLE, "alembic"} & read_tools(folder).keys())


def _refuse_shared(services: Iterable[Service]) -> None:
    """Refuse two services whose models or revisions are the same: what one writes would be the other's."""
    models: dict[object, Service] = {}
    versions: dict[Path, Service] = {}
    for service in services:
        other = models.setdefault((service.source, service.models), service)
        if other is not service:
            raise ConfigurationError(
                f"{other} and {service} have the same models, {service.models} in the same source.",
                path=FILE,
                hint="Correct the models or the source of one.",
            )
        other = versions.setdefault(service.versions, service)
        if other is not service:
            raise ConfigurationError(
                f"{other} and {service} have the same versions, {service.relative(service.versions)}.",
                path=FILE,
                hint="A folder holds the revisions of one service.",
            )


def _problem(service: Service) -> MigrationError | None:
    """Return why a directory can't be a service, though it has models; None where it can."""
    name, where = service.name, service.relative(service.path)
    if not is_service_name(name):
        fix = re.sub(r"\W", "_", name.lower())
        fix = fix if is_service_name(fix) else f"service_{fix}"
        parts = service.path.relative_to(service.root).parts
        renamed = "/".join(fix if part == name else part for part in parts)
        hint = f"Rename it to {renamed}."
        return ConfigurationError("Python can't import a service of that name.", path=where, hint=hint)
    if not service.path.resolve().is_relative_to(service.root.resolve()):
        return UsageError("the link leads out of the repository.", path=where, hint="Move the service into it.")
    for table, behind in ((service.version_table, "_pkc"), (service.ledger_table, "_pkey")):
        excess = len(table + behind) - _IDENTIFIER_BYTES
        if excess > 0:
            return ConfigurationError(
                f"the name is {excess} characters too long for {table} in PostgreSQL ({_IDENTIFIER_BYTES} bytes).",
                path=where,
                hint=f"Rename it to {len(name) - excess} characters or fewer.",
            )
    return None

"""A service: every name and folder that belongs to it, and the checks of what can be one."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType

from service_migrations.configuration import TABLE, is_service_name
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.files import is_there
from service_migrations.pyproject import FILE

__all__ = ["Service", "refuse_shared", "service_problem", "with_foreign_locations"]

_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names: NAMEDATALEN - 1 (documentation, 4.1.1 Identifiers and Key Words)."""


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One service of a monorepo, with every name and folder that belongs to it.

    Attributes:
        name: what ``--service`` takes.
        root: the monorepo's top level.
        path: the directory of the service.
        source: the folder that is put on ``sys.path`` to import its models.
        models: the dotted name of the module whose ``__all__`` names the models.
        version_locations: the folders of its revisions; a new one is written to the first.
        version_table: the name of the table that holds its current revision.
        recursive_version_locations: whether revisions are in folders below these too.
        version_table_schema: the schema of the version table; None for that of the models' MetaData.
        driver: the driver over which Alembic runs, ``asyncpg`` or ``psycopg``.
        env_file: its ``.env``, which may not exist.
        dsn: template of its DSN, with the names of variables in braces; None for DATABASE_DSN.
        dsn_key: the variable with its DSN, where it isn't DATABASE_DSN.
        password: the function that returns its password, ``package.module:function``.
        environment: the name of the environment whose files are read, such as ``staging``; empty for ``.env``.
        is_env_file_given: whether ``env_file`` was named for this command, and is read instead of every ``.env``.
        ignore: patterns of the tables that no comparison looks at.
        configured: which of these the table in pyproject.toml sets; the others come from convention.
        foreign_locations: the folders of revisions of other services that are below its own.
        own_keys: which of those the service's own table sets.

    """

    name: str
    root: Path = field(repr=False)
    path: Path = field(repr=False)
    source: Path = field(repr=False)
    models: str = field(repr=False)
    version_locations: tuple[Path, ...] = field(repr=False)
    version_table: str = field(repr=False)
    recursive_version_locations: bool = field(default=False, repr=False)
    version_table_schema: str | None = field(default=None, repr=False)
    driver: str = field(default="asyncpg", repr=False)
    env_file: Path = field(default=Path(".env"), repr=False)
    dsn: str | None = field(default=None, repr=False)
    dsn_key: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    environment: str = field(default="", repr=False)
    is_env_file_given: bool = field(default=False, repr=False)
    ignore: tuple[str, ...] = field(default=(), repr=False)
    configured: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    foreign_locations: tuple[Path, ...] = field(default=(), repr=False, compare=False)
    own_keys: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def __str__(self) -> str:
        return self.name

    @property
    def versions(self) -> Path:
        """The folder that a new revision is written to."""
        return self.version_locations[0]

    @property
    def shown_locations(self) -> str:
        """The folders of its revisions, as a message names them."""
        return ", ".join(self.relative(location) for location in self.version_locations)

    @property
    def package(self) -> str:
        """The service's own package; every model in it has to be exported."""
        if self.source != self.root:
            return self.models.partition(".")[0]
        return self.models.rpartition(".")[0] or self.models

    @property
    def models_file(self) -> Path | None:
        """The file of the models: a module or the ``__init__.py`` of a package; None where neither exists."""
        module = self.source.joinpath(*self.models.split("."))
        return next((path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()), None)

    @property
    def source_place(self) -> str:
        """Where the models are imported from, for a message."""
        return "at the top level" if self.source == self.root else f"in {self.relative(self.source)}"

    @property
    def env_example(self) -> Path:
        """The example of the ``.env``: the service's own where it has one, else the shared one."""
        own = self.path / ".env.example"
        return own if is_there(own) else self.root / ".env.example"

    @property
    def shared_env_file(self) -> Path | None:
        """The ``.env`` of the top level, which may not exist; None where a file was named for this command."""
        if self.is_env_file_given:
            return None
        return self.root / (f".env.{self.environment}" if self.environment else ".env")

    def table_of(self, key: str) -> str:
        """Return the table of pyproject.toml that sets a key for this service."""
        return f"[tool.{TABLE}.service.{self.name}]" if key in self.own_keys else f"[tool.{TABLE}]"

    @property
    def env_prefix(self) -> str:
        """The prefix of an environment variable that is for this service alone."""
        return f"{self.name.upper()}_"

    @property
    def head_file(self) -> Path:
        """The file that names the heads of the service's revisions."""
        return self.versions / "head.txt"

    @property
    def ledger_table(self) -> str:
        """The name of the table that records when each revision was run, and by whom."""
        return f"migration_log_{self.name}"

    def ignored_by(self, schema: str, name: str) -> str | None:
        """Return the pattern of ``ignore`` that a table's name matches, with or without its schema, if any."""
        full_name = f"{schema}.{name}"
        return next((glob for glob in self.ignore if fnmatchcase(name, glob) or fnmatchcase(full_name, glob)), None)

    def first_place(self, frames: Iterable[tuple[FrameType, int]], *folders: Path) -> tuple[str, int] | None:
        """Return the file and line of the first frame whose file is in one of some folders; None where none is.

        Args:
            frames: with their lines, as ``traceback.walk_stack`` and ``walk_tb`` yield them.
            folders: such as those of the revisions; a file is in itself too.

        """
        for frame, line in frames:
            path = Path(frame.f_code.co_filename)
            if any(path.is_relative_to(folder) for folder in folders):
                return self.relative(path), line
        return None

    def revision_place(self, frames: Iterable[tuple[FrameType, int]]) -> tuple[str, int] | None:
        """Return the file and line of the first frame in a revision; None where none is.

        Alembic loads a file by its real path, also where the folder or the file is a symbolic link.

        Args:
            frames: as in ``first_place``.

        """
        all_frames, locations = list(frames), self.version_locations
        folders = (*locations, *(location.resolve() for location in locations))
        if place := self.first_place(all_frames, *folders):
            return place
        files = (path for location in locations for path in location.rglob("*.py") if path.is_symlink())
        return self.first_place(all_frames, *(path.resolve() for path in files))

    def relative(self, path: Path) -> str:
        """Return a path relative to the top level, or as it is where it is outside."""
        with suppress(ValueError):
            return path.relative_to(self.root).as_posix()
        with suppress(ValueError):
            return path.relative_to(self.root.resolve()).as_posix()
        return str(path)


def with_foreign_locations(services: Iterable[Service]) -> tuple[Service, ...]:
    """Return services that know which folders below those of their revisions are another's."""
    services = tuple(services)
    owners = {str(location): service for service, location in _real_locations(services)}
    foreign: dict[Service, list[Path]] = {}
    for location, owner in owners.items():
        folder = location
        while folder := folder.rpartition(os.sep)[0]:
            if owners.get(folder, owner) is not owner:
                foreign.setdefault(owners[folder], []).append(Path(location))
    return tuple(
        replace(service, foreign_locations=tuple(foreign[service])) if service in foreign else service
        for service in services
    )


def _real_locations(services: Iterable[Service]) -> Iterator[tuple[Service, Path]]:
    """Yield each folder of revisions by its real path, with its service."""
    parents: dict[Path, Path] = {}
    for service in services:
        for location in service.version_locations:
            parent = location.parent
            if parent not in parents:
                parents[parent] = parent.resolve()
            real_path = parents[parent] / location.name
            yield service, real_path.resolve() if real_path.is_symlink() else real_path


def refuse_shared(services: Iterable[Service]) -> None:
    """Refuse two services with the same models or the same folder of revisions, also one within the other.

    Raises:
        ConfigurationError: there are two such services.

    """
    services = tuple(services)
    by_models: dict[object, Service] = {}
    by_versions: dict[Path, Service] = {}
    for service in services:
        other = by_models.setdefault((service.source, service.models), service)
        if other is not service:
            raise ConfigurationError(
                f"{other} and {service} have the same models, {service.models} in the same source.",
                path=FILE,
                hint="Correct the models or the source of one.",
            )
        if service.recursive_version_locations and service.foreign_locations:
            raise ConfigurationError(
                f"{service} has recursive_version_locations, and below {service.shown_locations} are the "
                f"versions of another service, {service.relative(service.foreign_locations[0])}.",
                path=FILE,
                hint="Alembic would take them for its own: move one of the folders.",
            )
    for service, folder in _real_locations(services):
        other = by_versions.setdefault(folder, service)
        if other is not service:
            raise ConfigurationError(
                f"{other} and {service} have the same versions, {service.relative(folder)}.",
                path=FILE,
                hint="A folder holds the revisions of one service.",
            )


def service_problem(service: Service) -> MigrationError | None:
    """Return the error of a directory that has models or revisions and can't be a service; None where it can."""
    name, path = service.name, service.relative(service.path)
    if not is_service_name(name):
        valid_name = re.sub(r"\W", "_", name.lower())
        valid_name = valid_name if is_service_name(valid_name) else f"service_{valid_name}"
        parts = service.path.relative_to(service.root).parts
        renamed = "/".join(valid_name if part == name else part for part in parts)
        hint = f"Rename it to {renamed}."
        return ConfigurationError("Python can't import a service of that name.", path=path, hint=hint)
    if not service.path.resolve().is_relative_to(service.root.resolve()):
        return UsageError("the link leads out of the repository.", path=path, hint="Move the service into it.")
    for table, suffix in ((service.version_table, "_pkc"), (service.ledger_table, "_pkey")):
        excess = len(table + suffix) - _IDENTIFIER_BYTES
        if excess > 0:
            longest = len(name) - excess
            hint = f"Rename it to {longest} characters or fewer" if longest > 0 else f"Shorten version_table in {FILE}"
            return ConfigurationError(
                f"the name is {excess} characters too long for {table} in PostgreSQL ({_IDENTIFIER_BYTES} bytes).",
                path=path,
                hint=f"{hint}.",
            )
    if service.models_file is None:
        return ConfigurationError(
            f"{path} has revisions in {service.shown_locations}, and there is no module {service.models} "
            f"{service.source_place}.",
            path=path,
            hint="Correct models or source, or remove what is left.",
        )
    return None

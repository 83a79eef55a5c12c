"""The findings about a server, a role, a schema or a table: each is a sentence that ends with the fix."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from service_migrations.configuration import TABLE, read_configuration
from service_migrations.connection.single_message import Row
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, NotReadyError
from service_migrations.pyproject import FILE

__all__ = [
    "Finding",
    "oldest_version",
    "role_finding",
    "schema_findings",
    "server_findings",
    "table_findings",
    "version_findings",
]

_ENDS = {
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
"""The day of the last minor release of each major version (https://www.postgresql.org/support/versioning/)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a server, a role, a schema or a table.

    Attributes:
        message: a sentence that ends with the fix.
        error: the error that an upgrade would raise; None for a warning.
        about: the name of the table, or of another object.
        service: the name of the service.

    """

    message: str
    error: type[MigrationError] | None = None
    about: str = ""
    service: str = ""

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.service}: {self.message}" if self.service else self.message

    @classmethod
    def of(cls, error: MigrationError, about: str) -> "Finding":
        """Return an error as a finding."""
        service = error.service or ""
        return cls(str(error).removeprefix(f"{service}: "), type(error), about, service)

    def as_error(self) -> MigrationError | None:
        """Return the error that an upgrade raises; None for a warning."""
        return self.error(self.message, service=self.service or None) if self.error else None

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return "error" if self.error else "warning"


def oldest_version(root: Path) -> int:
    """Return the oldest major version that a monorepo accepts, of its table or of the packages."""
    return min(_versions(root))


def _versions(root: Path) -> tuple[int, ...]:
    return tuple(map(int, read_configuration(root).postgres or _packaged()))


@cache
def _packaged() -> tuple[str, ...]:
    """Return the versions that have packages, from the list of packages, without importing postgres/."""
    packages = Path(__file__).parents[1] / "postgres" / "packages.toml"
    return tuple(tomllib.loads(packages.read_text(encoding="utf-8")))


def server_findings(target: str, server: Row, oldest: int) -> Iterable[Finding]:
    """Yield why a server can't be migrated."""
    if server.major < oldest:
        yield Finding(
            f"{target} is PostgreSQL {server.version}, and the oldest that migrations are tested on is {oldest}. "
            f"Upgrade the server.",
            ConfigurationError,
        )
    if server.standby:
        yield Finding(
            f"{target} is a standby, which is read-only: name the primary in DATABASE_DSN, or add "
            f"target_session_attrs=read-write to it.",
            ConfigurationError,
        )
    elif server.read_only:
        yield Finding(
            f"{target} is read-only. {_writable(server)}",
            ConfigurationError,
        )
    if server.unprepared and server.being_created:
        yield Finding(
            f"{target} is being prepared by `inv db.create`. Run the command again when that is done.", NotReadyError
        )
    elif server.unprepared:
        yield Finding(
            f"{target} was not prepared: its `inv db.create` was interrupted. Run `inv db.create` again.",
            ConfigurationError,
        )


def version_findings(target: str, major: int, root: Path, today: date) -> Iterable[Finding]:
    """Yield notes of a server's major version, which never refuse it: it has ended, or no test has seen it.

    Args:
        target: the database.
        major: the major version of its server.
        root: the top level, whose table names the versions of the matrix.
        today: this day.

    """
    end, newest = _ENDS.get(major), max(_versions(root))
    if major < min(_ENDS) or (end and end < today):
        when = f"on {end}" if end else f"before {min(_ENDS)}"
        version = f" to {newest}" if newest > major else ""
        yield Finding(
            f"{target} is PostgreSQL {major}, which ended {when} and gets no more fixes. Upgrade the server{version}.",
            about="end of life",
        )
    if major > newest:
        yield Finding(
            f"{target} is PostgreSQL {major}, and the newest that migrations are tested on is {newest}. Add it to "
            f"postgres in [tool.{TABLE}] of {FILE}.",
            about="version",
        )


def _writable(server: Row) -> str:
    """Return how to reset default_transaction_read_only where it was set."""
    role = f'ROLE "{server.role}"'
    owner = {
        "database": f"DATABASE {server.database}",
        "user": role,
        "database user": f"{role} IN DATABASE {server.database}",
    }.get(server.read_only_by)
    if owner:
        return f"Run: BEGIN READ WRITE; ALTER {owner} SET default_transaction_read_only = off; COMMIT;"
    if server.read_only_by == "client":
        return "Remove default_transaction_read_only from the DSN."
    return "A superuser can run: ALTER SYSTEM SET default_transaction_read_only = off; SELECT pg_reload_conf();"


def schema_findings(target: str, server: Row, search_path: str) -> Iterable[Finding]:
    """Yield the problems of the schemas in which a migration resolves names."""
    if server.schema is None:
        yield Finding(
            f"{target}: none of the schemas of search_path ({search_path}) is there. Correct MIGRATIONS_SEARCH_PATH.",
            ConfigurationError,
        )
    if server.superuser:
        for name in server.open:
            yield Finding(
                f"{target}: {server.role} is a superuser, and anybody may create functions and operators in the schema "
                f"{name}, which would run with its rights. Migrate as the service's own role, or run: "
                f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;",
                ConfigurationError,
                name,
            )


def table_findings(target: str, table: Row, version_table: str) -> Iterable[Finding]:
    """Yield why it is unsafe to write a table; for the ledger these are warnings, and it isn't written."""
    error = ConfigurationError if table.name == version_table else None
    suffix = "" if error else " Until then nothing is written to it."
    kinds = (("trigger", table.triggers, " ON "), ("rule", table.rules, " ON "))
    for kind, names, preposition in kinds:
        for name in names:
            yield Finding(
                f"{target}: {table.shown} has the {kind} {name}, which would run with the rights of a migration."
                f"{suffix} Its owner can run: DROP {kind.upper()} {name}{preposition}{table.shown};",
                error,
                table.name,
            )
    if not table.own:
        yield Finding(
            f"{target}: {table.shown} belongs to {table.owner}, who decides what runs when it is written.{suffix} "
            f"Migrate as {table.owner}, or run: ALTER TABLE {table.shown} OWNER TO {table.role};",
            error,
            table.name,
        )


def role_finding(target: str, server: Row) -> Finding:
    """Return the finding about a role that may not create a table or a schema."""
    kind, name = ("SCHEMA", server.schema) if server.there else ("DATABASE", server.database)
    return Finding(
        f"{target}: {server.role} may not create {'tables in' if server.there else 'a schema in'} {kind.lower()} "
        f'{name}. Its owner can run: GRANT CREATE ON {kind} {name} TO "{server.role}";',
        AccessDeniedError,
        name,
    )

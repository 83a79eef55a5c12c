"""What can be wrong with a server, a role, a schema or a table: each a sentence that ends with what mends it."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from service_migrations.configuration import read_configuration
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError

__all__ = ["Finding", "of_role", "of_schemas", "of_server", "of_table", "oldest"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a line that ends with what corrects it.

    ``error`` is what an upgrade would raise; None where it goes on, and the finding is a warning. ``about`` is the
    table or whatever else it is about.
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
        """Return what an error is as a finding."""
        service = error.service or ""
        return cls(str(error).removeprefix(f"{service}: "), type(error), about, service)

    def as_error(self, kind: type[MigrationError]) -> MigrationError:
        """Return what an upgrade raises."""
        return kind(self.message, service=self.service or None)

    @property
    def severity(self) -> str:
        """``error`` or ``warning``."""
        return "error" if self.error else "warning"


def oldest(root: Path) -> int:
    """Return the oldest major version that a monorepo accepts: of its table, else of those that a package provides."""
    return min(map(int, read_configuration(root).postgres or _packaged()))


@cache
def _packaged() -> tuple[str, ...]:
    """Return the versions that there are packages of, from the one list of them, without what runs servers."""
    packages = Path(__file__).parents[1] / "postgres" / "packages.toml"
    return tuple(tomllib.loads(packages.read_text(encoding="utf-8")))


def of_server(where: str, server: Row[Any], oldest: int) -> Iterable[Finding]:
    """Yield what makes it a server that can't be migrated."""
    if server.major < oldest:
        yield Finding(
            f"{where} is PostgreSQL {server.version}, and the oldest that migrations are tested on is {oldest}. "
            f"Upgrade the server.",
            ConfigurationError,
        )
    if server.standby:
        yield Finding(
            f"{where} is a standby, which is read-only: name the primary in DATABASE_DSN, or add "
            f"target_session_attrs=read-write to it.",
            ConfigurationError,
        )
    elif server.read_only:
        yield Finding(
            f"{where} is read-only. {_writable(server)}",
            ConfigurationError,
        )


def _writable(server: Row[Any]) -> str:
    """Return what takes back default_transaction_read_only where it was set."""
    role = f'ROLE "{server.role}"'
    whose = {
        "database": f"DATABASE {server.database}",
        "user": role,
        "database user": f"{role} IN DATABASE {server.database}",
    }.get(server.read_only_by)
    if whose:
        return f"Run: BEGIN READ WRITE; ALTER {whose} SET default_transaction_read_only = off; COMMIT;"
    if server.read_only_by == "client":
        return "Remove default_transaction_read_only from the DSN."
    return "A superuser can run: ALTER SYSTEM SET default_transaction_read_only = off; SELECT pg_reload_conf();"


def of_schemas(where: str, server: Row[Any]) -> Iterable[Finding]:
    """Yield what is wrong with the schemas that a migration resolves names in."""
    if server.schema is None:
        yield Finding(
            f"{where}: none of the schemas of search_path ({server.search_path}) is there. "
            f"Correct MIGRATIONS_SEARCH_PATH.",
            ConfigurationError,
        )
    if server.superuser:
        for name in server.open:
            yield Finding(
                f"{where}: {server.role} is a superuser, and anybody may create functions and operators in the schema "
                f"{name}, which would run with its rights. Migrate as the service's own role, or run: "
                f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;",
                ConfigurationError,
                name,
            )


def of_table(where: str, table: Row[Any], trusted_with: str) -> Iterable[Finding]:
    """Yield what makes it unsafe to write a table; the ledger is then left alone, and the rest goes on."""
    error = ConfigurationError if table.name == trusted_with else None
    suffix = "" if error else " Until then nothing is written to it."
    kinds = (("trigger", table.triggers, " ON "), ("rule", table.rules, " ON "))
    for kind, found, on in kinds:
        for name in found:
            yield Finding(
                f"{where}: {table.shown} has the {kind} {name}, which would run with the rights of a migration."
                f"{suffix} Its owner can run: DROP {kind.upper()} {name}{on}{table.shown};",
                error,
                table.name,
            )
    if not table.own:
        yield Finding(
            f"{where}: {table.shown} belongs to {table.owner}, who decides what runs when it is written.{suffix} "
            f"Migrate as {table.owner}, or run: ALTER TABLE {table.shown} OWNER TO {table.role};",
            error,
            table.name,
        )


def of_role(where: str, server: Row[Any]) -> Finding:
    """Return that a role may not create what it is going to."""
    kind, name = ("SCHEMA", server.schema) if server.there else ("DATABASE", server.database)
    return Finding(
        f"{where}: {server.role} may not create {'tables in' if server.there else 'a schema in'} {kind.lower()} {name}."
        f' Its owner can run: GRANT CREATE ON {kind} {name} TO "{server.role}";',
        AccessDeniedError,
        name,
    )

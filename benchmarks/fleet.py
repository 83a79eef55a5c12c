"""A fleet to measure on: services with a history each, the same SQL written for every contestant."""

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import asyncpg

from service_migrations.settings.dsn import Dsn

ROOT = Path(__file__).resolve().parent.parent

__all__ = ["Fleet", "copy_ours", "services"]

_ROLE = "bench"
_MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Thing"]


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
_REVISION = '''
"""Revision {number}."""

from alembic import op

revision = "{revision}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("{sql}")


def downgrade() -> None:
    pass
'''
_INI = """
[alembic]
script_location = %(here)s
sqlalchemy.url = {url}
"""
_ENV = """
import asyncio

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config

config = context.config


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    options = config.get_section(config.config_ini_section, {})
    engine = async_engine_from_config(options, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
"""


_ALCHEMY = """
from pathlib import Path

from advanced_alchemy.config import AlembicAsyncConfig, SQLAlchemyAsyncConfig

alchemy_config = SQLAlchemyAsyncConfig(
    connection_string="{url}",
    alembic_config=AlembicAsyncConfig(script_location=str(Path(__file__).parent / "migrations")),
)
"""


def services(count: int) -> list[str]:
    """Return the names of that many services."""
    return [f"s{number:03}" for number in range(1, count + 1)]


def copy_ours(folder: Path) -> None:
    """Copy what a monorepo has beside its services."""
    ignore = shutil.ignore_patterns("__pycache__", "versions")
    for name in ("migrations", "shared_models"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("tasks.py", "pyproject.toml", ".env.example"):
        shutil.copy(ROOT / name, folder)


def _sql(number: int) -> str:
    """Return the one statement of a revision: four kinds of everyday changes in turn."""
    table = f"thing_{(number - 1) // 4}"
    return (
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text NOT NULL)",
        f"ALTER TABLE {table} ADD COLUMN price numeric",
        f"CREATE INDEX ix_{table} ON {table} (name)",
        f"INSERT INTO {table} VALUES (1, 'first', 2)",
    )[(number - 1) % 4]


@dataclass(frozen=True)
class Fleet:
    """A folder with the files of every contestant, and a server on which each has a database for each service."""

    root: Path
    admin: Dsn
    names: list[str]
    revisions: int

    @classmethod
    def make(cls, root: Path, admin: Dsn, count: int, revisions: int, alchemy: str | None = None) -> "Fleet":
        """Write the files of a fleet; databases are made by ``databases``. *alchemy* is Advanced-Alchemy's command."""
        fleet = cls(root, admin, services(count), revisions)
        fleet._ours()
        for name in fleet.names:
            fleet._others(name)
        if alchemy:
            fleet._alchemy(alchemy)
        return fleet

    def dsn(self, contestant: str, service: str, scheme: str = "postgresql") -> str:
        """Return the address of a contestant's database for a service."""
        host, port = self.admin.hosts[0]
        return f"{scheme}://{_ROLE}:{_ROLE}@{host}:{port}/{contestant}_{service}"

    def databases(self, contestant: str) -> None:
        """Make a contestant's databases, and the role of all, where they are not there."""
        asyncio.run(self._databases(contestant))

    def empty(self, contestant: str) -> None:
        """Empty a contestant's databases."""
        asyncio.run(self._empty(contestant))

    async def _databases(self, contestant: str) -> None:
        connection = await asyncpg.connect(**self.admin.connect_args())
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", _ROLE):
            await connection.execute(f"CREATE ROLE {_ROLE} LOGIN PASSWORD '{_ROLE}'")
        there = {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
        for name in self.names:
            if f"{contestant}_{name}" not in there:
                await connection.execute(f"CREATE DATABASE {contestant}_{name} OWNER {_ROLE}")
        await connection.close()

    async def _empty(self, contestant: str) -> None:
        for name in self.names:
            inside = Dsn(self.admin.user, f"{contestant}_{name}", self.admin.hosts, self.admin.password)
            connection = await asyncpg.connect(**inside.connect_args())
            await connection.execute(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {_ROLE}")
            await connection.close()

    def _alchemy(self, program: str) -> None:
        """Let Advanced-Alchemy make an environment of its own, once, and give each service a copy."""
        home = self.root / "advanced_alchemy"
        made = home / "template"
        made.mkdir(parents=True)
        for name in ("template", *self.names):
            folder = home / name
            if folder != made:
                shutil.copytree(made, folder)
                for path in (self.root / "alembic" / name / "versions").glob("*.py"):
                    shutil.copy(path, folder / "migrations" / "versions")
            url = self.dsn("advanced_alchemy", name, "postgresql+asyncpg")
            (folder / "config.py").write_text(_ALCHEMY.lstrip().format(url=url), encoding="utf-8")
            if folder == made:
                words = [program, "--config", "config.alchemy_config", "init", "--no-prompt"]
                subprocess.run(words, cwd=made, env={**os.environ, "PYTHONPATH": "."}, check=True, capture_output=True)

    def _ours(self) -> None:
        copy_ours(self.root / "ours")

    def _others(self, name: str) -> None:
        service = self.root / "ours" / "services" / name
        versions = self.root / "ours" / "migrations" / "versions" / name
        alembic = self.root / "alembic" / name
        dbmate = self.root / "dbmate" / name
        for folder in (service, versions, alembic / "versions", dbmate, self.root / "psql"):
            folder.mkdir(parents=True, exist_ok=True)
        (service / "models.py").write_text(_MODELS, encoding="utf-8")
        env = service / ".env"
        env.write_text(f"DATABASE_DSN={self.dsn('ours', name)}\n", encoding="utf-8")
        env.chmod(0o600)
        url = self.dsn("alembic", name, "postgresql+asyncpg")
        (alembic / "alembic.ini").write_text(dedent(_INI).format(url=url), encoding="utf-8")
        (alembic / "env.py").write_text(_ENV, encoding="utf-8")
        script = []
        for number in range(1, self.revisions + 1):
            revision, down = f"{name}_{number:04}", f"{name}_{number - 1:04}" if number > 1 else None
            text = _REVISION.lstrip().format(number=number, revision=revision, down=down, sql=_sql(number))
            for folder in (versions, alembic / "versions"):
                (folder / f"{revision}.py").write_text(text, encoding="utf-8")
            text = f"-- migrate:up\n{_sql(number)};\n\n-- migrate:down\n"
            (dbmate / f"{20260101000000 + number}_r.sql").write_text(text, encoding="utf-8")
            script.append(f"BEGIN;\n{_sql(number)};\nCOMMIT;\n")
        (self.root / "psql" / f"{name}.sql").write_text("".join(script), encoding="utf-8")

"""A small monorepo in a temporary folder: the real tasks, with services of the test's own."""

import os
import re
import shutil
import signal
import subprocess
import sys
from compileall import compile_dir
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import dedent, indent
from typing import TextIO
from urllib.parse import quote

from service_migrations.monorepo import Service, find
from service_migrations.settings.dsn import Dsn
from tests.support.forked import Child

ROOT = Path(__file__).resolve().parents[2]
"""The top level of this repository."""

DRIVER = os.environ.get("MIGRATIONS_TEST_DRIVER", "asyncpg")
"""The driver of the services of a test's monorepo: nox runs the faults over both."""

PATIENCE = 120.0
"""Seconds that a command may take."""

_NOT_READ = re.compile(r"\[+tool\.(?:uv|hatch|ruff\.lint|importlinter|mypy)\b")
"""Tables of pyproject.toml that no task reads, and that each process would parse."""

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Thing"]


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "{table}"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
"""
"""Models of one table, to be formatted with its name."""


@dataclass(frozen=True)
class Monorepo:
    """Its root, and how to fill and to use it."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "Monorepo":
        """Copy what every monorepo has: the tasks, the environment, the configuration; no service, no revision."""
        root.mkdir(parents=True, exist_ok=True)
        for name in ("tasks.py", ".env.example"):
            shutil.copy(ROOT / name, root)
        (root / "pyproject.toml").write_text(_configuration(), encoding="utf-8")
        _compile()
        ignore = shutil.ignore_patterns("versions")
        shutil.copytree(ROOT / "migrations", root / "migrations", ignore=ignore)
        shutil.copytree(ROOT / "shared_models", root / "shared_models", ignore=ignore)
        (root / "services").mkdir()
        return cls(root)

    def service(self, name: str, models: str | None = None, dsn: Dsn | str | None = None, **env: str) -> Service:
        """Write a service: its models (by default one table of its name), and a .env where there is a DSN."""
        folder = self.root / "services" / name
        folder.mkdir(exist_ok=True)
        (folder / "models.py").write_text(dedent(models or MODELS.format(table=name)), encoding="utf-8")
        if dsn is not None:
            self.env(name, DATABASE_DSN=dsn if isinstance(dsn, str) else dsn_text(dsn), **env)
        return self.find(name)

    def find(self, name: str) -> Service:
        """Return the service of a name."""
        return find(name, self.root)

    def env(self, name: str, **values: str) -> Path:
        """Write a service's .env."""
        path = self.root / "services" / name / ".env"
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
        path.chmod(0o600)
        return path

    def revision(self, service: str, revision: str, down: str | None, up: str = "pass", back: str = "pass") -> Path:
        """Write a revision file with these bodies of ``upgrade()`` and ``downgrade()``."""
        folder = self.root / "migrations" / "versions" / service
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{revision}.py"
        body = [f'"""{revision}."""', "import sqlalchemy as sa", "from alembic import op", ""]
        body += [f"revision = {revision!r}", f"down_revision = {down!r}", "", ""]
        body += ["def upgrade():", indent(dedent(up).strip(), "    "), "", ""]
        body += ["def downgrade():", indent(dedent(back).strip(), "    "), ""]
        path.write_text("\n".join(body), encoding="utf-8")
        return path

    def table_revision(self, service: str, revision: str, down: str | None, table: str | None = None) -> Path:
        """Write a revision that creates the table of the default models."""
        table = table or service
        return self.revision(
            service,
            revision,
            down,
            f'op.create_table("{table}", sa.Column("id", sa.Integer, primary_key=True), '
            f'sa.Column("name", sa.String(50), nullable=False))',
            f'op.drop_table("{table}")',
        )

    def inv(
        self, *words: str, env: dict[str, str] | None = None, cwd: Path | None = None, program: str = "invoke"
    ) -> "Ran":
        """Run Invoke, or another program, in this monorepo, as a person would, with nobody at the keyboard."""
        with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
            environment = {**os.environ, **(env or {})}
            child = Child(words, cwd or self.root, environment, out.fileno(), err.fileno(), program=program)
            try:
                code = child.wait(PATIENCE)
            finally:
                child.kill()
            out.seek(0)
            err.seek(0)
            return Ran(code, out.read(), err.read())

    def start(self, *words: str, env: dict[str, str] | None = None) -> "Running":
        """Start what ``inv`` runs, in a session of its own, without waiting for it."""
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        child = Child(words, self.root, {**os.environ, **(env or {})}, to_out, to_err, session=True)
        os.close(to_out)
        os.close(to_err)
        return Running(child, os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8"))

    def process(self, *words: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> "Ran":
        """Do what ``inv`` does from the start of the interpreter on, for tests of just that."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=cwd or self.root,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def spawn(self, *words: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Do what ``start`` does from the start of the interpreter on."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=default_signals,  # noqa: PLW1509 - no threads here
        )


@cache
def _configuration() -> str:
    """Return pyproject.toml for a monorepo, with the driver of the tests."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tables = [table for table in re.split(r"^(?=\[)", text, flags=re.MULTILINE) if not _NOT_READ.match(table)]
    driver = f'driver = "{DRIVER}"\n' if DRIVER != "asyncpg" else ""
    return "".join(tables).replace("[tool.service-migrations]\n", f"[tool.service-migrations]\n{driver}")


@cache
def _compile() -> None:
    """Compile what every monorepo has a copy of; the copies of the compiled files are as good."""
    compile_dir(ROOT / "shared_models", quiet=2)


def default_signals() -> None:
    """Let a child be interrupted also where the tests run in the background, and so ignore SIGINT themselves."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Running:
    """A command that runs, and the pipes that it writes to."""

    child: Child
    out: TextIO
    err: TextIO


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + self.err


def dsn_text(dsn: Dsn) -> str:
    """Return a DSN as it stands in a .env: percent-encoded."""
    places = ",".join(f"{host}:{port}" for host, port in dsn.hosts)
    return (
        f"postgresql://{quote(dsn.user, safe='')}:{quote(dsn.password or '', safe='')}@{places}/{quote(dsn.database)}"
    )

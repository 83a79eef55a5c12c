"""The monorepo of another team, with databases at its old heads, taken over in an afternoon."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import make_database, query
from tests.support.monorepo import ROOT, Monorepo, Ran, dsn_text
from tests.support.pytest_runs import given, pytest_in

SERVICES = ("catalogue", "ledger", "legacy", "orders", "warehouse")
PAGE = ROOT / "docs" / "adopting.md"
CREATE_ALL = """
from sqlalchemy import create_engine
from legacy.models import Base
import os
Base.metadata.create_all(create_engine(os.environ["DATABASE_URL"]))
"""


@dataclass(frozen=True)
class Market:
    """A copy of the monorepo, and its databases."""

    monorepo: Monorepo
    dsns: dict[str, Dsn]

    def folder(self, service: str) -> Path:
        return self.monorepo.root / "apps" / service

    def team_variables(self, service: str) -> dict[str, str]:
        """Return the variables that the team has for a service."""
        dsn = self.dsns[service]
        if service == "ledger":
            (host, port), *_ = dsn.hosts
            values = (dsn.user, dsn.password or "", host, str(port), dsn.database)
            return dict(
                zip([f"POSTGRES_{name}" for name in ("USER", "PASSWORD", "HOST", "PORT", "DB")], values, strict=True)
            )
        return {"DATABASE_URL": dsn_text(dsn).replace("postgresql://", "postgresql+psycopg://")}

    def plain(self, service: str, *words: str) -> Ran:
        """Run a Python program of the team's in a service's own folder, such as plain Alembic."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder(service),
            env={**os.environ, **self.team_variables(service), "PYTHONPATH": "src:."},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def inv(self, command: str) -> Ran:
        """Run a task at the top level, as the team does."""
        return self.monorepo.inv(*shlex.split(command))


def done(ran: Ran, code: int = 0) -> Ran:
    assert ran.code == code, ran.text
    assert "Traceback" not in ran.text
    return ran


@pytest.fixture(scope="module")
def market(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Market:
    """The monorepo before it is adopted: each history at its head, but for the one whose tables are of create_all."""
    root = tmp_path_factory.mktemp("market") / "market"
    shutil.copytree(Path(__file__).parent / "old_monorepo", root, ignore=shutil.ignore_patterns("__pycache__"))
    dsns = {service: make_database(server, creates=True, password="market-1") for service in SERVICES}
    market = Market(Monorepo(root), dsns)
    for service in SERVICES:
        lines = [f'{key}="{value}"\n' for key, value in market.team_variables(service).items()]
        (market.folder(service) / ".env").write_text("".join(lines), encoding="utf-8")
        (market.folder(service) / ".env").chmod(0o600)
        if service == "catalogue":
            continue  # where SQLModel is installed
        if service == "legacy":
            done(market.plain(service, "-c", CREATE_ALL))
        command = ("stamp", "1a40") if service == "legacy" else ("upgrade", "heads")
        done(market.plain(service, "-m", "alembic", *command))
    return market


@pytest.fixture(scope="module")
def adopted(market: Market) -> Market:
    """The monorepo after the first two commands of the page."""
    before = {path: path.read_bytes() for path in market.monorepo.root.rglob("*") if path.is_file()}
    lines = [shlex.split(line)[1:] for line, _ in page_commands() if line.startswith("service-migrations ")]
    for words in lines:
        program = str(Path(sys.executable).with_name("service-migrations"))
        ran = subprocess.run([program, *words], cwd=market.monorepo.root, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert changed == ["pyproject.toml"]
    return market


def page_commands() -> list[tuple[str, int]]:
    """Return the commands of the page in their order, each with the exit code that is behind it."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    pairs = [line.partition("#")[::2] for line in lines]
    # tests/server/adoption/test_first_tables.py has the service "early"
    pairs = [(command, code) for command, code in pairs if "--service early" not in command]
    return [(command.strip(), int(code) if code.strip().isdecimal() else 0) for command, code in pairs]


def needs_its_library(service: str, market: Market) -> None:
    if service == "catalogue":
        pytest.importorskip("sqlmodel")
        done(market.plain(service, "-m", "alembic", "upgrade", "heads"))


def test_every_service_is_found_with_what_it_needs(adopted: Market) -> None:
    out = done(adopted.inv("db.adopt")).out
    lines = {line.partition(":")[0]: line for line in out.splitlines() if ": adopted: " in line}
    assert sorted(lines) == sorted(SERVICES)
    assert lines["ledger"].endswith("driver psycopg")
    assert "version table warehouse.alembic_version" in lines["warehouse"]
    assert "models catalogue.models in apps/catalogue/src" in lines["catalogue"]
    assert "heads 2c30, 2e30" in lines["orders"]
    assert "ledger: driver: apps/ledger/alembic/versions/1a00_create_entries.py:13: 2 statements in one text" in out
    assert "warehouse: hook: apps/warehouse/alembic/env.py:" in out


@pytest.mark.parametrize("service", SERVICES)
def test_plain_alembic_goes_on_working_in_a_services_own_folder(adopted: Market, service: str) -> None:
    needs_its_library(service, adopted)
    if service == "legacy":
        done(adopted.plain(service, "-m", "alembic", "stamp", "2b40"))
    done(adopted.plain(service, "-m", "alembic", "upgrade", "heads"))
    current = done(adopted.plain(service, "-m", "alembic", "current")).out
    assert "(head)" in current
    if service == "legacy":
        done(adopted.plain(service, "-m", "alembic", "stamp", "1a40"))


@pytest.mark.parametrize("service", SERVICES)
def test_the_stamp_of_a_database_is_compared_with_its_catalog(adopted: Market, service: str) -> None:
    needs_its_library(service, adopted)
    ran = done(adopted.inv(f"db.adopt --verify --service {service}"), 3 if service == "legacy" else 0)
    if service == "legacy":
        assert "Run: inv db.stamp --service legacy --revision 2b40" in ran.err


@pytest.mark.parametrize("service", SERVICES)
def test_a_days_work_after_the_adoption_is_green(adopted: Market, server: Server, service: str) -> None:
    needs_its_library(service, adopted)
    if service == "legacy":
        for command, code in page_commands():
            if command.startswith("inv "):
                done(adopted.inv(command.removeprefix("inv ")), code)
    else:
        # what is in no model, such as a partitioned table of the history
        for command in ("db.baseline --write", "db.status", "db.check", "db.drift"):
            done(adopted.inv(f"{command} --service {service}"))
    the_history_is_green(adopted, server, service)
    work(adopted, service)
    done(adopted.inv(f"db.check --service {service}"), 3)
    branch = " --head expand@head" if service == "orders" else ""
    done(adopted.inv(f"db.revision --service {service}{branch} -m 'Do the work of a day.'"))
    done(adopted.inv(f"db.upgrade --service {service}"))
    for command in ("db.status", "db.check", "db.drift", "db.heads --check"):
        done(adopted.inv(f"{command} --service {service}"))
    the_history_is_green(adopted, server, service)
    assert query(adopted.dsns[service], "SELECT count(*) FROM pg_class WHERE relname LIKE 'ix\\_%\\_note'")[0][0] == 1


def the_history_is_green(market: Market, server: Server, service: str) -> None:
    """Run what `nox -s migrations` runs, without an environment of its own."""
    done(
        pytest_in(market.monorepo.root, "-q", "--pyargs", "service_migrations.testing", "-k", service, **given(server))
    )


def work(market: Market, service: str) -> None:
    """Add a column, an index and the label of an enum, and set a column NOT NULL."""
    folder = market.folder(service)
    (path,) = folder.rglob("models.py")
    text = path.read_text(encoding="utf-8")
    if service == "catalogue":
        text = text.replace(
            "remark: str | None = Field(default=None, max_length=50)", "remark: str = Field(max_length=50)"
        )
        text += "    note: str | None = Field(default=None, max_length=20, index=True)\n"
    else:
        text = text.replace('    done = "done"\n', '    done = "done"\n    late = "late"\n')
        text = text.replace("remark: Mapped[str | None]", "remark: Mapped[str]")
        text += "    note: Mapped[str | None] = mapped_column(String(20), index=True)\n"
    path.write_text(text, encoding="utf-8")

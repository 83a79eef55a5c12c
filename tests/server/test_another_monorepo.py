"""The wheel, and a monorepo of another team that has nothing of ours but the wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service_migrations.monorepo import discover
from service_migrations.postgres import local
from service_migrations.postgres.filelock import locked
from tests.support.monorepo import ROOT, Ran

UV = os.environ.get("UV") or shutil.which("uv") or "uv"
NAME = "service_migrations-0.1.0"


def run(folder: Path, *words: str | Path, **env: str) -> Ran:
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "NOX", "VIRTUAL_ENV"))}
    done = subprocess.run(
        list(map(str, words)),
        cwd=folder,
        env={**outside, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.text
    assert "Traceback" not in ran.text
    return ran


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist; the wheel is built from the sdist, as an installer would."""
    folder = tmp_path_factory.mktemp("dist")
    done(run(ROOT, UV, "build", "--quiet", "--out-dir", folder))
    return folder


def test_wheel_and_source_distribution_hold_the_package_and_nothing_else(built: Path) -> None:
    package = ROOT / "service_migrations"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    kinds = {"objects.sql", "tables.sql", "packages.toml", "py.typed", "__init__.pyi", "script.py.mako", "env.py"}
    assert kinds <= {Path(name).name for name in wanted}
    found = set(zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl").namelist())
    about = f"{NAME}.dist-info"
    assert found - wanted == {
        f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert wanted - found == set()
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    beside = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert names == wanted | beside


@dataclass(frozen=True)
class Shop:
    """A copy of the other team's monorepo, and the environment with the wheel."""

    root: Path
    bin: Path
    pins: Path

    def run(self, *words: str, cwd: Path | None = None) -> Ran:
        """Run a program of the environment."""
        return run(cwd or self.root, self.bin / words[0], *words[1:], UV_CONSTRAINT=str(self.pins))

    def migrations(self, task: str, *words: str) -> Ran:
        """Run a task of ours under the name that the shop gives it."""
        return self.run("inv", f"migrations.{task}", *words)


@pytest.fixture(scope="module")
def shop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Install the wheel into an empty environment; whatever the shop starts is stopped and removed."""
    folder = tmp_path_factory.mktemp("another")
    wheel = built / f"{NAME}-py3-none-any.whl"
    venv, root, pins = folder / "venv", folder / "shop", folder / "pins.txt"
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    pins.write_text("\n".join(tools["uv"]["constraint-dependencies"]), encoding="utf-8")
    shutil.copytree(Path(__file__).parent.parent / "another_monorepo", root)
    pyproject = root / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace('"service-migrations"', f'"service-migrations @ {wheel.as_uri()}"'))
    done(run(folder, UV, "venv", "--quiet", "--python", sys.executable, venv))
    words = ("--quiet", "--python", venv, "--constraint", pins, wheel, "nox", "pytest")
    done(run(folder, UV, "pip", "install", *words))
    # as in test_local: a port is chosen a second before the server listens on it
    with locked(tmp_path_factory.getbasetemp().parent / "machine.lock"):
        try:
            yield Shop(root, venv / "bin", pins)
        finally:
            cluster = local.cluster(root)
            if cluster:
                cluster.remove()
            home = local.home(root)
            for path in home.parent.glob(f"{home.name}.*"):
                path.unlink()


@pytest.mark.slow
def test_another_team_works_with_the_wheel_alone(shop: Shop, tmp_path: Path) -> None:
    """From the first command in a repository that has models and no environment, to its own tests."""
    assert (shop.run("service-migrations", "--version").out.strip()) == NAME.replace("_migrations-", "-migrations ")
    ran = shop.run("service-migrations", "db.history")
    assert ran.code == 78
    line = "migrations/env.py is missing, which Alembic runs. `service-migrations db.init` writes it, and overwrites "
    assert line in ran.err
    assert "Traceback" not in ran.text
    for words in (("db.upgrad",), ("db.upgrade", "--servce", "billing")):
        ran = shop.run("service-migrations", *words)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.splitlines() == [
            f"No idea what '{words[1 % len(words)]}' is! `service-migrations --list` lists the tasks."
        ]
    before = {path: path.read_bytes() for path in shop.root.rglob("*") if path.is_file()}
    out = done(shop.run("service-migrations", "db.init")).out
    assert out.splitlines() == [
        "pyproject.toml: added [tool.alembic]",
        "migrations/env.py: written",
        "migrations/script.py.mako: written",
        "tasks.py: was there already",
        "noxfile.py: was there already",
        ".env.example: written",
    ]
    assert {path.name for path, text in before.items() if path.read_bytes() != text} == {"pyproject.toml"}

    assert done(shop.run("inv", "up")).out == "the shop is open\n"
    assert "Everything is up." in done(shop.migrations("up")).out
    assert "Nothing to do" in done(shop.migrations("up")).out

    models = shop.root / "apps/shop-orders/src/orders/db/models.py"
    models.write_text(models.read_text(encoding="utf-8") + "    note: Mapped[str | None]\n", encoding="utf-8")
    assert shop.migrations("db.check").code == 3
    written = done(shop.migrations("db.revision", "--service", "orders", "-m", "Add the note of orders.")).out.strip()
    assert re.fullmatch(r"apps/shop-orders/versions/\d{8}_\d{4}_[0-9a-f]{12}_add_the_note_of_orders.py", written)
    assert " went from 0a1b2c3d4e01 to " in done(shop.migrations("db.upgrade")).out
    done(shop.migrations("db.check"))
    rows = json.loads(done(shop.migrations("db.services", "--json")).out)
    assert [(row["service"], row["version_table"], row["revisions"]) for row in rows] == [
        ("orders", "alembic_version", 2),
        ("payments", "alembic_version_payments", 1),
    ]
    assert rows[0]["from"] == dict.fromkeys(rows[0]["from"], "pyproject.toml")

    ran = done(shop.run("nox", "--non-interactive", "-s", "migrations(pg18)"))
    assert "7 passed" in ran.text
    ran = done(shop.run("pytest", "-q", "tests"))
    assert "2 passed" in ran.out

    _the_monorepo_is_the_nearest_folder_that_says_so(shop, tmp_path)
    assert "data removed" in done(shop.migrations("down", "--purge", "--yes")).out
    assert local.cluster(shop.root) is None


def test_the_other_monorepo_has_no_copy_of_a_module_of_ours() -> None:
    theirs = Path(__file__).parent.parent / "another_monorepo"
    ours = {path.read_bytes() for path in (ROOT / "service_migrations").rglob("*.py") if path.stat().st_size}
    copies = [path for path in theirs.rglob("*.py") if path.read_bytes() in ours]
    assert copies == []
    assert not (theirs / "migrations").exists()
    assert [service.name for service in discover(theirs)] == ["orders", "payments"]


def _the_monorepo_is_the_nearest_folder_that_says_so(shop: Shop, elsewhere: Path) -> None:
    """No folder above does; a part of the monorepo has a pyproject.toml of its own; that is a monorepo itself."""
    ran = shop.run("service-migrations", "db.status", cwd=elsewhere)
    assert ran.code == 2
    assert ran.err.startswith("There is no monorepo here")
    assert len(ran.err.splitlines()) == 1
    part = shop.root / "apps" / "payments"
    (part / "pyproject.toml").write_text('[project]\nname = "payments"\n', encoding="utf-8")
    listed = done(shop.run("service-migrations", "db.services", cwd=part)).out
    assert {"orders", "payments"} <= set(listed.split())
    (part / "pyproject.toml").write_text("[tool.service-migrations]\n", encoding="utf-8")
    ran = shop.run("service-migrations", "db.services", cwd=part)
    assert (ran.code, "services/* holds no service" in ran.err) == (2, True)

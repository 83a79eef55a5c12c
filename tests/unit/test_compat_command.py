"""The command of a team's for `db.compat`: what it is run with."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service_migrations.compat.checkout import other_packages
from service_migrations.compat.command import Command
from service_migrations.settings.keys import KEYS
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.git import git
from tests.support.monorepo import Monorepo

SHOW = "import json, os, sys; json.dump([os.getcwd(), sys.executable, dict(os.environ)], open('{}', 'w')); sys.exit(7)"


def test_no_setting_leads_to_another_database(
    monorepo: Monorepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monorepo.service("shop")
    settings = load(monorepo.find("shop"), Sources({"DATABASE_DSN": "postgresql://app:p%40%2F@127.0.0.1:9/throwaway"}))
    keys = [key for key in KEYS if key.startswith("DATABASE_")]
    others = ("PGHOST", "PGSERVICE", "PGPASSFILE", "MIGRATIONS_ENV", "MIGRATIONS_ENV_FILE", "MIGRATIONS_ROOT")
    for name in (*keys, *(f"{service}_{key}" for key in keys for service in ("SHOP", "STOCK")), *others):
        monkeypatch.setenv(name, "postgresql://production/")
    keyed = replace(settings, service=replace(settings.service, dsn_key="SHOP_URL"))
    shown = tmp_path / "shown"
    assert Command(f'python -c "{SHOW.format(shown)}"').run(tmp_path, (keyed,)) == 7
    folder, python, environment = json.loads(shown.read_text(encoding="utf-8"))
    assert (folder, Path(python)) == (str(tmp_path), Path(sys.executable).parent / "python")
    dsn = "postgresql://app:p%40%2F@127.0.0.1:9/throwaway"
    assert {environment[name] for name in ("DATABASE_DSN", "SHOP_DATABASE_DSN", "SHOP_URL")} == {dsn}
    assert "production" not in str(environment)


@pytest.mark.parametrize(
    ("today", "then", "expected"),
    [
        ({"uv.lock": "a"}, {"uv.lock": "a"}, []),
        ({"uv.lock": "a"}, {"uv.lock": "b"}, ["uv.lock"]),
        ({"uv.lock": "a"}, {}, ["uv.lock"]),
        ({"uv.lock": "a", "pyproject.toml": "a"}, {"uv.lock": "a", "pyproject.toml": "b"}, []),
        ({"pyproject.toml": "a"}, {"pyproject.toml": "b"}, ["pyproject.toml"]),
        ({"s/requirements-dev.txt": "a"}, {"s/requirements-dev.txt": "b"}, ["s/requirements-dev.txt"]),
        ({"t/requirements.txt": "a"}, {"t/requirements.txt": "b"}, []),
        ({}, {}, []),
    ],
)
def test_packages_are_others_where_their_lock_is(
    tmp_path: Path, today: dict[str, str], then: dict[str, str], expected: list[str]
) -> None:
    for name, files in (("today", today), ("then", then)):
        for file in ("s", "t"):
            (tmp_path / name / file).mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / file).write_text(text, encoding="utf-8")
    assert other_packages(tmp_path / "today", tmp_path / "then", Path("s")) == expected


def test_a_lock_that_git_ignores_is_no_other_one(tmp_path: Path) -> None:
    """Uv writes one into each checkout."""
    for name in ("today", "then"):
        (tmp_path / name).mkdir()
    (tmp_path / "today" / "uv.lock").write_text("a", encoding="utf-8")
    git(Monorepo(tmp_path / "today"), "init", "-q")
    assert other_packages(tmp_path / "today", tmp_path / "then", Path("s")) == ["uv.lock"]
    (tmp_path / "today" / ".gitignore").write_text("uv.lock\n", encoding="utf-8")
    assert other_packages(tmp_path / "today", tmp_path / "then", Path("s")) == []

"""Start-up: what shows the list, a help text or a completion imports nothing but Invoke and our own small modules."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import ROOT, Monorepo


def imported(folder: Path, *words: str) -> set[str]:
    """Return the modules that Invoke imports for these words in a folder."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize(
    "words", [("--list",), ("--help", "db.upgrade"), ("--complete", "--", "inv db.up")], ids=lambda words: words[0]
)
def test_nothing_is_imported_that_an_empty_collection_would_not_import(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef up(_):\n    pass\n", encoding="utf-8")
    empty = imported(tmp_path, *("up" if word == "db.upgrade" else word for word in words))
    ours = imported(ROOT, *words)
    assert "invoke.collection" in empty
    assert "service_migrations.tasks.upgrade" in ours
    free = {*empty, *sys.builtin_module_names}  # what is compiled into Python is there already
    assert {one for one in ours - free if one.partition(".")[0] != "service_migrations"} == set()
    library = {one for one in ours if one.startswith("service_migrations.")}
    assert {one for one in library if not one.startswith("service_migrations.tasks")} <= {
        "service_migrations.configuration",
        "service_migrations.errors",
        "service_migrations.files",
        "service_migrations.interruption",
        "service_migrations.monorepo",
        "service_migrations.service",
        "service_migrations.settings",
        "service_migrations.settings.duration",
    }


def test_an_upgrade_imports_nothing_that_only_a_comparison_needs(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=database())
    found = imported(monorepo.root, "db.upgrade", "--service", "billing")
    assert {"service_migrations.upgrade.commands", "service_migrations.environment"} <= found
    assert not found & {
        "service_migrations.autogenerate.plugin",
        "service_migrations.autogenerate.operations",
        "service_migrations.ownership.survey",
        "service_migrations.autogenerate.normalise",
    }


def test_an_upgrade_with_nothing_to_do_imports_neither_alembic_nor_sqlalchemy(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    for name in ("billing", "orders"):
        monorepo.table_revision(name, "r001", None)
        monorepo.service(name, dsn=database())
    assert "alembic" in imported(monorepo.root, "db.upgrade")
    assert not {"alembic", "sqlalchemy"} & imported(monorepo.root, "db.upgrade")

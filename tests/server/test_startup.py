"""Start-up: what shows the list, a help text or a completion imports nothing but Invoke and our own small modules."""

import os
import re
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
    assert {module for module in ours - free if module.partition(".")[0] != "service_migrations"} == set()
    library = {module for module in ours if module.startswith("service_migrations.")}
    assert {module for module in library if not module.startswith("service_migrations.tasks")} <= {
        "service_migrations.configuration",
        "service_migrations.errors",
        "service_migrations.env_files",
        "service_migrations.files",
        "service_migrations.interpreter",
        "service_migrations.interruption",
        "service_migrations.monorepo",
        "service_migrations.pyproject",
        "service_migrations.revision_call",
        "service_migrations.service",
        "service_migrations.settings",
        "service_migrations.settings.duration",
        "service_migrations.top_level",
    }


def test_an_upgrade_imports_nothing_that_only_a_comparison_needs(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=database())
    modules = imported(monorepo.root, "db.upgrade", "--service", "billing")
    assert {"service_migrations.upgrade.commands", "service_migrations.environment"} <= modules
    assert not modules & {
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


UNNEEDED = (
    "alembic.testing",
    "dbm",
    "http",
    "hypothesis",
    "mako.ext",  # what mako.exceptions imports, which Alembic imports for errors in templates
    "nox",
    "packaging",
    "psycopg",
    "psycopg2",
    "pydantic",
    "pygments",  # as mako.ext
    "pytest",
    "rich",
    "service_migrations.adoption",
    "service_migrations.autogenerate.plugin",
    "service_migrations.compat",
    "service_migrations.drift",
    "service_migrations.evidence",
    "service_migrations.libpq",
    "service_migrations.plan.database",
    "service_migrations.plan.review",
    "service_migrations.plan.statements",
    "service_migrations.postgres",
    "service_migrations.review",
    "sqlalchemy.ext.declarative",
    "sqlalchemy.testing",
    "squawk",
    "urllib.request",
    "xml",
)
"""Packages and modules that an upgrade has no use for, with all below them."""


@pytest.mark.parametrize("words", [(), ("--service", "billing")], ids=["all services", "one service"])
def test_an_upgrade_with_revisions_to_run_imports_nothing_that_it_has_no_use_for(
    monorepo: Monorepo, database: Callable[..., Dsn], words: tuple[str, ...]
) -> None:
    for name in ("billing", "orders"):
        monorepo.table_revision(name, "r001", None)
        monorepo.service(name, dsn=database())
    modules = imported(monorepo.root, "db.upgrade", *words)
    assert {"alembic", "mako.template", "service_migrations.ledger.writer", "sqlalchemy"} <= modules
    assert {module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in UNNEEDED)} == set()


def test_the_error_of_a_template_is_shown_although_what_shows_it_is_loaded_late(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", dsn=database())
    template = monorepo.root / "migrations" / "script.py.mako"
    template.write_text("${no_such_name[0]}", encoding="utf-8")
    words = ("db.revision", "--service", "billing", "-m", "Something.")
    ran = monorepo.inv(*words, "--empty", env={"TMPDIR": str(monorepo.root)})
    shown = re.fullmatch(
        r"billing: Template rendering failed; see (\S+) for a template-oriented traceback\.\n", ran.err
    )
    assert shown, ran.text
    text = Path(shown[1]).read_text(encoding="utf-8")
    assert text.rstrip().endswith("    ${no_such_name[0]}\nTypeError: 'Undefined' object is not subscriptable")
    template.write_text("${", encoding="utf-8")
    for options, code in (((), 1), (("--empty",), 78)):
        ran = monorepo.inv(*words, *options)
        assert (ran.code, "Traceback" in ran.text) == (code, False), ran.text
        assert "SyntaxException: Expected: " in ran.text
        assert "script.py.mako' at line: 1 char: 1" in ran.text


COUNTED = """
import os, sys, tomllib

out = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
loads = tomllib.loads

def counted(text, **options):
    if "[tool.alembic]" in text:
        os.write(out, b"parsed\\n")
    return loads(text, **options)

def opened(event, arguments):
    if event == "open" and str(arguments[0]).endswith("pyproject.toml"):
        os.write(out, b"opened\\n")

tomllib.loads = tomllib._parser.loads = counted
sys.addaudithook(opened)
from invoke.main import program

program.run()
"""


@pytest.mark.parametrize(
    "words",
    [
        *(("db.upgrade", *service) for service in ((), ("--service", "billing"))),
        ("db.upgrade", "--service", "billing", "--sql"),
        *((f"db.{name}",) for name in ("status", "heads", "history", "plan", "check")),
        ("db.revision", "--service", "billing", "--empty", "-m", "Something."),
    ],
    ids=" ".join,
)
def test_a_command_reads_and_parses_pyproject_once(
    monorepo: Monorepo, database: Callable[..., Dsn], words: tuple[str, ...]
) -> None:
    for name in ("billing", "orders"):
        monorepo.table_revision(name, "r001", None)
        monorepo.service(name, dsn=database())
    if words[0] in {"db.check", "db.revision"}:
        assert monorepo.inv("db.upgrade").code == 0
    program, seen = monorepo.root / "counted.py", monorepo.root / "seen"
    program.write_text(COUNTED, encoding="utf-8")
    subprocess.run([sys.executable, program, seen, *words], cwd=monorepo.root, check=True, capture_output=True)
    assert seen.read_text(encoding="utf-8").split() == ["opened", "parsed"]


def test_ctrl_c_while_the_tasks_are_imported_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "invoke.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")  # imported before a task begins
    done = subprocess.run(
        [sys.executable, "-m", "service_migrations", "--list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_module_runs_the_tasks_as_the_console_script_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service_migrations", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "db.upgrade" in done.stdout


def test_a_list_that_nobody_reads_to_its_end_is_no_fault() -> None:
    """As in ``service-migrations --list | head -2``."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "service_migrations", "--list"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0

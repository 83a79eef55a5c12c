"""The sessions: what they are called, and that a gate never passes because something was skipped."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from service_migrations.postgres import VERSIONS
from tests.support.monorepo import ROOT

SESSIONS = {"lint", "types", "tests", "tests-lowest", "migrations", "faults", "bench", "pins"}


def nox(*words, cwd=ROOT, env=None):
    return subprocess.run(
        [sys.executable, "-m", "nox", *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def listed():
    return json.loads(nox("--list", "--json", "--session", *sorted(SESSIONS)).stdout)


@pytest.mark.parametrize("name", ["migrations", "faults"])
def test_there_is_one_session_of_migrations_and_one_of_faults_for_each_postgresql(listed, name):
    ids = [session["session"] for session in listed if session["name"] == name]
    assert ids == [f"{name}(pg{version})" for version in VERSIONS]


def test_the_python_axis_and_the_postgresql_axis_are_not_multiplied(listed):
    classifiers = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "Python :: 3." in line]
    pythons = {session["python"] for session in listed if session["name"] == "tests"}
    assert len(pythons) == len(classifiers) == len([session for session in listed if session["name"] == "tests"])
    assert {session["name"] for session in listed} == SESSIONS


def test_nox_alone_runs_lint_types_both_tests_the_matrix_the_faults_and_an_adoption():
    selected = [line.split()[1] for line in nox("--list").stdout.splitlines() if line.startswith("* ")]
    here = f"tests-{sys.version_info.major}.{sys.version_info.minor}"
    by_version = [f"{name}(pg{version})" for name in ("migrations", "faults") for version in VERSIONS]
    adopt = [f"adopt(pg{version})" for version in (VERSIONS[0], VERSIONS[-1])]
    assert selected == ["lint", "types", here, "tests-lowest", *by_version, *adopt]


@pytest.mark.parametrize("name", ["migrations", "faults"])
def test_a_version_that_cannot_be_provided_is_skipped_on_a_laptop_and_an_error_in_ci(tmp_path, name):
    """nox exits 0 where sessions were skipped, so a gate has to make an error of it."""
    repo = tmp_path / "repo"
    ignore = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(ROOT, repo, ignore=ignore)
    nothing = {"POSTGRES_SOURCES": "dsn"}
    laptop = nox("-s", f"{name}(pg16)", cwd=repo, env={**nothing, "CI": ""})
    assert laptop.returncode == 0, laptop.stderr
    assert "name a server in POSTGRES_16_DSN" in laptop.stdout + laptop.stderr
    assert f"Session {name}(pg16) skipped: PostgreSQL 16" in laptop.stderr
    gate = nox("-s", f"{name}(pg16)", cwd=repo, env={**nothing, "CI": "true"})
    assert gate.returncode == 1
    assert "CI must not pass without it" in gate.stderr


def test_the_list_of_sessions_imports_nothing_that_a_session_needs():
    words = ["-X", "importtime", "-m", "nox", "--list"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "service_migrations.nox" in found
    assert not {"alembic", "asyncpg", "invoke", "pytest", "rich", "sqlalchemy"} & found


def test_the_workflow_takes_its_matrix_from_nox():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "nox --list --json --session lint types tests tests-lowest migrations faults" in workflow
    assert "pg14" not in workflow


def test_ci_calls_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    command = next(line.partition("#")[0].strip() for line in readme.splitlines() if "uv run nox  " in line)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()

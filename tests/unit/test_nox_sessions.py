"""What ``service_migrations.nox`` installs, and for which PostgreSQL versions there is a session."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service_migrations import nox as sessions
from service_migrations.errors import ConfigurationError
from service_migrations.postgres import VERSIONS
from tests.support.monorepo import ROOT

PROJECT = '[project]\nname = "shop"\ndependencies = ["asyncpg", "invoke"]\n'
BUILD = '[build-system]\nrequires = ["hatchling"]\n'
GROUPS = "[dependency-groups]\ndev = []\ntest = []\n"


class SessionError(Exception):
    """What nox raises where a session calls ``error()``."""


class Session:
    """What ``install()`` needs of nox's session."""

    def __init__(self, venv_backend: str) -> None:
        self.venv_backend = venv_backend
        self.installed: tuple[str, ...] = ()

    def install(self, *words: str) -> None:
        self.installed = words

    def error(self, text: str) -> None:
        raise SessionError(text)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pyproject.toml"


@pytest.mark.parametrize(
    ("backend", "text", "installed"),
    [
        ("uv", PROJECT + BUILD + GROUPS, ("--editable", ".", "--group", "test")),
        ("virtualenv", PROJECT + BUILD, ("--editable", ".")),
        ("uv", PROJECT + GROUPS, ("--requirements", "pyproject.toml", "--group", "test")),
        ("virtualenv", PROJECT + GROUPS, ("asyncpg", "invoke", "--group", "test")),
    ],
)
def test_a_project_is_installed_as_it_can_be_with_the_first_group_of_its_tests(repository, backend, text, installed):
    repository.write_text(text)
    session: Any = Session(backend)
    sessions.install(session)
    assert session.installed == installed


@pytest.mark.parametrize(
    ("backend", "text"),
    [("virtualenv", ""), ("virtualenv", '[project]\nname = "shop"\n'), ("uv", "[tool.service-migrations]\n")],
)
def test_a_project_that_names_nothing_to_install_ends_the_session_with_what_it_lacks(repository, backend, text):
    """A repository that ``db.init`` has begun: nox ended with a traceback of its own."""
    repository.write_text(text)
    session: Any = Session(backend)
    with pytest.raises(SessionError, match=r"names nothing to install.* Add the group dev"):
        sessions.install(session)


@pytest.mark.parametrize(
    ("table", "versions"),
    [('[tool.service-migrations]\npostgres = ["14", "18"]\n', ["14", "18"]), (PROJECT, list(VERSIONS))],
)
def test_there_is_a_session_for_each_version_of_the_table_or_for_all_that_a_package_provides(
    repository, table, versions
):
    repository.write_text(table)

    @sessions.each_postgres
    def session(_: Any, postgres: str) -> None:
        raise AssertionError(postgres)

    assert [(str(parameter), parameter.call_spec) for parameter in session.parametrize] == [
        (f"pg{version}", {"postgres": version}) for version in versions
    ]


def test_a_table_that_is_wrong_is_an_error(repository):
    repository.write_text("[tool.service-migrations]\npostgres = 18\n")
    with pytest.raises(ConfigurationError, match="postgres is a number"):
        sessions.each_postgres(lambda _, postgres: postgres)


def test_the_module_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'migration'"):
        sessions.migration  # noqa: B018


@pytest.mark.parametrize(("name", "program"), [("migrations", "pytest"), ("evidence", "service-migrations")])
def test_a_program_that_an_install_forgets_is_not_taken_from_the_machine(repository, name, program):
    repository.write_text('[tool.service-migrations]\npostgres = ["18"]\n')
    noxfile = repository.with_name("noxfile.py")
    noxfile.write_text(f"from service_migrations import nox\n{name} = nox.define_{name}(lambda session: None)\n")
    words = [sys.executable, "-m", "nox", "--session", f"{name}(pg18)", "--default-venv-backend", "virtualenv"]
    ran = subprocess.run(words, cwd=repository.parent, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1, ran.stderr
    assert f"{program} isn't in the session's environment: let the function that installs bring it." in ran.stderr


def test_each_test_of_every_postgresql_runs_on_the_newest_and_every_second_one_on_one_other() -> None:
    """The noxfile of this repository gives each version a part, ``K/N``; none is the same as ``1/1``."""
    noxfile = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    share = next(node for node in noxfile.body if isinstance(node, ast.FunctionDef) and node.name == "share")
    names: dict[str, Any] = {"VERSIONS": VERSIONS}
    exec(ast.unparse(share), names)  # noqa: S102 - importing the noxfile would set the handlers of signals
    runs: dict[int, list[str]] = {number: [] for number in range(720)}
    for version in VERSIONS:
        part, parts = map(int, "".join(names["share"](version) or ["--part=1/1"]).removeprefix("--part=").split("/"))
        for number, versions in runs.items():
            if number % parts == part - 1:
                versions.append(version)
    assert all(versions[-1] == VERSIONS[-1] for versions in runs.values())
    others = [versions[:-1] for versions in runs.values() if len(versions) > 1]
    assert len(others) == len(runs) // 2
    assert all(len(versions) == 1 for versions in others)
    assert {version: others.count([version]) for version in VERSIONS[:-1]} == {"14": 180, "15": 60, "16": 60, "17": 60}

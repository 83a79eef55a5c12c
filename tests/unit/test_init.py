"""``db.init`` and the templates: what is missing is written, and nothing is overwritten."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from invoke.collection import Collection

import service_migrations
from service_migrations import tasks
from service_migrations.authoring.init import Written, write_missing
from service_migrations.configuration import Configuration, read_configuration
from service_migrations.errors import ConfigurationError
from service_migrations.history.revisions import read
from service_migrations.monorepo import find
from tests.support.monorepo import MODELS, ROOT

TEMPLATES = Path(service_migrations.__file__).parent / "templates"
FILES = ["pyproject.toml", "migrations/env.py", "migrations/script.py.mako", "tasks.py", "noxfile.py", ".env.example"]
TABLES = ("[tool.service-migrations]", "[tool.alembic]")


def texts(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_empty_repository_gets_all_files_and_a_second_run_changes_nothing(tmp_path):
    first = write_missing(tmp_path)
    assert [file.path for file in first] == FILES
    assert all(file.created for file in first)
    before = texts(tmp_path)
    assert sorted(before) == sorted(FILES)
    assert write_missing(tmp_path) == tuple(Written(name) for name in FILES)
    assert texts(tmp_path) == before


def test_what_it_writes_says_what_convention_says(tmp_path):
    write_missing(tmp_path)
    assert read_configuration(tmp_path) == Configuration()
    folder = tmp_path / "services" / "billing"
    folder.mkdir(parents=True)
    (folder / "models.py").write_text(MODELS.format(table="billing"))
    assert read(find("billing", tmp_path)).revisions == ()


def test_nothing_that_is_there_is_overwritten(tmp_path):
    (tmp_path / "migrations").mkdir()
    for name in FILES:
        (tmp_path / name).write_text("own = 1\n")
    written = {file.path: file for file in write_missing(tmp_path)}
    assert {name for name, file in written.items() if file.created} == set()
    assert {name for name, file in written.items() if file.tables} == {"pyproject.toml"}
    assert "Collection.from_module(service_migrations.tasks" in written["tasks.py"].hint
    assert "from service_migrations.nox import migrations" in written["noxfile.py"].hint
    files = texts(tmp_path)
    assert files.pop("pyproject.toml").startswith(b"own = 1\n\n[tool.service-migrations]\n")
    assert set(files.values()) == {b"own = 1\n"}


@pytest.mark.parametrize(("there", "added"), [(TABLES[0], TABLES[1:]), (TABLES[1], TABLES[:1])])
def test_a_table_that_is_there_is_left_alone_and_the_other_one_added(tmp_path, there, added):
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[project]\nname = 'shop'\n\n{there}\n")
    first = write_missing(tmp_path)[0]
    assert (first.created, first.tables) == (False, added)
    assert path.read_text().startswith(f"[project]\nname = 'shop'\n\n{there}\n\n{added[0]}\n")
    assert set(tomllib.loads(path.read_text())["tool"]) == {"service-migrations", "alembic"}


def test_the_line_ends_of_a_file_are_kept_also_where_the_last_is_missing(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_bytes(b"[project]\r\nname = 'shop'")
    write_missing(tmp_path)
    text = path.read_bytes()
    assert text.startswith(b"[project]\r\nname = 'shop'\r\n\r\n[tool.service-migrations]\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")


def test_a_file_that_can_take_no_table_is_named_and_left_alone(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text("tool = {ruff = {}}\n")
    with pytest.raises(ConfigurationError, match=r"pyproject.toml: .*can't be appended.* Add the tables by hand"):
        write_missing(tmp_path)
    assert texts(tmp_path) == {"pyproject.toml": b"tool = {ruff = {}}\n"}


def test_the_environment_is_written_where_alembics_table_says(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/db/alembic"\n')
    names = [file.path for file in write_missing(tmp_path)]
    assert names[1:3] == ["db/alembic/env.py", "db/alembic/script.py.mako"]
    assert not (tmp_path / "migrations").exists()


def test_without_a_table_of_alembics_the_environment_is_the_folder_migrations(tmp_path):
    write_missing(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.service-migrations]\n")
    (tmp_path / "services/billing").mkdir(parents=True)
    (tmp_path / "services/billing/models.py").write_text(MODELS.format(table="billing"))
    history = read(find("billing", tmp_path))
    assert Path(history.directory.dir) == tmp_path / "migrations"


def test_an_environment_that_is_missing_is_one_line_that_names_the_task(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.service-migrations]\n")
    (tmp_path / "services/billing").mkdir(parents=True)
    (tmp_path / "services/billing/models.py").write_text(MODELS.format(table="billing"))
    with pytest.raises(ConfigurationError) as caught:
        read(find("billing", tmp_path))
    assert str(caught.value) == (
        "migrations/env.py is missing, which Alembic runs. `service-migrations db.init` writes it, and overwrites "
        "nothing."
    )


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("env.py", "migrations/env.py"),
        ("script.py.mako", "migrations/script.py.mako"),
        ("tasks.py", "tasks.py"),
        ("dotenv.example", ".env.example"),
    ],
)
def test_this_repository_has_what_another_one_gets(template, name):
    assert (ROOT / name).read_text(encoding="utf-8") == (TEMPLATES / template).read_text(encoding="utf-8")


def test_this_repository_configures_alembic_as_another_one_does():
    ours, theirs = (
        tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"] for folder in (ROOT, TEMPLATES)
    )
    assert ours["alembic"] == theirs["alembic"]


def test_every_convention_stands_in_the_template_with_its_value():
    text = (TEMPLATES / "pyproject.toml").read_text(encoding="utf-8")
    given = tomllib.loads(re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE))["tool"]["service-migrations"]
    convention = Configuration()
    for key in ("models", "version_table"):
        assert given[key] == getattr(convention, key)
    assert (tuple(given["services"]), (given["versions"],)) == (convention.services, convention.versions)


def test_the_tasks_have_a_place_beside_tasks_of_a_teams_own():
    whole = Collection.from_module(tasks)
    assert set(whole.task_names) == set(tasks.namespace.task_names)
    inside = Collection()
    inside.add_collection(Collection.from_module(tasks, name="migrations"))
    assert set(inside.task_names) == {f"migrations.{name}" for name in tasks.namespace.task_names}


@pytest.mark.parametrize(
    ("name", "is_folder", "message"),
    [
        ("migrations", False, "migrations is no folder. Move it away, and run the command again: env.py is for it."),
        ("tasks.py", True, "tasks.py is no file. Move it away, and run the command again."),
    ],
)
def test_what_has_the_name_of_a_file_or_folder_is_named_with_what_to_do(
    name: str, is_folder: bool, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir() if is_folder else (tmp_path / name).touch()
    with pytest.raises(ConfigurationError) as raised:
        write_missing(tmp_path)
    assert str(raised.value) == message


def test_a_file_that_cannot_be_read_is_one_line_also_where_there_is_no_table_yet(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "pyproject.toml").symlink_to(root / "pyproject.toml")
    command = [sys.executable, "-m", "service_migrations", "db.init"]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    reason = f"it is a link to {root}/pyproject.toml, which leads nowhere."
    assert (ran.returncode, ran.stderr) == (78, f"{root}/pyproject.toml can't be read: {reason}\n")

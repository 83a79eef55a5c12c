"""What breaks the code that runs is told by revision, table, column, statement and SQLSTATE; what doesn't, passes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import service_migrations
from service_migrations.compat.breaks import Compat
from service_migrations.compat.compat import compat, compat_of_new_code
from service_migrations.compat.running_code import running_code
from service_migrations.errors import UsageError
from service_migrations.monorepo import Monorepo as Found
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.git import git
from tests.support.monorepo import Monorepo
from tests.support.running_code import BREAKING, HARMLESS

MODELS = """
import enum
from decimal import Decimal
from typing import Optional

from sqlalchemy import CheckConstraint, Enum, ForeignKey, MetaData, Numeric, SmallInteger, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Admin", "Base", "Order", "User"]


class Base(DeclarativeBase):
    pass


class State(enum.Enum):
    open = "open"
    paid = "paid"
    lost = "lost"


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    full_name: Mapped[str] = mapped_column(String(50))
    nick: Mapped[Optional[str]] = mapped_column(String(50))
    email: Mapped[str] = mapped_column(String(100), unique=True)
    state: Mapped[State] = mapped_column(Enum(State, name="state", values_callable=lambda e: [m.value for m in e]))
    age: Mapped[int] = mapped_column(SmallInteger)
    note: Mapped[str] = mapped_column(Text, server_default=text("''"))
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "plain"}
    __table_args__ = (
        CheckConstraint("age > 17", name="grown"),
        CheckConstraint("email ~ '^[^@]+@[a-z]+[.]org$'", name="mail"),
        CheckConstraint("kind IN ('plain', 'admin')", name="known"),
    )


class Admin(User):
    __mapper_args__ = {"polymorphic_identity": "admin"}


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    code: Mapped[str] = mapped_column(String(20))
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
"""

FIRST = """
op.execute("CREATE TYPE state AS ENUM ('open', 'paid', 'lost')")
op.execute('''CREATE TABLE users (id serial PRIMARY KEY, full_name varchar(50) NOT NULL, nick varchar(50),
    email varchar(100) NOT NULL UNIQUE
    CONSTRAINT mail CHECK (email ~ '^[^@]+@[a-z]+[.]org$'), state state NOT NULL,
    age smallint NOT NULL CONSTRAINT grown CHECK (age > 17),
    note text NOT NULL DEFAULT '', kind varchar NOT NULL CONSTRAINT known CHECK (kind IN ('plain', 'admin')))''')
op.execute('''CREATE TABLE orders (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users,
    code varchar(20) NOT NULL, price numeric(10, 2) NOT NULL)''')
"""


@pytest.fixture
def running(monorepo: Monorepo, tmp_path: Path) -> Monorepo:
    """The code that runs: a copy of the monorepo as it is before the new revisions."""
    monorepo.service("shop", MODELS)
    monorepo.revision("shop", "r0", None, FIRST)
    shutil.copytree(monorepo.root, tmp_path / "running")
    return Monorepo(tmp_path / "running")


def tried(monorepo: Monorepo, running: Monorepo, server: Server) -> Compat:
    service = Found.locate(monorepo.root).find("shop")
    return wait(compat(service, ("0" * 40, running.root), server))


def revisions(monorepo: Monorepo, *bodies: str) -> None:
    for number, body in enumerate(bodies, start=1):
        statements = "\n".join(f"op.execute({part.strip()!r})" for part in _split(body))
        monorepo.revision("shop", f"r{number}", f"r{number - 1}", statements)


def _split(body: str) -> list[str]:
    return [body] if "$$" not in body and ";" not in body else _outside_dollars(body)


def _outside_dollars(body: str) -> list[str]:
    parts, inside = [""], False
    for piece in body.replace("$$", "\0$$\0").replace(";", "\0;\0").split("\0"):
        inside ^= piece == "$$"
        if piece == ";" and not inside:
            parts.append("")
        else:
            parts[-1] += piece
    return [part for part in parts if part.strip()]


@pytest.mark.parametrize(("body", "table", "column", "sqlstate"), BREAKING.values(), ids=list(BREAKING))
def test_what_breaks_running_code_is_told(
    monorepo: Monorepo, running: Monorepo, server: Server, body: str, table: str, column: str, sqlstate: str
) -> None:
    revisions(monorepo, "CREATE TABLE before (id int)", body)
    result = tried(monorepo, running, server)
    assert result.untried == {}
    statements = [breakage for breakage in result.breaks if breakage.action != "upgrade"]
    assert statements
    assert {breakage.revision for breakage in result.breaks} == {"r2"}
    assert {(statement.table, statement.sqlstate) for statement in statements} == {(table, sqlstate)}
    assert (
        not column
        or column in {statement.column for statement in statements}
        or all(column in statement.why for statement in statements)
    )
    assert all(statement.statement for statement in statements)
    assert all(str(breakage).startswith("migrations/versions/shop/r2.py: ") for breakage in result.breaks)


def test_a_history_that_fails_in_an_empty_database_is_no_failed_migration(
    monorepo: Monorepo, running: Monorepo, server: Server
) -> None:
    revisions(monorepo, "ALTER TABLE nowhere ADD x int")
    with pytest.raises(UsageError, match=r"shop/r1\.py:\d+: .* can't be replayed into a scratch database"):
        tried(monorepo, running, server)


def test_what_harms_nobody_passes(monorepo: Monorepo, running: Monorepo, server: Server) -> None:
    revisions(monorepo, *HARMLESS.values())
    result = tried(monorepo, running, server)
    assert (result.breaks, dict(result.untried)) == ((), {})
    assert result.revisions == tuple(f"r{number}" for number in range(1, len(HARMLESS) + 1))
    assert result.tried > 40


KEYED = """
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, String, Table

__all__ = ["parents", "things"]
metadata = MetaData()
parents = Table("parents", metadata, Column("parent_id", Integer, primary_key=True, key="parentId"))
things = Table(
    "things", metadata, Column("thing_id", Integer, primary_key=True, key="thingId"),
    Column("parent_id", ForeignKey("parents.parentId", onupdate="CASCADE"), nullable=False, key="parentId"),
    Column("full_name", String(20), unique=True, key="fullName"),
    Column("age", Integer, key="years"), CheckConstraint("age > 17"),
)
"""


@pytest.mark.parametrize("is_in_column", [False, True], ids=["a check of the table", "a check in the column"])
def test_a_column_may_have_another_key_than_its_name(
    monorepo: Monorepo, tmp_path: Path, server: Server, is_in_column: bool
) -> None:
    of_table, of_column = 'key="years"), CheckConstraint("age > 17")', 'CheckConstraint("age > 17"), key="years")'
    monorepo.service("shop", KEYED.replace(of_table, of_column) if is_in_column else KEYED)
    created = (
        "CREATE TABLE parents (parent_id serial PRIMARY KEY)",
        (
            "CREATE TABLE things (thing_id serial PRIMARY KEY, full_name varchar(20) UNIQUE, age int CHECK (age > 17), "
            "parent_id int NOT NULL REFERENCES parents ON UPDATE CASCADE)"
        ),
    )
    monorepo.revision("shop", "r0", None, "\n".join(f"op.execute({each!r})" for each in created))
    shutil.copytree(monorepo.root, tmp_path / "running")
    revisions(monorepo, "ALTER TABLE things ADD CHECK (age > 20)", "ALTER TABLE things DROP COLUMN full_name")
    result = tried(monorepo, Monorepo(tmp_path / "running"), server)
    assert result.untried == {}
    assert {(breakage.revision, breakage.sqlstate) for breakage in result.breaks} >= {("r1", "23514"), ("r2", "42703")}
    assert {breakage.table for breakage in result.breaks if breakage.action != "upgrade"} == {"things"}


def test_a_sibling_may_need_a_new_revision_and_a_new_revision_a_siblings_table(
    monorepo: Monorepo, running: Monorepo, server: Server
) -> None:
    for folder in (monorepo, running):
        folder.service("stock")
        for name in ("shop", "stock"):
            example = folder.root / "services" / name / ".env.example"
            example.write_text(f"DATABASE_DSN=postgresql://{name}:x@localhost/together\n", encoding="utf-8")
    revisions(
        monorepo, "CREATE TABLE r1 (id int PRIMARY KEY)", "CREATE TABLE r2 (id int REFERENCES s1)",
        "ALTER TABLE users DROP COLUMN nick",
    )  # fmt: skip
    monorepo.revision("stock", "s1", None, 'op.execute("CREATE TABLE s1 (id int PRIMARY KEY REFERENCES r1)")')
    (monorepo.root / "bootstrap.sql").write_text("CREATE EXTENSION citext;\n", encoding="utf-8")
    result = tried(monorepo, running, server)
    assert {(breakage.revision, breakage.sqlstate) for breakage in result.breaks} == {("r3", "42703")}
    roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'compat%' UNION SELECT datname FROM pg_database "
    assert query(server.admin, f"{roles} WHERE datname LIKE 'compat%'") == []


@pytest.fixture
def repo(monorepo: Monorepo, database: Callable[..., Dsn]) -> Monorepo:
    """A checkout whose branch drops a column that the code of main reads, with a hook of the team's."""
    monorepo.service("shop", MODELS, dsn=database())
    monorepo.revision("shop", "r0", None, FIRST)
    (monorepo.root / ".gitignore").write_text(".env\n", encoding="utf-8")
    for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "main"), ("switch", "-qc", "work")):
        git(monorepo, *words)
    monorepo.revision("shop", "r1", "r0", 'op.execute("ALTER TABLE users DROP COLUMN nick")')
    hooks = monorepo.root / "tests" / "compat"
    hooks.mkdir(parents=True)
    hooks.joinpath("shop.py").write_text(
        "from sqlalchemy import text\n\ndef nicks_are_counted(connection):\n"
        "    connection.execute(text('SELECT count(nick) FROM users'))\n",
        encoding="utf-8",
    )
    return monorepo


def test_the_task_compares_with_the_branch_of_the_team(repo: Monorepo) -> None:
    ran = repo.inv("db.compat")
    assert ran.code == 3, ran.text
    lines = ran.out.splitlines()
    place = "shop: migrations/versions/shop/r1.py: "
    assert lines[0].startswith(f"{place}users: the running code no longer reads it: column users.nick does not exist")
    assert "[42703]. Statement: SELECT users.id, " in lines[0]
    assert any(line.startswith(f"{place}nicks_are_counted: the team's own try fails: ") for line in lines)
    assert git(repo, "worktree", "list").count("\n") <= 1


UNSEEN = "DO $$ BEGIN EXECUTE reverse('kcin NMULOC PORD sresu ELBAT RETLA'); END $$"
"""What no text shows."""


def test_what_was_tried_and_breaks_is_written_for_the_plan(repo: Monorepo) -> None:
    shutil.rmtree(repo.root / "tests")
    repo.revision("shop", "r1", "r0", f'op.execute("{UNSEEN}")')
    plan = ("db.plan", "--service", "shop")
    assert "breaking" not in repo.inv(*plan).out
    ran = repo.inv("db.compat", "--write")
    assert ran.code == 3, ran.text
    assert "wrote migrations/evidence/shop/r1.compat.json" in ran.err
    assert "wrote" not in repo.inv("db.compat", "--write").err
    planned = repo.inv(*plan)
    tried = "users: the running code no longer reads it: column users.nick does not exist"
    assert "breaking" in planned.out
    assert tried in planned.out
    repo.revision("shop", "r1", "r0", 'op.execute("SELECT 1")')  # edited, so it says nothing of this one
    assert tried not in repo.inv(*plan).out
    again = repo.inv("db.compat", "--write")
    assert (again.code, "removed migrations/evidence/shop/r1.compat.json" in again.err) == (0, True), again.text


QUERY = """
import asyncio, asyncpg, os

async def main():
    connection = await asyncpg.connect(os.environ["SHOP_DATABASE_DSN"])
    print("counted", await connection.fetchval("SELECT count(COLUMN) FROM users"), os.path.exists("tests/compat"))

asyncio.run(main())
"""


def test_a_command_of_the_teams_is_run_in_the_code_that_is_tried(repo: Monorepo) -> None:
    command = ("--service", "shop", "--command", f"python -c '{QUERY}'")
    broken = repo.inv("db.compat", *(word.replace("COLUMN", "nick") for word in command), "--json")
    assert broken.code == 3, broken.text
    (result,) = json.loads(broken.out)
    (breakage,) = (breakage for breakage in result["breaks"] if breakage["action"] == "command")
    assert (breakage["revision"], breakage["why"]) == ("r1", "it ended with 1")
    assert 'UndefinedColumnError: column "nick" does not exist' in broken.err
    assert "counted 0 False" in broken.err  # in the checkout, on the schema of before
    shows_nothing = repo.inv("db.compat", *(word.replace("COLUMN", "nonsense") for word in command))
    assert (shows_nothing.code, "of before and on the new one, so it shows nothing" in shows_nothing.err) == (2, True)
    new_code = repo.inv("db.compat", "--new-code", *(word.replace("COLUMN", "nick") for word in command))
    assert (new_code.code, "counted 0 True" in new_code.err) == (0, True), new_code.text


def test_what_the_new_code_needs_of_a_revision_is_told_with_that_revision(
    monorepo: Monorepo, running: Monorepo, server: Server
) -> None:
    added = "    tax: Mapped[Optional[int]]\n    kind: Mapped[str]\n"
    monorepo.service("shop", MODELS.replace("    kind: Mapped[str]\n", added).replace("    code:", "    label:"))
    bodies = ("CREATE TABLE r1 (id int)", "ALTER TABLE users ADD tax int", "ALTER TABLE orders RENAME code TO label")
    revisions(monorepo, *bodies, "ALTER TABLE users ALTER nick DROP NOT NULL")
    service = Found.locate(monorepo.root).find("shop")
    result = wait(compat_of_new_code(service, ("0" * 40, running.root), server))
    places = {(breakage.revision, breakage.table, breakage.sqlstate) for breakage in result.breaks}
    assert places == {("r2", "users", "42703"), ("r3", "orders", "42703")}
    assert all("before it, the new code can't " in str(breakage) for breakage in result.breaks)
    running_code = tried(monorepo, running, server)
    assert {breakage.revision for breakage in running_code.breaks} == {"r3"}


def test_other_packages_of_the_running_code_are_told(repo: Monorepo) -> None:
    """Where it has no uv.lock, of which an environment could be made."""
    (repo.root / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    ran = repo.inv("db.compat")
    commit = git(repo, "rev-parse", "main")[:12]
    assert f"uv.lock of {commit} differs from today's; its models are imported with today's packages." in ran.err, (
        ran.text
    )


PROJECT = """
[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = [{}]

[tool.uv]
package = false
{}"""
LIBRARY = """
[project]
name = "colours"
version = "1"
requires-python = ">=3.11"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def test_the_running_code_is_tried_with_the_packages_of_its_own_lock(repo: Monorepo, tmp_path: Path) -> None:
    installed = [f"{name}=={version(name)}" for name in ("sqlalchemy", "asyncpg", "greenlet")]

    def lock(packages: list[str], sources: str = "") -> None:
        dependencies = ", ".join(f'"{name}"' for name in packages)
        pyproject.write_text(configuration + PROJECT.format(dependencies, sources), encoding="utf-8")
        subprocess.run([str(shutil.which("uv")), "lock", "--quiet"], cwd=repo.root, check=True)

    pyproject = repo.root / "pyproject.toml"
    configuration = (Path(service_migrations.__file__).parent / "templates" / "pyproject.toml").read_text("utf-8")
    git(repo, "stash", "-q", "--include-untracked")
    git(repo, "switch", "-q", "main")
    library = tmp_path / "colours"
    (library / "src" / "colours").mkdir(parents=True)
    (library / "pyproject.toml").write_text(LIBRARY, encoding="utf-8")
    (library / "src" / "colours" / "__init__.py").write_text("", encoding="utf-8")
    lock([*installed, "colours"], f'[tool.uv.sources]\ncolours = {{ path = "{library}" }}\n')
    models = repo.root / "services" / "shop" / "models.py"
    models.write_text("import colours\n" + models.read_text(encoding="utf-8"), encoding="utf-8")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "needs colours")
    commit = git(repo, "rev-parse", "main")[:12]
    git(repo, "switch", "-qC", "work")
    git(repo, "stash", "pop", "-q")
    models.write_text(MODELS, encoding="utf-8")
    lock(installed)

    without_uv = {**os.environ, "PATH": str(tmp_path / "bin")}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(str(shutil.which("git")))
    ran = repo.inv("db.compat", env=without_uv)
    assert (ran.code, "No module named 'colours'" in ran.err) == (2, True), ran.text
    assert "today's packages (uv isn't installed). Name an interpreter" in ran.err
    ran = repo.inv("db.compat", "--command", "python -c 'import colours'")
    assert (ran.code, f"Installing the packages of uv.lock at {commit}" in ran.err) == (3, True), ran.text
    assert "it ended with 1" not in ran.out
    assert "column users.nick does not exist" in ran.out
    assert not (repo.root / ".venv").exists()
    shutil.rmtree(library)
    ran = repo.inv("db.compat")
    assert (ran.code, "today's packages (uv sync failed: " in ran.err) == (2, True), ran.text


def test_the_code_that_a_database_was_last_upgraded_with_is_asked_of_its_ledger(repo: Monorepo) -> None:
    unknown = repo.inv("db.compat", "--deployed")
    assert (unknown.code, "its ledger has no commit" in unknown.err) == (2, True), unknown.text
    git(repo, "switch", "-q", "main")
    (repo.root / "migrations/versions/shop/r1.py").rename(repo.root / "r1.py")
    assert repo.inv("db.upgrade").code == 0
    (repo.root / "r1.py").rename(repo.root / "migrations/versions/shop/r1.py")
    ran = repo.inv("db.compat", "--deployed", "--json")
    assert ran.code == 3, ran.text
    (result,) = json.loads(ran.out)
    assert result["commit"] == git(repo, "rev-parse", "main").strip()
    assert {breakage["revision"] for breakage in result["breaks"]} == {"r1"}


def test_code_that_knows_every_revision_has_nothing_to_fear(repo: Monorepo) -> None:
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "work")
    ran = repo.inv("db.compat", "--base", "work")
    assert (ran.code, "knows every revision" in ran.out) == (0, True), ran.text


def test_of_a_service_that_the_running_code_doesnt_have_nothing_can_break(repo: Monorepo) -> None:
    repo.service("parcels", MODELS)
    repo.revision("parcels", "p0", None, FIRST)
    for words in ((), ("--new-code",)):
        ran = repo.inv("db.compat", "--service", "parcels", *words)
        assert (ran.code, ran.out) == (
            0,
            f"parcels: {git(repo, 'rev-parse', 'main')[:12]} has no such service, so nothing of it can break\n",
        )


def test_a_new_service_may_have_files_of_the_names_that_others_have(repo: Monorepo) -> None:
    git(repo, "stash", "-qu")
    for name in ("__init__", "0001_initial"):
        (repo.root / f"migrations/versions/shop/{name}.py").write_text("", encoding="utf-8")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "more")
    repo.service("parcels", MODELS)
    repo.revision("parcels", "0001_initial", None, FIRST)
    (repo.root / "migrations/versions/parcels/__init__.py").touch()
    ran = repo.inv("db.compat", "--base", "work", "--service", "parcels")
    assert (ran.code, "has no such service, so nothing of it can break" in ran.out) == (0, True), ran.text


def test_a_service_under_another_name_isnt_taken_for_a_new_one(repo: Monorepo) -> None:
    for folder in ("services", "migrations/versions"):
        (repo.root / folder / "shop").rename(repo.root / folder / "store")
    models = repo.root / "services" / "store" / "models.py"
    assert models.is_file()
    ran = repo.inv("db.compat", "--service", "store")
    assert ran.code == 2, ran.text
    assert "has no such service" in ran.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--base", "nothing"),
            "--base 'nothing': git knows no such commit, branch or tag. Fetch it first: git fetch --tags",
        ),
        (("--base", "--help"), "--base '--help': git knows no such commit, branch or tag. Name another."),
        (("--base", "main", "--deployed"), "both name the code that runs"),
        (("--write", "--new-code"), "don't go together"),
        (("--python", "/nowhere/python"), "/nowhere/python can't be run: No such file or directory"),
        (("--postgres", "3"), "3"),
        (("--service", "shop", "--command", "pytest 'tests"), '--command "pytest \'tests": no closing quotation.'),
        (("--service", "shop", "--command", " "), "--command needs a value behind it. Is a variable empty?"),
        (("--service", "shop", "--command", "no-such-program x"), "no-such-program can't be run: No such file"),
    ],
)
def test_what_cant_be_tried_is_one_line(repo: Monorepo, words: tuple[str, ...], said: str) -> None:
    ran = repo.inv("db.compat", *words)
    assert (ran.code, ran.out, "Traceback" in ran.err) == (2, "", False), ran.text
    assert said in ran.err


def test_a_program_that_models_start_takes_no_part_in_the_answers(repo: Monorepo) -> None:
    git(repo, "stash", "-qu")
    models = repo.root / "services" / "shop" / "models.py"
    text = models.read_text(encoding="utf-8")
    programs = "subprocess.run(['cat'])\nsubprocess.run(['echo', 'the version of a program'])\nos.write(1, b'{}')"
    models.write_text(f"import os, subprocess\n{programs}\n{text}", encoding="utf-8")
    git(repo, "commit", "-qam", "programs")
    git(repo, "stash", "pop", "-q")
    ran = repo.inv("db.compat", "--base", "work")
    assert (ran.code, "column users.nick does not exist" in ran.out) == (3, True), ran.text
    assert "the version of a program" not in ran.out


def test_an_interpreter_may_be_named_from_this_folder_on(repo: Monorepo) -> None:
    (repo.root / "other").mkdir()
    python = repo.root / "other" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    ran = repo.inv("db.compat", "--python", "other/python")
    assert "can't be run" not in ran.err
    assert ran.code == 3, ran.text
    python.write_text("#!/bin/sh\necho nothing is installed >&2\n", encoding="utf-8")
    ran = repo.inv("db.compat", "--python", "other/python")
    assert (ran.code, ran.err.splitlines()[-2]) == (2, "nothing is installed"), ran.text
    assert ran.err.splitlines()[-1] == (
        "shop: The process with the running code's models has ended. What it printed is above; --python names another "
        "interpreter."
    )


def test_an_interpreter_that_ends_before_it_is_asked_is_one_line(
    monorepo: Monorepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.wait(10)

    monkeypatch.setattr(subprocess, "Popen", Ended)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n", encoding="utf-8")
    python.chmod(0o755)
    server = Dsn("app", "app", (("127.0.0.1", 1),))
    with (
        pytest.raises(UsageError, match="has ended"),
        running_code(monorepo.service("shop"), server, str(python)),
    ):
        pass


def test_an_old_commit_whose_models_no_longer_import_is_named_with_its_own_error(repo: Monorepo) -> None:
    git(repo, "stash", "-qu")
    models = repo.root / "services" / "shop" / "models.py"
    text = models.read_text(encoding="utf-8")
    models.write_text(f"import gone_package\n{text}", encoding="utf-8")
    git(repo, "commit", "-qam", "broken")
    git(repo, "stash", "pop", "-q")
    models.write_text(text, encoding="utf-8")
    ran = repo.inv("db.compat", "--base", "work")
    assert (ran.code, "Traceback" in ran.err) == (2, False), ran.text
    assert "can't be imported: ModuleNotFoundError: No module named 'gone_package'" in ran.err


def test_a_folder_that_is_no_checkout_and_a_branch_of_another_history_are_refused(
    monorepo: Monorepo, running: Monorepo, server: Server
) -> None:
    ran = monorepo.inv("db.compat", "--service", "shop")
    assert (ran.code, "is no checkout of git" in ran.err) == (2, True), ran.text
    running.revision("shop", "other", "r0")
    with pytest.raises(UsageError, match="has the revision other, and this history doesn't"):
        tried(monorepo, running, server)


def test_a_table_that_no_row_can_be_made_for_is_named(monorepo: Monorepo, tmp_path: Path, server: Server) -> None:
    models = MODELS.replace('"age > 17"', '"age > 17 AND md5(email) = note"')
    monorepo.service("shop", models)
    monorepo.revision("shop", "r0", None, FIRST.replace("age > 17", "age > 17 AND md5(email) = note"))
    shutil.copytree(monorepo.root, tmp_path / "running")
    revisions(monorepo, "ALTER TABLE users DROP COLUMN nick")
    result = tried(monorepo, Monorepo(tmp_path / "running"), server)
    assert set(result.untried) == {"users"}
    assert "grown" in result.untried["users"]
    assert {(breakage.table, breakage.action, breakage.sqlstate) for breakage in result.breaks} == {
        ("users", "read", "42703")
    }


def test_a_checkout_that_cannot_be_written_is_78(repo: Monorepo) -> None:
    worktrees = repo.root / ".git" / "worktrees"
    worktrees.symlink_to("/sys")  # where not even root may make a folder
    ran = repo.inv("db.compat")
    assert (ran.code, ran.out, "Traceback" in ran.err) == (78, "", False), ran.text
    assert "It has to write to .git/worktrees" in ran.err

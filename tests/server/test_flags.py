"""Short flags, the service of the folder that one stands in, and the completion of services' names."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.parser import Argument, Parser, ParserContext
from invoke.tasks import Task

import tasks
from service_migrations.settings.dsn import Dsn
from service_migrations.tasks.support.flags import SHORT_FLAGS
from tests.support.invocation import contexts
from tests.support.monorepo import Monorepo

TASKS = {str(context.name): list(context.args.values()) for context in contexts()}
"""The arguments of each task."""


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    """Make two services with a revision each."""
    for name in ("billing", "catalog"):
        monorepo.service(name)
        monorepo.table_revision(name, f"{name[0]}1", None)
    return monorepo


@pytest.mark.parametrize("name", TASKS)
def test_a_short_flag_means_the_same_in_every_task(name: str) -> None:
    short_flags = {**SHORT_FLAGS, "x": "x"}  # Alembic's option has no other name
    for argument in TASKS[name]:
        short = {flag for flag in argument.names if len(flag) == 1}
        assert short == ({short_flags[argument.name]} if argument.name in short_flags else set())


def test_what_one_command_line_gives_is_not_given_by_the_next() -> None:
    """Invoke copies the arguments for each task that a command line names, and for each that is read."""
    parser = Parser(contexts())
    line = ["db.heads", "-s", "catalog", "-s", "billing", "--env", "staging", "db.heads", "-s", "billing"]
    for _ in range(2):
        first, second = (context.as_kwargs for context in parser.parse_argv(line) if context.name)
        assert (first["service"], first["env"]) == (["catalog", "billing"], "staging")
        assert (second["service"], second["env"]) == (["billing"], None)
    assert [each.value for each in parser.contexts["db.heads"].args.values() if each.value] == []


def test_invoke_copies_no_task_and_no_option_attribute_by_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    """That took half of the time of a short command."""
    copied: list[type] = []
    reconstruct = copy._reconstruct  # type: ignore[attr-defined]

    def counted(value: object, memo: object, *rest: Any) -> object:
        if memo is not None:  # which a shallow copy has none of
            copied.append(type(value))
        return reconstruct(value, memo, *rest)

    monkeypatch.setattr(copy, "_reconstruct", counted)
    Parser(contexts()).parse_argv(["db.heads"])
    namespace = Collection.from_module(tasks)
    assert ParserContext in copied
    assert [kind for kind in copied if issubclass(kind, Task | Argument)] == []
    for name in ("db.heads", "db.upgrade"):
        namespace[name].help["of the copy"] = "alone"
        assert "of the copy" not in tasks.namespace[name].help


@pytest.mark.parametrize("flag", ["-s", "--service"])
@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_a_service_is_named_by_either_flag(repo: Monorepo, flag: str, form: str) -> None:
    ran = repo.inv("db.heads", *form.format(flag, "catalog").split())
    assert (ran.code, ran.out) == (0, "catalog: c1 (head), c1.\n"), ran.text


@pytest.mark.parametrize("words", [["-s"], ["-s", "--json"], ["-s--json"], ["-s=--json"], ["--service", "-s"]])
def test_a_flag_without_a_name_is_refused(repo: Monorepo, words: list[str]) -> None:
    ran = repo.inv("db.heads", *words)
    assert (ran.code, ran.out) == (2, ""), ran.text


def texts(name: str) -> list[str]:
    """Return the options of a task that take one value."""
    return [f"--{each.names[0]}" for each in TASKS[name] if each.takes_value and each.kind is str]


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in TASKS for option in texts(name) if name != "db.completion"]
)
def test_an_option_with_an_empty_value_is_refused(repo: Monorepo, name: str, option: str) -> None:
    """An empty variable of a pipeline would mean that the option isn't there: all services, or no canary."""
    for words in ((option, ""), (f"{option}=",)):
        ran = repo.inv(name, *words)
        assert (ran.code, ran.out) == (2, ""), ran.text
        assert f"{option} needs a " in ran.err
        assert "behind it. Is a variable empty?" in ran.err


@pytest.mark.parametrize("flag", ["-m", "--message"])
def test_a_message_is_given_by_either_flag(repo: Monorepo, flag: str) -> None:
    ran = repo.inv("db.revision", "-s", "billing", "--empty", flag, "add notes")
    assert ran.code == 0, ran.text
    assert "_add_notes.py" in ran.out


@pytest.mark.parametrize(
    "folder", ["services/billing", "services/billing/models/deep", "migrations/versions/billing"], ids=str
)
def test_the_service_of_the_folder_is_the_default_and_is_named(repo: Monorepo, folder: str) -> None:
    place = repo.root / folder
    place.mkdir(parents=True, exist_ok=True)
    for command in ("db.heads", "db.history"):
        ran = repo.inv(command, cwd=place)
        assert "b1" in ran.out
        assert "catalog" not in ran.text
        assert ran.err == "billing is the service of this folder; --service names another.\n"
    ran = repo.inv("db.show", cwd=place)
    assert ran.code == 0, ran.text
    assert repo.inv("db.heads", "-s", "catalog", cwd=place).text == "catalog: c1 (head), c1.\n"


@pytest.mark.parametrize("folder", ["services", "migrations/versions", "services/billings", "docs"])
def test_in_any_other_folder_all_services_are_meant_and_none_where_one_is_needed(repo: Monorepo, folder: str) -> None:
    place = repo.root / folder
    place.mkdir(parents=True, exist_ok=True)
    ran = repo.inv("db.heads", cwd=place)
    assert ran.out == "billing: b1 (head), b1.\ncatalog: c1 (head), c1.\n"
    assert ran.err == ""
    ran = repo.inv("db.show", cwd=place)
    assert (ran.code, "needs --service" in ran.err) == (2, True)


def test_the_folder_of_a_linked_service_is_the_service(repo: Monorepo) -> None:
    target = repo.root / "elsewhere" / "billing"
    target.parent.mkdir()
    (repo.root / "services/billing").rename(target)
    (repo.root / "services/billing").symlink_to(target)
    assert repo.inv("db.heads", cwd=target).out == "billing: b1 (head), b1.\n"


def test_a_command_that_destroys_data_names_the_service_that_it_took(
    repo: Monorepo, database: Callable[..., Dsn]
) -> None:
    repo.service("billing", dsn=database())
    folder = repo.root / "services/billing"
    assert repo.inv("db.upgrade", cwd=folder).code == 0
    ran = repo.inv("db.downgrade", "--revision", "base", cwd=folder)
    assert ran.code == 2
    assert "Downgrade billing -> " in ran.err
    ran = repo.inv("db.downgrade", "--revision", "base", "--yes", cwd=folder)
    assert ran.code == 0, ran.text
    assert ran.err.startswith("billing is the service of this folder")


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("inv db.upgrade --service", ["billing", "catalog"]),
        ("inv db.upgrade -s", ["billing", "catalog"]),
        ("inv db.upgrade -s bil", ["billing", "catalog"]),
        ("inv db.upgrade --service = bil", ["billing", "catalog"]),
        ("inv db.upgrade --service =", ["billing", "catalog"]),
        ("inv db.upgrade --service=", ["--service=billing", "--service=catalog"]),
        ("inv db.upgrade --service=bil", ["--service=billing", "--service=catalog"]),
        ("inv db.upgrade --service billing --canary c", ["billing", "catalog"]),
        ("inv db.status db.plan --service", ["billing", "catalog"]),
    ],
)
def test_a_shell_completes_the_name_of_a_service(repo: Monorepo, line: str, candidates: list[str]) -> None:
    # the shell passes the words, and takes of the answer what begins with the last of them
    ran = repo.process("--complete", "--", *line.split())
    assert (ran.code, ran.out.split()) == (0, candidates), ran.text


@pytest.mark.parametrize(
    ("line", "candidate"),
    [
        ("inv db.upgrade --service billing", "db.status"),
        ("inv db.upgrade --service billing --al", "--allow"),
        ("inv db.upg", "db.upgrade"),
        ("inv", "up"),
    ],
)
def test_a_shell_completes_all_else_as_before(repo: Monorepo, line: str, candidate: str) -> None:
    ran = repo.process("--complete", "--", *line.split())
    assert (ran.code, candidate in ran.out.split(), "catalog" in ran.out) == (0, True, False), ran.text


def test_alembic_is_quiet_where_it_changes_nothing_and_with_debug_it_is_not(
    repo: Monorepo, database: Callable[..., Dsn]
) -> None:
    repo.service("billing", dsn=database())
    assert "INFO - Running upgrade" in repo.inv("db.upgrade", "-s", "billing").err
    assert "INFO" in repo.inv("db.current", "-s", "billing").err
    for words in (("db.check",), ("db.plan",), ("db.status",), ("db.revision", "-m", "more"), ("db.owners",)):
        ran = repo.inv(*words, "-s", "billing")
        assert (ran.code, "INFO" in ran.text) == (0, False), ran.text
    assert "alembic" in repo.inv("--debug", "db.check", "-s", "billing").err

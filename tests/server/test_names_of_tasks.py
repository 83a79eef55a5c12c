"""A message's commands run as they stand: where ours have a name in tasks.py, and where there is no tasks.py."""

import logging
from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from service_migrations.tasks.support import console
from tests.support.monorepo import Monorepo

UNDER_A_NAME = """
from invoke.collection import Collection
from invoke.tasks import task
from service_migrations import tasks


@task
def up(_):
    print("mine")


namespace = Collection(up, Collection.from_module(tasks, name="migrations"))
"""


@pytest.mark.parametrize(
    ("words", "code", "command"),
    [
        (("db.revision", "-s", "billing", "-m", "x", "--empty"), 0, "inv migrations.db.upgrade --service billing"),
        (("db.upgrade", "-s", "billing", "--revision", "gone"), 2, "`inv migrations.db.history --service billing`"),
        (("db.current", "-s", "lonely"), 78, "or run `inv migrations.up`"),
        (("db.status",), 78, "or run `inv migrations.up`"),
    ],
)
def test_a_message_names_the_tasks_as_the_teams_own_tasks_do(
    words: tuple[str, ...], code: int, command: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    (monorepo.root / "tasks.py").write_text(UNDER_A_NAME, encoding="utf-8")
    monorepo.service("billing", dsn=database())
    monorepo.service("lonely")
    task, *options = words

    ran = monorepo.process("up", f"migrations.{task}", *options)

    assert (ran.code, ran.out.splitlines()[0]) == (code, "mine")
    assert command in ran.err
    assert "inv db." not in ran.err
    assert "inv up" not in ran.err


@pytest.mark.parametrize(("has_tasks", "program"), [(False, "service-migrations"), (True, "inv")])
def test_the_console_script_is_named_where_there_is_no_tasks_py(
    has_tasks: bool, program: str, monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_tasks:
        (monorepo.root / "tasks.py").unlink()
    monkeypatch.chdir(monorepo.root)
    monkeypatch.setattr("sys.argv", ["/usr/bin/service-migrations", "db.upgrade"])
    assert console.runnable("Run `inv db.undo` or `inv up`.") == f"Run `{program} db.undo` or `{program} up`."


@pytest.mark.parametrize(
    ("words", "prefix"),
    [
        (["db.revision", "-m", "clean.up"], ""),
        (["--debug", "ours.db.revision", "-m", "clean.up"], "ours."),
        (["up", "ours.db.revision", "--message", "clean.up"], "ours."),
        (["-c", "other", "ours.up"], "ours."),
        (["--list"], ""),
    ],
)
def test_the_value_of_an_option_is_no_name_of_a_task(
    words: list[str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", *words])
    assert console.runnable("Run: inv db.undo") == f"Run: inv {prefix}db.undo"


def test_a_log_line_names_them_too_and_no_other_word_is_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", "ours.db.upgrade", "-m", "x.up"])
    console.configure_logging(debug=False)
    logging.getLogger("service_migrations").warning("Run: inv db.stamp. A conv db.x, inv upper, inv x.")
    assert capsys.readouterr().err.endswith("Run: inv ours.db.stamp. A conv db.x, inv upper, inv x.\n")

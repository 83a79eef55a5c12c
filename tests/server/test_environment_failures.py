"""The errors of a team's own code in env.py: each has the place in env.py, and not that of a revision or a model."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import Monorepo

OWN = {
    "import": ("import asyncio\n", "import asyncio\nimport no_such_thing\n", "ModuleNotFoundError"),
    "hook": (
        "OPTIONS: dict[str, object] = {}",
        "def apply(**_):\n    raise ValueError\n\n\nOPTIONS: dict[str, object] = {'on_version_apply': apply}",
        "ValueError",
    ),
    "statement": (
        "        context.run_migrations()\n",
        "        context.run_migrations()\n        connection.exec_driver_sql('SELEC 1')\n",
        "[42601]",
    ),
}


def edit(monorepo: Monorepo, old: str, new: str) -> None:
    path = monorepo.root / "migrations" / "env.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("kind", OWN)
def test_an_error_of_env_py_has_its_place_there(monorepo: Monorepo, database: Callable[..., Dsn], kind: str) -> None:
    old, new, text = OWN[kind]
    monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "a1", None)
    edit(monorepo, old, new)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    (line,) = [line for line in ran.err.splitlines() if text in line]
    assert (ran.code, line.startswith("billing: migrations/env.py:")) == (1, True), ran.text
    assert "a1.py" not in line
    assert ("It was rolled back." in line) is (kind != "import"), (
        "before a revision runs, there is nothing to roll back"
    )


def test_a_hook_in_a_folder_with_alembics_name_is_still_the_teams(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "a1", None)
    hooks = monorepo.root / "migrations" / "alembic" / "team_hooks.py"
    hooks.parent.mkdir()
    hooks.write_text("def apply(**_):\n    raise ValueError\n", encoding="utf-8")
    given = "def apply(**_):\n    _hooks.apply()\n\n\nOPTIONS: dict[str, object] = {'on_version_apply': apply}"
    loaded = f"import runpy, types\n_hooks = types.SimpleNamespace(**runpy.run_path({str(hooks)!r}))\n{given}"
    edit(monorepo, "OPTIONS: dict[str, object] = {}", loaded)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, "billing: migrations/env.py:" in ran.err) == (1, True), ran.text


def test_an_error_at_a_commit_is_still_that_of_its_revision(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    monorepo.service("billing", dsn=database())
    deferred = "op.execute('CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)')"
    rows = "op.execute('INSERT INTO t VALUES (1), (1)')"
    monorepo.revision("billing", "a1", None, f"{deferred}\n{rows}")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert (ran.code, "billing: migrations/versions/billing/a1.py: " in ran.err) == (1, True), ran.text


def test_a_hook_that_fails_in_a_comparison_is_no_fault_of_the_model(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "a1", None)
    hook = "def include(*_):\n    return {}['hook']\n\n\nOPTIONS: dict[str, object] = {'include_object': include}"
    edit(monorepo, "OPTIONS: dict[str, object] = {}", hook)
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    ran = monorepo.inv("db.check", "--service", "billing")
    assert (ran.code, "Correct the model" in ran.err) == (78, False), ran.text
    assert "billing: migrations/env.py:12: table billing can't be compared: KeyError: 'hook'." in ran.err

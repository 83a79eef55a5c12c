"""Repositories of git, without whatever configuration this machine has."""

import os
import subprocess

from tests.support.monorepo import MODELS, Monorepo

NAMES = ["alpha", "beta", "gamma"]
"""The services of ``three_services``."""

_SOMEBODY = {"NAME": "somebody", "EMAIL": "somebody@example.org"}


def git(repo: Monorepo, *words: str, fails: bool = False) -> str:
    """Run git in a monorepo, and return both streams; it has to fail where that is expected."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_EDITOR": "true"}
    env |= {f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in _SOMEBODY.items()}
    command = ("git", "-C", str(repo.root), *words)
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode != 0) == fails, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def commit(repo: Monorepo, message: str = "more") -> None:
    """Commit all that has changed."""
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", message)


def three_services(monorepo: Monorepo) -> Monorepo:
    """Commit three services on a branch that has left main; beta's models import a chain that ends in shared_models."""
    (monorepo.root / "shared_models" / "money.py").write_text("CENTS = 100\n", encoding="utf-8")
    helpers = monorepo.root / "helpers"
    helpers.mkdir()
    (helpers / "__init__.py").write_text("", encoding="utf-8")
    (helpers / "amounts.py").write_text("def f():\n    from shared_models import money\n", encoding="utf-8")
    (helpers / "near.py").write_text("from .amounts import f\n", encoding="utf-8")
    (monorepo.root / ".gitignore").write_text(".env\n__pycache__/\n", encoding="utf-8")
    for name in NAMES:
        monorepo.service(name, ("import helpers.near\n" if name == "beta" else "") + MODELS.format(table=name))
        monorepo.table_revision(name, "r1", None)
    git(monorepo, "init", "--quiet", "--initial-branch", "main")
    commit(monorepo)
    git(monorepo, "checkout", "--quiet", "-b", "branch")
    return monorepo


def append(monorepo: Monorepo, path: str, text: str = "# more\n") -> None:
    """Add to a file, or make it."""
    place = monorepo.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a", encoding="utf-8") as file:
        file.write(text)

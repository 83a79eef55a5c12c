"""Where a run comes from: who started it, and from which commit and version of the project."""

import getpass
import os
import subprocess
import tomllib
from functools import cache
from pathlib import Path

__all__ = ["git_commit", "os_user", "version"]

_GIT_TIMEOUT = 2.0


@cache
def os_user() -> str:
    """Return the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that no account has
        return f"uid {os.getuid()}"


@cache
def git_commit(root: Path) -> str | None:
    """Return the commit of a checkout; None where there is none, or no git."""
    try:
        words = ["git", "-C", str(root), "rev-parse", "--verify", "HEAD"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_GIT_TIMEOUT, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@cache
def version(root: Path) -> str:
    """Return the version that pyproject.toml gives the project."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    return str(project.get("version", "unknown"))

"""git: what is asked of the checkout that a monorepo is, in the one place that calls it."""

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["GitError", "commit", "git", "try_git"]

_TIMEOUT = 60.0
"""Seconds for a command that a task needs the answer of."""
_COMMIT_TIMEOUT = 2.0
"""Seconds for the commit of the ledger, which an upgrade can do without."""


class GitError(Exception):
    """git could not be run, or failed; the text is its own message."""


def git(folder: Path, *words: str, timeout: float = _TIMEOUT) -> str:
    """Run a git command in a folder, and return what it prints; a path in it may hold any byte.

    Args:
        folder: where, in the checkout.
        words: the command.
        timeout: seconds.

    Raises:
        GitError: git isn't there, takes too long or fails.

    """
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(f"git can't be run ({type(error).__name__})") from None
    if done.returncode:
        raise GitError(" ".join(os.fsdecode(done.stderr).split()))
    return os.fsdecode(done.stdout)


def try_git(folder: Path, *words: str, timeout: float = _TIMEOUT) -> str | None:
    """Return what a git command prints; None where it fails, or git isn't there."""
    try:
        return git(folder, *words, timeout=timeout)
    except GitError:
        return None


@cache
def commit(root: Path) -> str | None:
    """Return the commit of a checkout; None where there is none, or no git."""
    found = try_git(root, "rev-parse", "--verify", "HEAD", timeout=_COMMIT_TIMEOUT)
    return found.strip() or None if found else None

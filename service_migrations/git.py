"""The commands of git that are run in the monorepo's checkout."""

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["TEAM_BRANCHES", "GitError", "commit", "git", "is_commit", "try_git"]

TEAM_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
"""What the team's branch may be called; the first that exists is it."""

_TIMEOUT = 60.0
"""Seconds for a command whose output a task needs."""
_COMMIT_TIMEOUT = 2.0
"""Seconds for reading the commit for the ledger, which an upgrade doesn't need."""


class GitError(Exception):
    """git couldn't be run, or failed; the text is git's own message."""


def git(folder: Path, *words: str, timeout: float = _TIMEOUT) -> str:
    """Run a git command in a folder, and return its output, in which a path may have any byte.

    Args:
        folder: a folder of the checkout.
        words: the command and its arguments.
        timeout: in seconds.

    Raises:
        GitError: git isn't installed, takes too long or fails.

    """
    command = ["git", "-C", str(folder), *words]
    try:
        completed = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(f"git can't be run ({type(error).__name__})") from None
    if completed.returncode:
        raise GitError(" ".join(os.fsdecode(completed.stderr).split()))
    return os.fsdecode(completed.stdout)


def try_git(folder: Path, *words: str, timeout: float = _TIMEOUT) -> str | None:
    """Return the output of a git command; None where it fails, or git isn't installed."""
    try:
        return git(folder, *words, timeout=timeout)
    except GitError:
        return None


def is_commit(folder: Path, name: str) -> bool:
    """Whether git knows a commit, branch or tag of this name."""
    # a name that begins with a dash would be an option
    return not name.startswith("-") and (
        try_git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") is not None
    )


@cache
def commit(root: Path) -> str | None:
    """Return the commit of a checkout; None where it has no commit, or git isn't installed."""
    output = try_git(root, "rev-parse", "--verify", "HEAD", timeout=_COMMIT_TIMEOUT)
    return output.strip() or None if output else None

"""The commands of git that are run in the monorepo's checkout."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service_migrations.errors import UsageError

__all__ = [
    "TEAM_BRANCHES",
    "File",
    "GitError",
    "blobs",
    "commit",
    "commit_id",
    "fetch_command",
    "files",
    "git",
    "is_commit",
    "is_committable",
    "is_ignored",
    "is_shallow",
    "merge_base",
    "refuse_no_checkout",
    "require_git",
    "team_branch",
    "try_git",
    "unknown_commit",
]

TEAM_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
"""What the team's branch may be called; the first that exists is it."""

_TIMEOUT = 60.0
"""Seconds for a command whose output a task needs."""
_COMMIT_TIMEOUT = 2.0
"""Seconds for reading the commit for the ledger, which an upgrade doesn't need."""

_OF_ANOTHER = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_PREFIX"})
"""What git sets for its hooks and aliases, and what wins over the folder: it may be of another repository."""

_TRUSTING = "git config --global --add safe.directory "


class GitError(Exception):
    """git couldn't be run, or failed; the text is git's own message."""


class NoGitError(GitError):
    """git isn't installed."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, a symbolic link or a submodule of a commit: its mode, and the name of its content."""

    mode: str
    oid: str


def git(folder: Path, *words: str, timeout: float = _TIMEOUT) -> str:
    """Run a git command in a folder, and return its output, in which a path may have any byte.

    Args:
        folder: a folder of the checkout.
        words: the command and its arguments.
        timeout: in seconds.

    Raises:
        GitError: git isn't installed, takes too long or fails.

    """
    return os.fsdecode(_output(folder, words, timeout))


def _output(folder: Path, words: Iterable[str], timeout: float, lines: Iterable[str] = ()) -> bytes:
    command = ["git", "-C", str(folder), *words]
    text = "".join(f"{line}\n" for line in lines).encode()
    # of a worktree that is added, the index is another one
    foreign = {*_OF_ANOTHER, *(["GIT_INDEX_FILE"] if "worktree" in words else [])}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    try:
        completed = subprocess.run(
            command, env=environment, input=text, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise NoGitError("git can't be run: it isn't installed, or not on the PATH") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(f"git can't be run ({type(error).__name__})") from None
    if completed.returncode:
        raise GitError(" ".join(os.fsdecode(completed.stderr).split()))
    return completed.stdout


def try_git(folder: Path, *words: str, timeout: float = _TIMEOUT) -> str | None:
    """Return the output of a git command; None where it fails, or git isn't installed."""
    try:
        return git(folder, *words, timeout=timeout)
    except GitError:
        return None


def require_git(folder: Path, *words: str) -> str:
    """Return the output of a git command; arguments as of ``git``.

    Raises:
        UsageError: git isn't installed, takes too long or fails.

    """
    try:
        return git(folder, *words)
    except GitError as error:
        raise UsageError(f"git {words[0]} failed: {error}.") from None


def refuse_no_checkout(folder: Path) -> None:
    """Refuse a folder that is in no checkout.

    Raises:
        UsageError: it isn't, it belongs to another account, or git isn't installed.

    """
    try:
        git(folder, "rev-parse", "--show-toplevel")
    except NoGitError as error:
        raise UsageError(f"{error}.") from None
    except GitError as error:
        # as in a container whose account isn't that of the checkout; in any language git's message has its command
        _, trusting, path = str(error).partition(_TRUSTING)
        if path:
            hint = f"Run as its owner, or: {trusting}{path}"
            raise UsageError(
                f"{folder}: the checkout belongs to another account, so git reads nothing of it.", hint=hint
            ) from None
        raise UsageError(f"{folder} is no checkout of git ({error}).") from None


def is_ignored(folder: Path, path: Path) -> bool:
    """Whether a path below a folder is left out by ``.gitignore``."""
    return try_git(folder, "check-ignore", "--", path.as_posix()) is not None


def is_committable(folder: Path, path: Path) -> bool:
    """Whether ``git add --all`` would take a file: it is in a checkout that doesn't leave it out."""
    names = try_git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "--", path.as_posix())
    return bool(names)


def is_commit(folder: Path, name: str) -> bool:
    """Whether git knows a commit, branch or tag of this name."""
    # a name that begins with a dash would be an option
    return not name.startswith("-") and (
        try_git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") is not None
    )


def commit_id(folder: Path, name: str, option: str) -> str:
    """Return the id of a commit.

    Args:
        folder: a folder of the checkout.
        name: a commit, branch or tag, as a person has named it.
        option: where it was named, such as ``--base``, for the error.

    Raises:
        UsageError: the folder is no checkout, git isn't installed, or git doesn't know the name.

    """
    refuse_no_checkout(folder)
    if not is_commit(folder, name):
        raise unknown_commit(folder, name, option)
    return require_git(folder, "rev-parse", "--verify", f"{name}^{{commit}}").strip()


def unknown_commit(folder: Path, name: str, option: str) -> UsageError:
    """Return the error of a name that git doesn't know; arguments as of ``commit_id``."""
    begin = "This clone has the last commits only" if is_shallow(folder) else "Fetch it first"
    hint = f"{begin}: {fetch_command(folder)}" if name and not name.startswith("-") else "Name another."
    return UsageError(f"{option} {name!r}: git knows no such commit, branch or tag.", hint=hint)


def merge_base(folder: Path, branch: str) -> str:
    """Return the id of the commit at which HEAD left a branch, or another commit that git knows.

    Raises:
        UsageError: they have no commit in common, or git fails.

    """
    base = try_git(folder, "merge-base", branch, "HEAD")
    if base is None:
        text = f"{branch!r} and HEAD have no commit in common here."
        raise UsageError(text, hint=f"Fetch all: {fetch_command(folder)}")
    return base.strip()


def team_branch(folder: Path) -> str | None:
    """Return the team's branch; None where git knows none of ``TEAM_BRANCHES``."""
    return next((name for name in TEAM_BRANCHES if is_commit(folder, name)), None)


def is_shallow(folder: Path) -> bool:
    """Whether the clone has only the last commits of its branches."""
    return (try_git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def fetch_command(folder: Path) -> str:
    """Return the command that brings commits which a clone doesn't have: all of them, where it has only the last."""
    return f"git fetch {'--unshallow ' if is_shallow(folder) else ''}--tags"


def files(folder: Path, commit: str) -> dict[str, File]:
    """Return the files of a commit below a folder, by their paths from there.

    Raises:
        GitError: as of ``git``.

    """
    by_path: dict[str, File] = {}
    for line in git(folder, "ls-tree", "-r", "-z", commit).split("\0"):
        facts, _, path = line.partition("\t")
        if path:
            mode, _, oid = facts.split(" ")
            by_path[path] = File(mode, oid)
    return by_path


def blobs(folder: Path, oids: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of files by their names, all with one process; one that git doesn't have is left out.

    Raises:
        GitError: as of ``git``.

    """
    names = list(dict.fromkeys(oids))
    output = _output(folder, ("cat-file", "--batch"), _TIMEOUT, names) if names else b""
    contents: dict[str, bytes] = {}
    start = 0
    for name in names:
        end = output.index(b"\n", start)
        facts = output[start:end].split()
        start = end + 1
        if len(facts) == 3:  # noqa: PLR2004 - name, kind and size; or name and "missing"
            contents[name] = output[start : start + int(facts[2])]
            start += int(facts[2]) + 1
    return contents


@cache
def commit(root: Path) -> str | None:
    """Return the commit of a checkout; None where it has no commit, or git isn't installed."""
    output = try_git(root, "rev-parse", "--verify", "HEAD", timeout=_COMMIT_TIMEOUT)
    return output.strip() or None if output else None

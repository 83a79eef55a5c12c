"""The code of another commit, in a worktree that is removed at the end."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.files import FULL
from service_migrations.git import (
    TEAM_BRANCHES,
    GitError,
    git,
    is_ignored,
    merge_base,
    refuse_no_checkout,
    require_git,
    team_branch,
    try_git,
)
from service_migrations.interruption import unfinished

__all__ = ["Checkout", "checkout", "other_packages", "parting_commit"]

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "requirements*.txt")
_DEPENDENCIES = ("pyproject.toml",)
"""The file that matters where no package is locked."""

_UNWRITABLE = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM)

Checkout = tuple[str, Path]
"""A commit, and the top level of the monorepo in it."""


def parting_commit(root: Path) -> str:
    """Return the commit at which this branch left the team's.

    Raises:
        UsageError: git isn't installed, the folder is no checkout, or there is no such branch.

    """
    branch = team_branch(root)
    if branch is None:
        refuse_no_checkout(root)
        raise UsageError(f"git knows none of {', '.join(TEAM_BRANCHES)}.", hint="Name a commit with --base.")
    return merge_base(root, branch)


@contextmanager
def checkout(root: Path, commit: str) -> Iterator[Checkout]:
    """Check a commit out beside this checkout, whose files and branches stay as they are.

    Args:
        root: the top level of the monorepo.
        commit: its id.

    Raises:
        ConfigurationError: this checkout or the folder of temporary files can't be written.
        UsageError: git fails for another reason.

    """
    top_level = Path(require_git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    folder = Path(tempfile.mkdtemp(prefix="service-migrations-")).resolve()
    tree = folder / "code"

    def remove() -> None:
        try_git(root, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(folder, ignore_errors=True)

    with unfinished(remove=remove):
        try:
            _add_worktree(root, tree, commit)
            yield commit, tree / root.resolve().relative_to(top_level.resolve())
        finally:
            remove()


def _add_worktree(root: Path, tree: Path, commit: str) -> None:
    """Add a worktree of a commit.

    Raises:
        ConfigurationError: it can't be written.
        UsageError: git fails for another reason.

    """
    try:
        git(root, "worktree", "add", "--detach", "--quiet", str(tree), commit)
    except GitError as error:
        text = f"git worktree: {error}."
        if any(os.strerror(number) in text for number in _UNWRITABLE):
            hint = "It has to write to .git/worktrees and to TMPDIR."
            raise ConfigurationError(text, hint=hint) from None
        raise UsageError(text) from None


def other_packages(root: Path, code: Path, folder: Path) -> list[str]:
    """Return the files with the packages of the code that are others than in a checkout of it, but for ignored ones.

    Args:
        root: the top level of the monorepo.
        code: the same in the checkout.
        folder: the service's, relative to it.

    """
    for patterns in (_LOCKS, _DEPENDENCIES):
        places = dict.fromkeys((Path(), folder))
        names = {path.relative_to(top) for top in (root, code) for place in places for pattern in patterns
                 for path in (top / place).glob(pattern)}  # fmt: skip
        if names:
            others = [name for name in names if _content(root / name) != _content(code / name)]
            return sorted(str(name) for name in others if not is_ignored(root, name))
    return []


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None

"""The account that a server runs under: PostgreSQL refuses to run as root, and containers often are root."""

import os
from pathlib import Path
from typing import TypedDict

__all__ = ["Identity", "give", "identity", "make_folder", "reachable_folder"]

_ACCOUNTS = ("postgres", "nobody")


class Identity(TypedDict, total=False):
    """The arguments of ``subprocess`` for another user; empty where no other is needed."""

    user: int
    group: int
    extra_groups: list[int]


def identity() -> Identity:
    """Return the account of a server: the caller's own, or an unprivileged one where the caller is root."""
    if os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415 - only root needs it

    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {"user": 65534, "group": 65534, "extra_groups": []}  # the ids of nobody, where no account has that name


def give(path: Path) -> None:
    """Make the server's account the owner of a file or folder."""
    account = identity()
    if account:
        os.chown(path, account["user"], account["group"])


def reachable_folder(preferred: Path, fallback: Path) -> Path:
    """Return the preferred folder where the server's account can access it, else the fallback.

    A server that runs as ``nobody`` can't enter ``/root``, whatever the mode of the folders in it.
    """
    if not identity():
        return preferred
    parents = [parent for parent in preferred.absolute().parents if parent.exists()]
    return preferred if all(parent.stat().st_mode & 0o001 for parent in parents) else fallback


def make_folder(path: Path) -> None:
    """Create a folder and its parents, which every account may enter, whatever the umask."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)

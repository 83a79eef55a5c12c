"""The files that a person writes, read whole: never one without an end, and none that fills the memory.

And files that are written here, whole or not at all, since a disk may be full.

A pipe waits for somebody who writes, and a device such as /dev/zero has no end. Settings and passwords may come from a
pipe, as password managers and ``<(…)`` of a shell give them.
"""

import errno
import io
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import TypeGuard

__all__ = [
    "CONFIGURATION",
    "FULL",
    "SOURCE",
    "append",
    "cannot_be_written",
    "create",
    "is_full",
    "is_there",
    "read_bytes",
    "read_text",
    "refuse_irregular",
    "replace",
    "writing",
]

CONFIGURATION = 4 * 1024 * 1024
"""The most bytes of a file of settings, of a password or of entries."""
SOURCE = 64 * 1024 * 1024
"""The most bytes of a file with Python or SQL, which may have rows in it."""

_PATIENCE = 2.0
"""Seconds until somebody has opened a pipe to write to it."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A disk that is full, and the limits of an account and of a process."""
_MODE = 0o666
"""What the umask is taken from, as for any new file."""

_KINDS = {
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
    stat.S_IFIFO: "it is a pipe",
    stat.S_IFSOCK: "it is a socket",
}


def is_there(path: Path) -> bool:
    """Whether something has that name: also a link that leads nowhere, as where a volume isn't mounted."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # who reads it is told why that can't be done
    return True


def refuse_irregular(path: str | Path) -> None:
    """Refuse what is no file with an end.

    Raises:
        FileNotFoundError: it isn't there.
        OSError: it is a directory, a device, a pipe, a socket, or a link that leads nowhere; ``strerror`` has the
            reason.

    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and Path(path).is_symlink():
            reason = f"it is a link to {Path(path).readlink()}, which leads nowhere"
            raise OSError(errno.ELOOP, reason, str(path)) from None
        raise
    _refuse(mode, path)


def read_bytes(path: Path, limit: int = CONFIGURATION, *, pipe: bool = False) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        limit: the most bytes that it may have.
        pipe: whether it may be a pipe.

    Raises:
        OSError: it can't be read, is no file with an end, or is larger; ``strerror`` has the reason.

    """
    if not (pipe and path.is_fifo()):
        refuse_irregular(path)  # a socket can't be opened at all
    # it may have become a pipe since
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
        mode = os.fstat(descriptor).st_mode
        if pipe and stat.S_ISFIFO(mode):
            content = _read_pipe(descriptor, limit + 1)
        else:
            _refuse(mode, path)
            content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit // (1024 * 1024)} MB", str(path))
    return content


def _read_pipe(pipe: int, most: int) -> bytes:
    """Return what is written to a pipe that was opened without waiting for who writes.

    Raises:
        OSError: nobody writes.

    """
    content = b""
    deadline = time.monotonic() + _PATIENCE
    while len(content) < most:
        try:
            piece = os.read(pipe, most - len(content))
        except BlockingIOError:
            select.select([pipe], [], [])  # somebody has opened it, and may still ask for a person's consent
            continue
        content += piece
        if content and not piece:
            break
        if not content:
            if time.monotonic() >= deadline:
                raise OSError(errno.ENODATA, "it is a pipe that nobody writes to")
            time.sleep(0.01)
    return content


def read_text(
    path: Path,
    limit: int = CONFIGURATION,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
    pipe: bool = False,
) -> str:
    """Return the content of a text file, whose lines end with a newline; arguments and errors as of ``read_bytes``.

    Raises:
        UnicodeDecodeError: it has another encoding.

    """
    return io.TextIOWrapper(io.BytesIO(read_bytes(path, limit, pipe=pipe)), encoding=encoding, errors=errors).read()


def cannot_be_written(error: OSError) -> bool:
    """Whether it is the disk that takes no file, whatever its name."""
    return error.errno in FULL or error.errno == errno.EROFS


def is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether a file could not be written since there was no room for it."""
    return isinstance(error, OSError) and error.errno in FULL


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that the block writes in its OSError: the error of a full disk names none, or a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def create(path: Path, content: bytes, mode: int = _MODE) -> None:
    """Write a new file, whole or not at all: half of one would be taken for what somebody has written.

    Raises:
        FileExistsError: it is there.
        OSError: it can't be written; ``filename`` has its name.

    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _write(descriptor, content, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def append(path: Path, content: bytes) -> None:
    """Append to a file, which may be missing: all of it or nothing.

    Raises:
        OSError: it can't be written; ``filename`` has its name.

    """
    if not is_there(path):
        create(path, content)
        return
    size = path.stat().st_size
    try:
        _write(os.open(path, os.O_WRONLY | os.O_APPEND), content, path)
    except BaseException:
        os.truncate(path, size)
        raise


def replace(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader sees either the old content or the new one.

    Its mode stays, and as root its owner too: the .env of a developer whose checkout a container has mounted. What
    Python has compiled of the former content is removed.

    Raises:
        OSError: it can't be written; ``filename`` has its name.

    """
    # two may write the file at once, also from two containers; and with .py at its end, it would be a revision
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
    former = path.stat() if path.exists() else None
    mode = stat.S_IMODE(former.st_mode) if former else _MODE
    try:
        with writing(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        _write(descriptor, content, path)
        if former:
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                os.chown(temporary, former.st_uid, former.st_gid)
            temporary.chmod(mode)  # despite the umask
        temporary.replace(path)
        if path.suffix == ".py":
            # Python compares the time in seconds and the size, and a revision with another id has the same size
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)


def _write(descriptor: int, content: bytes, path: Path) -> None:
    with writing(path), open(descriptor, "wb") as file:
        file.write(content)


def _refuse(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(mode), "it is no file"), str(path))

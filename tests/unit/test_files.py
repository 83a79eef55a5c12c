"""A file that a person writes may be no file with an end, or fill the memory: it is refused in one line, at once."""

import asyncio
import multiprocessing
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service_migrations import files
from service_migrations.configuration import read_configuration
from service_migrations.databases.bootstrap import bootstrap
from service_migrations.errors import ConfigurationError
from service_migrations.history.baseline import baseline_path, read_baseline
from service_migrations.history.files.head_file import write_heads
from service_migrations.history.files.static import read_chain
from service_migrations.history.matrix_rows import matrix_rows
from service_migrations.history.revisions import read, template_folder
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import parse
from service_migrations.settings.example import lines
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.monorepo import Monorepo

DSN = "postgresql://app@localhost/billing"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """End what waits for a pipe, or reads without end."""
    monkeypatch.chdir(tmp_path)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.fixture
def service(monorepo: Monorepo) -> Service:
    billing = monorepo.service("billing")
    monorepo.env("billing", DATABASE_DSN=DSN, DATABASE_PASSWORD_FILE="secret")
    (monorepo.root / "secret").write_text("x")
    return billing


def of_socket(path: Path) -> None:
    os.chdir(path.parent)  # its path may be longer than a socket's
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 65 * 1024 * 1024)


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a device without an end": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "an empty device": (lambda path: path.symlink_to(os.devnull), "it is a device"),
    "a pipe": (os.mkfifo, "it is a pipe"),
    "a link to a pipe": (lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")), "it is a pipe"),
    "a directory": (Path.mkdir, "Is a directory"),
    "a socket": (of_socket, "it is a socket"),
    "a huge file": (huge, "it has more than "),
    "a link to nowhere": (lambda path: path.symlink_to("/nowhere/x"), "a link to /nowhere/x, which leads nowhere"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "which leads nowhere"),
}

FILES: dict[str, tuple[Callable[[Service], Path], Callable[[Service], Any]]] = {
    ".env": (lambda service: service.env_file, lambda service: load(service, Sources({}))),
    "the .env of all": (lambda service: service.root / ".env", lambda service: load(service, Sources({}))),
    "pyproject.toml": (
        lambda service: service.root / "pyproject.toml",
        lambda service: read_configuration(service.root),
    ),
    "the file of a password": (lambda service: service.root / "secret", lambda service: load(service, Sources({}))),
    ".env.example": (lambda service: service.env_example, lines),
    "bootstrap.sql": (
        lambda service: service.root / "bootstrap.sql",
        lambda service: asyncio.run(bootstrap(None, [service])),  # type: ignore[arg-type] # it is read before
    ),
    "head.txt": (lambda service: service.head_file, lambda service: write_heads(service, ["r1"])),
    "the baseline": (baseline_path, read_baseline),
    "the rows": (lambda service: service.root / "tests/matrix/rows/billing.toml", matrix_rows),
    "a certificate": (
        lambda service: service.root / "root.crt",
        lambda service: parse(f"{DSN}?sslmode=verify-full&sslrootcert={service.root}/root.crt", "x").connect_args(),
    ),
    "the template of a revision": (lambda service: service.versions / "script.py.mako", template_folder),
    "the template of all": (lambda service: service.root / "migrations/script.py.mako", template_folder),
}

BY_OTHERS = ("a certificate", "the template of a revision", "the template of all")
"""OpenSSL and Mako read them."""


@pytest.mark.parametrize("file", FILES)
def test_what_is_no_file_with_an_end_is_refused_in_one_line(service: Service, file: str) -> None:
    place, use = FILES[file]
    path = place(service)
    path.parent.mkdir(parents=True, exist_ok=True)
    for kind, (make, reason) in KINDS.items():
        if kind == "a huge file" and file in BY_OTHERS:
            continue
        path.unlink(missing_ok=True) if path.is_symlink() or not path.is_dir() else path.rmdir()
        make(path)
        with pytest.raises(ConfigurationError) as caught:
            use(service)
        assert reason in str(caught.value), kind
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("a directory", "a huge file")])
def test_a_revision_that_is_no_file_is_refused_in_one_line(service: Service, kind: str) -> None:
    service.versions.mkdir(parents=True, exist_ok=True)
    KINDS[kind][0](service.versions / "r1.py")
    assert read_chain(service) is None
    with pytest.raises(ConfigurationError, match=r"versions/billing/r1\.py: it is no file: a pipe, a device"):
        read(service)


@pytest.mark.parametrize(
    "pieces",
    [[f"DATABASE_DSN={DSN}\n".encode()], [b"DATABASE_DSN=", DSN.encode(), b"\n"]],
    ids=["in one piece", "in several"],
)
@pytest.mark.parametrize("late", [0.0, 0.3, 1.5])
def test_settings_come_from_a_pipe_that_somebody_writes_to(service: Service, pieces: list[bytes], late: float) -> None:
    """A password manager or a shell: <(...)."""
    service.env_file.unlink()
    os.mkfifo(service.env_file, 0o600)

    def write() -> None:
        time.sleep(late)
        with service.env_file.open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)
                time.sleep(late)

    with ThreadPoolExecutor() as threads:
        writing = threads.submit(write)
        assert load(service, Sources({})).dsn.database == "billing"
        writing.result()


def test_a_file_that_cannot_be_replaced_is_named_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "none" / "head.txt"
    with pytest.raises(FileNotFoundError) as caught:
        files.replace(path, b"")
    assert caught.value.filename == str(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes files of others")
def test_a_file_that_root_writes_anew_stays_its_owners(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"a")
    os.chown(file, 12, 34)
    file.chmod(0o640)
    files.replace(file, b"b")
    status = file.stat()
    assert (file.read_bytes(), status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (b"b", 12, 34, 0o640)


def test_two_processes_that_write_a_file_at_once_leave_one_of_both_texts(tmp_path: Path) -> None:
    path, texts = tmp_path / "head.txt", {character: character * 200_000 for character in (b"a", b"b")}
    files.replace(path, texts[b"a"])
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_often, args=(path, text)) for text in texts.values()]
    for writer in writers:
        writer.start()
    read = set()
    while any(writer.is_alive() for writer in writers):
        read.add(path.read_bytes())
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert read <= set(texts.values())
    assert [file.name for file in tmp_path.iterdir()] == ["head.txt"]


def write_often(path: Path, text: bytes) -> None:
    for _ in range(300):
        files.replace(path, text)

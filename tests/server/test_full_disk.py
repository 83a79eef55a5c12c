"""A full disk: one line with the file, 78, and no file that is half written. A limit of the process stands for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import Monorepo, Ran


def without_room(monorepo: Monorepo, *words: str, blocks: int = 0) -> Ran:
    """Run a task that can write pipes and sockets, and no byte into a file, or some blocks."""
    ran = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -f {blocks}; exec "$0" -m invoke "$@"', sys.executable, *words],
        cwd=monorepo.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def written(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".lock"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("db.revision --service billing -m Things", "migrations/versions/billing"),
        ("db.revision --service billing -m Things --empty", "migrations/versions/billing"),
        ("db.heads --service billing --write", "migrations/versions/billing/head.txt"),
        ("db.baseline --service billing --write", "migrations/versions/billing/baseline.toml"),
        ("db.init", "noxfile.py"),
        ("db.report --html r.html", "r.html"),
        ("pg.start", "/password"),
    ],
)
def test_a_full_disk_is_told_with_the_file_and_leaves_none_half_written(
    monorepo: Monorepo, database: Callable[..., Dsn], words: str, place: str
) -> None:
    monorepo.service("billing", dsn=database(creates=True))
    monorepo.revision("billing", "0001", None)
    done = monorepo.inv("db.upgrade", "--service", "billing")
    assert done.code == 0, done.text
    (monorepo.root / "migrations/versions/billing/head.txt").unlink(missing_ok=True)
    before = written(monorepo.root)

    ran = without_room(monorepo, *words.split())

    assert ran.code == 78, ran.text
    assert "Traceback" not in ran.text
    [line] = [line for line in ran.err.splitlines() if "File too large" in line]
    assert f"{place} can't be written: File too large." in line
    assert written(monorepo.root) == before


def test_a_disk_that_gets_full_while_a_server_is_made_is_told_with_the_reason(monorepo: Monorepo) -> None:
    ran = without_room(monorepo, "pg.start", blocks=200)
    assert ran.code == 78, ran.text
    [line] = [line for line in ran.err.splitlines() if "File too large" in line]
    assert "has no room for a server: initdb of PostgreSQL" in line

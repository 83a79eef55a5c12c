"""Measure what reads a long history, against ``db.status``, alternating in one run: the processor's time, and memory.

Machines are noisy: what counts is the ratio of each round. A command may take at most ``--most`` times as long, and
``--memory`` MiB; exit code 1 otherwise.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.fleet import Fleet
from service_migrations.postgres import VERSIONS, throwaway

__all__ = ["main"]

_STATUS = "db.status"
_REVISION = '''"""Revision {number}.

Revision ID: {revision}
Revises: {down}
Create Date: 2026-01-02 03:04:05.678901+00:00
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "{revision}"
down_revision: str | Sequence[str] | None = {down!r}
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("thing", sa.Column("c{number}", sa.Numeric(10, 2), nullable=True))
    op.create_index("ix_thing_c{number}", "thing", ["c{number}"])


def downgrade() -> None:
    op.drop_index("ix_thing_c{number}", table_name="thing")
    op.drop_column("thing", "c{number}")
'''


def _commands(name: str, newest: str) -> dict[str, list[str]]:
    selection = ["--service", name]
    return {
        _STATUS: [_STATUS, *selection],
        "db.heads": ["db.heads", *selection],
        "db.history": ["db.history", *selection],
        "db.log": ["db.log", *selection],
        "db.show": ["db.show", *selection, "--revision", newest],
        "db.plan": ["db.plan", *selection],
        "db.revision --empty": ["db.revision", *selection, "--empty", "-m", "Something."],
    }


def main() -> int:
    """Measure, print and judge."""
    asked = _arguments()
    seconds: dict[str, list[float]] = defaultdict(list)
    memory: dict[str, float] = defaultdict(float)
    with throwaway(asked.postgres) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        fleet = Fleet.make(Path(folder), server.admin, 1, 0)
        (name,), root = fleet.names, fleet.root / "ours"
        versions = root / "migrations" / "versions" / name
        newest = _write(versions, asked.revisions)
        fleet.databases("ours")
        before = set(versions.iterdir())
        _run(root, ["db.heads", "--write", "--service", name])
        _run(root, ["db.stamp", "--service", name, "--revision", "head", "--yes"])
        head_file = (versions / "head.txt").read_bytes()
        for number in range(asked.rounds + 1):
            for command, words in _commands(name, newest).items():
                took, peak = _run(root, words)
                for path in set(versions.glob("*.py")) - before:
                    path.unlink()
                (versions / "head.txt").write_bytes(head_file)
                if number:  # the first round compiles the files
                    seconds[command].append(took)
                    memory[command] = max(memory[command], peak)
                    print(f"{command}: {took:.2f} s, {peak:.0f} MiB", file=sys.stderr, flush=True)
    print(f"{asked.revisions} revisions, nothing pending: seconds computed, the ratio to {_STATUS}, and MiB at most")
    is_good = True
    for command, times in seconds.items():
        ratio = statistics.median(ours / status for ours, status in zip(times, seconds[_STATUS], strict=True))
        is_over = ratio > asked.most or memory[command] > asked.memory
        is_good &= not is_over
        note = "  too much" if is_over else ""
        print(f"  {command:<24}{statistics.median(times):8.2f}{ratio:9.2f}x{memory[command]:9.0f}{note}")
    return 0 if is_good else 1


def _write(folder: Path, count: int) -> str:
    """Write a history that Alembic's template might have made, and return its newest id."""
    revision = ""
    for number in range(1, count + 1):
        down, revision = revision or None, f"{number * 2654435761 % 2**48:012x}"
        path = folder / f"20260102_{number:05}_{revision}_revision_{number}.py"
        path.write_text(_REVISION.format(number=number, revision=revision, down=down), encoding="utf-8")
    return revision


def _run(root: Path, words: list[str]) -> tuple[float, float]:
    """Run a command, and return the seconds that it computed, and its peak of memory in MiB."""
    command = [sys.executable, "-m", "invoke", *words]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        printed = running.stderr.read() if running.stderr else b""
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {running.returncode}: {printed.decode()[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--revisions", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=float, default=1.5, help="the ratio to db.status that a command may have (1.5)")
    parser.add_argument("--memory", type=int, default=120, help="MiB that a command may take (120)")
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""How long the tasks take to start, against Invoke with an empty collection and against Alembic's own command."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.fleet import Fleet

__all__ = ["measure_startup"]


def measure_startup(fleet: Fleet, rounds: int) -> dict[str, float]:
    """Return medians, in seconds, of commands that are run in turn."""
    empty = fleet.root / "empty"
    empty.mkdir()
    (empty / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(_):\n    pass\n", encoding="utf-8")
    for key in ("ours", "alembic"):
        fleet.databases(key)
    ours, alembic = fleet.root / "ours", fleet.root / "alembic" / fleet.names[0]
    invoke = [sys.executable, "-m", "invoke"]
    commands: dict[str, tuple[list[str], Path]] = {
        "inv --list, an empty collection": ([*invoke, "--list"], empty),
        "inv --list, ours": ([*invoke, "--list"], ours),
        "inv --help nothing, an empty collection": ([*invoke, "--help", "nothing"], empty),
        "inv --help db.upgrade, ours": ([*invoke, "--help", "db.upgrade"], ours),
        "completion, an empty collection": ([*invoke, "--complete", "--", "inv no"], empty),
        "completion, ours": ([*invoke, "--complete", "--", "inv db.up"], ours),
        "alembic current": ([sys.executable, "-m", "alembic", "current"], alembic),
        "inv db.current, ours": ([*invoke, "db.current", "--service", fleet.names[0]], ours),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(max(rounds, 3) + 1):
        for name, (words, folder) in commands.items():
            started = time.perf_counter()
            subprocess.run(words, cwd=folder, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}

"""How much memory an upgrade of many services takes: the peaks of the first process and of any worker.

Flat means that the ratio to the fewest services stays near 1. Linux only: it reads /proc.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.fleet import Fleet
from service_migrations.postgres import VERSIONS, throwaway

__all__ = ["main", "peaks"]

_LOOK = 0.05
"""Seconds between two looks."""


def peaks(words: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command, and return what its process, any one of its workers, and all together had at most, in MiB.

    What processes share is counted in equal parts (PSS), but for the workers, of which it is what they don't share.
    """
    most = [0.0, 0.0, 0.0]
    log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed below; a pipe would fill up
    with log, subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=log) as running:
        while running.poll() is None:
            own = _memory(running.pid)
            workers = [_memory(pid) for pid in _children(running.pid)]
            most[0] = max(most[0], own["Rss"])
            most[1] = max([most[1], *(worker["Private_Dirty"] + worker["Private_Clean"] for worker in workers)])
            most[2] = max(most[2], own["Pss"] + sum(worker["Pss"] for worker in workers))
            time.sleep(_LOOK)
        log.seek(0)
        if running.returncode:
            raise RuntimeError(f"{' '.join(words[2:])} ended with {running.returncode}: {log.read()[-2000:]}")
    return most[0], most[1], most[2]


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def _memory(pid: int) -> dict[str, float]:
    """Return a process's memory in MiB, by the names that Linux gives to its kinds; zeros where it has ended."""
    kinds = dict.fromkeys(("Rss", "Pss", "Private_Dirty", "Private_Clean"), 0.0)
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
            name, value = line.split(":")
            if name in kinds:
                kinds[name] = int(value.split()[0]) / 1024
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", default="20,100,300", help="numbers of services (20,100,300)")
    parser.add_argument("--revisions", type=int, default=50, help="of each service (50)")
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS)
    asked = parser.parse_args()
    print(
        f"Peak memory of an upgrade with {asked.revisions} revisions each, in MiB, and the ratio to the fewest services"
    )
    print(f"  {'':<32}{'first process':>18}{'any worker, private':>22}{'all together':>18}")
    first: dict[str, tuple[float, float, float]] = {}
    with throwaway(asked.postgres) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for count in map(int, asked.services.split(",")):
            fleet = Fleet.make(Path(folder) / str(count), server.admin, count, asked.revisions)
            fleet.databases("ours")
            fleet.empty("ours")
            for state in ("from empty", "nothing to do"):
                peak = peaks([sys.executable, "-m", "invoke", "db.upgrade"], fleet.root / "ours")
                least = first.setdefault(state, peak)
                cells = [
                    f"{now:.1f} ({now / other:.2f}x)" if other else "-" for now, other in zip(peak, least, strict=True)
                ]
                name = f"{count} services, {state}"
                print(f"  {name:<32}{cells[0]:>18}{cells[1]:>22}{cells[2]:>18}", flush=True)


if __name__ == "__main__":
    main()

"""The contestants: how each upgrades a fleet, as a person or a pipeline would call it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet import Fleet

__all__ = ["CONTESTANTS", "Contestant", "Tools", "run"]


@dataclass(frozen=True)
class Tools:
    """Where the programs are that aren't ours; None for one that isn't there."""

    dbmate: str | None
    psql: str | None
    alchemy: str | None


Call = tuple[list[str], Path]
"""Words of a command, and the folder in which it runs."""


@dataclass(frozen=True)
class Contestant:
    """One way to upgrade a fleet: ``calls`` are run one after the other, or so many at once."""

    name: str
    calls: Callable[[Fleet, Tools], list[Call]]
    at_once: int = 1
    slow: bool = False
    remembers: bool = True

    @property
    def key(self) -> str:
        """What its databases and folders are called."""
        return self.name.partition(" ")[0].replace("-", "_").lower()


def _ours(fleet: Fleet, _: Tools) -> list[Call]:
    selection = ["--service", fleet.names[0]] if len(fleet.names) == 1 else []
    return [([sys.executable, "-m", "invoke", "db.upgrade", *selection], fleet.root / "ours")]


def _alembic(fleet: Fleet, _: Tools) -> list[Call]:
    return [
        ([sys.executable, "-m", "alembic", "upgrade", "head"], fleet.root / "alembic" / name) for name in fleet.names
    ]


def _alchemy(fleet: Fleet, tools: Tools) -> list[Call]:
    words = [tools.alchemy or "", "--config", "config.alchemy_config", "upgrade", "--no-prompt"]
    return [(words, fleet.root / "advanced_alchemy" / name) for name in fleet.names]


def _dbmate(fleet: Fleet, tools: Tools) -> list[Call]:
    return [
        (
            [
                *(tools.dbmate or "", "--no-dump-schema", "--migrations-dir", str(fleet.root / "dbmate" / name)),
                *("--url", fleet.dsn("dbmate", name, "postgres") + "?sslmode=disable", "migrate"),
            ],
            fleet.root,
        )
        for name in fleet.names
    ]


def _psql(fleet: Fleet, tools: Tools) -> list[Call]:
    options = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1")
    folder = fleet.root / "psql"
    return [
        ([tools.psql or "", *options, "-f", f"{name}.sql", fleet.dsn("psql", name)], folder) for name in fleet.names
    ]


CONTESTANTS = (
    Contestant("ours", _ours),
    Contestant("dbmate in a loop", _dbmate),
    Contestant("psql 4 at once", _psql, at_once=4, remembers=False),
    Contestant("alembic in a loop", _alembic, slow=True),
    Contestant("advanced-alchemy in a loop", _alchemy, slow=True),
)
"""psql runs the same SQL and keeps no record of it, so it can't have nothing to do."""


def run(contestant: Contestant, fleet: Fleet, tools: Tools) -> float:
    """Run a contestant over a fleet, and return the seconds."""
    calls = contestant.calls(fleet, tools)
    started = time.perf_counter()
    if contestant.at_once == 1:
        for call in calls:
            _call(call)
    else:
        with ThreadPoolExecutor(contestant.at_once) as pool:
            list(pool.map(_call, calls))
    return time.perf_counter() - started


def _call(call: Call) -> None:
    words, folder = call
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} {words[1]} in {folder} ended with {done.returncode}: {done.stderr[-2000:]}")

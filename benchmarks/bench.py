"""Measure how long it takes to upgrade fleets, for us and for others, alternating in one run; print medians and ratios.

Machines are noisy: what counts are the ratios of one run, not the seconds.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, Contestant, Tools, run
from benchmarks.fleet import Fleet
from benchmarks.picture import picture
from benchmarks.startup import measure_startup
from service_migrations.postgres import VERSIONS, throwaway

SIZES = "1x20,20x1,20x20,100x1"
ALL_SIZES = ",".join(f"{services}x{revisions}" for revisions in (1, 20, 200) for services in (1, 20, 100, 300))
EMPTY, NOTHING = "from empty", "nothing to do"

Seconds = dict[tuple[str, int, int, str], list[float]]
"""By state, services, revisions and contestant."""


def main() -> None:
    asked = _arguments()
    tools = Tools(asked.dbmate, asked.psql, asked.alchemy)
    there = {"dbmate": tools.dbmate, "psql": tools.psql, "advanced_alchemy": tools.alchemy}
    keys = [key for key in asked.contestants.split(",") if there.get(key, "yes")]
    chosen = [contestant for contestant in CONTESTANTS if contestant.key in keys]
    seconds: Seconds = defaultdict(list)
    with throwaway(asked.postgres) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for services, revisions in asked.sizes:
            fleet = Fleet.make(
                Path(folder) / f"{services}x{revisions}", server.admin, services, revisions, tools.alchemy
            )
            _measure(fleet, chosen, tools, asked, seconds)
        startup = measure_startup(fleet, asked.rounds)
    _print(seconds, asked.sizes, chosen)
    print("\nStart-up, in seconds (median), and the ratio to the first of each pair")
    for name, measured in startup.items():
        print(f"  {name:<44}{measured:8.3f}")
    if asked.json:
        rows = [[*key, statistics.median(measured)] for key, measured in seconds.items()]
        asked.json.write_text(json.dumps({"seconds": rows, "startup": startup}, indent=1), encoding="utf-8")
    if asked.picture:
        asked.picture.write_text(picture(_panels(seconds)), encoding="utf-8")


def _measure(fleet: Fleet, chosen: list[Contestant], tools: Tools, asked: argparse.Namespace, seconds: Seconds) -> None:
    count = len(fleet.names)
    for number in range(asked.rounds):
        for contestant in chosen:
            if contestant.slow and (number or count > asked.most_slow):
                continue
            fleet.databases(contestant.key)
            fleet.empty(contestant.key)
            for state in (EMPTY, NOTHING) if contestant.remembers else (EMPTY,):
                took = run(contestant, fleet, tools)
                seconds[state, count, fleet.revisions, contestant.name].append(took)
                line = f"{count}x{fleet.revisions} {contestant.name}, {state}: {took:.2f} s"
                print(line, file=sys.stderr, flush=True)


def _print(seconds: Seconds, sizes: list[tuple[int, int]], chosen: list[Contestant]) -> None:
    median: Callable[..., float | None] = lambda *key: statistics.median(seconds[key]) if key in seconds else None  # noqa: E731
    for state in (EMPTY, NOTHING):
        print(f"\n{state[0].upper()}{state[1:]}: seconds (median), and how many times as long as ours")
        print(
            f"  {'services x revisions':<28}"
            + "".join(f"{f'{services}x{revisions}':>18}" for services, revisions in sizes)
        )
        for contestant in chosen:
            cells = []
            for services, revisions in sizes:
                ours, theirs = (median(state, services, revisions, name) for name in ("ours", contestant.name))
                cells.append(f"{theirs:.2f} ({theirs / ours:.1f}x)" if theirs and ours else "-")
            print(f"  {contestant.name:<28}" + "".join(f"{cell:>18}" for cell in cells))


def _panels(seconds: Seconds) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return the lines of the picture, for the number of revisions that was measured with most services."""
    by_revisions: dict[int, set[int]] = defaultdict(set)
    for _, services, revisions, _name in seconds:
        by_revisions[revisions].add(services)
    revisions = max(by_revisions, key=lambda number: (len(by_revisions[number]), number))
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for (state, services, each, name), measured in sorted(seconds.items(), key=lambda item: item[0][1]):
        if each == revisions:
            title = f"{state}, {revisions} revision{'s' * (revisions > 1)} in each service"
            panels.setdefault(title, {}).setdefault(name, []).append((services, statistics.median(measured)))
    return panels


def _arguments() -> argparse.Namespace:
    def size(text: str) -> list[tuple[int, int]]:
        pairs = [pair.split("x") for pair in (ALL_SIZES if text == "all" else text).split(",")]
        return [(int(services), int(revisions)) for services, revisions in pairs]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=size, default=size(SIZES), help=f"services x revisions ({SIZES}), or all")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run; the slow ones once")
    parser.add_argument("--most-slow", type=int, default=20, help="the most services for the slow contestants")
    parser.add_argument("--contestants", default=",".join(contestant.key for contestant in CONTESTANTS))
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS)
    parser.add_argument("--json", type=Path, help="write the medians there")
    parser.add_argument("--picture", type=Path, help="draw the growth there, as SVG")
    for name in ("dbmate", "psql", "alchemy"):
        parser.add_argument(f"--{name}", help=f"where {name} is; it doesn't take part where this is missing")
    return parser.parse_args()


if __name__ == "__main__":
    main()

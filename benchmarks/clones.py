"""Measure what a test's own database costs: a clone by the fixture ``migrated_database``, and ways without it.

Alternating in one run, on the example service billing: what counts are the ratios.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import asyncpg

from service_migrations.monorepo import find
from service_migrations.postgres import VERSIONS, throwaway
from service_migrations.testing.databases import Databases, aimed
from service_migrations.testing.event_loop import wait
from service_migrations.testing.templates import Clones, Templates
from service_migrations.testing.turns import upgrade_in_turns

_SERVICE = "billing"


def main() -> None:
    """Measure, and print the medians and ratios for each version of PostgreSQL."""
    asked = _arguments()
    for version in asked.postgres:
        with throwaway(version) as server:
            templates, databases = Templates(server), Databases(server)
            template = _warm(templates)
            ways: dict[str, Callable[[], None]] = {
                "a clone by the fixture": lambda templates=templates: _clone(templates),
                "CREATE DATABASE … TEMPLATE by hand": lambda d=databases, t=template: _by_hand(d, t),
                "the migrations, run in this process": lambda databases=databases: _migrate(databases),
            }
            seconds: dict[str, list[float]] = defaultdict(list)
            for _ in range(asked.rounds):
                for name, make in ways.items():
                    started = time.perf_counter()
                    make()
                    seconds[name].append(time.perf_counter() - started)
            templates.close()
        ours = statistics.median(seconds["a clone by the fixture"])
        print(f"a database at head and its removal, PostgreSQL {version}: milliseconds, ratio")
        for name, values in seconds.items():
            median = statistics.median(values)
            print(f"  {name:<38}{median * 1000:7.1f}{median / ours:8.2f}x")


def _warm(templates: Templates) -> str:
    """Create the template, and return its name."""
    _clone(templates)
    return templates._template_name((find(_SERVICE),))  # noqa: SLF001 - the benchmark clones the same template


def _clone(templates: Templates) -> None:
    clones = Clones(templates)
    clones.get(_SERVICE)
    clones.drop()


def _by_hand(databases: Databases, template: str) -> None:
    async def clone() -> None:
        connection = await asyncpg.connect(**databases.server.admin.connect_args())
        await connection.execute(f'CREATE DATABASE by_hand TEMPLATE "{template}"')
        await connection.execute("DROP DATABASE by_hand")
        await connection.close()

    wait(clone)


def _migrate(databases: Databases) -> None:
    async def migrate() -> None:
        group, name = (find(_SERVICE),), databases.new_name()
        with aimed(await databases.create(group, name)):
            _, errors = await upgrade_in_turns(group)
        assert not errors
        await databases.drop(name)

    wait(migrate)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--postgres", nargs="+", default=[VERSIONS[0], VERSIONS[-1]], choices=VERSIONS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Measure what a test's own database costs: a clone by the fixture ``migrated_database``, and ways without it.

Alternating in one run, on the example service billing: what counts are the ratios. Where pytest-postgresql and
pytest-alembic are installed, their ways are measured too: a template that is cloned, and the migrations for each test.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import asyncpg
from alembic.config import Config as AlembicConfig
from sqlalchemy import URL, NullPool, create_engine

from service_migrations.monorepo import find
from service_migrations.postgres import VERSIONS, Server, throwaway
from service_migrations.testing.databases import Databases, aimed
from service_migrations.testing.event_loop import wait
from service_migrations.testing.templates import Clones, Templates
from service_migrations.testing.turns import upgrade_in_turns

_SERVICE = "billing"
_PLAIN_ENVIRONMENT = """
from alembic import context

with context.config.attributes["connection"].connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
"""An env.py as pytest-alembic needs it."""


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
            if find_spec("pytest_postgresql"):
                ways["pytest-postgresql, by the same template"] = lambda s=server, t=template: _by_janitor(s, t)
            if find_spec("pytest_alembic"):
                ways["pytest-alembic"] = lambda s=server: _by_runner(s)
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


def _by_janitor(server: Server, template: str) -> None:
    """Make a database as the fixture ``postgresql`` does."""
    from pytest_postgresql.janitor import DatabaseJanitor  # noqa: PLC0415 - perhaps not installed

    admin = server.admin
    host, port = admin.hosts[0]
    with DatabaseJanitor(
        user=admin.user, password=admin.password, host=host, port=port, dbname="by_janitor", template_dbname=template
    ):
        pass


def _by_runner(server: Server) -> None:
    """Run the migrations in a new database as the fixture ``alembic_runner`` does, with plain Alembic."""
    import pytest_alembic  # noqa: PLC0415 - perhaps not installed
    from pytest_alembic.config import Config  # noqa: PLC0415

    host, port = server.admin.hosts[0]
    url = URL.create("postgresql+psycopg", server.admin.user, server.admin.password, host, port, "postgres")
    with create_engine(url, poolclass=NullPool).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE DATABASE by_runner")
        engine = create_engine(url.set(database="by_runner"), poolclass=NullPool)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "env.py").write_text(_PLAIN_ENVIRONMENT, encoding="utf-8")
            plain = AlembicConfig()
            plain.set_main_option("script_location", folder)
            plain.set_main_option("version_locations", str(find(_SERVICE).version_locations[0]))
            with pytest_alembic.runner(config=Config(alembic_config=plain), engine=engine) as runner:
                runner.migrate_up_to("heads")
        connection.exec_driver_sql("DROP DATABASE by_runner")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--postgres", nargs="+", default=[VERSIONS[0], VERSIONS[-1]], choices=VERSIONS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

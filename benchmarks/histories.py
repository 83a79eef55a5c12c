"""Measure one long history from empty, over each driver, against plain Alembic over psycopg2, alternating in one run.

Machines are noisy: what counts are the ratios of each round, of the seconds on the clock and of those that the command
itself computed.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from textwrap import dedent

from benchmarks.fleet import Fleet
from service_migrations.postgres import VERSIONS, throwaway

_KINDS = (
    """
    op.create_table(
        "{table}",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
    )
    """,
    'op.add_column("{table}", sa.Column("price", sa.Numeric(10, 2)))',
    'op.create_index("ix_{table}_name", "{table}", ["name"])',
    """
    things = sa.table("{table}", sa.column("name", sa.String()), sa.column("price", sa.Numeric()))
    op.bulk_insert(things, [{{"name": f"thing {{number}}", "price": number}} for number in range(10)])
    op.execute("UPDATE {table} SET price = price + 1 WHERE name LIKE 'thing%'")
    """,
)
"""The body of a revision: four kinds of everyday changes in turn."""

_REVISION = '''
"""Revision {number}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
{body}


def downgrade() -> None:
    pass
'''
_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

options = context.config.get_section(context.config.config_ini_section, {})
engine = engine_from_config(options, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_ALEMBIC, _PSYCOPG, _ASYNCPG = CONTESTANTS = ("alembic over psycopg2", "ours over psycopg", "ours over asyncpg")


def main() -> None:
    asked = _arguments()
    seconds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with throwaway(asked.postgres) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        fleet = Fleet.make(Path(folder), server.admin, 1, asked.revisions)
        _write(fleet)
        for key in ("alembic", "ours"):
            fleet.databases(key)
        for number in range(asked.rounds + 1):
            for name in CONTESTANTS:
                took = _run(fleet, name)
                if number:  # the first round compiles the files
                    seconds[name].append(took)
                    print(f"{name}: {took[0]:.2f} s, {took[1]:.2f} s of them computed", file=sys.stderr, flush=True)
    print(f"{asked.revisions} revisions from empty: seconds, seconds computed (medians), and the ratios to Alembic")
    for name in CONTESTANTS:
        pairs = list(zip(seconds[name], seconds[_ALEMBIC], strict=True))
        medians = [statistics.median(ours[index] for ours, _ in pairs) for index in (0, 1)]
        ratios = [statistics.median(ours[index] / theirs[index] for ours, theirs in pairs) for index in (0, 1)]
        print(f"  {name:<24}{medians[0]:8.2f}{medians[1]:8.2f}{ratios[0]:10.2f}x{ratios[1]:8.2f}x")


def _write(fleet: Fleet) -> None:
    """Write the history, for us and for Alembic."""
    (name,) = fleet.names
    alembic = fleet.root / "alembic" / name
    (alembic / "env.py").write_text(_ENV, encoding="utf-8")
    ini = alembic / "alembic.ini"
    ini.write_text(ini.read_text(encoding="utf-8").replace("+asyncpg", "+psycopg2"), encoding="utf-8")
    for number in range(1, fleet.revisions + 1):
        revision, down = f"{name}_{number:04}", f"{name}_{number - 1:04}" if number > 1 else None
        body = dedent(_KINDS[(number - 1) % len(_KINDS)]).strip().format(table=f"thing_{(number - 1) // len(_KINDS)}")
        body = "\n".join(f"    {line}" for line in body.splitlines())
        text = _REVISION.lstrip().format(number=number, revision=revision, down=down, body=body)
        for folder in (fleet.root / "ours" / "migrations" / "versions" / name, alembic / "versions"):
            (folder / f"{revision}.py").write_text(text, encoding="utf-8")


def _run(fleet: Fleet, contestant: str) -> tuple[float, float]:
    """Run the history from empty, and return the seconds on the clock and those that the process computed."""
    (name,) = fleet.names
    key = "alembic" if contestant == _ALEMBIC else "ours"
    fleet.empty(key)
    folder, words = fleet.root / "alembic" / name, ["alembic", "upgrade", "head"]
    if contestant != _ALEMBIC:
        folder, words = fleet.root / "ours", ["invoke", "db.upgrade", "--service", name]
        _choose_driver(folder, contestant.rpartition(" ")[2])
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{contestant} ended with {done.returncode}: {done.stderr[-2000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _choose_driver(root: Path, driver: str) -> None:
    path = root / "pyproject.toml"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("driver = ")]
    lines.insert(lines.index("[tool.service-migrations]") + 1, f'driver = "{driver}"')
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--revisions", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""How time and memory grow with the number of services, from a thousand to ten thousand, with nothing to do.

Flat means that the figures of each service stay the same. The databases are brought to head by SQL, as upgrades would
take an hour. Linux only: it reads /proc.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from benchmarks.fleet import copy_ours
from benchmarks.memory import peaks
from service_migrations.postgres import VERSIONS, throwaway
from service_migrations.settings.dsn import Dsn

__all__ = ["main"]

_ROLE = "growth"
_MODELS = """
from sqlalchemy import MetaData

__all__ = ["metadata"]

metadata = MetaData()
"""
_REVISION = """
revision = "{name}_1"
down_revision = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
"""
_AT_HEAD = """
    CREATE TABLE alembic_version_{name} (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version_{name} VALUES ('{name}_1');
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", default="1000,10000", help="numbers of services (1000,10000)")
    parser.add_argument("--each", type=int, default=20, help="services in each database (20)")
    parser.add_argument("--shards", type=int, default=10, help="the shards of which the first is run too (10)")
    parser.add_argument("--postgres", default=VERSIONS[-1], choices=VERSIONS)
    asked = parser.parse_args()
    print("Nothing to do: seconds, milliseconds for each service, and MiB of all processes together at most")
    for count in map(int, asked.services.split(",")):
        # each number of services has a server of its own: hundreds of databases slow down what looks at all of them
        with throwaway(asked.postgres) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            root = Path(folder)
            copy_ours(root)
            asyncio.run(_make(root, server.admin, [f"s{number:05}" for number in range(count)], asked.each))
            for title, words, share in (
                ("all", [], 1),
                (f"one of {asked.shards} shards", ["--shard", f"1/{asked.shards}"], asked.shards),
            ):
                command = [sys.executable, "-m", "invoke", "db.upgrade", *words]
                peaks(command, root)  # the first run compiles the files
                started = time.perf_counter()
                *_, together = peaks(command, root)
                took = time.perf_counter() - started
                services = f"{count} services, {title}"
                print(
                    f"  {services:<36}{took:9.2f} s{took * share / count * 1000:9.2f} ms{together:9.1f} MiB", flush=True
                )


async def _make(root: Path, admin: Dsn, names: list[str], each: int) -> None:
    """Write the services, and make their databases."""
    connection = await asyncpg.connect(**admin.connect_args())
    await connection.execute(f"CREATE ROLE {_ROLE} LOGIN PASSWORD '{_ROLE}'")
    host, port = admin.hosts[0]
    for number, first in enumerate(range(0, len(names), each)):
        database = f"{_ROLE}_{number}"
        await connection.execute(f"CREATE DATABASE {database} OWNER {_ROLE}")
        inside = Dsn(_ROLE, database, admin.hosts, _ROLE)
        owner = await asyncpg.connect(**inside.connect_args())
        group = names[first : first + each]
        await owner.execute("".join(_AT_HEAD.format(name=name) for name in group))
        await owner.close()
        for name in group:
            service, versions = root / "services" / name, root / "migrations" / "versions" / name
            service.mkdir(parents=True)
            versions.mkdir(parents=True)
            (service / "models.py").write_text(_MODELS, encoding="utf-8")
            (versions / f"{name}_1.py").write_text(_REVISION.format(name=name), encoding="utf-8")
            env = service / ".env"
            env.write_text(f"DATABASE_DSN=postgresql://{_ROLE}:{_ROLE}@{host}:{port}/{database}\n", encoding="utf-8")
            env.chmod(0o600)
    await connection.close()


if __name__ == "__main__":
    main()

"""The world of a fault test."""

from collections.abc import Callable, Iterator

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import SECRET, query
from tests.support.monorepo import Monorepo
from tests.support.world import World


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> Iterator[World]:
    """One service with a database of its own; whatever a test has started is ended."""
    dsn = database(password=SECRET)
    monorepo.service("billing", dsn=dsn)
    made = World(monorepo, server, dsn)
    yield made
    for run in made.runs:
        run.kill()
    query(server.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", dsn.database)

"""Fixtures: the shop, upgraded to head."""

from collections.abc import Callable, Iterator

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import wait
from tests.support.monorepo import Monorepo
from tests.support.shop import FIRST, MODELS, SECOND, Shop, inside, may_create, scratches, write_history


@pytest.fixture
def shop(server: Server, database: Callable[..., Dsn], monorepo: Monorepo) -> Iterator[Shop]:
    """One service at head, whose role may create databases; no scratch database is left after the test."""
    before = scratches(server)
    dsn = may_create(server, database())
    service = monorepo.service("shop", MODELS.format(schema=None), dsn)
    write_history(monorepo, "shop", FIRST, SECOND)
    wait(service_migrations.upgrade(service))
    yield Shop(monorepo, service, dsn, inside(server, dsn))
    assert scratches(server) == before

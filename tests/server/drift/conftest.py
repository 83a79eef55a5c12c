"""Fixtures: the shop, upgraded to head."""

from collections.abc import Iterator

import pytest

from service_migrations.catalog.objects import Object
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.comparison import catalog
from tests.support.database import make_database, query
from tests.support.monorepo import Monorepo
from tests.support.shop import Shop, inside, make_shop, may_create, scratches


@pytest.fixture(scope="session")
def shop_at_head(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Dsn:
    """The database of the shop after its upgrade, of which each test gets a copy: an upgrade costs more."""
    dsn = make_database(server, keep=True)
    monorepo = Monorepo.make(tmp_path_factory.mktemp("shop"))
    make_shop(monorepo, dsn)
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    assert ran.code == 0, ran.text
    query(inside(server, dsn), "ALTER SCHEMA public OWNER TO pg_database_owner")  # as from PostgreSQL 15 on
    return dsn


@pytest.fixture(scope="session")
def history_of_the_shop(shop_at_head: Dsn) -> tuple[Object, ...]:
    """What its history creates: the catalog of the database that nobody has changed."""
    return catalog(shop_at_head)


@pytest.fixture
def shop(server: Server, shop_at_head: Dsn, monorepo: Monorepo) -> Iterator[Shop]:
    """One service at head, whose role may create databases; no scratch database is left after the test."""
    before = scratches(server)
    dsn = may_create(server, make_database(server, copied=shop_at_head))
    yield Shop(monorepo, make_shop(monorepo, dsn), dsn, inside(server, dsn))
    assert scratches(server) == before

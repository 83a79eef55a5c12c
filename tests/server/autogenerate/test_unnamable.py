"""What no model can name of a constraint stays as it is: WITHOUT OVERLAPS, a PERIOD, NO INHERIT."""

from collections.abc import Callable

import asyncpg
import pytest

import service_migrations
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.version import VERSION

SINCE_18 = pytest.mark.skipif(int(VERSION) < 18, reason="before 18 no key is WITHOUT OVERLAPS")

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import DATERANGE

__all__ = ["metadata"]
metadata = MetaData()
rooms = Table("rooms", metadata,
    Column("id", Integer, nullable=False), Column("part", Integer, nullable=False),
    Column("during, (all)", DATERANGE, nullable=False), Column("name", Text), {rooms})
stays = Table("stays", metadata,
    Column("id", Integer, nullable=False), Column("room", Integer), Column("during", DATERANGE, nullable=False),
    PrimaryKeyConstraint("id", "during", name="stays_pkey"), {stays})
"""
ROOMS = 'PrimaryKeyConstraint("id", "during, (all)", name="rooms_pkey"), '
UNIQUE = 'UniqueConstraint("name", "during, (all)", name="rooms_name"), '
STAYS = 'ForeignKeyConstraint(["room", "during"], ["rooms.id", "rooms.during, (all)"], name="stays_room")'
TABLES = """
CREATE EXTENSION btree_gist;
CREATE TABLE rooms (
    id int NOT NULL, part int NOT NULL, "during, (all)" daterange NOT NULL, name text,
    CONSTRAINT rooms_pkey PRIMARY KEY (id, "during, (all)" WITHOUT OVERLAPS),
    CONSTRAINT rooms_name UNIQUE (name, "during, (all)" WITHOUT OVERLAPS)
);
CREATE TABLE stays (
    id int NOT NULL, room int, during daterange NOT NULL,
    CONSTRAINT stays_pkey PRIMARY KEY (id, during WITHOUT OVERLAPS),
    CONSTRAINT stays_room FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD "during, (all)")
);
"""
ROWS = """
INSERT INTO rooms VALUES (1, 1, '[2026-01-01,2027-01-01)', 'one'), (1, 2, '[2027-01-01,2028-01-01)', 'one');
INSERT INTO stays VALUES (1, 1, '[2026-05-01,2027-05-01)');
"""


def models(rooms: str = ROOMS + UNIQUE, stays: str = STAYS) -> str:
    return MODELS.format(rooms=rooms, stays=stays)


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    """A service with temporal keys."""
    service = monorepo.service("shop", models(), dsn)
    run_script(dsn, [TABLES, ROWS])
    wait(service_migrations.revision(service, "made by hand", empty=True))
    wait(service_migrations.upgrade(service))
    return service


@SINCE_18
def test_a_key_without_overlaps_is_no_difference(service: Service) -> None:
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None


@SINCE_18
@pytest.mark.parametrize(
    ("rooms", "stays"),
    [
        (ROOMS, STAYS),
        ('PrimaryKeyConstraint("id", "during, (all)", name="pk_rooms"), ' + UNIQUE, STAYS),
        (ROOMS + 'UniqueConstraint("part", "during, (all)", name="rooms_part"), ' + UNIQUE, STAYS),
        (ROOMS + 'UniqueConstraint("part", "id", name="rooms_name")', STAYS),
        ('PrimaryKeyConstraint("part", "id", "during, (all)", name="rooms_pkey"), ' + UNIQUE, ""),
    ],
    ids=["key dropped", "key renamed", "key added", "plain key of other columns", "column added"],
)
def test_a_change_beside_it_keeps_it_and_leads_back(
    monorepo: Monorepo, service: Service, dsn: Dsn, rooms: str, stays: str
) -> None:
    first = catalog(dsn)
    remodel(monorepo, service, models(rooms, stays))
    code = written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    second = catalog(dsn)
    with pytest.raises(asyncpg.ExclusionViolationError):
        query(dsn, "INSERT INTO rooms VALUES (1, 1, '[2026-05-01,2026-06-01)', 'two')")
    assert code
    wait(service_migrations.downgrade(service, "-1"))
    assert catalog(dsn) == first
    wait(service_migrations.upgrade(service))
    assert catalog(dsn) == second != first


CHECKED = """
from sqlalchemy import *

__all__ = ["metadata"]
metadata = MetaData()
things = Table("things", metadata, Column("id", Integer, primary_key=True), {check})
"""
CHECK = 'CheckConstraint("id > {limit}", name="{name}")'


@pytest.mark.parametrize("end", ["", " NOT VALID"])
def test_a_check_that_is_not_inherited_stays_so(monorepo: Monorepo, dsn: Dsn, end: str) -> None:
    service = monorepo.service("shop", CHECKED.format(check="CheckConstraint('id > 10', name='more')"), dsn)
    table = "CREATE TABLE things (id serial CONSTRAINT things_pkey PRIMARY KEY)"
    run_script(
        dsn,
        [
            f"{table}; ALTER TABLE things ADD CONSTRAINT more CHECK (id > 10) NO INHERIT{end}",
            "CREATE TABLE child () INHERITS (things); INSERT INTO child VALUES (1)",
        ],
    )
    wait(service_migrations.revision(service, "made by hand", empty=True))
    wait(service_migrations.upgrade(service))
    named = [line.split()[0] for line in wait(service_migrations.check(service)).differences if " more " in line]
    assert named == (["validate_constraint"] if end else [])
    for limit, name in ((10, "renamed"), (20, "renamed")):
        remodel(monorepo, service, CHECKED.format(check=CHECK.format(limit=limit, name=name)))
        written(monorepo, service)
        wait(service_migrations.upgrade(service))
        definition = query(dsn, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1", name)[0][0]
        assert definition.startswith(f"CHECK ((id > {limit})) NO INHERIT")
    wait(service_migrations.downgrade(service, "-2"))
    definition = query(dsn, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'more'")[0][0]
    assert definition == f"CHECK ((id > 10)) NO INHERIT{end}"

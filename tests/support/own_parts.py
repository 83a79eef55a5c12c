"""A service whose models change and change back, beside what partitions and children have of their own."""

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo

EVENTS = """
events = Table("events", metadata, Column("id", Integer, primary_key=True, autoincrement=False), {parts},
    postgresql_partition_by="RANGE (id)")
"""
PARTITIONS = [
    "CREATE TABLE first PARTITION OF events FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE second PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)",
    'CREATE TABLE "Below" PARTITION OF second FOR VALUES FROM (10) TO (15)',
    "INSERT INTO events VALUES (1, 1)",
]
PLACE = 'Column("place", Integer)'
NONE = EVENTS.format(parts=PLACE)
INDEX = EVENTS.format(parts=f'{PLACE}, Index("ix", "place")')
UNIQUE = EVENTS.format(parts=f'{PLACE}, UniqueConstraint("id", "place", name="uq")')
KEY = EVENTS.format(parts='Column("place", Integer, ForeignKey("things.id", name="fk"))')
EXPRESSION = EVENTS.format(parts=f'{PLACE}, Index("ix", text("(place + 1)"))')
"""Models of it: with a column, and with an index, a unique constraint, a foreign key or an index of an expression."""


def changed(monorepo: Monorepo, dsn: Dsn, before: str, by_hand: list[str], after: str) -> None:
    """Take a service from one of its models to the other and back, and compare what is there before and after."""
    service = monorepo.service("billing", models(kind="") + before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things VALUES (1)", *by_hand])
    was = catalog(dsn)
    remodel(monorepo, service, models(kind="") + after)
    service = monorepo.find("billing")
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert [str(each) for each in differences(was, catalog(dsn))] == []
    wait(service_migrations.upgrade(service))

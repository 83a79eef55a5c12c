"""Classes that are mapped onto partitions: what they have is the whole's, and foreign keys may lead to them."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *

__all__ = ["metadata"]
metadata = MetaData()
Table("whole", metadata, Column("id", Integer), Column("day", Date), PrimaryKeyConstraint("id", "day"),
      postgresql_partition_by="RANGE (day)")
Table("part", metadata, Column("id", Integer), Column("day", Date), {part}schema={schema!r})
"""
OTHERS = """
Table("others", metadata, Column("id", Integer), Column("day", Date),
      ForeignKeyConstraint(["id", "day"], ["{part}.id", "{part}.day"], name="fk"))
"""
KEY = 'PrimaryKeyConstraint("id", "day"), '
PARTS = {
    "as it is": KEY,
    "without a key": "",
    "with more": f'{KEY}Column("note", Text), Index("more", "id"), CheckConstraint("id > 0", name="c"), ',
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("schema", [None, "far"])
def test_a_class_of_a_partition_is_no_new_table_and_drops_nothing(
    monorepo: Monorepo, database: Callable[..., Dsn], part: str, schema: str | None
) -> None:
    dsn, name = database(creates=True), f"{schema}.part" if schema else "part"
    models = MODELS.format(part=part, schema=schema)
    statements = (
        "CREATE SCHEMA IF NOT EXISTS far",
        "CREATE TABLE whole (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        f"CREATE TABLE {name} PARTITION OF whole FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
        f"CREATE INDEX by_hand ON {name} (id)",
    )
    service = monorepo.service("billing", models, dsn)
    monorepo.revision("billing", "r1", None, "\n".join(f"op.execute({each!r})" for each in statements))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None
    remodel(monorepo, service, models + OTHERS.format(part=name))
    assert "by_hand" not in written(monorepo, service, "others")
    assert wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert query(dsn, "SELECT confrelid::regclass::text FROM pg_constraint WHERE conname = 'fk'") == [(name,)]

"""Partitioned tables that are dropped, with foreign keys that only their partitions have."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.catalog import catalog
from tests.support.database import run_script, wait
from tests.support.monorepo import Monorepo

PARTITIONED = """
{name} = Table("{name}", metadata, Column("id", Integer, primary_key=True), Column("other", Integer),
    postgresql_partition_by="RANGE (id)")
"""
KEPT = models(kind="")
KEYS: dict[str, list[str]] = {
    "to the other table": ["left_1 -> right", "right_1 -> left"],
    "of one table": ["left_1 -> right"],
    "to partitions of the other table": ["left_1 -> right_1", "right_1 -> left_1"],
    "to a table's own": ["left_1 -> left", "right_1 -> right_2"],
    "of and to partitions, each way": ["left_1 -> right_2", "right_1 -> left", "left -> right_1"],
    "of a table, and back of a partition": ["left -> right", "right_1 -> left"],
    "to a table that stays": ["left_1 -> things", "right_1 -> left"],
}
"""The foreign keys, by what has them and what they lead to."""


@pytest.mark.parametrize("kept", [[], ["left"]], ids=["both", "one"])
@pytest.mark.parametrize("keys", KEYS.values(), ids=list(KEYS))
def test_partitioned_tables_whose_partitions_refer_to_each_other_are_dropped_and_come_back(
    keys: list[str], kept: list[str], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    both, after = ("".join(PARTITIONED.format(name=name) for name in names) for names in (("left", "right"), kept))
    service = monorepo.service("billing", KEPT + both, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    partitions = [
        f'CREATE TABLE {name}_{number} PARTITION OF "{name}" FOR VALUES FROM ({number}) TO ({number + 1})'
        for name in ("left", "right")
        for number in (1, 2)
    ]
    references = [
        f'ALTER TABLE "{own}" ADD CONSTRAINT key_{number} FOREIGN KEY (other) REFERENCES "{other}" (id)'
        for number, (own, other) in enumerate(key.split(" -> ") for key in keys)
    ]
    run_script(dsn, [*partitions, *references])
    before = catalog(dsn)
    remodel(monorepo, service, KEPT + after)
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert catalog(dsn) == before

"""A comparison leaves the models of the process as they were: what uses them next makes the same of them."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all
from tests.support.catalog import catalog
from tests.support.database import wait
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import *
from sqlalchemy import Enum
from sqlalchemy.dialects.postgresql import ARRAY, ENUM
from shared_models import NAMING_CONVENTION

__all__ = ["metadata", "things"]
metadata = MetaData(naming_convention=NAMING_CONVENTION)

class States(TypeDecorator):
    impl = ARRAY(Enum("new", "old", name="state"))
    cache_ok = True

"""
COLUMNS = {
    "enum": 'Enum("new", "old", name="state")',
    "enum of the MetaData": 'Enum("new", "old", name="state", metadata=metadata)',
    "array of an enum": 'ARRAY(Enum("new", "old", name="state"))',
    "array of a PostgreSQL enum": 'ARRAY(ENUM("new", "old", name="state"), dimensions=2)',
    "array of an enum of the MetaData": 'ARRAY(Enum("new", "old", name="state", metadata=metadata))',
    "decorated array": "States",
    "array of an enum for this database": 'JSON().with_variant(ARRAY(Enum("new", "old", name="state")), "postgresql")',
    "constraint of a type": 'Enum("new", "old", name="state", native_enum=False, create_constraint=True)',
}


@pytest.mark.parametrize("kind", COLUMNS.values(), ids=COLUMNS)
def test_the_tables_of_create_all_are_the_same_after_a_comparison(
    monorepo: Monorepo, database: Callable[..., Dsn], kind: str
) -> None:
    service = monorepo.service(
        "shop",
        f"{HEAD}things = Table('things', metadata, Column('id', Integer, primary_key=True), Column('state', {kind}))\n",
        database(),
    )
    metadata = import_models(service).metadata
    before, after = database(), database()
    create_all(metadata, before)
    wait(service_migrations.check(service))
    wait(service_migrations.revision(service, "create"))
    create_all(metadata, after)
    assert catalog(after) == catalog(before)

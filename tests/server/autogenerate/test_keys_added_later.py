"""A key that refers to another table counts nothing, also where its foreign key is added after the table."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, remodel, written
from tests.support.catalog import catalog
from tests.support.database import wait
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import *
from shared_models import NAMING_CONVENTION

__all__ = ["parents", {names}]
metadata = MetaData(naming_convention=NAMING_CONVENTION)
parents = Table("parents", metadata, Column("id", {kind}, primary_key=True))
"""
CHILDREN = {
    "key that is a foreign key": """
children = Table("children", metadata, Column("id", Integer, ForeignKey("parents.id"), primary_key=True))
""",
    "counted nevertheless": """
children = Table("children", metadata,
    Column("id", Integer, ForeignKey("parents.id"), primary_key=True, autoincrement="ignore_fk"))
""",
    "counted beside a foreign key": """
children = Table("children", metadata, Column("id", Integer, primary_key=True),
    Column("parent", Integer, ForeignKey("parents.id")))
""",
    "two columns": """
children = Table("children", metadata, Column("id", Integer, ForeignKey("parents.id"), primary_key=True),
    Column("number", Integer, primary_key=True))
""",
    "identity": """
children = Table("children", metadata,
    Column("id", Integer, Identity(), ForeignKey("parents.id"), primary_key=True))
""",
    "each refers to the other": """
children = Table("children", metadata, Column("id", Integer, ForeignKey("others.id"), primary_key=True))
others = Table("others", metadata, Column("id", Integer, ForeignKey("children.id"), primary_key=True))
""",
    "each refers to the other, one by ALTER": """
children = Table("children", metadata,
    Column("id", Integer, ForeignKey("others.id", use_alter=True), primary_key=True))
others = Table("others", metadata, Column("id", Integer, ForeignKey("children.id"), primary_key=True))
""",
    "refers to itself": """
children = Table("children", metadata, Column("id", Integer, ForeignKey("children.id"), primary_key=True))
""",
}


@pytest.mark.parametrize("before", ["BigInteger", "Integer"])
@pytest.mark.parametrize("children", CHILDREN.values(), ids=CHILDREN)
def test_a_new_table_is_that_of_create_all(
    monorepo: Monorepo, database: Callable[..., Dsn], children: str, before: str
) -> None:
    """Where the parent's type changes too, no foreign key can stand in CREATE TABLE."""
    expected, dsn = database(), database()
    service = monorepo.service("shop", HEAD.format(names="", kind=before), dsn)
    written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))
    names = "'children', 'others'" if "others = " in children else "'children'"
    remodel(monorepo, service, HEAD.format(names=names, kind="Integer") + children)
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    create_all(import_models(service).metadata, expected)
    assert [line for line in catalog(dsn) if "alembic_version" not in line] == catalog(expected)
    wait(service_migrations.downgrade(service, "-1"))

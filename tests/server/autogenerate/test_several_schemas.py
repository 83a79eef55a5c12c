"""Models on several MetaData with schemas of their own: each table stays in the schema of its own one."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import Enum, ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Customer", "Order", "Entry", "Note"]


class Base(DeclarativeBase):
    metadata = MetaData({one})


class Other(DeclarativeBase):
    metadata = MetaData({other})


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[int] = mapped_column(ForeignKey("customers.id", name="fk_customer"), index=True)
    state: Mapped[str] = mapped_column(Enum("new", "paid", name="order_state"))


class Entry(Other):
    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)


class Note(Other):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[int] = mapped_column(ForeignKey("entries.id", name="fk_entry"))
    customer: Mapped[int] = mapped_column(ForeignKey(Customer.id, name="fk_customer"))
"""
TABLES = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename ~ '^(customers|orders|entries|notes)$'"
VERSION_TABLE = "SELECT schemaname FROM pg_tables WHERE tablename = 'alembic_version_shop'"


@pytest.mark.parametrize(("one", "other"), [(None, "audit"), ("audit", None), ("sales", "audit")])
def test_each_table_stays_in_the_schema_of_its_own_metadata(
    one: str | None, other: str | None, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Tables without a schema were compared in that of the other MetaData, and proposed for a drop."""
    dsn = database(creates=True)
    one_text, other_text = (f"schema={schema!r}" if schema else "" for schema in (one, other))
    service = monorepo.service("shop", MODELS.format(one=one_text, other=other_text), dsn)
    schemas = [schema for schema in (one, other) if schema]
    create = "; ".join(f'op.execute("CREATE SCHEMA {schema}")' for schema in schemas)
    drop = "; ".join(f'op.execute("DROP SCHEMA {schema}")' for schema in schemas)
    monorepo.revision("shop", "r1", None, create, drop)
    wait(service_migrations.upgrade(service))
    written(monorepo, service, "first")
    wait(service_migrations.upgrade(service))
    one, other = one or "public", other or "public"
    expected = {f"{one}.customers", f"{one}.orders", f"{other}.entries", f"{other}.notes"}
    assert {name for (name,) in query(dsn, TABLES)} == expected
    assert query(dsn, VERSION_TABLE) == [("public",)]
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.drift(service)).differences == ()
    wait(service_migrations.downgrade(service, "base"))
    assert query(dsn, TABLES) == []


def test_a_table_with_a_schema_of_its_own_leaves_the_version_table_in_that_of_the_others(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Such as an outbox that services share: a table of another MetaData, which has no schema."""
    outbox = 'Outbox = Table("outbox", MetaData(), Column("id", Integer, primary_key=True), schema="shared")\n'
    models = MODELS.format(one='schema="shop"', other='schema="shop"').replace('"Note"]', '"Note", "Outbox"]')
    models = models.replace("import Enum,", "import Column, Enum, Integer, Table,")
    dsn = database(creates=True)
    service = monorepo.service("shop", models + outbox, dsn)
    monorepo.revision("shop", "r1", None, 'op.execute("CREATE SCHEMA shared")', 'op.execute("DROP SCHEMA shared")')
    wait(service_migrations.upgrade(service))
    written(monorepo, service, "first")
    wait(service_migrations.upgrade(service))
    assert query(dsn, VERSION_TABLE) == [("shop",)]
    assert wait(service_migrations.check(service)).differences == ()

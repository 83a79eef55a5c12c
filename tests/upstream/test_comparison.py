"""Traps of comparing models with a database: what must not be dropped, what must be, and what goes unseen."""

import importlib
from collections.abc import Callable

import pytest
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

import service_migrations
from service_migrations.errors import ConfigurationError
from service_migrations.models.metadata import assemble
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import EMPTY, STATEFUL, first_upgrade, remodel, written
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo


def enum_types(dsn: Dsn) -> list[str]:
    return [row[0] for row in query(dsn, "SELECT typname FROM pg_type WHERE typtype = 'e' ORDER BY 1")]


# A sibling's tables


def test_a_siblings_table_is_never_dropped(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """Row 42: nor proposed for it."""
    dsn = database()
    orders = monorepo.service("orders", dsn=database(shared=dsn))
    monorepo.table_revision("orders", "r001", None)
    wait(service_migrations.upgrade(orders))
    billing = monorepo.service("billing", dsn=dsn)

    code = written(monorepo, billing)
    assert "op.create_table('billing'" in code
    assert "orders" not in code
    assert "alembic_version" not in code

    wait(service_migrations.upgrade(billing))
    assert wait(service_migrations.revision(billing, "nothing")) is None
    assert wait(service_migrations.revision(orders, "nothing")) is None
    assert wait(service_migrations.check(billing)).differences == ()
    assert tables(dsn) == {"billing", "orders", "alembic_version_billing", "alembic_version_orders"}


def test_a_sibling_that_cannot_be_imported_stops_the_comparison(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    billing = monorepo.service("billing", dsn=(dsn := database()))
    monorepo.service("orders", "raise RuntimeError('half written')", database(shared=dsn))
    with pytest.raises(ConfigurationError, match="nobody can tell which tables are orders's own"):
        wait(service_migrations.revision(billing, "change"))
    assert not billing.versions.exists() or not list(billing.versions.glob("*.py"))


# One's own removed model


def test_ones_own_removed_model_is_dropped(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    orders = monorepo.service("orders", dsn=database(shared=dsn))
    monorepo.table_revision("orders", "r001", None)
    wait(service_migrations.upgrade(orders))
    billing = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r001", None)
    monorepo.table_revision("billing", "r002", "r001", "removed")
    wait(service_migrations.upgrade(billing))

    code = written(monorepo, billing)
    up, _, down = code.partition("def downgrade")
    assert up.count("op.drop_table(") == 1
    assert "op.drop_table('removed')" in up
    assert "CREATE TABLE removed" in down

    wait(service_migrations.upgrade(billing))
    assert tables(dsn) == {"billing", "orders", "alembic_version_billing", "alembic_version_orders"}


# A sibling's enum types


def test_a_siblings_enum_type_is_never_dropped_and_ones_own_is_created_once(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    orders = monorepo.service("orders", STATEFUL.format(name="orders"), database(shared=dsn))
    first_upgrade(monorepo, orders)
    billing = monorepo.service("billing", STATEFUL.format(name="billing"), dsn)

    code = written(monorepo, billing)
    assert "orders" not in code
    assert code.partition("def downgrade")[0].count("CREATE TYPE billing_state") == 1

    wait(service_migrations.upgrade(billing))
    assert enum_types(dsn) == ["billing_state", "orders_state"]
    for service in (billing, orders):
        assert wait(service_migrations.check(service)).differences == ()


# What a comparison has to see


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("ALTER TYPE billing_state ADD VALUE 'surprise'", "surprise"),
        ("ALTER TABLE billing ALTER quantity SET DEFAULT 2", "server_default"),
        ("ALTER TABLE billing ALTER state SET DEFAULT 'old'", "server_default"),
        ("ALTER TABLE billing ALTER quantity DROP DEFAULT", "server_default"),
        ("ALTER TABLE billing DROP CONSTRAINT ck_billing_quantity_positive", "ck_billing_quantity_positive"),
        ("ALTER TABLE billing ALTER quantity TYPE bigint", "bigint"),
    ],
)
def test_check_sees_what_was_changed_behind_its_back(
    change: str, seen: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", STATEFUL.format(name="billing"), dsn)
    first_upgrade(monorepo, service)
    assert wait(service_migrations.check(service)).differences == ()

    query(dsn, change)

    differences = wait(service_migrations.check(service)).differences
    assert len(differences) == 1
    assert seen in differences[0]


# A CHECK inside a column


def test_a_check_inside_a_column_is_created_with_its_table(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    models = STATEFUL.format(name="billing").replace(
        'server_default=text("1"))', 'CheckConstraint("quantity < 100", name="quantity_small"))'
    )
    service = monorepo.service("billing", models, dsn)

    code = written(monorepo, service)
    assert code.count("sa.CheckConstraint(") == 2

    wait(service_migrations.upgrade(service))
    rows = query(
        dsn, "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'billing'::regclass ORDER BY 1"
    )
    assert [row[0] for row in rows] == ["ck_billing_quantity_positive", "ck_billing_quantity_small"]
    assert wait(service_migrations.check(service)).differences == ()


def test_a_check_inside_a_column_keeps_what_else_was_said_of_it(monorepo: Monorepo) -> None:
    models = STATEFUL.format(name="billing").replace(
        'server_default=text("1"))',
        'CheckConstraint("quantity < 100", name="quantity_small", postgresql_not_valid=True, info={"who": "us"}))',
    )
    found = [
        check
        for check in assemble(monorepo.service("billing", models)).tables["billing"].constraints
        if "quantity_small" in str(check.name)
    ]
    assert len(found) == 1
    assert found[0].info == {"who": "us"}
    assert found[0].dialect_options["postgresql"]["not_valid"] is True


# Enum types and the way down


def test_an_enum_survives_up_and_down_and_up_again(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", STATEFUL.format(name="billing"), dsn)
    first_upgrade(monorepo, service)
    assert enum_types(dsn) == ["billing_state"]

    wait(service_migrations.downgrade(service, "base"))
    assert enum_types(dsn) == []
    assert tables(dsn) == {"alembic_version_billing"}

    wait(service_migrations.upgrade(service))
    assert enum_types(dsn) == ["billing_state"]
    assert wait(service_migrations.check(service)).differences == ()


def test_a_removed_enum_leaves_no_type_and_comes_back(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", STATEFUL.format(name="billing"), dsn)
    first_upgrade(monorepo, service)
    remodel(monorepo, service, EMPTY)
    written(monorepo, service, "remove")

    wait(service_migrations.upgrade(service))
    assert (enum_types(dsn), tables(dsn)) == ([], {"alembic_version_billing"})
    wait(service_migrations.downgrade(service, "-1"))
    assert (enum_types(dsn), tables(dsn)) == (["billing_state"], {"billing", "alembic_version_billing"})
    wait(service_migrations.upgrade(service))
    assert (enum_types(dsn), tables(dsn)) == ([], {"alembic_version_billing"})
    wait(service_migrations.downgrade(service, "base"))
    wait(service_migrations.upgrade(service))


# Copies of tables


RICH = """
from enum import Enum
from sqlalchemy import (
    CheckConstraint, Computed, Enum as EnumType, ForeignKey, Identity, Index, MetaData, String, UniqueConstraint,
    func, text,
)
from sqlalchemy.dialects.postgresql import DOMAIN, ExcludeConstraint, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from shared_models import NAMING_CONVENTION

__all__ = ["Base", "Customer", "Invoice"]

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION{schema})

class State(Enum):
    open = "open"
    paid = "paid"

class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = {{"comment": "Who's 100% ours", "postgresql_tablespace": "pg_default"}}
    id: Mapped[int] = mapped_column(Identity(always=True, start=1000), primary_key=True)
    email: Mapped[str] = mapped_column(
        DOMAIN("email", String(200), check=text("VALUE LIKE '%@%'")), unique=True, comment="lower case"
    )

class Invoice(Base):
    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("customer_id", "number", deferrable=True, initially="DEFERRED"),
        CheckConstraint("net >= 0", name="net_not_negative"),
        Index(None, "customer_id", postgresql_where=text("state = 'open'")),
        Index("ix_invoices_lower", func.lower("number"), postgresql_include=["net"], postgresql_using="btree"),
        Index("ix_invoices_data", "data", postgresql_using="gin", postgresql_ops={{"data": "jsonb_path_ops"}}),
        ExcludeConstraint(("number", "="), using="btree", name="one_number"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey(Customer.id, ondelete="RESTRICT", deferrable=True))
    number: Mapped[str] = mapped_column(String(20, collation="C"), index=True)
    net: Mapped[int] = mapped_column(server_default=text("0"))
    gross: Mapped[int] = mapped_column(Computed("net * 119 / 100", persisted=True))
    state: Mapped[State] = mapped_column(EnumType(State, name="state"), server_default="open")
    data: Mapped[dict] = mapped_column(JSONB, server_default=text("'{{}}'"))
"""


def ddl(metadata: MetaData) -> dict[str, list[str]]:
    """Return each table's DDL, with its indexes, comments and types; in which order constraints stand is all one."""
    dialect = postgresql.dialect()

    def of(table: Table) -> list[str]:
        create = str(CreateTable(table).compile(dialect=dialect)).strip().split(", \n")
        create = [line.removesuffix("\n)") for line in create]
        columns, constraints = create[: len(table.columns)], sorted(create[len(table.columns) :])
        comments = [SetTableComment(table), *(SetColumnComment(column) for column in table.columns if column.comment)]
        comments += [CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]
        types = [repr(column.type) for column in table.columns]
        return [
            *columns,
            *constraints,
            *(str(comment.compile(dialect=dialect)).strip() for comment in comments),
            *types,
        ]

    return {table.key: of(table) for table in metadata.sorted_tables}


@pytest.mark.parametrize("schema", ["", ', schema="billing"'], ids=["no_schema", "schema"])
def test_the_assembled_copy_of_a_table_makes_the_same_ddl(schema: str, monorepo: Monorepo) -> None:
    service = monorepo.service("billing", RICH.format(schema=schema))
    copied = assemble(service)
    original = importlib.import_module(service.models).Base.metadata

    assert copied is not original
    actual, expected = ddl(copied), ddl(original)
    assert actual.keys() == expected.keys()
    for table, lines in expected.items():
        assert actual[table] == lines
    everything = "\n".join(line for lines in actual.values() for line in lines)
    for feature in ("pk_invoices", "WHERE state", "COMMENT ON", "state", "GENERATED ALWAYS AS", "AS IDENTITY", "email"):
        assert feature in everything


def test_an_enum_that_an_annotation_names_stays_where_the_models_look_for_it(monorepo: Monorepo) -> None:
    """Where the type is not written out, the models ask for ``state`` and a copy for ``billing.state``."""
    models = STATEFUL.format(name="billing").replace("NAMING_CONVENTION)", 'NAMING_CONVENTION, schema="billing")')
    service = monorepo.service("billing", models)
    copied = assemble(service).tables["billing.billing"]
    original = importlib.import_module(service.models).Thing.__table__
    assert ddl(copied.metadata) == ddl(original.metadata)

"""Foreign keys into a sibling's tables: two services in one database, with schemas and without."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel
from tests.support.catalog import catalog
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo

CATALOG = """
from enum import Enum
from sqlalchemy import MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from shared_models import NAMING_CONVENTION

__all__ = ["Base", "Product", "Part"]

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION{schema})

class State(Enum):
    new = "new"

class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(9), unique=True)
    state: Mapped[State]

class Part(Base):
    __tablename__ = "parts"
    id: Mapped[int] = mapped_column(primary_key=True)
"""

STOCK = """
from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from shared_models import NAMING_CONVENTION

__all__ = ["Base", "Level"]

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION{schema})

class Level(Base):
    __tablename__ = "levels"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("{target}.id", ondelete="CASCADE"))
    code: Mapped[str | None] = mapped_column(ForeignKey("{target}.code"))
"""

SCHEMAS = pytest.mark.parametrize(
    ("of_catalog", "of_stock"),
    [("", ""), ("catalog", "stock"), ("catalog", "catalog"), ("", "stock"), ("catalog", "")],
)


def build(
    monorepo: Monorepo, database: Callable[..., Dsn], of_catalog: str, of_stock: str
) -> tuple[Service, Service, Dsn]:
    """Return catalog, upgraded, and stock, which refers to catalog's products and has no revision yet."""
    dsn = database()
    target = f"{of_catalog}.products" if of_catalog else "public.products" if of_stock else "products"
    catalog_service = monorepo.service("catalog", CATALOG.format(schema=_schema(of_catalog)), dsn)
    _create(catalog_service)
    stock = monorepo.service("stock", STOCK.format(schema=_schema(of_stock), target=target), dsn)
    return catalog_service, stock, dsn


@SCHEMAS
def test_a_foreign_key_into_a_siblings_table_is_kept_without_pulling_the_table_in(
    of_catalog, of_stock, monorepo, database
):
    products, stock, dsn = build(monorepo, database, of_catalog, of_stock)
    before = catalog(dsn)

    code = _create(stock)
    assert "op.create_table('levels'" in code.replace('"', "'").replace("(\n        ", "(")
    assert "create_table('products'" not in code.replace('"', "'").replace("(\n        ", "(")
    keys = query(dsn, "SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1")
    assert [row[0] for row in keys] == ["fk_levels_code_products", "fk_levels_product_id_products"]
    for service in (products, stock):
        assert wait(service_migrations.check(service)).differences == ()
        assert wait(service_migrations.revision(service, "nothing")) is None

    query(dsn, f'ALTER TABLE {of_stock or "public"}.levels DROP CONSTRAINT "fk_levels_product_id_products"')
    assert len(wait(service_migrations.check(stock)).differences) == 1
    query(dsn, f"ALTER TABLE {of_stock or 'public'}.levels DROP COLUMN code")
    wait(service_migrations.revision(stock, "again"))
    wait(service_migrations.upgrade(stock))
    assert wait(service_migrations.check(stock)).differences == ()

    query(dsn, f"DROP TABLE {of_stock or 'public'}.levels")
    left = [line for line in catalog(dsn) if ".alembic_version_stock" not in line]
    assert left == before


@SCHEMAS
def test_a_downgrade_leaves_the_sibling_as_it_was(of_catalog, of_stock, monorepo, database):
    _, stock, dsn = build(monorepo, database, of_catalog, of_stock)
    before = catalog(dsn)
    _create(stock)
    wait(service_migrations.downgrade(stock, "base"))
    assert [line for line in catalog(dsn) if ".alembic_version_stock" not in line] == before
    wait(service_migrations.upgrade(stock))
    assert wait(service_migrations.check(stock)).differences == ()


@SCHEMAS
def test_a_siblings_removed_model_is_its_own_to_drop(of_catalog, of_stock, monorepo, database):
    products, stock, dsn = build(monorepo, database, of_catalog, of_stock)
    _create(stock)
    models = CATALOG.format(schema=_schema(of_catalog))
    remodel(monorepo, products, models.partition("class Part(")[0].replace(', "Part"', ""))
    assert wait(service_migrations.check(stock)).differences == ()
    differences = wait(service_migrations.check(products)).differences
    assert [line.split()[0] for line in differences] == ["drop_table"]
    assert differences[0].endswith("parts")
    assert "parts" in tables(dsn)


def test_a_foreign_key_to_a_table_that_no_service_of_the_database_has_is_told(monorepo, database):
    dsn = database()
    monorepo.service("catalog", CATALOG.format(schema=""), database())
    stock = monorepo.service("stock", STOCK.format(schema="", target="products"), dsn)
    with pytest.raises(ConfigurationError) as caught:
        wait(service_migrations.check(stock))
    assert str(caught.value) == (
        "stock: services/stock/models.py: levels.code refers to products.code, which models.__all__ doesn't export. "
        "Add the model to __all__; a table that another program makes, add to ignore in pyproject.toml."
    )


def test_a_foreign_key_to_a_column_that_the_siblings_model_hasnt_is_told(monorepo, database):
    products, stock, _ = build(monorepo, database, "", "")
    models = CATALOG.format(schema="").replace("code: Mapped[str]", "number: Mapped[str]")
    remodel(monorepo, products, models)
    with pytest.raises(ConfigurationError) as caught:
        wait(service_migrations.revision(stock, "x"))
    assert str(caught.value) == (
        "stock: services/stock/models.py: levels.code refers to products.code, a column that catalog's model doesn't "
        "have. Correct the ForeignKey."
    )


def _schema(name: str) -> str:
    return f', schema="{name}"' if name else ""


def _create(service: Service) -> str:
    """Write and run the first revision, and return its code."""
    written = wait(service_migrations.revision(service, "create"))
    wait(service_migrations.upgrade(service))
    return (service.root / written.path).read_text(encoding="utf-8")

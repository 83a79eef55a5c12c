"""Foreign keys into a sibling's tables that can't be right: one clear line, whatever the server."""

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError
from tests.conftest import wait
from tests.faults.test_sharing import CATALOG, STOCK, build, renewed


def test_a_foreign_key_to_a_table_that_no_service_of_the_database_has_is_told(monorepo, database):
    dsn = database()
    monorepo.service("catalog", CATALOG.format(schema=""), database())
    stock = monorepo.service("stock", STOCK.format(schema="", target="products"), dsn)
    with pytest.raises(ConfigurationError) as caught:
        wait(service_migrations.check(stock))
    assert str(caught.value) == (
        "services/stock/models.py: levels.code refers to products.code, which models.__all__ doesn't export. "
        "Add the model to __all__."
    )


def test_a_foreign_key_to_a_column_that_the_siblings_model_hasnt_is_told(monorepo, database):
    products, stock, _ = build(monorepo, database, "", "")
    models = CATALOG.format(schema="").replace("code: Mapped[str]", "number: Mapped[str]")
    renewed(monorepo, products, models)
    with pytest.raises(ConfigurationError) as caught:
        wait(service_migrations.revision(stock, "x"))
    assert str(caught.value) == (
        "services/stock/models.py: levels.code refers to products.code, a column that catalog's model doesn't have. "
        "Correct the ForeignKey."
    )

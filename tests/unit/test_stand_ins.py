"""Stand-ins for a sibling's tables: what a foreign key names, in whichever form it does, on SQLAlchemy 2.0 and 2.1."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table

from service_migrations.errors import ConfigurationError
from service_migrations.models.claims import Claims
from service_migrations.models.stand_ins import complete, is_stand_in
from service_migrations.monorepo import Service
from service_migrations.settings.siblings import Sibling
from tests.support.versions import SQLALCHEMY


def siblings(name: str, schema: str | None, default: str = "public") -> dict[Sibling, Claims]:
    """Return a sibling that has one table."""
    metadata = MetaData()
    Table(name, metadata, Column("id", BigInteger, primary_key=True), Column("code", Integer), schema=schema)
    service = Service("catalog", Path(), Path(), Path(), "catalog.models", (Path(),), "alembic_version_catalog")
    return {_sibling(service, default): Claims.of(metadata)}


def _sibling(service: Service, schema: str) -> Sibling:
    return Sibling(service, certain=True, schema=schema, version_table=service.version_table, settings=None)


def levels(target: Any, schema: str | None = None) -> MetaData:
    """Return the metadata of a service with one table, whose foreign key leads to a target."""
    metadata = MetaData(schema=schema)
    Table("levels", metadata, Column("id", Integer, ForeignKey(target), primary_key=True))
    return metadata


@pytest.mark.parametrize(
    ("target", "schema", "theirs"),
    [
        ("products", None, None),
        ("products.id", None, None),
        ("public.products.id", None, None),
        ("catalog.products.id", None, "catalog"),
        ("products.id", "catalog", "catalog"),
        ("catalog.products.id", "stock", "catalog"),
    ],
)
def test_a_stand_in_has_the_columns_that_a_foreign_key_leads_to(
    target: str, schema: str | None, theirs: str | None
) -> None:
    metadata = levels(target, schema)
    complete(metadata, "services/stock/models.py", schema or "public", siblings("products", theirs))
    (stand_in,) = (table for table in metadata.tables.values() if is_stand_in(table))
    assert (stand_in.name, stand_in.schema or "public") == ("products", theirs or "public")
    assert [column.name for column in stand_in.columns] == ["id"]
    (key,) = metadata.tables["levels" if schema is None else f"{schema}.levels"].foreign_keys
    assert isinstance(key.column.type, BigInteger)


@pytest.mark.parametrize("target", ["products.id", "catalog.products.id", "products.number"])
def test_a_foreign_key_to_what_no_sibling_has_is_named_as_it_is_written(target: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^models.py: levels.id refers to {re.escape(target)}, "):
        complete(levels(target), "models.py", "public", siblings("products", None if "number" in target else "far"))


@pytest.mark.skipif(SQLALCHEMY < (2, 1), reason="in SQLAlchemy 2.0 a foreign key names no table with a dot")
def test_a_name_may_have_a_dot_in_it() -> None:
    metadata = levels(("my.products", "id"))
    complete(metadata, "models.py", "public", siblings("my.products", None))
    assert [table.name for table in metadata.tables.values() if is_stand_in(table)] == ["my.products"]
    with pytest.raises(ConfigurationError, match=r"refers to my\.products\.id, which "):
        complete(levels(("my.products", "id")), "models.py", "public", siblings("products", None))

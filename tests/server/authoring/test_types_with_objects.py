"""Types that add an index or a CHECK to the table of their column, as GeoAlchemy2's do: a revision makes each once."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *
from sqlalchemy.sql.base import SchemaEventTarget
from sqlalchemy.types import UserDefinedType
from shared_models import NAMING_CONVENTION

__all__ = ["metadata", "cities", "roads"]
metadata = MetaData(naming_convention=NAMING_CONVENTION)

{kind}
cities = Table("cities", metadata, Column("id", Integer, primary_key=True), Column("area", Area()))
roads = Table("roads", metadata, Column("id", Integer, primary_key=True){column})
"""
AREA = """
class Area(UserDefinedType, SchemaEventTarget):
    cache_ok = True

    def __init__(self, spatial_index=True):
        self.spatial_index = spatial_index

    def get_col_spec(self, **options):
        return "box"
"""
ATTACHED = (
    AREA
    + """
    def _set_parent(self, column, **options):
        if self.spatial_index:
            event.listen(column, "after_parent_attach", attach)
"""
)
INDEX = 'Index(f"idx_{table.name}_{column.name}", column, postgresql_using="gist"'
KINDS = {
    "added to the table": f"""
def attach(column, table):
    {INDEX})
{ATTACHED}
""",
    "kept with the column, and created after the table": f"""
def attach(column, table):
    index = {INDEX}, _column_flag=True)
    event.listen(table, "before_create", lambda *_, **__: table.indexes.discard(index))
    event.listen(table, "after_create", lambda _, bind, **__: index.create(bind))
{ATTACHED}
""",
    "with a CHECK": f"""
def attach(column, table):
    {INDEX})
    table.append_constraint(CheckConstraint(f"area({{column.name}}) > 0", name=f"{{column.name}}_has_an_area"))
{ATTACHED}
""",
}
COUNT = "SELECT indexname::text FROM pg_indexes WHERE indexname LIKE 'idx_%' ORDER BY 1"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_index_of_a_type_is_created_once(monorepo: Monorepo, database: Callable[..., Dsn], kind: str) -> None:
    """In a new table, in a new column, and in the downgrade of both."""
    dsn = database()
    service = monorepo.service("shop", MODELS.format(kind=kind, column=""), dsn)
    first_upgrade(monorepo, service)
    assert query(dsn, COUNT) == [("idx_cities_area",)]
    assert wait(service_migrations.check(service)).differences == ()
    remodel(monorepo, service, MODELS.format(kind=kind, column=', Column("area", Area())'))
    service = monorepo.find("shop")
    written(monorepo, service, "add a column")
    for _ in range(2):
        wait(service_migrations.upgrade(service))
        assert query(dsn, COUNT) == [("idx_cities_area",), ("idx_roads_area",)]
        assert wait(service_migrations.check(service)).differences == ()
        wait(service_migrations.downgrade(service, "base"))
        assert query(dsn, COUNT) == []

"""Comparators that other packages register with Alembic, beside the library's own."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel, written
from tests.support.database import query, wait
from tests.support.environment import comparators_of, write_hooks
from tests.support.monorepo import MODELS as TABLE, Monorepo

pytestmark = pytest.mark.skipif(
    not find_spec("alembic_utils") or not find_spec("alembic_postgresql_enum"), reason="plugins aren't installed"
)

ENTITIES = """
from alembic_utils.pg_function import PGFunction
from alembic_utils.replaceable_entity import register_entities, registry

registry.clear()
if environment.service().name == "billing":
    register_entities([{entities}], entity_types=[PGFunction])
else:
    register_entities([], entity_types=[PGFunction])
"""
FUNCTION = (
    'PGFunction(schema="public", signature="{name}(a integer)", '
    'definition="RETURNS integer LANGUAGE sql AS $$ SELECT a + 1 $$")'
)


PLUGINS = ("alembic_utils", "alembic_postgresql_enum")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Let each test have the comparators of the plugins that its env.py imports, and no other test any."""
    with comparators_of(*PLUGINS):
        yield


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


def test_an_entity_of_alembic_utils_is_created_and_dropped_by_revisions(monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("billing", TABLE.format(table="billing"), dsn)
    env = (monorepo.root / "migrations" / "env.py").read_text(encoding="utf-8")
    write_hooks(monorepo, ENTITIES.format(entities=FUNCTION.format(name="next_of")))
    assert any("next_of" in line for line in wait(service_migrations.check(service)).differences)
    revision = wait(service_migrations.revision(service, "first"))
    assert revision is not None
    text = (monorepo.root / revision.path).read_text(encoding="utf-8")
    assert "import PGFunction" in text
    assert "create_entity" in text
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT next_of(1)")[0][0] == 2
    assert wait(service_migrations.check(service)).differences == ()
    (monorepo.root / "migrations" / "env.py").write_text(env, encoding="utf-8")
    write_hooks(monorepo, ENTITIES.format(entities=""))
    assert "drop_entity" in written(monorepo, service)


def test_a_siblings_entity_is_never_dropped(monorepo: Monorepo, dsn: Dsn) -> None:
    billing = monorepo.service("billing", TABLE.format(table="billing"), dsn)
    catalog = monorepo.service("catalog", TABLE.format(table="catalog"), dsn)
    write_hooks(monorepo, ENTITIES.format(entities=FUNCTION.format(name="next_of")))
    written(monorepo, billing)
    wait(service_migrations.upgrade(billing))
    written(monorepo, catalog)
    wait(service_migrations.upgrade(catalog))
    assert wait(service_migrations.check(catalog)).differences == ()
    query(dsn, "CREATE FUNCTION of_nobody() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    text = " ".join(wait(service_migrations.check(catalog)).differences)
    assert "of_nobody" in text
    assert "next_of" not in text


ENUM = """
from sqlalchemy import Column, Enum, Integer, MetaData, Table

__all__ = ["metadata", "{name}"]
metadata = MetaData()
mood = Enum({labels}, name="{name}_mood")
{name} = Table("{name}", metadata, Column("id", Integer, primary_key=True), Column("mood", mood))
"""


def test_enum_types_are_compared_once_beside_alembic_postgresql_enum(monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("billing", ENUM.format(name="billing", labels='"a", "b"'), dsn)
    sibling = monorepo.service("catalog", ENUM.format(name="catalog", labels='"a"'), dsn)
    plain = written(monorepo, service)
    for file in service.versions.glob("*.py"):
        file.unlink()
    write_hooks(monorepo, "import alembic_postgresql_enum")
    assert written(monorepo, service) == plain
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    written(monorepo, sibling)
    wait(service_migrations.upgrade(sibling))
    for each in (service, sibling):
        assert wait(service_migrations.check(each)).differences == ()
    remodel(monorepo, service, ENUM.format(name="billing", labels='"a", "b", "c"'))
    code = written(monorepo, service)
    assert code.count("ADD VALUE") == 1
    assert "sync_enum_values" not in code
    assert "catalog" not in code

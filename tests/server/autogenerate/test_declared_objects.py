"""Objects that models declare in the ``info`` of a MetaData, with sqlalchemy-declarative-extensions."""

import logging
import sys
from collections.abc import Callable, Iterator

import pytest

import service_migrations
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel
from tests.support.database import query, wait
from tests.support.environment import comparators_of, write_hooks, written
from tests.support.monorepo import Monorepo

HOOK = "from sqlalchemy_declarative_extensions import register_alembic_events\nregister_alembic_events()"
MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy_declarative_extensions import (
    Function, Functions, Grants, Role, Roles, Row, Rows, Schemas, Triggers, View, Views, declarative_database,
)
from sqlalchemy_declarative_extensions.dialects.postgresql import DefaultGrant, Trigger

__all__ = ["Base", "Thing"]

@declarative_database
class Base(DeclarativeBase):
    __abstract__ = True
    {declared}

class Thing(Base):
    __tablename__ = "{name}"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
"""
DECLARED = """
    schemas = Schemas().are("{name}_area")
    functions = Functions().are(
        Function("{name}_check", "BEGIN RETURN NEW; END", returns="trigger", language="plpgsql"),
        Function("{name}_total", "SELECT 1 WHERE 'a:b' <> '%d'", returns="integer"),
    )
    triggers = Triggers().are(
        Trigger.after("insert", on="{name}", execute="{name}_check").named("{name}_checked").for_each_row()
    )
    views = Views().are(View("{name}_names", "SELECT name FROM {name} WHERE name <> '%x'"))
    rows = Rows().are(Row("{name}", id=1, name="first"))
    roles = Roles(ignore_unspecified=True).are(Role("{role}", external=True))
    grants = Grants().are(DefaultGrant.on_tables_in_schema("public").grant("select", to="{role}"))
"""
OTHERS = """
    schemas, triggers, rows = Schemas().are("{name}_new"), Triggers().are(), Rows().are()
    functions = Functions().are(
        Function("{name}_check", "BEGIN RETURN NEW; END", returns="trigger", language="plpgsql")
    )
    views = Views().are(View("{name}_other", "SELECT 1 AS one"))
"""
NAMES = ("billing", "catalog")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # where it is installed, the package imports it, and then it compares every entity too
    monkeypatch.setitem(sys.modules, "alembic_utils", None)
    with comparators_of("sqlalchemy_declarative_extensions"):
        yield


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database(creates=True)


def models(name: str, declared: str, dsn: Dsn) -> str:
    return MODELS.format(name=name, declared=declared.format(name=name, role=f"{dsn.user}_{name}"))


def agree(monorepo: Monorepo, services: list[Service]) -> None:
    for service in services:
        differences = wait(service_migrations.check(service)).differences
        assert differences == (), "\n".join(differences)
        assert written(monorepo, service) == ""


def test_declared_objects_are_created_and_dropped_by_their_own_service(
    monorepo: Monorepo, dsn: Dsn, server: Server
) -> None:
    """Each compares the whole database, in which it finds a sibling's objects that its own models don't declare."""
    write_hooks(monorepo, HOOK)
    services = []
    for name in NAMES:
        query(server.admin, f'CREATE ROLE "{dsn.user}_{name}"')
        service = monorepo.service(name, models(name, DECLARED, dsn), dsn)
        code = written(monorepo, service)
        for part in (f'CreateSchema("{name}_area")', f"{name}_check", f"{name}_checked", f"{name}_names", "INSERT"):
            assert part in code
        wait(service_migrations.upgrade(service))
        services.append(service)
        agree(monorepo, services)
    assert query(dsn, "SELECT name::text FROM catalog") == [("first",)]
    for service in services:
        assert monorepo.inv("db.drift", "--service", str(service)).code == 0
    remodel(monorepo, services[1], models("catalog", OTHERS, dsn))
    services[1] = monorepo.find("catalog")
    code = written(monorepo, services[1])
    upgrade = code[code.index("def upgrade") : code.index("def downgrade")]
    for part in ("DropSchema", "DROP VIEW", "DROP FUNCTION", "DROP TRIGGER"):
        assert upgrade.count(part) == 1
    assert "DROP FUNCTION catalog_total" in upgrade
    assert "billing" not in code
    wait(service_migrations.upgrade(services[1]))
    agree(monorepo, services)
    assert query(dsn, "SELECT name::text FROM billing_names") == [("first",)]
    for service in services:
        wait(service_migrations.downgrade(service, "base"))
    assert query(dsn, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


TWO = """
from sqlalchemy import Column, Integer, MetaData, Table
__all__ = ["first", "second"]
first, second = MetaData(info={{"views": {first}}}), MetaData(info={{"views": {second}}})
Table("a", first, Column("id", Integer, primary_key=True))
Table("b", second, Column("id", Integer, primary_key=True))
"""
HOOK_OF_INFO = """
from alembic.autogenerate import comparators

@comparators.dispatch_for("schema")
def compare(context, operations, schemas):
    logging.getLogger("team").warning("views: %s", context.metadata.info.get("views"))
"""


@pytest.mark.parametrize(
    ("first", "second", "seen"),
    [("['v']", "['v']", "['v']"), ("['v']", "None", "['v']"), ("None", "['v']", "['v']"), ("['v']", "['w']", "None")],
)
def test_a_comparator_finds_the_info_of_exported_metadata(
    monorepo: Monorepo, dsn: Dsn, caplog: pytest.LogCaptureFixture, first: str, second: str, seen: str
) -> None:
    """Two values under one key are neither: with one, what the other declares would be dropped."""
    service = monorepo.service("billing", TWO.format(first=first, second=second), dsn)
    write_hooks(monorepo, HOOK_OF_INFO)
    with caplog.at_level(logging.WARNING):
        wait(service_migrations.check(service)) if service.versions.exists() else written(monorepo, service)
    assert f"views: {seen}" in caplog.messages
    assert any("billing have different info['views']" in each for each in caplog.messages) == (seen == "None")

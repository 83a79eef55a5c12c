"""The tables of a database, with their owners and foreign keys, by its catalog and by the models."""

import asyncio
from collections.abc import Callable

import pytest

from service_migrations.models.metadata import assemble
from service_migrations.report.entities import from_models
from service_migrations.report.gather import gather
from service_migrations.report.model import Attribute, Entity, Reference
from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import ForeignKeyConstraint, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Order", "Line"]


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "Orders"
    shop: Mapped[str] = mapped_column(String(9), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    before: Mapped[int | None]
    __table_args__ = {"comment": "Of <customers>."}


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str]
    order: Mapped[int]
    __table_args__ = (ForeignKeyConstraint(["shop", "order"], ["Orders.shop", "Orders.number"]),)
"""
TABLES = """
op.execute('CREATE TABLE "Orders" (shop varchar(9), number int, before int, PRIMARY KEY (shop, number))')
op.execute('COMMENT ON TABLE "Orders" IS \\'Of <customers>.\\'')
op.execute('CREATE TABLE lines (id serial PRIMARY KEY, shop varchar NOT NULL, "order" int NOT NULL, '
           'FOREIGN KEY (shop, "order") REFERENCES "Orders")')
"""
BESIDE = """
CREATE SCHEMA "Far away";
CREATE TABLE "Far away"."odd, (name" ("x) REFERENCES (" int, shop varchar, number int,
    CONSTRAINT "FOREIGN KEY (no)" FOREIGN KEY (shop, number) REFERENCES public."Orders" ON DELETE SET NULL);
CREATE TABLE parts (id int) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE VIEW seen AS SELECT 1 AS one
"""
ORDERS = Entity(
    "Orders",
    "sales",
    (
        Attribute("shop", "character varying(9)", ("PK",), True),
        Attribute("number", "integer", ("PK",), True),
        Attribute("before", "integer"),
    ),
    "Of <customers>.",
)
LINES = Entity(
    "lines",
    "sales",
    (
        Attribute("id", "integer", ("PK",), True),
        Attribute("shop", "character varying", ("FK",), True),
        Attribute("order", "integer", ("FK",), True),
    ),
)
KEY = Reference("lines", ("shop", "order"), "Orders", ("shop", "number"))


@pytest.fixture
def repo(monorepo: Monorepo, database: Callable[..., Dsn]) -> Monorepo:
    dsn = database()
    monorepo.service("sales", MODELS, dsn)
    monorepo.revision("sales", "r1", None, TABLES)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    for statement in BESIDE.split(";"):
        query(dsn, statement)
    return monorepo


def test_tables_have_owners_columns_and_keys_and_no_bookkeeping(repo: Monorepo) -> None:
    service = repo.find("sales")
    (database,) = asyncio.run(gather([service])).databases
    odd = Entity(
        "Far away.odd, (name",
        "",
        (
            Attribute("x) REFERENCES (", "integer"),
            Attribute("shop", "character varying", ("FK",)),
            Attribute("number", "integer", ("FK",)),
        ),
    )
    assert database.entities == (odd, ORDERS, LINES, Entity("parts", "", (Attribute("id", "integer"),)))
    assert database.references == (Reference(odd.name, ("shop", "number"), "Orders", ("shop", "number")), KEY)
    assert (database.services, database.problems) == (("sales",), ())


def test_models_give_the_same_tables_as_their_database(repo: Monorepo) -> None:
    entities, references = from_models({"sales": assemble(repo.find("sales"))})
    short = {"character varying(9)": "varchar(9)", "character varying": "varchar"}
    assert [
        (each.name, each.owner, each.comment, [(at.name, at.type, at.keys, at.not_null) for at in each.attributes])
        for each in entities
    ] == [
        (
            each.name,
            each.owner,
            each.comment,
            [(at.name, short.get(at.type, at.type), at.keys, at.not_null) for at in each.attributes],
        )
        for each in (ORDERS, LINES)
    ]
    assert references == (KEY,)


def test_a_key_to_a_table_that_is_not_known_is_left_out(monorepo: Monorepo) -> None:
    monorepo.service("sales", MODELS.replace('"Orders.shop", "Orders.number"', '"far.Gone.shop", "far.Gone.number"'))
    entities, references = from_models({"sales": assemble(monorepo.find("sales"))})
    assert [each.name for each in entities] == ["Orders", "lines"]
    assert references == ()

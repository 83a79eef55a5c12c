"""What the database and the models have, and the history lacks: a revision is missing, and nothing is to be dropped."""

import pytest

import service_migrations
from service_migrations.drift.drift import drift
from tests.support.database import run_script, wait
from tests.support.monorepo import MODELS
from tests.support.shop import may_create, scratches, write_history

BOTH = """
from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, Sequence, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Kept", "Made"]


class Base(DeclarativeBase):
    pass


class Kept(Base):
    __tablename__ = "kept"
    __table_args__ = (Index("ix_kept_name", "name"), CheckConstraint("id > 0", name="ck_kept_id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class Made(Base):
    __tablename__ = "Made; by hand"
    id: Mapped[int] = mapped_column(primary_key=True, server_default=Sequence("numbers").next_value())
    mood: Mapped[str] = mapped_column(Enum("good", "bad", name="mood"))
"""
HISTORY = "CREATE TABLE kept (id serial PRIMARY KEY)"
BY_HAND = """
ALTER TABLE kept ADD name varchar(50) NOT NULL;
CREATE INDEX ix_kept_name ON kept (name);
ALTER TABLE kept ADD CONSTRAINT ck_kept_id CHECK (id > 0);
CREATE SEQUENCE numbers;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE "Made; by hand" (id int PRIMARY KEY DEFAULT nextval('numbers'), mood mood NOT NULL);
CREATE TABLE nobodys (id int);
"""
FIX = "The models have it: write a revision that creates it where it is missing."


@pytest.fixture
def dsn(database, server):
    dsn = may_create(server, database())
    yield dsn
    assert scratches(server) == []


def fixes(service):
    return {
        (difference.kind, difference.name): difference.sql or difference.note
        for difference in wait(drift(service)).differences
    }


def test_what_the_models_have_is_not_dropped(monorepo, dsn):
    """Its SQL would remove what the code uses, and `inv db.check` found no difference."""
    service = monorepo.service("shop", BOTH, dsn)
    write_history(monorepo, "shop", [HISTORY])
    wait(service_migrations.upgrade(service))
    run_script(dsn, BY_HAND.strip().split(";\n"))
    differences = fixes(service)
    assert differences.pop(("table", "nobodys")) == "DROP TABLE public.nobodys;"
    modelled = [("column", "kept.name"), ("index", "ix_kept_name"), ("constraint", "kept.ck_kept_id")]
    modelled += [("sequence", "numbers"), ("enum", "mood"), ("table", "Made; by hand")]
    assert differences == dict.fromkeys(modelled, FIX)


def test_a_table_that_moves_to_a_sibling_is_not_dropped_before_its_revision_is_written(monorepo, dsn, database, server):
    other = may_create(server, database(shared=dsn))
    table = "CREATE TABLE {} (id serial PRIMARY KEY, name varchar(50) NOT NULL)"
    first = monorepo.service("first", MODELS.format(table="kept"), dsn)
    write_history(monorepo, "first", [table.format("kept"), table.format("moved")])
    wait(service_migrations.upgrade(first))
    second = monorepo.service("second", MODELS.format(table="moved"), other)
    assert (fixes(first), fixes(second)) == ({}, {("table", "moved"): FIX})
    write_history(monorepo, "second", [table.format("IF NOT EXISTS moved")])
    wait(service_migrations.upgrade(second))
    assert (fixes(first), fixes(second)) == ({}, {})
    for service in (first, second):
        assert wait(service_migrations.check(service)).differences == ()

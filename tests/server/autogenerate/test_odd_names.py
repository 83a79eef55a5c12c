"""Names that have to be quoted, of schemas, tables, columns, types, constraints and so on, in every command."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.drift.drift import drift
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo, dsn_text

NAMES = ["a.b", "a$b", 'a"b', "A b", "select", "time", "a%b", "a:b", "a'b", "é;--"]  # fmt: skip
"""Dots, dollars, quotes, upper case, spaces, reserved words, signs of a driver or of SQL."""

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import ARRAY

__all__ = ["metadata", "things", "others"]
metadata = MetaData(schema={schema!r})
N = {name!r}
status = Enum({labels}, name=N + "_type", schema={schema!r})
others = Table(N + "_others", metadata, Column(N, Integer, primary_key=True), Column(N + "_u", Integer, unique=True))
things = Table(N, metadata, Column("id", Integer, primary_key=True),
    Column(N + "_state", status, server_default=N + " new"),
    {parts}
)
"""
AFTER = """
    Column(N, String(20), comment=N + " is it", server_default=N),
    Column(N + "_states", ARRAY(status)),
    Column(N + "_other", Integer, ForeignKey(others.c[N], name=N + "_fk")),
    Column(N + "_twice", Integer, Computed(column(N + "_other") * 2)),
    UniqueConstraint(N, name=N + "_uq"),
    CheckConstraint(column(N) != "x", name=N + "_ck"),
    Index(N + "_ix", N, postgresql_where=column(N + "_other") > 1),
    comment=N + " holds it",
"""
LATER = (
    AFTER.replace("String(20)", "Text").replace('N + "_fk"', 'N + "_fk", ondelete="CASCADE"').replace(" > 1", " > 2")
)


def models(schema: str | None, name: str, parts: str = "", *labels: str) -> str:
    return MODELS.format(
        schema=schema, name=name, parts=parts, labels=", ".join(repr(f"{name} {each}") for each in ("new", *labels))
    )


# SQLAlchemy refuses a foreign key to a table with a dot in its name
@pytest.mark.parametrize(
    ("kind", "name"), [("schema", "a.b"), *(("all names", name) for name in NAMES if "." not in name)]
)
def test_a_name_that_has_to_be_quoted_works_in_every_command(
    kind: str, name: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    inner = "plain" if kind == "schema" else name
    dsn = database(creates=True)
    service = monorepo.service("billing", models(name, inner), dsn)
    written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))
    steps = [(AFTER, "old"), (LATER, "old", "older"), (LATER, "older"), ("",)]
    for number, (parts, *labels) in enumerate(steps):
        remodel(monorepo, service, models(name, inner, parts, *labels))
        written(monorepo, service, f"step {number}")
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
    assert wait(drift(service)).differences == ()
    place = name
    tables = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1"
    assert {"alembic_version_billing", "migration_log_billing"} <= {row[0] for row in query(dsn, tables, place)}
    for _ in range(2):
        wait(service_migrations.downgrade(service, "-1"))
        wait(service_migrations.upgrade(service, "+1"))
        wait(service_migrations.downgrade(service, "-1"))
    wait(service_migrations.downgrade(service, "base"))


LONG = """
from sqlalchemy import *

__all__ = ["metadata"]
metadata = MetaData(naming_convention={convention})
Table("{name}", metadata, Column("id", Integer), Column("n", Integer, unique=True), PrimaryKeyConstraint("id"),
      ForeignKeyConstraint(["n"], ["{name}.id"]), CheckConstraint("n > 0", name="positive"))
"""


def test_a_name_of_a_convention_that_is_shortened_changes_with_the_convention(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """It was taken for none: the constraint kept its former name, which create_all doesn't give."""
    before, after = (
        {kind: f"{kind}{more}_%(table_name)s" for kind in ("pk", "uq", "fk")}
        | {"ck": f"ck{more}_%(table_name)s_%(constraint_name)s"}
        for more in ("", "s")
    )
    dsn, empty = database(), database()
    service = monorepo.service("billing", LONG.format(convention=after, name="t" * 63), empty)
    create_all(import_models(service).metadata, empty)
    monorepo.env("billing", DATABASE_DSN=dsn_text(dsn))
    remodel(monorepo, service, LONG.format(convention=before, name="t" * 63))
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, LONG.format(convention=after, name="t" * 63))
    assert len(wait(service_migrations.check(service)).differences) == len(before)
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert [line for line in catalog(dsn) if "alembic_version" not in line] == catalog(empty)

"""A colon before a word in the SQL of models is a parameter, as it is in a revision."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, first_upgrade, written
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import ExcludeConstraint

__all__ = ["metadata", "others", "things"]
metadata = MetaData()
others = Table("others", metadata, Column("id", Integer, primary_key=True))
things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("note", Text), {})
"""
PARTS = {
    "the default of a": """Column("a", Text, server_default=text(r"'see {}page'"))""",
    "the expression of a": """Column("a", Text, Computed(r"note || ' {}page'", persisted=True))""",
    "constraint c": """CheckConstraint(r"note <> '{}page'", name="c")""",
    "a constraint without a name": """CheckConstraint(r"note <> '{}page'")""",
    "constraint x": """ExcludeConstraint((text(r"(note || '{}page')"), "="), using="btree", name="x")""",
    "constraint w": """ExcludeConstraint(("note", "="), using="btree", name="w", where=text(r"note <> '{}page'"))""",
    "index i": """Index("i", text(r"(note || '{}page')"))""",
    "index p": """Index("p", "note", postgresql_where=text(r"note <> '{}page'"))""",
}


@pytest.mark.parametrize(("part", "line"), PARTS.items(), ids=PARTS)
def test_a_parameter_without_a_value_is_a_fault_of_its_table_alone(
    monorepo: Monorepo, database: Callable[..., Dsn], part: str, line: str
) -> None:
    service = monorepo.service("shop", HEAD.format(line.format(":")), database())
    result = wait(service_migrations.check(service))
    assert result.differences == ("create_table others",)
    (error,) = result.uncompared
    assert isinstance(error, ConfigurationError)
    assert "services/shop/models.py" in str(error)
    assert f"table things: {part} has :page, a parameter without a value." in str(error)
    assert r"Write \\:page for a colon" in str(error)
    assert "things" not in written(monorepo, service)


@pytest.mark.parametrize("line", PARTS.values(), ids=PARTS)
def test_an_escaped_colon_is_one(monorepo: Monorepo, database: Callable[..., Dsn], line: str) -> None:
    expected, dsn = database(), database()
    service = monorepo.service("shop", HEAD.format(line.format(r"\:")), dsn)
    first_upgrade(monorepo, service)
    assert wait(service_migrations.check(service)).differences == ()
    create_all(import_models(service).metadata, expected)
    created = [text for text in catalog(dsn) if "alembic_version" not in text]
    assert created == catalog(expected)
    assert any(":page" in text for text in created)


def test_a_parameter_with_a_value_is_no_fault(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    default = """Column("a", Text, server_default=text(":page").bindparams(page="see"))"""
    line = default + """, CheckConstraint(column("a") != ":no")"""
    service = monorepo.service("shop", HEAD.format(line), dsn)
    first_upgrade(monorepo, service)
    assert query(dsn, "INSERT INTO things DEFAULT VALUES RETURNING a")[0][0] == "see"

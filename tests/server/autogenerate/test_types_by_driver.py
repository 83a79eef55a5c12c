"""Types that ask the dialect are those of the service's driver, in a revision and in a comparison."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import models, remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

ASKING = """
from sqlalchemy import *
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

class Asking(TypeDecorator):
    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor({})

"""
KINDS = {
    ("Text()", "Asking"): {"asyncpg": "character varying", "psycopg": "text"},
    ("Text()", "ARRAY(Asking)"): {"asyncpg": "character varying[]", "psycopg": "text[]"},
    ("UnicodeText()", "Asking"): {"asyncpg": "character varying", "psycopg": "text"},
    ("String(7)", "Asking"): {"asyncpg": "character varying(7)", "psycopg": "character varying(7)"},
    ("postgresql.TIMESTAMP(precision=3)", "Asking"): {
        "asyncpg": "timestamp without time zone",
        "psycopg": "timestamp(3) without time zone",
    },
    ("postgresql.TIME(timezone=True, precision=3)", "Asking"): {
        "asyncpg": "time with time zone",
        "psycopg": "time(3) with time zone",
    },
}
"""What SQLAlchemy's dialect of each driver makes of a type; that of psycopg2 is ours of psycopg."""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize(("asked", "kind"), KINDS, ids=map(" ".join, KINDS))
def test_a_type_that_asks_the_dialect_is_that_of_the_driver(
    asked: str, kind: str, driver: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Over psycopg a revision had that of asyncpg, and the comparison that of psycopg: they differed for ever."""
    dsn = database()
    pyproject = monorepo.root / "pyproject.toml"
    table = f'[tool.service-migrations.service.billing]\ndriver = "{driver}"\n\n'
    pyproject.write_text(table + pyproject.read_text(encoding="utf-8"), encoding="utf-8")
    column = f"Column('{{}}', {kind})"
    first, second = (
        models(", ".join(map(column.format, names)), kind="").replace(
            "metadata =", f"{ASKING.format(asked)}metadata =", 1
        )
        for names in ("a", "ab")
    )
    service = monorepo.service("billing", first, dsn)
    written(monorepo, service, "first")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, second)
    written(monorepo, service, "second")
    wait(service_migrations.upgrade(service))
    types = (
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'things'::regclass AND attname IN ('a', 'b') ORDER BY attname"
    )
    assert [row[0] for row in query(dsn, types)] == [KINDS[asked, kind][driver]] * 2
    assert wait(service_migrations.check(service)).differences == ()

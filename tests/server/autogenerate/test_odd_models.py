"""Models that other tools accept: parts for other databases, several of one name, constructs of PostgreSQL alone."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
import sqlalchemy as sa
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["metadata"{names}]
metadata = MetaData(naming_convention={convention})


class first_word(FunctionElement):
    inherit_cache = True
    type = Text()


@compiles(first_word, "postgresql")
def _(element, compiler, **keywords):
    return f"split_part({{compiler.process(element.clauses)}}, ' ', 1)"


def never(ddl, target, bind, **keywords):
    return False


def always(ddl, target, bind, **keywords):
    return True


others = Table("others", metadata, Column("id", Integer, primary_key=True))
orders = Table("orders", metadata, {parts})
"""
COLUMNS = 'Column("id", Integer, primary_key=True), Column("ref", Text)'
CONVENTION = """{
    "ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}"""


def models(parts: str, convention: str = CONVENTION) -> str:
    return MODELS.format(parts=parts, convention=convention, names=', "others", "orders"')


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


CHECK = f'{COLUMNS}, CheckConstraint(first_word(column("ref")) != "none"{{name}})'
CASES = {
    "a construct of postgresql alone in a CHECK": (CHECK.format(name=', name="word"'), "split_part"),
    "the same twice": (
        CHECK.format(name=', name="b"') + ', CheckConstraint(first_word(column("ref")) > "a", name="a")',
        "",
    ),
    "an index for sqlite": (f'{COLUMNS}, Index("ix_a", "ref").ddl_if(dialect="sqlite")', "!ix_a"),
    "an index for both": (f'{COLUMNS}, Index("ix_a", "ref").ddl_if(dialect=("sqlite", "postgresql"))', "ix_a"),
    "an index by a function": (f'{COLUMNS}, Index("ix_a", "ref").ddl_if(callable_=never)', "!ix_a"),
    "a CHECK for sqlite": (f'{COLUMNS}, CheckConstraint("id > 0", name="a").ddl_if(dialect="sqlite")', "!id > 0"),
    "a CHECK by a function": (f'{COLUMNS}, CheckConstraint("id > 0", name="a").ddl_if(callable_=always)', "id > 0"),
    "a UNIQUE for mysql": (f'{COLUMNS}, UniqueConstraint("ref", name="uq").ddl_if(dialect="mysql")', "!uq"),
    "a foreign key for mysql": (
        f'{COLUMNS}, ForeignKeyConstraint(["id"], ["others.id"], name="fk_a").ddl_if(dialect="mysql")',
        "!fk_a",
    ),
    "index=True beside an equal index": (
        'Column("id", Integer, primary_key=True), Column("ref", Text, index=True), Index("ix_orders_ref", "ref")',
        "ix_orders_ref",
    ),
    "index=True beside another index of its name": (
        'Column("id", Integer, primary_key=True), Column("ref", Text, index=True), Index("ix_orders_ref", desc("ref"))',
        "ref DESC",
    ),
    "an index twice": (f'{COLUMNS}, Index("ix_a", "ref"), Index("ix_a", "ref")', "ix_a"),
    "a descending index": (f'{COLUMNS}, Index("ix_a", sa.desc("ref"))', "ref DESC"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_odd_part_is_created_as_the_models_mean_it_and_then_is_no_difference(
    case: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    parts, text = CASES[case]
    service = monorepo.service("billing", models(parts), dsn)
    code = written(monorepo, service)
    assert (text.removeprefix("!") in code) == (not text.startswith("!"))
    wait(service_migrations.upgrade(service))
    result = wait(service_migrations.check(service))
    assert (result.differences, result.problems) == ((), ())


KEYS = {
    "named": ('PrimaryKeyConstraint("id", "line", name="pk_orders")', 'UniqueConstraint("id", "line", name="uq_a")'),
    "unnamed": ('PrimaryKeyConstraint("id", "line")', 'UniqueConstraint("id", "line", name="uq_a")'),
    "two uniques": ('UniqueConstraint("id", "line", name="uq_b")', 'UniqueConstraint("id", "line", name="uq_a")'),
}


@pytest.mark.parametrize("convention", ["None", '{"pk": "pk_%(table_name)s"}'])
@pytest.mark.parametrize("case", KEYS)
def test_two_keys_of_the_same_columns_are_one_or_two_as_they_were_made(
    case: str, convention: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    first, second = KEYS[case]
    columns = 'Column("id", Integer, nullable=False), Column("line", Integer, nullable=False)'
    service = monorepo.service("billing", models(f"{columns}, {first}, {second}", convention), dsn)
    key = {"named": "CONSTRAINT pk_orders PRIMARY KEY", "two uniques": "CONSTRAINT uq_b UNIQUE"}.get(case)
    key = key or ("PRIMARY KEY" if convention == "None" else "CONSTRAINT pk_orders PRIMARY KEY")
    query(
        dsn,
        "CREATE TABLE others (id serial CONSTRAINT pk_others PRIMARY KEY)"
        if convention != "None"
        else "CREATE TABLE others (id serial PRIMARY KEY)",
    )
    query(dsn, f"CREATE TABLE orders (id int NOT NULL, line int NOT NULL, {key} (id, line))")
    query(dsn, "ALTER TABLE orders ADD CONSTRAINT uq_a UNIQUE (id, line)")
    assert wait(service_migrations.check(service)).differences == ()
    query(dsn, "DROP TABLE orders")
    query(
        dsn,
        f"CREATE TABLE orders (id int NOT NULL, line int NOT NULL, {key} (id, line), "
        "CONSTRAINT uq_a UNIQUE (id, line))",
    )
    assert wait(service_migrations.check(service)).differences == ()


TOP = """
import sqlalchemy as sa
from alembic import op
from services.billing.models import orders, metadata
revision, down_revision = "a1", None
{top}
own = sa.Table("own", sa.MetaData(), sa.Column("id", sa.Integer), sa.CheckConstraint("id > 7", name="kept"))


def upgrade():
    op.execute("CREATE TABLE others (id serial CONSTRAINT pk_others PRIMARY KEY)")
    op.execute("CREATE TABLE orders (id serial CONSTRAINT pk_orders PRIMARY KEY, ref text)")
    own.create(op.get_bind())
    op.execute("ALTER TABLE own RENAME CONSTRAINT kept TO renamed")
    op.execute("DROP TABLE own")


def downgrade():
    pass
"""


@pytest.mark.parametrize(
    "top",
    [
        'check = sa.CheckConstraint(orders.c.id > 0, name="positive")',
        'unique = sa.UniqueConstraint(orders.c.ref, name="uq")',
        'index = sa.Index("ix", orders.c.ref)',
        'key = sa.ForeignKeyConstraint([orders.c.id], ["others.id"], name="fk")\norders.append_constraint(key)',
    ],
)
def test_what_a_revision_makes_of_a_models_columns_when_it_is_imported_is_no_part_of_the_models(
    top: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    service = monorepo.service("billing", models(COLUMNS), dsn)
    path = monorepo.revision("billing", "a1", None)
    path.write_text(TOP.format(top=top), encoding="utf-8")
    wait(service_migrations.upgrade(service))
    result = wait(service_migrations.check(service))
    assert (result.differences, result.problems) == ((), ())


@pytest.mark.parametrize(
    "convention",
    [
        "{}",
        "None",
        '{"ix": "ix_%(column_0_label)s", "uq": "uq_%(column_0_label)s", "pk": "pk_%(table_name)s"}',
        CONVENTION,
    ],
    ids=["none", "default", "label", "table"],
)
@pytest.mark.parametrize(
    "part",
    [
        'Index("odd", "ref", unique=True, postgresql_include=["note"])',
        'Index("odd", text("lower(ref)"))',
        'UniqueConstraint("ref", "note", name="odd", deferrable=True)',
        'UniqueConstraint("ref", name="odd_1"), UniqueConstraint("ref", name="odd_2")',
        'ExcludeConstraint((column("ref"), "="), using="btree", name="odd")',
        'Column("kind", Enum("a", "b", name="kind", schema="own"), index=True)',
        'Column("flag", Boolean(create_constraint=True, name="is_flag"), index=True)',
        'postgresql_with={"fillfactor": 90}',
        'prefixes=["UNLOGGED"]',
    ],
)
def test_a_name_that_a_convention_makes_of_the_schema_is_kept(
    monorepo: Monorepo, dsn: Dsn, part: str, convention: str
) -> None:
    """An index or a key without a name of its own, in a table that has something unusual too."""
    query(dsn, "CREATE SCHEMA own")
    columns = (
        'Column("id", Integer, primary_key=True), Column("ref", Text, index=True), Column("note", Text, unique=True),'
        'Column("both", Integer, index=True, unique=True), Column("number", Integer), Index(None, "number", "ref")'
    )
    own = part if convention == CONVENTION else part.replace('name="is_flag"', 'name="ck_orders_is_flag"')
    service = monorepo.service("shop", models(f'{columns}, {own}, schema="own"', convention), dsn)
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None


PERCENT = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *

__all__ = ["metadata"]
metadata = MetaData(schema={schema!r})
others = Table("50% others", metadata, Column("id%s", Integer, primary_key=True), comment="100% {word}")
things = Table("things", metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("%d", Integer, server_default=text("7 % 4"), comment="%(a)s {word}"),
    Column("share", String(20), server_default="50%"),
    Column("kind", Enum("10%", "20%%", "{word}%s", name="kinds%"), server_default="10%"),
    Column("twice", Integer, Computed("id % 3", persisted=True)),
    Column("words", ARRAY(Text), server_default=text("ARRAY['5%','%s']")),
    Column("code", String(8, collation="C"), server_default=text("'a%{word}'")),
    Column("other", Integer, ForeignKey(others.c["id%s"], name="fk%s")),
    CheckConstraint("id % 2 = 0", name="even%"),
    CheckConstraint("share LIKE '%\\\\%'", name="percent"),
    UniqueConstraint("share", "%d", name="uq%d"),
    Index("ix%s", "%d", postgresql_where=text("share LIKE '5%'")),
    Index("ix_expression", text("(id % 7)")),
    ExcludeConstraint((text("(id % 5)"), "="), using="btree", name="ex%", where=text("share LIKE '6%'")),
    comment="5 % of {word}",
)
"""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("schema", [None, "own%"])
def test_a_percent_sign_is_one_over_each_driver(
    monorepo: Monorepo, database: Callable[..., Dsn], driver: str, schema: str | None
) -> None:
    """Over psycopg, SQLAlchemy's dialect writes two for one, since its driver takes one for a parameter."""
    configured = monorepo.root / "pyproject.toml"
    text = configured.read_text(encoding="utf-8").replace('driver = "psycopg"\n', "")
    table = "[tool.service-migrations]\n"
    configured.write_text(text.replace(table, f'{table}driver = "{driver}"\n'), encoding="utf-8")
    dsn = database(creates=True)
    if schema:
        query(dsn, f'CREATE SCHEMA "{schema}"')
    service = monorepo.service("shop", PERCENT.format(schema=schema, word="one"), dsn)
    first_upgrade(monorepo, service)
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None
    before = catalog(dsn)
    remodel(monorepo, service, PERCENT.format(schema=schema, word="two").replace("% 2", "% 4").replace("5%'", "7%'"))
    text = written(monorepo, service)
    assert "%%" not in text.replace("20%%", "")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert catalog(dsn) == before
    wait(service_migrations.upgrade(service))
    if not schema:  # no revision makes it, so none can be replayed
        assert wait(service_migrations.drift(service)).differences == ()

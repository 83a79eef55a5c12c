"""The first revision of models makes what ``MetaData.create_all`` makes, with every option of every part."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from shared_models import NAMING_CONVENTION

__all__ = ["metadata", "kk", {names}]
metadata = MetaData(naming_convention=NAMING_CONVENTION)
kk = Table("kk", metadata, Column("real_id", Integer, primary_key=True, key="id"))
"""
TABLES = {
    "key with INCLUDE": """Column("a", Integer), Column("b", Integer),
        PrimaryKeyConstraint("a", postgresql_include=["b"])""",
    "deferrable key": """Column("a", Integer), PrimaryKeyConstraint("a", deferrable=True, initially="DEFERRED")""",
    "serial key with INCLUDE": """Column("a", Integer, primary_key=True), Column("b", Integer),
        PrimaryKeyConstraint("a", name="own", postgresql_include=["b"])""",
    "unlogged": """Column("a", Integer, primary_key=True), prefixes=["UNLOGGED"]""",
    "operator class of an exclusion": """Column("net", INET),
        ExcludeConstraint(("net", "&&"), name="apart", using="gist", ops={"net": "inet_ops"})""",
    "cast in an exclusion": """Column("a", Integer),
        ExcludeConstraint((cast(column("a"), BigInteger), "="), name="apart", using="btree")""",
    "deferrable exclusion": """Column("a", Integer),
        ExcludeConstraint(("a", "="), name="apart", using="btree", deferrable=True, initially="DEFERRED")""",
    "exclusion with a condition": """Column("a", Integer), Column("b", Text),
        ExcludeConstraint(("a", "="), name="apart", using="btree", where=text(r"b <> '\\:no'"))""",
    "foreign key to a column by its name": """Column("a", Integer, ForeignKey("kk.real_id", link_to_name=True))""",
    "foreign key by the name, of the table": """Column("a", Integer),
        ForeignKeyConstraint(["a"], ["kk.real_id"], link_to_name=True, ondelete="CASCADE", deferrable=True)""",
    "unique options": """Column("a", Integer), Column("b", Integer),
        UniqueConstraint("a", name="u", deferrable=True, initially="DEFERRED"),
        UniqueConstraint("b", name="v", postgresql_include=["a"])""",
    "key of a sequence": """
        Column("a", Integer, Sequence("things_numbers", start=1000, metadata=metadata), primary_key=True)""",
    "column of a sequence": """Column("a", Integer, primary_key=True),
        Column("b", BigInteger, Sequence("Odd numbers", cycle=True))""",
    "default from a sequence": """Column("a", Integer, primary_key=True),
        Column("b", BigInteger,
        server_default=Sequence("Odd numbers", start=1000, metadata=metadata).next_value())""",
    "key with a default from its sequence": """Column("a", Integer, numbers := Sequence("numbers", metadata=metadata),
        server_default=numbers.next_value(), primary_key=True)""",
    "default whose text names its sequence": """Column("a", Integer, Sequence("Numbers", start=1000, metadata=metadata),
        server_default=text("nextval('\\"Numbers\\"')"), primary_key=True)""",
    "key of a sequence that PostgreSQL can do without": """
        Column("a", Integer, Sequence("unused", optional=True), primary_key=True)""",
    "equal keys": """Column("a", Integer), UniqueConstraint("a", name="z own"), UniqueConstraint("a", name="own")""",
    "equal keys, one by unique=True": """Column("a", Integer, unique=True), UniqueConstraint("a", name="own")""",
    "equal keys, one by the convention": """Column("a", Integer), UniqueConstraint("a", name="z own"),
        UniqueConstraint("a")""",
    "include of columns with a key": """Column("real a", Integer, key="a"), Column("real b", Integer, key="b"),
        Column("real c", Text, key="c"), Index("ix", "c", postgresql_include=["b"]),
        UniqueConstraint("b", name="u", postgresql_include=["c"]),
        PrimaryKeyConstraint("a", postgresql_include=["c"])""",
    "operator classes of columns with a key": """Column("real", Text, key="a"), Column("doc", JSONB, key="b"),
        Index("ix", "a", postgresql_ops={"a": "text_pattern_ops"}),
        Index("iy", "b", postgresql_using="gin", postgresql_ops={"b": "jsonb_path_ops"})""",
    "operator class of a label that is a key": """a := Column("real", Text, key="a"),
        Index("ix", func.lower(a).label("a"), postgresql_ops={"a": "text_pattern_ops"})""",
    "include of columns": """a := Column("real", Text, key="a"), b := Column("b", Text),
        Index("ix", a, postgresql_include=[b]), Index("iy", b, postgresql_include=[a])""",
    "two expressions over a column with a key": """a := Column("real", Text, key="a"), Column("b", Text),
        Index("ix", func.lower(a), a + "x", postgresql_where=a != "y")""",
    "swapped keys": """Column("a", Integer, key="b"), Column("b", Text, key="a"),
        Index("ix", "a", postgresql_include=["b"]),
        Index("iy", "a", postgresql_ops={"a": "text_pattern_ops"}), UniqueConstraint("b", name="u"),
        ForeignKeyConstraint(["b"], ["kk.id"])""",
    "fillfactor": """Column("a", Integer, primary_key=True), postgresql_with={"fillfactor": 70}""",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_first_revision_makes_what_create_all_makes(
    monorepo: Monorepo, database: Callable[..., Dsn], table: str
) -> None:
    expected, dsn = database(), database()
    models = HEAD.format(names="'things'") + f"things = Table('things', metadata, {table})\n"
    service = monorepo.service("shop", models, dsn)
    assert "={}" not in written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))
    create_all(import_models(service).metadata, expected)
    persistence = "SELECT relname, relpersistence::text FROM pg_class WHERE relname IN ('things', 'kk') ORDER BY 1"
    assert {line for line in catalog(dsn) if "alembic_version" not in line} == set(catalog(expected))
    assert query(dsn, persistence) == query(expected, persistence)
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "base"))


def test_an_exclusion_that_nobody_names_gets_a_free_name(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """PostgreSQL would choose things_a_excl, which an index of another table has."""
    dsn = database()
    head = HEAD.format(names="'things'").replace("naming_convention=NAMING_CONVENTION", "")
    monorepo.service("shop", head + "things = kk\n", dsn)
    written(monorepo, monorepo.find("shop"), "create")
    wait(service_migrations.upgrade(monorepo.find("shop")))
    query(dsn, "CREATE INDEX things_a_excl ON kk (real_id)")
    things = """Column("a", Integer), ExcludeConstraint(("a", "="), using="btree")"""
    remodel(
        monorepo,
        monorepo.find("shop"),
        head + 'Index("things_a_excl", kk.c.id)\n' + f"things = Table('things', metadata, {things})\n",
    )
    service = monorepo.find("shop")
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    names = "SELECT conname FROM pg_constraint WHERE contype = 'x'"
    assert [row[0] for row in query(dsn, names)] == ["things_a_excl1"]
    wait(service_migrations.downgrade(service, "-1"))


PARTITIONED = """
events = Table("events", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, ForeignKey("events.id")), Column("kind", Text, index=True),
    postgresql_partition_by="RANGE (id)")
refs = Table("refs", metadata, Column("id", Integer, primary_key=True),
    Column("event", Integer, ForeignKey("events.id")))
"""


def test_what_postgresql_makes_for_a_partition_is_no_difference(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("shop", HEAD.format(names="'events', 'refs'") + PARTITIONED, dsn)
    written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))
    for number in (1, 2):
        bounds = f"FROM ({number}000) TO ({number + 1}000)"
        query(dsn, f"CREATE TABLE events_{number} PARTITION OF events FOR VALUES {bounds}")
    differences = wait(service_migrations.check(service)).differences
    assert [line for line in differences if "events_" not in line.split()[1]] == []
    assert not any("refs" in line or "drop_constraint" in line for line in differences), differences


def test_a_serial_whose_sequence_the_model_names_is_no_difference(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Alembic creates it, and the application takes the same numbers from it."""
    dsn = database()
    column = 'Column("a", Integer, Sequence("{}"), primary_key=True)'
    models = HEAD.format(names="'things'") + "things = Table('things', metadata, {})\n"
    service = monorepo.service("shop", models.format(column.format("things_a_seq")), dsn)
    create = 'op.create_table("{}", sa.Column("{}", sa.Integer(), primary_key=True))'
    monorepo.revision("shop", "r001", None, "\n".join([create.format("things", "a"), create.format("kk", "real_id")]))
    wait(service_migrations.upgrade(service))
    assert not [line for line in wait(service_migrations.check(service)).differences if "things.a" in line]
    remodel(monorepo, service, models.format(column.format("another_seq")))
    differences = [line for line in wait(service_migrations.check(service)).differences if "pk_" not in line]
    assert differences == ["alter_column things.a: serial -> server_default None", "create_sequence another_seq"]
    file = written(monorepo, service, "another")
    assert "behind the rows, run: SELECT setval('another_seq', max(a)) FROM things" in file

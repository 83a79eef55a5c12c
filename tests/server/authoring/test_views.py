"""A class that is mapped onto a view has no table: neither is one created, nor is the view a difference."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.shop import inside, may_create

Database = Callable[..., Dsn]

HEAD = """
from sqlalchemy import *
from sqlalchemy.orm import *
from shared_models import NAMING_CONVENTION

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)

class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(index=True)
"""
BODY = '    __tablename__ = "totals"\n    id: Mapped[int] = mapped_column(primary_key=True)\n    n: Mapped[int]\n'
MARK = '    __table_args__ = {"info": {"is_view": True}}\n'
COLUMNS = 'Column("id", Integer, primary_key=True), Column("n", Integer, ForeignKey("things.id"))'
OWN_BASE = "class ViewBase(DeclarativeBase):\n    metadata = MetaData()\n"

CLASSES = {
    "of the same base": f"class Total(Base):\n{BODY}",
    "of a base of its own": f"{OWN_BASE}class Total(ViewBase):\n{BODY}",
    "a Table": f'Total = Table("totals", Base.metadata, {COLUMNS})\n',
    "a Table of a MetaData of its own": f'Total = Table("totals", MetaData(), {COLUMNS.replace("things", "totals")})\n',
    "of a Table": f'class Total(Base):\n    __table__ = Table("totals", Base.metadata, {COLUMNS})\n',
}
RELATIONS = {
    "view": ("VIEW totals AS SELECT id, n FROM things", "VIEW totals"),
    "materialized view": ("MATERIALIZED VIEW totals AS SELECT id, n FROM things", "MATERIALIZED VIEW totals"),
    "foreign table": ("FOREIGN TABLE totals (id integer, n integer) SERVER elsewhere", "FOREIGN TABLE totals"),
}


MARKED = pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])


def models(total: str, *, marked: bool, exported: bool = True, also: str = "") -> str:
    """Return models with a class or table for the view; ``also`` is the source of a class Line."""
    if marked:
        is_table = "Table(" in total
        total = total.rstrip().removesuffix(")") + ', info={"is_view": True})\n' if is_table else total + MARK
    names = ["Base", "Thing", *(["Total"] if exported else []), *(["Line"] if also else [])]
    return f"__all__ = {names}\n{HEAD}\n{total}{also}"


NO_TABLES = {
    "a temporary table": f'Table("totals", Base.metadata, {COLUMNS}, prefixes=["TEMPORARY"])',
    "a local one": f'Table("totals", MetaData(), {COLUMNS.replace("things", "totals")}, prefixes=["LOCAL TEMP"])',
    "the schema of temporary tables": f'Table("totals", Base.metadata, {COLUMNS}, schema="pg_temp")',
    "a catalog": 'Table("pg_class", Base.metadata, Column("oid", Integer, primary_key=True), schema="pg_catalog")',
    "the information schema": 'Table("tables", MetaData(), Column("n", Text), schema="information_schema")',
}


@pytest.mark.parametrize("exported", [True, False], ids=["in __all__", "not in __all__"])
@pytest.mark.parametrize("table", NO_TABLES.values(), ids=NO_TABLES)
def test_what_no_revision_makes_needs_no_mark(
    monorepo: Monorepo, database: Database, table: str, exported: bool
) -> None:
    """A temporary table ends with its session; a check proposed it for ever, or a revision failed."""
    dsn = database()
    service = monorepo.service("shop", models(f"Total = {table}\n", marked=False, exported=exported), dsn)
    sibling = models(f"Total = {table}\n", marked=False).replace("things", "stars")
    monorepo.service("other", sibling.replace('["Base", ', "["), dsn)
    text = written(monorepo, service, "create")
    assert "things" in text
    assert not any(word in text for word in ("totals", "pg_", "information_schema"))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


@pytest.mark.parametrize("exported", [True, False], ids=["in __all__", "not in __all__"])
@pytest.mark.parametrize("total", CLASSES.values(), ids=CLASSES)
def test_a_class_that_says_so_never_gets_a_table(
    monorepo: Monorepo, database: Database, total: str, exported: bool
) -> None:
    """Neither before its view is there, nor after."""
    dsn = database()
    service = monorepo.service("shop", models(total, marked=True, exported=exported), dsn)
    assert "totals" not in written(monorepo, service, "create")
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT 1 FROM pg_class WHERE relname IN ('ix_things_n', 'pk_things')") == [(1,), (1,)]
    assert wait(service_migrations.check(service)).differences == ()
    query(dsn, "CREATE VIEW totals AS SELECT id, n FROM things")
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None


@MARKED
@pytest.mark.parametrize(("create", "drop"), RELATIONS.values(), ids=RELATIONS)
def test_what_is_no_table_in_the_database_is_none_of_the_models(
    monorepo: Monorepo, database: Database, server: Server, create: str, drop: str, marked: bool
) -> None:
    dsn = database()
    service = monorepo.service("shop", models("", marked=False, exported=False), dsn)
    first_upgrade(monorepo, service)
    query(inside(server, dsn), "CREATE FOREIGN DATA WRAPPER nothing")
    query(inside(server, dsn), "CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing")
    query(inside(server, dsn), f'GRANT USAGE ON FOREIGN SERVER elsewhere TO "{dsn.user}"')
    head = wait(service_migrations.history(service)).revisions[0].revision
    monorepo.revision("shop", "a2", head, f'op.execute("CREATE {create}")', f'op.execute("DROP {drop}")')
    remodel(monorepo, service, models(CLASSES["of the same base"], marked=marked))
    service = monorepo.find("shop")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None


def test_the_view_itself_is_left_to_drift(monorepo: Monorepo, database: Database, server: Server) -> None:
    dsn = may_create(server, database())
    service = monorepo.service("shop", models(CLASSES["of the same base"], marked=True), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "CREATE VIEW totals AS SELECT id, n FROM things")
    (difference,) = wait(service_migrations.drift(service)).differences
    assert str(difference).startswith("view totals is in the database but not in the history")


@MARKED
def test_a_foreign_key_to_a_view_is_refused(monorepo: Monorepo, database: Database, marked: bool) -> None:
    dsn = database()
    refers = 'class Line(Base):\n    __tablename__ = "lines"\n    id: Mapped[int] = mapped_column(primary_key=True)\n'
    refers += '    total: Mapped[int] = mapped_column(ForeignKey("totals.id"))\n'
    service = monorepo.service("shop", models(CLASSES["of the same base"], marked=marked, also=refers), dsn)
    query(dsn, "CREATE VIEW totals AS SELECT 1 AS id, 2 AS n")
    (refusal,) = wait(service_migrations.check(service)).uncompared
    assert "lines.total refers to totals.id, which is a view" in str(refusal)
    assert refusal.exit_code == 78


@MARKED
def test_two_services_may_map_one_view(monorepo: Monorepo, database: Database, server: Server, marked: bool) -> None:
    """It is that of the service whose history creates it."""
    dsn = may_create(server, database())
    for name in ("billing", "shop"):
        source = models(CLASSES["of the same base"], marked=marked).replace('"things"', f'"{name}_things"')
        monorepo.service(name, source, dsn)
    services = [monorepo.find(name) for name in ("billing", "shop")]
    query(dsn, "CREATE VIEW totals AS SELECT 1 AS id, 2 AS n")
    for service in services:
        written(monorepo, service, "create")
        wait(service_migrations.upgrade(service))
    query(dsn, "DROP VIEW totals")
    head = wait(service_migrations.history(services[1])).revisions[0].revision
    view = "VIEW totals AS SELECT id, n FROM shop_things"
    monorepo.revision("shop", "a2", head, f'op.execute("CREATE {view}")', 'op.execute("DROP VIEW totals")')
    wait(service_migrations.upgrade(services[1]))
    for service in services:
        assert wait(service_migrations.check(service)).differences == ()
        assert wait(service_migrations.drift(service)).differences == ()


def test_a_table_that_the_models_take_for_a_view_is_left_alone(monorepo: Monorepo, database: Database) -> None:
    dsn = database()
    service = monorepo.service("shop", models(CLASSES["of the same base"], marked=False), dsn)
    first_upgrade(monorepo, service)
    remodel(monorepo, service, models(CLASSES["of the same base"], marked=True))
    assert wait(service_migrations.check(monorepo.find("shop"))).differences == ()

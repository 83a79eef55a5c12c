"""Tables that inherit from others of the models, which are as new as they are."""

import re
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.models.importing import import_models
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import create_all, first_upgrade, remodel, written
from tests.support.catalog import catalog
from tests.support.database import wait
from tests.support.monorepo import Monorepo, dsn_text

MODELS = """
from sqlalchemy import CheckConstraint, Column, Enum, ForeignKey, Integer, MetaData, Table, Text

__all__ = ["metadata"]

metadata = MetaData()
other = Table("other", metadata, Column("n", Integer))
"""
PARENT = """
things = Table("things", metadata, Column("id", Integer, primary_key=True),
               Column("state", Enum("new", "old", name="state"), server_default="new"))
"""
CHILDREN = {
    "no column of its own": """
z = Table("z", metadata, postgresql_inherits="things", comment="it's 100% :all")
Table("nothing", metadata)
""",
    "only a CHECK of its own": """
z = Table("z", metadata, CheckConstraint("id > 0", name="c"), postgresql_inherits="things")
""",
    "before its parent by name": """
z = Table("a", metadata, Column("own", Integer, index=True), postgresql_inherits="things")
z.add_is_dependent_on(things)
""",
    "a column of both": """
z = Table("z", metadata, Column("id", Integer, primary_key=True), postgresql_inherits="things")
""",
    "a grandchild": """
y = Table("y", metadata, Column("own", Integer), postgresql_inherits="things")
x = Table("x", metadata, Column("more", Text, CheckConstraint("more <> 'x'", name="c")), postgresql_inherits=("y",))
x.add_is_dependent_on(y)
""",
    "two parents": """
b = Table("b", metadata, Column("own", Integer))
z = Table("z", metadata, Column("more", Text), postgresql_inherits=("things", "b"))
""",
    "a foreign key to the child": """
z = Table("z", metadata, Column("own", Integer, unique=True), postgresql_inherits="things")
c = Table("c", metadata, Column("z", ForeignKey("z.own")), Column("thing", ForeignKey("things.id")))
z.add_is_dependent_on(things)
""",
    "an odd name": """
b = Table("My 100% things", metadata, Column("own", Integer))
z = Table("z", metadata, Column("more", Text), postgresql_inherits="My 100% things")
""",
}


@pytest.mark.parametrize("children", CHILDREN.values(), ids=CHILDREN)
def test_a_table_and_its_parent_are_created_in_one_revision(
    monorepo: Monorepo, database: Callable[..., Dsn], children: str
) -> None:
    empty, full = database(), database()
    service = monorepo.service("billing", MODELS + PARENT + children, full)
    create_all(import_models(service).metadata, full)
    monorepo.env("billing", DATABASE_DSN=dsn_text(empty))
    remodel(monorepo, service, MODELS)
    first_upgrade(monorepo, service)
    at_first = without_bookkeeping(empty)
    remodel(monorepo, service, MODELS + PARENT + children)
    written(monorepo, service, "more")
    for _ in range(2):
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
        assert without_bookkeeping(empty) == without_bookkeeping(full)
        wait(service_migrations.downgrade(service, "-1"))
        assert without_bookkeeping(empty) == at_first


def without_bookkeeping(dsn: Dsn) -> list[str]:
    return [line for line in catalog(dsn) if "alembic_version" not in line]


def test_a_child_whose_new_parent_cant_be_compared_is_named(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    broken = PARENT.replace('"new", "old"', f'"{"x" * 64}"')
    service = monorepo.service("billing", MODELS + broken + CHILDREN["a column of both"], database())
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "x")
    assert ran.code == 0, ran.text
    for table in ("things", "z"):
        cause = f"services/billing/models.py: the models' table {table} can't be created"
        assert f"This revision leaves a table as it is. billing: {cause}" in ran.err
    (file,) = service.versions.glob("*.py")
    assert re.findall(r'create_table\(\s*"(\w+)"', file.read_text(encoding="utf-8")) == ["other"]


def test_a_child_of_a_parent_that_changes_is_compared_after_that(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    child = 'z = Table("z", metadata, Column("n", {}), Column("own", {}), postgresql_inherits="other")\n'
    service = monorepo.service("billing", MODELS + child.format("Integer", "Text"), database())
    first_upgrade(monorepo, service)
    wider = MODELS.replace('Column("n", Integer)', 'Column("n", Text)') + child.format("Text", "Integer")
    remodel(monorepo, service, wider)
    (error,) = wait(service_migrations.check(service)).uncompared
    assert "If it inherits a column that changes, upgrade its parent, and write the next revision." in str(error)
    for column in ("other ALTER COLUMN n", "z ALTER COLUMN own"):
        assert f"ALTER TABLE {column} TYPE" in written(monorepo, service)
        wait(service_migrations.upgrade(service))
    checked = wait(service_migrations.check(service))
    assert (checked.differences, checked.uncompared) == ((), ())


SERIAL = 'base = Table("base", metadata, Column("id", Integer{}, primary_key=True))\n'
KEPT = ", server_default=text(\"nextval('base_id_seq'::regclass)\")"
KID = 'kid = Table("kid", metadata{}, Column("own", Text), postgresql_inherits="base")\nkid.add_is_dependent_on(base)\n'
OWN_ID = ', Column("id", Integer{}, primary_key=True)'
NO_NUMBERS = ", autoincrement=False"
LOST = {
    "inherited": ("", "", NO_NUMBERS),
    "of its own": (OWN_ID.format(KEPT), OWN_ID.format(NO_NUMBERS), NO_NUMBERS),
    "of its own, then another": (OWN_ID.format(KEPT), OWN_ID.format(', server_default="7"'), NO_NUMBERS),
    "identity": (OWN_ID.format(KEPT), OWN_ID.format(NO_NUMBERS), ", Identity()"),
}


@pytest.mark.parametrize(("before", "after", "numbers"), LOST.values(), ids=LOST)
def test_a_mapped_child_loses_the_default_of_its_parents_serial_with_that(
    before: str, after: str, numbers: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """It was refused, since a child that has a model may keep a default of its own."""
    head = MODELS.replace("import ", "import Identity, text, ", 1)
    dsn = database()
    service = monorepo.service("billing", head + SERIAL.format("") + KID.format(before), dsn)
    first_upgrade(monorepo, service)
    was = without_bookkeeping(dsn)
    remodel(monorepo, service, head + SERIAL.format(numbers) + KID.format(after))
    written(monorepo, service)
    for _ in range(2):
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
        wait(service_migrations.downgrade(service, "-1"))
        assert without_bookkeeping(dsn) == was


def test_a_mapped_child_that_keeps_the_default_of_its_parents_serial_is_named(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    head, kid = MODELS.replace("import ", "import text, ", 1), KID.format(OWN_ID.format(KEPT))
    service = monorepo.service("billing", head + SERIAL.format("") + kid, database())
    first_upgrade(monorepo, service)
    remodel(monorepo, service, head + SERIAL.format(NO_NUMBERS) + kid)
    with pytest.raises(UsageError, match=r"the default value for public\.kid\.id uses the sequence of base\.id, so"):
        wait(service_migrations.revision(service, "x"))

"""A foreign key that PostgreSQL can't make is told by the comparison, and not by the upgrade."""

import re
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel, written
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *

metadata = MetaData()
__all__ = ["metadata"]
far = Table("far", metadata, Column("id", Integer, primary_key=True), Column("code", String(5), unique=True),
            Column("loose", Integer), Column("late", Integer){far})
near = Table("near", metadata, Column("id", Integer, primary_key=True), Column("a", Integer), Column("b", Text),
             Column("c", Integer){near})
"""
INCOMPATIBLE = 'foreign key constraint "fk" cannot be implemented'
NOT_UNIQUE = "there is no unique constraint matching given keys for referenced table"
IMPOSSIBLE = {
    "to a column that isn't unique": ("", 'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")', NOT_UNIQUE),
    "to itself": ("", 'ForeignKeyConstraint(["a"], ["near.c"], name="fk")', NOT_UNIQUE),
    "to one column of a key of two": (
        'UniqueConstraint("loose", "late", name="both")',
        'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")',
        NOT_UNIQUE,
    ),
    "to a condition's rows": (
        'Index("some", "loose", unique=True, postgresql_where=text("late > 0"))',
        'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")',
        NOT_UNIQUE,
    ),
    "to a key that is deferred": (
        'UniqueConstraint("loose", name="later", deferrable=True)',
        'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")',
        "cannot use a deferrable unique constraint",
    ),
    "of a type that can't be compared": ("", 'ForeignKeyConstraint(["b"], ["far.id"], name="fk")', INCOMPATIBLE),
    "of two columns, of which one can't": (
        'UniqueConstraint("id", "code", name="two")',
        'ForeignKeyConstraint(["a", "c"], ["far.id", "far.code"], name="fk")',
        INCOMPATIBLE,
    ),
    "with a rule's column that isn't there": (
        "",
        'ForeignKeyConstraint(["a"], ["far.id"], name="fk", ondelete="SET NULL (nowhere)")',
        # before 15 a rule has no columns
        'column "nowhere" referenced in foreign key constraint does not exist|syntax error at or near "\\("',
    ),
    "with a rule for a generated column": (
        "",
        (
            'Column("g", Integer, Computed("a + 1", persisted=True)), '
            'ForeignKeyConstraint(["g"], ["far.id"], name="fk", ondelete="SET NULL")'
        ),
        "invalid ON DELETE action for foreign key constraint containing generated column",
    ),
    "of a kind that isn't there": (
        "",
        'ForeignKeyConstraint(["a"], ["far.id"], name="fk", match="PARTIAL")',
        "MATCH PARTIAL not yet implemented",
    ),
    "to an unlogged table": (
        'prefixes=["UNLOGGED"]',
        'ForeignKeyConstraint(["a"], ["far.id"], name="fk")',
        "far is UNLOGGED, and near isn't",
    ),
}
POSSIBLE = {
    "to a key": ("", 'ForeignKeyConstraint(["a"], ["far.id"], name="fk", ondelete="CASCADE", onupdate="RESTRICT")'),
    "to a unique column of another length": ("", 'ForeignKeyConstraint(["b"], ["far.code"], name="fk", match="FULL")'),
    "to a new index": (
        'Index("new", "loose", unique=True, postgresql_include=["late"])',
        'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")',
    ),
    "to an index in another order": (
        'Index("new", text("late DESC"), "loose", unique=True)',
        'ForeignKeyConstraint(["a", "c"], ["far.loose", "far.late"], name="fk")',
    ),
    "to itself": (
        "",
        (
            'UniqueConstraint("c", name="u"), ForeignKeyConstraint(["a"], ["near.c"], name="fk", deferrable=True, '
            'initially="DEFERRED")'
        ),
    ),
    "of its own column to itself": ("", 'ForeignKeyConstraint(["id"], ["near.id"], name="fk")'),
    "with the columns of a rule": (
        'UniqueConstraint("id", "loose", name="two")',
        'ForeignKeyConstraint(["a", "c"], ["far.id", "far.loose"], name="fk", ondelete="CASCADE")',
    ),
    "of a generated column": (
        "",
        'Column("g", Integer, Computed("a + 1", persisted=True)), ForeignKeyConstraint(["g"], ["far.id"], name="fk")',
    ),
    "between enum columns that are new": (
        'Column("e", Enum("x", name="kind"), unique=True)',
        'Column("e", Enum("x", name="kind")), ForeignKeyConstraint(["e"], ["far.e"], name="fk")',
    ),
    "between types that can be compared": (
        "",
        'Column("d", BigInteger), ForeignKeyConstraint(["d"], ["far.id"], name="fk")',
    ),
    "between unlogged tables": (
        'prefixes=["UNLOGGED"]',
        'ForeignKeyConstraint(["a"], ["far.id"], name="fk"), prefixes=["UNLOGGED"]',
    ),
}


def models(far: str = "", near: str = "") -> str:
    return MODELS.format(far=f", {far}" if far else "", near=f", {near}" if near else "")


def told(service: Service) -> MigrationError:
    """Return the only error of a check; it is raised where nothing else is to be said."""
    try:
        [error] = wait(service_migrations.check(service)).uncompared
    except ConfigurationError as only:
        return only
    return error


@pytest.mark.parametrize(("far", "near", "says"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("exists", [False, True], ids=["new tables", "existing tables"])
def test_a_key_that_cannot_be_made_is_told_with_its_table_and_no_revision_has_it(
    monorepo: Monorepo, database: Callable[..., Dsn], far: str, near: str, says: str, *, exists: bool
) -> None:
    dsn = database()
    service = monorepo.service("billing", models() if exists else models(far, near), dsn)
    if exists:
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        remodel(monorepo, service, models(far, near))
    error = told(service)
    start = "the foreign key fk of the models' table near can't be made on this server: "
    assert error.message.startswith(start)
    assert re.search(says, error.message), error
    assert (error.exit_code, error.path, error.hint) == (78, "services/billing/models.py", "Correct the model.")
    if exists and not far:  # there is nothing else to write
        with pytest.raises(ConfigurationError) as refused:
            wait(service_migrations.revision(service, "after"))
        assert refused.value.message.startswith(start)
    else:
        revision = wait(service_migrations.revision(service, "after"))
        assert revision is not None
        assert "'fk'" not in (monorepo.root / revision.path).read_text(encoding="utf-8").replace('"', "'")
        wait(service_migrations.upgrade(service))


@pytest.mark.parametrize(("far", "near"), POSSIBLE.values(), ids=POSSIBLE)
@pytest.mark.parametrize("exists", [False, True], ids=["new tables", "existing tables"])
def test_a_key_that_can_be_made_is_made(
    monorepo: Monorepo, database: Callable[..., Dsn], far: str, near: str, *, exists: bool
) -> None:
    dsn = database()
    service = monorepo.service("billing", models() if exists else models(far, near), dsn)
    if exists:
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        remodel(monorepo, service, models(far, near))
    written(monorepo, service, "after")
    assert wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT conname::text FROM pg_constraint WHERE contype = 'f'") == [("fk",)]
    assert not wait(service_migrations.check(service)).differences


CHANGES = {
    "the key that it leads to goes": (
        models('UniqueConstraint("loose", name="u")', 'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")'),
        models("", 'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")'),
        NOT_UNIQUE,
    ),
    "the type of what it leads to changes": (
        models("", 'ForeignKeyConstraint(["a"], ["far.id"], name="fk")'),
        models("", 'ForeignKeyConstraint(["a"], ["far.id"], name="fk")').replace(
            '"id", Integer, primary_key=True), Column("code"', '"id", Text, primary_key=True), Column("code"'
        ),
        INCOMPATIBLE,
    ),
    "its own type changes": (
        models("", 'ForeignKeyConstraint(["a"], ["far.id"], name="fk")'),
        models("", 'ForeignKeyConstraint(["a"], ["far.id"], name="fk")').replace('"a", Integer', '"a", Text'),
        INCOMPATIBLE,
    ),
}


@pytest.mark.parametrize(("before", "after", "says"), CHANGES.values(), ids=CHANGES)
def test_a_change_that_makes_a_key_impossible_is_told(
    monorepo: Monorepo, database: Callable[..., Dsn], before: str, after: str, says: str
) -> None:
    service = monorepo.service("billing", before, database())
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, after)
    assert says in told(service).message


def test_a_key_that_a_hook_leaves_out_is_there(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """The models lack it, and it isn't dropped either: a foreign key may lead to it."""
    dsn = database()
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    env = monorepo.root / "migrations" / "env.py"
    text = env.read_text(encoding="utf-8")
    hook = 'OPTIONS["include_object"] = lambda item, name, kind, reflected, other: name != "by_hand"\n'
    env.write_text(text.replace("\n\n\n", f"\n{hook}\n\n", 1), encoding="utf-8")
    query(dsn, "CREATE UNIQUE INDEX by_hand ON far (loose)")
    remodel(monorepo, service, models("", 'ForeignKeyConstraint(["a"], ["far.loose"], name="fk")'))
    assert "by_hand" not in written(monorepo, service, "after")
    assert wait(service_migrations.upgrade(service))


def test_a_key_into_a_siblings_table_is_tried_with_what_the_database_has(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    other = """
from sqlalchemy import *
metadata = MetaData()
__all__ = ["metadata"]
Table("parts", metadata, Column("id", Integer, primary_key=True), Column("number", Integer))
"""
    sibling = monorepo.service("parts", other, dsn)
    service = monorepo.service("billing", models(), dsn)
    for each in (sibling, service):
        written(monorepo, each, "before")
        wait(service_migrations.upgrade(each))
    for column, is_possible in (("number", False), ("id", True)):
        key = f'ForeignKey("parts.{column}", name="fk")'
        remodel(monorepo, service, models().replace('Column("c", Integer)', f'Column("c", Integer, {key})'))
        if is_possible:
            written(monorepo, service, "after")
            assert wait(service_migrations.upgrade(service))
        else:
            assert NOT_UNIQUE in told(service).message


def test_each_of_two_keys_alike_is_told_by_its_own_name(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    keys = 'ForeignKeyConstraint(["a"], ["far.loose"], name="one")'
    third = f'Table("third", metadata, Column("a", Integer), {keys.replace("one", "two")})\n'
    service = monorepo.service("billing", models("", keys) + third, database())
    told = wait(service_migrations.check(service)).uncompared
    names = [error.message.partition(" of the")[0] for error in told]
    assert names == ["the foreign key one", "the foreign key two"]


def test_a_partitioned_table_gets_no_unvalidated_key_from_a_server_that_makes_none(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    partitioned = 'postgresql_partition_by="RANGE (a)"'
    bare = models("", partitioned).replace('"id", Integer, primary_key=True), Column("a"', '"id", Integer), Column("a"')
    key = 'ForeignKeyConstraint(["c"], ["far.id"], name="fk", postgresql_not_valid=True), '
    service = monorepo.service("billing", bare, dsn := database())
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, bare.replace(partitioned, f"{key}{partitioned}"))
    if query(dsn, "SELECT current_setting('server_version_num')::int < 180000") == [(True,)]:
        assert "the key of a partitioned table can't be NOT VALID" in told(service).message
    else:
        assert "NOT VALID" in written(monorepo, service, "after")
        assert wait(service_migrations.upgrade(service))

"""What autogenerate sees, what it writes for it, and what it refuses to write."""

import re
from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.plan.revision_text import revision_text
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.autogenerate import models, remodel, written
from tests.support.catalog import catalog, statements
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo


@pytest.fixture
def change(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., tuple[str, str]]:
    """Take a database from one module of models to another, and back, and there again; return what was written."""
    dsn = database()

    def go(before: str, after: str, rows: str = "") -> tuple[str, str]:
        service = monorepo.service("billing", before, dsn)
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        if rows:
            query(dsn, rows)
        at_first = catalog(dsn)
        remodel(monorepo, service, after)
        code = written(monorepo, service, "after")
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
        at_last = catalog(dsn)
        wait(service_migrations.downgrade(service, "-1"))
        assert _but_versions(catalog(dsn)) == _but_versions(at_first)
        wait(service_migrations.upgrade(service))
        assert catalog(dsn) == at_last
        up, _, down = code.partition("def downgrade")
        return up, down

    return go


def _clean(service: Service) -> None:
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None


def _but_versions(lines: list[str]) -> list[str]:
    return [line for line in lines if "alembic_version_" not in line]


# enum types

CHECKED = (
    "CheckConstraint(\"state <> 'old'\", name='not_old')",
    "Index('ix_new', 'number', postgresql_where=text(\"state = 'new'\"))",
    "Column('states', ARRAY(state), server_default=text(\"'{}'\"))",
    "Column('other', state, nullable=False, server_default='new', unique=True)",
    "ExcludeConstraint((column('number'), '='), using='btree', where=text(\"state = 'old'\"), name='no_two_old')",
    "Column('is_new', Integer, Computed(\"CASE WHEN state = 'new' THEN 1 ELSE 0 END\", persisted=True), index=True)",
)
"""What stands in the way of a type that has to be recreated."""


@pytest.mark.parametrize(
    ("labels", "statement"),
    [
        (("new", "mid", "old"), "ADD VALUE 'mid' AFTER 'new'"),
        (("first", "new", "old"), "ADD VALUE 'first' BEFORE 'new'"),
        (("new", "old", "last"), "ADD VALUE 'last' AFTER 'old'"),
    ],
)
def test_an_enum_value_is_added_in_its_place_without_a_rewrite(labels, statement, change) -> None:
    up, down = change(models(*CHECKED), models(*CHECKED, labels=labels), "INSERT INTO things (state) VALUES ('new')")
    assert up.count("op.") == 1
    assert f"ALTER TYPE state {statement}" in up
    assert "# A new value can't be used in the transaction that adds it" in up
    assert "RENAME TO state__former" in down


def test_several_enum_values_are_added_one_statement_each(change) -> None:
    up, _ = change(models(), models(labels=("a", "b", "new", "it's", "old", "z:z")))
    assert [line.count("ADD VALUE") for line in up.splitlines() if "op." in line] == [1, 1, 1, 1]


def test_an_enum_value_that_the_same_revision_uses_is_committed_first(change) -> None:
    up, _ = change(models(), models("CheckConstraint(\"state <> 'mid'\", name='no_mid')", labels=("new", "mid", "old")))
    assert (
        up.index("autocommit_block()") < up.index("ADD VALUE IF NOT EXISTS 'mid'") < up.index("ADD CONSTRAINT no_mid")
    )


def test_an_enum_value_in_the_place_of_another_is_taken_for_its_new_name(change) -> None:
    up, down = change(models(), models(labels=("new", "gone")), "INSERT INTO things (state) VALUES ('old')")
    assert "RENAME VALUE 'old' TO 'gone'" in up
    assert "# 'old' was taken for renamed to 'gone'" in up
    assert "RENAME VALUE 'gone' TO 'old'" in down


def test_what_names_a_renamed_value_is_renamed_with_it_in_both_directions(change) -> None:
    lines = [line.replace("'old'", "'gone'") for line in CHECKED]
    up, _ = change(models(*CHECKED), models(*lines, labels=("new", "gone")), "INSERT INTO things DEFAULT VALUES")
    assert "RENAME TO" not in up


@pytest.mark.parametrize("after", [("new",), ("old", "new"), ("old", "mid", "new")], ids=["removed", "moved", "other"])
def test_an_enum_that_loses_or_moves_a_value_is_recreated_with_all_that_names_it(after, change) -> None:
    kept = [line for line in CHECKED if "'old'" not in line and "'new'" not in line] if "new" not in after else CHECKED
    if "old" not in after:
        kept = [line for line in kept if "'old'" not in line]
    up, down = change(models(*CHECKED), models(*kept, labels=after))
    for code in (up, down):
        assert code.count("RENAME TO state__former") == code.count("CREATE TYPE state") == 1
        assert code.count("DROP TYPE state__former") == 1
    assert "# WARNING: PostgreSQL can't remove or move a value" in up


def test_rows_that_hold_a_removed_value_stop_the_upgrade_and_the_file_says_what_to_decide(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    query(dsn, "INSERT INTO things (state) VALUES ('old')")
    remodel(monorepo, service, models(labels=("new",)))
    code = written(monorepo, service, "after")
    assert "# UPDATE things SET state = … WHERE state = 'old'" in code
    with pytest.raises(service_migrations.MigrationError, match='invalid input value for enum state: "old"'):
        wait(service_migrations.upgrade(service))


USERS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import ARRAY

__all__ = ["metadata", *"abcd"]
metadata = MetaData()
kind = Enum({labels}, name="kind")
a = Table("things", metadata, Column("id", Integer, primary_key=True), Column("st", kind))
b = Table("things", metadata, Column("id", Integer, primary_key=True), Column("st", kind), schema="one")
c = Table("things", metadata, Column("id", Integer, primary_key=True), Column("St", kind), schema="Two")
d = Table("lists", metadata, Column("id", Integer, primary_key=True), Column("past", ARRAY(kind)), schema="one")
"""


def test_the_statement_beside_a_removed_value_changes_its_rows(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """In every schema, in arrays, with names and values that need quotes."""
    dsn = database()
    service = monorepo.service("billing", USERS.format(labels='"new", "it\'s"'), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    for table, column in (("things", "st"), ("one.things", "st"), ('"Two".things', '"St"')):
        query(dsn, f"INSERT INTO {table} ({column}) VALUES ('it''s'), ('new'), (NULL)")  # noqa: S608 - of this file
    query(dsn, "INSERT INTO one.lists (past) VALUES ('{new,it''s}'), ('{}'), (NULL)")
    remodel(monorepo, service, USERS.format(labels='"new"'))
    service = monorepo.find("billing")
    revision = wait(service_migrations.revision(service, "after"))
    code = (monorepo.root / revision.path).read_text(encoding="utf-8")
    updates = re.findall(r"# (UPDATE .*)", code[: code.index("def downgrade")])
    assert sorted(updates) == sorted(
        [
            'UPDATE "Two".things SET "St" = … WHERE "St" = \'it\'\'s\'',
            "UPDATE things SET st = … WHERE st = 'it''s'",
            "UPDATE one.lists SET past = array_replace(past, 'it''s', …) WHERE 'it''s' = ANY (past)",
            "UPDATE one.things SET st = … WHERE st = 'it''s'",
        ]
    )
    for update in updates:
        query(dsn, update.replace("…", "'new'"))
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT past::text FROM one.lists ORDER BY id") == [("{new,new}",), ("{}",), (None,)]


def test_offline_sql_of_a_rewrite_leads_to_the_same_schema(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    online, offline = database(), database()
    service = monorepo.service("billing", models(*CHECKED), online)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, models(*CHECKED, labels=("old", "mid", "new")))
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    run_script(offline, statements(wait(service_migrations.sql(service, "head"))))
    assert catalog(offline) == catalog(online)


def test_a_view_over_an_enum_that_has_to_be_recreated_stops_the_revision(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    query(dsn, "CREATE VIEW news AS SELECT id, state FROM things")
    remodel(monorepo, service, models(labels=("new",)))
    with pytest.raises(UsageError, match=r"billing: the view public.news uses the type state, things.state.*--empty"):
        wait(service_migrations.revision(service, "after"))
    assert len(list(service.versions.glob("*.py"))) == 1
    assert wait(service_migrations.check(service)).differences == ("alter_type state: (new, old) -> (new)",)


def test_a_removed_value_that_a_default_still_names_is_one_clear_line(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    default = "Column('other', state, server_default='old')"
    service = monorepo.service("billing", models(default), database())
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, models(default, labels=("new",)))
    with pytest.raises(ConfigurationError, match=r"the models' table things can't be created.*: \"old\""):
        wait(service_migrations.check(service))


def test_two_columns_that_give_one_enum_type_other_labels_are_refused(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    service = monorepo.service("billing", models("Column('x', Enum('a', name='state'))"), database())
    with pytest.raises(ConfigurationError, match=r"things\.x: another column has the enum type state"):
        wait(service_migrations.revision(service, "before"))


PARTITIONED = """
from sqlalchemy import Column, Date, Enum, Integer, MetaData, Table

__all__ = ["things"]
things = Table("things", MetaData(), Column("id", Integer), Column("at", Date),
               Column("state", Enum({labels}, name="state")), postgresql_partition_by="RANGE (at)")
"""


def test_a_partition_of_ones_own_table_is_recreated_with_it(change) -> None:
    before, after = (PARTITIONED.format(labels=labels) for labels in ("'new', 'old'", "'new'"))
    partition = "CREATE TABLE things_2020 PARTITION OF things FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"
    up, _ = change(before, after, partition)
    assert up.count("ALTER TABLE") == 1


def test_names_and_labels_may_hold_any_character(change) -> None:
    before, after = (
        models(labels=labels)
        .replace('name="state"', 'name="the|state"')
        .replace('Table("things"', 'Table("my|things"')
        .replace("Column('state'", "Column('a|state'")
        for labels in (("x|y", "new", "old"), ("new", "old"))
    )
    up, _ = change(before, after)
    assert "# UPDATE 'my|things' SET 'a|state' = … WHERE 'a|state' = 'x|y'" in up


def test_a_table_that_inherits_another_ones_columns_is_compared_with_them(change) -> None:
    parent = models("Column('a', Text, comment='of the parent')", kind="")
    child = 'others = Table("others", metadata, Column("own", Integer), postgresql_inherits="things")\n'
    change(parent, parent.replace("__all__ = [", '__all__ = ["others", ') + child)


# everything else

KEY = "['a'], ['things.id'], name='f'"
DISTINCT = ", postgresql_nulls_not_distinct=True"
UNIQUE = "Column('a', Integer, unique=True)"
COUNTED = ("Integer", "Integer, Identity()", "Integer, autoincrement=False")
CHANGES = {
    "check": ("CheckConstraint('number > 0', name='c')", "CheckConstraint('number > 1', name='c')"),
    "check in a column": ("Column('a', Integer)", "Column('a', Integer, CheckConstraint('a > 0', name='c'))"),
    "unnamed check": ("CheckConstraint('number > 0')", "CheckConstraint('number > 1')"),
    "second unnamed check": ("CheckConstraint('number > 0')",
                             "CheckConstraint('number <> 7'), CheckConstraint('number > 0')"),
    "second unnamed foreign key": (
        f"{UNIQUE}, ForeignKeyConstraint(['number'], ['things.id'])",
        f"{UNIQUE}, ForeignKeyConstraint(['number'], ['things.a']), ForeignKeyConstraint(['number'], ['things.id'])"),
    "name of a check that an unnamed one takes over": (
        "CheckConstraint('number > 0', name='c')",
        "CheckConstraint('number > 1', name='c'), CheckConstraint('number > 0')"),
    "check of a type": ("Column('b', Text)", "Column('a', Enum('x', 'y', native_enum=False, create_constraint=True))"),
    "server default": ("Column('a', Text, server_default='x')", "Column('a', Text, server_default='it\\'s :y')"),
    "computed": ("Column('a', Integer, Computed('number + 1', persisted=True), index=True)",
                 "Column('a', Integer, Computed('number + 2', persisted=True), index=True)"),
    "not computed": ("Column('a', Integer, Computed('number + 1', persisted=True))", "Column('a', Integer)"),
    "becomes computed": ("Column('a', Integer)", "Column('a', Integer, Computed('number + 1', persisted=True))"),
    "identity": ("Column('a', Integer, Identity())", "Column('a', Integer, Identity(always=True, start=9, cache=5))"),
    "identity of another range": (
        "Column('a', Integer, Identity(start=-5, increment=-1, minvalue=-9, maxvalue=-1))",
        "Column('a', Integer, Identity(start=100, increment=2))",
    ),
    "becomes identity": ("Column('a', Integer, nullable=False)", "Column('a', Integer, Identity())"),
    "column comment": ("Column('a', Text)", "Column('a', Text, comment='it\\'s 100% :sure')"),
    "table comment": ("comment='one'", "comment='two'"),
    "partial index": ("Index('i', 'number', postgresql_where=text('number > 0'))",
                      "Index('i', 'number', postgresql_where=text('number > 1'))"),
    "expression index": ("Index('i', text('(number + 1)'))", "Index('i', text('(number + 2)'))"),
    "index in another order": ("Index('i', 'number')", "Index('i', text('number DESC'))"),
    "exclusion": ("ExcludeConstraint((column('number'), '='), using='btree', name='x')",
                  "ExcludeConstraint((column('number'), '='), using='btree', where=text('number > 0'), name='x')"),
    "deferrable": ("UniqueConstraint('number', name='u')", "UniqueConstraint('number', name='u', deferrable=True)"),
    "length": ("Column('a', String(5))", "Column('a', String(9))"),
    "precision": ("Column('a', Numeric(10, 2))", "Column('a', Numeric(12, 3))"),
    "array": ("Column('a', Integer)", "Column('a', ARRAY(Integer))"),
    "collation": ("Column('a', Text)", "Column('a', Text(collation='C'))"),
    "no cast": ("Column('a', Integer, server_default=text('1'))",
                "Column('a', ARRAY(Text), server_default=text(\"'{}'\"))"),
    "type decorator": ("Column('a', String(5))", "Column('a', Shout)"),
    "sequence": ("Column('a', Integer)", "Column('a', Integer, Sequence('s', schema='s'))"),
    "default from a sequence": ("Column('a', Integer)",
                                "Column('a', Integer, server_default=Sequence('Odd s').next_value())"),
    "default from a sequence of a schema": (
        "Column('a', Integer)", "Column('a', Integer, server_default=Sequence('s', schema='Odd s').next_value())"),
    "default from another sequence": ("Column('a', Integer, server_default=Sequence('s').next_value())",
                                      "Column('a', Integer, server_default=Sequence('s2').next_value())"),
    "foreign key rule": (f"Column('a', Integer), ForeignKeyConstraint({KEY})",
                         f"Column('a', Integer), ForeignKeyConstraint({KEY}, ondelete='CASCADE')"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen_and_written_in_both_directions(before, after, change) -> None:
    up, down = change(models(before), models(after))
    assert "op." in up
    assert "op." in down


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_a_change_in_a_schema_of_ones_own_is_seen_and_written_in_both_directions(before, after, change) -> None:
    up, down = change(*(models(text).replace("MetaData()", "MetaData(schema='Odd Sch')") for text in (before, after)))
    assert "op." in up
    assert "op." in down


WIDER = {
    "varchar": ("String(5)", "String(9)"),
    "text": ("String(5)", "Text"),
    "no length": ("String(5)", "String"),
    "integer": ("SmallInteger", "Integer"),
    "bigint": ("Integer", "BigInteger"),
    "digits": ("Numeric(10, 2)", "Numeric(12, 3)"),
    "any digits": ("Numeric(10, 2)", "Numeric"),
}
NO_WIDER = {
    "narrower": ("String(9)", "String(5)"),
    "fewer digits before the point": ("Numeric(10, 2)", "Numeric(11, 4)"),
    "integer to numeric": ("Integer", "Numeric(4)"),
    "another collation": ("String(5)", "String(9, collation='C')"),
}


@pytest.mark.parametrize("schema", ["", "schema='own'"])
@pytest.mark.parametrize(("before", "after"), WIDER.values(), ids=WIDER)
def test_a_wider_type_breaks_nothing_in_the_plan_of_its_revision(before, after, schema, change, tmp_path) -> None:
    pair = (models(f"Column('a', {each})").replace("MetaData()", f"MetaData({schema})") for each in (before, after))
    up, down = change(*pair)
    (tmp_path / "r.py").write_text(up, encoding="utf-8")
    assert revision_text(tmp_path / "r.py").widenings
    assert "op.alter_column" not in down


@pytest.mark.parametrize(("before", "after"), NO_WIDER.values(), ids=NO_WIDER)
def test_another_type_isnt_written_as_a_wider_one(before, after, change) -> None:
    up, _ = change(*(models(f"Column('a', {each})") for each in (before, after)))
    assert "op.alter_column" not in up


@pytest.mark.parametrize(("before", "after"), [(key, other) for key in COUNTED for other in COUNTED if key != other])
def test_a_key_in_a_schema_of_ones_own_counts_otherwise(before, after, change) -> None:
    change(*(models(key=key).replace("MetaData()", "MetaData(schema='Odd Sch')") for key in (before, after)))


REFERENCES = {
    "itself": "Column('a', Integer, ForeignKey('things.id'))",
    "another": "Column('a', Integer, ForeignKey('others.id', name='fk_a'))",
    "each other": "Column('a', Integer, ForeignKey('others.id', name='fk_a'))",
}


@pytest.mark.parametrize("keys", REFERENCES)
def test_a_foreign_key_without_a_schema_stays_in_that_of_the_models(
    keys, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    others = 'others = Table("others", metadata, Column("id", Integer, primary_key=True){})\n'
    sibling = models(kind="").replace("__all__ = [", '__all__ = ["others", ') + others.format("")
    theirs = monorepo.service("catalog", sibling, dsn)
    back = ", Column('b', Integer, ForeignKey('things.id', name='fk_b'))" if keys == "each other" else ""
    ours = models(REFERENCES[keys], kind="").replace("__all__ = [", '__all__ = ["others", ') + others.format(back)
    service = monorepo.service("billing", ours.replace("MetaData()", "MetaData(schema='Odd Sch')"), dsn)
    for owner in (theirs, service):
        written(monorepo, owner, "first")
        wait(service_migrations.upgrade(owner))
        _clean(owner)
    leads = "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_constraint k JOIN pg_class c ON c.oid = confrelid"
    assert query(dsn, leads) == [('"Odd Sch"',)]
    wait(service_migrations.downgrade(service, "base"))
    assert query(dsn, leads) == []


def test_nulls_not_distinct_is_seen_where_the_server_has_it_and_one_clear_line_where_not(change, server) -> None:
    before, after = (models(f"UniqueConstraint('number', name='u'{option})") for option in ("", DISTINCT))
    if int(server.version) >= 15:
        up, _ = change(before, after)
        assert "UNIQUE NULLS NOT DISTINCT (number)" in up
    else:
        with pytest.raises(ConfigurationError, match='created on this server: syntax error at or near "NULLS"'):
            change(before, after)


TWO = "Column('m', Integer), UniqueConstraint('id', 'number', name='u')"
REFERS = "ForeignKeyConstraint(['m', 'number'], ['things.id', 'things.number'], name='f', ondelete='{}')"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SET NULL", "SET NULL (m)"),
        ("SET NULL (m)", 'SET NULL ("number")'),
        ("SET DEFAULT(M,number)", "SET DEFAULT (m)"),
    ],
)
def test_the_columns_of_a_foreign_keys_rule_are_seen_where_the_server_has_them(before, after, change, server) -> None:
    steps = [models(TWO, REFERS.format(rule)) for rule in (before, after)]
    if int(server.version) >= 15:
        up, _ = change(*steps)
        assert f"ON DELETE {after}".replace('"', "'") in up
    else:
        with pytest.raises(MigrationError, match=r'syntax error at or near "\("'):
            change(*steps)


def test_a_foreign_key_that_need_not_be_valid_may_be(change, monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    plain, lenient = (
        models("Column('a', Integer)", f"ForeignKeyConstraint({KEY}{option})")
        for option in ("", ", postgresql_not_valid=True")
    )
    dsn = database()
    fresh = monorepo.service("catalog", lenient, dsn)
    written(monorepo, fresh, "first")
    wait(service_migrations.upgrade(fresh))
    _clean(fresh)  # in CREATE TABLE the server takes it as valid
    up, _ = change(models("Column('a', Integer)"), lenient)
    assert "REFERENCES things (id) NOT VALID" in up
    service = monorepo.find("billing")
    remodel(monorepo, service, plain)
    up, _, down = written(monorepo, service, "valid").partition("def downgrade")
    assert "VALIDATE CONSTRAINT f" in up
    assert "drop_constraint" not in up
    assert "NOT VALID" in down
    wait(service_migrations.upgrade(service))
    _clean(service)
    wait(service_migrations.downgrade(service, "-1"))
    assert query(load(service).dsn, "SELECT convalidated FROM pg_constraint WHERE conname = 'f'") == [(False,)]


UNNAMED = """
    Column("a", Integer, CheckConstraint("a > 0"), unique=True, index=True),
    Column("b", Integer, ForeignKey("things.a"), unique=True),
    Column("c", Integer, ForeignKey("things.id")),
    Column("kind", Enum("x:x", "y", native_enum=False, create_constraint=True)),
    UniqueConstraint("a", "b"), CheckConstraint("a > b"), CheckConstraint("a < b", name="less"),
    ExcludeConstraint((column("a"), "="), using="btree")
"""


def test_a_naming_convention_that_comes_later_changes_no_name_of_a_former_revision(
    change, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    head = "from shared_models import NAMING_CONVENTION\n"
    before = head + models(UNNAMED)
    after = before.replace("MetaData()", "MetaData(naming_convention=NAMING_CONVENTION)")
    # with it each CHECK has to have a name
    after = after.replace('"a > 0"', '"a > 0", name="positive"').replace('"a > b"', '"a > b", name="more"')
    after = after.replace("create_constraint=True", 'create_constraint=True, name="kind"')
    up, _ = change(before, after)
    for name in ("things_pkey", "things_b_key", "things_b_fkey", "things_c_fkey", "things_check", "less"):
        assert f"RENAME CONSTRAINT {name} TO " in up
    assert "drop_" not in up
    fresh = database()
    service = monorepo.service("billing", after, fresh)
    wait(service_migrations.upgrade(service))
    _clean(service)


def test_two_foreign_keys_of_one_name_are_one_clear_line(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    keys = (f"ForeignKeyConstraint(['{name}'], ['things.id'], name='f')" for name in ("id", "number"))
    service = monorepo.service("billing", models(*keys), database())
    with pytest.raises(ConfigurationError, match="table things has two foreign keys named f"):
        wait(service_migrations.revision(service, "before"))


def test_an_unnamed_key_gets_another_name_where_an_index_has_its_own(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    renamed = models(kind="").replace('Table("things"', 'Table("former"')
    service = monorepo.service("billing", models(kind=""), database())
    written(monorepo, service, "before")
    parent = wait(service_migrations.upgrade(service)).after[0]
    monorepo.revision("billing", "r2", parent, "op.rename_table('things', 'former')")
    remodel(monorepo, service, renamed)
    wait(service_migrations.upgrade(service))
    _clean(service)
    both = renamed.replace("__all__ = [", '__all__ = ["others", ')
    remodel(monorepo, service, both + 'others = Table("things", metadata, Column("id", Integer, primary_key=True))')
    assert "name=op.f('things_pkey1')" in written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    _clean(service)


def test_an_enum_type_in_a_schema_that_is_the_default_one_is_made_once(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    others = 'others = Table("others", MetaData(), Column("id", Integer, primary_key=True), Column("state", state))\n'
    code = models("schema='public'").replace("__all__ = [", '__all__ = ["others", ') + others
    service = monorepo.service("billing", code, database())
    assert written(monorepo, service, "before").count("CREATE TYPE state") == 1
    wait(service_migrations.upgrade(service))
    _clean(service)


def test_a_column_takes_a_new_enum_type_of_another_schema(change) -> None:
    after = models().replace('name="state")', 'name="state", schema="extra")')
    up, _ = change(models(kind="Text"), after, "CREATE SCHEMA extra")
    assert "ALTER COLUMN state TYPE extra.state USING state::extra.state" in up


@pytest.mark.parametrize(
    "line",
    [
        "Column('many', ARRAY(state), server_default=text(\"ARRAY['new']::extra.state[]\"))",
        "CheckConstraint(\"state <> 'old'::extra.state\", name='ck_things_state')",
    ],
)
def test_a_text_of_the_models_names_a_type_of_another_schema_that_comes_and_then_changes(
    change, monorepo: Monorepo, line: str
) -> None:
    placed = models(line).replace('name="state")', 'name="state", schema="extra")')
    change(models(kind=""), placed, "CREATE SCHEMA extra")
    service = monorepo.find("billing")
    remodel(monorepo, service, placed.replace("'new', 'old', name", "'new', 'old', 'older', name"))
    assert "ADD VALUE" in written(monorepo, service, "older")
    wait(service_migrations.upgrade(service))
    _clean(service)


def test_a_serial_key_becomes_an_identity_and_widens(change) -> None:
    change(models(key="Integer"), models(key="BigInteger, Identity(always=True)"))


@pytest.mark.parametrize(("kind", "widens"), [("bigint", False), ("smallint", True)])
def test_a_sequence_that_was_made_by_hand_has_its_own_type_again(change, kind, widens) -> None:
    up, down = change(models(), models(key="BigInteger"), f"ALTER SEQUENCE things_id_seq AS {kind}")
    assert ("ALTER SEQUENCE things_id_seq AS bigint" in up) == widens
    assert (f"ALTER SEQUENCE things_id_seq AS {kind}" in down) == widens
    assert "AS integer" not in down


def test_a_serial_key_is_widened_with_its_sequence(change) -> None:
    up, _ = change(models(key="Integer"), models(key="BigInteger"))
    assert "ALTER SEQUENCE things_id_seq AS bigint" in up


@pytest.mark.parametrize(
    "lines",
    [
        ("ExcludeConstraint((column('number'), '='), using='btree', name='x')",
         "ExcludeConstraint((column('number'), '='), using='btree', name='y')"),
        ("UniqueConstraint('number', name='x')", "UniqueConstraint('number', name='y')"),
        ("UniqueConstraint('number')", "UniqueConstraint('number')"),
        ("UniqueConstraint('id', name='x')",),
    ],
    ids=["exclusion", "unique", "unnamed", "key"],
)  # fmt: skip
def test_of_constraints_that_say_the_same_the_file_makes_the_one_that_postgresql_makes(
    lines, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    service = monorepo.service("billing", models(*lines), database())
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    _clean(service)


def test_a_role_without_temporary_tables_is_told_and_compared_for_by_name(
    monorepo: Monorepo, database: Callable[..., Dsn], server, caplog
) -> None:
    dsn = database()
    admin = Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password)
    query(admin, f'ALTER DATABASE "{dsn.database}" OWNER TO postgres')
    query(admin, f'REVOKE TEMPORARY ON DATABASE "{dsn.database}" FROM PUBLIC')
    query(admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    query(admin, f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"')
    service = monorepo.service("billing", models(kind=""), dsn)
    monorepo.revision(
        "billing", "r1", None, "op.execute('CREATE TABLE things (id serial PRIMARY KEY, number integer)')"
    )
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert "GRANT TEMPORARY ON DATABASE" in caplog.text
    # SQLAlchemy's queries qualify no operator
    query(admin, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(AccessDeniedError, match="where everybody may create"):
        wait(service_migrations.check(service))


def test_a_read_only_database_is_told_as_such_and_compared_for_by_name(
    monorepo: Monorepo, database: Callable[..., Dsn], server, caplog
) -> None:
    dsn = database()
    admin = Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password)
    query(admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    service = monorepo.service("billing", models(kind=""), dsn)
    query(dsn, "CREATE TABLE things (id serial PRIMARY KEY, number integer)")
    query(admin, f'ALTER DATABASE "{dsn.database}" SET default_transaction_read_only = on')
    wait(service_migrations.check(service))
    assert "the database is read-only here" in caplog.text
    with pytest.raises(ConfigurationError, match="the database is read-only here"):
        wait(service_migrations.revision(service, "Rename it.", renames=["number:amount"]))
    assert "GRANT TEMPORARY" not in caplog.text


@pytest.mark.parametrize(
    "unseen", ["CREATE VIEW v AS SELECT 1", "CREATE SEQUENCE s", "ALTER TABLE things SET (fillfactor = 50)"]
)
def test_what_autogenerate_does_not_see(unseen, monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", models(), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    query(dsn, unseen)
    _clean(service)


def test_a_comparison_leaves_nothing_behind(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", models(*CHECKED), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    before = catalog(dsn)
    remodel(monorepo, service, models(labels=("old",)))
    assert wait(service_migrations.check(service)).differences
    assert catalog(dsn) == before
    assert query(dsn, "SELECT count(*) FROM pg_class WHERE relpersistence = 't'")[0][0] == 0

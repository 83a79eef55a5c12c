"""What a model says of a table besides columns and keys is compared; what it doesn't say is the database's own."""

from collections.abc import Callable, Iterator

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

HEAD = """
from sqlalchemy import *
from shared_models import NAMING_CONVENTION

__all__ = ["metadata"]
metadata = MetaData(naming_convention=NAMING_CONVENTION)
"""
COLUMNS = 'Column("id", Integer, primary_key=True, autoincrement=False), Column("note", Text)'


def table(rest: str = "", name: str = "things") -> str:
    return f'{name} = Table("{name}", metadata, {COLUMNS}, {rest})\n'


OPTIONS = """
SELECT c.relname, c.relpersistence::text, coalesce(array_to_string(c.reloptions, ','), ''),
    coalesce(array_to_string(t.reloptions, ','), ''), coalesce(s.spcname, ''), coalesce(a.amname, '')
FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_am a ON a.oid = c.relam
WHERE c.relnamespace = 'public'::regnamespace AND c.relname ~ 'things|others' AND c.relname !~ 'alembic' ORDER BY 1
"""
COMMENTS = """
SELECT conname, obj_description(oid, 'pg_constraint') FROM pg_constraint
WHERE conrelid = ANY (ARRAY[to_regclass('things'), to_regclass('others')]) AND contype <> 'n' ORDER BY 1
"""


def state(dsn: Dsn) -> tuple[object, ...]:
    return catalog(dsn), [tuple(row) for row in query(dsn, OPTIONS)], [tuple(row) for row in query(dsn, COMMENTS)]


CHECKED = 'CheckConstraint("id > {limit}", name="positive"), '
FOREIGN = 'Column("other", Integer, ForeignKey("things.id"{comment})), {rest}'
CASES = {
    "a parameter that is new": ("", 'postgresql_with={"fillfactor": 70}'),
    "a parameter of another value": ('postgresql_with={"fillfactor": 70}', 'postgresql_with={"fillfactor": 80}'),
    "several parameters, one of them new": (
        'postgresql_with={"fillfactor": 70, "autovacuum_enabled": False}',
        'postgresql_with={"fillfactor": 90, "autovacuum_enabled": True, "parallel_workers": 2}',
    ),
    "a parameter of the TOAST table": ("", 'postgresql_with={"toast.autovacuum_enabled": False}'),
    "to UNLOGGED": ("", 'prefixes=["UNLOGGED"]'),
    "to LOGGED": ('prefixes=["unlogged"]', ""),
}


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


def check_both_ways(monorepo: Monorepo, dsn: Dsn, before: str, after: str) -> str:
    """Lead from models to others and back; return the code of the second revision."""
    service = monorepo.service("shop", HEAD + before, dsn)
    first_upgrade(monorepo, service)
    assert wait(service_migrations.check(service)).differences == ()
    first = state(dsn)
    remodel(monorepo, service, HEAD + after)
    assert wait(service_migrations.check(service)).differences != ()
    code = written(monorepo, service)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    second = state(dsn)
    wait(service_migrations.downgrade(service, "-1"))
    assert state(dsn) == first
    wait(service_migrations.upgrade(service))
    assert state(dsn) == second != first
    return code


@pytest.mark.parametrize("case", CASES)
def test_an_option_that_the_models_name_is_set_in_both_directions(case: str, monorepo: Monorepo, dsn: Dsn) -> None:
    before, after = CASES[case]
    check_both_ways(monorepo, dsn, table(before), table(after))


@pytest.mark.parametrize("logged", [True, False])
def test_tables_that_refer_to_each_other_become_unlogged_in_an_order_that_runs(
    logged: bool, monorepo: Monorepo, dsn: Dsn
) -> None:
    names = ("things", "a_others", "z_others")

    def models(prefix: str) -> str:
        keys = ["", 'ForeignKeyConstraint(["id"], ["things.id"]), ', 'ForeignKeyConstraint(["id"], ["a_others.id"]), ']
        return "".join(table(key + prefix, name) for key, name in zip(keys, names, strict=True))

    pair = models(""), models('prefixes=["UNLOGGED"]')
    before, after = pair if logged else reversed(pair)
    code = check_both_ways(monorepo, dsn, before, after)
    assert "exclusive lock" in code


def test_a_publication_keeps_a_table_logged(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("shop", HEAD + table(), dsn)
    first_upgrade(monorepo, service)
    query(dsn, "CREATE PUBLICATION feed FOR TABLE things")
    remodel(monorepo, service, HEAD + table('prefixes=["UNLOGGED"]'))
    with pytest.raises(service_migrations.MigrationError, match="feed"):
        wait(service_migrations.revision(service, "unlogged"))


PARTITIONED = "CREATE TABLE things (id int, note text, CONSTRAINT pk_things PRIMARY KEY (id)) PARTITION BY HASH (id)"
SILENT = [
    "ALTER TABLE things SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1)",
    "COMMENT ON CONSTRAINT pk_things ON things IS 'by hand'",
    f"DROP TABLE things; {PARTITIONED}",
    "CREATE TABLE parents (note text); ALTER TABLE things INHERIT parents",
]


@pytest.mark.parametrize("sql", SILENT)
def test_an_option_that_the_models_do_not_name_is_the_databases_own(sql: str, monorepo: Monorepo, dsn: Dsn) -> None:
    parents = 'Table("parents", metadata, Column("note", Text))\n' if "parents" in sql else ""
    service = monorepo.service("shop", HEAD + table(), dsn)
    first_upgrade(monorepo, service)
    for statement in sql.split("; "):
        query(dsn, statement)
    remodel(monorepo, service, HEAD + table() + parents)
    assert wait(service_migrations.check(service)).differences == ()


@pytest.mark.parametrize(("stored", "named"), [("off", "False"), ("FALSE", '"off"'), ("no", "False"), ("on", "True")])
def test_a_parameter_of_two_notations_is_one(stored: str, named: str, monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("shop", HEAD + table(f'postgresql_with={{"autovacuum_enabled": {named}}}'), dsn)
    first_upgrade(monorepo, service)
    query(dsn, f"ALTER TABLE things SET (autovacuum_enabled = {stored})")
    assert wait(service_migrations.check(service)).differences == ()


FIXED = {
    "plain to partitioned": ("", 'postgresql_partition_by="RANGE (id)"', "partition it by RANGE"),
    "another key": (
        'postgresql_partition_by="RANGE (id)"',
        'postgresql_partition_by="HASH (id)"',
        "the database by RANGE",
    ),
    "parents": ("", 'postgresql_inherits="others"', "inherit from others"),
    "a partitioned table's log": (
        'postgresql_partition_by="RANGE (id)"',
        'postgresql_partition_by="RANGE (id)", prefixes=["UNLOGGED"]',
        "partitioned",
    ),
}


@pytest.mark.parametrize("case", FIXED)
def test_what_cannot_be_altered_is_reported_and_the_other_tables_are_compared(
    case: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    before, after, reason = FIXED[case]
    others = table(name="others")
    service = monorepo.service("shop", HEAD + others + table(before), dsn)
    first_upgrade(monorepo, service)
    assert wait(service_migrations.check(service)).differences == ()
    remodel(monorepo, service, HEAD + table('Column("more", Integer)', "others") + table(after))
    result = wait(service_migrations.check(service))
    assert len(result.uncompared) == 1
    assert reason in result.uncompared[0].message
    assert result.uncompared[0].path == "services/shop/models.py"
    assert [line for line in result.differences if "more" in str(line)]


def test_a_new_partitioned_table_is_unlogged_only_where_the_server_makes_one(monorepo: Monorepo, dsn: Dsn) -> None:
    unlogged = table('postgresql_partition_by="RANGE (id)", prefixes=["UNLOGGED"]')
    service = monorepo.service("shop", HEAD + table(name="others") + unlogged, dsn)
    uncompared = wait(service_migrations.check(service)).uncompared
    if query(dsn, "SELECT current_setting('server_version_num')::int < 180000") == [(True,)]:
        assert not uncompared
        first_upgrade(monorepo, service)
        assert not wait(service_migrations.check(service)).differences
    else:
        [error] = uncompared
        assert error.message.endswith("it is partitioned and UNLOGGED.")
        first_upgrade(monorepo, service)  # of the others


def test_a_partition_key_of_other_words_is_the_same(monorepo: Monorepo, dsn: Dsn) -> None:
    key = 'postgresql_partition_by="range( ((id+1)) , lower(note) )"'
    models = table(key).replace("primary_key=True, autoincrement=False", "nullable=False")
    service = monorepo.service("shop", HEAD + models, dsn)
    first_upgrade(monorepo, service)
    result = wait(service_migrations.check(service))
    assert (result.differences, result.uncompared) == ((), ())


def commented(comment: str | None, limit: int = 0) -> str:
    """Return tables with a comment on a foreign key, a CHECK and a primary key."""
    text = table(CHECKED.format(limit=limit) + 'UniqueConstraint("note")')
    text += table('ForeignKeyConstraint(["id"], ["things.id"], name="to_things")', "others")
    if comment is not None:
        text += f"for each in [*things.constraints, *others.constraints]:\n    each.comment = {comment!r}\n"
    return text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (commented("it's one"), commented("100 % two")),
        (commented("one"), commented("two", limit=5)),
        (commented("one"), commented("one", limit=5)),
        (commented(None), commented("new")),
        (table(), commented("new")),
        (table(name="third"), table(name="third") + commented("new")),
    ],
    ids=["another text", "both", "another condition", "a first one", "new constraints", "new tables"],
)
def test_the_comment_on_a_constraint_is_that_of_the_models(
    before: str, after: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    check_both_ways(monorepo, dsn, before, after)
    comments = {comment for _, comment in query(dsn, COMMENTS)}
    assert comments == {after.split("each.comment = ")[1].strip().strip("'\"")}


@pytest.fixture
def tablespace(server: Server, dsn: Dsn) -> Iterator[str]:
    name = f"side of {dsn.database}"
    creation = f'CREATE TABLESPACE "{name}" OWNER "{dsn.user}" LOCATION \'\''
    run_script(server.admin, ["SET allow_in_place_tablespaces TO on", creation])
    yield name
    query(dsn, "DROP TABLE things")
    query(server.admin, f'DROP TABLESPACE "{name}"')


def test_a_table_and_an_index_are_moved_to_the_tablespace_that_the_models_name(
    tablespace: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    option, index = f'postgresql_tablespace="{tablespace}"', 'Index("side", "note", {})'
    check_both_ways(monorepo, dsn, table(index.format("")), table(f"{index.format(option)}, {option}"))


def test_the_method_that_a_table_has_already_is_no_difference(monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("shop", HEAD + table('postgresql_using="heap"'), dsn)
    first_upgrade(monorepo, service)
    assert wait(service_migrations.check(service)).differences == ()


NEW_KEYS = {
    "a unique constraint": ('UniqueConstraint("note", name="new")', "UNIQUE constraint"),
    "a unique index": ('Index("new", "note", unique=True)', "UNIQUE constraint"),
    "a primary key": ('PrimaryKeyConstraint("note", name="new")', "PRIMARY KEY constraint"),
}


@pytest.mark.parametrize(("part", "said"), NEW_KEYS.values(), ids=NEW_KEYS)
def test_a_key_that_a_table_partitioned_by_hand_cant_have_is_refused(
    part: str, said: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    """The models don't say how the table is partitioned; the revision was written, and failed when it ran."""
    service = monorepo.service("billing", HEAD + table(), dsn)
    create = "CREATE TABLE things (id integer CONSTRAINT pk_things PRIMARY KEY, note text) PARTITION BY RANGE (id)"
    monorepo.revision("billing", "r1", None, f'op.execute("{create}")', 'op.drop_table("things")')
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    with_key = table(part)
    if "Primary" in part:
        with_key = with_key.replace(", primary_key=True", ", nullable=False")
    remodel(monorepo, service, HEAD + with_key)
    assert wait(service_migrations.check(service)).differences
    with pytest.raises(service_migrations.MigrationError, match=rf"partitioned by RANGE \(id\) in .*{said}.*lacks"):
        wait(service_migrations.revision(service, "refused"))
    remodel(monorepo, service, HEAD + table(part.replace('"note"', '"note", "id"')))
    if "Primary" not in part:
        written(monorepo, service, "whole")
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()

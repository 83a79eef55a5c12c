"""A comparison of many tables: what it asks of the server doesn't grow with them, and nothing is passed over for it."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

import service_migrations
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

MANY = 300

MODELS = """
from sqlalchemy import CheckConstraint, Column, Enum, Index, Integer, MetaData, String, Table, Text, text

__all__ = ["metadata", *(f"t{{number}}" for number in range({count}))]
metadata = MetaData()
for number in range({count}):
    globals()[f"t{{number}}"] = Table(f"t{{number}}", metadata,
        Column("id", Integer, primary_key=True),
        Column("state", Enum("new", "old", name="state"), server_default="new"),
        Column("code", String(9), nullable=False, unique=True, index=number % 2 == 0),
        Column("quantity", Integer, server_default=text("1")),
        CheckConstraint("quantity > 0", name=f"ck_t{{number}}"),
        Index(f"ix_t{{number}}", text("lower(code)")) if number % 3 else Index(f"ix_t{{number}}", "state", "code"),
    )
"""


def made(number: int) -> list[str]:
    unique = "UNIQUE INDEX" if number % 2 == 0 else ""
    constraint = "" if unique else ", UNIQUE (code)"
    index = "lower(code)" if number % 3 else "state, code"
    columns = "id serial PRIMARY KEY, state state DEFAULT 'new', code varchar(9) NOT NULL, quantity integer DEFAULT 1"
    return [
        f"CREATE TABLE t{number} ({columns}, CONSTRAINT ck_t{number} CHECK (quantity > 0){constraint})",
        *([f"CREATE {unique} ix_t{number}_code ON t{number} (code)"] if unique else []),
        f"CREATE INDEX ix_t{number} ON t{number} ({index})",
    ]


@pytest.fixture
def many(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[[int], tuple[Service, Dsn]]:
    """Make a service of so many tables, and its database."""

    def make(count: int) -> tuple[Service, Dsn]:
        dsn = database()
        script = ["CREATE TYPE state AS ENUM ('new', 'old')", *(sql for number in range(count) for sql in made(number))]
        run_script(dsn, script)
        return monorepo.service(f"many{count}", MODELS.format(count=count), dsn), dsn

    return make


@pytest.fixture
def seen() -> "list[tuple[str, int]]":
    """Note each statement that SQLAlchemy sends, and how many locks the session has before a rollback."""
    found: list[tuple[str, int]] = []

    def note(connection: Connection, _: object, statement: str, *__: object) -> None:
        locks = 0
        if statement.startswith("ROLLBACK TO"):
            found.append((statement, 0))
            locks = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
            ).scalar_one()
            found.pop()
        found.append((statement, locks))

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


def test_the_number_of_statements_does_not_grow_with_the_tables(many, seen) -> None:
    few, _ = many(10)
    assert wait(service_migrations.check(few)).differences == ()
    at_first = len(seen)
    lots, _ = many(MANY)
    assert wait(service_migrations.check(lots)).differences == ()
    assert len(seen) - at_first < at_first + MANY / 4


def test_no_more_locks_are_held_at_once_than_a_small_server_has_room_for(many, seen) -> None:
    service, _ = many(MANY)
    assert wait(service_migrations.check(service)).differences == ()
    most = max(locks for _, locks in seen)
    assert 10 < most < 1000  # of the 6400 that there are by default


def test_a_difference_is_found_among_many_tables_and_nothing_is_left_behind(many) -> None:
    service, dsn = many(60)
    run_script(
        dsn,
        [
            "ALTER TABLE t7 ALTER COLUMN quantity SET DEFAULT 2",
            "ALTER TABLE t8 DROP CONSTRAINT ck_t8",
            "DROP INDEX ix_t9",
            "ALTER TABLE t10 ALTER COLUMN code TYPE varchar(10)",
        ],
    )
    before = query(dsn, "SELECT count(*), max(oid::bigint) FROM pg_class")
    differences = wait(service_migrations.check(service)).differences
    assert sorted(line.split(":")[0].split(" on ")[0] for line in differences) == [
        "alter_column t10.code",
        "alter_column t7.quantity",
        "create_check_constraint ck_t8",
        "create_index ix_t9",
    ]
    assert query(dsn, "SELECT count(*), max(oid::bigint) FROM pg_class") == before


VARIANTS = {
    "i1": "CREATE INDEX i1 ON t (code DESC)",
    "i2": "CREATE INDEX i2 ON t (code) INCLUDE (number)",
    "i3": "CREATE INDEX i3 ON t (code) WHERE number > 0",
    "i4": "CREATE INDEX i4 ON t (code text_pattern_ops)",
    "i5": 'CREATE INDEX i5 ON t (code COLLATE "C")',
    "i6": "CREATE UNIQUE INDEX i6 ON t (code)",
    "i7": "CREATE INDEX i7 ON t USING hash (code)",
    "i8": "CREATE INDEX i8 ON t (number, code)",
    "i9": "CREATE INDEX i9 ON t (code) WITH (fillfactor = 50)",
    "u1": "ALTER TABLE t ADD CONSTRAINT u1 UNIQUE (code) DEFERRABLE",
    "u2": "ALTER TABLE t ADD CONSTRAINT u2 UNIQUE (code) INCLUDE (number)",
    "t_pkey": "ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (id, number)",
}
"""Each goes by a name that the models give to something plainer."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_key_or_an_index_that_is_more_than_its_columns_is_seen(
    name: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    parts = [f'Index("{variant}", "code")' for variant in VARIANTS if variant[0] == "i"]
    parts += ['UniqueConstraint("code", name="u1")', 'UniqueConstraint("code", "number", name="u2")']
    models = f"""
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, UniqueConstraint

__all__ = ["t"]
t = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("code", String), Column("number", Integer),
    {", ".join(parts)})
"""
    dsn = database()
    plain = {variant: f"CREATE INDEX {variant} ON t (code)" for variant in VARIANTS if variant[0] == "i"} | {
        "u1": "ALTER TABLE t ADD CONSTRAINT u1 UNIQUE (code)",
        "u2": "ALTER TABLE t ADD CONSTRAINT u2 UNIQUE (code, number)",
        "t_pkey": "ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (id)",
    }
    run_script(dsn, ["CREATE TABLE t (id serial, code varchar, number integer)", *plain.values()])
    service = monorepo.service("billing", models, dsn)
    assert wait(service_migrations.check(service)).differences == ()
    drop = f"DROP INDEX {name}" if name[0] == "i" else f"ALTER TABLE t DROP CONSTRAINT {name}"
    run_script(dsn, [drop, VARIANTS[name]])
    differences = wait(service_migrations.check(service)).differences
    assert any(name in line for line in differences), differences


def test_a_table_that_needs_what_is_only_to_come_is_named_though_a_temporary_table_would_find_it(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    run_script(dsn, ["CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id serial PRIMARY KEY, number int)"])
    models = """
from sqlalchemy import Column, Integer, MetaData, Table, text

__all__ = ["a", "b"]
metadata = MetaData()
a = Table("a", metadata, Column("id", Integer, primary_key=True))
b = Table("b", metadata, Column("id", Integer, primary_key=True),
    Column("number", Integer, server_default=text("nextval('a_id_seq')")))
"""
    (error,) = wait(service_migrations.check(monorepo.service("billing", models, dsn))).uncompared
    assert re.search(r"models' table b can't be created .* \"a_id_seq\" does not exist", str(error))

"""What others have built on a table: a change that it would make fail is refused, and no file is written."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.autogenerate import models, remodel, written
from tests.support.database import query, run_script, wait
from tests.support.monorepo import MODELS, Monorepo

OTHERS = models(kind="").replace('Table("things"', 'Table("others"')
"""Models that no longer have the table ``things``."""

TEXT, NUMBER = "Column('a', String(5), unique=True)", "Column('a', Integer, unique=True)"
ITS_OWN = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
TRIGGER = "CREATE TRIGGER t BEFORE UPDATE OF a ON things FOR EACH ROW EXECUTE FUNCTION f()"
POLICY = "CREATE POLICY p ON things USING (a IS NOT NULL)"
FUNCTION = "CREATE FUNCTION g() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(a) FROM things; END"

KEYS = {
    "table": ("", OTHERS, "int REFERENCES things", "bees_k_fkey of bees needs things, which this would drop"),
    "unique constraint": ("UniqueConstraint('number', name='u')", models(kind=""), "int REFERENCES things (number)",
                          "bees_k_fkey of bees needs u of things, which this would drop"),
    "unique index": ("Index('u', 'number', unique=True)", models(kind=""), "int REFERENCES things (number)",
                     "bees_k_fkey of bees needs u of things, which this would drop"),
    "column": (TEXT, models(kind=""), "varchar(5) REFERENCES things (a)",
               "bees_k_fkey of bees needs things.a, which this would drop"),
    "type": (TEXT, models(NUMBER, kind=""), r"varchar(5) REFERENCES things (a)",
             r"bees_k_fkey of bees can't lead from character varying\(5\) to things.a as integer"),
}  # fmt: skip
"""A part of a table, the models that change it, and a sibling's column with a foreign key to it."""

USERS = {
    "trigger": ([ITS_OWN, TRIGGER], "trigger t on public.things uses things.a"),
    "policy": ([POLICY], "policy p on public.things uses things.a"),
    "function": ([FUNCTION], r"function public.g\(\) uses things.a"),
    "view": (["CREATE VIEW v AS SELECT a FROM things"], "view public.v uses things.a"),
    "materialized view": (["CREATE MATERIALIZED VIEW v AS SELECT a FROM things"], "materialized view public.v uses "),
    "rule": (["CREATE RULE r AS ON DELETE TO things WHERE old.a = 'x' DO INSTEAD NOTHING"],
             "rule r on public.things uses things.a"),
}  # fmt: skip


@pytest.fixture
def built(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., Service]:
    """Migrate billing to its models, run what others did by hand, and write billing's next models."""
    dsn = database()

    def go(before: str, after: str, *statements: str) -> Service:
        service = monorepo.service("billing", before, dsn)
        monorepo.service("hive", MODELS.format(table="bees"), dsn)
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        run_script(dsn, list(statements))
        remodel(monorepo, service, after)
        return service

    return go


def refused(service: Service, match: str) -> None:
    with pytest.raises(UsageError, match=f"^billing: the {match}"):
        wait(service_migrations.revision(service, "after"))
    assert len(list(service.versions.glob("*.py"))) == 1
    assert wait(service_migrations.check(service)).differences


@pytest.mark.parametrize(("line", "after", "column", "said"), KEYS.values(), ids=KEYS)
def test_what_a_siblings_foreign_key_needs_is_neither_dropped_nor_given_another_type(
    line: str, after: str, column: str, said: str, built: Callable[..., Service]
) -> None:
    service = built(models(*([line] if line else []), kind=""), after, f"CREATE TABLE bees (k {column})")
    refused(service, f"foreign key {said}.*`inv db.owners`")


@pytest.mark.parametrize("after", ["String(9)", "Text"])
def test_a_type_that_a_siblings_foreign_key_can_still_lead_to_is_changed(
    after: str, built: Callable[..., Service], monorepo: Monorepo
) -> None:
    models_after = models(TEXT.replace("String(5)", after), kind="", key="BigInteger")
    service = built(
        models(TEXT, kind=""),
        models_after,
        "CREATE TABLE bees (k varchar(5) REFERENCES things (a), l int REFERENCES things)",
    )
    assert "existing_type=sa.Integer(), type_=sa.BigInteger()" in " ".join(written(monorepo, service, "after").split())
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


@pytest.mark.parametrize("after", [models(NUMBER, kind=""), models(kind="")], ids=["type", "drop"])
@pytest.mark.parametrize(("statements", "said"), USERS.values(), ids=USERS)
def test_a_column_that_something_else_names_is_neither_dropped_nor_given_another_type(
    statements: list[str], said: str, after: str, built: Callable[..., Service]
) -> None:
    refused(built(models(TEXT, kind=""), after, *statements), f"{said}.*--empty")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW v AS SELECT 1 FROM things",
        "CREATE TABLE bees (k int); CREATE POLICY p ON bees USING (EXISTS (SELECT FROM things))",
    ],
    ids=["view", "policy"],
)
def test_a_table_that_something_else_names_is_not_dropped(statement: str, built: Callable[..., Service]) -> None:
    refused(built(models(kind=""), OTHERS, *statement.split("; ")), "(view|policy) .* uses things.*--empty")


def test_a_table_that_another_inherits_from_is_not_dropped(built: Callable[..., Service]) -> None:
    service = built(models(kind=""), OTHERS, "CREATE TABLE child (x int) INHERITS (things)")
    refused(service, ".*table public.child uses things.*--empty")


def test_a_dropped_table_takes_along_what_is_on_it(built: Callable[..., Service], monorepo: Monorepo) -> None:
    service = built(models(TEXT, kind=""), OTHERS, ITS_OWN, TRIGGER, POLICY, *USERS["rule"][0])
    written(monorepo, service, "after")
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


LOG = """log = Table("log", metadata, Column("id", Integer, primary_key=True), schema="audit")\n"""
IN_A_SCHEMA = {
    "table": models(kind="").replace("__all__ = [", '__all__ = ["log", ') + LOG,
    "type": models("Column('x', Enum('x', name='kind', schema='audit'))", kind=""),
}


@pytest.mark.parametrize("after", IN_A_SCHEMA.values(), ids=IN_A_SCHEMA)
def test_a_schema_that_is_not_there_is_made_first_and_left_by_the_downgrade(
    after: str, built: Callable[..., Service], monorepo: Monorepo
) -> None:
    service = built(models(kind=""), after)
    dsn = load(service).dsn
    assert "create_schema audit" in wait(service_migrations.check(service)).differences
    code = written(monorepo, service, "after")
    assert (code.count("CREATE SCHEMA IF NOT EXISTS audit"), code.count("DROP SCHEMA")) == (1, 0)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert len(query(dsn, "SELECT FROM pg_namespace WHERE nspname = 'audit'")) == 1
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


WITH_A = models("Column('a', String(5), nullable=False)", kind="")
AS_TEXT, WITHOUT_A = models("Column('a', Integer, nullable=False)", kind=""), models(kind="")
NULLABLE = models("Column('a', String(5))", kind="")
SINCE_15 = {"publication of columns", "publication of rows"}
COLUMN_USERS = {
    "publication of columns": (["CREATE PUBLICATION p FOR TABLE things (id, a)"], "things in publication p"),
    "publication of rows": (["CREATE PUBLICATION p FOR TABLE things WHERE (a = 'x')"], "things in publication p"),
    "row type": (["CREATE TABLE bees (t things)"], "bees.t"),
    "row type in an array": (["CREATE TABLE bees (t things[])"], "bees.t"),
    "row type in a composite type": (["CREATE TYPE c AS (t things)", "CREATE TABLE bees (c c)"], "bees.c"),
    "WHEN of a trigger": (
        [ITS_OWN, "CREATE TRIGGER t BEFORE UPDATE ON things FOR EACH ROW WHEN (new.a = 'x') EXECUTE FUNCTION f()"],
        "trigger t on public.things",
    ),
    "policy of another table": (
        ["CREATE TABLE bees (k text)", "CREATE POLICY p ON bees USING (EXISTS (SELECT FROM things WHERE a = k))"],
        "policy p on public.bees",
    ),
    "rule of another table": (
        ["CREATE TABLE bees (k text)", "CREATE RULE r AS ON INSERT TO bees DO ALSO DELETE FROM things WHERE a = new.k"],
        "rule r on public.bees",
    ),
    "statement of a function": (
        ["CREATE FUNCTION g() RETURNS void LANGUAGE sql BEGIN ATOMIC UPDATE things SET a = 'x'; END"],
        r"function public.g\(\)",
    ),
}
DROPS = COLUMN_USERS.keys() - {"row type", "row type in an array", "row type in a composite type"}
"""What keeps a column from being dropped too: a row type only forbids a rewrite."""
ALLOWED = [
    "CREATE STATISTICS s ON id, a FROM things",
    "CREATE INDEX i ON things (lower(a))",
    "CREATE PUBLICATION p FOR TABLE things",
    "CREATE VIEW v AS SELECT id FROM things",
    "CREATE FUNCTION g(t things) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE POLICY p ON things USING (id > 0)",
    "GRANT SELECT (a) ON things TO PUBLIC",
]


@pytest.mark.parametrize("after", [AS_TEXT, WITHOUT_A], ids=["type", "drop"])
@pytest.mark.parametrize("user", COLUMN_USERS)
def test_what_uses_a_column_stops_the_revision(
    user: str, after: str, built: Callable[..., Service], server: Server
) -> None:
    if user in SINCE_15 and int(server.version) < 15:
        pytest.skip("PostgreSQL 15 and later")
    statements, name = COLUMN_USERS[user]
    service = built(WITH_A, after, *statements)
    if after == WITHOUT_A and user not in DROPS:
        wait(service_migrations.revision(service, "after"))
        wait(service_migrations.upgrade(service))
    else:
        refused(service, f".*{name}.* uses things.a")


@pytest.mark.parametrize("after", [AS_TEXT, WITHOUT_A], ids=["type", "drop"])
@pytest.mark.parametrize("statement", ALLOWED)
def test_what_postgresql_drops_or_rebuilds_itself_stops_nothing(
    statement: str, after: str, built: Callable[..., Service]
) -> None:
    service = built(WITH_A, after, statement)
    if "INDEX" in statement:  # no model has it: it is dropped
        statement = ""
    wait(service_migrations.revision(service, "after"))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


def partitioned(key: str, column: str) -> str:
    columns = f"Column('at', Integer, nullable=False), {column} postgresql_partition_by={key!r}"
    return models(columns, kind="").replace('Column("id", Integer, primary_key=True)', 'Column("id", Integer)')


@pytest.mark.parametrize("after", ["Column('a', String(9)),", "Column('a', Integer),", ""])
@pytest.mark.parametrize("key", ["LIST (a)", "RANGE (at, a)", "RANGE ((lower(a)), at)"])
def test_a_column_of_the_partition_key_stays_as_it_is(key: str, after: str, built: Callable[..., Service]) -> None:
    before = partitioned(key, "Column('a', String(5)),")
    service = built(before, partitioned("RANGE (at)" if not after else key.replace("lower(a)", "at")
                                        if "Integer" in after else key, after))  # fmt: skip
    if after and not ("Integer" in after and "lower" in key):
        refused(service, "partition key public.things uses things.a")
    else:  # the key differs too
        with pytest.raises(ConfigurationError, match="the models partition it by"):
            wait(service_migrations.revision(service, "after"))


def test_a_partition_may_be_in_the_way(built: Callable[..., Service]) -> None:
    before, after = (partitioned("RANGE (at)", f"Column('a', String({length})),") for length in (5, 9))
    partition = "CREATE TABLE things_1 PARTITION OF things FOR VALUES FROM (1) TO (9)"
    sub = f"{partition} PARTITION BY LIST (a)"
    refused(built(before, after, sub), "partition key public.things_1 uses things.a")


def test_a_view_of_a_partition_is_in_the_way(built: Callable[..., Service]) -> None:
    before, after = (partitioned("RANGE (at)", f"Column('a', String({length})),") for length in (5, 9))
    partition = "CREATE TABLE things_1 PARTITION OF things FOR VALUES FROM (1) TO (9)"
    refused(built(before, after, partition, "CREATE VIEW v AS SELECT a FROM things_1"), "view public.v uses things.a")


PARTS = {
    "key of a grouped view": (models(kind=""), models(kind="").replace(", primary_key=True", ", nullable=False"),
        ["CREATE VIEW v AS SELECT id, number FROM things GROUP BY id"], "view public.v uses things_pkey of things"),
    "constraint that a function names": (models("UniqueConstraint('number', name='u')", kind=""), models(kind=""),
        [("CREATE FUNCTION g() RETURNS void LANGUAGE sql BEGIN ATOMIC INSERT INTO things (number) VALUES (1) "
         "ON CONFLICT ON CONSTRAINT u DO NOTHING; END")], r"function public.g\(\) uses u of things"),
    "sequence of a dropped table": (models(kind=""), OTHERS,
        ["CREATE TABLE bees (k int DEFAULT nextval('things_id_seq'))"], "default value for public.bees.k uses things"),
    "sequence": (models(kind=""), models(kind="").replace("primary_key=True", "primary_key=True, autoincrement=False"),
        ["CREATE TABLE bees (k int DEFAULT nextval('things_id_seq'))"],
        "default value for public.bees.k uses the sequence of things.id"),
    "row type of a dropped table": (models(kind=""), OTHERS, ["CREATE TABLE bees (t things)"],
        "table column public.bees.t uses things"),
    "argument of a dropped table": (models(kind=""), OTHERS,
        ["CREATE FUNCTION g(t things) RETURNS int LANGUAGE sql AS 'SELECT 1'"], r"function public.g\(.*\) uses things"),
    "child of a dropped table": (models(kind=""), OTHERS, ["CREATE TABLE bees () INHERITS (things)"],
        ".*table public.bees uses things"),
    "replica identity": (WITH_A, NULLABLE,
        ["CREATE UNIQUE INDEX i ON things (a)", "ALTER TABLE things REPLICA IDENTITY USING INDEX i"], None),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "statements", "name"), PARTS.values(), ids=PARTS)
def test_what_uses_a_part_stops_the_revision(
    before: str, after: str, statements: list[str], name: str | None, built: Callable[..., Service]
) -> None:
    service = built(before, after, *statements)
    if name is None:  # the index is dropped, since no model has it
        wait(service_migrations.revision(service, "after"))
        wait(service_migrations.upgrade(service))
    else:
        refused(service, name)


def test_the_index_of_the_replica_identity_keeps_its_columns_not_null(built: Callable[..., Service]) -> None:
    index = "Index('i', 'a', unique=True)"
    before, after = (
        models(f"Column('a', String(5), nullable={nullable})", index, kind="") for nullable in (False, True)
    )
    service = built(before, after, "ALTER TABLE things REPLICA IDENTITY USING INDEX i")
    refused(service, "replica identity public.i uses things.a")


def test_the_index_of_the_replica_identity_stops_no_change_that_keeps_its_columns_not_null(
    built: Callable[..., Service],
) -> None:
    lines = "Column('a', String(5), nullable=False)", "Index('i', 'a', unique=True)"
    before, after = (models(*lines, *more, kind="") for more in ((), ("Column('b', Integer)",)))
    service = built(before, after, "ALTER TABLE things REPLICA IDENTITY USING INDEX i")
    wait(service_migrations.revision(service, "after"))
    wait(service_migrations.upgrade(service))


UNLOGGED = "prefixes=['UNLOGGED']"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE PUBLICATION p FOR TABLE things", "publication p uses things, which becomes UNLOGGED"),
        (
            "CREATE TABLE bees (k int REFERENCES things)",
            "foreign key bees_k_fkey of bees needs things as a logged table",
        ),
    ],
)
def test_a_table_that_has_to_be_logged_does_not_become_unlogged(
    statement: str, said: str, built: Callable[..., Service]
) -> None:
    refused(built(models(kind=""), models(UNLOGGED, kind=""), statement), said)


def test_a_foreign_key_to_a_table_that_is_unlogged_stops_nothing(built: Callable[..., Service]) -> None:
    before, after = models(UNLOGGED, kind=""), models("Column('b', Integer)", UNLOGGED, kind="")
    service = built(before, after, "CREATE UNLOGGED TABLE bees (k int REFERENCES things)")
    wait(service_migrations.revision(service, "after"))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


def test_a_type_that_another_services_table_uses_is_not_recreated(built: Callable[..., Service]) -> None:
    service = built(models(), models(labels=("new",)), "CREATE TABLE bees (s state)")
    refused(service, r"type \S*state has to be recreated, and bees, which isn't ours, uses it.*Agree on it")


def test_a_type_that_another_services_table_uses_gets_a_label(built: Callable[..., Service]) -> None:
    service = built(models(), models(labels=("new", "old", "more")), "CREATE TABLE bees (s state)")
    wait(service_migrations.revision(service, "after"))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


ROW_TYPES = {
    "column": ["CREATE TABLE bees (t things)"],
    "array": ["CREATE TABLE bees (t things[])"],
    "domain": ["CREATE DOMAIN d AS things", "CREATE TABLE bees (t d)"],
    "composite type": ["CREATE TYPE c AS (t things)", "CREATE TABLE bees (t c)"],
    "index": ["CREATE TABLE bees (k int)", "CREATE INDEX t ON bees ((NULL::things))"],
    "materialized view": ["CREATE MATERIALIZED VIEW bees AS SELECT NULL::things AS t"],
}
FILLED = {
    "default": "Column('b', Integer, server_default='5')",
    "identity": "Column('b', Integer, Identity())",
    "stored column": "Column('b', Integer, Computed('id', persisted=True))",
    "domain with a CHECK": "Column('b', DOMAIN('upper', Integer, create_type=False))",
}
VALUES_AND_USERS = [("default", users) for users in ROW_TYPES] + [(line, "column") for line in list(FILLED)[1:]]
NOT_FILLED = {
    "no default": "Column('b', Integer)",
    "domain": "Column('b', DOMAIN('bare', Integer, create_type=False))",
    "index": "Index('i', 'number')",
    "NOT NULL": "CheckConstraint('id > 0', name='c')",
}
CREATE_DOMAINS = [
    "CREATE DOMAIN lower AS int CHECK (VALUE > 0)", "CREATE DOMAIN upper AS lower", "CREATE DOMAIN bare AS int",
]  # fmt: skip


def with_domains(line: str) -> str:
    return models(line, kind="").replace("import ARRAY,", "import ARRAY, DOMAIN,")


@pytest.mark.parametrize(("line", "users"), VALUES_AND_USERS)
def test_a_table_whose_row_type_is_stored_gets_no_column_with_a_value(
    line: str, users: str, built: Callable[..., Service]
) -> None:
    service = built(models(kind=""), with_domains(FILLED[line]), *CREATE_DOMAINS, *ROW_TYPES[users])
    refused(service, r".*(bees(\.t)?|public\.t\.things) uses things, whose rows get a value of b")


@pytest.mark.parametrize("line", NOT_FILLED.values(), ids=NOT_FILLED)
def test_a_table_whose_row_type_is_stored_gets_what_needs_no_value(line: str, built: Callable[..., Service]) -> None:
    service = built(models(kind=""), with_domains(line), *CREATE_DOMAINS, *ROW_TYPES["column"])
    wait(service_migrations.revision(service, "after"))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


def test_a_table_without_a_stored_row_type_gets_any_column(built: Callable[..., Service]) -> None:
    service = built(models(kind=""), with_domains(", ".join(FILLED.values()).replace("'b'", "'{}'").format(*"bcde")),
                    *CREATE_DOMAINS, "CREATE FUNCTION g(t things) RETURNS int LANGUAGE sql AS 'SELECT 1'")  # fmt: skip
    wait(service_migrations.revision(service, "after"))
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


def test_a_typed_table_keeps_its_columns(built: Callable[..., Service]) -> None:
    before, after = models(kind=""), models("Column('b', Integer)", kind="")
    service = built(before, after, "ALTER TABLE things ALTER id DROP DEFAULT", "DROP SEQUENCE things_id_seq",
                    "CREATE TYPE thing AS (id int, number int)", "ALTER TABLE things OF thing")  # fmt: skip
    refused(service, ".*thing uses things")

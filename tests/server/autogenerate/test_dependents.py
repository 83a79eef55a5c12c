"""What others have built on a table: a change that it would make fail is refused, and no file is written."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.monorepo import Service
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
    assert "TYPE bigint" in written(monorepo, service, "after")
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
    refused(service, "table child inherits from things.*--empty")


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

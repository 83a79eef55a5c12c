"""A database that was migrated with another version table never looks empty."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import MODELS, Monorepo, dsn_text

ONE_SERVICE = ("--service", "billing")
READING = [
    ("db.status",),
    ("db.current", *ONE_SERVICE),
    ("db.plan", *ONE_SERVICE),
    ("db.check", *ONE_SERVICE),
    ("db.drift", *ONE_SERVICE),
    ("db.doctor",),
    ("db.wait", *ONE_SERVICE, "--head", "--timeout", "20s"),
    ("db.revision", *ONE_SERVICE, "-m", "More."),
]
CHANGING = [
    ("db.upgrade", *ONE_SERVICE),
    ("db.upgrade",),
    ("db.downgrade", *ONE_SERVICE, "--revision", "base", "--yes"),
]
COMMANDS = [*READING, *CHANGING]
ALEMBIC = Path(sys.executable).with_name("alembic")
SALES = (
    MODELS.format(table="billing")
    .replace(
        "class Base(DeclarativeBase):\n    pass",
        "class Base(DeclarativeBase):\n    metadata = MetaData(schema='sales')",
    )
    .replace("import String", "import MetaData, String")
)

EVIL = (
    "CREATE FUNCTION public.evil() RETURNS bool LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END'"
)


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database(creates=True)


@pytest.fixture
def world(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    """A service at its head a2, before it came here, with a second one, so that there is a fast path."""
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "a2", "a1", 'op.execute("DELETE FROM billing")')
    monorepo.service("billing", dsn=dsn)
    monorepo.service("catalog", dsn=dsn)
    monorepo.table_revision("catalog", "a1", None)
    for statement in (
        "CREATE TABLE billing (id serial PRIMARY KEY, name varchar(50) NOT NULL)",
        "INSERT INTO billing (name) VALUES ('kept')",
    ):
        query(dsn, statement)
    return monorepo


def table(monorepo: Monorepo, name: str = "billing", **values: str) -> None:
    """Write the table of one service."""
    lines = [f"\n[tool.service-migrations.service.{name}]", *(f'{key} = "{value}"' for key, value in values.items())]
    with (monorepo.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))


def alembic(monorepo: Monorepo, *words: str) -> subprocess.CompletedProcess[str]:
    command = [ALEMBIC, "-x", "service=billing", *words]
    return subprocess.run(command, cwd=monorepo.root, capture_output=True, text=True, check=False, timeout=60)


def plain(dsn: Dsn, name: str = "public.alembic_version", *ids: str) -> None:
    """Make the version table as Alembic makes it."""
    schema = name.rpartition(".")[0]
    if schema and schema != "public":
        query(dsn, f"CREATE SCHEMA IF NOT EXISTS {schema}")
    query(dsn, f"CREATE TABLE {name} (version_num varchar(32) NOT NULL PRIMARY KEY)")
    for revision in ids or ("a2",):
        query(dsn, f"INSERT INTO {name} VALUES ($1)", revision)  # noqa: S608


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_names_the_table_the_revision_and_both_ways(
    world: Monorepo, dsn: Dsn, words: tuple[str, ...]
) -> None:
    plain(dsn)
    before = tables(dsn)
    ran = world.inv(*words)
    assert ran.code == 78, ran.text
    for part in (
        "public.alembic_version holds a2 of this history",
        'version_table = "alembic_version"',
        "[tool.service-migrations.service.billing] of pyproject.toml",
        "inv db.stamp --service billing --revision a2",
    ):
        assert part in ran.text, ran.text
    assert "Traceback" not in ran.text
    assert tables(dsn) - {"catalog", "alembic_version_catalog", "migration_log_catalog"} == before
    assert query(dsn, "SELECT name FROM billing") == [("kept",)]


@pytest.mark.parametrize("words", [READING[0], CHANGING[0]], ids=" ".join)
def test_an_empty_version_table_is_as_none(world: Monorepo, dsn: Dsn, words: tuple[str, ...]) -> None:
    plain(dsn)
    plain(dsn, "alembic_version_billing")
    query(dsn, "DELETE FROM alembic_version_billing")
    ran = world.inv(*words)
    assert (ran.code, "public.alembic_version holds a2 of this history" in ran.text) == (78, True), ran.text
    assert "public.alembic_version_billing is empty" in ran.text


@pytest.mark.parametrize("words", [("upgrade", "head"), ("current",), ("check",), ("downgrade", "base")], ids=" ".join)
def test_plain_alembic_says_so_too(world: Monorepo, dsn: Dsn, words: tuple[str, ...]) -> None:
    plain(dsn)
    ran = alembic(world, *words)
    assert ran.returncode != 0
    assert "public.alembic_version holds a2 of this history" in ran.stdout + ran.stderr
    assert query(dsn, "SELECT name FROM billing") == [("kept",)]


FORMS = {
    "another name": "CREATE TABLE migrations_done (version_num varchar(32) PRIMARY KEY)",
    "without a key": "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
    "text": "CREATE TABLE alembic_version (version_num text)",
    "more columns": "CREATE TABLE alembic_version (at timestamptz DEFAULT now(), version_num varchar(99) PRIMARY KEY)",
    "another schema": "CREATE TABLE ops.alembic_version (version_num varchar(32) PRIMARY KEY)",
    "a name to quote": 'CREATE TABLE ops."Alembic Version" (version_num varchar(32) PRIMARY KEY)',
    "after a column was dropped": "CREATE TABLE alembic_version (version_num varchar(32), x int)",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_table_counts_and_not_its_name(world: Monorepo, dsn: Dsn, form: str) -> None:
    query(dsn, "CREATE SCHEMA ops")
    query(dsn, FORMS[form])
    if "dropped" in form:
        query(dsn, "ALTER TABLE alembic_version DROP COLUMN x")
    name = FORMS[form].split(" (")[0].removeprefix("CREATE TABLE ")
    query(dsn, f"INSERT INTO {name} (version_num) VALUES ($1), ($2)", "a1", "other")  # noqa: S608
    ran = world.inv("db.upgrade", *ONE_SERVICE)
    assert (ran.code, "holds a1 of this history" in ran.text) == (78, True), ran.text
    assert ('version_table_schema = "ops"' in ran.text) == ("ops." in name)


LEGITIMATE = {
    "another application's": "CREATE TABLE alembic_version (version_num) AS SELECT 'f00'::varchar",
    "a number": "CREATE TABLE alembic_version (version_num) AS SELECT 1",
    "a column among others": "CREATE TABLE documents (id, version_num) AS SELECT 1, 'a1'::varchar",
    "a view": "CREATE VIEW alembic_version AS SELECT 'a1'::varchar AS version_num",
    "a siblings": "CREATE TABLE alembic_version_catalog (version_num) AS SELECT 'a1'::varchar",
}


@pytest.mark.parametrize("form", LEGITIMATE)
def test_a_new_database_beside_other_tables_is_at_base(
    monorepo: Monorepo, database: Callable[..., Dsn], dsn: Dsn, form: str
) -> None:
    monorepo.service("billing", dsn=dsn)
    monorepo.service("catalog", dsn=database(shared=dsn) if "sibling" in form else database())
    monorepo.table_revision("billing", "a1", None)
    query(dsn, LEGITIMATE[form])
    assert '"state": "behind"' in monorepo.inv("db.status", "--json", *ONE_SERVICE).out
    ran = monorepo.inv("db.upgrade", *ONE_SERVICE)
    assert ran.code == 0, ran.text
    assert query(dsn, "SELECT * FROM alembic_version_billing") == [("a1",)]


def test_the_version_table_of_the_settings_is_the_one_way(world: Monorepo, dsn: Dsn) -> None:
    plain(dsn)
    table(world, version_table="alembic_version")
    query(dsn, "INSERT INTO billing (name) VALUES ('second')")
    for words in (("db.status", *ONE_SERVICE), ("db.upgrade", *ONE_SERVICE), ("db.check", *ONE_SERVICE)):
        ran = world.inv(*words)
        assert ran.code == 0, ran.text
    assert len(query(dsn, "SELECT FROM billing")) == 2
    assert "alembic_version_billing" not in tables(dsn)


@pytest.mark.parametrize("purge", [(), ("--purge",)])
def test_a_stamp_is_the_other_way_and_the_old_table_is_then_only_a_finding(
    world: Monorepo, dsn: Dsn, purge: tuple[str, ...]
) -> None:
    plain(dsn, "public.alembic_version", "a1")
    ran = world.inv("db.stamp", *ONE_SERVICE, "--revision", "a1", "--yes", *purge)
    assert ran.code == 0, ran.text
    ran = world.inv("db.upgrade", *ONE_SERVICE)
    assert ran.code == 0, ran.text
    assert query(dsn, "SELECT * FROM alembic_version_billing") == [("a2",)]
    assert query(dsn, "SELECT * FROM alembic_version") == [("a1",)]
    ran = world.inv("db.doctor", *ONE_SERVICE)
    assert "public.alembic_version holds a1 of this history" in ran.text
    assert world.inv("db.status", *ONE_SERVICE).code == 0


def test_a_stamp_of_plain_alembic_is_a_way_too(world: Monorepo, dsn: Dsn) -> None:
    plain(dsn)
    ran = alembic(world, "stamp", "head")
    assert ran.returncode == 0, ran.stderr
    assert query(dsn, "SELECT * FROM alembic_version_billing") == [("a2",)]


def test_policies_are_seen_before_a_row_is_read(world: Monorepo, database: Callable[..., Dsn], dsn: Dsn) -> None:
    other = database(shared=dsn)
    for statement in (
        "CREATE TABLE public.ran (who name)",
        "GRANT ALL ON public.ran TO PUBLIC",
        EVIL,
        "CREATE TABLE public.alembic_version (version_num varchar(32))",
        "INSERT INTO public.alembic_version VALUES ('a2')",
        "ALTER TABLE public.alembic_version ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON public.alembic_version USING (public.evil())",
        "GRANT ALL ON public.alembic_version TO PUBLIC",
    ):
        query(other, statement)
    for words in (READING[0], READING[1], CHANGING[0]):
        ran = world.inv(*words)
        assert (ran.code, "row level security" in ran.text) == (78, True), ran.text
    assert query(dsn, "SELECT FROM public.ran") == []


@pytest.mark.parametrize("settled", [False, True])
def test_a_table_that_may_not_be_read_is_refused_unless_a_setting_names_the_schema(
    monorepo: Monorepo, database: Callable[..., Dsn], dsn: Dsn, settled: bool
) -> None:
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    plain(database(shared=dsn), "public.alembic_version", "a1")
    if settled:
        table(monorepo, version_table_schema="public")
    ran = monorepo.inv("db.upgrade", *ONE_SERVICE)
    assert ran.code == (0 if settled else 77), ran.text
    if not settled:
        assert "GRANT SELECT ON public.alembic_version" in ran.text
        assert "version_table_schema" in ran.text


# The schema of the version table


@pytest.fixture
def sales(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    """Models in a schema of their own, which the history creates, and the version table in public."""
    monorepo.service("billing", SALES, dsn=dsn)
    monorepo.revision(
        "billing",
        "a1",
        None,
        'op.execute("CREATE SCHEMA sales")\n'
        'op.create_table("billing", sa.Column("id", sa.Integer, primary_key=True), '
        'sa.Column("name", sa.String(50), nullable=False), schema="sales")',
        'op.drop_table("billing", schema="sales")\nop.execute("DROP SCHEMA sales")',
    )
    return monorepo


@pytest.mark.parametrize("words", [READING[0], READING[3], *CHANGING[:2]], ids=" ".join)
@pytest.mark.parametrize("named", [False, True], ids=["no setting", "the setting of its name"])
def test_the_version_table_of_another_schema_is_named_with_the_setting(
    sales: Monorepo, dsn: Dsn, words: tuple[str, ...], named: bool
) -> None:
    plain(dsn, "public.alembic_version", "a1")
    if named:
        sales.env("billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_VERSION_TABLE="alembic_version")
    ran = sales.inv(*words)
    assert ran.code == 78, ran.text
    assert "public.alembic_version" in ran.text
    assert "version_table_schema" in ran.text
    assert tables(dsn) == {"alembic_version"}


def test_with_its_schema_every_command_has_the_version_table(sales: Monorepo, dsn: Dsn) -> None:
    table(sales, version_table="alembic_version", version_table_schema="public")
    sql = sales.inv("db.upgrade", *ONE_SERVICE, "--sql").out
    assert "CREATE TABLE public.alembic_version" in sql
    assert "CREATE SCHEMA IF NOT EXISTS" not in sql
    assert sales.inv("db.plan", *ONE_SERVICE).code == 0
    ran = sales.inv("db.upgrade", *ONE_SERVICE)
    assert ran.code == 0, ran.text
    assert query(
        dsn, "SELECT to_regclass('public.alembic_version')::text, to_regclass('public.migration_log_billing')::text"
    ) == [("alembic_version", "migration_log_billing")]
    for words in READING:
        ran = sales.inv(*words)
        assert ran.code == 0, ran.text
    assert "nothing to do" in sales.inv("db.upgrade").out
    owned = sales.inv("db.owners").out
    assert "nobody" not in owned
    for command in (("current",), ("check",), ("upgrade", "head")):
        run = alembic(sales, *command)
        assert run.returncode == 0, run.stderr
    assert sales.inv("db.downgrade", *ONE_SERVICE, "--revision", "base", "--yes").code == 0
    assert query(dsn, "SELECT * FROM alembic_version") == []


def test_a_first_revision_creates_the_schema_of_the_models_where_the_version_table_has_another(
    monorepo: Monorepo, dsn: Dsn
) -> None:
    monorepo.service("billing", SALES, dsn=dsn)
    table(monorepo, version_table_schema="bookkeeping")
    (monorepo.root / "migrations" / "versions" / "billing").mkdir(parents=True)
    ran = monorepo.inv("db.revision", *ONE_SERVICE, "-m", "First.")
    assert ran.code == 0, ran.text
    for words in (("db.upgrade", *ONE_SERVICE), ("db.check", *ONE_SERVICE), ("db.drift", *ONE_SERVICE)):
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text
    schemas = query(
        dsn, "SELECT relname, relnamespace::regnamespace::text FROM pg_class WHERE relname ~ 'version_b|^billing$'"
    )
    assert {("billing", "sales"), ("alembic_version_billing", "bookkeeping")} <= set(schemas)


@pytest.mark.parametrize("held", [False, True], ids=["of another history", "of this history"])
def test_a_namesake_in_another_schema_is_refused_where_it_holds_this_history(
    sales: Monorepo, dsn: Dsn, held: bool
) -> None:
    table(sales, version_table="alembic_version", version_table_schema="public")
    plain(dsn, "app.alembic_version", "a1" if held else "f00")
    for words in (("db.upgrade", *ONE_SERVICE), ("db.status",), ("db.upgrade",), ("db.check", *ONE_SERVICE)):
        ran = sales.inv(*words)
        assert ran.code == (78 if held else 0), ran.text
        assert ("app.alembic_version holds a1" in ran.text) == held


def test_a_namesake_in_a_schema_that_the_role_may_not_use_stops_nothing(
    sales: Monorepo, database: Callable[..., Dsn], dsn: Dsn
) -> None:
    """As where two services share a database, each with a role and a schema that the other one doesn't see."""
    table(sales, version_table="alembic_version", version_table_schema="public")
    other = database(shared=dsn)
    query(dsn, f'GRANT CREATE ON DATABASE "{dsn.database}" TO "{other.user}"')
    plain(other, "private.alembic_version", "a1")
    for words in (("db.status",), ("db.upgrade",), *READING[1:-1]):
        ran = sales.inv(*words)
        assert ran.code == 0, ran.text


def test_services_with_databases_of_their_own_may_all_have_one_name(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    path = monorepo.root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("[tool.service-migrations]\n", '[tool.service-migrations]\nversion_table = "alembic_version"\n'),
        encoding="utf-8",
    )
    for name in ("billing", "catalog"):
        monorepo.service(name, MODELS.format(table="things"), dsn=database(creates=True))
        monorepo.table_revision(name, "a1", None, "things")
    for words in (("db.upgrade",), ("db.upgrade",), ("db.status",), ("db.check",), ("db.drift", *ONE_SERVICE)):
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text
    wait(service_migrations.upgrade(monorepo.find("billing")))


def test_a_name_that_all_services_have_shows_no_sibling(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """The table of a removed model is dropped, though a service of another database has one of that name."""
    path = monorepo.root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("[tool.service-migrations]\n", '[tool.service-migrations]\nversion_table = "alembic_version"\n'),
        encoding="utf-8",
    )
    for name in ("billing", "catalog"):
        monorepo.service(name, MODELS.format(table="things"), dsn=database())
        monorepo.table_revision(name, "a1", None, "things")
    assert monorepo.inv("db.upgrade").code == 0
    monorepo.service("billing", "__all__ = []\n")
    ran = monorepo.inv("db.check", *ONE_SERVICE)
    assert (ran.code, "drop_table" in ran.text and "things" in ran.text) == (3, True), ran.text


def test_two_services_of_one_database_and_schema_are_refused(monorepo: Monorepo, dsn: Dsn) -> None:
    for name in ("billing", "catalog"):
        monorepo.service(name, dsn=dsn)
        monorepo.table_revision(name, f"{name[0]}1", None)
        table(monorepo, name, version_table="alembic_version", version_table_schema=name)
    assert monorepo.inv("db.upgrade").code == 0
    assert monorepo.inv("db.check").code == 0
    path = monorepo.root / "pyproject.toml"
    for schema in ("billing", None):
        text = path.read_text(encoding="utf-8").replace(
            'version_table_schema = "catalog"', 'version_table_schema = "billing"'
        )
        if schema is None:
            text = text.replace('version_table_schema = "billing"\n', "")
        path.write_text(text, encoding="utf-8")
        ran = monorepo.inv("db.status")
        assert (ran.code, "billing and catalog both keep their revision in alembic_version" in ran.text) == (78, True)

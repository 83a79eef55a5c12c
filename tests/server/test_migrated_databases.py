"""Databases at head for a team's own tests: made once as a template, and cloned for each test."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import asyncpg
import pytest

from service_migrations.databases.throwaway import ThrowawayDatabases
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.testing.databases import Databases
from service_migrations.testing.event_loop import wait
from service_migrations.testing.templates import Clones, MigratedDatabase, Templates
from tests.support.database import query, tables
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo
from tests.support.shared_database import refer

OURS = "SELECT datname, oid FROM pg_database WHERE datname LIKE 'service\\_migrations\\_%' ORDER BY datname"


@pytest.fixture(autouse=True)
def _working_directory(server: Server, monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(monorepo.root)
    # a run of pytest that another module's test gave this server has left its template, maybe of the same history
    _drop_ours(server)
    yield
    _drop_ours(server)


def _drop_ours(server: Server) -> None:
    for name, _ in query(server.admin, OURS):
        query(server.admin, f'DROP DATABASE "{name}"')


@pytest.fixture
def another(server: Server) -> Iterator[Callable[[], Clones]]:
    """Make the databases of another test, whose process knows no template yet."""
    with ExitStack() as stack:

        def make() -> Clones:
            templates = Templates(server)
            stack.callback(templates.close)
            made = Clones(templates)
            stack.callback(made.drop)
            return made

        yield make


@pytest.fixture
def clones(another: Callable[[], Clones]) -> Clones:
    return another()


def dsn(found: MigratedDatabase) -> Dsn:
    return parse(found.dsn, "the clone")


def test_a_database_is_at_head_and_its_role_is_no_superuser(clones: Clones, monorepo: Monorepo) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    own_dsn = dsn(clones.get("billing"))
    assert query(own_dsn, "SELECT version_num FROM alembic_version_billing") == [("r001",)]
    assert query(own_dsn, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == [(False, False)]
    query(own_dsn, "INSERT INTO billing (name) VALUES ('one')")
    query(own_dsn, "CREATE TABLE more (id integer)")
    assert clones.get("billing").url.render_as_string(hide_password=False).partition("+asyncpg")[2] == (
        clones.get("billing").dsn.removeprefix("postgresql")
    )


def test_each_test_has_its_own_and_only_the_template_is_left(
    another: Callable[[], Clones], monorepo: Monorepo, server: Server
) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    for _ in range(2):
        other = another()
        own_dsn = dsn(other.get("billing"))
        assert query(own_dsn, "SELECT count(*) FROM billing") == [(0,)]
        query(own_dsn, "INSERT INTO billing (name) VALUES ('one')")
        other.drop()
    (left,) = [name for name, _ in query(server.admin, OURS)]
    assert left.startswith("service_migrations_template_")


def test_of_many_that_need_it_at_once_one_makes_the_template(another: Callable[[], Clones], monorepo: Monorepo) -> None:
    """When the first revision ran stands in the ledger, which is cloned too."""
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    others = [another() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        dsns = list(threads.map(lambda one: dsn(one.get("billing")), others))
    assert len({each_dsn.database for each_dsn in dsns}) == 4
    assert len({str(query(each_dsn, "SELECT * FROM migration_log_billing")) for each_dsn in dsns}) == 1


def test_an_edited_history_has_another_template(
    clones: Clones, another: Callable[[], Clones], monorepo: Monorepo, server: Server
) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    clones.get("billing")
    before = len(query(server.admin, OURS))
    monorepo.revision("billing", "r002", "r001", 'op.execute("CREATE TABLE more (id integer)")')
    assert "more" in tables(dsn(another().get("billing")))
    assert len(query(server.admin, OURS)) == before + 2


@pytest.mark.parametrize("source", [".", "apps"])
def test_so_has_one_whose_revision_imports_an_edited_module(
    another: Callable[[], Clones], monorepo: Monorepo, server: Server, source: str
) -> None:
    """A server that outlives its tests would go on with the former template, and the tests would pass or fail on it."""
    service = monorepo.service("billing")
    table = f'\n[tool.service-migrations.service.billing]\nsource = "{source}"\n'
    if source != ".":
        models = monorepo.root / source / "services" / "billing"
        models.mkdir(parents=True)
        (service.path / "models.py").rename(models / "models.py")
        with (monorepo.root / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f'{table}path = "services/billing"\n')
    helper = monorepo.root / source / "billing_helpers.py"
    helper.write_text("from billing_names import NAME\n\ndef create(op, sa):\n    op.create_table(NAME)\n")
    names = helper.with_name("billing_names.py")
    names.write_text('NAME = "first"\n')
    monorepo.revision("billing", "r001", None, "import billing_helpers\nbilling_helpers.create(op, sa)")
    assert "first" in tables(dsn(another().get("billing")))
    another().get("billing")
    assert len(query(server.admin, OURS)) == 1 + 2

    names.write_text('NAME = "second"\n')
    another().get("billing")

    assert len(query(server.admin, OURS)) == 2 + 3


def test_so_has_one_that_runs_with_another_search_path(
    another: Callable[[], Clones], monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monorepo.service("billing")
    monorepo.revision("billing", "r001", None, "op.execute('CREATE SCHEMA own')\nop.execute('CREATE TABLE more ()')")
    another().get("billing")
    monkeypatch.setenv("BILLING_MIGRATIONS_SEARCH_PATH", "own, public")
    own_dsn = dsn(another().get("billing"))
    assert query(own_dsn, "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'more'") == [("own",)]


@pytest.mark.parametrize(("added", "templates"), [("# a comment\n", 1), ("\n\nx = 1\n", 2)])
def test_a_comment_makes_no_new_template(
    clones: Clones, another: Callable[[], Clones], monorepo: Monorepo, server: Server, added: str, templates: int
) -> None:
    monorepo.service("billing")
    path = monorepo.table_revision("billing", "r001", None)
    clones.get("billing")
    path.write_text(path.read_text(encoding="utf-8") + added, encoding="utf-8")
    assert "billing" in tables(dsn(another().get("billing")))
    assert sum("_template_" in name for name, _ in query(server.admin, OURS)) == templates


def test_services_that_share_a_database_have_one_in_a_test_too(clones: Clones, monorepo: Monorepo) -> None:
    """Also where the history of the first one in the alphabet needs a table of the other."""
    refer(monorepo)
    items, owners = dsn(clones.get("items")), dsn(clones.get("owners"))
    assert items.database == owners.database
    assert {"items", "owners", "alembic_version_items", "alembic_version_owners"} <= tables(items)


def test_a_connection_that_was_lost_between_two_tests_is_made_again(monorepo: Monorepo, server: Server) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    templates = Templates(server)
    for _ in range(2):
        clones = Clones(templates)
        assert "billing" in tables(dsn(clones.get("billing")))
        clones.drop()
        kept = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE%'"
        assert query(server.admin, kept) == [(True,)]
    templates.close()


def test_a_service_of_another_database_has_another_one_and_another_role(clones: Clones, monorepo: Monorepo) -> None:
    for name in ("billing", "orders"):
        monorepo.service(name)
        monorepo.table_revision(name, f"{name}1", None)
    billing, orders = dsn(clones.get("billing")), dsn(clones.get("orders"))
    assert billing.database != orders.database
    assert billing.user != orders.user
    assert not tables(billing) & tables(orders)


def test_it_can_be_asked_for_inside_a_running_event_loop(clones: Clones, monorepo: Monorepo) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)

    async def ask() -> MigratedDatabase:
        return clones.get("billing")

    assert asyncio.run(ask()) == clones.get("billing")


def test_a_history_that_fails_is_tried_once_and_leaves_nothing(
    clones: Clones, monorepo: Monorepo, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Each test of a team would wait for it to fail again."""
    monorepo.service("billing")
    monorepo.revision("billing", "r001", None, 'op.execute("SELECT 1/0")')
    with caplog.at_level("INFO", logger="alembic"):
        for _ in range(2):
            with pytest.raises(MigrationError, match="division by zero"):
                clones.get("billing")
    assert caplog.text.count("Running upgrade  -> r001") == 1
    assert query(server.admin, OURS) == []


def test_a_database_shows_no_password(clones: Clones, monorepo: Monorepo) -> None:
    """pytest prints the values of a failed test."""
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    database = clones.get("billing")
    password = database.url.password
    assert password
    assert password not in f"{database!r} {database} {database.url!r}"
    assert password in database.dsn


ON_THE_DATABASE = '''
op.execute("""
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path TO "my app", public, %L', current_database(), '');
        EXECUTE format('ALTER DATABASE %I SET "DateStyle" TO %L', current_database(), 'German, DMY');
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET work_mem TO %L', current_database(), '5MB');
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END $$
""")
'''
OF_THE_DATABASE = """
    SELECT setrole, setconfig, datacl::text FROM pg_database d LEFT JOIN pg_db_role_setting ON setdatabase = d.oid
    WHERE datname = $1 ORDER BY setrole
"""


def test_what_a_history_sets_on_the_database_itself_is_there_too(
    clones: Clones, monorepo: Monorepo, server: Server
) -> None:
    """CREATE DATABASE leaves it out of a copy."""
    monorepo.service("billing")
    monorepo.revision("billing", "r001", None, ON_THE_DATABASE)

    database = clones.get("billing")

    ((template, _),) = [row for row in query(server.admin, OURS) if "template" in row[0]]
    expected = query(server.admin, OF_THE_DATABASE, template)
    assert len(expected) == 2
    assert query(server.admin, OF_THE_DATABASE, dsn(database).database) == expected
    (clone,) = query(dsn(database), "SELECT current_setting('search_path'), current_setting('DateStyle')")
    assert tuple(clone) == ('"my app", public, ""', "German, DMY")


def test_services_that_share_a_database_may_create_schemas_in_a_copy(clones: Clones, monorepo: Monorepo) -> None:
    refer(monorepo)

    for name in ("items", "owners"):
        query(dsn(clones.get(name)), f"CREATE SCHEMA of_{name}")


def test_what_a_test_leaves_prepared_is_rolled_back(monorepo: Monorepo, preparing: Server) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    templates = Templates(preparing)
    made = Clones(templates)
    own_dsn = dsn(made.get("billing"))

    async def prepare() -> None:
        connection = await asyncpg.connect(**own_dsn.connect_args())
        await connection.execute("BEGIN; INSERT INTO billing (name) VALUES ('one'); PREPARE TRANSACTION 'it''s'")
        await connection.close()

    asyncio.run(prepare())
    made.drop()
    templates.close()

    assert query(preparing.admin, "SELECT gid FROM pg_prepared_xacts") == []
    assert own_dsn.database not in {name for name, _ in query(preparing.admin, OURS)}


def test_what_a_replay_leaves_prepared_is_rolled_back_too(monorepo: Monorepo, preparing: Server) -> None:
    service = monorepo.service("billing")

    async def prepare() -> None:
        async with ThrowawayDatabases(preparing, (service,), "replayed") as databases:
            settings = (await databases.create())[0]
            connection = await asyncpg.connect(**settings.dsn.connect_args())
            await connection.execute("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'it''s'")
            await connection.close()

    asyncio.run(prepare())

    assert query(preparing.admin, "SELECT gid FROM pg_prepared_xacts") == []
    assert query(preparing.admin, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'replayed%'") == []


def test_a_missing_env_py_is_named(clones: Clones, monorepo: Monorepo) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    (monorepo.root / "migrations" / "env.py").unlink()
    with pytest.raises(ConfigurationError, match=r"migrations/env\.py is missing"):
        clones.get("billing")


def test_a_service_that_is_not_there_is_named(clones: Clones, monorepo: Monorepo) -> None:
    monorepo.service("billing")
    with pytest.raises(UsageError, match="Did you mean billing"):
        clones.get("biling")


def test_what_killed_runs_left_is_dropped_once_it_is_a_day_old(
    clones: Clones, monorepo: Monorepo, server: Server
) -> None:
    if server.data is None:
        pytest.skip("the files of the server are elsewhere")
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    databases = Databases(server)
    old, young = databases.new_name(), databases.new_name()
    teams_own = ["service_migrations_tenants", "service_migrations_test", f"{old}_copy"]
    for name in (old, young, *teams_own):
        wait(lambda name=name: databases.create((monorepo.find("billing"),), name))
    # whoever has left may still be seen for a moment, and a database in use is nobody's to drop
    session = "SELECT FROM pg_stat_activity WHERE datname = ANY ($1)"
    aged = [old, *teams_own]
    until(lambda: not query(server.admin, session, aged), "nobody is connected to the old databases")
    yesterday = time.time() - 25 * 3600
    for _, oid in [pair for pair in query(server.admin, OURS) if pair[0] in aged]:
        os.utime(server.data / "base" / str(oid) / "PG_VERSION", (yesterday, yesterday))
    clones.get("billing")
    names = [name for name, _ in query(server.admin, OURS)]
    assert old not in names
    assert {young, *teams_own} <= {*names}

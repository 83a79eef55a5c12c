"""Nothing is run over what would fail half-way, or is a trap: each refusal names what, and the SQL that fixes it."""

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import service_migrations
from service_migrations.databases.admin import create
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError
from service_migrations.health.findings import oldest_version
from service_migrations.monorepo import Service
from service_migrations.postgres import VERSIONS, Cluster, Server, provide
from service_migrations.postgres.account import reachable_folder
from service_migrations.postgres.cluster import SUPERUSER
from service_migrations.postgres.ports import free_port
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.catalog import catalog
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo, dsn_text

VERSION_TABLE = "alembic_version_billing"


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    """A service with two revisions, at the first."""
    monorepo.table_revision("billing", "a1", None)
    billing = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.upgrade(billing))
    monorepo.table_revision("billing", "b2", "a1", "second")
    return billing


def open_to_all(server: Server, dsn: Dsn) -> None:
    """Let everybody create in public, as PostgreSQL 14 does in every new database."""
    may = "SELECT has_schema_privilege('pg_monitor', 'public', 'CREATE')"
    assert query(dsn, may)[0][0] is (int(server.version) < 15)
    query(replace(server.admin, database=dsn.database), "GRANT CREATE ON SCHEMA public TO PUBLIC")
    assert query(dsn, may)[0][0]


def refused(service: Service, dsn: Dsn, kind: type[MigrationError] = ConfigurationError) -> str:
    """Upgrade, which must be refused before anything was changed; return the line."""
    before = catalog(dsn)
    with pytest.raises(kind) as caught:
        wait(service_migrations.upgrade(service))
    assert type(caught.value) is kind
    assert catalog(dsn) == before
    message = str(caught.value)
    assert "\n" not in message
    return message


def mend(message: str, dsn: Dsn) -> None:
    """Run the SQL at the end of a line."""
    match = re.search(r"run: ([A-Z][^:]+;)$", message)
    assert match, message
    query(dsn, match[1])


def upgraded(service: Service) -> None:
    assert wait(service_migrations.upgrade(service)).after == ("b2",)


def test_a_superuser_is_refused_where_public_may_create(monorepo, server, dsn):
    """Row 43: anybody could have put there what the superuser then runs."""
    open_to_all(server, dsn)
    admin = replace(server.admin, database=dsn.database)
    service = monorepo.service("billing", dsn=admin)
    monorepo.table_revision("billing", "a1", None)
    message = refused(service, admin)
    assert "superuser" in message
    assert "schema public" in message
    mend(message, admin)
    assert wait(service_migrations.upgrade(service)).after == ("a1",)


def test_an_ordinary_role_is_not_refused_where_public_may_create(monorepo, server, dsn):
    open_to_all(server, dsn)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    assert wait(service_migrations.upgrade(service)).after == ("a1",)


def test_a_superuser_is_refused_where_public_may_create_in_any_schema_of_the_path(monorepo, server):
    query(server.admin, "DROP DATABASE IF EXISTS preflight_path")
    query(server.admin, "CREATE DATABASE preflight_path")
    admin = replace(server.admin, database="preflight_path")
    query(admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    query(admin, 'CREATE SCHEMA "Later"')
    service = monorepo.service("billing", dsn=admin, MIGRATIONS_SEARCH_PATH='public,"Later"')
    monorepo.table_revision("billing", "a1", None)
    query(admin, 'GRANT CREATE ON SCHEMA "Later" TO PUBLIC')
    # without USAGE too, nobody could reach what stands there, and it isn't on the path
    message = refused(service, admin)
    assert message.endswith('REVOKE CREATE ON SCHEMA "Later" FROM PUBLIC;')
    mend(message, admin)
    assert wait(service_migrations.upgrade(service)).after == ("a1",)


def test_a_version_table_with_a_trigger_is_refused(service, dsn):
    """Row 43: what it runs would have the rights of the migration."""
    query(dsn, "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    query(dsn, f'CREATE TRIGGER "Trap" AFTER UPDATE ON {VERSION_TABLE} FOR EACH ROW EXECUTE FUNCTION trap()')
    message = refused(service, dsn)
    assert message.endswith(f'DROP TRIGGER "Trap" ON {VERSION_TABLE};')
    mend(message, dsn)
    upgraded(service)


def test_a_version_table_with_a_rule_is_refused(service, dsn):
    query(dsn, f"CREATE RULE trap AS ON UPDATE TO {VERSION_TABLE} DO ALSO SELECT 1")
    message = refused(service, dsn)
    assert message.endswith(f"DROP RULE trap ON {VERSION_TABLE};")
    mend(message, dsn)
    upgraded(service)


def test_a_version_table_of_a_foreign_role_is_refused(service, dsn, database, server):
    """Row 43: its owner may give it a trigger at any time."""
    inside = replace(server.admin, database=dsn.database)
    stranger = database(shared=dsn)
    query(inside, f'ALTER TABLE {VERSION_TABLE} OWNER TO "{stranger.user}"')
    query(inside, f'GRANT ALL ON {VERSION_TABLE} TO "{dsn.user}"')
    # where everybody may create in the schema, as on 14, it isn't even read
    query(inside, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    query(inside, f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"')
    message = refused(service, dsn)
    assert stranger.user in message
    mend(message, inside)
    upgraded(service)


def test_a_version_table_of_a_role_that_one_is_a_member_of_is_ones_own(service, dsn, database, server):
    inside = replace(server.admin, database=dsn.database)
    group = database(shared=dsn)
    query(inside, f'ALTER TABLE {VERSION_TABLE} OWNER TO "{group.user}"')
    query(inside, f'GRANT "{group.user}" TO "{dsn.user}"')
    upgraded(service)


def test_a_version_table_of_an_ordinary_role_is_foreign_to_a_superuser(service, dsn, server, monorepo):
    inside = replace(server.admin, database=dsn.database)
    query(inside, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    monorepo.service("billing", dsn=inside)
    message = refused(service, dsn)
    assert f"belongs to {dsn.user}" in message
    mend(message, inside)
    upgraded(service)


@pytest.mark.parametrize("whose", ["DATABASE {}", "ROLE {}", "ROLE {} IN DATABASE {}"])
def test_a_database_that_is_read_only_is_refused_with_what_takes_it_back(service, dsn, server, whose):
    """Row 44: 78, with the statement for where it was set."""
    # role and database have one name
    query(server.admin, f"ALTER {whose} SET default_transaction_read_only = on".replace("{}", f'"{dsn.user}"'))
    message = refused(service, dsn)
    assert "is read-only" in message
    run_script(server.admin, message.partition("Run: ")[2].split("; "))
    upgraded(service)


def test_a_standby_is_refused(monorepo, server):
    base = reachable_folder(Path(tempfile.gettempdir()), Path("/var/tmp"))  # noqa: S108 - mkdtemp follows
    home = Path(tempfile.mkdtemp(prefix="standby-", dir=base))
    cluster = Cluster.create(home, provide(server.version), free_port(), throwaway=True)
    try:
        cluster.start()
        dsn = Dsn(SUPERUSER, "postgres", (("127.0.0.1", cluster.port),), cluster.password)
        cluster.stop()
        (cluster.data / "standby.signal").touch()
        cluster.start()
        service = monorepo.service("billing", dsn=dsn)
        monorepo.table_revision("billing", "a1", None)
        message = refused(service, dsn)
        assert "is a standby" in message
        assert "target_session_attrs=read-write" in message
    finally:
        cluster.remove()


@pytest.mark.usefixtures("service")
def test_a_server_that_is_older_than_the_matrix_is_refused(dsn, monorepo):
    """Row 44: 78, before anything is changed."""
    before = catalog(dsn)
    path = monorepo.root / "pyproject.toml"
    text = re.sub(r"^postgres = .*$", 'postgres = ["99"]', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 78
    assert "the oldest that migrations are tested on is 99" in ran.err
    assert catalog(dsn) == before


def test_the_oldest_version_is_the_first_that_the_table_names_or_else_that_there_is_a_package_of(tmp_path):
    assert str(oldest_version(tmp_path)) == VERSIONS[0]
    (tmp_path / "pyproject.toml").write_text('[tool.service-migrations]\npostgres = ["16", "15"]\n', encoding="utf-8")
    assert oldest_version(tmp_path) == 15


def test_a_role_that_may_not_create_tables_gets_the_grant(monorepo, database, server):
    """Row 44: the one GRANT that helps, and it does."""
    owner = database()
    dsn = database(shared=owner)
    inside = replace(server.admin, database=owner.database)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    query(inside, f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}", PUBLIC')
    assert "may not create" in refused(service, dsn, AccessDeniedError)
    query(inside, f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"')
    wait(service_migrations.upgrade(service))
    query(inside, f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}"')
    monorepo.revision("billing", "a2", "a1", 'op.execute("ALTER TABLE billing ADD COLUMN a2 int")')
    assert wait(service_migrations.upgrade(service)).after == ("a2",), "what creates nothing needs no right to create"
    monorepo.revision("billing", "a3", "a2", 'op.execute("ALTER TABLE billing ADD COLUMN a3 int")')
    monorepo.table_revision("billing", "b2", "a3", "second")
    mend(refused(service, dsn, AccessDeniedError), inside)
    upgraded(service)


def test_of_an_upgrade_without_a_source_the_server_decides(monorepo, database, server):
    """Such as one that a function has made."""
    owner = database()
    dsn = database(shared=owner)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(service))
    query(replace(server.admin, database=owner.database), f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}", PUBLIC')
    path = monorepo.revision("billing", "a2", "a1", 'op.execute("ALTER TABLE billing ADD COLUMN a2 int")')
    made = "\n\nfrom functools import partial\n\nupgrade = partial(upgrade)\n"
    path.write_text(path.read_text(encoding="utf-8") + made, encoding="utf-8")
    assert wait(service_migrations.upgrade(service)).after == ("a2",)


def test_of_an_upgrade_that_names_the_schema_of_its_table_the_server_decides(monorepo, database, server):
    """The role may create there, and needn't where the version table is."""
    owner = database()
    dsn = database(shared=owner)
    inside = replace(server.admin, database=owner.database)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(service))
    query(inside, f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}", PUBLIC')
    query(inside, f'CREATE SCHEMA area AUTHORIZATION "{dsn.user}"')
    monorepo.revision("billing", "a2", "a1", 'op.create_table("t", sa.Column("id", sa.Integer), schema="area")')
    assert wait(service_migrations.upgrade(service)).after == ("a2",)


DENIED = {
    "foreign key": "ALTER TABLE billing ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES theirs (id)",
    "foreign key of a new table": "CREATE TABLE new (id int REFERENCES public.theirs)",
    "another schema": "ALTER TABLE billing ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES open.others",
    "select": "SELECT id FROM theirs",
    "select behind comments": "/* why */ -- because\\n SELECT id FROM theirs",
    "select of a WITH": "WITH w AS (SELECT id FROM theirs) SELECT id FROM w",
    "delete of a WITH": "WITH gone AS (DELETE FROM theirs RETURNING id) INSERT INTO billing (id) SELECT id FROM gone",
    "insert": "INSERT INTO theirs VALUES (1)",
    "insert from it": "INSERT INTO billing (id) SELECT id FROM theirs",
    "update": "UPDATE theirs SET id = 2 WHERE id = 1",
    "delete": "DELETE FROM public.theirs WHERE id = 1",
    "truncate": "TRUNCATE TABLE theirs",
    "sequence": "SELECT nextval('numbers')",
    "function": "SELECT ours()",
    "type": "ALTER TABLE billing ADD COLUMN m mood",
    "schema": "SELECT 1 FROM closed.anything",
}


@pytest.mark.parametrize("statement", DENIED.values(), ids=DENIED)
def test_a_revision_that_lacks_a_privilege_gets_the_grant(monorepo, database, server, statement):
    owner = database()
    dsn = database(shared=owner)
    inside = replace(server.admin, database=owner.database)
    run_script(
        inside,
        [
            "CREATE TABLE theirs (id int PRIMARY KEY)",
            "CREATE SEQUENCE numbers",
            "CREATE FUNCTION ours() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "REVOKE ALL ON FUNCTION ours() FROM PUBLIC",
            "CREATE TYPE mood AS ENUM ('fine')",
            "REVOKE ALL ON TYPE mood FROM PUBLIC",
            "CREATE SCHEMA open CREATE TABLE others (id int PRIMARY KEY)",
            "GRANT USAGE ON SCHEMA open TO PUBLIC",
            "CREATE SCHEMA closed CREATE TABLE anything (id int)",
            "GRANT ALL ON closed.anything TO PUBLIC",
        ],
    )
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(service))
    monorepo.revision("billing", "a2", "a1", f'op.execute("{statement}")')
    mend(refused(service, dsn, AccessDeniedError), inside)
    assert wait(service_migrations.upgrade(service)).after == ("a2",)


@pytest.mark.parametrize("words", ["db.status", "db.current", "db.upgrade", "db.plan", "db.check", "db.doctor"])
def test_a_role_that_may_not_read_the_version_table_gets_the_grant(monorepo, database, server, words):
    """By each command that reads it."""
    owner = database()
    dsn = database(shared=owner)
    inside = replace(server.admin, database=owner.database)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(service))
    query(inside, f'REVOKE ALL ON alembic_version_billing FROM "{dsn.user}"')
    ran = monorepo.inv(words)
    assert ran.code == 77, ran.text
    assert f'GRANT SELECT ON public.alembic_version_billing TO "{dsn.user}";' in ran.text


def test_a_role_that_may_not_create_the_schema_of_the_service_gets_the_grant(monorepo, database, server):
    owner = database()
    dsn = database(shared=owner)
    models = (
        "from sqlalchemy import Column, Integer, MetaData, Table\n\n__all__ = ['thing']\n"
        "thing = Table('thing', MetaData(schema='own'), Column('id', Integer, primary_key=True))\n"
    )
    service = monorepo.service("billing", models, dsn)
    monorepo.revision("billing", "b2", None)
    mend(refused(service, dsn, AccessDeniedError), replace(server.admin, database=owner.database))
    upgraded(service)


def test_a_search_path_without_a_schema_is_refused(monorepo, dsn):
    service = monorepo.service("billing", dsn=dsn, MIGRATIONS_SEARCH_PATH="nowhere")
    monorepo.table_revision("billing", "a1", None)
    assert "MIGRATIONS_SEARCH_PATH" in refused(service, dsn)


def test_where_nothing_is_pending_nothing_is_refused(service, dsn):
    upgraded(service)
    query(dsn, f"CREATE RULE trap AS ON UPDATE TO {VERSION_TABLE} DO ALSO SELECT 1")
    upgraded(service)


@pytest.mark.usefixtures("service")
def test_alembics_own_upgrade_is_refused_as_well(dsn, monorepo):
    query(dsn, f"CREATE RULE trap AS ON UPDATE TO {VERSION_TABLE} DO ALSO SELECT 1")
    ran = monorepo.inv("db.alembic", "--service", "billing", "--", "upgrade", "head")
    assert ran.code == 78
    assert "DROP RULE trap" in ran.err


@pytest.mark.usefixtures("service")
def test_a_trap_is_one_line_at_the_command_line(dsn, monorepo):
    query(dsn, f"CREATE RULE trap AS ON UPDATE TO {VERSION_TABLE} DO ALSO SELECT 1")
    ran = monorepo.inv("db.upgrade", env={"BILLING_DATABASE_DSN": dsn_text(dsn)})
    assert ran.code == 78
    assert "DROP RULE trap" in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.text


@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
def test_only_a_new_database_is_closed_to_others_by_its_making(monorepo, server, there):
    """One that was there may have other users, whose tables are made with the right that PUBLIC has."""
    name = f"closed_{os.getpid()}"
    inside = replace(server.admin, database=name)
    service = monorepo.service("billing", dsn=Dsn(name, name, server.admin.hosts, "x"))
    by_public = "SELECT has_schema_privilege('pg_monitor', 'public', 'CREATE')"
    try:
        if there:
            query(server.admin, f'CREATE DATABASE "{name}"')
            query(inside, "GRANT CREATE ON SCHEMA public TO PUBLIC")
        done = wait(create(load(service), server.admin))
        assert query(inside, by_public)[0][0] is there
        assert any("PUBLIC" in line for line in done) is (not there and int(server.version) < 15)
        assert query(inside, "SELECT has_schema_privilege($1, 'public', 'CREATE')", name)[0][0]
        assert wait(create(load(service), server.admin)) == ()
    finally:
        query(server.admin, f'DROP DATABASE IF EXISTS "{name}"')
        query(server.admin, f'DROP ROLE IF EXISTS "{name}"')

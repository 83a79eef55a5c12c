"""``bootstrap.sql``: an administrator runs it once in each database that is created."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.adoption.verify import verify
from service_migrations.databases import admin
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError
from service_migrations.postgres import Server, throwaway
from service_migrations.settings.dsn import Dsn, parse
from service_migrations.settings.model import load
from service_migrations.testing.templates import Clones, Templates
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo, dsn_text

EXTENSION = "CREATE EXTENSION file_fdw;\nCREATE SCHEMA kept; -- a comment\n"
"""Of an extension that isn't trusted, so that only a superuser may create it."""
ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bootstrap_reader') THEN CREATE ROLE bootstrap_reader; END IF;
END $$;
GRANT USAGE ON SCHEMA public TO bootstrap_reader;
"""


@pytest.fixture
def target(server: Server, database: Callable[..., Dsn]) -> Dsn:
    """A database that doesn't exist, of a role that does."""
    dsn = database()
    query(server.admin, f'DROP DATABASE "{dsn.database}" WITH (FORCE)')
    return dsn


def write(monorepo: Monorepo, top: str | None = ROLE, own: str | None = EXTENSION) -> None:
    for folder, text in ((monorepo.root, top), (monorepo.root / "services" / "billing", own)):
        if text is not None:
            (folder / "bootstrap.sql").write_text(text, encoding="utf-8")


def extensions(dsn: Dsn) -> list[str]:
    return [row[0] for row in query(dsn, "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'")]


def exists(server: Server, dsn: Dsn) -> bool:
    return bool(query(server.admin, "SELECT 1 FROM pg_database WHERE datname = $1", dsn.database))


def test_it_runs_in_a_new_database_and_not_again(monorepo: Monorepo, target: Dsn, server: Server) -> None:
    service = monorepo.service("billing", dsn=target)
    write(monorepo)
    lines = wait(admin.create(load(service), server.admin))
    assert lines[-2:] == ("ran bootstrap.sql", "ran services/billing/bootstrap.sql")
    assert extensions(target) == ["file_fdw"]
    assert wait(admin.create(load(service), server.admin)) == ()


def test_the_files_of_all_services_of_a_database_run_in_it(monorepo: Monorepo, target: Dsn, server: Server) -> None:
    """Whichever creates it: the next one finds a database that is there."""
    other = replace(target, user=f"{target.user}_orders")
    monorepo.service("billing", dsn=target, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    monorepo.service("orders", dsn=other, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    write(monorepo, own=None)
    grant = f'CREATE SCHEMA of_orders; GRANT USAGE ON SCHEMA of_orders TO "{other.user}", "{target.user}";'
    (monorepo.root / "services/orders/bootstrap.sql").write_text(grant, encoding="utf-8")
    for words in (("--service", "billing"), ()):
        ran = monorepo.inv("db.create", *words)
        assert ran.code == 0, ran.text
        assert ("ran services/orders/bootstrap.sql" in ran.out) is bool(words)
        rights = "SELECT has_schema_privilege($1, 'of_orders', 'USAGE'), has_schema_privilege($1, 'public', 'CREATE')"
        for user in (target.user, other.user):
            assert query(replace(server.admin, database=target.database), rights, user) == [(True, True)]
    for name in ("billing", "orders"):
        monorepo.table_revision(name, f"{name}_1", None)
        assert monorepo.inv("db.upgrade", "--service", name).code == 0
        drift = monorepo.inv("db.drift", "--service", name)
        assert drift.code == 0, drift.text


@pytest.mark.parametrize(
    ("text", "error", "place", "message"),
    [
        ("SELECT 1;\n\nCREATE EXTENSION absent;", ConfigurationError, "bootstrap.sql", "absent"),
        ("SELECT 1;\n\nSELEC 2;", ConfigurationError, "bootstrap.sql:3", "syntax error"),
        ("\\connect x", ConfigurationError, "bootstrap.sql:1", "syntax error"),
    ],
)
def test_where_it_fails_there_is_no_database_and_its_line_is_named(
    monorepo: Monorepo, target: Dsn, server: Server, text: str, error: type[Exception], place: str, message: str
) -> None:
    service = monorepo.service("billing", dsn=target)
    write(monorepo, own=text)
    with pytest.raises(error) as caught:
        wait(admin.create(load(service), server.admin))
    assert f"billing: services/billing/{place}: " in str(caught.value)
    assert message in str(caught.value)
    assert not exists(server, target)
    write(monorepo)
    wait(admin.create(load(service), server.admin))
    assert extensions(target) == ["file_fdw"]


def test_where_no_rights_can_be_granted_there_is_no_database_either(monorepo: Monorepo, server: Server) -> None:
    """A database that is there is taken for one that has had its ``bootstrap.sql``."""
    with throwaway(server.version) as own:
        template = replace(own.admin, database="template1")
        query(template, "ALTER SCHEMA public RENAME TO elsewhere")
        target = replace(own.admin, user="billing", database="billing", password="secret")
        service = monorepo.service("billing", dsn=target)
        write(monorepo)
        with pytest.raises(MigrationError, match='schema "public" does not exist'):
            wait(admin.create(load(service), own.admin))
        assert not exists(own, target)
        query(template, "ALTER SCHEMA elsewhere RENAME TO public")
        assert "ran bootstrap.sql" in wait(admin.create(load(service), own.admin))


def test_without_an_administrator_it_is_said_that_it_did_not_run(
    monorepo: Monorepo, target: Dsn, server: Server
) -> None:
    service = monorepo.service("billing", dsn=target)
    write(monorepo, top=None)
    query(server.admin, f'ALTER ROLE "{target.user}" CREATEDB')
    lines = wait(admin.create(load(service)))
    assert lines[-1].startswith("services/billing/bootstrap.sql didn't run: that takes an administrator")
    assert extensions(target) == []


def test_an_administrator_who_may_not_is_told_what(
    monorepo: Monorepo, target: Dsn, database: Callable[..., Dsn], server: Server
) -> None:
    service = monorepo.service("billing", dsn=target)
    write(monorepo, top=None)
    weak = replace(database(), database="postgres")
    query(server.admin, f'ALTER ROLE "{weak.user}" CREATEDB CREATEROLE')
    query(server.admin, f'GRANT "{target.user}" TO "{weak.user}"')
    with pytest.raises(
        AccessDeniedError, match=r"services/billing/bootstrap\.sql: permission denied to create extension"
    ):
        wait(admin.create(load(service), weak))


def test_a_scratch_database_has_it_so_that_it_is_no_drift(monorepo: Monorepo, target: Dsn, server: Server) -> None:
    service = monorepo.service("billing", dsn=target)
    write(monorepo)
    monorepo.revision(
        "billing",
        "a1",
        None,
        'op.execute("CREATE SERVER files FOREIGN DATA WRAPPER file_fdw")\n'
        'op.execute("CREATE TABLE billing (id serial CONSTRAINT billing_pkey PRIMARY KEY, name varchar(50) NOT NULL)")',
    )
    wait(admin.create(load(service), server.admin))
    query(
        replace(server.admin, database=target.database),
        f'GRANT USAGE ON FOREIGN DATA WRAPPER file_fdw TO "{target.user}"',
    )
    grant = EXTENSION + f'GRANT USAGE ON FOREIGN DATA WRAPPER file_fdw TO "{target.user}";'
    write(monorepo, own=grant)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.drift(service, admin=server.admin)).differences == ()
    assert wait(verify(service, admin=server.admin)).differences == ()


def test_a_database_of_the_tests_has_it(monorepo: Monorepo, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(monorepo.root)
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    write(monorepo)
    names, templates = [], Templates(server)
    for text in (EXTENSION, f"{EXTENSION}CREATE SCHEMA more;"):
        write(monorepo, own=text)
        clones = Clones(templates)
        dsn = parse(clones.get("billing").dsn, "the clone")
        assert extensions(dsn) == ["file_fdw"]
        names.append(
            {row[0] for row in query(dsn, "SELECT nspname FROM pg_namespace WHERE nspname IN ('kept', 'more')")}
        )
        clones.drop()
    templates.close()
    assert names == [{"kept"}, {"kept", "more"}]  # an edited file leads to another template
    for (name,) in query(server.admin, "SELECT datname FROM pg_database WHERE datname LIKE 'service\\_migrations\\_%'"):
        query(server.admin, f'DROP DATABASE "{name}"')


def test_without_a_password_here_that_of_a_role_stays(monorepo: Monorepo, target: Dsn, server: Server) -> None:
    """As where a command prints it."""
    settings = load(monorepo.service("billing", dsn=target))
    wait(admin.create(settings, server.admin, set_password=True))
    for password in (None, ""):
        bare = replace(settings, dsn=replace(target, password=password))
        assert wait(admin.create(bare, server.admin, set_password=True)) == ()
        assert query(target, "SELECT 1")


STUB = """
class User(Base):
    __tablename__ = 'auth_user'
    id = Column(Integer, primary_key=True)
    email = Column(Text)
"""
"""A model of Django's table, which isn't exported."""
NOTE = """
from sqlalchemy import Column, ForeignKey, Integer, Text
from sqlalchemy.orm import declarative_base
__all__ = ['Note']
Base = declarative_base()
{stub}
class Note(Base):
    __tablename__ = 'note'
    id = Column(Integer, primary_key=True)
    user_id = Column({type}ForeignKey('auth_user.id', name='note_user'))
"""


@pytest.mark.parametrize(("stub", "type_"), [("", "Integer, "), (STUB, "Integer, "), (STUB, "")])
def test_a_table_of_another_program_that_a_foreign_key_refers_to_is_left_to_it(
    monorepo: Monorepo, target: Dsn, server: Server, stub: str, type_: str
) -> None:
    """Such as Django's: a replay makes a table of that name by the file, and the one in use is the real one."""
    monorepo.service("billing", NOTE.format(stub=stub, type=type_), target, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    made = "CREATE TABLE auth_user (id int PRIMARY KEY, email text);\nGRANT REFERENCES ON auth_user TO PUBLIC;\n"
    write(monorepo, top=None, own=made)
    (monorepo.root / "pyproject.toml").write_text('[tool.service-migrations]\nignore = ["auth_*"]\n', encoding="utf-8")
    for words in (
        ("db.create",),
        ("db.revision", "--service", "billing", "--message", "notes"),
        ("db.upgrade",),
        ("db.check",),
        ("db.drift",),
        ("db.downgrade", "--service", "billing", "--revision", "base", "--yes"),
        ("db.upgrade",),
        ("db.check",),
    ):
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text
    inside = replace(server.admin, database=target.database)
    keys = "SELECT conname::text FROM pg_constraint WHERE contype = 'f' AND confrelid = 'auth_user'::regclass"
    assert query(inside, keys) == [("note_user",)]


def test_a_column_that_refers_to_a_table_of_another_program_has_a_type(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", NOTE.format(stub="", type=""), database())
    (monorepo.root / "pyproject.toml").write_text('[tool.service-migrations]\nignore = ["auth_*"]\n', encoding="utf-8")
    ran = monorepo.inv("db.revision", "--service", "billing", "--message", "notes")
    assert ran.code == 78, ran.text
    assert "note.user_id refers to auth_user.id, which ignore = 'auth_*' leaves out" in ran.text
    assert "Write the type of user_id" in ran.text

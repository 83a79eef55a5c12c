"""The program ``alembic`` itself, started at the top level of a monorepo."""

import asyncio
from argparse import Namespace
from collections.abc import Callable

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.history.revisions import config
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, Ran, dsn_text
from tests.support.programs import alembic

MODELS = """
from sqlalchemy import Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Billing"]


class Base(DeclarativeBase):
    pass


class Billing(Base):
    __tablename__ = "billing"
    __table_args__ = (Index("billing_name", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
"""


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """A monorepo with two services; billing has two revisions and a database."""
    dsn = database()
    monorepo.service("billing", MODELS, dsn)
    monorepo.table_revision("billing", "a1", None)
    index = 'op.create_index("billing_name", "billing", ["name"])', 'op.drop_index("billing_name", "billing")'
    monorepo.revision("billing", "b2", "a1", *index)
    monorepo.service("catalog")
    monorepo.table_revision("catalog", "c1", None)
    return monorepo, dsn


def of_billing(world: tuple[Monorepo, Dsn], *words: str, **environment: str) -> Ran:
    return alembic(world[0], "-x", "service=billing", *words, **environment)


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.text
    return ran


def failed(ran: Ran, dsn: Dsn | None = None) -> str:
    """Return the one line that a command has failed with, in Alembic's own way."""
    assert ran.code == 255, ran.text
    assert "Traceback" not in ran.text
    assert dsn is None or dsn.password not in ran.text
    (line,) = [line for line in ran.out.splitlines() if line.startswith("FAILED: ")]
    return line


def at(dsn: Dsn) -> list[str]:
    return [row[0] for row in query(dsn, "SELECT version_num FROM alembic_version_billing")]


def test_upgrade_and_downgrade_are_locked_logged_and_recorded(world: tuple[Monorepo, Dsn]) -> None:
    _, dsn = world
    ran = done(of_billing(world, "upgrade", "head"))
    assert f"billing -> {dsn.target}" in ran.err
    assert "Running upgrade a1 -> b2" in ran.err
    assert at(dsn) == ["b2"]
    assert done(of_billing(world, "current")).out == "b2 (head)\n"
    done(of_billing(world, "downgrade", "base"))
    assert at(dsn) == []
    rows = query(dsn, "SELECT direction, revision FROM migration_log_billing ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("upgrade", "a1"),
        ("upgrade", "b2"),
        ("downgrade", "b2"),
        ("downgrade", "a1"),
    ]


def test_an_isolation_level_of_a_revision_is_that_of_its_own_transaction(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    look = "op.execute(\"ALTER TABLE billing ADD COLUMN {} text DEFAULT current_setting('transaction_isolation')\")"
    level = 'op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")\n'
    monorepo.revision("billing", "c3", "b2", level + look.format("c3"))
    monorepo.revision("billing", "d4", "c3", look.format("d4"))
    done(of_billing(world, "upgrade", "head"))
    assert at(dsn) == ["d4"]
    defaults = "SELECT attname FROM pg_attribute WHERE attrelid = 'billing'::regclass AND attname IN ('c3', 'd4')"
    assert len(query(dsn, defaults)) == 2


def test_the_migration_lock_is_waited_for(world: tuple[Monorepo, Dsn]) -> None:
    _, dsn = world
    host, port = dsn.hosts[0]
    with psycopg.connect(host=host, port=port, user=dsn.user, dbname=dsn.database, password=dsn.password) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        said = failed(of_billing(world, "upgrade", "head", BILLING_MIGRATIONS_LOCK_WAIT="300ms"), dsn)
        assert "the migration lock was not free within 0.3 s" in said
        assert done(of_billing(world, "current")).out == ""
    assert tables(dsn) == set()


def test_a_revision_runs_with_the_timeouts_of_the_settings(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE seen AS SELECT * FROM pg_settings")')
    done(of_billing(world, "upgrade", "head", BILLING_MIGRATIONS_LOCK_TIMEOUT="1234ms"))
    rows = query(dsn, "SELECT setting, source FROM seen WHERE name = 'lock_timeout'")
    assert [tuple(row) for row in rows] == [("1234", "client")]


def test_a_dsn_of_the_environment_beats_that_of_the_service(
    world: tuple[Monorepo, Dsn], database: Callable[..., Dsn]
) -> None:
    _, dsn = world
    other = database()
    done(of_billing(world, "upgrade", "head", DATABASE_DSN=dsn_text(other)))
    assert (at(other), tables(dsn)) == (["b2"], set())


def test_what_speaks_against_an_upgrade_speaks_against_this_one(world: tuple[Monorepo, Dsn]) -> None:
    _, dsn = world
    done(of_billing(world, "upgrade", "a1"))
    query(dsn, "CREATE RULE trap AS ON UPDATE TO alembic_version_billing DO ALSO SELECT 1")
    assert "DROP RULE trap" in failed(of_billing(world, "upgrade", "head"), dsn)
    assert at(dsn) == ["a1"]


def test_a_result_that_is_not_what_was_logged_is_reported(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    path = monorepo.root / "migrations/env.py"
    sql = "UPDATE public.alembic_version_billing SET version_num = 'a1'"
    undo = f'    if connection: connection.exec_driver_sql("{sql}")\n    if connection: connection.commit()\n'
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("        context.run_migrations()\n", f"        context.run_migrations()\n{undo}"))
    assert "is at a1, and the log says b2" in failed(of_billing(world, "upgrade", "head"), dsn)


def test_a_revision_that_fails_is_one_line(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    monorepo.revision("billing", "c3", "b2", 'op.execute("SELECT 1/0")')
    said = failed(of_billing(world, "upgrade", "head"), dsn)
    assert "billing: migrations/versions/billing/c3.py:" in said
    assert "division by zero" in said
    assert at(dsn) == ["b2"]


def test_a_server_that_does_not_answer_is_one_line(world: tuple[Monorepo, Dsn]) -> None:
    dsn = "postgresql://app:very-secret@127.0.0.1:1/app"
    ran = of_billing(world, "upgrade", "head", BILLING_DATABASE_DSN=dsn)
    assert "app@127.0.0.1:1/app: connection refused" in failed(ran)
    assert "very-secret" not in ran.text


@pytest.mark.parametrize("words", [("current",), ("upgrade", "head"), ("history",), ("revision", "-m", "x")])
def test_without_a_service_the_line_says_how_to_name_one(world: tuple[Monorepo, Dsn], words: tuple[str, ...]) -> None:
    said = failed(alembic(world[0], *words))
    assert (
        said
        == "FAILED: The command line names no service. Write: alembic -x service=<name> … (one of: billing, catalog)"
    )


def test_a_service_that_is_not_there_has_its_neighbour_named(world: tuple[Monorepo, Dsn]) -> None:
    assert "Did you mean billing?" in failed(alembic(world[0], "-x", "service=biling", "current"))


def test_two_services_at_once_are_refused(world: tuple[Monorepo, Dsn]) -> None:
    assert "names several services" in failed(of_billing(world, "-x", "service=catalog", "current"))


def test_check_sees_what_the_service_owns_and_nothing_else(
    world: tuple[Monorepo, Dsn], database: Callable[..., Dsn]
) -> None:
    monorepo, dsn = world
    catalog = monorepo.service("catalog", dsn=database(shared=dsn))
    wait(service_migrations.upgrade(catalog))
    done(of_billing(world, "upgrade", "head"))
    assert "No new upgrade operations detected." in done(of_billing(world, "check")).out
    query(dsn, "DROP INDEX billing_name")
    query(dsn, "ALTER TABLE billing DROP COLUMN name")
    said = failed(of_billing(world, "check"), dsn)
    assert "add_column" in said
    assert "catalog" not in said


def test_a_revision_is_written_into_the_folder_of_the_service(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    done(of_billing(world, "upgrade", "head"))
    folder = monorepo.root / "migrations/versions/billing"
    before = set(folder.glob("*.py"))
    done(of_billing(world, "revision", "--autogenerate", "-m", "nothing"))
    assert set(folder.glob("*.py")) == before

    query(dsn, "ALTER TABLE billing DROP COLUMN name CASCADE")
    done(of_billing(world, "revision", "--autogenerate", "-m", "add the name"))
    (path,) = set(folder.glob("*.py")) - before
    assert "add_column" in path.read_text(encoding="utf-8")
    assert 'down_revision: str | Sequence[str] | None = "b2"' in path.read_text(encoding="utf-8")

    nobody_listens = dsn_text(Dsn("app", "app", (("127.0.0.1", 1),)))
    done(of_billing(world, "revision", "-m", "blank", BILLING_DATABASE_DSN=nobody_listens))
    assert len(set(folder.glob("*.py")) - before) == 2
    assert not list((monorepo.root / "migrations/versions").glob("*.py"))


def test_history_shows_the_revisions_of_the_service_without_a_database(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    monorepo.env("billing")
    assert done(of_billing(world, "history")).out == "a1 -> b2 (head), b2.\n<base> -> a1, a1.\n"


def test_history_with_the_current_revision_writes_nothing(world: tuple[Monorepo, Dsn]) -> None:
    _, dsn = world
    assert "b2 (head)" in done(of_billing(world, "history", "--indicate-current")).out
    assert tables(dsn) == set()


def test_two_heads_are_merged_into_the_folder_of_the_service(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    monorepo.revision("billing", "b3", "a1")
    done(of_billing(world, "merge", "heads", "-m", "join"))
    assert len(list((monorepo.root / "migrations/versions/billing").glob("*join*.py"))) == 1


@pytest.mark.parametrize("words", [("heads",), ("branches",), ("show", "b2")])
def test_a_command_that_does_not_run_env_py_names_another_way(
    world: tuple[Monorepo, Dsn], words: tuple[str, ...]
) -> None:
    said = failed(of_billing(world, *words))
    assert "inv db.alembic --service <name> -- …" in said
    assert done(world[0].inv("db.alembic", "--service", "billing", "--", *words)).code == 0


def test_the_printed_sql_is_that_of_the_library(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    printed = done(of_billing(world, "upgrade", "head", "--sql")).out
    assert printed == wait(service_migrations.sql(monorepo.find("billing"), "head"))
    assert "CREATE TABLE billing" in printed
    assert tables(dsn) == set()


def test_a_revision_that_needs_a_connection_is_one_line_offline(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    monorepo.revision("billing", "c3", "b2", 'op.get_bind().execute(sa.text("SELECT 1")).one()')
    assert "billing: migrations/versions/billing/c3.py:" in failed(of_billing(world, "upgrade", "head", "--sql"))


def test_stamp_is_recorded(world: tuple[Monorepo, Dsn]) -> None:
    _, dsn = world
    done(of_billing(world, "stamp", "b2"))
    assert at(dsn) == ["b2"]
    assert query(dsn, "SELECT direction FROM migration_log_billing")[0][0] == "stamp"


# Alembic called from Python


def called(monorepo: Monorepo, *words: str, **attributes: object) -> Config:
    """Return what a script of a team makes: Alembic's configuration by itself, with what a command line gives."""
    options = Namespace(x=list(words))
    return Config(toml_file=monorepo.root / "pyproject.toml", cmd_opts=options, attributes=attributes)


def url(dsn: Dsn, driver: str) -> URL:
    host, port = dsn.hosts[0]
    return URL.create(f"postgresql+{driver}", dsn.user, dsn.password, host, port, dsn.database)


def test_a_connection_that_is_passed_is_used_as_it_is(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    engine = create_engine(url(dsn, "psycopg"))
    with engine.connect() as connection:
        command.upgrade(called(monorepo, "service=billing", connection=connection), "head")
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    assert at(dsn) == ["b2"]


def test_an_engine_that_is_passed_is_used_too(world: tuple[Monorepo, Dsn]) -> None:
    """pytest-alembic passes its engine, for every command in one configuration."""
    monorepo, dsn = world
    engine = create_engine(url(dsn, "psycopg"))
    given = config(monorepo.find("billing"), {"connection": engine})
    command.upgrade(given, "head")
    command.downgrade(given, "a1")
    command.upgrade(given, "head")
    engine.dispose()
    assert at(dsn) == ["b2"]


def test_an_async_engine_that_is_passed_is_used_too(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world
    engine = create_async_engine(url(dsn, "asyncpg"))
    command.upgrade(called(monorepo, "service=billing", connection=engine), "head")
    assert at(dsn) == ["b2"]


def test_inside_a_running_event_loop_the_error_says_what_to_call(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, dsn = world

    async def application() -> None:
        command.upgrade(called(monorepo, "service=billing"), "head")

    with pytest.raises(CommandError, match=r"Await service_migrations\.upgrade\(\)"):
        asyncio.run(application())
    assert tables(dsn) == set()


def test_from_python_a_connection_is_asked_for(world: tuple[Monorepo, Dsn]) -> None:
    with pytest.raises(CommandError, match=r"Pass a connection in config\.attributes"):
        command.upgrade(called(world[0], "service=billing"), "head")

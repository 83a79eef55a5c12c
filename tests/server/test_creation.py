"""The creation of a database that is interrupted, or that two commands ask for: none is taken for a prepared one."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import asyncpg
import pytest

from service_migrations.databases import admin
from service_migrations.databases.preparation import UNPREPARED
from service_migrations.errors import LockNotObtainedError
from service_migrations.postgres import Server, throwaway
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.database import query, wait
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.world import World

PREPARE = "CREATE SCHEMA prepared;\n"


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> Iterator[World]:
    """The service billing, whose database isn't there, and which an administrator creates."""
    dsn = database()
    query(server.admin, f'DROP DATABASE "{dsn.database}" WITH (FORCE)')
    monorepo.service("billing", dsn=dsn, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    made = World(monorepo, server, dsn)
    made.history(1)
    (monorepo.root / "bootstrap.sql").write_text(PREPARE, encoding="utf-8")
    yield made
    for run in made.runs:
        run.kill()


def paused(world: World) -> str:
    """Let a file of the service pause until a role is gone, which is seen from each database; return the role."""
    role = f"{world.dsn.user}_barrier"
    query(world.server.admin, f'CREATE ROLE "{role}"')
    loop = f"WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') LOOP PERFORM pg_sleep(0.02); END LOOP;"
    text = f"DO $$ BEGIN {loop} END $$;\n"
    (world.monorepo.root / "services/billing/bootstrap.sql").write_text(text, encoding="utf-8")
    return role


def is_paused(world: World) -> bool:
    running = "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query LIKE '%rolname%'"
    return bool(query(world.server.admin, running, world.dsn.database))


def limit(world: World) -> int | None:
    rows = query(world.server.admin, "SELECT datconnlimit FROM pg_database WHERE datname = $1", world.dsn.database)
    return rows[0][0] if rows else None


def kill_while_it_prepares(world: World) -> None:
    """Kill db.create in the second file that it runs, and let its next run go through."""
    role = paused(world)
    run = world.start("db.create")
    until(lambda: is_paused(world), "bootstrap.sql runs")
    run.signal(signal.SIGKILL)
    run.end()
    query(world.server.admin, f'DROP ROLE "{role}"')
    until(
        lambda: not query(world.server.admin, "SELECT 1 FROM pg_stat_activity WHERE datname = $1", world.dsn.database),
        "it is gone",
    )


def test_a_database_whose_creation_was_killed_is_created_anew(world: World) -> None:
    """It was there, so nothing ever prepared it, and its history failed or ran without what an administrator makes."""
    kill_while_it_prepares(world)
    assert limit(world) == UNPREPARED
    ran = world.inv("db.create")
    assert ran.code == 0, ran.text
    assert "which an interrupted `inv db.create` had left unprepared, created database" in ran.out
    assert limit(world) == -1
    assert query(world.admin, "SELECT 1 FROM pg_namespace WHERE nspname = 'prepared'")
    assert "nothing to do" in world.inv("db.create").out
    assert world.inv().code == 0


@pytest.mark.parametrize("words", [("db.upgrade",), ("db.doctor", "--service", "billing")])
def test_a_database_whose_creation_was_killed_is_not_upgraded(world: World, words: tuple[str, ...]) -> None:
    kill_while_it_prepares(world)
    ran = world.inv(*words)
    assert ran.code == 78, ran.text
    assert f"{world.dsn.target} was not prepared: its `inv db.create` was interrupted. Run `inv db.create`" in ran.text
    assert not query(world.admin, "SELECT 1 FROM pg_class WHERE relname = 'alembic_version_billing'")


def test_what_somebody_has_filled_since_is_kept_and_the_line_that_ends_it_is_right(world: World) -> None:
    kill_while_it_prepares(world)
    query(world.admin, "CREATE TABLE restored AS SELECT 1 AS id")
    ran = world.inv("db.create")
    assert (ran.code, len(ran.err.splitlines())) == (78, 1), ran.text
    assert "and it has the table public.restored meanwhile" in ran.err
    assert "Run what is missing of bootstrap.sql, services/billing/bootstrap.sql, and then: ALTER DATABASE" in ran.err
    statement = f"ALTER{ran.err.partition('ALTER')[2].partition(';')[0]}"
    query(world.server.admin, statement)
    assert "nothing to do" in world.inv("db.create").out
    assert world.inv().code == 0


def test_a_database_that_somebody_uses_meanwhile_is_told_with_the_session(world: World) -> None:
    kill_while_it_prepares(world)

    async def create_beside() -> None:
        connection = await asyncpg.connect(**world.admin.connect_args())
        try:
            await admin.create(load(world.monorepo.find("billing")), world.server.admin)
        finally:
            await connection.close()

    with pytest.raises(Exception, match=r"somebody is connected to it \(pid \d+, user postgres, no application_name\)"):
        wait(create_beside())


def test_a_service_without_an_administrator_is_told_who_has_to_end_it(world: World) -> None:
    kill_while_it_prepares(world)
    world.aim()
    ran = world.inv("db.create")
    assert ran.code == 78, ran.text
    assert "Name the administrator in DATABASE_ADMIN_DSN" in ran.err


def test_a_second_command_waits_until_the_first_has_prepared_the_database(world: World) -> None:
    """It said "nothing to do" while bootstrap.sql ran, or failed since the database was there already."""
    role = paused(world)
    first = world.start("db.create")
    until(lambda: is_paused(world), "bootstrap.sql runs")
    second = world.start("db.create")
    second.says(f"waiting for another command that creates the database {world.dsn.database} (pid ")
    refused = world.inv()
    assert refused.code == 75, refused.text
    assert "is being prepared by `inv db.create`" in refused.err
    impatient = world.inv("db.create", MIGRATIONS_LOCK_WAIT="0")
    assert impatient.code == 75, impatient.text
    query(world.server.admin, f'DROP ROLE "{role}"')
    assert "ran bootstrap.sql, ran services/billing/bootstrap.sql" in first.end().out
    ended = second.end()
    assert (ended.code, "nothing to do" in ended.out) == (0, True), ended.text


def test_commands_that_create_one_database_and_one_role_at_once_all_succeed(world: World, server: Server) -> None:
    query(server.admin, f'DROP ROLE "{world.dsn.user}"')
    runs = [world.start("db.create") for _ in range(4)]
    ended = [run.end() for run in runs]
    assert [ran.code for ran in ended] == [0] * 4, [ran.text for ran in ended]
    assert sum("created database" in ran.out for ran in ended) == 1


@pytest.mark.parametrize("inherits", [True, False])
def test_an_administrator_who_is_no_superuser_creates_and_ends_it(world: World, server: Server, inherits: bool) -> None:
    """As of a managed server, where one may have no more than SET ROLE of the role that owns the database."""
    weak = replace(server.admin, user=f"{world.dsn.user}_admin", password="secret")
    query(
        server.admin, f"CREATE ROLE \"{weak.user}\" LOGIN CREATEDB {'' if inherits else 'NO'}INHERIT PASSWORD 'secret'"
    )
    query(server.admin, f'GRANT "{world.dsn.user}" TO "{weak.user}"')
    (world.monorepo.root / "bootstrap.sql").unlink()
    assert wait(admin.create(load(world.monorepo.find("billing")), weak))[0].startswith("created database")
    assert limit(world) == -1
    assert world.inv().code == 0


@pytest.mark.parametrize("exists", [False, True], ids=["new role", "another's role"])
def test_an_administrator_who_may_create_roles_creates_it_with_its_role(
    monorepo: Monorepo, server: Server, exists: bool
) -> None:
    """As of a managed server: who may create roles isn't a member of them, and CREATE DATABASE … OWNER demands that."""
    with throwaway(server.version) as own:
        query(own.admin, "CREATE ROLE boss LOGIN CREATEDB CREATEROLE PASSWORD 'secret'")
        boss = replace(own.admin, user="boss", password="secret")
        target = replace(own.admin, user="billing", database="billing", password="secret")
        if exists:
            query(own.admin, "CREATE ROLE billing LOGIN PASSWORD 'secret'")
        monorepo.service("billing", dsn=target, DATABASE_ADMIN_DSN=dsn_text(boss))
        monorepo.table_revision("billing", "b1", None)
        ran = monorepo.inv("db.create")
        if exists and int(server.version) >= 16:  # before, who may create roles may grant each
            assert ran.code == 77
            assert "Who administers that role can run: GRANT billing TO boss;" in ran.err
            query(own.admin, "GRANT billing TO boss")
            ran = monorepo.inv("db.create")
            assert "created database billing" in ran.out
        else:
            made = "granted billing to boss, created database billing"
            assert (made if exists else f"created role billing, {made}") in ran.out, ran.text
        assert ran.code == 0
        may_create = "SELECT has_schema_privilege('public', 'CREATE') FROM (SELECT 1) AS one"
        assert query(target, may_create) == [(True,)]
        if int(server.version) >= 15:  # before, only the schema's owner takes the right from everybody
            for task in ("db.upgrade", "db.check", "db.drift"):
                ran = monorepo.inv(task)
                assert ran.code == 0, ran.text
        else:
            assert "revoked CREATE" not in ran.text
        assert monorepo.inv("db.create").code == 0
        assert monorepo.inv("db.drop", "--service", "billing", "--yes").code == 0


def test_a_name_that_needs_quotes_is_created_once(world: World, server: Server) -> None:
    name = f'{world.dsn.database} "Ä" % \' x'
    world.dsn = replace(world.dsn, database=name)
    world.aim(DATABASE_ADMIN_DSN=dsn_text(server.admin))
    kill_while_it_prepares(world)
    ran = world.inv("db.create")
    assert ran.code == 0, ran.text
    assert limit(world) == -1
    assert world.inv().code == 0
    assert world.inv("db.drop", "--service", "billing", "--yes").code == 0


def test_a_template_that_is_in_use_is_told_with_the_session(monorepo: Monorepo, server: Server) -> None:
    with throwaway(server.version) as own:
        target = replace(own.admin, user="billing", database="billing", password="secret")
        settings = load(monorepo.service("billing", dsn=target))

        async def create_beside() -> None:
            connection = await asyncpg.connect(**replace(own.admin, database="template1").connect_args())
            try:
                await admin.create(settings, own.admin)
            finally:
                await connection.close()

        with pytest.raises(LockNotObtainedError, match=r"In template1: pid \d+, user postgres, no application_name"):
            wait(create_beside())
        assert "created database billing" in wait(admin.create(settings, own.admin))


def test_a_limit_that_is_prepared_stays(world: World) -> None:
    statement = f'ALTER DATABASE "{world.dsn.database}" CONNECTION LIMIT 7;\n'
    (world.monorepo.root / "services/billing/bootstrap.sql").write_text(statement, encoding="utf-8")
    assert world.inv("db.create").code == 0
    assert limit(world) == 7
    assert world.inv("db.upgrade").code == 0

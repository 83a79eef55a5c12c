"""A server, a role or a database that can do no more: no fault of a history, and a line that says what would help."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.testing.databases import Databases
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo, dsn_text

SORT = "SELECT count(*) FROM (SELECT g FROM generate_series(1, 400000) g ORDER BY md5(g::text)) AS sorted"
"""A statement with more than a mebibyte of temporary files: an end of the disk that a limit stands for."""
LIMITED = f"SET work_mem = '64kB'; SET temp_file_limit = '1MB'; {SORT};"
UPGRADE = ("db.upgrade", "--service", "billing")


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database(creates=True)


@pytest.fixture(params=["asyncpg", "psycopg"])
def of_driver(request: pytest.FixtureRequest, monorepo: Monorepo, dsn: Dsn) -> Dsn:
    """The database of a service that connects with a driver."""
    if request.param == "psycopg":
        pytest.importorskip("psycopg")
        table = f'[tool.service-migrations]\n[tool.service-migrations.service.billing]\ndriver = "{request.param}"\n'
        (monorepo.root / "pyproject.toml").write_text(table, encoding="utf-8")
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r001", None)
    return dsn


def set_for(server: Server, dsn: Dsn, **values: str) -> None:
    for name, value in values.items():
        query(server.admin, f"ALTER ROLE \"{dsn.user}\" SET {name} = '{value}'")


@pytest.mark.parametrize("is_replay", [False, True])
def test_a_revision_that_fills_the_disk_has_a_line_that_says_what_would_help(
    monorepo: Monorepo, dsn: Dsn, server: Server, is_replay: bool
) -> None:
    """A replay of a history that is right isn't told to be corrected."""
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r001", None)
    path = monorepo.revision("billing", "r002", "r001", f'op.execute("{SORT}")')
    if is_replay:
        ran = monorepo.inv(*UPGRADE)
        assert ran.code == 0, ran.text
    set_for(server, dsn, temp_file_limit="1MB", work_mem="64kB")
    ran = monorepo.inv("db.drift", "--service", "billing") if is_replay else monorepo.inv(*UPGRADE)
    assert ran.code == (69 if is_replay else 1), ran.text
    line = ran.err.splitlines()[-1]
    assert path.name in line
    assert "temporary file size exceeds" in line
    assert "[53400]" in line
    assert "such as temp_file_limit: raise it." in line
    assert "The history can't be replayed" not in line
    assert "correct the revision" not in line


@pytest.mark.parametrize("words", [("db.create",), ("db.drift",)])
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (LIMITED, 69, "[53400]. A limit of the server or of the role is reached, such as temp_file_limit: raise it."),
        (
            "SET statement_timeout = 20; SELECT pg_sleep(30);",
            69,
            "canceling statement due to statement timeout [57014]",
        ),
        ("BEGIN; CREATE TABLE kept (id int);", 78, "Write COMMIT at its end. Correct it; the database isn't there"),
        ("SELECT 1;\nCOPY things FROM STDIN;", 78, "COPY FROM STDIN waits for rows, and nobody sends them."),
    ],
)
def test_a_bootstrap_that_cannot_run_is_named_and_leaves_no_database(
    monorepo: Monorepo, dsn: Dsn, server: Server, words: tuple[str, ...], text: str, code: int, message: str
) -> None:
    service = monorepo.service("billing", dsn=dsn, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    monorepo.table_revision("billing", "r001", None)
    if words == ("db.create",):
        query(server.admin, f'DROP DATABASE "{dsn.database}"')
    before = query(server.admin, "SELECT datname FROM pg_database ORDER BY 1")
    (service.path / "bootstrap.sql").write_text(text, encoding="utf-8")
    ran = monorepo.inv(*words, "--service", "billing")
    assert ran.code == code, ran.text
    [line] = ran.err.splitlines()
    assert line.startswith("billing: services/billing/bootstrap.sql")
    assert message in line
    assert query(server.admin, "SELECT datname FROM pg_database ORDER BY 1") == before


def test_a_bootstrap_may_have_transactions_of_its_own(monorepo: Monorepo, dsn: Dsn, server: Server) -> None:
    service = monorepo.service("billing", dsn=dsn, DATABASE_ADMIN_DSN=dsn_text(server.admin))
    query(server.admin, f'DROP DATABASE "{dsn.database}"')
    text = "BEGIN; CREATE SCHEMA one; COMMIT; BEGIN; CREATE SCHEMA two; COMMIT;"
    (service.path / "bootstrap.sql").write_text(text, encoding="utf-8")
    ran = monorepo.inv("db.create", "--service", "billing")
    assert (ran.code, ran.err) == (0, ""), ran.text
    schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('one', 'two') ORDER BY 1"
    assert query(replace(server.admin, database=dsn.database), schemas) == [("one",), ("two",)]


def test_the_timeouts_of_a_role_do_not_end_what_is_done_around_a_history(
    monorepo: Monorepo, dsn: Dsn, server: Server
) -> None:
    """They are for the application; a revision has those of the settings."""
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision("billing", "r002", "r001", 'op.execute("SELECT pg_sleep(0.1)")')
    assert monorepo.inv(*UPGRADE).code == 0
    limits = dict.fromkeys(("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"), "1ms")
    limits |= {"transaction_timeout": "50ms"} if int(server.version) >= 17 else {}
    set_for(server, dsn, **limits)
    ran = monorepo.inv("db.drift", "--service", "billing")
    assert ran.code == 0, ran.text

    query(server.admin, f'DROP DATABASE "{dsn.database}"')
    query(server.admin, f'ALTER ROLE "{dsn.user}" SUPERUSER')
    (service.path / "bootstrap.sql").write_text("SELECT pg_sleep(0.1);", encoding="utf-8")
    admin = replace(dsn, database="postgres")
    target = replace(server.admin, database=dsn.database)
    monorepo.env("billing", DATABASE_DSN=dsn_text(target), DATABASE_ADMIN_DSN=dsn_text(admin))
    ran = monorepo.inv("db.create", "--service", "billing")
    assert ran.code == 0, ran.text
    assert "ran services/billing/bootstrap.sql" in ran.out

    async def work() -> None:
        databases = Databases(replace(server, admin=admin))
        async with databases.connected("a lock") as connection:
            await connection.execute("SELECT pg_sleep(0.1)")

    wait(work())


@pytest.fixture
def closed(server: Server, of_driver: Dsn) -> Iterator[Dsn]:
    query(server.admin, f'ALTER DATABASE "{of_driver.database}" ALLOW_CONNECTIONS false')
    yield of_driver
    query(server.admin, f'ALTER DATABASE "{of_driver.database}" ALLOW_CONNECTIONS true')


@pytest.mark.parametrize(
    "words", [UPGRADE, ("db.status",), ("db.wait", "--service", "billing", "--head", "--timeout", "30s")]
)
def test_a_database_that_takes_no_connections_has_the_statement_that_opens_it(
    monorepo: Monorepo, closed: Dsn, words: tuple[str, ...]
) -> None:
    """Another attempt would be refused too, so that none is made."""
    ran = monorepo.inv(*words)
    assert ran.code == 77, ran.text
    line = ran.err.splitlines()[-1]
    assert line.startswith(f"billing: {closed.target}: ")
    assert "not currently accepting connections" in line
    assert line.endswith(f'ALTER DATABASE "{closed.database}" ALLOW_CONNECTIONS true;')
    assert "Error" not in line


def test_a_database_whose_drop_was_interrupted_is_told_to_be_dropped(
    monorepo: Monorepo, of_driver: Dsn, server: Server
) -> None:
    monorepo.env("billing", DATABASE_DSN=dsn_text(of_driver), DATABASE_ADMIN_DSN=dsn_text(server.admin))
    query(server.admin, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = $1", of_driver.database)
    for task in ("db.upgrade", "db.create"):
        ran = monorepo.inv(task, "--service", "billing")
        assert ran.code == 78, ran.text
        [line] = ran.err.splitlines()
        assert "is invalid, since its DROP DATABASE was interrupted. Run `inv db.drop --service billing`" in line
    for words in (("db.drop", "--yes"), ("db.create",), ("db.upgrade",)):
        ran = monorepo.inv(*words, "--service", "billing")
        assert ran.code == 0, ran.text

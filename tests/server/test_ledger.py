"""What was run stands in the ledger, in the revision's own transaction; and the ledger is in nobody's way."""

import getpass
import json
import logging
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.connection.connector import connector
from service_migrations.errors import AccessDeniedError, MigrationError
from service_migrations.history import revisions as history
from service_migrations.ledger import edited
from service_migrations.ledger.entries import ledger_table, read_entries, readable
from service_migrations.monorepo import Service
from service_migrations.session.session import open_session
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.sessions import hold

LEDGER = "migration_log_billing"


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    """A service with two revisions, at base."""
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE TABLE b2 (id int)")', 'op.execute("DROP TABLE b2")')
    return monorepo.service("billing", dsn=dsn)


def entries(dsn: Dsn) -> list[tuple[str | None, ...]]:
    """Return direction, revision, from and to of each row, the oldest first."""
    sql = f"SELECT direction, revision, from_revision, to_revision FROM {LEDGER} ORDER BY id"  # noqa: S608
    return [tuple(row) for row in query(dsn, sql)]


def there(dsn: Dsn) -> bool:
    return bool(query(dsn, "SELECT to_regclass($1) IS NOT NULL", LEDGER)[0][0])


def exists(dsn: Dsn, table: str) -> bool:
    return bool(query(dsn, "SELECT to_regclass($1) IS NOT NULL", table)[0][0])


def test_each_revision_has_a_row_in_each_direction(service, dsn):
    wait(service_migrations.upgrade(service))
    wait(service_migrations.downgrade(service, "a1"))
    wait(service_migrations.stamp(service, "b2"))
    assert entries(dsn) == [
        ("upgrade", "a1", None, "a1"),
        ("upgrade", "b2", "a1", "b2"),
        ("downgrade", "b2", "b2", "a1"),
        ("stamp", "b2", "a1", "b2"),
    ]


def test_log_returns_the_newest_first_with_who_where_and_when(service):
    before = datetime.now(UTC)
    wait(service_migrations.upgrade(service))
    logged = wait(service_migrations.log(service))
    assert [entry.revision for entry in logged] == ["b2", "a1"]
    for entry in logged:
        assert (entry.os_user, entry.host) == (getpass.getuser(), socket.gethostname())
        assert entry.version == "0.1.0"
        assert entry.git_commit is None
        assert 0 < entry.seconds < (datetime.now(UTC) - before).total_seconds()
        # the server's clock is this machine's; a millisecond is lost in rounding
        assert before.timestamp() - 0.1 < entry.started.timestamp() < datetime.now(UTC).timestamp()
    assert logged[1].started < logged[0].started


def test_the_commit_of_a_checkout_is_written_down(service, monorepo):
    git = ("git", "-C", str(monorepo.root), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    wait(service_migrations.upgrade(service))
    assert {entry.git_commit for entry in wait(service_migrations.log(service))} == {head}


def test_the_commit_is_that_of_the_folder_also_in_a_hook_of_another_repository(service, monorepo, tmp_path):
    heads = []
    for folder in (monorepo.root, tmp_path / "other"):
        git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b")
        folder.mkdir(exist_ok=True)
        for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", folder.name]):
            subprocess.run([*git, *words], check=True)
        ran = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        heads.append(ran.stdout.strip())
    of_the_hook = {"GIT_DIR": str(tmp_path / "other" / ".git"), "GIT_WORK_TREE": str(tmp_path / "other")}
    ran = monorepo.inv("db.upgrade", env=of_the_hook)
    assert ran.code == 0, ran.text
    assert {entry.git_commit for entry in wait(service_migrations.log(service))} == {heads[0]}


def test_a_revision_that_fails_has_no_row(service, dsn, monorepo):
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")\nop.execute("SELECT 1/0")')
    with pytest.raises(MigrationError, match="division by zero"):
        wait(service_migrations.upgrade(service))
    assert [row[1] for row in entries(dsn)] == ["a1", "b2"]
    assert not exists(dsn, "c3")


def test_a_first_revision_that_fails_leaves_no_ledger(monorepo, dsn):
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, 'op.execute("SELECT 1/0")')
    with pytest.raises(MigrationError):
        wait(service_migrations.upgrade(service))
    assert not there(dsn)
    assert wait(service_migrations.log(service)) == ()


def test_where_there_is_nothing_to_do_no_ledger_is_made(service, dsn):
    wait(service_migrations.upgrade(service))
    query(dsn, f"DROP TABLE {LEDGER}")
    wait(service_migrations.upgrade(service))
    wait(service_migrations.upgrade(service, "b2"))
    assert not there(dsn)


def test_an_autocommit_block_has_a_row_too(service, dsn, monorepo):
    body = 'with op.get_context().autocommit_block():\n    op.execute("CREATE INDEX CONCURRENTLY i ON b2 (id)")'
    monorepo.revision("billing", "c3", "b2", body)
    wait(service_migrations.upgrade(service))
    assert entries(dsn)[-1] == ("upgrade", "c3", "b2", "c3")


def test_a_ledger_that_may_not_be_made_stops_no_upgrade(monorepo, database, server, caplog):
    owner = database()
    dsn = database(shared=owner)
    service = monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(service))
    query(dsn, f"DROP TABLE {LEDGER}")
    query(replace(server.admin, database=owner.database), f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}", PUBLIC')
    monorepo.revision("billing", "b2", "a1", 'op.execute("ALTER TABLE billing ADD COLUMN b2 int")')
    monorepo.revision("billing", "c3", "b2", 'op.execute("ALTER TABLE billing ADD COLUMN c3 int")')
    with caplog.at_level(logging.WARNING, "service_migrations"):
        assert wait(service_migrations.upgrade(service)).after == ("c3",)
    query(dsn, "SELECT b2, c3 FROM billing")
    assert not there(dsn)
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "service_migrations.ledger.writer"]
    assert "permission denied for schema public" in warning


def test_a_row_that_is_refused_stops_no_revision(service, dsn, caplog):
    wait(service_migrations.upgrade(service, "a1"))
    query(dsn, f"ALTER TABLE {LEDGER} ADD CHECK (revision <> 'b2')")
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert exists(dsn, "b2")
    assert [row[1] for row in entries(dsn)] == ["a1"]
    assert "violates check constraint" in caplog.text


@pytest.mark.parametrize(("target", "purge"), [("b2", False), ("b2", True), ("base", False), ("base", True)])
def test_a_row_that_is_refused_stops_no_stamp(
    dsn: Dsn, service: Service, caplog: pytest.LogCaptureFixture, target: str, *, purge: bool
) -> None:
    wait(service_migrations.upgrade(service, "a1"))
    query(dsn, f"ALTER TABLE {LEDGER} ADD CHECK (direction <> 'stamp')")
    after = () if target == "base" else (target,)
    assert wait(service_migrations.stamp(service, target, purge=purge)).after == after
    assert query(dsn, "SELECT version_num FROM alembic_version_billing") == [(revision,) for revision in after]
    assert entries(dsn) == [("upgrade", "a1", None, "a1")]
    assert "violates check constraint" in caplog.text


def test_a_ledger_with_a_trigger_is_left_alone(service, dsn, caplog):
    wait(service_migrations.upgrade(service, "a1"))
    query(dsn, "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''sprung''; END'")
    query(dsn, f"CREATE TRIGGER trap BEFORE INSERT ON {LEDGER} FOR EACH ROW EXECUTE FUNCTION trap()")
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert [row[1] for row in entries(dsn)] == ["a1"]
    assert f"DROP TRIGGER trap ON {LEDGER};" in caplog.text
    assert "sprung" not in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TRIGGER mute BEFORE INSERT ON {LEDGER} FOR EACH ROW EXECUTE FUNCTION mute()",
        f"CREATE TRIGGER mute AFTER INSERT ON {LEDGER} FOR EACH STATEMENT EXECUTE FUNCTION mute()",
        f"CREATE RULE mute AS ON INSERT TO {LEDGER} DO INSTEAD NOTHING",
    ],
    ids=["before", "after", "rule"],
)
def test_a_row_that_a_revision_of_the_same_run_would_change_is_warned_of(service, dsn, monorepo, caplog, statement):
    function = "CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    body = f"op.execute({function!r})\nop.execute({statement!r})"
    monorepo.revision(str(service), "c3", "b2", body)
    monorepo.revision(str(service), "d4", "c3", "pass")
    assert wait(service_migrations.upgrade(service)).after == ("d4",)
    assert [row[1] for row in entries(dsn)] == ["a1", "b2"]
    assert caplog.text.count("(it has a trigger or a rule)") == 1


def test_a_comparison_sees_neither_ones_own_ledger_nor_a_siblings_nor_one_that_is_left_over(
    monorepo, service, dsn, database
):
    other = monorepo.service("catalog", dsn=database(shared=dsn))
    monorepo.table_revision("catalog", "k1", None)
    for each_service in (service, other):
        wait(service_migrations.upgrade(each_service))
    query(dsn, "DROP TABLE b2")
    query(dsn, "CREATE TABLE migration_log_of_nobody (id int)")
    for each_service in (service, other):
        assert wait(service_migrations.check(each_service)).differences == ()


def test_a_model_whose_table_is_called_like_a_ledger_is_compared(monorepo, dsn):
    models = (monorepo.root / "services", "migration_logs")
    service = monorepo.service(models[1], dsn=dsn)
    monorepo.table_revision(models[1], "a1", None)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    query(dsn, f"ALTER TABLE {models[1]} DROP COLUMN name")
    assert wait(service_migrations.check(service)).differences


def test_the_ledger_is_in_the_schema_of_the_service(monorepo, dsn):
    models = """
    from sqlalchemy import MetaData
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    __all__ = ["Thing"]


    class Base(DeclarativeBase):
        metadata = MetaData(schema="own")


    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
    """
    service = monorepo.service("billing", models, dsn)
    monorepo.revision(
        "billing", "a1", None, 'op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True), schema="own")'
    )
    wait(service_migrations.upgrade(service))
    assert [row[0] for row in query(dsn, f"SELECT revision FROM own.{LEDGER}")] == ["a1"]  # noqa: S608
    assert [entry.revision for entry in wait(service_migrations.log(service))] == ["a1"]
    assert wait(service_migrations.check(service)).differences == ()


def test_an_engine_of_the_callers_works_too(service, dsn):
    async def run() -> tuple[service_migrations.Entry, ...]:
        engine = create_async_engine(dsn.url, connect_args=dsn.connect_args())
        try:
            await service_migrations.upgrade(service, engine=engine)
            return await service_migrations.log(service, engine=engine)
        finally:
            await engine.dispose()

    assert [entry.revision for entry in wait(run())] == ["b2", "a1"]


def test_the_sql_of_offline_mode_has_no_ledger(service):
    assert "migration_log" not in wait(service_migrations.sql(service, "head"))


@pytest.mark.usefixtures("service")
def test_alembics_own_upgrade_has_rows_too(dsn, monorepo):
    assert monorepo.inv("db.alembic", "--service", "billing", "--", "upgrade", "head").code == 0
    assert [row[1] for row in entries(dsn)] == ["a1", "b2"]


def test_a_ledger_that_may_not_be_read_is_one_line_with_the_grant(monorepo, service, dsn, database):
    wait(service_migrations.upgrade(service))
    stranger = database(shared=dsn)
    monorepo.service("billing", dsn=stranger)
    with pytest.raises(AccessDeniedError) as caught:
        wait(service_migrations.log(service))
    grant = str(caught.value).partition("can run: ")[2]
    query(dsn, grant)
    assert len(wait(service_migrations.log(service))) == 2


def test_the_task_prints_a_table_or_json(service, monorepo):
    ran = monorepo.inv("db.log")
    assert (ran.code, ran.out) == (0, "billing: nothing was run yet\n")
    assert monorepo.inv("db.log", "--json").out == '{\n  "billing": []\n}\n'
    wait(service_migrations.upgrade(service))
    ran = monorepo.inv("db.log", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)["billing"]
    assert [(entry["revision"], entry["direction"]) for entry in found] == [("b2", "upgrade"), ("a1", "upgrade")]
    assert datetime.fromisoformat(found[0]["started"]).tzinfo
    rows = [line.split() for line in monorepo.inv("db.log").out.splitlines() if "upgrade" in line]
    assert [row[4:6] for row in rows] == [["a1", "b2"], ["base", "a1"]]


def test_no_name_of_a_service_makes_a_ledger_whose_name_is_cut(monorepo):
    longest = monorepo.service("x" * 43)
    assert len(f"{longest.version_table}_pkc") == 63
    assert len(f"{longest.ledger_table}_pkey") <= 63


def blocked(dsn: Dsn, monorepo: Monorepo, releases: str) -> list[str | None]:
    """Upgrade while somebody has locked the ledger, and return the revisions of which it has a row."""
    wait(service_migrations.upgrade(monorepo.find("billing")))
    parent = "b2"
    for revision in ("c3", "d4", "e5", "f6", "g7"):
        release = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock' AND relation IS NOT NULL"
        monorepo.revision("billing", revision, parent, f'op.execute("{release}")' if revision == releases else "pass")
        parent = revision
    monorepo.env("billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_LOCK_TIMEOUT="200ms")
    with hold(dsn, f"LOCK TABLE {LEDGER} IN SHARE MODE"):
        wait(service_migrations.upgrade(monorepo.find("billing")))
    assert query(dsn, "SELECT version_num FROM alembic_version_billing") == [("g7",)]
    return [revision for _, revision, _, _ in entries(dsn)]


@pytest.mark.usefixtures("service")
def test_a_locked_ledger_costs_the_rows_of_that_while_alone(dsn: Dsn, monorepo: Monorepo) -> None:
    assert blocked(dsn, monorepo, "e5") == ["a1", "b2", "e5", "f6", "g7"]


@pytest.mark.usefixtures("service")
def test_a_run_waits_for_a_locked_ledger_three_times_at_most(
    dsn: Dsn, monorepo: Monorepo, caplog: pytest.LogCaptureFixture
) -> None:
    """While it waits, the tables of its revision are locked."""
    assert blocked(dsn, monorepo, "g7") == ["a1", "b2"]
    assert sum("the migration goes on" in message for message in caplog.messages) == 3


@pytest.mark.parametrize("seconds", ["NaN", "Infinity"])
def test_seconds_that_are_no_number_of_json_are_read(
    dsn: Dsn, service: Service, monorepo: Monorepo, seconds: str
) -> None:
    wait(service_migrations.upgrade(service))
    query(dsn, f"UPDATE {LEDGER} SET seconds = '{seconds}', started = 'infinity'")  # noqa: S608
    for words in (("db.log",), ("db.log", "--json"), ("db.report", "--html", "report.html")):
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text


@pytest.mark.parametrize(
    "change",
    [
        "ALTER git_commit TYPE int USING 5",
        "ALTER seconds TYPE text USING 'long'",
        "ALTER started TYPE int USING 5",
        "ALTER started TYPE timestamptz USING '0001-01-01 00:00:00+00'",
        "ALTER started TYPE timestamptz USING '9999-12-31 23:59:59+00'",
        "ALTER started TYPE timestamptz USING CASE id WHEN 1 THEN timestamptz '9998-12-31' ELSE '2026-01-01' END",
        "ALTER version TYPE json USING '{}'",
        "ALTER os_user DROP NOT NULL, ALTER os_user TYPE text USING NULL",
        "ALTER direction TYPE boolean USING true",
        "ALTER checksum TYPE int USING 5, ALTER fingerprint TYPE int USING 5",
    ],
)
def test_a_ledger_whose_types_somebody_has_changed_is_read(
    dsn: Dsn, service: Service, monorepo: Monorepo, change: str
) -> None:
    wait(service_migrations.upgrade(service))
    query(dsn, f"ALTER TABLE {LEDGER} {change}")
    monorepo.revision("billing", "c3", "b2", "pass")
    for words in (
        ("db.log",),
        ("db.log", "--json"),
        ("db.report", "--html", "report.html"),
        ("db.upgrade", "--allow", "edited"),
    ):
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            ran = monorepo.inv(*words, env={"TZ": zone})
            assert (ran.code, "Traceback" in ran.text) == (0, False), ran.text


def test_a_row_in_which_somebody_has_made_everything_null_is_read(
    dsn: Dsn, service: Service, monorepo: Monorepo
) -> None:
    wait(service_migrations.upgrade(service))
    columns = [column.name for column in ledger_table(service, None).columns if column.name != "id"]
    query(dsn, f"ALTER TABLE {LEDGER} {', '.join(f'ALTER {column} DROP NOT NULL' for column in columns)}")
    query(dsn, f"UPDATE {LEDGER} SET {', '.join(f'{column} = NULL' for column in columns)}")  # noqa: S608
    empty = service_migrations.Entry("", None, None, "", None, 0.0, "", "", None, "", None, None)
    assert wait(service_migrations.log(service)) == (empty, empty)
    for words in (("db.log",), ("db.log", "--json"), ("db.report", "--html", "report.html")):
        ran = monorepo.inv(*words)
        assert (ran.code, "Traceback" in ran.text) == (0, False), ran.text


@pytest.mark.parametrize(
    "read", [readable, read_entries, edited.edits, edited.known_edits], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("exists", [True, False], ids=["a ledger", "none"])
def test_what_reads_a_ledger_leaves_no_transaction_open(
    dsn: Dsn, service: Service, read: Callable[..., Any], exists: bool
) -> None:
    """Alembic commits nothing in one that was open before."""
    wait(service_migrations.upgrade(service))
    if not exists:
        query(dsn, f"DROP TABLE {LEDGER}")

    async def run() -> bool:
        async with open_session(history.read(service), connector(service)) as session:
            await session.connection.rollback()
            await (read(session, ("b2",)) if read.__module__ == edited.__name__ else read(session))
            return session.connection.in_transaction()

    assert wait(run()) is False


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_search_path_and_a_schema_may_have_a_percent_sign(monorepo: Monorepo, dsn: Dsn, driver: str) -> None:
    query(dsn, f'CREATE SCHEMA "p%q" AUTHORIZATION {dsn.user}')
    path = monorepo.root / "pyproject.toml"
    table = "[tool.service-migrations]\n"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(True) if not line.startswith("driver = ")]
    path.write_text("".join(lines).replace(table, f'{table}driver = "{driver}"\n'), encoding="utf-8")
    monorepo.table_revision("billing", "a1", None)
    monorepo.table_revision("billing", "b2", "a1", "more")
    monorepo.service("billing", dsn=dsn, MIGRATIONS_SEARCH_PATH="""'"p%q", public'""")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 0, ran.text
    recorded = query(dsn, f'SELECT revision FROM "p%q".{LEDGER} ORDER BY id')  # noqa: S608
    assert recorded == [("a1",), ("b2",)]
    assert query(dsn, "SELECT schemaname FROM pg_tables WHERE tablename = 'more'") == [("p%q",)]

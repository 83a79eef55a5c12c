"""The doctor finds what would stop an upgrade or be in its way, and each finding ends with the fix."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace

import asyncpg
import pytest

import service_migrations
from service_migrations.health import doctor
from service_migrations.health.findings import Finding
from service_migrations.monorepo import Service
from service_migrations.postgres import throwaway
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo


async def examine(*arguments: object, **options: object) -> tuple[Finding, ...]:
    """Leave out that the version of this run has ended, which a test of its own is about."""
    findings = await doctor.examine(*arguments, **options)
    return tuple(finding for finding in findings if finding.about != "end of life")


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    """A service at head."""
    monorepo.table_revision("billing", "a1", None)
    billing = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.upgrade(billing))
    return billing


def only(service: Service, **options: object) -> Finding:
    (finding,) = wait(examine(service, **options))
    assert "\n" not in finding.text
    return finding


def statement(finding: Finding) -> str:
    """Return the SQL at the end."""
    match = re.search(r": ([A-Z][^:]+;)$", finding.text)
    assert match, finding.text
    return match[1]


async def beside(dsn: Dsn, sql: str, work: Callable[[], object]) -> object:
    """Do work while a connection has run a statement and stays open."""
    connection = await asyncpg.connect(**dsn.connect_args())
    try:
        await connection.execute(sql)
        return await asyncio.to_thread(work)
    finally:
        await connection.close()


def test_nothing_is_found_where_nothing_is_wrong(service, monorepo):
    assert wait(examine(service)) == ()
    ran = monorepo.inv("db.doctor")
    lines = [line for line in ran.out.splitlines() if "gets no more fixes" not in line]
    assert (ran.code, lines or ["billing: nothing was found"], ran.err) == (0, ["billing: nothing was found"], "")


def test_a_server_whose_version_has_ended_is_noted_and_never_refused(service, server, monorepo):
    later = time.mktime((2099, 1, 1, 0, 0, 0, 0, 0, 0))
    for clock, expected in ((lambda: 0.0, []), (lambda: later, ["end of life"])):
        findings = wait(doctor.examine(service, clock=clock))
        assert [finding.about for finding in findings if finding.about != "clock"] == expected
        assert not any(finding.error for finding in findings)
    assert f"is PostgreSQL {server.version}, which ended on 20" in findings[0].message
    assert monorepo.inv("db.doctor").code == 0


def test_a_server_that_is_newer_than_the_matrix_is_noted_and_never_refused(service, server, monorepo):
    path = monorepo.root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    older = str(int(server.version) - 1)
    path.write_text(re.sub(r"(?m)^postgres = .*$", f'postgres = ["{older}"]', text), encoding="utf-8")
    finding = only(service)
    assert (finding.about, finding.error) == ("version", None)
    assert f"is PostgreSQL {server.version}, and the newest that migrations are tested on is {older}" in finding.message
    monorepo.table_revision("billing", "b2", "a1", "second")
    assert monorepo.inv("db.upgrade").code == 0


def test_what_the_pre_flight_refuses_is_found(service, dsn, monorepo):
    query(dsn, "CREATE RULE trap AS ON UPDATE TO alembic_version_billing DO ALSO SELECT 1")
    finding = only(service)
    assert finding.severity == "error"
    ran = monorepo.inv("db.doctor", "--json")
    assert ran.code == 78
    (problem,) = (each for each in json.loads(ran.out) if each["about"] != "end of life")
    assert (problem["service"], problem["severity"], problem["exit_code"]) == ("billing", "error", 78)
    query(dsn, statement(finding))
    assert wait(examine(service)) == ()


def test_a_right_that_the_pending_revisions_need_is_found(monorepo, database, server):
    owner = database()
    dsn = database(shared=owner)
    monorepo.table_revision("billing", "a1", None)
    service = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.upgrade(service))
    inside = replace(server.admin, database=owner.database)
    query(inside, f'REVOKE CREATE ON SCHEMA public FROM "{dsn.user}", PUBLIC')
    assert wait(examine(service)) == ()
    monorepo.table_revision("billing", "b2", "a1", "second")
    assert monorepo.inv("db.doctor").code == 77
    query(inside, statement(only(service)))
    assert wait(examine(service)) == ()


@pytest.mark.usefixtures("service")
def test_a_server_that_does_not_answer_and_a_wrong_password_have_their_codes(monorepo, dsn):
    monorepo.service("billing", dsn=replace(dsn, hosts=(("127.0.0.1", 1),)))
    assert monorepo.inv("db.doctor").code == 69
    monorepo.service("billing", dsn=replace(dsn, password="wrong"))
    ran = monorepo.inv("db.doctor")
    assert ran.code == 77
    assert ran.out.startswith("error: billing: ")


@pytest.mark.usefixtures("service")
def test_with_several_services_it_is_the_most_serious_code(monorepo, dsn):
    monorepo.service("catalog", dsn=replace(dsn, hosts=(("127.0.0.1", 1),)))
    query(dsn, "CREATE RULE trap AS ON UPDATE TO alembic_version_billing DO ALSO SELECT 1")
    ran = monorepo.inv("db.doctor")
    assert ran.code == 78
    lines = [line for line in ran.out.splitlines() if "gets no more fixes" not in line]
    assert [line.partition(" ")[2].partition(":")[0] for line in lines] == ["billing", "catalog"]


def test_a_revision_that_this_checkout_does_not_have_is_found(service, dsn):
    query(dsn, "UPDATE alembic_version_billing SET version_num = 'later'")
    finding = only(service)
    assert finding.error
    assert finding.error.exit_code == 3


def test_a_revision_that_was_edited_after_it_was_applied_is_found_as_the_upgrade_refuses_it(service, monorepo):
    file = monorepo.root / "migrations" / "versions" / "billing" / "a1.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("sa.String(50)", "sa.String(60)"), encoding="utf-8")
    finding = only(service)
    assert finding.error
    assert finding.error.exit_code == 3
    refusal = monorepo.inv("db.upgrade", "--service", "billing")
    assert (refusal.code, finding.text in refusal.err) == (3, True)
    assert monorepo.inv("db.doctor").code == 3
    file.write_text(text.replace('"""a1."""', '"""A comment is no edit."""'), encoding="utf-8")
    assert wait(examine(service)) == ()


def test_an_extension_that_the_server_does_not_have_is_found(service, monorepo):
    monorepo.revision("billing", "b2", "a1", "op.execute('CREATE EXTENSION IF NOT EXISTS \"no-such_thing\"')")
    finding = only(service)
    assert finding.error
    assert finding.error.exit_code == 78
    assert statement(finding) == 'CREATE EXTENSION "no-such_thing";'


def test_an_extension_that_the_role_may_not_create_is_found(service, monorepo, dsn, server):
    monorepo.revision("billing", "b2", "a1", 'op.execute("create extension pg_prewarm")')
    finding = only(service)
    assert finding.error
    assert finding.error.exit_code == 77
    query(replace(server.admin, database=dsn.database), statement(finding))
    assert wait(examine(service)) == ()


def test_an_extension_that_is_trusted_is_no_finding(service, monorepo):
    monorepo.revision("billing", "b2", "a1", 'op.execute("CREATE EXTENSION pg_trgm")')
    assert wait(examine(service)) == ()


@pytest.mark.parametrize("text", ['"""Create extension for the search."""', "# CREATE EXTENSION no_such_thing"])
def test_an_extension_that_is_only_spoken_of_is_no_finding(service, monorepo, text):
    monorepo.revision("billing", "b2", "a1", f"{text}\nop.execute('SELECT 1')")
    assert wait(examine(service)) == ()


def test_another_encoding_than_utf8_is_found(monorepo, server, database):
    dsn = database()
    query(server.admin, f'DROP DATABASE "{dsn.database}"')
    query(
        server.admin,
        f"CREATE DATABASE \"{dsn.database}\" OWNER \"{dsn.user}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    finding = only(monorepo.service("billing", dsn=dsn))
    assert finding.severity == "warning"
    assert "LATIN1" in finding.text
    query(server.admin, statement(finding))


def test_an_invalid_index_is_found(service, dsn):
    query(dsn, "INSERT INTO billing (name) VALUES ('twice'), ('twice')")
    with pytest.raises(asyncpg.UniqueViolationError):
        query(dsn, 'CREATE UNIQUE INDEX CONCURRENTLY "Half" ON billing (name)')
    finding = only(service)
    assert finding.severity == "warning"
    assert statement(finding) == 'DROP INDEX CONCURRENTLY "Half";'
    query(dsn, statement(finding))
    assert wait(examine(service)) == ()


def test_a_transaction_that_is_open_for_long_is_found(service, dsn):
    begun = "SET application_name = 'report'; BEGIN; SELECT 1"
    assert wait(beside(dsn, begun, lambda: wait(examine(service)))) == ()
    finding = wait(beside(dsn, begun, lambda: only(service, patience=0)))
    assert finding.severity == "warning"
    assert f"user {dsn.user}, report, idle in transaction" in finding.text
    assert statement(finding) == f"SELECT pg_terminate_backend({finding.about.removeprefix('pid ')});"


def test_transactions_of_others_that_are_hidden_are_told_of(service, dsn, database, server):
    other = database(shared=dsn)
    finding = wait(beside(other, "BEGIN; SELECT 1", lambda: only(service, patience=0)))
    assert "1 sessions of other roles" in finding.text
    query(server.admin, statement(finding))
    finding = wait(beside(other, "BEGIN; SELECT 1", lambda: only(service, patience=0)))
    assert f"user {other.user}" in finding.text


def test_a_worker_of_autovacuum_is_nobody_who_hides_a_transaction(monorepo, server):
    settings = {"autovacuum_naptime": "1s", "autovacuum_vacuum_cost_limit": "1", "autovacuum_vacuum_cost_delay": "99"}
    with throwaway(server.version, settings=settings) as own:
        query(own.admin, "CREATE ROLE billing LOGIN PASSWORD 'x'")
        query(own.admin, "CREATE DATABASE billing OWNER billing")
        dsn = replace(own.admin, user="billing", database="billing", password="x")
        service = monorepo.service("billing", dsn=dsn)
        query(dsn, "CREATE TABLE vacuumed AS SELECT generate_series(1, 200000) AS id")
        query(dsn, "DELETE FROM vacuumed")
        works = f"SELECT FROM pg_stat_activity WHERE datname = '{dsn.database}' AND backend_type = 'autovacuum worker'"
        deadline = time.monotonic() + 60
        while not query(own.admin, works):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert wait(examine(service)) == ()
        assert query(own.admin, works)


def test_a_prepared_transaction_is_found(monorepo, preparing):
    query(preparing.admin, "CREATE ROLE prepared LOGIN PASSWORD 'x'")
    query(preparing.admin, "CREATE DATABASE prepared OWNER prepared")
    dsn = replace(preparing.admin, user="prepared", database="prepared", password="x")
    service = monorepo.service("billing", dsn=dsn)
    wait(beside(dsn, "BEGIN; CREATE TABLE t (id int); PREPARE TRANSACTION 'it''s'", lambda: None))
    finding = only(service)
    assert finding.severity == "warning"
    query(dsn, statement(finding))
    assert wait(examine(service)) == ()


@pytest.mark.parametrize("seconds", [-6, 6])
def test_clocks_that_are_apart_are_found(service, seconds):
    finding = only(service, clock=lambda: time.time() + seconds)
    assert finding.text.endswith("timedatectl set-ntp true")
    assert wait(examine(service, clock=lambda: time.time() + seconds / 2)) == ()


def test_a_env_with_a_password_that_others_can_read_is_found_and_warned_of(service, monorepo):
    """Row 37: a warning, with the command that fixes it."""
    path = service.env_file
    path.chmod(0o640)
    finding = only(service)
    assert finding.severity == "warning"
    assert finding.text.endswith("chmod 600 services/billing/.env")
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0
    (warning,) = [line for line in ran.err.splitlines() if "WARNING" in line]
    assert finding.text in warning
    path.chmod(0o600)
    assert wait(examine(service)) == ()


def test_a_env_without_a_password_may_be_read_by_others(service, monorepo, dsn, caplog):
    path = monorepo.env("billing", MIGRATIONS_LOCK_WAIT="1s")
    (monorepo.root / ".env").write_text(f"DATABASE_DSN=postgresql://app@127.0.0.1/{dsn.database}\n", encoding="utf-8")
    (monorepo.root / ".env").chmod(0o644)
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "service_migrations"):
        problems = wait(examine(service))
    assert [finding.about for finding in problems] == ["connection"]
    assert "chmod" not in caplog.text


@pytest.mark.usefixtures("service")
def test_locks_shows_who_holds_the_migration_lock_who_waits_and_who_is_just_connected(monorepo, dsn, database):
    ran = monorepo.inv("db.locks")
    assert (ran.code, ran.out) == (0, f"billing: nobody holds the migration lock of {dsn.database}\n")
    # of another role, which hides its statements from us
    monorepo.table_revision("catalog", "a1", None)
    monorepo.service("catalog", dsn=database(shared=dsn))
    waiter = monorepo.spawn("db.upgrade", "--service", "catalog")

    def look() -> object:
        assert "waiting for the migration lock" in waiter.stderr.readline()

        def waits() -> bool:
            return bool(query(dsn, f"SELECT FROM pg_locks WHERE objid::bigint = {LOCK_KEY + 1 & 0xFFFFFFFF}"))

        while not waits():
            assert waiter.poll() is None
        return monorepo.inv("db.locks", "--service", "billing"), monorepo.inv("db.locks", "--json")

    held = f"SET application_name = 'deploy'; SELECT pg_advisory_lock({LOCK_KEY})"
    reads = "SET application_name = 'migrations billing x@y'"
    try:
        plain, as_json = wait(beside(dsn, held, lambda: wait(beside(dsn, reads, look))))
        _, err = waiter.communicate(timeout=60)
    finally:
        waiter.kill()
        waiter.wait()
    assert waiter.returncode == 0, err
    said = [re.sub(r"(pid|user) [^,]+, |, host.*", "", line) for line in plain.out.splitlines()]
    assert [re.sub(r" catalog .*", " catalog", line) for line in said] == [
        "billing: holds the lock: deploy",
        "billing: waits: migrations catalog",
        "billing: is connected: migrations billing x@y",
    ]
    (shown,) = json.loads(as_json.out)
    assert shown["services"] == ["billing", "catalog"]
    assert [(runner["holds"], runner["waits"]) for runner in shown["runners"]] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert not query(dsn, "SELECT FROM pg_locks WHERE locktype = 'advisory'")


@pytest.mark.usefixtures("service")
def test_locks_of_a_server_that_is_down_is_69(monorepo, dsn):
    monorepo.service("billing", dsn=replace(dsn, hosts=(("127.0.0.1", 1),)))
    ran = monorepo.inv("db.locks")
    assert ran.code == 69
    assert "connection refused" in ran.err

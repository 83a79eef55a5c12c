"""How often an upgrade waits for its server: over a network, that is what it takes its time for."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from service_migrations.upgrade import watcher
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.proxy import proxy

A_REVISION = 3
"""Its statement; the look at session and lock, with what is put back, and the ledger and the version table; COMMIT,
with the mark of the next transaction."""
AUTHENTICATION, FAREWELL = 4, 1
"""The request for TLS, the startup message and two of SCRAM; Terminate, which nobody answers."""
A_SERVICE = 20
"""All that comes before the first revision and after the last one, from the handshake to the farewell, and the first
BEGIN."""
A_SCAN = 1
"""What the scan of a task adds: two queries, of which the upgrade spares one. The connection is the same."""

A_CHECK = 58
"""All of a comparison of one table; a type that asyncpg has to ask for takes six."""


def asked(monorepo: Monorepo, name: str, dsn: Dsn, revisions: int) -> int:
    """Return how often an upgrade of a new service has waited for its server."""
    with proxy(dsn) as (between, through):
        for number in range(revisions):
            down = f"r{number - 1:02}" if number else None
            monorepo.revision(name, f"r{number:02}", down, f'op.execute("CREATE TABLE {name}_{number} (id int)")')
        wait(service_migrations.upgrade(monorepo.service(name, dsn=through)))
        assert len(query(dsn, f"SELECT FROM migration_log_{name}")) == revisions
        return between.asked


def test_an_upgrade_waits_for_its_server_as_seldom_as_it_did(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    # how often the watcher queries, beside the upgrade, depends on how busy this machine is
    monkeypatch.setattr(watcher, "_INTERVAL", 600.0)
    dsn = database()
    single, many = asked(monorepo, "billing", dsn, 1), asked(monorepo, "orders", dsn, 21)
    assert (many - single) / 20 <= A_REVISION
    assert single - A_REVISION <= A_SERVICE


def test_an_upgrade_by_a_task_waits_for_one_query_more(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    with proxy(dsn) as (between, through):
        monorepo.service("billing", dsn=through)
        monorepo.revision("billing", "r1", None, 'op.execute("CREATE TABLE billing_1 (id int)")')
        assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
        assert between.asked <= A_SERVICE + A_REVISION + A_SCAN


@pytest.mark.parametrize(("revision", "watched"), [("pass", False), ('op.execute("SELECT pg_sleep(3)")', True)])
def test_only_a_revision_that_takes_long_is_watched(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch, revision: str, watched: bool
) -> None:
    """What comes before the first revision is six messages, which take longer here than the moment before that."""
    monkeypatch.setattr(watcher, "_INTERVAL", 1.0)
    dsn = database()
    monorepo.revision("billing", "r1", None, revision)
    with proxy(dsn) as (between, through):
        between.delay = 0.2
        wait(service_migrations.upgrade(monorepo.service("billing", dsn=through)))
        assert (between.connections > 1) is watched


def test_a_table_is_read_before_and_after_a_revision_changes_it(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """A statement that is kept by its name fails there: "cached statement plan is invalid"."""
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision(
        "billing",
        "r002",
        "r001",
        'read = lambda: op.get_bind().execute(sa.text("SELECT * FROM billing")).keys()\n'
        "before = len(read())\n"
        'op.execute("ALTER TABLE billing ADD COLUMN more int")\n'
        "assert len(read()) == before + 1",
    )
    wait(service_migrations.upgrade(monorepo.service("billing", dsn=dsn)))
    assert query(dsn, "SELECT more FROM billing") == []


def test_a_database_at_head_is_asked_twice(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """The look at the tables, and what they hold; before, the connection and its authentication, and a farewell."""
    dsn = database()
    with proxy(dsn) as (between, through):
        service = monorepo.service("billing", dsn=through)
        monorepo.table_revision("billing", "r001", None)
        wait(service_migrations.upgrade(service))
        before = between.asked
        assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
        assert between.asked - before == AUTHENTICATION + 2 + FAREWELL


def test_a_check_waits_for_its_server_as_seldom_as_it_did(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    with proxy(dsn) as (between, through):
        service = monorepo.service("billing", dsn=through)
        monorepo.table_revision("billing", "r001", None)
        wait(service_migrations.upgrade(service))
        before = between.asked
        wait(service_migrations.check(service))
        assert between.asked - before <= A_CHECK

"""Several hosts in one DSN, of which one is the primary; and a Unix socket."""

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

import service_migrations
from service_migrations.postgres.ports import free_port
from service_migrations.settings.dsn import Dsn
from tests.support.database import SECRET, query, tables, wait
from tests.support.deadlines import until
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.network import caught_up, folder, line, own_server, pair, refused, role_and_database, upgrade
from tests.support.world import Run


@dataclass(frozen=True)
class Hosts:
    """A primary and its standby: the superuser's DSNs, and how a new database on both is made."""

    primary: Dsn
    standby: Dsn

    def make(self, name: str) -> Dsn:
        dsn = role_and_database(self.primary, name)
        caught_up(self.primary, self.standby)
        return dsn

    def text(self, dsn: Dsn, *hosts: tuple[str, int], attrs: str = "") -> str:
        return dsn_text(replace(dsn, hosts=hosts)) + (f"?target_session_attrs={attrs}" if attrs else "")


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with pair() as (primary, standby):
        assert query(standby, "SELECT pg_is_in_recovery()")[0][0]
        yield Hosts(primary, standby)


@pytest.mark.parametrize("attrs", ["read-write", "primary"])
@pytest.mark.parametrize("order", ["standby_first", "primary_first", "first_is_down"])
def test_the_primary_among_several_hosts_is_upgraded(hosts: Hosts, monorepo: Monorepo, order: str, attrs: str) -> None:
    """Row 35: wherever it stands in the list."""
    dsn = hosts.make(f"app_{order}_{attrs.replace('-', '_')}")
    (primary,), (standby,) = hosts.primary.hosts, hosts.standby.hosts
    down = ("127.0.0.1", free_port())
    places = {
        "standby_first": (standby, primary),
        "primary_first": (primary, standby),
        "first_is_down": (down, standby, primary),
    }[order]
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *places, attrs=attrs))
    assert upgrade(monorepo).after == ("r001",)
    assert "billing" in tables(dsn)


@pytest.mark.parametrize("attrs", ["", "read-write", "any"])
def test_a_standby_alone_takes_no_writes(hosts: Hosts, monorepo: Monorepo, attrs: str) -> None:
    """Row 35: 78, whatever was asked for."""
    dsn = hosts.make(f"alone_{attrs.replace('-', '_')}")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, attrs=attrs))
    told = refused(monorepo)
    assert re.search("takes no writes|read-only|standby", told), told
    assert tables(dsn) == set()


def test_without_a_target_the_first_host_is_meant_even_if_it_is_a_standby(hosts: Hosts, monorepo: Monorepo) -> None:
    dsn = hosts.make("untold")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, *hosts.primary.hosts))
    told = line(monorepo.inv("db.upgrade"), 78)
    assert re.search("read-only|standby", told), told
    assert tables(dsn) == set()


def test_a_service_with_a_schema_of_its_own_is_refused_by_a_standby_too(hosts: Hosts, monorepo: Monorepo) -> None:
    """Its schema is made before the first revision runs, so the standby is met there."""
    dsn = hosts.make("with_schema")
    models = """
    from sqlalchemy import MetaData
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    __all__ = ["Base", "Thing"]


    class Base(DeclarativeBase):
        metadata = MetaData(schema="billing")


    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
    """
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", models, hosts.text(dsn, *hosts.standby.hosts))
    told = refused(monorepo)
    assert re.search("read-only|standby", told), told


def test_a_standby_can_be_asked_for_its_revision(hosts: Hosts, monorepo: Monorepo) -> None:
    dsn = hosts.make("asked")
    monorepo.table_revision("billing", "r001", None)
    monorepo.service("billing", dsn=dsn)
    upgrade(monorepo)
    caught_up(hosts.primary, hosts.standby)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, attrs="standby"))
    states = wait(service_migrations.current(monorepo.find("billing")))
    assert [revision.revision for revision in states] == ["r001"]


# Unix socket


@pytest.fixture(scope="module")
def socket() -> Iterator[tuple[Dsn, Path]]:
    with folder("socket") as home:
        home.chmod(0o755)
        with own_server(unix_socket_directories=str(home)) as server:
            yield role_and_database(server.admin, "app"), home


@pytest.mark.parametrize("form", ["parameter", "escaped"])
def test_a_socket_is_as_good_as_a_host(socket: tuple[Dsn, Path], monorepo: Monorepo, form: str) -> None:
    dsn, home = socket
    _, port = dsn.hosts[0]
    start = f"postgresql://app:{quote(SECRET, safe='')}@"
    text = {
        "parameter": f"{start}/app?host={home}&port={port}",
        "escaped": f"{start}{quote(str(home), safe='')}:{port}/app?sslmode=prefer",
    }[form]
    up = 'op.execute("CREATE TABLE line AS SELECT inet_client_addr() IS NULL AS local")'
    monorepo.revision("billing", "r001", None, up)
    monorepo.service("billing", dsn=text)
    assert upgrade(monorepo).target == f"app@{home}:{port}/app"
    assert query(dsn, "SELECT local FROM line")[0][0] is True
    words = {"parameter": ("db.status",), "escaped": ("db.env", "--service", "billing")}[form]
    ran = monorepo.inv(*words)
    assert ran.code == 0, ran.text
    assert "hunter" not in ran.text
    assert {"parameter": f"app@{home}:{port}/app", "escaped": quote(str(home), safe="")}[form] in ran.out.replace(
        "\n", ""
    )
    query(dsn, "DROP TABLE line, alembic_version_billing, migration_log_billing")


@pytest.mark.parametrize("creates", [False, True])
def test_a_standby_where_no_database_can_be_created_or_dropped_is_78(
    hosts: Hosts, monorepo: Monorepo, creates: bool
) -> None:
    dsn = hosts.make(f"app_databases_{creates}".lower())
    monorepo.revision("billing", "r001", None)
    monorepo.service("billing", "__all__ = []", dsn=dsn)
    done = monorepo.inv("db.upgrade", "--service", "billing")
    assert done.code == 0, done.text
    if creates:
        query(hosts.primary, f'ALTER ROLE "{dsn.user}" CREATEDB')
    caught_up(hosts.primary, hosts.standby)
    admin = dsn_text(hosts.standby)
    there, missing = replace(dsn, hosts=hosts.standby.hosts), replace(dsn, hosts=hosts.standby.hosts, database="none")
    for words, target, administrator in [
        (["db.drift"], there, ""),
        (["db.drift"], there, admin),
        (["db.adopt", "--verify"], there, ""),
        (["db.create"], missing, ""),
        (["db.create"], missing, admin),
        (["db.drop", "--yes"], there, admin),
    ]:
        variables = {"BILLING_DATABASE_DSN": dsn_text(target), "BILLING_DATABASE_ADMIN_DSN": administrator}
        ran = monorepo.inv(*words, "--service", "billing", env=variables)
        assert ran.code == 78, (words, ran.text)
        assert "takes no writes" in ran.err or "is a standby" in ran.err
        assert "left behind" not in ran.err
        assert "CREATEDB" not in ran.err
    assert query(hosts.primary, "SELECT count(*) FROM pg_database WHERE datname LIKE 'migrations_scratch%'") == [(0,)]


def test_a_scratch_database_on_another_server_serves_a_standby(hosts: Hosts, monorepo: Monorepo) -> None:
    dsn, empty = hosts.make("app_compared"), hosts.make("app_empty")
    monorepo.revision("billing", "r001", None)
    monorepo.service("billing", "__all__ = []", dsn=replace(dsn, hosts=hosts.standby.hosts))
    ran = monorepo.inv("db.drift", "--service", "billing", env={"BILLING_DATABASE_SCRATCH_DSN": dsn_text(empty)})
    assert ran.code == 0, ran.text


def test_a_scratch_database_that_is_not_there_is_told_with_the_sql_for_it(hosts: Hosts, monorepo: Monorepo) -> None:
    dsn = hosts.make("app_scratchless")
    monorepo.revision("billing", "r001", None)
    monorepo.service("billing", "__all__ = []", dsn=dsn)
    done = monorepo.inv("db.upgrade", "--service", "billing")
    assert done.code == 0, done.text
    scratch = dsn_text(replace(dsn, database="nowhere"))
    ran = monorepo.inv("db.drift", "--service", "billing", env={"BILLING_DATABASE_SCRATCH_DSN": scratch})
    assert ran.code == 78, ran.text
    assert f"CREATE DATABASE nowhere OWNER {dsn.user};" in ran.err
    assert "db.create" not in ran.err


def test_a_host_that_answers_and_is_passed_over_is_not_taken_for_one_that_is_down(
    hosts: Hosts, monorepo: Monorepo
) -> None:
    dsn, down = hosts.make("app_passed_over"), ("127.0.0.1", free_port())
    monorepo.revision("billing", "r001", None)
    monorepo.service("billing", dsn=hosts.text(dsn, *hosts.standby.hosts, down, attrs="read-write"))
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == 69, ran.text
    assert "A host that answers and isn't read-write was passed over." in ran.err


SLEEPS = 'op.execute("CREATE TABLE r003 (id int)")\nop.execute("SELECT pg_sleep(60)")'


@pytest.mark.parametrize("fleet", [False, True], ids=["alone", "fleet"])
def test_a_failover_ends_a_run_and_the_next_one_goes_on_at_the_new_primary(monorepo: Monorepo, fleet: bool) -> None:
    """The run itself doesn't: over there is neither its lock nor its transaction."""
    with pair() as (primary, standby):
        hosts = Hosts(primary, standby)
        dsn = hosts.make("app_failover")
        for name in ("billing", "catalog") if fleet else ("billing",):
            monorepo.service(name, dsn=hosts.text(dsn, *primary.hosts, *standby.hosts, attrs="read-write"))
        monorepo.table_revision("billing", "r001", None)
        monorepo.table_revision("billing", "r002", "r001", "more")
        monorepo.revision("billing", "r003", "r002", SLEEPS)
        run = Run(monorepo.start("db.upgrade", *(() if fleet else ("--service", "billing"))))
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"
        until(lambda: query(primary, sleeping)[0][0], "r003 sleeps")
        caught_up(primary, standby)
        postmaster = Path(query(primary, "SHOW data_directory")[0][0], "postmaster.pid")
        os.kill(int(postmaster.read_text(encoding="ascii").split()[0]), signal.SIGQUIT)
        query(standby, "SELECT pg_promote()")
        ran = run.end()
        run.kill()
        assert ran.code == 69, ran.text
        assert re.search(r"r003\.py[:, ]", ran.text)
        promoted = replace(dsn, hosts=standby.hosts)
        assert query(promoted, "SELECT version_num FROM alembic_version_billing")[0][0] == "r002"
        monorepo.revision("billing", "r003", "r002", SLEEPS.replace("60", "0"))
        again = monorepo.inv("db.upgrade", "--service", "billing")
        assert again.code == 0, again.text
        assert "went from r002 to r003" in again.out
        assert "r003" in tables(promoted)

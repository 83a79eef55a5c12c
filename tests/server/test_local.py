"""``inv up`` and ``inv down``: a PostgreSQL of the project's own, and a .env for whoever has none."""

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.postgres import VERSIONS, Cluster, local
from service_migrations.postgres.filelock import locked
from service_migrations.postgres.ports import free_port
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.database import query, tables
from tests.support.deadlines import until
from tests.support.git import git
from tests.support.monorepo import Monorepo, Ran, dsn_text
from tests.support.table import set_keys


@pytest.fixture
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The ports of clusters for one test at a time, of all workers: some expect that one is free again."""
    with locked(tmp_path_factory.getbasetemp().parent / "ports.lock"):
        yield


@pytest.fixture
def machine(monorepo: Monorepo, ports: None) -> Iterator[Monorepo]:  # noqa: ARG001 - held
    """A monorepo whose cluster is stopped and removed at the end, whatever happened."""
    with cleaned(monorepo):
        yield monorepo


@contextlib.contextmanager
def cleaned(monorepo: Monorepo) -> Iterator[None]:
    try:
        yield
    finally:
        cluster = local.cluster(monorepo.root)
        if cluster:
            cluster.remove()
            assert not cluster.home.exists()
            assert not cluster.is_running()
        for path in local.home(monorepo.root).parent.glob(f"{local.home(monorepo.root).name}.*"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.text
    assert "Traceback" not in ran.text
    return ran


def rows(ran: Ran) -> dict[str, list[str]]:
    """Return the cells of the table behind the name of each service."""
    cells = [re.split(r"\s{2,}", line.strip()) for line in ran.out.splitlines()]
    assert ["service", "target", "revision", "state", "seconds"] in cells
    return {row[0]: row[1:] for row in cells if len(row) == 5 and re.fullmatch(r"\d+\.\d\d", row[4])}


def running(root: Path) -> Cluster:
    cluster = local.cluster(root)
    assert cluster
    assert cluster.is_running()
    return cluster


def assert_made_for_its_owner_alone(services: tuple[Service, ...], shown: str) -> None:
    passwords = set()
    for service in services:
        assert stat.S_IMODE(service.env_file.stat().st_mode) == 0o600
        text = service.env_file.read_text(encoding="utf-8")
        assert text.startswith("# Made by `inv up` for the project's own PostgreSQL.\n")
        assert "# How long one statement may run" in text
        dsn = load(service, Sources({})).dsn
        passwords.add(dsn.password)
        assert len(dsn.password or "") >= 20
        assert dsn.password not in shown
        assert tables(dsn) == {service.name, f"alembic_version_{service.name}"}
        role = query(dsn, "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user")[0]
        assert tuple(role) == (False, False, False)
        assert query(dsn, "SHOW server_version")[0][0].split(".")[0] == VERSIONS[-1]
    assert len(passwords) == 2


def test_up_brings_everything_up_and_down_ends_it(machine: Monorepo, database: Callable[..., Dsn]) -> None:
    billing, catalog = machine.service("billing"), machine.service("catalog")
    elsewhere = database()
    machine.service("identity", dsn=elsewhere)
    machine.service("remote", dsn="postgresql://app:hunter2@db.invalid/remote")
    for name in ("billing", "catalog", "identity", "remote"):
        machine.table_revision(name, f"{name}1", None)
    untouched = {name: read(machine, name) for name in ("identity", "remote")}

    first = done(machine.inv("up"))
    alone = " Left alone, not on this machine: remote."
    assert first.out.splitlines()[-1] == "Everything is up." + alone
    cluster = running(machine.root)
    assert cluster.version == VERSIONS[-1]
    here = f"127.0.0.1:{cluster.port}"
    printed_rows = rows(first)
    assert printed_rows["billing"][:3] == [f"billing@{here}/billing", "billing1", "1 applied"]
    assert printed_rows["catalog"][:3] == [f"catalog@{here}/catalog", "catalog1", "1 applied"]
    assert printed_rows["identity"][:3] == [elsewhere.target, "identity1", "1 applied"]
    assert printed_rows["remote"][:3] == ["app@db.invalid:5432/remote", "-", "left alone: not on this machine"]
    assert f"Starting PostgreSQL {VERSIONS[-1]} on {here}" in first.err
    assert "Writing services/billing/.env" in first.err
    assert "hunter2" not in first.text
    assert {name: read(machine, name) for name in untouched} == untouched

    assert_made_for_its_owner_alone((billing, catalog), first.text)
    files = {name: read(machine, name) for name in ("billing", "catalog", "identity", "remote")}
    started = query(load(billing, Sources({})).dsn, "SELECT pg_postmaster_start_time()")
    second = done(machine.inv("up"))
    assert second.out.splitlines()[-1] == "Nothing to do: everything was up, and every service at head." + alone
    assert [row[2] for name, row in rows(second).items() if name != "remote"] == ["at head"] * 3
    assert "Running upgrade" not in second.err
    assert "Making" not in second.err
    assert {name: read(machine, name) for name in files} == files
    assert query(load(billing, Sources({})).dsn, "SELECT pg_postmaster_start_time()") == started

    assert done(machine.inv("pg.status")).out.startswith(f"PostgreSQL {VERSIONS[-1]} runs on {here}, in ")
    query(load(billing, Sources({})).dsn, "INSERT INTO billing (name) VALUES ('kept')")
    assert "is stopped; its data stays in" in done(machine.inv("down")).out
    assert not cluster.is_running()
    assert done(machine.inv("down")).out.startswith("Nothing to do: ")
    stopped = machine.inv("pg.status")
    assert (stopped.code, stopped.out) == (69, "")
    assert "does not run. `inv pg.start` starts it." in stopped.err

    third = done(machine.inv("up"))
    assert third.out.splitlines()[-1] == "Everything is up." + alone
    assert rows(third)["billing"][2] == "at head"
    assert query(load(billing, Sources({})).dsn, "SELECT name FROM billing")[0][0] == "kept"
    assert {name: read(machine, name) for name in files} == files


def test_purging_asks_removes_the_data_and_up_makes_it_anew(machine: Monorepo) -> None:
    service = machine.service("billing")
    machine.table_revision("billing", "a1", None)
    done(machine.inv("up"))
    cluster = running(machine.root)
    kept = read(machine, "billing")

    refused = machine.inv("down", "--purge")
    assert refused.code == 2
    assert "add --yes" in refused.err
    assert cluster.is_running()

    purged = done(machine.inv("down", "--purge", "--yes"))
    assert "its data removed; the .env files stay" in purged.out
    assert not cluster.home.exists()
    assert local.cluster(machine.root) is None
    assert read(machine, "billing") == kept
    assert done(machine.inv("down", "--purge", "--yes")).out.startswith("Nothing to do: ")

    again = done(machine.inv("up"))
    assert rows(again)["billing"][2] == "1 applied"
    assert read(machine, "billing") == kept
    assert tables(load(service, Sources({})).dsn) == {"billing", "alembic_version_billing"}


def test_one_services_mistake_does_not_keep_the_others_down(machine: Monorepo, database: Callable[..., Dsn]) -> None:
    good = database()
    machine.service("broken", dsn="mysql://app:hunter2@localhost/x")
    machine.service("catalog", dsn=good)
    machine.table_revision("catalog", "c1", None)
    ran = machine.inv("up")
    assert ran.code == 78
    assert rows(ran)["broken"][:3] == ["-", "-", "failed"]
    assert rows(ran)["catalog"][2] == "1 applied"
    assert "services/broken/.env:1: DATABASE_DSN is for 'mysql'" in ran.err
    assert ran.err.splitlines()[-1] == "1 of 2 services failed."
    assert "hunter2" not in ran.text
    assert "catalog" in tables(good)
    assert local.cluster(machine.root) is None, "nobody needs a server of the project's own"


def test_a_service_with_a_dsn_in_the_environment_gets_no_env_file(
    machine: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = machine.service("billing")
    assert local.lacks_dsn(service, Sources())
    monkeypatch.setenv("BILLING_DATABASE_DSN", "postgresql://app:x@localhost/billing")
    assert not local.lacks_dsn(service, Sources())
    monkeypatch.delenv("BILLING_DATABASE_DSN")
    machine.env("billing", MIGRATIONS_LOCK_WAIT="1s")
    assert not local.lacks_dsn(service, Sources()), "a .env that somebody wrote is theirs"


TEMPLATE = "postgresql://{PG_USER}:{PG_PASSWORD}@{PG_HOST}:{PG_PORT:-5432}/{PG_DB}"


def text_of(machine: Monorepo, name: str) -> str:
    return machine.find(name).env_file.read_text(encoding="utf-8")


def test_the_variables_of_the_team_are_written_and_other_lines_stay(machine: Monorepo) -> None:
    """A new .env from the team's example, and the missing lines of one that is there."""
    (machine.root / ".env.example").write_text(
        "# of the team\nSECRET_KEY=x\nPG_USER=<service>\nPG_PASSWORD=<password>\nPG_HOST=db\nPG_DB=<service>_db\n"
        "DATABASE_URL='postgresql+psycopg2://<service>:<password>@db/<service>_url'\n",
        encoding="utf-8",
    )
    set_keys(machine, f'dsn = "{TEMPLATE}"')
    for name in ("billing", "catalog", "identity", "orders", "remote"):
        machine.service(name)
        machine.table_revision(name, f"{name}1", None)
    set_keys(machine, 'dsn_key = "DATABASE_URL"', service="identity")
    set_keys(machine, 'dsn_key = "DATABASE_URL"', service="orders")
    theirs = "# mine\nexport PG_USER='me'\n\nSECRET_KEY=\"y\" # keep"
    for name in ("catalog", "orders"):
        machine.find(name).env_file.write_text(theirs, encoding="utf-8")
    machine.env("remote", PG_HOST="db.invalid", PG_USER="app", PG_DB="remote")

    ran = machine.inv("up")
    assert ran.code == 78, ran.text
    assert "services/remote/.env: PG_PASSWORD is missing" in ran.err
    assert text_of(machine, "remote") == "PG_HOST=db.invalid\nPG_USER=app\nPG_DB=remote\n", "a server is named there"
    port = running(machine.root).port
    targets = {name: row[0] for name, row in rows(ran).items()}
    assert targets == {
        "billing": f"billing@127.0.0.1:{port}/billing_db",
        "catalog": f"me@127.0.0.1:{port}/catalog_db",
        "identity": f"identity@127.0.0.1:{port}/identity_url",
        "orders": f"orders@127.0.0.1:{port}/orders_url",
        "remote": "-",
    }
    assert text_of(machine, "billing").startswith(
        "# Made by `inv up` for the project's own PostgreSQL.\n# of the team\n"
    )
    assert "SECRET_KEY=x\nPG_USER=billing\n" in text_of(machine, "billing")
    assert text_of(machine, "catalog").startswith(f"{theirs}\n\n# Made by `inv up`")
    assert "PG_USER=me" not in text_of(machine, "catalog")
    assert "DATABASE_URL=postgresql+psycopg2://identity:" in text_of(machine, "identity")
    assert text_of(machine, "orders").startswith(f"{theirs}\n\n# Made by `inv up`")
    for name in ("billing", "identity"):
        assert stat.S_IMODE(machine.find(name).env_file.stat().st_mode) == 0o600
    files = {name: text_of(machine, name) for name in targets}
    assert machine.inv("up").code == 78
    assert {name: text_of(machine, name) for name in targets} == files

    machine.find("remote").env_file.unlink()
    shutil.rmtree(machine.find("remote").path)
    moved = free_port()
    done(machine.inv("up", "--port", str(moved)))
    for name in ("billing", "catalog", "identity", "orders"):
        assert load(machine.find(name), Sources({})).dsn.hosts == (("127.0.0.1", moved),)
    assert text_of(machine, "catalog").startswith(theirs)


def test_up_writes_no_file_of_a_named_environment(machine: Monorepo, database: Callable[..., Dsn]) -> None:
    service = machine.service("billing")
    machine.table_revision("billing", "b1", None)
    ran = machine.inv("up", "--env", "test")
    assert (ran.code, local.cluster(machine.root)) == (78, None), ran.text
    assert "services/billing/.env.test and .env.test do not exist" in ran.err
    assert sorted(path.name for path in service.path.glob(".env*")) == []
    machine.env("billing", DATABASE_DSN=dsn_text(database())).rename(service.path / ".env.test")
    assert rows(done(machine.inv("up", "--env", "test")))["billing"][2] == "1 applied"


def test_a_service_that_cant_get_its_env_stops_no_other(machine: Monorepo) -> None:
    billing = machine.service("billing")
    machine.table_revision("billing", "b1", None)
    machine.service("catalog")
    machine.env("catalog", DATABASE_DSN="'postgresql://app:x@localhost/catalog")
    (machine.service("identity").path / ".env.example").write_bytes(b"DATABASE_DSN=\xff\n")
    machine.service("orders").env_file.symlink_to(machine.root / "nowhere" / ".env")
    ran = machine.inv("up")
    assert ran.code == 78, ran.text
    assert "Traceback" not in ran.text
    for said in (
        "services/catalog/.env:1 is no KEY=value line.",
        "services/identity/.env.example: byte 13 is not UTF-8.",
        "services/orders/.env can't be read: it is a link to ",
        "3 of 4 services failed.",
    ):
        assert said in ran.err
    assert {name: row[2] for name, row in rows(ran).items()} == {
        "billing": "1 applied", "catalog": "failed", "identity": "failed", "orders": "failed"
    }  # fmt: skip
    assert tables(load(billing, Sources({})).dsn) == {"billing", "alembic_version_billing"}


def test_an_env_file_is_never_overwritten(monorepo: Monorepo) -> None:
    service = monorepo.service("billing", dsn="postgresql://app:x@localhost/billing")
    before = read(monorepo, "billing")
    with pytest.raises(ConfigurationError, match=r"^services/billing/\.env can't be written: File exists\."):
        local.write_env(service, Cluster(monorepo.root, "18", 1, "secret"))
    assert read(monorepo, "billing") == before


def test_the_services_own_example_is_what_its_env_is_made_from(monorepo: Monorepo) -> None:
    service = monorepo.service("inventory")
    (service.path / ".env.example").write_text(
        "DATABASE_DSN=postgresql://<service>:<password>@localhost:5432/shop\n", encoding="utf-8"
    )
    local.write_env(service, Cluster(monorepo.root, "18", 54321, "secret"))
    assert load(service, Sources({})).dsn.target == "inventory@127.0.0.1:54321/shop"
    assert local.made_here(service)


@pytest.mark.parametrize(
    ("example", "says"),
    [
        (None, "can't be read"),
        (b"X=1\n", "DATABASE_DSN is missing"),
        (b"DATABASE_DSN=\xff\n", "byte 13 is not UTF-8. Save the file as UTF-8."),
    ],
)
def test_an_example_that_cant_be_filled_in_is_told(monorepo: Monorepo, example: bytes | None, says: str) -> None:
    service = monorepo.service("billing")
    path = monorepo.root / ".env.example"
    path.unlink()
    if example:
        path.write_bytes(example)
    with pytest.raises(ConfigurationError, match=rf"^\.env\.example.*{says}"):
        local.write_env(service, Cluster(monorepo.root, "18", 1, "secret"))
    assert not service.env_file.exists()


def test_only_the_projects_own_server_is_administered(monorepo: Monorepo) -> None:
    assert local.admin_for(Dsn("app", "billing", (("127.0.0.1", 5432),), "x"), monorepo.root) is None
    assert local.cluster(monorepo.root) is None


@pytest.mark.parametrize(
    "text",
    [
        *("{", "{}", "[]", "null", "1"),
        '{"version": "18", "port": "5432", "password": "x"}',
        '{"version": "18", "port": 99999, "password": "x"}',
        '{"version": 18, "port": 5432, "password": "x"}',
        '{"version": "18", "port": 5432, "password": null}',
    ],
)
def test_a_damaged_state_file_is_told_with_its_mend(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"cluster\.json is damaged .*restore it\. Or move the folder .* away"):
        Cluster.read(tmp_path)


def test_data_whose_state_file_is_gone_is_kept(machine: Monorepo) -> None:
    service = machine.service("billing")
    machine.table_revision("billing", "a1", None)
    done(machine.inv("up"))
    query(load(service, Sources({})).dsn, "INSERT INTO billing (name) VALUES ('kept')")
    done(machine.inv("down"))
    state = local.home(machine.root) / "cluster.json"
    text = state.read_bytes()
    state.unlink()

    for words in (["up"], ["pg.start"]):
        refused = machine.inv(*words)
        assert (refused.code, refused.out) == (78, "")
        assert f"{state.parent} is not empty, and has no cluster.json. " in refused.err
        assert f"restore it. Or move the folder {state.parent} away; then `inv up` makes a new" in refused.err
        assert "Traceback" not in refused.err

    state.write_bytes(text)
    assert rows(done(machine.inv("up")))["billing"][2] == "at head"
    assert query(load(service, Sources({})).dsn, "SELECT name FROM billing")[0][0] == "kept"


def test_two_first_runs_at_once_make_one_cluster(machine: Monorepo) -> None:
    machine.service("billing")
    machine.table_revision("billing", "a1", None)
    runs = [machine.spawn("up"), machine.spawn("up")]
    ends = []
    for run in runs:
        out, err = run.communicate(timeout=120)
        ends.append(done(Ran(run.returncode, out, err)))
    assert sorted(rows(end)["billing"][2] for end in ends) == ["1 applied", "at head"]
    assert sum("Making a PostgreSQL" in end.err for end in ends) == 1
    assert sum("Waiting for another `inv up` or `inv down` to end" in end.err for end in ends) == 1
    running(machine.root)


def test_git_sees_nothing_of_the_cluster_where_no_gitignore_names_it(machine: Monorepo) -> None:
    git(machine, "init", "--quiet")
    machine.service("billing")
    done(machine.inv("up"))
    folder = running(machine.root).home.parent  # outside of the repository where the server's account can't enter it
    assert (folder / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert ".postgres" not in git(machine, "status", "--porcelain", "--untracked-files=all")


@pytest.mark.parametrize("ignored", ["", ".env\n"])
def test_a_env_that_the_next_commit_would_have_is_warned_of(machine: Monorepo, ignored: str) -> None:
    git(machine, "init", "--quiet")
    (machine.root / ".gitignore").write_text(ignored)
    machine.service("billing")
    warning = "services/billing/.env has a password, and git doesn't ignore such files. Add to .gitignore: .env\n"
    ran = done(machine.inv("up"))
    assert (warning in ran.err) == (not ignored), ran.text
    assert ".gitignore" not in done(machine.inv("up")).text


@pytest.mark.usefixtures("ports")
def test_the_first_runs_of_several_checkouts_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    checkouts = [Monorepo.make(tmp_path / f"checkout_{number}") for number in range(3)]
    with contextlib.ExitStack() as stack:
        for checkout in checkouts:
            checkout.service("alpha")
            stack.enter_context(cleaned(checkout))
        runs = [checkout.spawn("up") for checkout in checkouts]
        for run in runs:
            out, err = run.communicate(timeout=120)
            done(Ran(run.returncode, out, err))
        listening = {running(checkout.root).port for checkout in checkouts}
        assert {load(checkout.find("alpha")).dsn.hosts[0][1] for checkout in checkouts} == listening
        assert len(listening) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_first_run_that_is_stopped_leaves_nothing_in_the_way_of_the_next(
    machine: Monorepo, number: signal.Signals
) -> None:
    machine.service("billing")
    machine.table_revision("billing", "a1", None)
    home = local.home(machine.root)
    with machine.spawn("up") as run:
        # where root can't use the monorepo's own folder, the clusters of all tests are side by side
        until(lambda: list(home.parent.glob(f"{home.name}.*/data/PG_VERSION")), "initdb is at work")
        assert not home.exists()
        run.send_signal(number)
        _, err = run.communicate(timeout=10)
    assert not home.exists()
    if number != signal.SIGKILL:
        assert run.returncode == 128 + number
        assert err.endswith(f"Stopped by {number.name}.\n")
        assert [path.name for path in home.parent.glob(f"{home.name}*")] == [f"{home.name}.lock"]
        assert not programs_with(home)
    assert rows(done(machine.inv("up")))["billing"][2] == "1 applied"


def programs_with(text: Path) -> list[str]:
    """Return the command lines of all processes that hold a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(path.read_text(encoding="utf-8", errors="replace"))
    return [words for words in found if str(text) in words]


def test_two_checkouts_have_two_clusters(tmp_path: Path) -> None:
    assert local.home(tmp_path / "a") != local.home(tmp_path / "b")


def read(monorepo: Monorepo, name: str) -> tuple[bytes, int, int]:
    """Return a .env with the time and the mode that tell whether it was written again."""
    path = monorepo.root / "services" / name / ".env"
    status = path.stat()
    return path.read_bytes(), status.st_mtime_ns, status.st_mode


def test_on_a_terminal_it_upgrades_behind_the_live_line(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """The live line is drawn by a thread, and a process with threads can't fork its workers."""
    for name in ("billing", "orders"):
        monorepo.service(name, dsn=database())
        monorepo.table_revision(name, f"{name}1", None)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "up"],
        cwd=monorepo.root,
        env={**os.environ, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(ours, 65536):
            output += part
    os.close(ours)
    assert process.wait(60) == 0, output
    assert b"Everything is up." in output
    assert output.count(b"1 applied") == 2


def test_another_port_is_taken_by_the_server_and_by_its_env_files(machine: Monorepo) -> None:
    machine.service("billing")
    machine.service("catalog")
    for name in ("billing", "catalog"):
        machine.table_revision(name, f"{name}1", None)
    done(machine.inv("up"))
    first = running(machine.root)
    first.stop()
    mixed = machine.find("billing").env_file
    mixed.write_bytes(b"# ours, of Windows\r\n\n" + mixed.read_bytes())
    with socket.create_server(("127.0.0.1", first.port)):
        refused = machine.inv("up")
        assert (refused.code, f"Port {first.port} of this machine is taken" in refused.err) == (69, True), refused.text
        assert "inv up --port" in refused.err
        again = machine.inv("up", "--port", str(first.port))
        assert again.code == 69, again.text
        port = free_port()
        done(machine.inv("up", "--port", str(port)))
        moved = running(machine.root)
        assert (moved.port, moved.password) == (port, first.password)
        for service in machine.find("billing"), machine.find("catalog"):
            assert load(service, Sources({})).dsn.hosts == (("127.0.0.1", port),)
            assert stat.S_IMODE(service.env_file.stat().st_mode) == 0o600
        assert mixed.read_bytes().startswith(b"# ours, of Windows\r\n\n")
        assert done(machine.inv("db.status")).out.count("at head") == 2
        # while it runs, it is moved too, and stays there
        another = free_port()
        done(machine.inv("up", "--port", str(another)))
        assert done(machine.inv("up")).out.splitlines()[-1].startswith("Nothing to do")
        assert running(machine.root).port == another
    wrong = machine.inv("up", "--postgres", VERSIONS[0])
    assert (wrong.code, "inv down --purge" in wrong.err) == (2, True), wrong.text
    running(machine.root).stop()
    for words in (("db.status",), ("db.current", "-s", "billing")):
        down = machine.inv(*words)
        assert (down.code, "`inv pg.start` starts it" in down.err) == (69, True), down.text
    env_file, edited = machine.find("billing").env_file, free_port()
    env_file.write_text(env_file.read_text().replace(f":{another}/", f":{edited}/"))
    down = machine.inv("db.current", "-s", "billing")
    assert (down.code, f"127.0.0.1:{edited}/billing: connection refused" in down.err) == (69, True), down.text
    assert "is the address" not in down.err
    assert "`inv pg.status` has its address" in down.err
    address = {"BILLING_DATABASE_DSN": f"postgresql://billing:x@127.0.0.1:{free_port()}/billing"}
    elsewhere = machine.inv("db.current", "-s", "billing", env=address)
    assert (elsewhere.code, "Is the server up" in elsewhere.err) == (69, True), elsewhere.text


def test_a_port_that_one_env_file_cant_get_is_given_to_none(machine: Monorepo) -> None:
    for name in ("billing", "catalog"):
        machine.service(name)
        machine.table_revision(name, f"{name}1", None)
    done(machine.inv("up"))
    before = running(machine.root)
    texts = [machine.find(name).env_file.read_bytes() for name in ("billing", "catalog")]
    link = machine.find("catalog").env_file
    too_long = link.rename(link.with_name("e" * 250))  # for the name of the file that the new text is written to
    link.symlink_to(too_long)
    ran = machine.inv("up", "--port", str(free_port()))
    assert (ran.code, "services/catalog/.env can't be written: " in ran.err) == (78, True), ran.text
    assert "Traceback" not in ran.text
    assert [machine.find(name).env_file.read_bytes() for name in ("billing", "catalog")] == texts
    assert running(machine.root) == before
    too_long.replace(link)
    port = free_port()
    done(machine.inv("up", "--port", str(port)))
    assert running(machine.root).port == port


@pytest.mark.parametrize("words", [("down",), ("down", "--purge", "--yes"), ("pg.stop",)])
def test_down_waits_for_an_up_that_runs(machine: Monorepo, words: tuple[str, ...]) -> None:
    machine.service("billing")
    machine.table_revision("billing", "b1", None)
    done(machine.inv("up"))
    with local.alone(lambda _: None, machine.root):
        down = machine.spawn(*words)
        assert down.stderr
        assert "Waiting for another `inv up`" in down.stderr.readline()
        running(machine.root)
    out, _ = down.communicate(timeout=60)
    assert (down.returncode, "is stopped" in out) == (0, True), out


def test_two_that_remove_the_cluster_at_once_both_succeed(machine: Monorepo) -> None:
    done(machine.inv("pg.start"))
    with local.alone(lambda _: None, machine.root):
        both = [machine.spawn("down", "--purge", "--yes") for _ in range(2)]
        for down in both:
            assert down.stderr
            assert "Waiting for another `inv up`" in down.stderr.readline()
    outputs = sorted(down.communicate(timeout=60)[0] for down in both)
    assert [down.returncode for down in both] == [0, 0], outputs
    assert ("Nothing to do: " in outputs[0], "its data removed" in outputs[1]) == (True, True), outputs


def test_an_interrupted_removal_leaves_no_half_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Cluster(tmp_path / "18-0", "18", free_port(), "password")
    stopped.data.mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stopped.remove()
    monkeypatch.undo()
    assert not stopped.home.exists()
    stopped.data.mkdir(parents=True)
    stopped.remove()
    assert list(tmp_path.iterdir()) == []


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_version_is_made_where_there_is_none_and_every_command_finds_it(machine: Monorepo) -> None:
    machine.service("billing")
    machine.table_revision("billing", "b1", None)
    version = os.environ.get("POSTGRES_VERSION", VERSIONS[-2])
    done(machine.inv("up", "--postgres", version))
    cluster = running(machine.root)
    assert cluster.version == version
    wrong = machine.inv("up", "--postgres", "9")
    assert (wrong.code, "PostgreSQL '9' is not in the matrix" in wrong.err) == (2, True), wrong.text
    assert done(machine.inv("pg.status")).out.startswith(f"PostgreSQL {version} runs on")
    assert "Nothing to do" in done(machine.inv("up")).out
    assert f"PostgreSQL {version} is stopped" in done(machine.inv("down", "--purge", "--yes")).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "x"), "--port 'x': a whole number is needed"),
        (("--port", "0"), "a whole number is needed, 1 or more"),
        (("--port", "65536"), "the last port is 65535"),
        (("--postgres", "9"), "PostgreSQL '9' is not in the matrix"),
    ],
)
def test_a_port_or_a_version_that_cannot_be_is_wrong_use(machine: Monorepo, words: tuple[str, ...], said: str) -> None:
    machine.service("billing")
    ran = machine.inv("up", *words)
    assert (ran.code, said in ran.err) == (2, True), ran.text
    assert local.cluster(machine.root) is None


def test_a_port_is_refused_where_no_service_uses_the_projects_own_server(monorepo: Monorepo, database) -> None:
    monorepo.service("billing", dsn=database())
    for words in (("--port", "54400"), ("--postgres", VERSIONS[0])):
        ran = monorepo.inv("up", *words)
        assert (ran.code, "no service uses it" in ran.err) == (2, True), ran.text


def test_up_runs_bootstrap_sql_as_an_administrator_and_only_once(machine: Monorepo) -> None:
    """A fault in it is one line with its place, and leaves no database; the other services come up."""
    billing, catalog = machine.service("billing"), machine.service("catalog")
    machine.table_revision("billing", "r1", None)
    machine.table_revision("catalog", "r1", None)
    extension = "CREATE EXTENSION file_fdw;\nCREATE TABLE made_once (id int);\n"
    role = (
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN CREATE ROLE reader; END IF; "
        "END $$;"
    )
    (machine.root / "bootstrap.sql").write_text(f"{role}\nGRANT USAGE ON SCHEMA public TO reader;\n", encoding="utf-8")
    own = machine.root / "services" / "billing" / "bootstrap.sql"
    own.write_text(f"{extension}CREATE EXTENSION absent;\nSELEC 1;\n", encoding="utf-8")
    failed = machine.inv("up")
    assert failed.code == 78, failed.text
    assert failed.err.count("services/billing/bootstrap.sql:4: syntax error") == 1, failed.text
    assert "Traceback" not in failed.text
    assert tables(load(catalog, Sources({})).dsn) == {"catalog", "alembic_version_catalog"}
    for text, place in ((f"{extension}CREATE EXTENSION absent;", "bootstrap.sql"), (extension, "")):
        own.write_text(text, encoding="utf-8")
        ran = machine.inv("up")
        assert (ran.code, place in ran.err) == (78 if place else 0, True), ran.text
    dsn = load(billing, Sources({})).dsn
    assert query(
        dsn, "SELECT extname, rolsuper FROM pg_extension JOIN pg_roles r ON r.oid = extowner WHERE extname ~ 'fdw'"
    )
    assert "made_once" in tables(dsn)
    assert done(machine.inv("up")).out.endswith("Nothing to do: everything was up, and every service at head.\n")
    assert query(dsn, "SELECT FROM pg_roles WHERE rolname = 'reader'")


@pytest.mark.parametrize("dsn", ["", "postgresql://{APP_USER}:{APP_PASSWORD}@{APP_HOST}:{APP_PORT}/{APP_DB}"])
def test_services_that_share_a_role_get_one_password(machine: Monorepo, dsn: str) -> None:
    """Each had a password of its own, and the last one locked the others out."""
    if dsn:
        set_keys(machine, f'dsn = "{dsn}"')
    for name in ("billing", "catalog", "orders"):
        folder = machine.service(name, "__all__ = []").path
        lines = ["APP_USER=shared", "APP_PASSWORD=<password>", "APP_DB=shared"]
        text = "\n".join(lines) if dsn else "DATABASE_DSN=postgresql://shared:<password>@localhost:5432/shared"
        (folder / ".env.example").write_text(f"{text}\n")
        machine.revision(name, f"{name}_1", None)
    assert done(machine.inv("up")).out.splitlines()[-1] == "Everything is up."
    # one that comes later, too
    machine.find("orders").env_file.unlink()
    done(machine.inv("up"))
    assert done(machine.inv("db.status")).out.count("at head") == 3

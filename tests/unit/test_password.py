"""A password that expires: a command or a function that returns it."""

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, UnreachableError
from service_migrations.monorepo import Service
from service_migrations.settings import password
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.password import PASSWORD_KEYS
from service_migrations.settings.sources import Sources
from tests.support.monorepo import Monorepo
from tests.support.table import set_keys

BARE = "postgresql://app@h:6543/shop"


def of(service: Service, command: str, **environment: str) -> Dsn:
    return load(service, Sources({"BILLING_DATABASE_PASSWORD_COMMAND": command, **environment})).dsn


def current(dsn: Dsn) -> str:
    return asyncio.run(dsn.current_password())


def refused(kind: type[MigrationError], dsn: Dsn) -> str:
    with pytest.raises(kind) as caught:
        current(dsn)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "hunter2" not in message
    return message


@pytest.fixture
def billing(monorepo: Monorepo) -> Service:
    return monorepo.service("billing", dsn=BARE)


def script(monorepo: Monorepo, text: str) -> str:
    path = monorepo.root / "token"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o700)
    return "./token"


def test_the_first_line_that_a_command_prints_is_the_password(billing: Service) -> None:
    dsn = of(billing, r"printf 'pa$$ %%x\r\nsecond\n'")
    assert current(dsn) == "pa$$ %x"
    assert dsn.password is None
    assert "***" in dsn.masked()


@pytest.mark.parametrize("name", ["of_file", "of_environment"])
def test_it_is_run_without_a_shell_at_the_top_level(
    monorepo: Monorepo, billing: Service, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = script(monorepo, 'printf "%s|" "$@"') + " 'a b' '$HOME' '*' ';' {host}:{port} {user} {other}"
    monkeypatch.chdir(billing.path)
    if name == "of_file":
        monorepo.env("billing", DATABASE_DSN=BARE, DATABASE_PASSWORD_COMMAND=f'"{command}"')
        dsn = load(billing, Sources({})).dsn
    else:
        dsn = of(billing, command)
    assert current(dsn) == "a b|$HOME|*|;|h:6543|app|{other}|"


def test_it_is_run_anew_for_a_connection_after_a_minute(
    monorepo: Monorepo, billing: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = of(billing, script(monorepo, 'echo x >> runs; wc -l < runs | tr -d " "'))
    now = time.monotonic()
    monkeypatch.setattr(password.time, "monotonic", lambda: now)
    source = dsn.connect_args()["password"]
    assert [asyncio.run(source()) for _ in range(2)] == ["1", "1"]
    now += password.REUSED - 1
    assert asyncio.run(source()) == "1"
    now += 2
    assert asyncio.run(source()) == "2"


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("exit 3", AccessDeniedError, "ended with 3."),
        ("echo hunter2; echo one >&2; echo 'no session for hunter2.' >&2; exit 1", AccessDeniedError, "no session for"),
        ("kill -9 $$", AccessDeniedError, "ended with -9."),
        ("true", ConfigurationError, "printed no password in its first line."),
        ("echo; echo hunter2", ConfigurationError, "printed no password in its first line."),
        ("printf 'hunt\\001er2'", ConfigurationError, "printed no password in its first line."),
    ],
)
def test_a_command_that_fails_is_one_line_without_the_password(
    monorepo: Monorepo, billing: Service, text: str, kind: type[MigrationError], says: str
) -> None:
    message = refused(kind, of(billing, f"{script(monorepo, text)} --secret=hunter2"))
    assert message.startswith(
        "billing: environment BILLING_DATABASE_PASSWORD_COMMAND: DATABASE_PASSWORD_COMMAND: ./token "
    ), message
    assert says in message


def test_of_a_long_line_of_a_command_only_the_beginning_is_shown(monorepo: Monorepo, billing: Service) -> None:
    line = "".join(f"{number:04}" for number in range(100))
    message = refused(AccessDeniedError, of(billing, script(monorepo, f"echo {line} >&2; exit 1")))
    assert message.endswith(f"ended with 1: {line[:200]}.")


def test_a_command_that_is_none_is_told(billing: Service) -> None:
    assert "missing-program can't be run: No such file" in refused(ConfigurationError, of(billing, "missing-program"))
    assert "can't be run: embedded null byte" in refused(ConfigurationError, of(billing, "missing\0program"))
    with pytest.raises(ConfigurationError, match="is no command line: No closing quotation"):
        of(billing, "echo 'hunter2")


@pytest.mark.parametrize("command", [" ", "\t", "''", "'' x"])
def test_a_command_without_a_program_is_told(billing: Service, command: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        of(billing, command)
    name = "DATABASE_PASSWORD_COMMAND"
    assert str(caught.value) == f"environment BILLING_{name}: {name} names no program."


def test_a_command_that_hangs_is_ended_with_what_it_has_started(
    monorepo: Monorepo, billing: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password, "TIMEOUT", 0.5)
    start = time.monotonic()
    message = refused(UnreachableError, of(billing, script(monorepo, "sleep 60 & echo $! > pid; wait")))
    assert time.monotonic() - start < 30  # it isn't waited for
    assert message.endswith("./token gave no password within 0.5 s.")
    pid = int((monorepo.root / "pid").read_text())
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("what the command has started still runs")


def test_what_a_command_that_has_ended_leaves_running_goes_on(monorepo: Monorepo, billing: Service) -> None:
    """Such as an agent that keeps a session for the next call."""
    dsn = of(billing, script(monorepo, "sleep 60 > /dev/null 2>&1 & echo $! > pid; echo token"))
    assert current(dsn) == "token"
    pid = int((monorepo.root / "pid").read_text())
    time.sleep(0.1)  # a signal takes a moment
    assert Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["DATABASE_DSN", "BILLING_DATABASE_DSN"])
def test_the_command_of_a_file_is_for_the_server_that_the_file_names(
    monorepo: Monorepo, billing: Service, name: str
) -> None:
    monorepo.env("billing", DATABASE_DSN=BARE, DATABASE_PASSWORD_COMMAND="'echo token'")
    for given, expected in ((BARE, "token"), (BARE.replace("@h", "@elsewhere"), ""), (BARE.replace("6543", "1"), "")):
        assert current(load(billing, Sources({name: given})).dsn) == expected


@pytest.mark.parametrize("changeable", ["file", "folder"])
def test_the_command_of_a_file_that_everybody_can_change_is_not_run(
    monorepo: Monorepo, billing: Service, changeable: str
) -> None:
    monorepo.env("billing", DATABASE_DSN=BARE, DATABASE_PASSWORD_COMMAND="'echo hunter2'")
    place = billing.env_file if changeable == "file" else billing.path
    mode = place.stat().st_mode
    place.chmod(mode | 0o002)
    with pytest.raises(ConfigurationError) as caught:
        load(billing, Sources({}))
    assert str(caught.value) == (
        "services/billing/.env:2: DATABASE_PASSWORD_COMMAND isn't run, since everybody can change the file. "
        f"Run: chmod o-w {place}"
    )
    place.chmod(mode)
    assert current(load(billing, Sources({})).dsn) == "hunter2"


def test_the_command_of_a_file_in_a_folder_where_only_owners_replace_files_is_run(
    monorepo: Monorepo, billing: Service
) -> None:
    monorepo.env("billing", DATABASE_DSN=BARE, DATABASE_PASSWORD_COMMAND="'echo hunter2'")
    billing.path.chmod(0o1777)
    assert current(load(billing, Sources({})).dsn) == "hunter2"


@pytest.mark.parametrize("command", ["vault read hunter2", " vault  hunter2", "vault\thunter2", "vault\n\nhunter2"])
def test_db_env_shows_the_program_and_none_of_its_arguments(billing: Service, command: str) -> None:
    sources = Sources({"DATABASE_PASSWORD_COMMAND": command})
    (setting,) = sources.collect(billing)["DATABASE_PASSWORD_COMMAND"]
    assert setting.shown == "vault …"
    assert "hunter2" not in repr(setting)


FUNCTION = """
import asyncio
from service_migrations.errors import UnreachableError

calls = []

def token(host, port, user):
    calls.append(1)
    return f"{user}@{host}:{port}#{len(calls)}"

async def later(host, port, user):
    return "later"

def fails(host, port, user):
    raise RuntimeError("no\\nsession")

def nothing(host, port, user):
    return None

def empty(host, port, user):
    return ""

def of_bytes(host, port, user):
    return b"hunter2"

def of_two_lines(host, port, user):
    return "hunter2\\nsecond"

async def hangs(host, port, user):
    await asyncio.sleep(60)

def refuses(host, port, user):
    raise UnreachableError("the vault is sealed", hint="Unseal it.")
"""


@pytest.fixture
def functions(monorepo: Monorepo, billing: Service, request: pytest.FixtureRequest) -> str:
    """Write the functions, each test's under another name, since a module is imported once."""
    assert billing
    name = f"tokens_{abs(hash(request.node.nodeid))}"
    (monorepo.root / f"{name}.py").write_text(FUNCTION, encoding="utf-8")
    return name


def test_a_function_of_the_table_returns_the_password_of_a_server(monorepo: Monorepo, functions: str) -> None:
    set_keys(monorepo, f'password = "{functions}:token"')
    dsn = load(monorepo.find("billing"), Sources({})).dsn
    assert [current(dsn), current(dsn)] == ["app@h:6543#1"] * 2
    set_keys(monorepo, f'password = "{functions}:later"', service="billing")
    assert current(load(monorepo.find("billing"), Sources({})).dsn) == "later"


def test_every_other_password_beats_the_function(monorepo: Monorepo, functions: str) -> None:
    set_keys(monorepo, f'password = "{functions}:token"')
    service = monorepo.find("billing")
    assert current(load(service, Sources({"DATABASE_DSN": "postgresql://app:own@h/x"})).dsn) == "own"
    assert current(load(service, Sources({"DATABASE_PASSWORD": "apart"})).dsn) == "apart"


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("fails", AccessDeniedError, "failed: RuntimeError: no session."),
        ("nothing", ConfigurationError, "returned no password."),
        ("empty", ConfigurationError, "returned no password."),
        ("of_bytes", ConfigurationError, "returned no password."),
        ("of_two_lines", ConfigurationError, "returned no password."),
        ("hangs", UnreachableError, "gave no password within 0.5 s."),
        ("absent", ConfigurationError, "can't be imported: AttributeError"),
    ],
)
def test_a_function_that_fails_is_one_line_with_its_place(
    monorepo: Monorepo,
    functions: str,
    name: str,
    kind: type[MigrationError],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(password, "TIMEOUT", 0.5)
    set_keys(monorepo, f'password = "{functions}:{name}"')
    message = refused(kind, load(monorepo.find("billing"), Sources({})).dsn)
    assert message.startswith(f"billing: pyproject.toml: [tool.service-migrations] password: {functions}:{name} ")
    assert says in message


def test_an_error_of_ours_that_a_function_raises_is_told_as_it_is(monorepo: Monorepo, functions: str) -> None:
    set_keys(monorepo, f'password = "{functions}:refuses"')
    assert (
        refused(UnreachableError, load(monorepo.find("billing"), Sources({})).dsn) == "the vault is sealed Unseal it."
    )


def test_a_template_needs_no_password_where_a_function_returns_it(monorepo: Monorepo, functions: str) -> None:
    set_keys(monorepo, f'password = "{functions}:token"', 'dsn = "postgresql://{U}:{P}@{H}:1/x"')
    monorepo.env("billing", U="app", H="h")
    assert current(load(monorepo.find("billing"), Sources({})).dsn) == "app@h:1#1"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfapart", b"apart\r\n", b"\xef\xbb\xbfapart\r\n"])
def test_a_file_of_an_editor_of_windows_holds_the_password_alone(
    monorepo: Monorepo, billing: Service, content: bytes
) -> None:
    (monorepo.root / "secret").write_bytes(content)
    values = {"DATABASE_DSN": "postgresql://app@h/x", "DATABASE_PASSWORD_FILE": "secret"}
    assert load(billing, Sources(values)).dsn.password == "apart"


def test_a_file_may_be_a_pipe(monorepo: Monorepo, billing: Service) -> None:
    """Such as that of `<(vault read …)`."""
    os.mkfifo(monorepo.root / "secret")
    with subprocess.Popen(["/bin/sh", "-c", "printf 'apart\n' > secret"], cwd=monorepo.root) as writer:
        try:
            assert load(billing, Sources({"DATABASE_PASSWORD_FILE": "secret"})).dsn.password == "apart"
        finally:
            writer.kill()


@pytest.mark.parametrize("key", PASSWORD_KEYS)
def test_a_password_apart_has_no_escapes(monorepo: Monorepo, billing: Service, key: str) -> None:
    (monorepo.root / "secret").write_text("apart", encoding="utf-8")
    value = {"DATABASE_PASSWORD": "apart", "DATABASE_PASSWORD_FILE": "secret"}.get(key, "cat secret")
    dsn = load(billing, Sources({"DATABASE_DSN": "postgresql://app:a%40b@h/x", key: value})).dsn
    assert (current(dsn), dsn.has_escapes) == ("apart", False)


def test_of_several_hosts_the_first_one_is_what_a_token_is_made_for(monorepo: Monorepo, functions: str) -> None:
    set_keys(monorepo, f'password = "{functions}:token"')
    dsn = load(monorepo.find("billing"), Sources({"DATABASE_DSN": "postgresql://app@one:1,two:2/x"})).dsn
    assert current(dsn) == "app@one:1#1"


def test_a_function_of_the_repository_comes_before_a_module_of_its_name_elsewhere(
    monorepo: Monorepo, functions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{functions}.py").write_text("raise SystemError", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    set_keys(monorepo, f'password = "{functions}:later"')
    assert current(load(monorepo.find("billing"), Sources({})).dsn) == "later"

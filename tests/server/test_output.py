"""Output that nobody reads: a pipe whose reader has gone, or a closed stream, changes nothing but what is seen."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.monorepo import Monorepo, Ran, dsn_text
from tests.support.terminal import sent

BUFFERED = pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])


@pytest.fixture
def fleet(monorepo: Monorepo, database: Callable[..., Dsn]) -> dict[str, Dsn]:
    """Make two services with a database each, and three revisions, which print more than a buffer holds."""
    dsns = {name: database() for name in ("billing", "catalog")}
    for name, dsn in dsns.items():
        monorepo.service(name, dsn=dsn)
        monorepo.table_revision(name, "r1", None)
        monorepo.revision(name, "r2", "r1", 'print("x" * 100_000)\nop.execute("CREATE TABLE two (id int)")')
        monorepo.revision(name, "r3", "r2", 'print("y")\nop.execute("DROP TABLE two")')
    return dsns


def at(dsn: Dsn, name: str) -> list[str]:
    return [row[0] for row in query(dsn, f"SELECT version_num FROM alembic_version_{name}")]  # noqa: S608


def deaf(monorepo: Monorepo, *words: str, env: dict[str, str], both: bool = False) -> Ran:
    """Run a task whose reader has gone before it writes, of stdout or of both streams."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=monorepo.root,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs if both else subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(theirs)
    return Ran(ran.returncode, "", ran.stderr or "")


def closed(monorepo: Monorepo, streams: str, *words: str) -> Ran:
    """Run a task with streams that the shell has closed, such as ``>&-``."""
    ran = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m invoke "$@" {streams}', sys.executable, *words],
        cwd=monorepo.root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def quiet(ran: Ran) -> Ran:
    for word in ("Traceback", "BrokenPipe", "Exception ignored"):
        assert word not in ran.text
    return ran


@BUFFERED
def test_a_reader_that_has_gone_changes_neither_an_upgrade_nor_its_code(
    monorepo: Monorepo, fleet: dict[str, Dsn], env: dict[str, str]
) -> None:
    assert deaf(monorepo, "db.upgrade", "--service", "billing", env=env, both=True).code == 0
    assert at(fleet["billing"], "billing") == ["r3"]
    assert quiet(deaf(monorepo, "db.upgrade", env=env)).code == 0
    assert at(fleet["catalog"], "catalog") == ["r3"]


@BUFFERED
def test_several_services_are_upgraded_to_the_end_when_the_first_line_was_enough(
    monorepo: Monorepo, fleet: dict[str, Dsn], env: dict[str, str]
) -> None:
    with monorepo.spawn("db.upgrade", env=env) as process:
        assert process.stderr
        assert process.stdout
        process.stderr.readline()
        process.stderr.close()
        out = process.stdout.read()
    assert process.returncode == 0
    assert len(out.splitlines()) == 2
    assert {name: at(dsn, name) for name, dsn in fleet.items()} == {name: ["r3"] for name in fleet}


@BUFFERED
def test_what_only_reads_ends_with_its_own_code_though_nobody_reads_it(
    monorepo: Monorepo, fleet: dict[str, Dsn], env: dict[str, str]
) -> None:
    assert monorepo.inv("db.upgrade").code == 0
    for words in (("db.status",), ("db.services", "--json"), ("db.history",)):
        assert quiet(deaf(monorepo, *words, env=env)).code == 0
    query(fleet["billing"], "ALTER TABLE billing DROP COLUMN name")
    for both in (True, False):
        assert quiet(deaf(monorepo, "db.check", env=env, both=both)).code == 3
    wrong = replace(fleet["billing"], password="wrong")
    env = {**env, "BILLING_DATABASE_DSN": dsn_text(wrong)}
    for words in (("db.status",), ("db.upgrade",), ("db.upgrade", "--service", "billing")):
        for both in (True, False):
            assert quiet(deaf(monorepo, *words, env=env, both=both)).code == 77


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_error(monorepo: Monorepo, fleet: dict[str, Dsn], streams: str) -> None:
    for words in (("db.upgrade", "--service", "billing"), ("db.upgrade",), ("db.services",), ("db.check",)):
        ran = quiet(closed(monorepo, streams, *words))
        assert ran.code == 0, ran.text
    assert {name: at(dsn, name) for name, dsn in fleet.items()} == {name: ["r3"] for name in fleet}


def test_with_no_stdin_nobody_can_answer(monorepo: Monorepo, fleet: dict[str, Dsn]) -> None:
    assert monorepo.inv("db.upgrade").code == 0
    ran = quiet(closed(monorepo, "<&-", "db.downgrade", "--service", "billing", "--revision", "base"))
    assert ran.code == 2
    assert "Nobody can answer here: add --yes. Nothing was changed." in ran.err
    assert at(fleet["billing"], "billing") == ["r3"]


def test_an_error_is_never_told_on_stdout(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    ran = closed(monorepo, "2>&-", "db.upgrade", "--service", "biling")
    assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize("command", ["db.upgrade", "db.status", "db.check", "db.env"])
def test_an_error_that_is_about_no_service_is_printed_once(monorepo: Monorepo, command: str) -> None:
    for name in ("billing", "catalog"):
        monorepo.service(name)
    for _ in range(2):  # in one process
        ran = monorepo.inv(command, "--env-file", "none.env")
        assert (ran.code, ran.text.count("none.env does not exist.")) == (78, 1), ran.text


@BUFFERED
def test_a_result_that_the_disk_has_no_room_for_is_an_error(
    monorepo: Monorepo, fleet: dict[str, Dsn], env: dict[str, str]
) -> None:
    assert fleet
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "invoke", "db.services"],
            cwd=monorepo.root,
            env={**os.environ, **env},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (78, "stdout can't be written: No space left on device.\n")


TITLE = "\x1b]0;owned\x07 \x9b31m"
"""What sets the title and the colour of a terminal that obeys it."""


@pytest.mark.parametrize(
    "words",
    ["db.history", "db.show --revision r1 -s billing", "db.plan", "db.upgrade", "db.heads", "db.history --json"],
)
def test_a_terminal_gets_no_control_characters_of_a_docstring(
    words: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", dsn=database())
    path = monorepo.table_revision("billing", "r1", None)
    path.write_text(path.read_text(encoding="utf-8").replace('"""r1."""', f'"""A {TITLE} title."""'), encoding="utf-8")
    text = sent(monorepo, *words.split())
    assert "r1" in text
    assert "\x1b]" not in text
    assert not {"\x07", "\x9b"} & set(text)


def test_a_terminal_gets_no_control_characters_of_a_servers_message(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    monorepo.service("billing", dsn=database())
    block = ascii(f"DO $$ BEGIN RAISE 'No {TITLE}'; END $$")
    monorepo.revision("billing", "r1", None, f"op.execute({block})")
    text = sent(monorepo, "db.upgrade")
    assert "No \\x1b]0;owned\\x07 \\x9b31m" in text
    assert TITLE not in text


@pytest.mark.parametrize("words", [("db.upgrade",), ("db.upgrade", "--jobs", "1"), ("up",)])
def test_a_terminal_gets_no_control_characters_while_lines_are_live(
    words: tuple[str, ...], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    block = ascii(f"DO $$ BEGIN RAISE 'No {TITLE}'; END $$")
    for name in ("billing", "catalog"):
        monorepo.service(name, dsn=database())
        path = monorepo.revision(name, f"{name}1", None, f"print('printed {TITLE}')\nop.execute({block})")
        text = path.read_text(encoding="utf-8").replace(f'"""{name}1."""', f'"""A {TITLE} title."""')
        path.write_text(text, encoding="utf-8")
    text = sent(monorepo, *words)
    assert "\\x1b]0;owned" in text
    assert "\x1b]" not in text
    assert not {"\x07", "\x9b"} & set(text)


def test_a_terminal_that_is_too_narrow_for_a_table_gets_lines(monorepo: Monorepo, fleet: dict[str, Dsn]) -> None:
    """The columns had five characters each, and no name could be read."""
    lines = sent(monorepo, "db.status", columns=40).splitlines()
    for name, dsn in fleet.items():
        start = lines.index(f"service  {name}")
        assert (lines[start + 1][:10], lines[start + 4]) == (f"target   {dsn.user[0]}", "pending  3"), lines
        assert lines[start + 1].endswith(f"/{dsn.database}"), lines
    assert not any("─" in line for line in lines)
    assert any("─" in line for line in sent(monorepo, "db.status", columns=80).splitlines())


def test_a_pipe_gets_a_text_as_it_is(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    monorepo.service("billing", dsn=database())
    statement = ascii(f"SELECT '{TITLE}'")
    monorepo.revision("billing", "r1", None, f"op.execute({statement})")
    assert TITLE in monorepo.inv("db.upgrade", "--sql", "-s", "billing").out


LETTERS = "Größe „gut“"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_escaped_and_ends_no_task(
    monorepo: Monorepo, database: Callable[..., Dsn], encoding: str
) -> None:
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    path = monorepo.revision("billing", "r1", None, f'print("{LETTERS}")\nop.execute("SELECT \'{LETTERS}\'")')
    path.write_text(f'"""{LETTERS}."""\n' + path.read_text("utf-8"), encoding="utf-8")
    env = {"PYTHONIOENCODING": encoding}
    escaped = LETTERS.encode(encoding, "backslashreplace").decode(encoding)

    def ran(*words: str) -> tuple[int, str, str]:
        process = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=monorepo.root,
            env={**os.environ, **env},
            capture_output=True,
            encoding=encoding,
            check=False,
        )
        return process.returncode, process.stdout, process.stderr

    for words in ("db.history", "db.plan", "db.show -s billing --revision r1"):
        code, out, err = ran(*words.split())
        assert (code, escaped in out) == (0, True), out + err
    code, out, err = ran("db.history", "--json")
    assert (code, LETTERS in str(json.loads(out))) == (0, True), out + err
    code, out, err = ran("db.upgrade", "--service", "billing", "--sql")
    lacking = "which lacks a character of this SQL. Set PYTHONIOENCODING=utf-8.\n"
    assert (code, out, err.endswith(lacking)) == (78, "", True), err
    code, out, err = ran("db.upgrade", "--service", "billing")
    assert (code, at(dsn, "billing")) == (0, ["r1"]), out + err


@pytest.mark.parametrize("words", [("db.revision", "--empty", "-m"), ("db.revision", "-m"), ("db.merge", "-m")])
def test_a_message_in_another_encoding_is_refused(monorepo: Monorepo, words: tuple[str, ...]) -> None:
    """Mako failed and left a file with its own traceback in the temporary folder."""
    monorepo.service("billing")
    monorepo.table_revision("billing", "r1", None)
    ran = monorepo.inv(*words, b"Gr\xf6\xdfe".decode("utf-8", "surrogateescape"), "--service", "billing")
    assert (ran.code, ran.out) == (2, ""), ran.text
    assert "billing: -m has a character that isn't in the encoding of the locale: 'Gr\\udcf6\\udcdfe'." in ran.err

"""Two processes that write a revision of one service: one after the other, or the history has two heads."""

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import service_migrations
from service_migrations.authoring import writing
from service_migrations.errors import UsageError
from service_migrations.history import sole_writer
from service_migrations.history.revision import Revision
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, models, remodel
from tests.support.database import wait
from tests.support.monorepo import Monorepo
from tests.support.programs import alembic

OTHER = 'revision: str = "0ther"\ndown_revision: str | None = {}\n\n\ndef upgrade():\n    pass\n'


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
def test_the_one_that_sees_the_others_file_takes_its_own_back(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch, empty: bool, is_first: bool
) -> None:
    service = monorepo.service("shop", models(), database())
    head = None
    if is_first:
        service.versions.mkdir(parents=True, exist_ok=True)
    else:
        first_upgrade(monorepo, service)
        remodel(monorepo, service, models("Column('more', Integer)"))
        (head,) = wait(service_migrations.history(service)).heads
    before = files(service.versions)
    other = service.versions / "other.py"
    write = writing._format
    text = OTHER.format(repr(head).replace("'", '"'))

    def meanwhile(script: object, of: object) -> None:
        other.write_text(text, encoding="utf-8")
        write(script, of)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_format", meanwhile)
    with pytest.raises(UsageError, match=r"other\.py: another process has written it meanwhile"):
        wait(service_migrations.revision(service, "mine", empty=empty))
    assert files(service.versions) == before | {"other.py": text}


@pytest.mark.parametrize(
    "text", ["NUMBER = 5\n", OTHER.format('"elsewhere"'), OTHER.format('"x{head}"'), OTHER.format("None")]
)
def test_what_is_no_revision_behind_the_same_one_is_nobodys(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    service = monorepo.service("shop", models(), database())
    first_upgrade(monorepo, service)
    (head,) = wait(service_migrations.history(service)).heads
    write = writing._format

    def meanwhile(script: object, of: object) -> None:
        (service.versions / "other.py").write_text(text.replace("{head}", head), encoding="utf-8")
        write(script, of)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_format", meanwhile)
    assert wait(service_migrations.revision(service, "mine", empty=True))


@pytest.mark.parametrize("round_", range(3))
def test_of_several_processes_each_writes_behind_the_one_before(monorepo: Monorepo, round_: int) -> None:
    service = monorepo.service("shop")
    words = ("db.revision", "--service", "shop", "--empty", "-m", f"round {round_}")
    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda _: monorepo.inv(*words), range(3)))
    assert [run.code for run in runs] == [0, 0, 0], runs
    assert len(wait(service_migrations.history(service)).revisions) == len(runs)
    heads = monorepo.inv("db.heads", "--check")
    assert heads.code == 0, heads.text


def test_of_two_comparisons_one_is_written(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    service = monorepo.service("shop", models(), database())
    words = ("db.revision", "--service", "shop", "-m", "mine")
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: monorepo.inv(*words), range(2)))
    assert sorted(run.code for run in runs) == [0, 3], runs
    assert len(files(service.versions)) == len(["revision", "head.txt"])


def test_of_two_comparisons_of_alembics_own_command_one_is_written(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    service = monorepo.service("shop", models(), database())
    words = ("db.alembic", "--service", "shop", "--", "revision", "--autogenerate", "-m", "mine")
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: monorepo.inv(*words), range(2)))
    assert sorted(run.code for run in runs) == [0, 2], runs
    assert len(wait(service_migrations.history(service)).heads) == 1


@pytest.mark.parametrize("empty", [False, True])
def test_of_two_programs_of_alembic_one_writes_behind_the_other(
    monorepo: Monorepo, database: Callable[..., Dsn], empty: bool
) -> None:
    service = monorepo.service("shop", models(), database())
    words = ("-x", "service=shop", "revision", *(() if empty else ("--autogenerate",)), "-m", "mine")
    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(lambda _: alembic(monorepo, *words), range(3)))
    # a comparison of one that waited finds the database behind
    assert sorted(run.code for run in runs) == ([0, 0, 0] if empty else [0, 255, 255]), runs
    assert all("Traceback" not in run.text for run in runs)
    assert len(wait(service_migrations.history(service)).heads) == 1


def test_the_program_alembic_waits_for_a_writer(monorepo: Monorepo) -> None:
    service = monorepo.service("shop")
    wait(service_migrations.revision(service, "first", empty=True))
    descriptor = os.open(service.path, os.O_RDONLY)
    with ThreadPoolExecutor(1) as threads:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            assert alembic(monorepo, "-x", "service=shop", "history").code == 0
            before = files(service.versions)
            running = threads.submit(alembic, monorepo, "-x", "service=shop", "revision", "-m", "mine")
            time.sleep(2.0)
            assert files(service.versions) == before
        finally:
            os.close(descriptor)
        ran = running.result()
    assert ran.code == 0, ran.text
    assert len(wait(service_migrations.history(service)).revisions) == len(["first", "mine"])


def test_a_command_of_alembic_that_only_reads_waits_for_nobody(monorepo: Monorepo) -> None:
    service = monorepo.service("shop")
    wait(service_migrations.revision(service, "first", empty=True))
    descriptor = os.open(service.path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        began = time.monotonic()
        for words in (("heads",), ("history",), ("show", "head"), ("branches",)):
            run = monorepo.inv("db.alembic", "--service", "shop", "--", *words)
            assert run.code == 0, run.text
        assert time.monotonic() - began < sole_writer._PATIENCE
    finally:
        os.close(descriptor)


def test_two_in_one_event_loop_write_one_after_the_other(monorepo: Monorepo) -> None:
    service = monorepo.service("shop")

    async def both() -> None:
        await asyncio.gather(*(service_migrations.revision(service, "mine", empty=True) for _ in range(2)))

    wait(both())
    assert len(wait(service_migrations.history(service)).heads) == 1


@pytest.mark.parametrize("command", ["revision", "merge", "rebase"])
def test_who_waits_too_long_is_told_and_writes_nothing(
    monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(sole_writer, "_PATIENCE", 0.1)
    service = monorepo.service("shop")
    wait(service_migrations.revision(service, "first", empty=True))
    before = files(service.versions)
    calls = {
        "revision": lambda: service_migrations.revision(service, "mine", empty=True),
        "merge": lambda: service_migrations.merge(service, "mine"),
        "rebase": lambda: service_migrations.rebase(service),
    }
    descriptor = os.open(service.path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is writing a revision"):
            wait(calls[command]())
    finally:
        os.close(descriptor)
    assert files(service.versions) == before


def test_a_file_system_without_locks_has_the_look_afterwards(
    monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(sole_writer, "flock", refuse)
    service = monorepo.service("shop")
    assert wait(service_migrations.revision(service, "mine", empty=True))


def test_a_parent_that_came_after_the_history_was_read_is_told(
    monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = monorepo.service("shop")
    wait(service_migrations.revision(service, "first", empty=True))
    read = Revision.of
    monkeypatch.setattr(writing.Revision, "of", lambda script, of: replace(read(script, of), down_revision=("0ther",)))
    before = files(service.versions)
    with pytest.raises(UsageError, match="have changed while it was written"):
        wait(service_migrations.revision(service, "mine", empty=True))
    assert files(service.versions) == before

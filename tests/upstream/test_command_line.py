"""Traps of the command line: flags that Invoke invents, and imports that every command pays for."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from invoke.parser import Argument

from tests.support.invocation import contexts
from tests.support.monorepo import Monorepo

HEAVY = ("alembic", "sqlalchemy", "asyncpg", "rich")


def arguments() -> Iterator[tuple[str, Argument]]:
    for context in contexts():
        for argument in context.args.values():
            yield f"{context.name} --{argument.name}", argument


# Short flags


def test_no_option_has_a_short_flag_but_service_message_and_x() -> None:
    flags = {(name, flag) for name, argument in arguments() for flag in argument.names if len(flag) == 1}
    short = {(name, flag) for name, flag in flags if not name.endswith(" --x") or flag != "x"}
    messages = {("db.revision --message", "m"), ("db.merge --message", "m")}
    assert short - messages == {(name, "s") for name, _ in arguments() if name.endswith(" --service")}
    assert messages <= short


def test_every_option_is_explained() -> None:
    found = list(arguments())
    assert len(found) > 20
    assert [name for name, argument in found if not (argument.help or "").strip()] == []


def test_no_option_is_taken_by_its_place() -> None:
    assert [name for name, argument in arguments() if argument.positional] == []


# The time to list the tasks


@pytest.mark.parametrize("words", [["--list"], ["--help", "db.upgrade"]], ids=["list", "help"])
def test_no_listing_pays_for_an_import_that_a_task_alone_needs(words: list[str], monorepo: Monorepo) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", *words],
        cwd=monorepo.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(re.findall(r"^import time:.*\|\s*([\w.]+)$", done.stderr, re.MULTILINE))
    assert "service_migrations.tasks.downgrade" in imported
    assert {name for name in imported if name.split(".")[0] in HEAVY} == set()
    assert "upgrade" in done.stdout

"""What bad input gets: one line that names thing, place and next step, an exit code, and a database as it was."""

import asyncio
import json
import os
import re
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    MigrationError,
    UnreachableError,
    UsageError,
)
from service_migrations.postgres import Server
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, tables, wait
from tests.support.monorepo import MODELS, Monorepo, Ran, dsn_text

SECRET = "hunter2%41@ hunter3:/#"
"""The service's password; a mistake may show no part of it. Every password here holds the word "hunter"."""

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ")

PATIENCE = 5.0
"""Seconds until a command that was stopped is gone, with all that it had open."""


@dataclass
class World:
    """A monorepo with one service, whose database is at a1; the history ends at a2."""

    monorepo: Monorepo
    dsn: Dsn
    server: Server

    def models(self, text: str) -> None:
        (self.monorepo.root / "services" / "billing" / "models.py").write_text(text, encoding="utf-8")

    def dsn_in_env(self, dsn: Dsn | str, **more: str) -> None:
        self.monorepo.env("billing", DATABASE_DSN=dsn if isinstance(dsn, str) else dsn_text(dsn), **more)

    def state(self) -> tuple[set[str], list[str]]:
        rows = query(self.dsn, "SELECT version_num FROM alembic_version_billing ORDER BY 1")
        return tables(self.dsn), [row[0] for row in rows]


@dataclass(frozen=True)
class Mistake:
    """The exit code that it gets, what the line says, and the command that meets it."""

    code: int
    says: tuple[str, ...]
    words: tuple[str, ...] = ("db.upgrade", "--service", "billing")
    env: dict[str, str] = field(default_factory=dict)


Make = Callable[[World], Mistake]
MISTAKES: list[Make] = []
"""Met at the command line."""
INSIDE: list[Make] = []
"""Met in this process, where the command line would only add its second."""
SECRETIVE: list[Make] = []
"""Those that have to do with a password or a connection: what --debug tells of them is looked at too."""


def mistake(make: Make) -> Make:
    MISTAKES.append(make)
    return make


def inside(make: Make) -> Make:
    INSIDE.append(make)
    return make


def secretive(make: Make) -> Make:
    SECRETIVE.append(make)
    return mistake(make)


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> World:
    dsn = database(password=SECRET)
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "a2", "a1", 'op.execute("CREATE TABLE second (id int)")')
    query(dsn, "CREATE TABLE billing (id serial PRIMARY KEY, name varchar(50) NOT NULL)")
    query(dsn, "CREATE TABLE alembic_version_billing (version_num varchar(32) PRIMARY KEY)")
    query(dsn, "INSERT INTO alembic_version_billing VALUES ('a1')")
    return World(monorepo, dsn, server)


def line(ran: Ran) -> str:
    """Return the one line that a mistake gets; log lines beside it don't count."""
    lines = [text for text in ran.err.splitlines() if text.strip() and not LOG_LINE.match(text)]
    assert len(lines) == 1, ran.text
    return lines[0]


# Who is meant


@mistake
def an_unknown_service(_: World) -> Mistake:
    return Mistake(
        2, ("--service 'biling'", "services/", "Did you mean billing?"), ("db.upgrade", "--service", "biling")
    )


@mistake
def a_path_upwards(world: World) -> Mistake:
    outside = world.monorepo.root / "x"
    outside.mkdir()
    (outside / "models.py").write_text("open('canary', 'w')", encoding="utf-8")
    return Mistake(2, ("--service '../x'", "Known: billing."), ("db.upgrade", "--service", "../x"))


@mistake
def an_empty_name(_: World) -> Mistake:
    return Mistake(2, ("--service ''", "Known: billing."), ("db.upgrade", "--service="))


@mistake
def a_link_out_of_the_repository(world: World) -> Mistake:
    outside = world.monorepo.root.parent / "evil"
    outside.mkdir()
    (outside / "models.py").write_text("open('canary', 'w')", encoding="utf-8")
    (world.monorepo.root / "services" / "evil").symlink_to(outside)
    says = ("services/evil", "leads out of the repository", "Move the service into it.")
    return Mistake(2, says, ("db.upgrade", "--service", "evil"))


@mistake
def no_service_where_exactly_one_is_needed(_: World) -> Mistake:
    return Mistake(2, ("db.downgrade needs --service", "billing"), ("db.downgrade", "--revision", "base", "--yes"))


@mistake
def two_services_where_exactly_one_is_needed(_: World) -> Mistake:
    words = ("db.stamp", "--service", "billing", "--service", "catalog", "--revision", "a2", "--yes")
    return Mistake(2, ("db.stamp takes one --service only", "billing"), words)


@mistake
def the_sql_of_two_services(world: World) -> Mistake:
    world.monorepo.service("catalog", dsn=world.dsn)
    return Mistake(2, ("--sql prints one service's SQL", "--service"), ("db.upgrade", "--sql"))


@mistake
def a_limit_for_sql_that_is_not_run(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--sql", "--lock-timeout", "5s")
    return Mistake(2, ("--lock-timeout doesn't go with --sql",), words)


@mistake
def no_limit_for_sql_that_is_not_run(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--sql", "--lock-wait", "0")
    return Mistake(2, ("--lock-wait doesn't go with --sql",), words)


# Settings


@mistake
def no_env_file_and_no_dsn(world: World) -> Mistake:
    (world.monorepo.root / "services/billing/.env").unlink()
    return Mistake(78, ("services/billing/.env does not exist", ".env.example", "BILLING_DATABASE_DSN", "inv up"))


@inside
def an_env_file_without_the_dsn(world: World) -> Mistake:
    world.monorepo.env("billing", DATABASE_DNS=dsn_text(world.dsn))
    return Mistake(78, ("services/billing/.env: DATABASE_DSN is missing", "DATABASE_DNS a typo?", ".env.example"))


@secretive
def a_dsn_that_is_no_url(world: World) -> Mistake:
    world.dsn_in_env(f"app:{SECRET.partition(' ')[0]}@localhost/billing")
    return Mistake(78, ("services/billing/.env:1: DATABASE_DSN is no URL", "postgresql://user:password@host"))


@inside
def a_dsn_of_another_database(world: World) -> Mistake:
    world.dsn_in_env("mysql://app:hunter2@localhost/billing")
    return Mistake(78, ("services/billing/.env:1: DATABASE_DSN", "'mysql', not for PostgreSQL", "postgresql://"))


@inside
def a_dsn_without_a_database(world: World) -> Mistake:
    world.dsn_in_env("postgresql://app:hunter2@localhost")
    return Mistake(78, ("services/billing/.env:1: DATABASE_DSN names no database", "postgresql://"))


@inside
def a_dsn_without_a_host(world: World) -> Mistake:
    world.dsn_in_env("postgresql://app:hunter2@/billing")
    return Mistake(78, ("services/billing/.env:1: DATABASE_DSN names no host", "postgresql://"))


@mistake
def a_dsn_with_an_unescaped_at(world: World) -> Mistake:
    world.dsn_in_env("postgresql://app:hunter2@hunter3@localhost/billing")
    return Mistake(78, ("services/billing/.env:1: DATABASE_DSN", "unescaped '@'", "%40", "DATABASE_PASSWORD"))


@inside
def a_dsn_with_an_unknown_parameter(world: World) -> Mistake:
    world.dsn_in_env("postgresql://app:hunter2@localhost/billing?poolclass=x")
    return Mistake(78, ("services/billing/.env:1: DATABASE_DSN", "'poolclass'", "Understood: application_name"))


@inside
def a_dsn_in_the_environment_that_is_no_url(_: World) -> Mistake:
    says = ("environment BILLING_DATABASE_DSN", "is no URL", "postgresql://")
    return Mistake(78, says, env={"BILLING_DATABASE_DSN": "app:hunter2@localhost"})


@inside
def a_password_and_a_password_file(world: World) -> Mistake:
    world.dsn_in_env(world.dsn, DATABASE_PASSWORD="hunter4", DATABASE_PASSWORD_FILE="/run/secrets/x")
    return Mistake(78, ("services/billing/.env:", "DATABASE_PASSWORD_FILE are both set", "Remove one of them"))


@inside
def a_quote_that_stays_open(world: World) -> Mistake:
    world.dsn_in_env("'postgresql://app:hunter2@localhost/billing")
    return Mistake(78, ("services/billing/.env:1 is no KEY=value line", "quote left open?"))


@inside
def an_env_file_that_is_not_utf_8(world: World) -> Mistake:
    (world.monorepo.root / "services/billing/.env").write_bytes(b"DATABASE_DSN=caf\xe9hunter2\n")
    return Mistake(78, ("services/billing/.env: byte 16 is not UTF-8", "Save the file as UTF-8"))


@inside
def a_folder_as_env_file(world: World) -> Mistake:
    path = world.monorepo.root / "services/billing/.env"
    path.unlink()
    path.mkdir()
    return Mistake(78, ("services/billing/.env can't be read", "a file of KEY=value lines"))


@inside
def a_duration_without_sense(_: World) -> Mistake:
    says = ("environment MIGRATIONS_LOCK_WAIT", "'soon', which is no duration", "Write 500ms, 5s, 2m or 0")
    return Mistake(78, says, env={"MIGRATIONS_LOCK_WAIT": "soon"})


@mistake
def a_bare_dsn_for_several_services(world: World) -> Mistake:
    world.monorepo.service("catalog", dsn=world.dsn)
    says = ("environment DATABASE_DSN", "all 2 services at one database", "--service", "BILLING_DATABASE_DSN")
    return Mistake(2, says, ("db.upgrade",), {"DATABASE_DSN": dsn_text(world.dsn)})


@inside
def two_services_with_one_version_table(world: World) -> Mistake:
    world.monorepo.service("catalog", dsn=world.dsn, MIGRATIONS_VERSION_TABLE="alembic_version_billing")
    return Mistake(78, ("billing and catalog both", "alembic_version_billing", "Remove MIGRATIONS_VERSION_TABLE"))


# The server


@mistake
def a_server_that_is_down(world: World) -> Mistake:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    world.dsn_in_env(replace(world.dsn, hosts=(("127.0.0.1", port),)))
    return Mistake(69, (f"billing: {world.dsn.user}@127.0.0.1:{port}", "Is the server up, and this its address?"))


@secretive
def a_wrong_password(world: World) -> Mistake:
    world.dsn_in_env(replace(world.dsn, password="hunter5%40@ hunter6"))
    return Mistake(77, (f"billing: {world.dsn.target}", "authentication failed", "services/billing/.env"))


@mistake
def a_database_that_is_missing(world: World) -> Mistake:
    world.dsn_in_env(replace(world.dsn, database=f"no_{world.dsn.database}"))
    return Mistake(78, (f"/no_{world.dsn.database}", "does not exist", "inv db.create --service billing"))


@secretive
def a_role_without_create(world: World) -> Mistake:
    role = stranger(world)
    world.dsn_in_env(role)
    name_schema(world)
    says = ("billing: ", "schema public", f'GRANT CREATE ON SCHEMA public TO "{role.user}";')
    return Mistake(77, says, env={"MIGRATIONS_VERSION_TABLE": "of_nobody"})


def name_schema(world: World) -> None:
    """Name the schema of the version table: without it, a table that may not be read may be that of the service."""
    table = '\n[tool.service-migrations.service.billing]\nversion_table_schema = "public"\n'
    with (world.monorepo.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(table)


@secretive
def a_revision_that_fails(world: World) -> Mistake:
    world.monorepo.revision(
        "billing", "a2", "a1", 'op.execute("CREATE TABLE second (id int)")\nop.execute("SELECT 1/0")'
    )
    return Mistake(1, ("billing: migrations/versions/billing/a2.py:", "division by zero [22012]", "rolled back"))


@inside
def a_revision_whose_transaction_only_reads(world: World) -> Mistake:
    body = 'op.execute("SET TRANSACTION READ ONLY")\nop.execute("CREATE TABLE second (id int)")'
    world.monorepo.revision("billing", "a2", "a1", body)
    says = ("billing/a2.py:", "read-only transaction [25006]", "name the primary", "SET TRANSACTION READ ONLY?")
    return Mistake(78, says)


@inside
def a_revision_with_the_words_of_a_statement_in_disorder(world: World) -> Mistake:
    world.monorepo.revision("billing", "a2", "a1", 'op.execute("CREATE ON INDEX CONCURRENTLY i")')
    return Mistake(1, ("billing/a2.py:", 'syntax error at or near "ON" [42601]'))


# Models


@inside
def models_that_fail_to_import(world: World) -> Mistake:
    world.models("\nimport nowhere\n")
    return Mistake(78, ("services/billing/models.py:2: ModuleNotFoundError: No module named 'nowhere'",))


@mistake
def models_that_leave_the_process(world: World) -> Mistake:
    world.models("\nraise SystemExit(0)\n")
    return Mistake(78, ("services/billing/models.py:2: SystemExit",))


@inside
def a_missing_all(world: World) -> Mistake:
    world.models(MODELS.format(table="billing").replace("__all__", "everything"))
    return Mistake(78, ("services/billing/models.py: __all__ is missing", "List"))


@inside
def an_all_that_names_what_isnt_there(world: World) -> Mistake:
    world.models(MODELS.format(table="billing").replace('"Thing"]', '"Thing", "Thong"]'))
    return Mistake(78, ("services/billing/models.py: __all__ names 'Thong'", "Import it, or remove it"))


@inside
def a_mapped_class_that_is_not_exported(world: World) -> Mistake:
    world.models(MODELS.format(table="billing").replace(', "Thing"]', "]"))
    return Mistake(78, ("services/billing/models.py: Thing maps the table billing", "Add it to __all__"))


# The history


@mistake
def a_revision_with_a_syntax_error(world: World) -> Mistake:
    path = world.monorepo.revision("billing", "a3", "a2")
    path.write_text(path.read_text(encoding="utf-8") + "x = (\n", encoding="utf-8")
    number = len(path.read_text(encoding="utf-8").splitlines())
    return Mistake(2, (f"migrations/versions/billing/a3.py:{number}: ", "Correct the revision; nothing was run"))


@inside
def a_revision_that_cant_be_imported(world: World) -> Mistake:
    path = world.monorepo.revision("billing", "a3", "a2")
    path.write_text("import nowhere\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    return Mistake(2, ("migrations/versions/billing/a3.py:1", "No module named 'nowhere'"))


@inside
def a_revision_that_leaves_the_process(world: World) -> Mistake:
    path = world.monorepo.revision("billing", "a3", "a2")
    path.write_text("raise SystemExit(0)\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    return Mistake(2, ("migrations/versions/billing/a3.py:1", "SystemExit"))


@inside
def a_revision_that_leaves_the_process_while_it_runs(world: World) -> Mistake:
    world.monorepo.revision("billing", "a2", "a1", "raise SystemExit(0)")
    return Mistake(1, ("billing: migrations/versions/billing/a2.py:", "SystemExit"))


@mistake
def two_heads(world: World) -> Mistake:
    world.monorepo.revision("billing", "b2", "a1")
    return Mistake(
        2, ("migrations/versions/billing has 2 heads: ", "b2", "down_revision", "inv db.merge --service billing")
    )


@inside
def an_id_that_is_there_twice(world: World) -> Mistake:
    path = world.monorepo.revision("billing", "a3", "a1")
    path.write_text(path.read_text(encoding="utf-8").replace("'a3'", "'a2'"), encoding="utf-8")
    return Mistake(2, ("migrations/versions/billing", "a2", "more than once"))


@inside
def a_revision_that_follows_nothing(world: World) -> Mistake:
    world.monorepo.revision("billing", "a3", "gone")
    return Mistake(2, ("migrations/versions/billing", "gone"))


@inside
def an_id_longer_than_the_version_table_is_wide(world: World) -> Mistake:
    world.monorepo.revision("billing", "a" * 33, "a2")
    return Mistake(2, (f"migrations/versions/billing/{'a' * 33}.py", "33 characters", "holds 32", "Shorten it"))


@mistake
def an_unknown_revision(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--revision", "zzz")
    return Mistake(2, ("billing: ", "zzz", "inv db.history --service billing"), words)


@mistake
def an_empty_revision(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--revision", "")
    return Mistake(2, ("--revision needs a value behind it", "Is a variable empty?"), words)


@mistake
def a_revision_behind_head(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--revision", "head+1")
    return Mistake(2, ("billing: 'head+1' leads to no revision",), words)


@mistake
def an_empty_range(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--sql", "--revision", ":")
    return Mistake(2, ("billing: '' leads to no revision", "inv db.history --service billing"), words)


@mistake
def an_empty_revision_of_a_plan(_: World) -> Mistake:
    words = ("db.plan", "--service", "billing", "--revision", "")
    return Mistake(2, ("--revision needs a value behind it",), words)


@mistake
def a_database_ahead_of_this_history(world: World) -> Mistake:
    query(world.dsn, "UPDATE alembic_version_billing SET version_num = 'z9'")
    says = (f"billing: {world.dsn.target} is at z9", "migrations/versions/billing", "ends at a2", "Check out the code")
    return Mistake(3, says)


# Nobody at the keyboard


@mistake
def a_downgrade_that_nobody_confirms(world: World) -> Mistake:
    words = ("db.downgrade", "--service", "billing", "--revision", "base")
    return Mistake(2, (f"Downgrade billing -> {world.dsn.target} to base?", "add --yes"), words)


@mistake
def a_stamp_that_nobody_confirms(world: World) -> Mistake:
    words = ("db.stamp", "--service", "billing", "--revision", "a2")
    return Mistake(2, (f"Stamp billing -> {world.dsn.target} with a2?", "add --yes"), words)


@mistake
def a_drop_that_nobody_confirms(world: World) -> Mistake:
    return Mistake(2, (f"Drop {world.dsn.target}", "add --yes"), ("db.drop", "--service", "billing"))


@mistake
def a_downgrade_without_a_revision(_: World) -> Mistake:
    words = ("db.downgrade", "--service", "billing", "--yes")
    return Mistake(2, ("db.downgrade needs --revision", "inv db.history --service billing"), words)


@mistake
def a_revision_for_all_services(world: World) -> Mistake:
    world.monorepo.service("catalog", dsn=world.dsn)
    return Mistake(2, ("--revision a2", "one service's history", "--service"), ("db.upgrade", "--revision", "a2"))


@mistake
def a_duration_that_postgresql_cant_hold(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--lock-timeout", "9999999h")
    return Mistake(2, ("--lock-timeout is '9999999h', which PostgreSQL can't hold. Write 1ms to 596h.",), words)


@mistake
def a_plan_to_a_revision_behind_head(_: World) -> Mistake:
    return Mistake(2, ("billing: 'head+1'", "inv db.history"), ("db.plan", "--service", "billing", "--revision=head+1"))


def no_folder(world: World) -> None:
    """Put a file where the revisions of billing should be; root may write into every folder that there is."""
    folder = world.monorepo.root / "migrations/versions/billing"
    for path in (*folder.iterdir(), folder):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.touch()
    query(world.dsn, "DELETE FROM alembic_version_billing")


@mistake
def a_folder_of_revisions_that_cant_be_written(world: World) -> Mistake:
    no_folder(world)
    words = ("db.revision", "--service", "billing", "-m", "x")
    return Mistake(78, ("migrations/versions/billing", "can't be written"), words)


@mistake
def a_folder_of_revisions_that_cant_be_written_without_a_look_at_the_database(world: World) -> Mistake:
    no_folder(world)
    words = ("db.revision", "--service", "billing", "-m", "x", "--empty")
    return Mistake(78, ("migrations/versions/billing", "can't be written"), words)


@mistake
def a_head_file_that_cant_be_written(world: World) -> Mistake:
    head = world.monorepo.root / "migrations/versions/billing/head.txt"
    head.unlink(missing_ok=True)
    head.mkdir()
    return Mistake(78, ("migrations/versions/billing/head.txt",), ("db.heads", "--service", "billing", "--write"))


# Words that would be passed over


def also(before: World, *words: str) -> tuple[str, ...]:
    """Return the words of an upgrade of all services, where there is a second one."""
    before.monorepo.service("catalog", dsn=before.dsn)
    return ("db.upgrade", *words)


@mistake
def a_service_option_without_a_name(world: World) -> Mistake:
    return Mistake(2, ("--service needs a name", "Is a variable empty?"), also(world, "--service"))


@mistake
def a_service_option_before_another_option(world: World) -> Mistake:
    return Mistake(2, ("--service needs a name",), also(world, "--service", "--fail-fast"))


@mistake
def a_service_option_that_swallows_another_option(world: World) -> Mistake:
    return Mistake(2, ("--service needs a name", "Is a variable empty?"), also(world, "--service=--json"))


@mistake
def a_second_service_option_without_a_name(world: World) -> Mistake:
    return Mistake(2, ("--service needs a name",), also(world, "--service", "billing", "--service"))


@mistake
def an_allow_option_without_a_name(_: World) -> Mistake:
    return Mistake(2, ("--allow needs a name",), ("db.upgrade", "--service", "billing", "--allow"))


@mistake
def a_dry_run(_: World) -> Mistake:
    return Mistake(2, ("--dry", "inv db.plan", "--sql"), ("--dry", "db.drop", "--service", "billing", "--yes"))


@mistake
def a_dry_run_that_is_asked_for_behind_the_task(_: World) -> Mistake:
    return Mistake(2, ("--dry", "inv db.plan"), ("db.upgrade", "--service", "billing", "--dry"))


@mistake
def words_behind_two_dashes(_: World) -> Mistake:
    words = ("db.upgrade", "--service", "billing", "--", "--sql")
    return Mistake(2, ("behind `--`: --sql", "Options stand before it"), words)


@pytest.mark.parametrize("make", MISTAKES, ids=lambda make: make.__name__)
def test_a_mistake_gets_one_line_and_its_exit_code_and_changes_nothing(world: World, make: Make) -> None:
    made = make(world)
    before = world.state()
    ran = world.monorepo.inv(*made.words, env=made.env)
    assert ran.code == made.code, ran.text
    told = line(ran)
    for part in made.says:
        assert part in told
    assert "Traceback" not in ran.text
    assert "hunter" not in ran.text
    assert ran.out == ""
    assert world.state() == before
    assert not list(world.monorepo.root.parent.rglob("canary"))


@pytest.mark.parametrize("make", SECRETIVE, ids=lambda make: make.__name__)
def test_debug_shows_where_it_was_raised_and_no_password(world: World, make: Make) -> None:
    made = make(world)
    ran = world.monorepo.inv("--debug", *made.words, env=made.env)
    assert ran.code == made.code, ran.text[-2000:]
    assert "Traceback (most recent call last)" in ran.err
    assert re.search(r"^service_migrations\.errors\.\w+Error: ", ran.err, re.MULTILINE)
    for part in made.says:
        assert part in ran.err
    assert "hunter" not in ran.text
    assert "hunter" not in ran.text.encode().decode("unicode_escape", errors="replace")


# Inside an application, where the exception is met instead of the line


def raised(world: World, make: Make, monkeypatch: pytest.MonkeyPatch) -> pytest.ExceptionInfo[MigrationError]:
    made = make(world)
    for key, value in made.env.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(MigrationError) as caught:
        wait(service_migrations.upgrade(world.monorepo.find("billing")))
    assert caught.value.exit_code == made.code
    for part in made.says:
        assert part in str(caught.value)
    return caught


@pytest.mark.parametrize("make", INSIDE, ids=lambda make: make.__name__)
def test_a_mistake_raises_one_line_with_its_exit_code_and_changes_nothing(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.state()
    caught = raised(world, make, monkeypatch)
    assert len(str(caught.value).splitlines()) == 1
    assert "hunter" not in "".join(traceback.format_exception(caught.value))
    assert world.state() == before


REPORTED = [a_wrong_password, a_database_that_is_missing, a_server_that_is_down, a_role_without_create]


@pytest.mark.parametrize(
    "make", [*REPORTED, a_revision_that_fails, a_dsn_with_an_unescaped_at], ids=lambda make: make.__name__
)
def test_a_report_with_the_arguments_of_every_frame_shows_no_password(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest's long report has them; so have the services that collect an application's errors."""
    caught = raised(world, make, monkeypatch)
    report = str(caught.getrepr(style="long", funcargs=True, showlocals=False))
    assert type(caught.value).__name__ in report
    assert "hunter" not in report


def test_an_empty_password_is_wrong_and_nothing_else_is_tried(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"*:*:*:*:{SECRET.replace(':', chr(92) + ':')}\n", encoding="utf-8")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGPASSWORD", SECRET)
    world.dsn_in_env(dsn_text(replace(world.dsn, password="")))
    with pytest.raises(AccessDeniedError):
        wait(service_migrations.upgrade(world.monorepo.find("billing")))


# What the line says does mend it


def stranger(world: World) -> Dsn:
    """Return a role that may connect to the database, and create nothing in it."""
    role = f"{world.dsn.user}_stranger"
    admin = replace(world.server.admin, database=world.dsn.database)
    query(admin, f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{SECRET}'")
    query(admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    return replace(world.dsn, user=role)


def test_the_grant_that_the_line_names_mends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name_schema(world)
    service = world.monorepo.find("billing")
    world.monorepo.revision("billing", "a1", None, 'op.execute("CREATE TABLE first (id int)")')
    world.dsn_in_env(stranger(world))
    monkeypatch.setenv("MIGRATIONS_VERSION_TABLE", "of_the_stranger")
    before = world.state()
    with pytest.raises(AccessDeniedError) as caught:
        wait(service_migrations.upgrade(service))
    assert world.state() == before
    grant = re.search(r"GRANT CREATE ON SCHEMA public TO [^;]+;", str(caught.value))
    assert grant
    query(world.dsn, grant[0])
    assert wait(service_migrations.upgrade(service)).after == ("a2",)


def test_a_revision_without_the_right_to_create_gets_its_place_and_the_grant(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = stranger(world)
    inside = replace(world.server.admin, database=world.dsn.database)
    query(inside, f'ALTER TABLE alembic_version_billing OWNER TO "{role.user}"')
    world.dsn_in_env(role)
    caught = raised(
        world,
        lambda _: Mistake(
            77, ("migrations/versions/billing/a2.py:", f'GRANT CREATE ON SCHEMA public TO "{role.user}";')
        ),
        monkeypatch,
    )
    assert "[42501]" in str(caught.value)


OF_ANOTHER = """
CREATE SCHEMA x; CREATE SCHEMA empty;
CREATE TABLE x.a (id int PRIMARY KEY, n int); CREATE TABLE x.b (id int PRIMARY KEY, a int REFERENCES x.a);
CREATE TABLE x."my table" (id int); CREATE SEQUENCE x.s; CREATE TYPE x.t AS ENUM ('a');
CREATE MATERIALIZED VIEW x.m AS SELECT 1; CREATE TABLE x.audited (id int);
CREATE FUNCTION x.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE x.p() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION x.written() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO x.a VALUES (7); RETURN NEW; END';
CREATE TRIGGER audit AFTER INSERT ON x.audited FOR EACH ROW EXECUTE FUNCTION x.written();
REVOKE ALL ON TYPE x.t FROM PUBLIC; REVOKE ALL ON FUNCTION x.f FROM PUBLIC; REVOKE ALL ON PROCEDURE x.p FROM PUBLIC;
GRANT USAGE ON SCHEMA x TO PUBLIC; GRANT INSERT ON x.audited TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC
"""
"""What an administrator has made; the service may use none of it but its schema."""


@pytest.mark.parametrize(
    ("statement", "grants"),
    [
        ("INSERT INTO x.a VALUES (2)", "INSERT ON x.a"),
        ("INSERT INTO x.a VALUES (2) RETURNING id", "SELECT, INSERT ON x.a"),
        ("INSERT INTO x.a VALUES (2) ON CONFLICT DO NOTHING", "INSERT ON x.a"),
        ("INSERT INTO x.a VALUES (2) ON CONFLICT (id) DO NOTHING", "SELECT, INSERT ON x.a"),
        ("INSERT INTO x.a VALUES (2) ON CONFLICT (id) DO UPDATE SET n = 3", "SELECT, INSERT, UPDATE ON x.a"),
        ("INSERT INTO x.a SELECT id + 1 FROM x.a", "SELECT, INSERT ON x.a"),
        ("INSERT INTO billing (name) SELECT 'a' FROM x.a", "SELECT ON x.a"),
        ("UPDATE ONLY x.a SET n = 1 WHERE id = 1", "SELECT, UPDATE ON x.a"),
        ("DELETE FROM x.b USING x.a WHERE x.a.id = x.b.a", "SELECT, DELETE ON x.b; SELECT ON x.a"),
        ("WITH q AS (DELETE FROM x.b RETURNING id) SELECT * FROM q", "SELECT, DELETE ON x.b"),
        ("-- all of it\n(SELECT id FROM x.a)", "SELECT ON x.a"),
        ("TABLE x.a", "SELECT ON x.a"),
        ("SELECT * FROM x.a FOR NO KEY UPDATE", "SELECT, UPDATE ON x.a"),
        ('SELECT * FROM x."my table"', 'SELECT ON x."my table"'),
        ("SELECT * FROM x.m", "SELECT ON x.m"),
        ("TRUNCATE x.a, x.b", "TRUNCATE ON x.a; TRUNCATE ON x.b"),
        ("LOCK TABLE x.a", "TRUNCATE ON x.a"),
        ("CREATE TABLE c (a int REFERENCES x.a)", "REFERENCES ON x.a"),
        ("CREATE TABLE c AS SELECT * FROM x.a", "SELECT ON x.a"),
        ("CREATE TABLE c (LIKE x.a)", "SELECT ON x.a"),
        ("CREATE TRIGGER t AFTER INSERT ON x.a FOR EACH ROW EXECUTE FUNCTION x.written()", "TRIGGER ON x.a"),
        ("SELECT nextval('x.s')", "USAGE ON SEQUENCE x.s"),
        ("SELECT setval('x.s', 5)", "UPDATE ON SEQUENCE x.s"),
        ("SELECT setval('x.s', nextval('x.s'))", "USAGE, UPDATE ON SEQUENCE x.s"),
        ("SELECT last_value FROM x.s", "SELECT ON SEQUENCE x.s"),
        ("ALTER TABLE billing ADD COLUMN t x.t", "USAGE ON TYPE x.t"),
        ("SELECT x.f()", "EXECUTE ON FUNCTION x.f"),
        ("CALL x.p()", "EXECUTE ON PROCEDURE x.p"),
        ("CREATE SCHEMA another", "CREATE ON DATABASE"),
        ("CREATE TABLE empty.c (id serial PRIMARY KEY)", "USAGE, CREATE ON SCHEMA empty"),
        ("ALTER TABLE billing SET SCHEMA empty", "USAGE, CREATE ON SCHEMA empty"),
        ("CREATE VIEW v AS SELECT id FROM empty.there", "USAGE ON SCHEMA empty"),
        ("CREATE INDEX ON empty.there (id)", "USAGE, CREATE ON SCHEMA empty"),
        ("DO $$ BEGIN CREATE TABLE empty.c (id int); END $$", "USAGE, CREATE ON SCHEMA empty"),
        ("DO $$ BEGIN INSERT INTO x.a VALUES (2); END $$", "INSERT ON x.a"),
        ("INSERT INTO x.audited VALUES (1)", "INSERT ON x.a"),
    ],
)
def test_the_grants_that_the_line_names_are_those_that_the_statement_needs(
    world: World, statement: str, grants: str
) -> None:
    inside = replace(world.server.admin, database=world.dsn.database)
    run_script(inside, [OF_ANOTHER, "CREATE TABLE empty.there (id int)"])
    query(inside, f'ALTER TABLE empty.there OWNER TO "{world.dsn.user}"')
    query(inside, f'REVOKE CREATE ON DATABASE "{world.dsn.database}" FROM "{world.dsn.user}"')
    world.monorepo.revision("billing", "a2", "a1", f"op.get_bind().exec_driver_sql({statement!r})")
    named = []
    for expected in grants.split("; "):
        with pytest.raises(AccessDeniedError) as caught:
            wait(service_migrations.upgrade(world.monorepo.find("billing")))
        (grant,) = re.findall(r"Its owner can run: (GRANT .*;)", str(caught.value))
        assert grant.startswith(f"GRANT {expected}")
        query(inside, grant)
        named.append(grant)
    assert wait(service_migrations.upgrade(world.monorepo.find("billing"))).after == ("a2",), named


def test_what_a_view_or_a_function_of_another_role_may_not_do_gets_no_grant_for_this_one(world: World) -> None:
    inside = replace(world.server.admin, database=world.dsn.database)
    other = stranger(world).user
    run_script(inside, [OF_ANOTHER, "CREATE VIEW x.v AS SELECT * FROM x.a; GRANT SELECT ON x.v TO PUBLIC"])
    query(inside, f'ALTER VIEW x.v OWNER TO "{other}"')
    world.monorepo.revision("billing", "a2", "a1", 'op.execute("SELECT * FROM x.v")')
    with pytest.raises(AccessDeniedError, match=r"denied for table a \[42501\]\. Grant it, or run as the owner\.$"):
        wait(service_migrations.upgrade(world.monorepo.find("billing")))


@pytest.mark.parametrize("kind", ["TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "TYPE", "FUNCTION", "SCHEMA"])
def test_a_revision_that_changes_what_is_somebody_elses_gets_its_place_and_the_new_owner(
    world: World, kind: str
) -> None:
    made = {
        "TABLE": "(id int)",
        "VIEW": "AS SELECT 1",
        "MATERIALIZED VIEW": "AS SELECT 1",
        "TYPE": "AS ENUM ('a')",
        "FUNCTION": "() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    }
    inside = replace(world.server.admin, database=world.dsn.database)
    query(inside, f"CREATE {kind} of_another {made.get(kind, '')}")
    world.monorepo.revision("billing", "a2", "a1", f'op.execute("ALTER {kind} of_another RENAME TO mine")')
    with pytest.raises(AccessDeniedError, match=r"a2\.py:\d+: must be owner of .*of_another") as caught:
        wait(service_migrations.upgrade(world.monorepo.find("billing")))
    assert str(caught.value).endswith(f'let an administrator run: ALTER {kind} … OWNER TO "{world.dsn.user}";')


def test_creating_the_database_that_is_missing_mends_it(world: World) -> None:
    made = a_database_that_is_missing(world)
    ran = world.monorepo.inv(*made.words)
    (command,) = re.findall(r"`inv ([^`]+)`", line(ran))
    alone = world.monorepo.inv(*command.split())
    assert alone.code == 77
    assert "Name an administrator in DATABASE_ADMIN_DSN." in line(alone)
    admin = {"DATABASE_ADMIN_DSN": dsn_text(world.server.admin)}
    created = world.monorepo.inv(*command.split(), env=admin)
    assert (created.code, created.out) == (0, f"billing: created database no_{world.dsn.database}\n")
    upgraded = world.monorepo.inv(*made.words)
    assert upgraded.code == 0
    assert "went from base to a2" in upgraded.out
    for result in (alone, created, upgraded):
        assert "hunter" not in result.text


def test_a_server_that_comes_up_mends_it(world: World) -> None:
    service = world.monorepo.find("billing")
    a_server_that_is_down(world)
    with pytest.raises(UnreachableError):
        wait(service_migrations.upgrade(service))
    world.dsn_in_env(world.dsn)
    assert wait(service_migrations.upgrade(service)).after == ("a2",)


@pytest.mark.parametrize(
    "make",
    [models_that_fail_to_import, a_missing_all, a_mapped_class_that_is_not_exported],
    ids=lambda make: make.__name__,
)
def test_reading_commands_meet_a_services_mistake_as_the_upgrade_does(world: World, make: Make) -> None:
    assert world.monorepo.inv("db.upgrade", "--service", "billing").code == 0  # not here, where it imports the models
    made = make(world)
    service = world.monorepo.find("billing")
    try:
        (fault,) = wait(service_migrations.check(service)).uncompared  # beside other differences
    except ConfigurationError as error:
        fault = error
    assert made.says[0] in str(fault)
    with pytest.raises(ConfigurationError) as caught:
        wait(service_migrations.current(service))
    assert made.says[0] in str(caught.value)


def test_one_services_mistake_does_not_stop_the_list_of_the_others(world: World) -> None:
    world.monorepo.service("catalog", dsn=world.dsn)
    (world.monorepo.root / "migrations/versions/billing/a3.py").write_text("revision = 'a3", encoding="utf-8")
    ran = world.monorepo.inv("db.services", "--json")
    assert ran.code == 2
    assert "migrations/versions/billing/a3.py:1: unterminated string literal" in ran.err
    assert [row["service"] for row in json.loads(ran.out)] == ["catalog"]


def test_certificates_of_one_service_that_cannot_be_read_stop_neither_the_list_nor_the_others(world: World) -> None:
    also(world)
    dsn = f"{world.dsn.url.render_as_string(hide_password=False)}?sslmode=verify-full&sslrootcert=/"
    env = {"CATALOG_DATABASE_DSN": dsn.replace("+asyncpg", "")}
    line = "catalog: The certificate files of the DSN can't be read (sslrootcert=/): [Errno 21] Is a directory: '/'."
    for command, done in (("db.status", "billing"), ("db.upgrade", "went from a1 to a2")):
        ran = world.monorepo.inv(command, env=env)
        assert ran.code == 78, ran.text
        assert line in ran.err
        assert done in ran.out


def test_a_canary_that_is_no_service_is_refused_by_its_own_option(world: World) -> None:
    ran = world.monorepo.inv("db.upgrade", "--canary", "biling")
    assert (ran.code, ran.err) == (
        2,
        "--canary 'biling': there is no such service in services/*. Did you mean billing?\n",
    )


def test_a_service_is_named_in_either_way(world: World) -> None:
    also(world)
    for words in (("--service=billing",), ("--service", "billing"), ("--fail-fast", "--service=billing")):
        ran = world.monorepo.inv("db.upgrade", *words)
        assert ran.code == 0, ran.text
        assert ran.out.startswith("billing: ")
        assert "catalog" not in ran.text


def test_a_message_may_look_like_an_option(world: World) -> None:
    ran = world.monorepo.inv("db.revision", "--service", "billing", "--empty", "-m", "--allow")
    assert ran.code == 0, ran.text


def test_one_services_mistake_does_not_stop_the_others(world: World, database: Callable[..., Dsn]) -> None:
    catalog = database(password=SECRET)
    world.monorepo.service("catalog", dsn=catalog)
    world.monorepo.table_revision("catalog", "c1", None)
    (world.monorepo.root / "services/billing/.env").unlink()
    ran = world.monorepo.inv("db.upgrade")
    assert ran.code == 78
    assert "services/billing/.env does not exist" in ran.err
    assert ran.err.splitlines()[-1] == "1 of 2 services failed."
    assert "catalog" in tables(catalog)


def test_of_several_mistakes_the_most_serious_gives_the_exit_code(world: World, database: Callable[..., Dsn]) -> None:
    a_server_that_is_down(world)
    world.monorepo.service("catalog", dsn=database(password=SECRET))
    world.monorepo.revision("catalog", "c1", None, 'op.execute("SELECT 1/0")')
    ran = world.monorepo.inv("db.upgrade")
    assert ran.code == 1
    assert "Is the server up" in ran.err
    assert "division by zero" in ran.err
    assert "Traceback" not in ran.text


# Ctrl-C, and its relatives


@pytest.fixture
def asleep(world: World) -> Iterator[World]:
    """Let revision a2 create a table, and then sleep for a minute."""
    world.monorepo.revision(
        "billing", "a2", "a1", 'op.execute("CREATE TABLE second (id int)")\nop.execute("SELECT pg_sleep(60)")'
    )
    yield world
    query(
        world.server.admin,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
        world.dsn.database,
    )


def until(world: World, condition: str, *, patience: float = 30.0) -> None:
    """Wait until pg_stat_activity, of this database, has (or has not) what the condition says."""
    deadline = time.monotonic() + patience
    sql = f"SELECT {condition} FROM pg_stat_activity "  # noqa: S608 - a constant of the test
    sql += "WHERE datname = $1 AND application_name LIKE 'migrations %'"
    while not query(world.server.admin, sql, world.dsn.database)[0][0]:
        assert time.monotonic() < deadline, f"not seen within {patience} s: {condition}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_rolls_back_and_leaves_nothing_behind(asleep: World, number: signal.Signals) -> None:
    before = asleep.state()
    process = asleep.monorepo.spawn("db.upgrade", "--service", "billing")
    try:
        until(asleep, "count(*) FILTER (WHERE state = 'active' AND query LIKE '%pg_sleep%') = 1")
        sent = time.monotonic()
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=30)
        took = time.monotonic() - sent
    finally:
        process.kill()
    ran = Ran(process.returncode, out, err)
    assert ran.code == 128 + number
    assert took < PATIENCE
    assert line(ran) == f"Stopped by {number.name}."
    assert "is at a1. What ran after that was rolled back." in ran.err
    assert "hunter" not in ran.text
    until(asleep, "count(*) = 0", patience=PATIENCE)
    assert asleep.state() == before
    assert query(asleep.dsn, "SELECT pg_try_advisory_lock($1)", LOCK_KEY)[0][0]


def test_a_signal_ends_the_wait_for_the_lock(world: World) -> None:
    before = world.state()

    async def scenario() -> Ran:
        holder = await asyncpg.connect(**world.dsn.connect_args())
        await holder.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        process = world.monorepo.spawn("db.upgrade", "--service", "billing")
        try:
            await asyncio.to_thread(until, world, "count(*) FILTER (WHERE query LIKE '%pg_try_advisory_lock%') = 1")
            os.killpg(process.pid, signal.SIGINT)
            out, err = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        finally:
            process.kill()
            await holder.close()
        return Ran(process.returncode, out, err)

    ran = wait(scenario())
    assert ran.code == 130
    assert line(ran).startswith("Stopped by SIGINT.")
    assert world.state() == before


def test_a_lock_that_another_holds_is_told_with_its_holder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.state()
    monkeypatch.setenv("MIGRATIONS_LOCK_WAIT", "0")

    async def scenario() -> int:
        holder = await asyncpg.connect(**world.dsn.connect_args(), server_settings={"application_name": "holder"})
        try:
            await holder.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
            with pytest.raises(MigrationError, match=f"pid {holder.get_server_pid()}.* holder,") as caught:
                await service_migrations.upgrade(world.monorepo.find("billing"))
            return caught.value.exit_code
        finally:
            await holder.close()

    assert wait(scenario()) == 75
    assert world.state() == before


def test_an_engine_of_another_driver_is_refused_before_anything_is_connected_to(monorepo):
    monorepo.table_revision("billing", "r001", None)
    engine = create_async_engine("postgresql+psycopg://app:x@localhost:1/billing")
    with pytest.raises(UsageError) as caught:
        wait(service_migrations.upgrade(monorepo.service("billing"), engine=engine))
    assert "the engine connects with psycopg, and a migration needs asyncpg. Make it with" in str(caught.value)


@pytest.mark.parametrize(
    ("password", "more", "says"),
    [
        ("hunter9", {}, "Correct the password of the engine."),
        (None, {"nonsense": "1"}, "Correct the name in the engine's server_settings."),
        (None, {"work_mem": "much"}, "Correct the value in the engine's server_settings."),
    ],
)
def test_what_is_wrong_with_an_engine_of_the_callers_is_not_looked_for_in_an_env_file(
    monorepo, database, password, more, says
):
    dsn = database()
    monorepo.table_revision("billing", "r001", None)
    url = dsn.url.set(password=password or dsn.password)
    engine = create_async_engine(url, connect_args={"server_settings": more})
    with pytest.raises(MigrationError) as caught:
        wait(service_migrations.upgrade(monorepo.service("billing"), engine=engine))
    assert str(caught.value).endswith(f". {says}")
    assert not re.search(r"\.env|hunter9", str(caught.value))

"""The running code's statements, before and after each revision that it hasn't seen."""

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from service_migrations.catalog.search_path import OWN_PATH
from service_migrations.compat.checkout import Checkout
from service_migrations.compat.running_code import HOOKS, RunningCode, running_code
from service_migrations.connection.connector import connector
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import Session, open_session
from service_migrations.errors import MigrationError, UsageError
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.history.static import read_chain
from service_migrations.history.targets import migrate_to
from service_migrations.monorepo import Monorepo, Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load_options
from service_migrations.settings.sharing import siblings_of
from service_migrations.settings.sources import Sources
from service_migrations.sql.quoting import quoted
from service_migrations.upgrade.commands import upgrade

__all__ = ["Break", "Compat", "compat"]

_WORDS = {
    "read": "the running code no longer reads it",
    "insert": "the running code no longer inserts into it",
    "change": "the running code no longer changes it",
    "empty": "the running code no longer sets it to NULL",
    "delete": "the running code no longer deletes from it",
    "hook": "the team's own try fails",
    "upgrade": "it fails on rows that the running code writes",
}


@dataclass(frozen=True, slots=True)
class Break:
    """A statement of the running code that fails since a revision.

    Attributes:
        revision: the revision, by its id.
        path: its file, from the top level.
        table: the table; empty for a hook.
        column: the column; empty where it is the whole row.
        action: ``read``, ``insert``, ``change``, ``empty``, ``delete``, ``hook`` or ``upgrade``.
        statement: the running code's statement, with placeholders.
        sqlstate: PostgreSQL's code of the error; empty where it isn't the server's.
        why: the server's message.

    """

    revision: str
    path: str
    table: str
    column: str
    action: str
    statement: str
    sqlstate: str
    why: str

    def is_same(self, other: "Break") -> bool:
        """Whether the cause is the same: one error of one table, whatever statement meets it."""
        mine, its = ((each.table, each.sqlstate, each.why) for each in (self, other))
        return mine == its

    def __str__(self) -> str:
        place = ".".join(part for part in (self.table, self.column) if part)
        place = f"{place}: " if place else ""
        code = f" [{self.sqlstate}]" if self.sqlstate else ""
        statement = f" Statement: {self.statement}" if self.statement else ""
        return f"{self.path}: {place}{_WORDS[self.action]}: {self.why.removesuffix('.')}{code}.{statement}"


@dataclass(frozen=True, slots=True)
class Compat:
    """What was tried for one service.

    Attributes:
        service: its name.
        commit: that of the running code.
        revisions: those that the running code hasn't seen, oldest first.
        tried: how many statements its database takes before them.
        breaks: those that fail after one of them.
        untried: why no row could be made, by table.

    """

    service: str
    commit: str
    revisions: tuple[str, ...]
    tried: int
    breaks: tuple[Break, ...]
    untried: Mapping[str, str]


async def compat(service: Service, code: Checkout, server: Server, *, python: str = "") -> Compat:
    """Try the statements of a service's models at another commit on the schema of this one.

    Args:
        service: the service.
        code: the running code's checkout.
        server: a throw-away server.
        python: an interpreter with the running code's packages; empty for this one.

    Raises:
        UsageError: the commit doesn't have the service or its models can't be imported; this history lacks a revision
            of the commit's.
        MigrationError: a revision fails on empty tables too.

    """
    commit, root = code
    running = _find(root, service, commit)
    history = read(service)
    start = _heads(running, history, commit)
    new = history.pending(start)
    if not new:
        return Compat(service.name, commit, (), 0, (), {})
    hooks = service.root / HOOKS / f"{service.name}.py"
    async with _databases(server, service, start) as (empty, filled):
        with running_code(running, server.admin, python, hooks if hooks.is_file() else None) as tries:
            recorded = tries.ask("record", empty.dsn.database)
            tries.ask("keep", filled.dsn.database)
            breaks = [one async for one in _breaks(history, new, empty, tries)]
            breaks += [one async for one in _refused_rows(history, new, filled)]
    ids = tuple(revision.revision for revision in new)
    return Compat(service.name, commit, ids, recorded["steps"], tuple(breaks), recorded["unfillable"])


async def _breaks(
    history: History, new: Sequence[Revision], settings: Settings, tries: RunningCode
) -> AsyncIterator[Break]:
    """Upgrade one revision after the other, and yield what fails since then, each cause once."""
    found: list[Break] = []
    async with _session(history, settings) as session:
        for revision in new:
            await session.run(migrate_to(history, revision.revision))
            for failure in tries.ask("repeat", settings.dsn.database)["failures"]:
                one = Break(revision.revision, revision.path, **failure)
                if not any(one.is_same(each) for each in found):
                    found.append(one)
                    yield one


async def _refused_rows(history: History, new: Sequence[Revision], settings: Settings) -> AsyncIterator[Break]:
    """Upgrade a database with the running code's rows, and yield the revision that fails on them."""
    async with _session(history, settings) as session:
        for revision in new:
            try:
                await session.run(migrate_to(history, revision.revision))
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code:
                    raise
                yield Break(revision.revision, revision.path, "", "", "upgrade", "", "", error.message)
                return


@asynccontextmanager
async def _session(history: History, settings: Settings) -> AsyncIterator[Session]:
    async with process_lock(), open_session(history, connector(settings.service, settings=settings)) as session:
        yield session


def _find(root: Path, service: Service, commit: str) -> Service:
    """Return a service as it is in another checkout."""
    try:
        return Monorepo.locate(root).find(service.name)
    except MigrationError as error:
        raise UsageError(
            f"The running code, {commit[:12]}, has no such service: {error.message}", service=service
        ) from None


def _heads(running: Service, history: History, commit: str) -> tuple[str, ...]:
    """Return the heads of the running code's history, which this history must have."""
    chain = read_chain(running)
    heads = chain.effective_heads if chain else read(running).heads
    missing = [head for head in heads if history.path(head) is None]
    if missing:
        raise UsageError(
            f"The running code, {commit[:12]}, has the revision {missing[0]}, and this history doesn't.",
            service=history.service,
            hint="Merge or rebase onto that commit first.",
        )
    return heads


@asynccontextmanager
async def _databases(
    server: Server, service: Service, revisions: tuple[str, ...]
) -> AsyncIterator[tuple[Settings, Settings]]:
    """Create two databases in which a service is at some revisions, and those at head that share it."""
    name = f"compat_{secrets.token_hex(6)}"
    names = (name, f"{name}_copy")
    connection = await asyncpg.connect(**server.admin.connect_args(), server_settings={"search_path": OWN_PATH})
    try:
        await connection.execute(f"CREATE DATABASE {quoted(names[0])}")
        await _close_public(replace(server.admin, database=names[0]))
        first, second = (_settings(service, replace(server.admin, database=name)) for name in names)
        await _upgrade_in_turns(first, revisions, [_settings(each, first.dsn) for each in siblings_of(service)])
        await connection.execute(f"CREATE DATABASE {quoted(names[1])} TEMPLATE {quoted(names[0])}")
        yield first, second
    finally:
        for name in names:
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        await connection.close()


async def _close_public(dsn: Dsn) -> None:
    """Take from everybody what PostgreSQL 14 gives; a superuser who migrates would run what others put there."""
    connection = await asyncpg.connect(**dsn.connect_args(), server_settings={"search_path": OWN_PATH})
    try:
        await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    finally:
        await connection.close()


async def _upgrade_in_turns(own: Settings, revisions: tuple[str, ...], siblings: Iterable[Settings]) -> None:
    """Upgrade a service and its siblings, each of which may need the tables of another.

    Raises:
        MigrationError: a revision fails, also after the others.

    """
    waiting = [(own, revision) for revision in revisions] + [(each, "head") for each in siblings]
    while waiting:
        failed: list[tuple[Settings, str]] = []
        first_error: MigrationError | None = None
        for settings, revision in waiting:
            try:
                await upgrade(settings.service, revision, settings=settings)
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code:
                    raise
                failed.append((settings, revision))
                first_error = first_error or error
        if first_error and len(failed) == len(waiting):
            raise first_error
        waiting = failed


def _settings(service: Service, dsn: Dsn) -> Settings:
    options = load_options(service, Sources())
    return Settings(service, dsn, options.version_table, options.search_path, options.limits)

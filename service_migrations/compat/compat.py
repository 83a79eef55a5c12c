"""The running code's statements, before and after each revision that it hasn't seen."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service_migrations.compat.checkout import Checkout
from service_migrations.compat.running_code import HOOKS, RunningCode, running_code
from service_migrations.connection.connector import connector_of
from service_migrations.connection.locks import process_lock
from service_migrations.connection.session import Session, open_session
from service_migrations.connection.throwaway import ThrowawayDatabases
from service_migrations.connection.version_table import ensure_schema
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures import replay_failure
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.history.static import read_chain
from service_migrations.history.targets import migrate_to
from service_migrations.monorepo import Monorepo, Service
from service_migrations.postgres import Server
from service_migrations.settings.model import Settings
from service_migrations.settings.sharing import siblings_of
from service_migrations.upgrade.siblings import Siblings

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
            of the commit's; or a revision fails on empty tables too.
        MigrationError: the server can't be reached, or refuses.

    """
    commit, root = code
    running = _find(root, service, commit)
    history = read(service)
    start = _heads(running, history, commit)
    new = history.pending(start)
    if not new:
        return Compat(service.name, commit, (), 0, (), {})
    hooks = service.root / HOOKS / f"{service.name}.py"
    async with ThrowawayDatabases(server, (service, *siblings_of(service)), "compat") as databases:
        empty, *others = await databases.create()
        try:
            await _start(history, start, empty, Siblings(others))
            filled, *other_copies = await databases.copy(empty.dsn.database)
            with running_code(running, empty.dsn, python, hooks if hooks.is_file() else None) as tries:
                recorded = tries.ask("record", empty.dsn.database)
                tries.ask("keep", filled.dsn.database)
                breaks = [one async for one in _breaks(history, new, empty, Siblings(others), tries)]
        except MigrationError as error:
            raise replay_failure(error) from error
        breaks += [one async for one in _refused_rows(history, new, filled, Siblings(other_copies))]
    ids = tuple(revision.revision for revision in new)
    return Compat(service.name, commit, ids, recorded["steps"], tuple(breaks), recorded["unfillable"])


async def _start(history: History, revisions: tuple[str, ...], settings: Settings, siblings: Siblings) -> None:
    async with _session(history, settings) as session:
        if session.schema:
            await ensure_schema(session.connection, session.schema)
        for revision in revisions:
            await _run(session, revision, siblings)


async def _breaks(
    history: History, new: Sequence[Revision], settings: Settings, siblings: Siblings, tries: RunningCode
) -> AsyncIterator[Break]:
    """Upgrade one revision after the other, and yield what fails since then, each cause once."""
    found: list[Break] = []
    async with _session(history, settings) as session:
        for revision in new:
            await _run(session, revision.revision, siblings)
            for failure in tries.ask("repeat", settings.dsn.database)["failures"]:
                one = Break(revision.revision, revision.path, **failure)
                if not any(one.is_same(each) for each in found):
                    found.append(one)
                    yield one


async def _refused_rows(
    history: History, new: Sequence[Revision], settings: Settings, siblings: Siblings
) -> AsyncIterator[Break]:
    """Upgrade a database with the running code's rows, and yield the revision that fails on them."""
    async with _session(history, settings) as session:
        for revision in new:
            try:
                await _run(session, revision.revision, siblings)
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code:
                    raise
                yield Break(revision.revision, revision.path, "", "", "upgrade", "", "", error.message)
                return


async def _run(session: Session, revision: str, siblings: Siblings) -> None:
    """Upgrade to a revision, again after the siblings whose tables it may need."""
    while True:
        try:
            return await session.run(migrate_to(session.history, revision))
        except MigrationError as error:
            is_again = error.exit_code == MigrationError.exit_code and not session.transactions.partly_committed
            if not is_again or not await siblings.advance():
                raise


@asynccontextmanager
async def _session(history: History, settings: Settings) -> AsyncIterator[Session]:
    async with process_lock(), open_session(history, connector_of(settings), autocommit=True) as session:
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

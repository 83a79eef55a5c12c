"""The running code's statements, before and after each revision that it hasn't seen; or those of the new code."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from service_migrations.compat.breaks import Break, Compat
from service_migrations.compat.checkout import Checkout
from service_migrations.compat.command import Command
from service_migrations.compat.running_code import HOOKS, RunningCode, running_code
from service_migrations.connection.connector import connector_of
from service_migrations.databases.throwaway import ThrowawayDatabases
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures.revisions import replay_failure
from service_migrations.history.files.static import read_chain
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.history.targets import migrate_to
from service_migrations.monorepo import Monorepo, Service
from service_migrations.postgres import Server
from service_migrations.session.locks import process_lock
from service_migrations.session.session import Session, open_session
from service_migrations.session.tables.version_table import ensure_schema
from service_migrations.settings.model import Settings
from service_migrations.settings.siblings import declared_siblings
from service_migrations.upgrade.siblings import Siblings

__all__ = ["compat", "compat_of_new_code"]


async def compat(
    service: Service,
    code: Checkout,
    server: Server,
    *,
    python: Callable[[Service], str] = lambda _: "",
    command: Command | None = None,
) -> Compat:
    """Try the statements of a service's models at another commit on the schema of this one.

    Args:
        service: the service.
        code: the running code's checkout.
        server: a throw-away server.
        python: returns an interpreter with the running code's packages; empty for this one.
        command: the team's own, run in the checkout after the last revision.

    Raises:
        UsageError: the commit doesn't have the service or its models can't be imported; this history lacks a revision
            of the commit's; a revision fails on empty tables too; or the command fails on the schema of before too.
        MigrationError: the server can't be reached, or refuses.

    """
    if _is_new(service, code):
        return Compat(service.name, code[0], (), 0, (), {}, is_new_service=True)
    span = _Span.of(service, code)
    if not span.new:
        return span.result()
    interpreter = python(service)
    async with span.databases(server, 3 if command else 2) as (upgraded, filled, *spare):
        with running_code(span.running, upgraded[0].dsn, interpreter, _hooks(service)) as tries:
            recorded = tries.try_on("record", upgraded[0].dsn.database)
            tries.try_on("keep", filled[0].dsn.database)
            breaks = [broken async for broken in _breaks(span, upgraded, tries)]
        breaks += [broken async for broken in _refused_rows(span, filled)]
        if command:
            breaks += _failed(command, interpreter, code[1], (upgraded, spare[0]), span.new[-1])
    return span.result(recorded, breaks)


async def compat_of_new_code(
    service: Service,
    code: Checkout,
    server: Server,
    *,
    python: Callable[[Service], str] = lambda _: "",
    command: Command | None = None,
) -> Compat:
    """Try the statements of this checkout's models on the schema of another commit, for code that is deployed first.

    Args:
        service: the service.
        code: the running code's checkout.
        server: a throw-away server.
        python: returns an interpreter with the new code's packages; empty for this one.
        command: the team's own, run in this checkout before the first revision.

    Raises:
        UsageError: as of ``compat``; the command fails after the last revision too.
        MigrationError: the server can't be reached, or refuses.

    """
    if _is_new(service, code):
        return Compat(service.name, code[0], (), 0, (), {}, is_new_service=True)
    span = _Span.of(service, code, is_new_code=True)
    if not span.new:
        return span.result()
    interpreter = python(service)
    async with span.databases(server, 3 if command else 2) as (old, upgraded, *spare):
        async with span.session(upgraded) as run:
            for revision in span.new:
                await run(revision.revision)
        with running_code(service, upgraded[0].dsn, interpreter, _hooks(service)) as tries:
            recorded = tries.try_on("record", upgraded[0].dsn.database)
            breaks = [broken async for broken in _missed(span, old, tries)]
        if command:
            failed = _failed(command, interpreter, service.root, (spare[0], upgraded), span.new[0])
            breaks += [replace(broken, is_new_code=True) for broken in failed]
    return span.result(recorded, breaks)


@dataclass(frozen=True, slots=True)
class _Span:
    """What is between the running code and this checkout: the revisions of a history that its commit hasn't."""

    commit: str
    running: Service
    history: History
    start: tuple[str, ...]
    new: Sequence[Revision]
    is_new_code: bool

    @classmethod
    def of(cls, service: Service, code: Checkout, *, is_new_code: bool = False) -> "_Span":
        """Return that of a service, and whether it is the new code that is tried.

        Raises:
            UsageError: the commit doesn't have the service, or this history lacks a revision of the commit's.

        """
        commit, root = code
        running, history = _find(root, service, commit), read(service)
        start = _heads(running, history, commit)
        return cls(commit, running, history, start, history.pending(start), is_new_code)

    @asynccontextmanager
    async def databases(self, server: Server, count: int) -> AsyncIterator[Sequence[Sequence[Settings]]]:
        """Provide databases at the commit's revisions: of each, the settings of the service and of its siblings.

        Raises:
            UsageError: a revision fails in one of them.

        """
        service = self.history.service
        async with ThrowawayDatabases(server, (service, *declared_siblings(service)), "compat") as made:
            first = await made.create()
            try:
                async with self.session(first) as run:
                    for revision in self.start:
                        await run(revision)
                yield [first, *[await made.copy(first[0].dsn.database) for _ in range(count - 1)]]
            except MigrationError as error:
                raise replay_failure(error) from error

    @asynccontextmanager
    async def session(self, database: Sequence[Settings]) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        """Open a session in a database, and yield what upgrades it to a revision."""
        siblings = Siblings(list(database[1:]))
        connector = connector_of(database[0])
        async with process_lock(), open_session(self.history, connector, autocommit=True) as session:
            if session.schema:
                await ensure_schema(session.connection, session.schema)
            yield partial(_run, session, siblings=siblings)

    def result(self, recorded: Mapping[str, Any] | None = None, breaks: Sequence[Break] = ()) -> Compat:
        """Return the result; without what was recorded, nothing had to be tried."""
        ids = tuple(revision.revision for revision in self.new)
        tried, untried = (recorded["steps"], recorded["unfillable"]) if recorded else (0, {})
        service = self.history.service.name
        return Compat(service, self.commit, ids, tried, tuple(breaks), untried, is_new_code=self.is_new_code)


def _hooks(service: Service) -> Path | None:
    path = service.root / HOOKS / f"{service.name}.py"
    return path if path.is_file() else None


def _failed(
    command: Command,
    python: str,
    folder: Path,
    databases: tuple[Sequence[Settings], Sequence[Settings]],
    revision: Revision,
) -> Iterator[Break]:
    """Yield that a command fails on the first databases, where it doesn't on the second ones.

    Raises:
        UsageError: it fails on both.

    """
    tried, others = databases
    code = command.run(folder, tried, python)
    if not code:
        return
    if command.run(folder, others, python):
        raise UsageError(
            f"--command {command.text!r} fails on the schema of before and on the new one, so it shows nothing.",
            service=tried[0].service,
            hint="Its output is above.",
        )
    yield Break(revision.revision, revision.path, "", "", "command", command.text, "", f"it ended with {code}")


async def _breaks(span: _Span, database: Sequence[Settings], tries: RunningCode) -> AsyncIterator[Break]:
    """Upgrade one revision after the other, and yield what fails since then, each cause once."""
    breaks: list[Break] = []
    async with span.session(database) as run:
        for revision in span.new:
            await run(revision.revision)
            for failure in tries.try_on("repeat", database[0].dsn.database)["failures"]:
                broken = Break(revision.revision, revision.path, **failure)
                if not any(broken.is_same(each) for each in breaks):
                    breaks.append(broken)
                    yield broken


async def _missed(span: _Span, database: Sequence[Settings], tries: RunningCode) -> AsyncIterator[Break]:
    """Upgrade one revision after the other, and yield what failed before it and no longer does, each cause once."""
    breaks: list[Break] = []
    name = database[0].dsn.database
    failures = tries.try_on("repeat", name)["failures"]
    async with span.session(database) as run:
        for revision in span.new:
            await run(revision.revision)
            left = tries.try_on("repeat", name)["failures"] if revision is not span.new[-1] else []
            still = {(each["action"], each["table"], each["statement"]) for each in left}
            for failure in failures:
                broken = Break(revision.revision, revision.path, **failure, is_new_code=True)
                is_fixed = (broken.action, broken.table, broken.statement) not in still
                if is_fixed and not any(broken.is_same(each) for each in breaks):
                    breaks.append(broken)
                    yield broken
            failures = left


async def _refused_rows(span: _Span, database: Sequence[Settings]) -> AsyncIterator[Break]:
    """Upgrade a database with the running code's rows, and yield the revision that fails on them."""
    async with span.session(database) as run:
        for revision in span.new:
            try:
                await run(revision.revision)
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code:
                    raise
                yield Break(revision.revision, revision.path, "", "", "upgrade", "", "", error.message)
                return


async def _run(session: Session, revision: str, *, siblings: Siblings) -> None:
    """Upgrade to a revision, again after the siblings whose tables it may need."""
    while True:
        try:
            return await session.run(migrate_to(session.history, revision))
        except MigrationError as error:
            is_again = error.exit_code == MigrationError.exit_code and not session.transactions.partly_committed
            if not is_again or not await siblings.advance():
                raise


def _is_new(service: Service, code: Checkout) -> bool:
    """Whether another checkout has neither the service nor a revision of it, also not under another name."""
    root = code[1]
    folders = (service.path, *service.version_locations)
    if any((root / folder.relative_to(service.root)).exists() for folder in folders):
        return False
    names = {path.name for folder in service.version_locations for path in folder.rglob("*.py")}
    candidates = (path for path in root.rglob("*.py") if path.name in names)
    # a file that is where it was is of another service, such as its __init__.py or 0001_initial.py
    return all((service.root / path.relative_to(root)).exists() for path in candidates)


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

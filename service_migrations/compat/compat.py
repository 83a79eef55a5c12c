"""The running code's statements, before and after each revision that it hasn't seen; or those of the new code."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from service_migrations.compat.breaks import Break, Compat
from service_migrations.compat.checkout import Checkout
from service_migrations.compat.command import Command
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

__all__ = ["compat", "compat_of_new_code"]


async def compat(
    service: Service, code: Checkout, server: Server, *, python: str = "", command: Command | None = None
) -> Compat:
    """Try the statements of a service's models at another commit on the schema of this one.

    Args:
        service: the service.
        code: the running code's checkout.
        server: a throw-away server.
        python: an interpreter with the running code's packages; empty for this one.
        command: the team's own, run in the checkout after the last revision.

    Raises:
        UsageError: the commit doesn't have the service or its models can't be imported; this history lacks a revision
            of the commit's; a revision fails on empty tables too; or the command fails on the schema of before too.
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
            untouched = await databases.copy(empty.dsn.database) if command else ()
            with running_code(running, empty.dsn, python, hooks if hooks.is_file() else None) as tries:
                recorded = tries.ask("record", empty.dsn.database)
                tries.ask("keep", filled.dsn.database)
                breaks = [one async for one in _breaks(history, new, empty, Siblings(others), tries)]
        except MigrationError as error:
            raise replay_failure(error) from error
        breaks += [one async for one in _refused_rows(history, new, filled, Siblings(other_copies))]
        if command:
            breaks += _failed(command, root, (empty, *others), untouched, new[-1])
    ids = tuple(revision.revision for revision in new)
    return Compat(service.name, commit, ids, recorded["steps"], tuple(breaks), recorded["unfillable"])


async def compat_of_new_code(
    service: Service, code: Checkout, server: Server, *, python: str = "", command: Command | None = None
) -> Compat:
    """Try the statements of this checkout's models on the schema of another commit, for code that is deployed first.

    Args:
        service: the service.
        code: the running code's checkout.
        server: a throw-away server.
        python: an interpreter with the new code's packages; empty for this one.
        command: the team's own, run in this checkout before the first revision.

    Raises:
        UsageError: as of ``compat``; the command fails after the last revision too.
        MigrationError: the server can't be reached, or refuses.

    """
    commit, root = code
    history = read(service)
    start = _heads(_find(root, service, commit), history, commit)
    new = history.pending(start)
    if not new:
        return Compat(service.name, commit, (), 0, (), {}, is_new_code=True)
    hooks = service.root / HOOKS / f"{service.name}.py"
    async with ThrowawayDatabases(server, (service, *siblings_of(service)), "compat") as databases:
        old, *others = await databases.create()
        try:
            await _start(history, start, old, Siblings(others))
            head, *other_copies = await databases.copy(old.dsn.database)
            untouched = await databases.copy(old.dsn.database) if command else ()
            async with _session(history, head) as session:
                for revision in new:
                    await _run(session, revision.revision, Siblings(other_copies))
        except MigrationError as error:
            raise replay_failure(error) from error
        with running_code(service, head.dsn, python, hooks if hooks.is_file() else None) as tries:
            recorded = tries.ask("record", head.dsn.database)
            breaks = [one async for one in _missed(history, new, old, Siblings(others), tries)]
        if command:
            found = _failed(command, service.root, untouched, (head, *other_copies), new[0])
            breaks += [replace(one, is_new_code=True) for one in found]
    ids = tuple(revision.revision for revision in new)
    return Compat(service.name, commit, ids, recorded["steps"], tuple(breaks), recorded["unfillable"], is_new_code=True)


def _failed(
    command: Command, folder: Path, databases: Sequence[Settings], others: Sequence[Settings], revision: Revision
) -> Iterator[Break]:
    """Yield that a command fails on some databases, where it doesn't on the others.

    Raises:
        UsageError: it fails on both.

    """
    code = command.run(folder, databases)
    if not code:
        return
    if command.run(folder, others):
        raise UsageError(
            f"--command {command.text!r} fails on the schema of before and on the new one, so it shows nothing.",
            service=databases[0].service,
            hint="Its output is above.",
        )
    yield Break(revision.revision, revision.path, "", "", "command", command.text, "", f"it ended with {code}")


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


async def _missed(
    history: History, new: Sequence[Revision], settings: Settings, siblings: Siblings, tries: RunningCode
) -> AsyncIterator[Break]:
    """Upgrade one revision after the other, and yield what failed before it and no longer does, each cause once."""
    found: list[Break] = []
    failures = tries.ask("repeat", settings.dsn.database)["failures"]
    async with _session(history, settings) as session:
        for revision in new:
            await _run(session, revision.revision, siblings)
            left = tries.ask("repeat", settings.dsn.database)["failures"] if revision is not new[-1] else []
            still = {(each["action"], each["table"], each["statement"]) for each in left}
            for failure in failures:
                one = Break(revision.revision, revision.path, **failure, is_new_code=True)
                is_fixed = (one.action, one.table, one.statement) not in still
                if is_fixed and not any(one.is_same(each) for each in found):
                    found.append(one)
                    yield one
            failures = left


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

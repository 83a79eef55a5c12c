"""What a history and its database have today that a gate would refuse, as entries for the baseline."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service_migrations.adoption.stepwise import Steps, empty_database, stepping
from service_migrations.authoring.check import check
from service_migrations.drift.drift import drift, sibling_settings
from service_migrations.drift.extensions import Extensions, MissingExtensionError, read_objects
from service_migrations.errors import MigrationError
from service_migrations.history.baseline import (
    KINDS,
    Baseline,
    baseline_path,
    digest,
    read_baseline,
    revision_entry,
    write_baseline,
)
from service_migrations.history.revisions import History, read as read_history
from service_migrations.history.sql.offline import render
from service_migrations.monorepo import Service
from service_migrations.session.locks import process_lock
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load
from service_migrations.upgrade.commands import upgrade

__all__ = ["Pruned", "entries_of_today", "prune", "record"]

_CERTAIN = ("It has no downgrade().", "Its downgrade() raises an error.")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What of a baseline is no longer needed: each entry with its kind."""

    service: str
    path: str
    unneeded: tuple[tuple[str, str], ...]
    kept: int


async def record(service: str | Service, *, settings: Settings | None = None, admin: Dsn | None = None) -> Baseline:
    """Write the baseline of a service: all that a gate would refuse today, in its database and in its history.

    Args:
        service: the service or its name.
        settings: the service's, if they were loaded already.
        admin: an administrator who may create a scratch database, if the settings have none.

    Raises:
        DifferenceError: the database is behind head; what comes to it would be recorded as missing.
        MigrationError: the database can't be read, or the history can't be replayed.

    """
    history = read_history(service)
    entries = await entries_of_today(history, settings or load(history.service), admin)
    write_baseline(history.service, entries)
    return read_baseline(history.service)


async def prune(
    service: str | Service, *, write: bool = False, settings: Settings | None = None, admin: Dsn | None = None
) -> Pruned:
    """Return what of a baseline is no longer needed, and with *write* remove it.

    Args:
        service: as in ``record``.
        write: whether to remove it.
        settings: as in ``record``.
        admin: as in ``record``.

    Raises:
        MigrationError: as in ``record``; or the baseline is wrong.

    """
    history = read_history(service)
    baseline = read_baseline(history.service)
    today = await entries_of_today(history, settings or load(history.service), admin) if len(baseline) else {}
    needed = {kind: entries & set(today.get(kind, ())) for kind, entries in baseline.entries.items()}
    unneeded = tuple(
        (kind, entry)
        for kind in KINDS
        for entry in sorted(baseline.entries.get(kind, frozenset()) - needed.get(kind, set()))
    )
    if write and unneeded:
        write_baseline(history.service, needed)
    path = history.service.relative(baseline_path(history.service))
    return Pruned(str(history.service), path, unneeded, sum(map(len, needed.values())))


async def entries_of_today(history: History, settings: Settings, admin: Dsn | None) -> Mapping[str, Iterable[str]]:
    """Return the entries that a baseline needs today, by kind.

    Raises:
        MigrationError: as in ``record``.

    """
    service = history.service
    live = await check(service, settings=settings)
    drifted = await drift(service, settings=settings, admin=admin)
    replayed, downgrades = await _of_history(history, settings, admin)
    return {
        "check": {*live.entries["check"], *replayed},
        "findings": live.entries["findings"],
        "drift": [difference.entry for difference in (*drifted.differences, *drifted.accepted)],
        "downgrades": [f"{revision_entry(history, revision)} {reason}" for revision, reason in downgrades.items()],
        "offline": await _not_offline(history),
    }


async def _not_offline(history: History) -> list[str]:
    revisions = tuple(reversed(history.revisions))
    async with process_lock():
        rendered = render(history, revisions, strict=False)
    return [f"{revision_entry(history, each.revision.revision)} {each.error}" for each in rendered if each.error]


async def _of_history(
    history: History, settings: Settings, admin: Dsn | None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the entries of a check at the head of the replayed history, and the revisions that can't be downgraded."""
    async with process_lock():
        rendered = render(history, tuple(reversed(history.revisions)), down=True, strict=False)
    reasons = {
        each.revision.revision: each.irreversible[0]
        for each in rendered
        if each.irreversible and each.irreversible[0] in _CERTAIN
    }
    extensions = Extensions(await read_objects(settings), settings.admin or admin)
    with_siblings = False
    while True:
        async with empty_database(settings, admin, extensions, with_siblings=with_siblings) as scratch:
            try:
                async with stepping(scratch, extensions) as steps:
                    is_whole = await _walk(steps, reasons)
            except MissingExtensionError:
                continue
            except MigrationError as error:
                if error.exit_code != MigrationError.exit_code or with_siblings or not sibling_settings(settings):
                    raise extensions.failure(error) from error
                with_siblings = True
                continue
            if is_whole:
                await upgrade(history.service, "head", settings=scratch)
                checked = await check(history.service, settings=scratch)
                return checked.entries["check"], reasons


async def _walk(steps: Steps, reasons: dict[str, str]) -> bool:
    """Take each step up, down and up again, but for those with a reason; add one and return false where that fails.

    Raises:
        MigrationError: a revision can't be upgraded to the first time.

    """
    after = await steps.schema()
    for revision in reversed(steps.session.history.revisions):
        before = after
        await steps.up(revision.revision)
        after = await steps.schema()
        if revision.revision in reasons:
            continue
        try:
            await steps.down(revision.revision)
        except MigrationError as error:
            reasons[revision.revision] = error.message
            return False
        left = await steps.schema()
        if left != before:
            reasons[revision.revision] = f"down is not the way back [{digest(sorted(left ^ before))}]"
            return False
        try:
            await steps.up(revision.revision)
        except MigrationError as error:
            reasons[revision.revision] = f"up again: {error.message}"
            return False
        if await steps.schema() != after:
            reasons[revision.revision] = "up again makes something else than before"
            return False
    return True

"""db.upgrade: the upgrade of one service in this process, or of many in worker processes."""

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import MigrationError, UsageError, worst_exit_code
from service_migrations.monorepo import find
from service_migrations.tasks.affected import AFFECTED, BASE, narrowed
from service_migrations.tasks.support import console
from service_migrations.tasks.support.board import Board
from service_migrations.tasks.support.options import LIMITS, SQL, asked_limits, refuse_beside_sql, with_limits
from service_migrations.tasks.support.outcome_line import describe
from service_migrations.tasks.support.signals import Stopped, handling
from service_migrations.tasks.support.task import SERVICES, naming_option, number, run, selected, task

if TYPE_CHECKING:
    from service_migrations.monorepo import Service
    from service_migrations.outcome import Outcome
    from service_migrations.rollout.rollout import Result
    from service_migrations.settings.model import Settings

__all__ = ["roll_out", "upgrade"]


@task(
    runs_environment=True,
    logs=True,
    iterable=["service", "allow"],
    help={
        "service": SERVICES,
        "allow": "Allow destructive or breaking revisions where the target isn't local, or edited files; repeatable.",
        "revision": "Where to: head, a revision's id or its beginning, or +1 for one step.",
        "sql": SQL,
        "jobs": "How many services at once at most; by default two for each core, up to 8.",
        "fail_fast": "Start no other service after one has failed.",
        "canary": "A service that goes first and alone, where it is one of them; if it fails, no other is started.",
        "affected": AFFECTED,
        "base": BASE,
        "shard": "Only one part of the services: 3/10, or /10 where JOB_COMPLETION_INDEX says which.",
        **LIMITS,
    },
)
def upgrade(
    _: Context,
    service: list[str],
    allow: list[str],
    revision: str = "head",
    sql: bool = False,
    jobs: str = "",
    fail_fast: bool = False,
    canary: str = "",
    affected: bool = False,
    base: str = "",
    shard: str = "",
    lock_wait: str = "",
    lock_timeout: str = "",
    statement_timeout: str = "",
) -> None:
    """Upgrade the databases of services to head or a revision."""
    from service_migrations.settings.model import load_many
    from service_migrations.settings.sources import Sources

    limits = asked_limits(lock_wait, lock_timeout, statement_timeout)
    job_count = number(jobs, "--jobs") if jobs else None
    sources, candidates = Sources(), selected(service)
    first = _canary(canary, candidates)
    services = narrowed(candidates, base=base, only_affected=affected)
    loaded_settings = None
    if shard:
        from service_migrations.rollout.shard import parse_shard

        part = parse_shard(shard, os.environ).part(zip(services, load_many(services, sources), strict=True))
        services, loaded_settings = tuple(chosen for chosen, _ in part), [settings for _, settings in part]
    if not services:
        console.result("nothing to do: no service is left to upgrade")
        return
    if first is not None and first not in services:
        console.note(f"--canary {first} is not one of these services: none of them goes first.")
        first = None
    if allow:
        from service_migrations.plan import guard

        guard.classes(allow)
    if sql:
        refuse_beside_sql(**limits, allow=allow, jobs=jobs, fail_fast=fail_fast, canary=canary)
        _print_sql(services, revision)
        return
    if revision != "head" and len(services) > 1:
        raise UsageError(f"--revision {revision} is of one service's history.", hint="Name that one with --service.")
    if loaded_settings is None:
        loaded_settings = load_many(services, sources)
    if len(services) == 1:
        if isinstance(loaded_settings[0], MigrationError):
            raise loaded_settings[0]
        console.result(describe(_upgrade_one(with_limits(loaded_settings[0], limits), revision, allow)))
        return
    settings = [entry if isinstance(entry, MigrationError) else with_limits(entry, limits) for entry in loaded_settings]
    results, received = roll_out(services, settings, jobs=job_count, allow=allow, fail_fast=fail_fast, canary=first)
    _print_results(results, received)


def roll_out(
    services: Sequence["Service"], settings: "Sequence[Settings | MigrationError]", **options: Any
) -> "tuple[list[Result], list[int]]":
    """Upgrade many services with a board; return the result of each, and the signals that arrived.

    Args:
        services: the services.
        settings: the settings of each, or its error.
        options: further arguments of ``upgrade_all``.

    """
    from service_migrations.rollout.rollout import upgrade_all

    if logging.getLogger().level != logging.DEBUG:
        # the board shows each revision, with the name of its service, and live also its target
        for name in ("alembic", "service_migrations") if console.is_live() else ("alembic",):
            logging.getLogger(name).setLevel(logging.WARNING)
    targets = {entry.service.name: entry.target for entry in settings if not isinstance(entry, MigrationError)}
    received: list[int] = []
    with (
        handling(lambda number, _: received.append(number)),
        Board([service.name for service in services], targets) as board,
    ):

        def stop() -> int:
            board.draw()  # stop() is called often enough
            return len(received)

        return upgrade_all(services, settings=settings, on_event=board.show, stop=stop, **options), received


def _canary(name: str, services: Sequence["Service"]) -> "Service | None":
    with naming_option("--canary"):
        canary = find(name) if name else None
    if canary is not None and canary not in services:
        raise UsageError(f"--canary {canary} isn't one of the services to upgrade.")
    return canary


def _print_sql(services: Sequence["Service"], revision: str) -> None:
    from service_migrations.upgrade import commands

    if len(services) > 1:
        # in one stream, psql would run all of it in one database
        raise UsageError(
            f"--sql prints one service's SQL, and these are {len(services)}.", hint="Name one with --service."
        )
    console.result_script(run(commands.sql(services[0], revision)).rstrip())


def _upgrade_one(settings: "Settings", revision: str, allow: list[str]) -> "Outcome":
    if revision == "head":
        return run(_upgrade_to_head(settings, allow))
    from service_migrations.upgrade import commands

    return run(commands.upgrade(settings.service, revision, allow=allow, settings=settings))


async def _upgrade_to_head(settings: "Settings", allow: list[str]) -> "Outcome":
    from service_migrations.rollout.scan import scan_one

    async with scan_one(settings) as scanned:
        if scanned.outcome:
            return scanned.outcome
        from service_migrations.upgrade import commands

        return await commands.upgrade_to_head(settings, allow=allow, seen=scanned.behind, opened=scanned.opened)


def _print_results(results: Sequence["Result"], received: Sequence[int]) -> None:
    """Print a line for each service, and exit with the most serious code."""
    for result in results:
        console.result(describe(result.outcome) if result.outcome else f"{result.service}: {result.state}")
    if received:
        unknown = [result.service for result in results if result.state == "unknown"]
        if unknown:
            console.note(
                f"Ended before the server answered: the state of {', '.join(unknown)} is unknown. Run `inv db.current`."
            )
        raise Stopped(received[0])
    errors: list[MigrationError] = [result.error for result in results if result.error]
    if errors:
        raise Exit(f"{len(errors)} of {len(results)} services failed.", code=worst_exit_code(errors))

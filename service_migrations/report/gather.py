"""The gathering of a report: what the other rooms know of each service and database. Nothing is changed."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from service_migrations.connection.connector import connector_of
from service_migrations.drift.drift import Drift, drift
from service_migrations.errors import DifferenceError, MigrationError, UsageError
from service_migrations.evidence.files import Committed, read_committed
from service_migrations.git import commit
from service_migrations.history import graph
from service_migrations.history.files.static import read_chain
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.ledger.entries import Entry, read_entries
from service_migrations.models.metadata import assemble
from service_migrations.monorepo import Service, resolve_all
from service_migrations.ownership.owners import owners_of
from service_migrations.postgres.local import admin_for
from service_migrations.report.entities import from_catalog, from_models
from service_migrations.report.model import Report, ReportedDatabase, ReportedService
from service_migrations.rollout.status import Status, status
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.settings.database import grouped
from service_migrations.settings.model import Settings, load_many

__all__ = ["evidence_of", "gather", "revisions_of"]

_AT_ONCE = 8
"""The number of connections that are open at the same time."""


async def gather(services: Sequence[str | Service], *, compare: bool = False, whole: bool = True) -> Report:
    """Return the report of services. A service without settings or whose database is down is in it, with the reason.

    Args:
        services: the services, or their names.
        compare: whether each database is compared with its replayed history, which takes seconds for each.
        whole: whether ledgers and tables are read too; without them, only the state of each service is known.

    Raises:
        UsageError, ConfigurationError: the settings of the services contradict each other.

    """
    chosen = resolve_all(services)
    statuses = {each.service: each for each in await status(chosen)}
    loaded = {
        service.name: settings
        for service, settings in zip(chosen, load_many(chosen), strict=True)
        if isinstance(settings, Settings)
    }
    limit = asyncio.Semaphore(_AT_ONCE)
    reported = await asyncio.gather(
        *(
            _service(service, statuses[service.name], loaded.get(service.name) if whole else None, limit)
            for service in chosen
        )
    )
    if compare:
        reported = [await _compared(each, loaded.get(each.name)) for each in reported]
    databases = await _databases(chosen, statuses, loaded, limit) if whole else []
    root = chosen[0].root if chosen else None
    return Report(
        title=root.name if root else "",
        made=datetime.now(UTC),
        commit=(commit(root) if root else None) or "",
        services=tuple(sorted(reported, key=lambda each: each.name)),
        databases=tuple(sorted(databases, key=lambda each: (each.name, each.target))),
    )


async def _service(
    service: Service, known: Status, settings: Settings | None, limit: asyncio.Semaphore
) -> ReportedService:
    revisions = revisions_of(service)
    runs: tuple[Entry, ...] = ()
    problem = ""
    if settings is not None and _is_reachable(known):
        async with limit:
            try:
                runs = await _runs(service, revisions, settings)
            except MigrationError as error:
                problem = str(error)
    return ReportedService(
        status=known,
        database=settings.dsn.database if settings else "",
        revisions=revisions,
        pending=_pending(revisions, known),
        runs=runs,
        evidence=evidence_of(service, revisions),
        problem=problem,
    )


def _is_reachable(known: Status) -> bool:
    """Whether a database could be read; its history may have a fault, or lack the database's revision."""
    return known.error is None or isinstance(known.error, DifferenceError | UsageError)


async def _runs(service: Service, revisions: Sequence[Revision], settings: Settings) -> tuple[Entry, ...]:
    """Return the ledger. The revisions are known: to import the files of hundreds of histories would take minutes."""
    history = History(service, tuple(reversed(revisions)), lambda: read(service).directory)
    async with open_session(history, connector_of(settings)) as session:
        return await read_entries(session)


def revisions_of(service: Service) -> tuple[Revision, ...]:
    """Return the history of a service, also one with two heads; none where it is broken, which its status says."""
    chain = read_chain(service)
    if chain is not None:
        return chain.revisions
    try:
        return tuple(reversed(read(service).revisions))
    except MigrationError:
        return ()


def _pending(revisions: Sequence[Revision], known: Status) -> frozenset[str] | None:
    if known.pending is None:
        return None
    by_id = {revision.revision: revision for revision in revisions}
    try:
        return frozenset(by_id) - graph.implied(by_id, known.current)
    except KeyError:
        return None


def evidence_of(service: Service, revisions: Sequence[Revision]) -> dict[str, Committed]:
    """Return the committed measurements of revisions, by their ids."""
    by_revision = {known.revision: read_committed(service, known.revision, known.path) for known in revisions}
    return {revision: committed for revision, committed in by_revision.items() if committed is not None}


async def _compared(reported: ReportedService, settings: Settings | None) -> ReportedService:
    if settings is None or reported.status.error is not None:
        return reported
    compared: Drift | MigrationError
    try:
        admin = admin_for(settings.dsn, settings.service.root)
        compared = await drift(settings.service, settings=settings, admin=admin)
    except MigrationError as error:
        compared = error
    return replace(reported, drift=compared)


async def _databases(
    services: Sequence[Service],
    statuses: dict[str, Status],
    loaded: dict[str, Settings],
    limit: asyncio.Semaphore,
) -> list[ReportedDatabase]:
    """Return the entities of each database; where it can't be read, those of the models."""
    groups = grouped(loaded.values(), lambda settings: settings.database)
    by_name = {service.name: service for service in services}
    reachable = [group for group in groups if any(_is_reachable(statuses[each.service.name]) for each in group)]
    unread = [[each.service for each in group] for group in groups if group not in reachable]
    unread += [[service] for name, service in by_name.items() if name not in loaded]
    answers = await asyncio.gather(*(owners_of(group, limit) for group in reachable))
    databases = []
    for owned, objects in answers:
        if owned.target is None or not owned.objects:
            names = [by_name[name] for name in owned.services if name in by_name]
            databases.append(await _of_models(names, owned.database, [str(error) for error in owned.errors]))
            continue
        entities, references = from_catalog(objects, owned.objects)
        problems = tuple(str(error) for error in owned.errors)
        databases.append(ReportedDatabase(owned.database, owned.target, owned.services, entities, references, problems))
    for group in unread:
        settings = loaded.get(group[0].name)
        databases.append(await _of_models(group, settings.dsn.database if settings else group[0].name, []))
    return databases


async def _of_models(services: Sequence[Service], name: str, problems: list[str]) -> ReportedDatabase:
    by_service = {}
    for service in services:
        try:
            async with process_lock():
                by_service[service.name] = assemble(service)
        except MigrationError as error:
            problems.append(str(error))
    entities, references = from_models(by_service)
    names = tuple(service.name for service in services)
    return ReportedDatabase(name, "", names, entities, references, tuple(dict.fromkeys(problems)))

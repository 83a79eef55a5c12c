"""The upgrade of what was released: a database of each tag, with rows, against a fresh one.

A database of a tag is made with the revision files of the tag, by the library, ``env.py`` and models of today. Then the
files of today upgrade it. Where its catalog isn't that of a database which they made alone, the two ways have parted.
"""

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import asyncpg

from service_migrations.catalog.objects import Key, read
from service_migrations.connection.engine import open_connection
from service_migrations.databases.admin import connected
from service_migrations.databases.throwaway import ThrowawayDatabases
from service_migrations.errors import MigrationError, UsageError
from service_migrations.failures.revisions import replay_failure
from service_migrations.history.matrix_rows import matrix_rows
from service_migrations.history.revisions import read as read_history
from service_migrations.interruption import unfinished
from service_migrations.monorepo import Service
from service_migrations.postgres.throwaway import Server
from service_migrations.review.released import histories_at
from service_migrations.settings.model import Settings
from service_migrations.upgrade.commands import upgrade

__all__ = ["Upgraded", "upgrades"]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What became of the database of one tag.

    Attributes:
        tag: the tag, or several whose histories are equal.
        services: the names of the services that share the database.
        revisions: how many revisions the database had before.
        problems: what differs from a fresh database, or why it couldn't be made or upgraded; empty where all is well.

    """

    tag: str
    services: tuple[str, ...]
    revisions: int
    problems: tuple[str, ...]


async def upgrades(group: Sequence[Service], tags: Sequence[str], server: Server) -> list[Upgraded]:
    """Upgrade a database of each tag, and compare it with a fresh one.

    Args:
        group: the services that share a database.
        tags: tags, oldest first; those with equal histories are tried once.
        server: an empty server, whose administrator may create databases and roles.

    Raises:
        UsageError: git fails, or doesn't know a tag; or the histories of today fail on an empty database.
        MigrationError: the server can't be reached.

    """
    rows = {service.name: matrix_rows(service) for service in group}
    by_history: dict[object, list[str]] = {}
    released = {tag: histories_at(tag, group) for tag in tags}
    for tag, histories in released.items():
        by_history.setdefault(tuple(sorted(map(str, histories.items()))), []).append(tag)
    async with ThrowawayDatabases(server, group, "released") as databases:
        fresh = await databases.create()
        try:
            await _upgrade(fresh, {})
        except MigrationError as error:
            raise replay_failure(error) from error
        expected, results = await _catalog(fresh[0]), []
        for equal_tags in by_history.values():
            histories, name = released[equal_tags[0]], ", ".join(equal_tags)
            count = sum(map(len, histories.values()))
            if count:
                problems = await _problems(equal_tags[0], histories, databases, rows, expected)
                results.append(Upgraded(name, tuple(map(str, group)), count, tuple(problems)))
        return results


async def _problems(
    tag: str,
    histories: Mapping[str, Mapping[str, bytes]],
    databases: ThrowawayDatabases,
    rows: Mapping[str, Mapping[str, Sequence[str]]],
    expected: Mapping[Key, str],
) -> list[str]:
    settings = await databases.create()
    with (
        tempfile.TemporaryDirectory(prefix="released-") as folder,
        unfinished(remove=partial(shutil.rmtree, folder, ignore_errors=True)),
    ):
        try:
            await _upgrade([_as_released(own, histories[own.service.name], folder) for own in settings], rows)
        except MigrationError as error:
            return [f"its database can't be made: {error}".replace(f"{folder}/", f"{tag}:")]
    try:
        await _upgrade(settings, {})
    except MigrationError as error:
        return [f"its database can't be upgraded: {error}"]
    return _differences(await _catalog(settings[0]), expected)


def _as_released(settings: Settings, history: Mapping[str, bytes], folder: str) -> Settings:
    """Write the released files of a service into a folder, and return its settings with that history."""
    location = Path(folder, settings.service.name)
    location.mkdir()
    for index, (path, source) in enumerate(history.items()):  # two folders may have files of one name
        (location / f"{index:05}_{Path(path).name}").write_bytes(source)
    service = replace(settings.service, version_locations=(location,), recursive_version_locations=False)
    return replace(settings, service=service)


async def _upgrade(group: Iterable[Settings], rows: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Upgrade services to their heads in turns: one may need the tables of another."""
    waiting = []
    for settings in group:
        own_rows = rows.get(settings.service.name, {})
        revisions = [revision.revision for revision in reversed(read_history(settings.service).revisions)]
        waiting.append((settings, [*(revision for revision in revisions if revision in own_rows), "head"]))
    while waiting:
        errors: list[MigrationError] = []
        done = 0
        for settings, targets in waiting:
            try:
                while targets:
                    await upgrade(settings.service, targets[0], settings=settings)
                    await _run(settings, rows.get(settings.service.name, {}).get(targets.pop(0), ()))
                    done += 1
            except MigrationError as error:
                errors.append(error)
                if error.exit_code != MigrationError.exit_code:
                    raise
        waiting = [(settings, targets) for settings, targets in waiting if targets]
        if waiting and not done:
            raise errors[0]


async def _run(settings: Settings, statements: Iterable[str]) -> None:
    if not statements:
        return
    try:
        async with connected(settings, settings.dsn) as connection:
            await connection.execute("SELECT pg_catalog.set_config('search_path', $1, false)", settings.search_path)
            for statement in statements:
                await connection.execute(statement)
    except asyncpg.PostgresError as error:
        raise UsageError(f"the rows of the matrix can't be inserted: {error}.", service=settings.service) from error


async def _catalog(settings: Settings) -> dict[Key, str]:
    async with open_connection(settings) as connection:
        objects = await read(connection)
    return {item.key: f"{dict(sorted(item.facts.items()))} {item.comment or ''}" for item in objects}


def _differences(upgraded: Mapping[Key, str], fresh: Mapping[Key, str]) -> list[str]:
    lines = []
    for key in sorted(upgraded.keys() | fresh.keys(), key=str):
        name = f"{key.kind} {'.'.join(part for part in (key.schema, key.table, key.name) if part)}"
        if key not in fresh:
            lines.append(f"{name} is there after the upgrade, and not in a fresh database")
        elif key not in upgraded:
            lines.append(f"{name} is in a fresh database, and not there after the upgrade")
        elif upgraded[key] != fresh[key]:
            lines.append(f"{name} is {upgraded[key]} after the upgrade, and {fresh[key]} in a fresh database")
    return lines

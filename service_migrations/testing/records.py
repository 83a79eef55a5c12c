"""The schema after each revision of a history, as runs on other PostgreSQL versions have recorded it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from service_migrations.catalog.objects import read as read_objects
from service_migrations.connection.connector import connector
from service_migrations.history.files.fingerprint import checksum
from service_migrations.history.revisions import read
from service_migrations.history.targets import migrate_to
from service_migrations.monorepo import Service, discovering_once
from service_migrations.session.locks import process_lock
from service_migrations.session.session import open_session
from service_migrations.session.tables.version_table import ensure_schema
from service_migrations.settings.dsn import Dsn
from service_migrations.sql.times import without_times
from service_migrations.testing.history_files import imported_files, own_files
from service_migrations.testing.portable import portable
from service_migrations.testing.schema import connected, without_bookkeeping

__all__ = ["COMPARED", "RECORDS", "Record", "differences", "leave", "record"]

RECORDS = "service-migrations-schemas"
"""The folder in pytest's cache."""

COMPARED = "schemas compared with"
"""The property of a test's report that names the version of a record."""

_FORMAT = b"3"
"""What changes where the descriptions do, so that older records don't count."""
_ABSENT = "isn't there"


@dataclass(frozen=True, slots=True)
class Record:
    """The changes of each revision on one version.

    Attributes:
        postgres: the major version.
        changes: for each revision, oldest first, the description of each object that it changes; None for one that
            is gone.
        history: a digest of the files of the history, and of those that they import.

    """

    postgres: str
    changes: Mapping[str, Mapping[str, str | None]]
    history: str = field(default="", repr=False)


async def record(service: Service, dsn: Dsn, postgres: str) -> Record:
    """Upgrade an empty database revision by revision, and return what each of them changes.

    Args:
        service: the service, whose settings lead to the database.
        dsn: the same database.
        postgres: the major version of its server.

    """
    history, since = read(service), datetime.now(UTC)
    changes: dict[str, dict[str, str | None]] = {}
    with discovering_once():
        async with connected(dsn) as connection, process_lock(), open_session(history, connector(service)) as session:
            if session.schema:
                await ensure_schema(session.connection, session.schema)

            async def descriptions() -> dict[str, str]:
                described = portable(without_bookkeeping(await read_objects(connection), [service]))
                return {name: without_times(text, since) for name, text in described.items()}

            after = await descriptions()
            for revision in reversed(history.revisions):
                before = after
                await session.run(migrate_to(history, revision.revision))
                after = await descriptions()
                names = sorted(name for name in before | after if before.get(name) != after.get(name))
                changes[revision.revision] = {name: after.get(name) for name in names}
    return Record(postgres, changes, _digest(service))


def leave(current: Record, folder: Path, service: Service) -> list[Record]:
    """Leave a record in a folder for later runs, and return those of the same history on other versions."""
    others = [other for path in sorted(folder.glob(f"{service}.*.json")) if (other := _load(path))]
    path = folder / f"{service}.{current.postgres}.json"
    text = {"postgres": current.postgres, "history": current.history, "changes": current.changes}
    path.write_text(json.dumps(text, indent=1), encoding="utf-8")
    return [other for other in others if other.history == current.history and other.postgres != current.postgres]


def differences(current: Record, other: Record) -> list[str]:
    """Return a line for each object that a revision changes differently on another version.

    They are of one revision, the first: those behind it differ by it.
    """
    for revision, changes in current.changes.items():
        on_other = other.changes[revision]
        names = sorted(
            name for name in changes.keys() | on_other.keys() if changes.get(name, "") != on_other.get(name, "")
        )
        if names:
            return [
                f"{revision}: {name}: on PostgreSQL {current.postgres} {_shown(changes, name)}; on {other.postgres} "
                f"{_shown(on_other, name)}"
                for name in names
            ]
    return []


def _shown(changes: Mapping[str, str | None], name: str) -> str:
    return "isn't changed" if name not in changes else changes[name] or _ABSENT


def _load(path: Path) -> Record | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Record(content["postgres"], content["changes"], content["history"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a run that was killed while it wrote, or an older version of this library


def _digest(service: Service) -> str:
    digest = sha256(_FORMAT)
    for path in (*own_files(service), *imported_files((service,))):
        digest.update(f"{path.name} {checksum(path.read_bytes())}".encode())
    return digest.hexdigest()

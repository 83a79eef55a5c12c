"""What a report shows, as values: gathered once, and drawn as a page or as Markdown."""

from dataclasses import dataclass
from datetime import datetime

from service_migrations.drift.drift import Drift
from service_migrations.errors import MigrationError
from service_migrations.evidence.files import Committed
from service_migrations.history.revision import Revision
from service_migrations.ledger.entries import Entry
from service_migrations.rollout.status import Status

__all__ = ["Attribute", "Entity", "Reference", "Report", "ReportedDatabase", "ReportedService"]


@dataclass(frozen=True, slots=True)
class ReportedService:
    """One service.

    Attributes:
        status: as of ``inv db.status``.
        database: the name of its database; empty without settings.
        revisions: its history, each behind those that it follows or depends on; none where it can't be read.
        pending: the ids that an upgrade would run; None where that isn't known.
        runs: its ledger, newest first.
        evidence: the committed measurements, by revision.
        drift: the comparison with the replayed history, or why there is none; None where nobody asked for it.
        problem: why the ledger can't be read; empty where it can.

    """

    status: Status
    database: str = ""
    revisions: tuple[Revision, ...] = ()
    pending: frozenset[str] | None = None
    runs: tuple[Entry, ...] = ()
    evidence: dict[str, Committed] | None = None
    drift: Drift | MigrationError | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """The name of the service."""
        return self.status.service

    @property
    def last(self) -> Entry | None:
        """The newest entry of its ledger in which something was run."""
        return next((run for run in self.runs if run.direction in ("upgrade", "downgrade")), None)

    @property
    def versions(self) -> tuple[str, ...]:
        """The major versions of PostgreSQL that a revision was measured on, the oldest first."""
        measured = {version for committed in (self.evidence or {}).values() for version in committed.measured}
        return tuple(sorted(measured, key=lambda version: (len(version), version)))


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column of an entity; ``keys`` are PK and FK."""

    name: str
    type: str
    keys: tuple[str, ...] = ()
    not_null: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """A table, with the service that owns it; ``owner`` is empty where nobody does."""

    name: str
    owner: str
    attributes: tuple[Attribute, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: the tables' names, and the columns on both sides."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportedDatabase:
    """The entities of one database.

    Attributes:
        name: of the database, or of the service where its models are all that is known.
        target: it without its password; empty where the entities are those of the models.
        services: those that have it.
        entities: its tables, without version tables, ledgers, partitions and what extensions have.
        references: its foreign keys.
        problems: what couldn't be read, each in one line.

    """

    name: str
    target: str
    services: tuple[str, ...]
    entities: tuple[Entity, ...] = ()
    references: tuple[Reference, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        title: the name of the monorepo's folder.
        made: when it was gathered.
        commit: that of the checkout; empty without one.
        services: in the order of their names.
        databases: in the order of theirs.

    """

    title: str
    made: datetime
    commit: str
    services: tuple[ReportedService, ...]
    databases: tuple[ReportedDatabase, ...]

    @property
    def errors(self) -> list[MigrationError]:
        """Why services have no status, or couldn't be compared."""
        candidates = (
            service.status.error or (service.drift if isinstance(service.drift, MigrationError) else None)
            for service in self.services
        )
        return [error for error in candidates if error]

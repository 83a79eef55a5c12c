"""The rows of the ledger: the table that they are in, and one of them as a value."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import BigInteger, Column, DateTime, Float, Identity, MetaData, Table, Text

from service_migrations.monorepo import Service

__all__ = ["LATER", "Entry", "ledger_table"]

LATER = ("checksum", "fingerprint")
"""The columns that a ledger made before they were thought of doesn't have; all of them are text and may be null."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision that was run, in one direction: ``upgrade``, ``downgrade`` or ``stamp``.

    ``from_revision`` and ``to_revision`` are where the database was before and after, None for base. A fourth
    direction, ``accept``, ran nothing: somebody allowed the edited file of the revision, which both of them name.
    ``started`` is by the server's clock. ``git_commit`` is None where the code was no checkout. ``checksum`` and
    ``fingerprint`` are those of the revision's file as it was then, None where the revision isn't there any more.
    """

    revision: str
    from_revision: str | None
    to_revision: str | None
    direction: str
    started: datetime
    seconds: float
    os_user: str
    host: str
    git_commit: str | None
    version: str
    checksum: str | None = None
    fingerprint: str | None = None


@lru_cache(maxsize=8)
def ledger_table(service: Service, schema: str | None) -> Table:
    """Return the table of a service's ledger, in a schema or wherever ``search_path`` leads."""
    return Table(
        service.ledger_table,
        MetaData(),
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("revision", Text, nullable=False),
        # not "from", "to" and "user": by hand, SELECT user would give the role that asks
        Column("from_revision", Text),
        Column("to_revision", Text),
        Column("direction", Text, nullable=False),
        Column("started", DateTime(timezone=True), nullable=False),
        Column("seconds", Float, nullable=False),
        Column("os_user", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("git_commit", Text),
        Column("version", Text, nullable=False),
        *(Column(name, Text) for name in LATER),
        schema=schema,
    )

"""Reports made by hand: of one service with whatever a test needs, and of as many as a benchmark wants."""

from datetime import UTC, datetime, timedelta
from typing import Any

from service_migrations.evidence.files import Committed
from service_migrations.history.revision import Revision
from service_migrations.ledger.entries import Entry
from service_migrations.report.model import Attribute, Entity, Reference, Report, ReportedDatabase, ReportedService
from service_migrations.rollout.status import Status

__all__ = ["MADE", "chain", "entry", "figures", "fleet", "report_of", "reported", "revision"]

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def revision(name: str, *down: str, head: bool = False, **options: Any) -> Revision:
    """Make a revision."""
    values = {"message": f"Do {name}.", "path": f"migrations/versions/billing/{name}.py", **options}
    return Revision(name, down, values.pop("message"), values.pop("path"), head, **values)


def chain(count: int, prefix: str = "r") -> tuple[Revision, ...]:
    """Make a history of one chain, the oldest first."""
    names = [f"{prefix}{number:03}" for number in range(count)]
    return tuple(
        revision(name, *names[max(number - 1, 0) : number], head=number == count - 1)
        for number, name in enumerate(names)
    )


def entry(name: str, moment: datetime = MADE, direction: str = "upgrade", **options: Any) -> Entry:
    """Make an entry of a ledger."""
    values = {"seconds": 0.5, "os_user": "ada", "host": "laptop", "git_commit": "f" * 40, "version": "1.0", **options}
    return Entry(name, None, name, direction, moment, **values)


def figures(waited: float = 0.0, error: str | None = None) -> dict[str, Any]:
    """Make the figures of one measurement, as a file has them."""
    lock = {"relation": "invoices", "mode": "ACCESS EXCLUSIVE", "seconds": waited}
    return {
        "strongest": lock,
        "rewrites": ["invoices"],
        "readers_blocked": waited,
        "writers_blocked": waited,
        "seconds": waited,
        "at_ten_million": 4.0,
        "error": error,
    }


def reported(name: str = "billing", count: int = 3, behind: int = 1, **options: Any) -> ReportedService:
    """Make a service with a chain of revisions, of which the newest are pending."""
    revisions = options.pop("revisions", chain(count))
    ids = [each.revision for each in revisions]
    current = tuple(ids[max(len(ids) - behind - 1, 0) : len(ids) - behind])
    status = options.pop("status", None) or Status(
        *(name, f"{name}@localhost:5432/{name}", current, ids[-1] if ids else None, behind),
        "behind" if behind else "at head",
        heads=tuple(ids[-1:]),
    )
    values = {"pending": frozenset(ids[len(ids) - behind :]), "runs": tuple(entry(each) for each in reversed(ids))}
    return ReportedService(status, name, revisions, **{**values, **options})


def report_of(*services: ReportedService, databases: tuple[ReportedDatabase, ...] = ()) -> Report:
    """Make a report."""
    return Report("shop", MADE, "a" * 40, services, databases)


def fleet(services: int, revisions: int) -> Report:
    """Make a report of many services with long histories, ledgers and evidence, each with a database of its own."""
    found: list[ReportedService] = []
    databases: list[ReportedDatabase] = []
    for number in range(services):
        name = f"service{number:03}"
        ids = [f"{number:04x}{each:08x}" for each in range(revisions)]
        history = tuple(
            revision(
                *(each, *ids[max(index - 1, 0) : index]),
                head=index == revisions - 1,
                message=f"Add the column {index} of the table of things.",
                path=f"migrations/versions/{name}/2026{index:04}_{each}_add_the_column_of_the_table_of_things.py",
            )
            for index, each in enumerate(ids)
        )
        runs = tuple(
            entry(each, MADE - timedelta(hours=13 * (revisions - index), minutes=number))
            for index, each in reversed(list(enumerate(ids)))
        )
        evidence = {
            each: Committed("", 10_000, {"18": {"upgrade": figures(index % 4 / 10)}}, is_current=True)
            for index, each in enumerate(ids)
        }
        found.append(reported(name, behind=number % 3, revisions=history, runs=runs, evidence=evidence))
        columns = tuple(Attribute(f"column{at}", "text") for at in range(8))
        tables = [Entity(f"table{each}", name, columns) for each in range(8)]
        keys = tuple(Reference(f"table{each}", ("column1",), f"table{each // 2}", ("column0",)) for each in range(1, 8))
        databases.append(ReportedDatabase(name, f"{name}@localhost:5432/{name}", (name,), tuple(tables), keys))
    return report_of(*found, databases=tuple(databases))

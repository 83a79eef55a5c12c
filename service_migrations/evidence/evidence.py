"""The evidence of a service: its revisions, measured on one server with two numbers of rows."""

from collections.abc import Callable, Collection

from service_migrations.errors import UsageError
from service_migrations.evidence.measurement import Measurement, measurements
from service_migrations.evidence.run import observe_history
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from service_migrations.postgres import Server

__all__ = ["SETTINGS", "chosen_revision", "measure"]

SETTINGS = {"autovacuum": "off", "jit": "off", "checkpoint_timeout": "1h"}
"""What a throw-away server is started with: nothing else is to take locks or write WAL."""

_FACTOR = 10
"""How many times more rows the second run has."""


async def measure(
    service: Service,
    server: Server,
    *,
    rows: int = 10_000,
    revisions: Collection[str] | None = None,
    down: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Measurement, ...]:
    """Run a service's history on a throw-away server, and return what each revision did; one that fails is the last.

    It runs twice, in databases of its own, with few rows and with more, which shows how the time grows.

    Args:
        service: the service.
        server: the server, never one with anybody's data.
        rows: how many rows each table gets.
        revisions: which revisions to measure; None for all.
        down: whether the downgrades are measured too.
        progress: called with a line of text before each revision.

    Raises:
        MigrationError: the history can't be read, the models can't be imported, or the server is lost.

    """
    if revisions is not None and not revisions:
        return ()
    sizes = max(rows // _FACTOR, 1), rows
    small, large = [
        await observe_history(service, server, size, revisions, down=down, progress=progress) for size in sizes
    ]
    return measurements(small, large, sizes, server.version)


def chosen_revision(service: Service, text: str) -> str:
    """Return the id of a revision that is named by its id or its beginning.

    Raises:
        UsageError: there is none, or there are several.

    """
    matches = [item.revision for item in read(service).revisions if item.revision.startswith(text)] if text else []
    if len(matches) == 1 or text in matches:
        return text if text in matches else matches[0]
    problem = f"begins {len(matches)} revisions: {', '.join(matches)}" if matches else "is no revision of this history"
    raise UsageError(
        f"--revision {text!r} {problem}.", service=service, hint=f"`inv db.history --service {service}` lists them."
    )

"""The errors of revisions that misuse what a run relies on: its transaction, connection, lock and version table."""

from service_migrations.errors import MigrationError, ResultError
from service_migrations.monorepo import Service
from service_migrations.sql.quoting import literal, quoted

__all__ = [
    "changed_versions",
    "closed",
    "detached",
    "left_invalid",
    "left_open",
    "left_prepared",
    "lost_lock",
    "rolled_back",
]


def rolled_back(service: Service, place: str, *, partly_committed: bool) -> MigrationError:
    """Return the error of a revision that has rolled back its own transaction."""
    lost = "what it did since its last commit" if partly_committed else "what it did before"
    return MigrationError(
        f"it rolled back its own transaction, so {lost} is lost.",
        service=service,
        path=place,
        hint="Remove the rollback: a revision that fails is rolled back as a whole.",
    )


def left_prepared(service: Service, file: str, name: str) -> MigrationError:
    """Return the error of a revision that has left a prepared transaction of a name."""
    return MigrationError(
        f"it left a prepared transaction, {name}, so what it did isn't committed.",
        service=service,
        path=file,
        hint=f"Run ROLLBACK PREPARED {literal(name)}, and remove PREPARE TRANSACTION from the revision.",
    )


def left_invalid(service: Service, file: str, index: str) -> MigrationError:
    """Return the error of a revision that has left an INVALID index of a name."""
    return MigrationError(
        f"it was to build the index {index}, which is INVALID: its build has failed, now or before.",
        service=service,
        path=file,
        hint=f"Run DROP INDEX CONCURRENTLY {quoted(index)}, and then the upgrade again; or build it with "
        "concurrent_index() of service_migrations.safe, which does that. What it had committed before is kept.",
    )


def left_open(service: Service, place: str) -> MigrationError:
    """Return the error of a revision that has left a transaction open in an autocommit block."""
    return MigrationError(
        "it began a transaction in an autocommit block, and didn't end it there, so that was rolled back.",
        service=service,
        path=place,
        hint="Add the COMMIT, or remove the BEGIN. What it had committed before is kept.",
    )


def detached(service: Service, file: str) -> MigrationError:
    """Return the error of a revision that has detached the connection."""
    message = "it detached its connection, which a run needs to the end."
    return MigrationError(message, service=service, path=file, hint="Remove detach().")


def closed(service: Service, place: str) -> MigrationError:
    """Return the error of a revision that has closed the connection."""
    message = "it closed its own connection, which a run needs to the end."
    return MigrationError(message, service=service, path=place, hint="Remove close() or invalidate().")


def lost_lock(service: Service, file: str) -> ResultError:
    """Return the error of a revision after which the session hasn't the migration lock any more."""
    hint = "Look at the database before you run anything else."
    return ResultError("the migration lock was lost in this revision.", service=service, path=file, hint=hint)


def changed_versions(service: Service, file: str, *, partly_committed: bool) -> MigrationError:
    """Return the error of a revision that has changed the version table."""
    kept = "What it had committed before is kept." if partly_committed else "It was rolled back."
    return MigrationError(
        "it changed the version table, which says where the database is.",
        service=service,
        path=file,
        hint=f"Remove that: `inv db.stamp` is for it. {kept}",
    )

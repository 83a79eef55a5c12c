"""The tables that can't be compared, which are named and left out, so that the others are compared."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from alembic.operations.ops import MigrateOperation
from sqlalchemy import Dialect, Table
from sqlalchemy.exc import DBAPIError

from service_migrations._sqlalchemy import verbatim_dialect
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.autogenerate.compilation import uncompilable
from service_migrations.autogenerate.normalise import NoTemporaryTablesError
from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, worst_exit_code
from service_migrations.failures.driver_errors import describe, is_of_the_session
from service_migrations.failures.revisions import environment_place
from service_migrations.models.metadata import place_of_table
from service_migrations.sql.quoting import quoted
from service_migrations.top_level import locate

__all__ = ["Uncompared", "failing", "is_of_a_table", "joined", "needing"]


class Uncompared(MigrateOperation):
    """A table that can't be compared, with the reason. It is written into no revision."""

    def __init__(self, error: MigrationError) -> None:
        self.error = error

    def reverse(self) -> "Uncompared":
        """Return itself: it changes nothing."""
        return self

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return the tuple that ``alembic check`` prints."""
        return ("uncompared", str(self.error))


def is_of_a_table(error: Exception) -> bool:
    """Whether an error of a comparison can be that of one table; else it is one of the connection or the command."""
    if isinstance(error, NoTemporaryTablesError):
        return False
    if isinstance(error, MigrationError):
        return isinstance(error, ConfigurationError | AccessDeniedError)
    return not isinstance(error, DBAPIError) or not is_of_the_session(error)


def failing(
    compare: Callable[[Collection[Key]], Comparison], error: Exception, service: str | None
) -> dict[Key, MigrationError]:
    """Return the tables without which a comparison of the others succeeds, each with its error.

    Half of the tables are added at a time, so that few comparisons find one among hundreds.

    Args:
        compare: compares some tables.
        error: that of the comparison of all.
        service: whose tables they are.

    Raises:
        Exception: the given error, where it is of no table: it is there without any, or the same for each.

    """
    good: list[Key] = []
    failed: dict[Key, Exception] = {}

    def attempt(part: Sequence[Key]) -> Comparison | Exception:
        try:
            return compare([*good, *part])
        except Exception as failure:  # a type's own code and a team's hooks may raise anything
            if not is_of_a_table(failure):
                raise
            return failure

    def add(part: Sequence[Key]) -> None:
        result = attempt(part)
        if isinstance(result, Comparison):
            good.extend(part)
        elif len(part) == 1:
            failed[part[0]] = result
        else:
            middle = len(part) // 2
            add(part[:middle])
            add(part[middle:])

    empty = attempt(())
    if not isinstance(empty, Comparison):
        raise error
    keys = sorted(empty.candidates, key=str)
    add(keys)
    if len(keys) > 1 and not good and len({str(failure) for failure in failed.values()}) == 1:
        raise error
    dialect, models = verbatim_dialect(empty.connection.dialect), empty.all_models
    return {key: _described(key, failure, models.get(key), dialect, service) for key, failure in failed.items()}


def needing(comparison: Comparison, uncompared: Collection[Key], service: str | None) -> dict[Key, MigrationError]:
    """Return the tables that need one that isn't compared, and that the database doesn't have either.

    They have a foreign key to it, or inherit from it.
    """
    missing = set(uncompared) - comparison.existing
    errors: dict[Key, MigrationError] = {}

    def add(key: Key, verb: str, other: Key) -> None:
        errors[key] = ConfigurationError(
            f"table {quoted(*key)} {verb} {quoted(*other)}, which can't be compared and doesn't exist.",
            service=service,
            path=place_of_table(comparison.models[key]),
            hint=f"Correct {quoted(*other)} first.",
        )

    for key, table in comparison.targets.items():
        for constraint in table.constraints.values() if missing else ():
            remote = comparison.key(constraint.foreign_schema, constraint.foreign_table or "")
            if constraint.kind == "f" and remote in missing:
                add(key, "refers to", remote)
        for parent in comparison.new_parents(key):
            if parent not in comparison.targets:
                add(key, "inherits from", parent)
    return errors


def joined(errors: Sequence[MigrationError]) -> MigrationError:
    """Return one error for several tables: the most serious one, with the messages of all."""
    if len(errors) == 1:
        return errors[0]
    code = worst_exit_code(list(errors))
    worst = next(error for error in errors if error.exit_code == code)
    texts = (f"{error.path}: {error.message}" if error.path else error.message for error in errors)
    return type(worst)(f"{len(errors)} tables can't be compared: {' '.join(texts)}", service=worst.service)


def _described(
    key: Key, error: Exception, model: Table | None, dialect: Dialect, service: str | None
) -> MigrationError:
    part = uncompilable(model, dialect, service) if model is not None else None
    place = place_of_table(model) if model is not None else None
    if isinstance(error, MigrationError):
        path = error.path or place
        return part or type(error)(error.message, service=service, path=path, line=error.line, hint=error.hint)
    text = f"table {quoted(*key)} can't be compared: {describe(error)}."
    with suppress(MigrationError):  # no top level is around the working directory of an application
        if hook := environment_place(error, locate()):
            return ConfigurationError(text, service=service, path=hook)
    return part or ConfigurationError(
        text,
        service=service,
        path=place,
        hint="Correct the model." if model is not None else "Leave it out by ignore in pyproject.toml.",
    )

"""The options of ``context.configure()``, the same for online and offline mode, with the options of a team."""

import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Connection

from service_migrations._alembic import check_steps, widen_version_table, wrap_revisions, write_statements
from service_migrations._sqlalchemy import expect_standard_strings
from service_migrations.connection.drivers import require_driver
from service_migrations.errors import ConfigurationError, ResultError
from service_migrations.history.sql.literals import StatementError, statements
from service_migrations.history.sql.online_parts import online_part, questions_seen
from service_migrations.models.metadata import assemble, bookkeeping_schema, refuse_later_changes
from service_migrations.monorepo import Service
from service_migrations.revision_call import call_revision
from service_migrations.session.tables.version_table import ALEMBICS_WIDTH
from service_migrations.settings.model import load_options
from service_migrations.settings.sources import Sources
from service_migrations.side_effects import side_effects_refused
from service_migrations.sql.quoting import quoted
from service_migrations.sql.script_texts import ScriptTexts
from service_migrations.sql.session_state import restoring

if TYPE_CHECKING:
    from service_migrations.ownership.view import Ownership

__all__ = ["configure"]

log = logging.getLogger(__name__)

_DECIDED = {
    "connection": "DATABASE_DSN",
    "url": "DATABASE_DSN",
    "dialect_name": "DATABASE_DSN",
    "target_metadata": "models.__all__",
    "version_table": "version_table in pyproject.toml, or MIGRATIONS_VERSION_TABLE,",
    "version_table_schema": "version_table_schema in pyproject.toml, or else the MetaData of the models,",
    "include_schemas": "the MetaData of the models",
    "transaction_per_migration": "the library, with one transaction for each revision,",
    "transactional_ddl": "the library, with one transaction for each revision (and autocommit_block() outside of it),",
    "as_sql": "--sql",
    "output_buffer": "--sql",
    "literal_binds": "the library, which writes constants with --sql,",
    "dialect_opts": "the library, which writes constants with --sql,",
    "starting_rev": "--revision",
    "tag": "the command",
    "fn": "the command",
    "dont_mutate": "the command",
    "purge": "the command",
}
"""Options that can't be given in env.py, and what decides them."""

_WIDTH = 255
"""Characters of an id in a version table that is created for a history with longer ones than Alembic expects."""

_NEAR = 0.85
"""How alike two names are of which one is probably a mistyped other, as difflib measures it."""

_Hook = Callable[..., Any]


def configure(connection: Connection | None = None, **options: Any) -> None:
    """Configure Alembic's context for the service of the command.

    Args:
        connection: with no transaction open; None where no database is needed, as offline.
        options: a team's own options of ``context.configure()``. An object is compared if both their
            ``include_object`` (or ``include_name``) and ours return true; ``process_revision_directives`` and
            ``on_version_apply`` run beside ours; ``render_item`` runs before ours. Any other option is passed on.

    Raises:
        ConfigurationError: an option is decided elsewhere.
        ResultError: a transaction is open on the connection.

    """
    before_hooks = context.config.attributes.get("before_hooks")
    if before_hooks and "on_version_apply" in options:
        options["on_version_apply"] = _all_of((before_hooks,), options["on_version_apply"])
    shared = _combined(_options(context.config), options)
    if connection is not None:
        if connection.in_transaction():
            # Alembic would leave that transaction to the caller, and report success without a commit
            raise ResultError("A statement ran on the connection before Alembic was configured. Nothing was run.")
        context.configure(connection=connection, **shared)
        _widen(context.config.attributes.get("longest_id", 0))
        if check := context.config.attributes.get("check_ids"):
            check_steps(context.get_context(), check)
        if (created := context.config.attributes.get("created_types")) is not None:
            context.get_context().impl.memo = created
        if wrap := context.config.attributes.get("wrap_revision"):
            wrap_revisions(context.get_context(), wrap)
        return
    offline = context.is_offline_mode()
    # a command such as history runs no statement, but before Alembic 1.20 its context wrote one
    output = None if offline else StringIO()
    context.configure(**_dialect(context.config), literal_binds=True, as_sql=True, output_buffer=output, **shared)
    if offline:
        written = ScriptTexts()
        wrap_revisions(context.get_context(), lambda run, step, _: partial(_run_offline, run, step, written))
        write_statements(context.get_context(), partial(_statements, written))
        _widen(max((len(script.revision) for script in context.script.walk_revisions()), default=0))
        dialect = context.get_context().dialect
        dialect.dbapi = dialect.import_dbapi()  # the types convert values to the driver's classes
        expect_standard_strings(dialect)
        schema = shared["version_table_schema"]
        # public is in every database, and IF NOT EXISTS needs the right to create it all the same
        if schema not in (None, "public") and context.get_starting_revision_argument() is None:
            context.static_output(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};")


def _statements(written: ScriptTexts, *arguments: Any) -> Iterator[str]:
    """Yield the texts of a statement, and note them.

    Raises:
        StatementError: the statement would fail online, and psql would take it for another one, or for a command of
            its own.

    """
    for sql in statements(*arguments):
        if reason := written.refusal(sql):
            raise StatementError(reason)
        yield sql


def _run_offline(run: MigrationContext, step: RevisionStep, written: ScriptTexts, **keywords: Any) -> None:
    """Call a revision for its SQL: whatever else it does would be done now, and not where the script is run.

    What its SQL, which *written* gets, sets for the session is put back behind it, as online. Where it asks whether it
    has a connection, the script says so too: with one it may do more.
    """
    path, lines = Path(step.revision.path), list[int]()
    written.begin()
    with side_effects_refused(), questions_seen(run, str(path), lines.append):
        call_revision(step.migration_fn, **keywords)
    if line := lines[0] if lines else online_part(path.read_bytes(), "upgrade" if step.is_upgrade else "downgrade"):
        place = f"{context.config.attributes['service'].relative(path)}:{line}"
        message = (
            f"{place}: with a connection this revision may do more than its SQL here, since it asks whether it has one."
        )
        log.warning(message)
        context.static_output(f"-- WARNING: {message}")
    for statement in restoring("\n".join(written.texts)):
        context.static_output(f"{statement};")


def _widen(longest_id: int) -> None:
    """Let a new version table hold the ids of the history, where they are longer than Alembic expects."""
    if longest_id > ALEMBICS_WIDTH:
        widen_version_table(context.get_context(), max(_WIDTH, longest_id))


def _dialect(config: Config) -> dict[str, Any]:
    """Return the options for the dialect of the service's driver, where there is no connection."""
    service: Service = config.attributes["service"]
    if service.driver != "psycopg":
        from service_migrations.connection.dialect import NAME as ASYNCPG  # noqa: PLC0415 - only offline mode needs it

        return {"dialect_name": ASYNCPG}
    require_driver(service)
    from service_migrations.libpq.dialect import NAME  # noqa: PLC0415 - only services with that driver need it

    # with another style, a % of the SQL would be written twice
    return {"dialect_name": NAME, "dialect_opts": {"paramstyle": "named"}}


def _options(config: Config) -> dict[str, Any]:
    """Return the library's own options.

        The attributes of the configuration are ``service``; ``version_table``, its ``version_table_schema`` and
    ``metadata`` where these are known already; ``longest_id``, the length of the longest id; ``on_version_apply``, a
    tuple of callbacks; ``before_hooks``, the callback before those of a team; ``wrap_revision``, which returns the
    function that is called instead of a revision's; ``check_ids``, which refuses ids before the first revision;
    ``read_only``, for a command that writes nothing; and for a
    comparison ``ownership``, what the service may see of the database, ``writes_revision``, whether a revision file is
    written, ``renames``, the tables and columns that were renamed, and ``accepted``, what the baseline accepts.
    """
    attributes = config.attributes
    service: Service = attributes["service"]
    ownership: Ownership | None = attributes.get("ownership")
    metadata = ownership.metadata if ownership else attributes.get("metadata") or assemble(service)
    refuse_later_changes(metadata)
    options: dict[str, Any] = {
        "target_metadata": metadata,
        "version_table": attributes.get("version_table") or load_options(service, Sources()).version_table,
        "version_table_schema": attributes.get("version_table_schema") or bookkeeping_schema(service, metadata),
        "transaction_per_migration": True,
        "migrations_service": str(service),
        "on_version_apply": tuple(attributes.get("on_version_apply", ())),
    }
    if attributes.get("read_only"):
        options["dont_mutate"] = True
    if ownership:
        from service_migrations.environment.comparison import comparison_options  # noqa: PLC0415 - no upgrade needs it

        writes_revision, renames = attributes.get("writes_revision", False), attributes.get("renames", ())
        options |= comparison_options(
            ownership, renames, writes_revision=writes_revision, accepted=attributes.get("accepted", ())
        )
    else:
        options["include_name"] = partial(_is_seen, (options["version_table"], service.ledger_table))
    return options


def _is_seen(bookkeeping: Collection[str], name: str | None, kind: str, _: Mapping[str, str | None]) -> bool:
    """Whether a revision that compares the database with models of its own sees an object (``include_name``).

    Alembic leaves its version table out where the schema isn't given, and knows no ledger: both would be dropped.
    """
    return kind != "table" or name not in bookkeeping


def _combined(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return our options with those of a team, whose hooks don't replace ours."""
    for name in theirs:
        if name in _DECIDED:
            raise ConfigurationError(
                f"migrations/env.py: {name} is no option there: {_DECIDED[name]} decides it.",
                hint=f"Remove {name} from it.",
            )
        _warn_of_misspelt(name)
    combined = {**ours, **theirs, "migrations_team_hooks": frozenset(theirs)}
    if hook := theirs.get("process_revision_directives"):
        from service_migrations.environment.directives import as_directives  # noqa: PLC0415 - no upgrade needs it

        theirs = {**theirs, "process_revision_directives": as_directives(hook)}
        combined |= theirs
    for name, combine in _HOOKS.items():
        if ours.get(name) and theirs.get(name):
            combined[name] = combine(ours[name], theirs[name])
    return combined


@cache  # env.py runs once for each service, and more than once for some commands
def _warn_of_misspelt(name: str) -> None:
    """Warn of a name that is nearly an option's: Alembic takes any, and what a hook leaves out would be dropped."""
    options = [option for option in inspect.signature(EnvironmentContext.configure).parameters if option != "self"]
    if name not in options and (meant := get_close_matches(name, options, 1, _NEAR)):
        log.warning("migrations/env.py: Alembic has no option %s. Is %s meant?", name, meant[0])


def _both_agree(ours: _Hook, theirs: _Hook) -> _Hook:
    def hook(*arguments: Any) -> bool:
        return bool(ours(*arguments) and theirs(*arguments))

    return hook


def _theirs_then_ours(ours: _Hook, theirs: _Hook) -> _Hook:
    def hook(*arguments: Any) -> None:
        theirs(*arguments)
        ours(*arguments)

    return hook


def _first_that_renders(ours: _Hook, theirs: _Hook) -> _Hook:
    def hook(*arguments: Any) -> Any:
        rendered = theirs(*arguments)
        return ours(*arguments) if rendered is False else rendered

    return hook


def _all_of(ours: Iterable[Any], theirs: Any) -> tuple[Any, ...]:
    return (*ours, *(theirs if isinstance(theirs, list | tuple) else (theirs,)))


_HOOKS: Mapping[str, Callable[[Any, Any], Any]] = {
    "include_name": _both_agree,
    "include_object": _both_agree,
    "process_revision_directives": _theirs_then_ours,
    "render_item": _first_that_renders,
    "on_version_apply": _all_of,
    "autogenerate_plugins": _all_of,
}

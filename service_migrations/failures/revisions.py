"""The error of a revision that failed, or that lost its connection: with its place and what became of it."""

import re
import sys
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb

from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    ContentionError,
    MigrationError,
    UnreachableError,
    UsageError,
)
from service_migrations.failures.driver_errors import (
    describe,
    error_chain,
    field,
    is_lost,
    is_missing_table,
    is_plain,
    is_temporary,
    original_of,
    sqlstate,
    unmasked,
)
from service_migrations.failures.rights import grant
from service_migrations.failures.servers import is_exhausted, resource_hint
from service_migrations.files import SOURCE, read_bytes
from service_migrations.monorepo import Service, discover
from service_migrations.sql.asyncpg_refusals import advice

__all__ = ["environment_place", "lost_failure", "replay_failure", "revision_failure"]

_CONTENTION = {
    "55P03": "a lock was not free in time",
    "40P01": "it was in a deadlock",
    "40001": "it could not be serialised",
}
_COMPLETE = (
    "A history has to create everything that it needs: correct the revision so that it runs in an empty database too. "
    "What an administrator has to create stands in bootstrap.sql."
)
_REGISTER = "Is it an operation of your own? Then import the module that registers it in env.py."
_BIND = "Let the revision take op.get_bind(), whose database is that of the run, also of a replay."
"""The hint where a replay refuses a connection that leads to the application's database."""
_HINTS = (
    (
        re.compile("must be (?:called|set) before any query"),  # of SET TRANSACTION
        (
            "It has to be the revision's first statement. In the first revision of an empty database it can't be: "
            "Alembic creates the version table before it, in one transaction."
        ),
    ),
    (
        re.compile("A value is required for bind parameter"),
        r"A colon before a word is a parameter: write \: for a colon.",
    ),
    (
        re.compile("no password supplied|password authentication failed"),
        "The URL of op.get_bind().engine has no password: a second connection is op.get_bind().engine.connect().",
    ),
    (
        re.compile("outside of application context"),
        "Open the application's context in env.py, around environment.prepared().",
    ),
    (re.compile(r"(?:module 'alembic\.op'|'Operations' object) has no attribute"), _REGISTER),
    (re.compile("and this is a replay"), _BIND),
)
"""What would help, by what an error says."""
_BOOKKEEPING = "alembic/runtime/migration.py"
_REDUNDANT = (
    "Alembic can't record a revision that depends on two of which one follows the other: remove the older one from its "
    "depends_on."
)
"""The hint where Alembic misses a revision in its own record of what is applied."""
_ENVIRONMENT = "env.py"
_OWN = Path(__file__).parents[1]
_FIRST_REVISION = "first revision"
_EXIST_ALREADY = ("42P07", "42701", "42710", "42P06", "42723")
"""Of a relation (also an index or a sequence), a column, a type, constraint, trigger, policy or role, a schema, a
function."""
_SECOND_KEY = "multiple primary keys for table"
"""A primary key that is there already; its SQLSTATE is that of any invalid definition of a table."""
_MISSING = ("42P01", "42703", "42704", "3F000")
"""Of a relation, a column, a type, constraint, index or trigger, a schema. A function (42883) may lack a cast only."""
_NEEDS_PREPARATION = (*_MISSING, "42883", "42501")
"""Of what an administrator may have to make in ``bootstrap.sql``."""
_UNDEFINED_TABLE = "42P01"
_NAME = re.compile(r'"([^"]+)"')
_CONCURRENT_UPDATE = ("simple_heap_update", "simple_heap_delete")
"""The functions of the server that fail with an internal error (XX000) if two sessions change one catalog row."""


def revision_failure(
    error: BaseException,
    service: Service,
    user: str,
    *,
    partly_committed: bool | None,
    offline: bool = False,
    first: tuple[BaseException, str] | None = None,
    file: str = "",
    is_connected: bool = False,
    heads: tuple[str, ...] | None = None,
    unprepared: str = "",
) -> MigrationError:
    """Return the error to raise where Alembic failed, with the line of the revision and the SQLSTATE.

    Args:
        error: the error that was raised inside Alembic.
        service: the service of the revision.
        user: the role that ran it, for the GRANT in the hint.
        partly_committed: whether the revision had committed something before; None where nothing ran, as offline.
        offline: whether it was rendered in offline mode.
        first: the error that made the server refuse what follows, and the file and line of its statement.
        file: the file of the revision that ran last, where the error itself has no place in one, as at its COMMIT.
        is_connected: whether the connection is known to work still, whatever the error says.
        heads: the revisions that a database was stamped with; None where it is a temporary one, or where the same run
            has applied others, so that the stamp isn't in doubt.
        unprepared: why ``bootstrap.sql`` wasn't run in a temporary database; empty where it was, or isn't there.

    """
    first_error = unmasked(error)
    state = sqlstate(first_error)
    links = [*error_chain(first_error), *error_chain(error)]
    place = next(filter(None, (_place(link, service) for link in links)), None)
    place = place or environment_place(error, service.root)
    error = first_error
    text = f"{describe(error)}{f' [{state}]' if state else ''}"
    missing = _UNDEFINED_TABLE if is_missing_table(error) else state
    unprepared = unprepared if missing in _NEEDS_PREPARATION else ""
    sentences = (
        _ending(text, partly_committed=partly_committed, offline=offline),
        "" if offline else _disagreement(text, missing, service, place or file, heads),
        resource_hint(state),
        unprepared,
    )
    end = " ".join(filter(None, sentences))
    if place is None and is_plain(original_of(error)):
        text += _origin(error, service)
    end = f"{_redundant(error, text)} {end}".strip()
    if state == "25P02" and first is not None:
        first_state = sqlstate(first[0])
        text += f". The first error was {describe(first[0])}{f' [{first_state}]' if first_state else ''}"
        text += f" ({first[1]})" if first[1] and first[1] != place else ""
        place = place or first[1] or None
        end = f"After an error, only a savepoint goes on: with op.get_bind().begin_nested(). {end}".rstrip()
    elif "are allowed as placeholders" in text:  # psycopg's own, before anything is sent
        end = f"A % in exec_driver_sql() is the beginning of a parameter, except over asyncpg: write %%. {end}"
    elif service.driver == "asyncpg":
        has_parameters = bool(getattr(error, "params", None))
        statement = str(getattr(error, "statement", ""))
        end = f"{advice(state, text, has_parameters=has_parameters, statement=statement)} {end}".strip()

    place = place or file or None

    def failure(kind: type[MigrationError], message: str, hint: str) -> MigrationError:
        return kind(message, service=service, path=place, hint=hint)

    if state in _CONTENTION or _is_catalog_race(error, state):
        reason = _CONTENTION.get(state or "", "another session changed the same row of the catalog")
        return failure(ContentionError, f"{reason} [{state}].", end)
    if state == "42501":
        return failure(AccessDeniedError, f"{text}.", f"{grant(error, text, user)} {unprepared}".rstrip())
    if state == "25006":
        hint = "The server is read-only or a standby: name the primary. Or did the revision SET TRANSACTION READ ONLY?"
        return failure(ConfigurationError, f"{text}.", hint)
    if not (is_connected or offline) and (is_temporary(state) or is_lost(error, state)):
        message = f"the connection was lost ({text})."
        return failure(UnreachableError, message, "It is safe to run the command again.")
    return failure(MigrationError, f"{_with_class(error, text)}.", end)


def _redundant(error: BaseException, text: str) -> str:
    return _REDUNDANT if isinstance(error, KeyError) and _BOOKKEEPING in text else ""


def _with_class(error: BaseException, text: str) -> str:
    """Return a text with the class of an error that isn't of the system, though its class is: it has no number."""
    name = type(error).__name__
    is_unnumbered = isinstance(error, OSError) and error.errno is None and text != name
    return f"{name}: {text}" if is_unnumbered else text


def _disagreement(text: str, state: str | None, service: Service, place: str, heads: tuple[str, ...] | None) -> str:
    """Return what to do where a database has more or less than the revisions before; empty where that isn't so."""
    verify = f"`inv db.adopt --verify --service {service}` finds its revision."
    if state in _EXIST_ALREADY or _SECOND_KEY in text:
        if heads is None:
            return ""
        return f"Is {'its stamp too low' if heads else 'the database older than its history'}? {verify}"
    if state not in _MISSING or (name := _NAME.search(text)) is None:
        return ""
    word = re.compile(rf"\b{re.escape(name[1].rpartition('.')[2])}\b")
    if _is_named(word, service, place):
        return f"Is its stamp right? {verify}" if heads else ""
    if state != _UNDEFINED_TABLE or any(_is_named(word, other) for other in discover(service.root) if other != service):
        return ""
    return (
        f'No other revision names "{name[1]}": is it misspelled, or did create_all() or a hand make it? Then put a '
        f"{_FIRST_REVISION} that creates it below the others; databases at head stay as they are."
    )


def _is_named(word: re.Pattern[str], service: Service, place: str = "") -> bool:
    """Whether a revision of a service names something, apart from that of a place."""
    except_path = place.rpartition(":")[0] or place
    for location in service.version_locations:
        for path in location.rglob("*.py"):
            with suppress(OSError):
                text = read_bytes(path, SOURCE).decode(errors="replace")
                if service.relative(path) != except_path and word.search(text):
                    return True
    return False


def _ending(text: str, *, partly_committed: bool | None, offline: bool) -> str:
    """Return the end of a failed revision's message: what became of the revision, or what would help."""
    sentences = [hint for words, hint in _HINTS if words.search(text)]
    if "greenlet_spawn has not been called" in text:
        online = "In a coroutine, what op does goes into connection.run_sync(); no thread can use its connection."
        sentences.append("Offline nothing can be awaited: run it online." if offline else online)
    if partly_committed is not None:
        sentences.append("What it had committed before is kept." if partly_committed else "It was rolled back.")
    elif offline and "NoneType" in text:
        sentences.append("Offline there are no rows, and a query returns None: run it online.")
    elif offline and "MockConnection" in text:
        sentences.append("Offline there is no connection to ask: run it online.")
    return " ".join(sentences)


def _is_catalog_race(error: BaseException, state: str | None) -> bool:
    """Whether two sessions wrote one row of a system catalog, such as that of a role."""
    original = original_of(error)
    driver = original.__cause__ or original
    if state == "XX000":
        return field(driver, "server_source_function", "source_function") in _CONCURRENT_UPDATE
    return state == "23505" and field(driver, "schema_name", "schema_name") == "pg_catalog"


def lost_failure(error: BaseException, service: Service, first: BaseException | None = None) -> MigrationError:
    """Return the error to raise where a connection was lost.

    Args:
        error: the last error; the first error in its chain has the reason.
        service: the service of the revision.
        first: an error that was raised before, where that chain doesn't have it.

    """
    chain = [*error_chain(error), *(error_chain(first) if first else ())]
    reasons = [link for link in chain if is_lost(link, sqlstate(link)) or is_temporary(sqlstate(link))]
    reason = next((link for link in reversed(reasons) if sqlstate(link)), reasons[-1] if reasons else error)
    state = sqlstate(reason)
    text = f"the connection was lost ({describe(reason)}{f' [{state}]' if state else ''})."
    place = next(filter(None, (_place(link, service) for link in reversed(chain))), None)
    return UnreachableError(text, service=service, path=place, hint="It is safe to run the command again.")


def replay_failure(error: MigrationError) -> MigrationError:
    """Return the error to raise where a history fails in a new database of ours.

    It isn't that of a failed migration: no database of anybody's was changed. Other errors stay as they are.
    """
    if error.exit_code != MigrationError.exit_code:
        return error
    if is_exhausted(error):  # which the history can't help
        return UnreachableError(error.message, service=error.service, path=error.path, line=error.line, hint=error.hint)
    is_explained = any(
        words in error.hint for words in (_FIRST_REVISION, _REGISTER, _REDUNDANT, _BIND, "bootstrap.sql")
    )
    is_explained = is_explained or (error.path is not None and Path(error.path).name == _ENVIRONMENT)
    return UsageError(
        f"{error.message} The history can't be replayed into a scratch database.",
        service=error.service,
        path=error.path,
        line=error.line,
        hint=error.hint if is_explained else f"{error.hint} {_COMPLETE}".strip(),
    )


def _origin(error: BaseException, service: Service) -> str:
    """Return where an error was raised: the file, relative to the top level or to the installed packages, and line."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    path = Path(frame.f_code.co_filename)
    if path.is_relative_to(_OWN):  # nobody's but ours, such as a call without an argument
        return ""
    for folder in (*(Path(entry) for entry in sys.path if entry.endswith("-packages")), service.root):
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
            break
    return f" (in {path.as_posix()}, line {line})"


def environment_place(error: BaseException, root: Path) -> str | None:
    """Return the file and the line of ``env.py`` where its own code, such as a hook, has failed; None elsewhere.

    Where Alembic or the library has been called from there, the error is of what these do.
    """
    import alembic  # noqa: PLC0415 - a failure needs it, and no start

    others = {_OWN, Path(alembic.__file__).parent}  # a folder of a team may be named alembic too
    for link in error_chain(error):
        frames = [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(link.__traceback__)]
        last = max((number for number, (path, _) in enumerate(frames) if path.name == _ENVIRONMENT), default=None)
        if last is None or not frames[last][0].is_relative_to(root):
            continue
        # Alembic's `context` is of functions that are compiled from a text, "<string>"
        called = next(
            (path for path, _ in frames[last + 1 :] if path.suffix == ".py" and path.stem != "contextlib"), None
        )
        if called is None or others.isdisjoint(called.parents):
            return f"{frames[last][0].relative_to(root).as_posix()}:{frames[last][1]}"
    return None


def _place(error: BaseException, service: Service) -> str | None:
    """Return the file and the line of the service's revision in an error's traceback."""
    place = service.revision_place(reversed(list(walk_tb(error.__traceback__))))
    return f"{place[0]}:{place[1]}" if place else None

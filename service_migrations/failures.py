"""The errors of servers and sockets, described for the person who ran the command.

With asyncpg the class of a SQLAlchemy error means little: a lock timeout is a plain ``DBAPIError``. Only the
SQLSTATE is reliable (PostgreSQL documentation, Appendix A). The errors of psycopg have it too, and most other fields
under other names.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from ssl import SSLCertVerificationError
from traceback import walk_tb

from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    ContentionError,
    MigrationError,
    UnreachableError,
    UsageError,
)
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import made_for
from service_migrations.sql.asyncpg import advice

__all__ = [
    "connect_failure",
    "describe",
    "is_busy",
    "is_lost_connection",
    "is_of_the_session",
    "lost_failure",
    "replay_failure",
    "revision_failure",
    "sqlstate",
    "sqlstate_of_any",
]

_Hint = Callable[[Service, Dsn], str]
_CHECK_ADDRESS = "Is the server up, and this its address?"
_START_OWN = "It is the address of the project's own PostgreSQL: `inv pg.start` starts it."
_ESCAPE = "In a DSN, a % of the password itself is written %25."

_CONNECT: dict[str, tuple[type[MigrationError], _Hint]] = {
    "28P01": (
        AccessDeniedError,
        lambda service, dsn: (
            (
                "Does the command or function return a password for this role?"
                if dsn.password_source
                else f"Correct the password in {service.relative(service.env_file)} or the environment."
            )
            + (f" {_ESCAPE}" if dsn.has_escapes else "")
        ),
    ),
    "28000": (AccessDeniedError, lambda _, dsn: f"May {dsn.user} log in from this machine (pg_hba.conf)?"),
    "3D000": (ConfigurationError, lambda service, _: f"Run `inv db.create --service {service}`."),
    "42501": (
        AccessDeniedError,
        lambda _, dsn: f'Its owner can run: GRANT CONNECT ON DATABASE "{dsn.database}" TO "{dsn.user}";',
    ),
    "08P01": (
        ConfigurationError,
        lambda _, __: "Is it a pooler? Name the server itself in DATABASE_DIRECT_DSN.",
    ),
    "22023": (ConfigurationError, lambda _, __: "Correct the value in .env or in the DSN's options."),
    "42704": (ConfigurationError, lambda _, __: "Correct the name in the DSN's options."),
}
_REFUSALS = {
    "password authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
    "the database system is": "57P03",
    "too many clients": "53300",
    "too many connections": "53300",
    "remaining connection slots": "53300",
}
_CONNECT_ENGINE = {
    "28P01": "Correct the password of the engine.",
    "08P01": "Is it a pooler? Make the engine for the server itself.",
    "22023": "Correct the value in the engine's server_settings.",
    "42704": "Correct the name in the engine's server_settings.",
}
"""The hints for an engine of the caller's, which doesn't use a .env."""

_BUSY = ("57P03", "53300", "57P01", "57P02")
"""The server is starting up, has too many connections, was shut down by an administrator, or has crashed."""
_TEMPORARY = (*_BUSY, "57P05")
"""Or the session was idle for too long."""

_FIRST = (
    "It has to be the revision's first statement. In the first revision of an empty database it can't be: "
    "Alembic creates the version table before it, in one transaction."
)
"""The hint for SET TRANSACTION behind a query."""

_CONTENTION = {
    "55P03": "a lock was not free in time",
    "40P01": "it was in a deadlock",
    "40001": "it could not be serialised",
}
_CLASSES_OF_THE_SESSION = ("08", "40", "53", "57", "58")
"""The classes of SQLSTATEs for connections, conflicts, resources, an operator's intervention and system errors."""

_COMPLETE = (
    "A history has to create everything that it needs: correct the revision so that it runs in an empty database too. "
    "What an administrator has to create stands in bootstrap.sql."
)

_LIBRARIES = ("alembic", "asyncpg", "psycopg", "service_migrations", "sqlalchemy")
"""The packages whose messages say enough without the class of the error."""
_CONCURRENT_UPDATE = ("simple_heap_update", "simple_heap_delete")
"""The functions of the server that fail with an internal error (XX000) if two sessions change one catalog row."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver's error, or of SQLAlchemy around one."""
    original = _original(error)
    state = getattr(original, "sqlstate", None)
    return state if isinstance(state, str) else _state_of_refusal(original)


def sqlstate_of_any(error: BaseException) -> str | None:
    """Return the first SQLSTATE of an error and those that it was raised from or after."""
    return next(filter(None, map(sqlstate, _chain(error))), None)


def _state_of_refusal(error: BaseException) -> str | None:
    """Return the SQLSTATE of a connection that psycopg couldn't make: libpq has only the text of the answer."""
    if type(error).__name__ != "OperationalError" or not type(error).__module__.startswith("psycopg"):
        return None
    return next((state for part, state in _REFUSALS.items() if part in str(error)), None)


def is_busy(error: BaseException) -> bool:
    """Whether the server is busy, so that another attempt may succeed."""
    return sqlstate(error) in _BUSY


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is of a connection that was lost, or that the server has ended."""
    state = sqlstate(error)
    return state in _TEMPORARY or _is_lost(_original(error), state)


def is_of_the_session(error: BaseException) -> bool:
    """Whether an error of the server is of the connection, the server or other sessions, and not of the statement."""
    state = sqlstate(error)
    if state == "58P01":  # a file that a statement names, such as that of an extension
        return False
    return state is None or state == "55P03" or state[:2] in _CLASSES_OF_THE_SESSION


def connect_failure(
    error: Exception, service: Service, dsn: Dsn, patience: float = 0.0, *, engine: bool = False
) -> MigrationError:
    """Return the error to raise where a connection could not be made.

    Args:
        error: the error of the driver.
        service: the service.
        dsn: the DSN, or that of an engine.
        patience: seconds for which the connection was tried again while the server was busy.
        engine: whether an engine of the caller's was used.

    """
    if isinstance(error, MigrationError):  # of the command or function that returns the password
        return error
    state = sqlstate(error) or ""

    def failure(kind: type[MigrationError], message: str, hint: str = "") -> MigrationError:
        return kind(f"{dsn.target}: {message}", service=service, hint=hint)

    if state in _CONNECT:
        kind, hint = _CONNECT[state]
        return failure(kind, f"{describe(error)}.", (engine and _CONNECT_ENGINE.get(state)) or hint(service, dsn))
    if state in _TEMPORARY or state.startswith("08"):
        duration = f", for {patience:g} s now" if patience and state in _BUSY else ""
        return failure(UnreachableError, f"{describe(error)}{duration}.", "Try again in a moment.")
    if isinstance(error, TimeoutError):
        return failure(UnreachableError, "no answer within MIGRATIONS_CONNECT_TIMEOUT.", _CHECK_ADDRESS)
    if problem := _server_problem(error, dsn):
        return failure(ConfigurationError, problem)
    text, name, advice = describe(error), type(error).__name__, ""
    if isinstance(error, OSError):
        advice = _START_OWN if not engine and _is_own_server(service, dsn) else _CHECK_ADDRESS
    elif not text.startswith(name) and not _is_lost(_original(error), state or None):
        text = f"{name}: {text}"
    return failure(UnreachableError, f"{text}.", advice)


def _is_own_server(service: Service, dsn: Dsn) -> bool:
    """Whether a DSN leads to the server for which `inv up` has made the service's .env."""
    return made_for(service, *dsn.hosts[0])


def _server_problem(error: Exception, dsn: Dsn) -> str | None:
    """Return what is wrong where servers answered, but none is as the DSN demands."""
    parameters = dsn.parameters
    if "match the target attribute requirement" in str(error):  # asyncpg's own class is lost under SQLAlchemy's
        wanted = parameters.get("target_session_attrs")
        return f"no host is {wanted}, as target_session_attrs asks for. A standby takes no writes: name the primary."
    if isinstance(error, SSLCertVerificationError):
        return f"{describe(error)}. Is it the server that was meant? If so, correct its host name or sslrootcert."
    if "rejected SSL upgrade" in str(error):
        return f"the server has no TLS, and sslmode={parameters.get('sslmode')} asks for it. Switch it on there."
    return None


def revision_failure(
    error: BaseException,
    service: Service,
    user: str,
    *,
    partly_committed: bool | None,
    offline: bool = False,
    first: tuple[BaseException, str] | None = None,
) -> MigrationError:
    """Return the error to raise where Alembic failed, with the line of the revision and the SQLSTATE.

    Args:
        error: the error that was raised inside Alembic.
        service: the service of the revision.
        user: the role that ran it, for the GRANT in the hint.
        partly_committed: whether the revision had committed something before; None where nothing ran, as offline.
        offline: whether it was rendered in offline mode.
        first: the error that made the server refuse what follows, and the file and line of its statement.

    """
    state = sqlstate(error)
    place = next(filter(None, (_place(link, service) for link in _chain(error))), None)
    text = f"{describe(error)}{f' [{state}]' if state else ''}"
    end = _ending(text, partly_committed=partly_committed, offline=offline)
    if place is None and _is_plain(_original(error)):
        text += _origin(error, service)
    if state == "25P02" and first is not None:
        first_state = sqlstate(first[0])
        text += f". The first error was {describe(first[0])}{f' [{first_state}]' if first_state else ''}"
        text += f" ({first[1]})" if first[1] and first[1] != place else ""
        place = place or first[1] or None
        end = f"After an error, only a savepoint goes on: with op.get_bind().begin_nested(). {end}".rstrip()
    elif service.driver == "asyncpg":
        has_parameters = bool(getattr(error, "params", None))
        end = f"{advice(state, text, has_parameters=has_parameters)} {end}".strip()

    def failure(kind: type[MigrationError], message: str, hint: str) -> MigrationError:
        return kind(message, service=service, path=place, hint=hint)

    if state in _CONTENTION or _is_catalog_race(error, state):
        reason = _CONTENTION.get(state or "", "another session changed the same row of the catalog")
        return failure(ContentionError, f"{reason} [{state}].", end)
    if state == "42501" and "schema" in text:
        schema = text.partition("schema ")[2].split(" ")[0]
        grant = f'Its owner can run: GRANT CREATE ON SCHEMA {schema} TO "{user}";'
        return failure(AccessDeniedError, f"{text}.", grant)
    if state == "42501":
        return failure(AccessDeniedError, f"{text}.", "Grant it, or run as the owner.")
    if state == "25006":
        hint = "The server is read-only or a standby: name the primary. Or did the revision SET TRANSACTION READ ONLY?"
        return failure(ConfigurationError, f"{text}.", hint)
    if state in _TEMPORARY or _is_lost(error, state):
        message = f"the connection was lost ({text})."
        return failure(UnreachableError, message, "It is safe to run the command again.")
    return failure(MigrationError, f"{text}.", end)


def _ending(text: str, *, partly_committed: bool | None, offline: bool) -> str:
    """Return the end of a failed revision's message: what became of the revision, or what would help."""
    sentences = []
    if "must be called before any query" in text or "must be set before any query" in text:
        sentences.append(_FIRST)
    if "A value is required for bind parameter" in text:
        sentences.append(r"A colon before a word is a parameter: write \: for a colon.")
    if partly_committed is not None:
        sentences.append("What it had committed before is kept." if partly_committed else "It was rolled back.")
    elif offline and "NoneType" in text:
        sentences.append("Offline there are no rows, and a query returns None: run it online.")
    return " ".join(sentences)


def _is_catalog_race(error: BaseException, state: str | None) -> bool:
    """Whether two sessions wrote one row of a system catalog, such as that of a role."""
    original = _original(error)
    driver = original.__cause__ or original
    if state == "XX000":
        return _field(driver, "server_source_function", "source_function") in _CONCURRENT_UPDATE
    return state == "23505" and _field(driver, "schema_name", "schema_name") == "pg_catalog"


def _field(error: BaseException, of_asyncpg: str, of_psycopg: str) -> str | None:
    """Return a field of the server's answer, by its names in the errors of both drivers."""
    value = getattr(error, of_asyncpg, None) or getattr(getattr(error, "diag", None), of_psycopg, None)
    return value if isinstance(value, str) else None


def lost_failure(error: BaseException, service: Service, first: BaseException | None = None) -> MigrationError:
    """Return the error to raise where a connection was lost.

    Args:
        error: the last error; the first error in its chain has the reason.
        service: the service of the revision.
        first: an error that was raised before, where that chain doesn't have it.

    """
    chain = [*_chain(error), *(_chain(first) if first else ())]
    reasons = [link for link in chain if _is_lost(link, sqlstate(link)) or sqlstate(link) in _TEMPORARY]
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
    return UsageError(
        f"{error.message} The history can't be replayed into a scratch database.",
        service=error.service,
        path=error.path,
        line=error.line,
        hint=f"{error.hint} {_COMPLETE}".strip(),
    )


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it was raised from or after, the oldest last."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _is_lost(error: BaseException, state: str | None) -> bool:
    if state is not None:
        return state.startswith("08")
    if isinstance(error, ConnectionError) or getattr(error, "connection_invalidated", False) or _is_of_ended(error):
        return True
    # psycopg's own, not of the server
    return type(error).__name__ == "OperationalError" and type(error).__module__.startswith("psycopg")


def _is_of_ended(error: BaseException) -> bool:
    """Whether asyncpg refuses a statement since the server has ended the session: it says so in terms of its own."""
    return type(error).__name__ == "InternalClientError" and type(error).__module__.startswith("asyncpg")


def describe(error: BaseException) -> str:
    """Return the message of an error in one line, without the class names that drivers put before it.

    Errors of Python itself and of other packages have the class: their messages may say nothing, such as ``'amount'``.
    """
    original = _original(error)
    if _is_of_ended(original):
        return "the server has ended the session"
    text = str(original).splitlines()[0] if str(original) else type(original).__name__
    if text.startswith("<class "):
        text = text.partition(">: ")[2] or text
    if isinstance(original, OSError) and ("Multiple exceptions" in text or "Connect call failed" in text):
        text = "connection refused"
    if isinstance(original, SystemExit):
        text = f"SystemExit: {original.code!r}"
    elif _is_plain(original) and str(original):
        text = f"{type(original).__name__}: {text}"
    details = (_field(link, "detail", "message_detail") for link in (original.__cause__, original) if link)
    detail = next(filter(None, details), None)
    return text.rstrip(".") + (f" ({detail.rstrip('.')})" if detail else "")


def _is_plain(error: BaseException) -> bool:
    """Whether an error's class says something: it isn't one of a driver, a file or a socket."""
    module = type(error).__module__.partition(".")[0]
    return module not in _LIBRARIES and not isinstance(error, OSError)


def _origin(error: BaseException, service: Service) -> str:
    """Return where an error was raised: the file, relative to the top level or to the installed packages, and line."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    path = Path(frame.f_code.co_filename)
    for folder in (*(Path(entry) for entry in sys.path if entry.endswith("-packages")), service.root):
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
            break
    return f" (in {path.as_posix()}, line {line})"


def _original(error: BaseException) -> BaseException:
    """Return the error of the driver where SQLAlchemy has wrapped it; the scan never imports SQLAlchemy."""
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


def _place(error: BaseException, service: Service) -> str | None:
    """Return the file and the line of the service's revision in an error's traceback."""
    place = service.revision_place(reversed(list(walk_tb(error.__traceback__))))
    return f"{place[0]}:{place[1]}" if place else None

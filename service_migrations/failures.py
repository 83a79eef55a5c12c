"""What a SQLSTATE or a socket error means for the person who ran the command.

Under asyncpg the class of a SQLAlchemy error tells little: a lock timeout is a plain ``DBAPIError``. Only the
SQLSTATE is sure (PostgreSQL documentation, Appendix A).
"""

from collections.abc import Callable
from pathlib import Path
from ssl import SSLCertVerificationError
from traceback import extract_tb

from service_migrations.errors import (
    AccessDeniedError,
    ConfigurationError,
    ContentionError,
    MigrationError,
    UnreachableError,
)
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn

__all__ = ["connect_failure", "describe", "is_busy", "lost_failure", "revision_failure", "sqlstate"]

_Hint = Callable[[Service, Dsn], str]
_IS_IT_UP = "Is the server up, and this its address?"

_CONNECT: dict[str, tuple[type[MigrationError], _Hint]] = {
    "28P01": (
        AccessDeniedError,
        lambda s, _: f"Correct the password in {s.relative(s.env_file)} or the environment.",
    ),
    "28000": (AccessDeniedError, lambda _, d: f"May {d.user} log in from here (pg_hba.conf)?"),
    "3D000": (ConfigurationError, lambda s, _: f"Run `inv db.create --service {s}`."),
    "42501": (
        AccessDeniedError,
        lambda _, d: f'Its owner can run: GRANT CONNECT ON DATABASE "{d.database}" TO "{d.user}";',
    ),
    "08P01": (
        ConfigurationError,
        lambda _, __: "Is it a pooler? Name the server itself in DATABASE_DIRECT_DSN.",
    ),
    "22023": (ConfigurationError, lambda _, __: "Correct the value in .env or in the DSN's options."),
    "42704": (ConfigurationError, lambda _, __: "Correct the name in the DSN's options."),
}
_CONNECT_ENGINE = {
    "28P01": "Correct the password of the engine.",
    "08P01": "Is it a pooler? Make the engine for the server itself.",
    "22023": "Correct the value in the engine's server_settings.",
    "42704": "Correct the name in the engine's server_settings.",
}
"""What mends it where an engine of the caller's connects, which no .env has a part in."""

_BUSY = ("57P03", "53300", "57P01", "57P02")
"""Starting up, too many connections, shut down by an administrator, crashed."""
_TEMPORARY = (*_BUSY, "57P05")
"""And idle for too long."""

_CONTENTION = {
    "55P03": "a lock was not free in time",
    "40P01": "it was in a deadlock",
    "40001": "it could not be serialised",
}
_CONCURRENT_UPDATE = ("simple_heap_update", "simple_heap_delete")
"""The functions of the server that report, as an internal error (XX000), that two sessions changed one catalog row."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of asyncpg, or of SQLAlchemy around one."""
    found = getattr(_original(error), "sqlstate", None)
    return found if isinstance(found, str) else None


def is_busy(error: BaseException) -> bool:
    """Whether a server answered that it has no place for us at the moment, so that it may have one in the next."""
    return sqlstate(error) in _BUSY


def connect_failure(
    error: Exception, service: Service, dsn: Dsn, patience: float = 0.0, *, engine: bool = False
) -> MigrationError:
    """Return what to tell when a connection could not be made.

    Args:
        error: what was raised.
        service: for which it was to be made.
        dsn: where to.
        patience: seconds for which a busy server was asked again.
        engine: whether it is an engine of the caller's that connects.

    """
    state = sqlstate(error) or ""

    def failure(kind: type[MigrationError], message: str, hint: str = "") -> MigrationError:
        return kind(f"{dsn.target}: {message}", service=service, hint=hint)

    if state in _CONNECT:
        kind, hint = _CONNECT[state]
        return failure(kind, f"{describe(error)}.", (engine and _CONNECT_ENGINE.get(state)) or hint(service, dsn))
    if state in _TEMPORARY or state.startswith("08"):
        still = f", for {patience:g} s now" if patience and state in _BUSY else ""
        return failure(UnreachableError, f"{describe(error)}{still}.", "Try again in a moment.")
    if isinstance(error, TimeoutError):
        return failure(UnreachableError, "no answer within MIGRATIONS_CONNECT_TIMEOUT.", _IS_IT_UP)
    if unlike := _unlike_the_dsn(error, dsn):
        return failure(ConfigurationError, unlike)
    if isinstance(error, OSError):
        return failure(UnreachableError, f"{describe(error)}.", _IS_IT_UP)
    return failure(UnreachableError, f"{type(error).__name__}: {describe(error)}.")


def _unlike_the_dsn(error: Exception, dsn: Dsn) -> str | None:
    """Return what to tell where servers answered, and none is as the DSN asks for."""
    parameters = dsn.parameters
    if "match the target attribute requirement" in str(error):  # asyncpg's own class is lost under SQLAlchemy's
        wanted = parameters.get("target_session_attrs")
        return f"no host is {wanted}, as target_session_attrs asks for. A standby takes no writes: name the primary."
    if isinstance(error, SSLCertVerificationError):
        return f"{describe(error)}. Is it the server that was meant? If so, correct its host name or sslrootcert."
    if "rejected SSL upgrade" in str(error):
        return f"the server has no TLS, and sslmode={parameters.get('sslmode')} asks for it. Switch it on there."
    return None


def revision_failure(error: BaseException, service: Service, user: str, *, partly_committed: bool) -> MigrationError:
    """Return what to tell when Alembic failed over a connection: in which revision's line, with which SQLSTATE.

    Args:
        error: what was raised inside Alembic.
        service: whose revision it was.
        user: the role that ran it, for the GRANT that would help.
        partly_committed: whether the revision had committed something before.

    """
    state = sqlstate(error)
    place = next(filter(None, (_place(one, service) for one in _chain(error))), None)
    text = f"{describe(error)}{f' [{state}]' if state else ''}"
    end = "What it had committed before is kept." if partly_committed else "It was rolled back."

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
        return failure(ConfigurationError, f"{text}.", "The server is read-only or a standby: name the primary.")
    if state in _TEMPORARY or _is_lost(error, state):
        lost = f"the connection was lost ({text})."
        return failure(UnreachableError, lost, "It is safe to run the command again.")
    if "multiple commands" in text:
        text += ". One statement for each op.execute(): asyncpg prepares them one by one"
    return failure(MigrationError, f"{text}.", end)


def _is_catalog_race(error: BaseException, state: str | None) -> bool:
    """Whether two sessions wrote one row of a system catalog, such as that of a role, which all databases share."""
    original = _original(error)
    driver = original.__cause__ or original
    if state == "XX000":
        return getattr(driver, "server_source_function", None) in _CONCURRENT_UPDATE
    return state == "23505" and getattr(driver, "schema_name", None) == "pg_catalog"


def lost_failure(error: BaseException, service: Service) -> MigrationError:
    """Return what to report where a connection was lost, whatever has been raised since.

    Args:
        error: the last error; the first of the chain that it ends tells why.
        service: whose revision it was.

    """
    reasons = [one for one in _chain(error) if _is_lost(one, sqlstate(one)) or sqlstate(one) in _TEMPORARY]
    reason = next((one for one in reversed(reasons) if sqlstate(one)), reasons[-1] if reasons else error)
    state = sqlstate(reason)
    text = f"the connection was lost ({describe(reason)}{f' [{state}]' if state else ''})."
    place = next(filter(None, (_place(one, service) for one in reversed(_chain(error)))), None)
    return UnreachableError(text, service=service, path=place, hint="It is safe to run the command again.")


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it was raised from or after, the oldest last."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _is_lost(error: BaseException, state: str | None) -> bool:
    if state is not None:
        return state.startswith("08")
    return isinstance(error, ConnectionError) or getattr(error, "connection_invalidated", False)


def describe(error: BaseException) -> str:
    """Return the words of a server or the system, in one line, without the class names that drivers put before them."""
    original = _original(error)
    text = str(original).splitlines()[0] if str(original) else type(original).__name__
    if text.startswith("<class "):
        text = text.partition(">: ")[2] or text
    if isinstance(original, OSError) and ("Multiple exceptions" in text or "Connect call failed" in text):
        text = "connection refused"
    if isinstance(original, SystemExit):
        text = f"SystemExit: {original.code!r}"
    detail = getattr(original.__cause__, "detail", None) or getattr(original, "detail", None)
    return text.rstrip(".") + (f" ({detail.rstrip('.')})" if isinstance(detail, str) else "")


def _original(error: BaseException) -> BaseException:
    """Return the driver's error where it is wrapped in one of SQLAlchemy, which the scan never imports."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error


def _place(error: BaseException, service: Service) -> str | None:
    """Return file and line of the service's own revision in a traceback."""
    for frame in reversed(extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(service.versions):
            return f"{service.relative(path)}:{frame.lineno}"
    return None

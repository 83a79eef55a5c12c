"""The error of a connection that could not be made: what is wrong, and what to do."""

from collections.abc import Callable
from ssl import SSLCertVerificationError

from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, UnreachableError
from service_migrations.failures.driver_errors import (
    describe,
    is_busy,
    is_lost,
    is_temporary,
    original_of,
    sqlstate,
)
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.example import made_for

__all__ = ["connect_failure", "unusable"]

_Hint = Callable[[Service, Dsn], str]
_CHECK_ADDRESS = "Is the server up, and this its address?"
_START_OWN = (
    "`inv up` made the .env for the project's own PostgreSQL: `inv pg.start` starts it, and "
    "`inv pg.status` has its address."
)
"""Not that this is its address, which somebody may have edited."""
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
    "55000": (
        AccessDeniedError,
        lambda _, dsn: (
            f'If it is to be used, an administrator can run: ALTER DATABASE "{dsn.database}" ALLOW_CONNECTIONS true;'
        ),
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
"""The hints for an engine of the caller's, which doesn't use a .env."""


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
    state, is_invalid = sqlstate(error) or "", "cannot connect to invalid database" in str(error)

    def failure(kind: type[MigrationError], message: str, hint: str = "") -> MigrationError:
        return kind(f"{dsn.target}: {message}", service=service, hint=hint)

    if state in _CONNECT:
        kind, hint = _CONNECT[state]
        other = failure(kind, f"{describe(error)}.", (engine and _CONNECT_ENGINE.get(state)) or hint(service, dsn))
        return unusable(service, dsn.target, dsn.database) if is_invalid else other
    if is_temporary(state) or state.startswith("08"):
        duration = f", for {patience:g} s now" if patience and is_busy(error) else ""
        return failure(UnreachableError, f"{describe(error)}{duration}.", "Try again in a moment.")
    if isinstance(error, TimeoutError):
        return failure(UnreachableError, "no answer within MIGRATIONS_CONNECT_TIMEOUT.", _CHECK_ADDRESS)
    if problem := _server_problem(error, dsn, engine=engine):
        return failure(ConfigurationError, problem)
    text, name, advice = describe(error), type(error).__name__, ""
    if isinstance(error, OSError):
        advice = _START_OWN if not engine and _is_own_server(service, dsn) else _CHECK_ADDRESS
        wanted = dsn.parameters.get("target_session_attrs", "any")
        if len(dsn.hosts) > 1 and wanted != "any":
            advice += f" A host that answers and isn't {wanted} was passed over."
    elif not text.startswith(name) and not is_lost(original_of(error), state or None):
        text = f"{name}: {text}"
    return failure(UnreachableError, f"{text}.", advice)


def unusable(service: Service, target: str, database: str) -> ConfigurationError:
    """Return the error to raise for a database whose DROP was interrupted: nobody can connect to it, or repair it."""
    return ConfigurationError(
        f'{target}: the database "{database}" is invalid, since its DROP DATABASE was interrupted.',
        service=service,
        hint=f"Run `inv db.drop --service {service}`, and then `inv db.create --service {service}`.",
    )


def _is_own_server(service: Service, dsn: Dsn) -> bool:
    """Whether a DSN leads to the server for which `inv up` has made the service's .env."""
    return made_for(service, *dsn.hosts[0])


def _server_problem(error: Exception, dsn: Dsn, *, engine: bool) -> str | None:
    """Return what is wrong where servers answered, but none is as the DSN demands."""
    parameters = dsn.parameters
    if "match the target attribute requirement" in str(error):  # asyncpg's own class is lost under SQLAlchemy's
        wanted = parameters.get("target_session_attrs")
        return f"no host is {wanted}, as target_session_attrs asks for. A standby takes no writes: name the primary."
    if isinstance(error, SSLCertVerificationError):
        return f"{describe(error)}. Is it the server that was meant? If so, correct its host name or sslrootcert."
    if "rejected SSL upgrade" in str(error):
        return _without_tls("" if engine else parameters.get("sslmode", "prefer"))
    return None


def _without_tls(mode: str) -> str:
    """Return what is wrong where TLS was refused; the mode is empty for an engine of the caller's."""
    if not mode:
        return "the server has no TLS, and the engine asks for it; or it is no PostgreSQL."
    if mode == "prefer":  # a server without TLS would have been taken as it is
        return "what answers there is no PostgreSQL. Correct host and port."
    if mode == "allow":  # asyncpg has tried without TLS first, and doesn't keep the error of that
        text = "it refused a connection without TLS, and has no TLS to try instead; or it is no PostgreSQL."
        return f"{text} With sslmode=disable its reason is shown."
    return f"the server has no TLS, and sslmode={mode} asks for it. Switch it on there."

"""What the errors of drivers, servers and sockets mean: each SQLSTATE, each text of libpq's, each class."""

from socket import gaierror

import asyncpg
import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from service_migrations.errors import UsageError
from service_migrations.failures.driver_errors import (
    describe,
    error_chain,
    field,
    is_busy,
    is_lost,
    is_lost_connection,
    is_missing_table,
    is_of_the_session,
    is_plain,
    is_temporary,
    original_of,
    sqlstate,
    sqlstate_of_any,
    unmasked,
)

REFUSALS = {
    'FATAL:  password authentication failed for user "app"': "28P01",
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1"': "28000",
    "FATAL:  the database system is starting up": "57P03",
    "FATAL:  the database system is shutting down": "57P03",
    "FATAL:  sorry, too many clients already": "53300",
    'FATAL:  too many connections for role "app"': "53300",
    "FATAL:  remaining connection slots are reserved": "53300",
    'FATAL:  database "shop" is not currently accepting connections': "55000",
    'FATAL:  cannot connect to invalid database "shop"': "55000",
}
BUSY = ("57P03", "53300", "57P01", "57P02")


def error_of(state: str) -> asyncpg.PostgresError:
    """Return asyncpg's error of a SQLSTATE."""
    return asyncpg.PostgresError.new({"C": state, "M": "the message", "D": "Key (id)=(1)."})


def wrapped(error: Exception) -> DBAPIError:
    return DBAPIError("SELECT 1", None, error)


@pytest.mark.parametrize(("text", "state"), REFUSALS.items())
def test_what_libpq_only_has_as_a_text_has_its_state(text: str, state: str) -> None:
    refused = psycopg.OperationalError(f"connection failed: {text}")
    assert sqlstate(refused) == sqlstate(wrapped(refused)) == state
    assert is_lost_connection(refused) is (state in BUSY)
    assert sqlstate(psycopg.ProgrammingError(text)) is None
    assert sqlstate(type("OperationalError", (Exception,), {})(text)) is None


@pytest.mark.parametrize("state", [*BUSY, "57P05", "57014", "08006", "08P01", "55P03", "53200", "40001", "23505"])
def test_each_state_says_whether_another_attempt_and_a_connection_help(state: str) -> None:
    error = error_of(state)
    assert sqlstate(error) == sqlstate(wrapped(error)) == state
    assert is_busy(error) is is_busy(wrapped(error)) is (state in BUSY)
    assert is_temporary(state) is (state in (*BUSY, "57P05"))
    assert is_lost_connection(error) is (state in (*BUSY, "57P05") or state.startswith("08"))
    assert is_lost(error, state) is state.startswith("08")
    assert is_of_the_session(error) is (state != "23505")


def test_an_error_without_a_state_is_of_the_session_and_that_of_a_file_is_not() -> None:
    assert is_of_the_session(ConnectionResetError())
    assert is_of_the_session(error_of("58030"))
    assert not is_of_the_session(error_of("58P01"))
    assert not is_temporary(None)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        *((ConnectionResetError(), True), (BrokenPipeError(), True), (TimeoutError(), False), (OSError(), False)),
        *((psycopg.OperationalError("the connection is closed"), True), (psycopg.ProgrammingError("x"), False)),
        *((asyncpg.InternalClientError("x"), True), (asyncpg.InterfaceError("x"), False), (RuntimeError(), False)),
        (type("OperationalError", (Exception,), {})(), False),
        (type("InternalClientError", (Exception,), {})(), False),
    ],
)
def test_a_lost_connection_is_known_without_a_state(error: Exception, lost: bool) -> None:
    assert is_lost(error, None) is is_lost_connection(error) is lost


def test_sqlalchemy_says_that_a_connection_is_invalid() -> None:
    assert is_lost(DBAPIError("SELECT 1", None, ValueError("x"), connection_invalidated=True), None)
    assert not is_lost(DBAPIError("SELECT 1", None, ValueError("x")), None)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (error_of("23505"), "the message (Key (id)=(1))"),
        (wrapped(error_of("23505")), "the message (Key (id)=(1))"),
        (ValueError("no amount."), "ValueError: no amount"),
        (KeyError("amount"), "KeyError: 'amount'"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (NoSuchTableError("orders"), 'table "orders" does not exist'),
        (UsageError("do it.\nSo."), "do it"),
        (OSError("Multiple exceptions: [Errno 111] a, b"), "connection refused"),
        (OSError("[Errno 111] Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError(113, "Connect call failed ('10.0.0.1', 1)"), "no route to host"),
        (OSError("Multiple exceptions: [Errno 101] a, [Errno 111] b"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 101] a, [Errno 113] b"), "network is unreachable"),
        (
            gaierror(-2, "Name or service not known"),
            "the name of the host can't be resolved: Name or service not known",
        ),
        (
            ConnectionError("unexpected connection_lost() call"),
            "the connection was closed before the server answered",
        ),
        (ValueError("Connect call failed"), "ValueError: Connect call failed"),
        (FileNotFoundError(2, "No such file", "a"), "[Errno 2] No such file: 'a'"),
        (asyncpg.InternalClientError("got result for unknown protocol state"), "the server has ended the session"),
        (RuntimeError("<class 'asyncpg.exceptions.X'>: it failed"), "RuntimeError: it failed"),
        (RuntimeError("<class it"), "RuntimeError: <class it"),
    ],
)
def test_an_error_is_one_line(error: BaseException, text: str) -> None:
    assert describe(error) == text


def test_the_detail_of_a_cause_is_told_first() -> None:
    error = RuntimeError("it failed")
    error.__cause__ = error_of("23505")
    assert describe(error) == "RuntimeError: it failed (Key (id)=(1))"


def test_a_chain_has_causes_before_contexts_and_ends() -> None:
    first, second, third, other = (ValueError(number) for number in range(4))
    first.__cause__, first.__context__, second.__context__ = second, other, third
    third.__context__ = first
    assert error_chain(first) == [first, second, third]
    assert sqlstate_of_any(first) is None
    third.__context__ = error_of("23505")
    assert sqlstate_of_any(first) == "23505"


def test_a_variable_without_a_value_hides_what_came_before() -> None:
    unbound, error = UnboundLocalError("rows"), ValueError("it failed")
    assert unmasked(unbound) is unbound
    unbound.__context__ = error
    assert unmasked(unbound) is error
    error.__context__ = RuntimeError("before")
    assert unmasked(unbound) is error


def test_a_field_is_a_text_of_either_driver() -> None:
    assert field(error_of("23505"), "detail", "message_detail") == "Key (id)=(1)."
    assert field(psycopg.errors.UniqueViolation("x"), "detail", "message_detail") is None
    assert field(type("E", (Exception,), {"detail": 3})(), "detail", "message_detail") is None


def test_the_original_is_an_error() -> None:
    error = type("E", (Exception,), {"orig": "a text"})()
    assert original_of(error) is error


@pytest.mark.parametrize("module", ["alembic", "asyncpg", "psycopg", "service_migrations", "sqlalchemy"])
def test_the_class_of_a_drivers_error_says_nothing(module: str) -> None:
    assert not is_plain(type("E", (Exception,), {"__module__": f"{module}.exceptions"})())
    assert is_plain(type("E", (Exception,), {"__module__": f"{module}s"})())
    assert not is_plain(OSError())


def test_a_missing_table_is_sqlalchemys() -> None:
    assert is_missing_table(NoSuchTableError("t"))
    assert not is_missing_table(type("NoSuchTableError", (Exception,), {})("t"))
    assert not is_missing_table(DBAPIError("x", None, ValueError()))

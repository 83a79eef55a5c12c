"""The pytest plugin, with fixtures for migrated databases.

Pytest loads it in every repository that has this library, so it imports and starts nothing before its first use.

``postgres_server`` and ``migrated_database`` are the fixtures, ``--postgres`` the option, ``service_migrations_rows``
the setting of ``[tool.pytest.ini_options]``.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from service_migrations.postgres import Server
    from service_migrations.testing.templates import MigratedDatabase, Templates

__all__ = ["migrated_database", "postgres_server", "postgres_version"]


_UNREACHABLE = 69
"""The exit code where a PostgreSQL can't be provided, as of the tasks."""

_SAME_SCHEMA = "::test_every_revision_gives_the_same_schema_as_on_other_versions_of_postgresql"

pytest.register_assert_rewrite("service_migrations.testing.steps")

_FOLDER = Path(__file__).parent

_server = pytest.StashKey[str]()
_data = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option and the setting."""
    group = parser.getgroup("service-migrations", "databases of services (service_migrations.testing)")
    group.addoption(
        "--postgres",
        metavar="VERSION",
        help="The major version of the PostgreSQL that tests run on. What it needs is downloaded before the first "
        "test, and pytest exits with 69 where it can't be provided. Without the option: POSTGRES_VERSION, or else the "
        "newest of [tool.service-migrations] postgres.",
    )
    # as in history/matrix_rows.py; nothing of the library is imported before the tests are
    help_text = "folder of <service>.toml, with rows for the tables of a service"
    parser.addini("service_migrations_rows", help_text, default="tests/matrix/rows")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Provide the requested server first, once for all workers."""
    version = config.getoption("--postgres")
    if version is None or hasattr(config, "workerinput"):
        return
    from service_migrations.errors import MigrationError, UnreachableError
    from service_migrations.postgres.binaries import provide
    from service_migrations.postgres.throwaway import describe

    try:
        if describe(version)[0] != "ready":
            provide(version, _log)
    except UnreachableError as error:
        pytest.exit(str(error), _UNREACHABLE)
    except MigrationError as error:
        raise pytest.UsageError(str(error)) from None


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def postgres_version(config: pytest.Config) -> str:
    """Return the major version that the tests run on.

    Raises:
        MigrationError: no version is set, and the working directory is in no monorepo.

    """
    from service_migrations.testing.server import newest_version

    return str(config.getoption("--postgres") or os.environ.get("POSTGRES_VERSION") or newest_version())


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """Yield the PostgreSQL server of the run, which all workers share and which is removed afterwards.

    Where POSTGRES_<version>_DSN is set, its server is used and left running. ``admin`` is its superuser. Tests must not
    change roles, settings or the server itself, since all other tests would see that.
    """
    from service_migrations.errors import MigrationError
    from service_migrations.testing.databases import Databases
    from service_migrations.testing.event_loop import wait
    from service_migrations.testing.server import shared_server

    config, base_folder = request.config, tmp_path_factory.getbasetemp()
    with ExitStack() as exit_stack:
        try:
            version = postgres_version(config)
            folder = (base_folder.parent if hasattr(config, "workerinput") else base_folder) / f"postgres-{version}"
            server = exit_stack.enter_context(shared_server(version, folder))
            if server.data is None:  # somebody's own
                wait(Databases(server).refuse_another_version)
        except MigrationError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None  # or pytest would show both
        output = {
            "postgres_server": f"PostgreSQL {server.version} ({server.source})",
            "postgres_data": str(server.data or ""),
        }
        _remember(config, output)
        if hasattr(config, "workeroutput"):
            config.workeroutput |= output
        yield server


@pytest.fixture(scope="session")
def _templates(postgres_server: "Server") -> Iterator["Templates"]:
    from service_migrations.testing.templates import Templates

    templates = Templates(postgres_server)
    yield templates
    templates.close()


@pytest.fixture
def migrated_database(_templates: "Templates") -> Iterator[Callable[[str], "MigratedDatabase"]]:
    """Create databases at head for this test alone: ``migrated_database("billing").dsn``.

    Services that share a database, by their ``.env.example``, share one in a test too, each with its own role.
    """
    from service_migrations.errors import MigrationError
    from service_migrations.testing.templates import Clones

    clones = Clones(_templates)
    yield clones.get
    try:
        clones.drop()
    except MigrationError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show an error of the library in a test of every history as its line."""
    exception_info = call.excinfo
    if exception_info is None or item.path.parent != _FOLDER:
        return (yield)
    from service_migrations.errors import MigrationError
    from service_migrations.testing import reporting

    error, shorter = exception_info.value, None
    if not reporting.shows_all(item.config):
        shorter = reporting.in_short(error, exception_info.tb)
    if shorter is not None:
        call.excinfo = pytest.ExceptionInfo.from_exception(shorter)
    try:
        report = yield
    finally:
        call.excinfo = exception_info  # for a debugger
    if isinstance(error, MigrationError):
        report.user_properties.append((reporting.FAILURE, reporting.line_of(error)))
        callspec = getattr(item, "callspec", None)
        service = callspec.params.get("service") if callspec else None
        if shorter is not None and (own := reporting.own_traceback(error, service)):
            report.sections.append(("the revision's own code", own))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Remember the server of a worker: only the controller writes to the terminal."""
    _remember(node.config, getattr(node, "workeroutput", {}))


def _remember(config: pytest.Config, output: dict[str, str]) -> None:
    if "postgres_server" in output:
        config.stash[_server] = output["postgres_server"]
        if output["postgres_data"]:
            config.stash[_data] = Path(output["postgres_data"])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the server that the tests ran on, and the versions whose schemas were compared."""
    if _server in config.stash:
        terminalreporter.write_line(config.stash[_server])
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    if any(_SAME_SCHEMA in report.nodeid for report in reports):
        from service_migrations.testing.records import COMPARED

        versions = {value for report in reports for name, value in report.user_properties if name == COMPARED}
        shown_versions = ", ".join(sorted(versions, key=int)) or "none"
        terminalreporter.write_line(f"schemas compared with those of PostgreSQL: {shown_versions}")
    failed = [report for outcome in ("failed", "error") for report in terminalreporter.getreports(outcome)]
    properties = [each for report in failed for each in getattr(report, "user_properties", ())]
    if properties:
        from service_migrations.testing.reporting import FAILURE

        # pytest cuts its own line of a failed test at the width of the terminal, and the names of these tests are long
        lines = Counter(value for name, value in properties if name == FAILURE)
        for line, count in lines.items():
            terminalreporter.write_line(f"{line} ({count} test{'' if count == 1 else 's'})")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Wait for the end of the server, which stops after its last user."""
    if _data in config.stash and not hasattr(config, "workerinput"):
        from service_migrations.testing.server import wait_until_gone

        wait_until_gone(config.stash[_data])

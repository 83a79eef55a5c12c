"""Fixtures: a real server, databases of a test's own on it, and a small monorepo."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service_migrations.errors import MigrationError
from service_migrations.postgres import VERSIONS, Server, throwaway
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.sources import KEYS
from tests.support.database import make_database, query
from tests.support.monorepo import Monorepo
from tests.support.shared_server import UNREACHABLE, SharedServer, awaited, make_sure

_seen = pytest.StashKey[str]()
_shared = pytest.StashKey[SharedServer]()
_VERSION = os.environ.get("POSTGRES_VERSION", VERSIONS[-1])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        choices=("own", "shared"),
        help="make sure of a server before anything else, and exit with 69 where there can't be one: of each worker's "
        "own, which it starts when a test needs it, or one that they share and that starts at once",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--server") is None or hasattr(config, "workerinput"):
        return
    try:
        make_sure(_VERSION)
    except MigrationError as error:
        pytest.exit(str(error), UNREACHABLE)
    if config.getoption("--server") == "shared":
        config.stash[_shared] = SharedServer(
            # in pytest's own folder, of which nobody expects that it is removed
            _VERSION,
            config._tmp_path_factory.getbasetemp() / "server.json",
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    if _shared in config.stash:
        config.stash[_shared].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where it is going to find the server."""
    if _shared in node.config.stash:
        node.workerinput["server"] = str(node.config.stash[_shared].place)


def _provided(config: pytest.Config) -> AbstractContextManager[Server]:
    if _shared in config.stash:
        return nullcontext(awaited(config.stash[_shared].place))
    if "server" in getattr(config, "workerinput", {}):
        return nullcontext(awaited(Path(config.workerinput["server"])))
    return throwaway(_VERSION)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A throw-away server of POSTGRES_VERSION, by default the newest; it is gone after the tests."""
    with _provided(request.config) as provided:
        version = query(provided.admin, "SHOW server_version")[0][0]
        assert version.split(".")[0] == provided.version
        _remember(request.config, f"server_version {version} ({provided.source})")
        yield provided


def _remember(config: pytest.Config, server: str) -> None:
    config.stash[_seen] = server
    if hasattr(config, "workeroutput"):
        config.workeroutput["server"] = server


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over from a worker which server it ran on: only the controller writes to the terminal."""
    server = getattr(node, "workeroutput", {}).get("server")
    if server:
        node.config.stash[_seen] = server


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which server the tests ran on."""
    if _seen in config.stash:
        terminalreporter.write_line(config.stash[_seen])


@pytest.fixture
def database(server: Server) -> Callable[..., Dsn]:
    """Make databases on the server: ``make_database`` with its other arguments."""
    return partial(make_database, server)


@pytest.fixture
def monorepo(tmp_path: Path) -> Iterator[Monorepo]:
    """A small monorepo of the test's own, whose services can also be imported in this process.

    The package ``services`` has the same name in every monorepo, so what is loaded of it is set aside meanwhile.
    """
    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_of_a_monorepo(name)}
    path = list(sys.path)
    yield Monorepo.make(tmp_path / "repo")
    sys.path[:] = path
    for name in [name for name in sys.modules if _is_of_a_monorepo(name)]:
        del sys.modules[name]
    sys.modules.update(aside)


def _is_of_a_monorepo(module: str) -> bool:
    return module.partition(".")[0] in ("services", "shared_models")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(tuple(KEYS)) or name.startswith("PG"):
            monkeypatch.delenv(name)

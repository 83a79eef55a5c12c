"""Fixtures: a real server, databases of a test's own on it, and a small monorepo."""

import gc
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from service_migrations.postgres import Server, throwaway
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.keys import KEYS
from tests.support import forked
from tests.support.database import drop_databases, make_database, query
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.version import VERSION

# a busy machine takes its time, which says nothing of what is tested
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

_seen = pytest.StashKey[str]()
_running = pytest.StashKey[Server]()
_numbers = itertools.count()
_FIRST_WITH_ITERATIONS = 16
"""The first PostgreSQL that has ``scram_iterations``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option by which several PostgreSQL share the tests."""
    parser.addoption("--part", metavar="K/N", help="run the K-th of N parts of the tests, by their names")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the option of the pytest plugin where it names another version than the one that these tests read."""
    if config.getoption("--postgres") not in (None, VERSION):
        raise pytest.UsageError("these tests read POSTGRES_VERSION: set that instead of --postgres")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is in another part."""
    if option := config.getoption("--part"):
        part, parts = map(int, option.split("/"))
        left_out = [item for item in items if crc32(item.nodeid.encode()) % parts != part - 1]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_collection_finish() -> None:
    """Leave what is there before the first test, such as thousands of tests, out of each garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A directory whose path no earlier test of this process had.

    pytest removes the directory of a test that passed, and gives its name to the next test with the same beginning; the
    library remembers by its path what it has loaded, and of what it has warned.
    """
    path = tmp_path / str(next(_numbers))
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A throw-away server of POSTGRES_VERSION, by default the newest; it is gone after the tests."""
    # autovacuum would start some workers each second, as there are hundreds of databases; of 4,096 iterations, each
    # connection would count the hashes anew: 2 ms
    hashes_once = {"scram_iterations": "1"} if int(VERSION) >= _FIRST_WITH_ITERATIONS else {}
    with throwaway(VERSION, settings={"autovacuum": "off", **hashes_once}) as provided:
        if hashes_once and provided.data:  # it is no server of somebody's
            query(provided.admin, f"ALTER ROLE {provided.admin.user} PASSWORD '{provided.admin.password}'")
        version = query(provided.admin, "SHOW server_version")[0][0]
        assert version.split(".")[0] == provided.version
        # the first connection writes a cache of the catalog, which each copy has then: 10 ms for each database
        query(replace(provided.admin, database="template1"), "SELECT")
        _remember(request.config, f"server_version {version} ({provided.source})")
        forked.start(dsn_text(make_database(provided, creates=True, keep=True)))
        request.config.stash[_running] = provided
        yield provided


@pytest.fixture(scope="module", autouse=True)
def _no_databases_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Drop the databases of a module behind it, if it had any."""
    yield
    if _running in request.config.stash:
        drop_databases(request.config.stash[_running])


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


@pytest.fixture(scope="module")
def preparing(server: Server) -> Iterator[Server]:
    """A server that knows prepared transactions."""
    with throwaway(server.version, settings={"max_prepared_transactions": "2"}) as own:
        yield own

"""The import rule: everything points one way, services are reached by name only, and the library stays silent."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from service_migrations.monorepo import discover
from tests.monorepo import ROOT

ORDER = [
    *(
        "errors",
        "discovery",
        "fingerprint",
        "entries",
        "duration",
        "tls",
        "dsn",
        "uri",
        "examples",
        "envfile",
        "credentials",
        "settings",
        "sqlstate",
        "attempts",
        "pooler",
        "scram",
    ),
    *(
        "startup",
        "outcome",
        "bindings",
        "headers",
        "imports",
        "declared",
        "room",
        "scan",
        "worker",
        "crew",
        "schedule",
        "affected",
        "shard",
    ),
    *("protocol", "connection", "access", "sharing", "locks", "contention", "applied", "aftermath", "catalog"),
    *("changes", "shapes", "enums", "sqltext", "blueprint", "glance", "foreign_keys", "twin", "pairs", "columns"),
    *("parts", "drafts", "sides", "tables", "obstacles", "autogenerate"),
    *("models", "metadata", "claims", "references", "clauses", "made", "ownership", "options", "offline", "env"),
    *(
        "revisions",
        "headfile",
        "parent",
        "branches",
        "commits",
        "session",
        "scope",
        "classes",
        "rendering",
        "histories",
        "survey",
        "hygiene",
        "attribution",
        "holdings",
        "squawk",
        "review",
        "planning",
        "guard",
    ),
    *("findings", "preflight", "provenance", "logbook", "ledger", "edited", "waiting", "doctor"),
    *(
        "applier",
        "targets",
        "commands",
        "checking",
        "authoring",
        "rebasing",
        "passthrough",
        "rollout",
        "fleet",
        "database",
        "safe",
    ),
    *(
        "postgres.account",
        "postgres.filelock",
        "postgres.binaries",
        "postgres.ports",
        "postgres.postmaster",
        "postgres.cluster",
        "postgres.supervisor",
        "postgres.throwaway",
    ),
    *("postgres", "local"),
    *(
        "mending.line",
        "mending.change",
        "mending.definition",
        "mending.create",
        "mending.columns",
        "mending.parts",
        "mending.privileges",
    ),
    *("mending.wholes", "mending", "comparison", "scratch", "playground", "replay", "drifting", ""),
    *("cli", "cli.streams", "cli.words", "cli.console", "cli.annotations", "cli.board", "cli.task", "cli.each"),
    *("cli.limits", "cli.affected"),
    *(
        "cli.upgrade",
        "cli.apply",
        "cli.author",
        "cli.check",
        "cli.databases",
        "cli.drift",
        "cli.inspect",
        "cli.plan",
        "cli.operate",
        "cli.owners",
        "cli.servers",
        "cli.stack",
    ),
    "tasks",
]
"""Every module of ours below ``migrations``, then tasks.py; each imports only those before it. "" is ``__init__``."""

OUTPUT = {"print", "basicConfig", "fileConfig", "dictConfig", "exit", "quit", "_exit", "input"}
"""Calls that belong to a command line; an application that upgrades itself wants none of them."""


def files() -> dict[str, Path]:
    found = {}
    for path in (ROOT / "migrations").rglob("*.py"):
        parts = path.relative_to(ROOT / "migrations").with_suffix("").parts
        if parts[0] != "versions":
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found | {"tasks": ROOT / "tasks.py"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(root: ast.AST) -> Iterator[str]:
    """Yield the dotted name of all that is imported anywhere below a node, also inside a function."""
    for node in ast.walk(root):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def ours(name: str) -> str | None:
    """Return the module of ORDER that an imported name belongs to."""
    package, _, rest = name.partition(".")
    if package != "migrations":
        return None
    while rest and rest not in ORDER:
        rest = rest.rpartition(".")[0]
    return rest


def calls(root: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(root):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


LIBRARY = [name for name in ORDER if name.partition(".")[0] not in ("cli", "tasks")]


def test_every_module_has_its_place_in_the_order() -> None:
    assert set(files()) == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("name", ORDER, ids=lambda name: name or "__init__")
def test_a_module_imports_only_what_stands_before_it(name: str) -> None:
    imported = {found for found in map(ours, imports(tree(files()[name]))) if found is not None} - {name}
    assert imported <= set(ORDER[: ORDER.index(name)]), f"{name or '__init__'} imports what comes after it"


def test_the_order_is_of_modules_that_do_import_each_other() -> None:
    """The rule can't hold just because no import was found."""
    found = {name: set(map(ours, imports(tree(path)))) for name, path in files().items()}
    assert {"discovery", "errors", "envfile"} <= found["settings"]
    assert {"session", "access", "applier", "revisions"} <= found["commands"]
    assert {"commands", "cli.task"} <= found["cli.apply"]
    assert {"cli.apply", "cli.stack"} <= found["tasks"]


def test_no_module_of_the_library_imports_a_service() -> None:
    for name, path in files().items():
        foreign = {found for found in imports(tree(path)) if found.partition(".")[0] in ("services", "shared_models")}
        assert not foreign, f"{name} imports {foreign}"


def test_services_are_reached_by_import_module_in_one_place_only() -> None:
    users = {
        name
        for name, path in files().items()
        for call, _ in calls(tree(path))
        if call in ("import_module", "__import__", "run_path", "run_module", "spec_from_file_location")
    }
    assert users == {"models", ""}
    lazy = [call for name, call in calls(tree(files()[""])) if name == "import_module"]
    assert [ast.unparse(call) for call in lazy] == ["import_module(f'migrations.{module}')"]


@pytest.mark.parametrize("name", LIBRARY, ids=lambda name: name or "__init__")
def test_the_library_never_prints_configures_logging_or_exits(name: str) -> None:
    root = tree(files()[name])
    assert not {call for call, _ in calls(root)} & OUTPUT
    raised = {ast.unparse(node.exc) for node in ast.walk(root) if isinstance(node, ast.Raise) and node.exc}
    assert not [one for one in raised if one.startswith(("SystemExit", "KeyboardInterrupt"))]
    assert not {"addHandler", "setLevel", "captureWarnings"} & {call for call, _ in calls(root)}


@pytest.mark.parametrize("name", ORDER, ids=lambda name: name or "__init__")
def test_no_module_writes_to_the_environment_of_the_process(name: str) -> None:
    for node in ast.walk(tree(files()[name])):
        text = ast.unparse(node) if isinstance(node, ast.Call | ast.Assign | ast.Delete | ast.AugAssign) else ""
        assert not text.startswith(("os.environ[", "os.environ |=", "del os.environ", "os.putenv", "os.unsetenv"))
        assert not text.startswith(tuple(f"os.environ.{verb}(" for verb in ("update", "setdefault", "pop", "clear")))
        assert "load_dotenv(" not in text


def test_only_two_modules_of_the_library_call_alembics_commands() -> None:
    users = {name for name, path in files().items() if "alembic.command" in imports(tree(path))}
    assert users == {"commands", "checking", "authoring"}


def test_tasks_import_neither_alembic_nor_a_driver_at_the_top() -> None:
    for name in ("tasks", *(one for one in ORDER if one.startswith("cli"))):
        top = ast.Module([node for node in tree(files()[name]).body if not isinstance(node, ast.FunctionDef)], [])
        heavy = {found.partition(".")[0] for found in imports(top)} & {"alembic", "sqlalchemy", "asyncpg", "rich"}
        assert not heavy, f"{name} imports {heavy}"


def test_the_noxfile_imports_nothing_of_ours_at_the_top() -> None:
    top = [node for node in tree(ROOT / "noxfile.py").body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {name.partition(".")[0] for node in top for name in imports(node)}
    assert "nox" in found
    assert not found & {"migrations", "services", "shared_models", "tasks", "tests"}


def test_a_service_imports_neither_another_service_nor_the_library() -> None:
    services = discover()
    assert len(services) >= 4
    for service in services:
        paths = list(service.path.rglob("*.py"))
        assert paths
        for path in paths:
            for name in imports(tree(path)):
                assert not name.startswith("services.") or name.startswith(f"services.{service.name}."), (path, name)
            top = [node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
            assert not {"migrations"} & {name.partition(".")[0] for node in top for name in imports(node)}


def test_what_services_share_imports_neither_a_service_nor_the_library() -> None:
    paths = list((ROOT / "shared_models").rglob("*.py"))
    assert paths
    for path in paths:
        assert not {"migrations", "services"} & {name.partition(".")[0] for name in imports(tree(path))}

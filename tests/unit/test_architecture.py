"""The import rule: everything points one way, services are reached by name only, and the library stays silent."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from service_migrations.monorepo import discover
from tests.support.monorepo import ROOT

OUTPUT = {"print", "basicConfig", "fileConfig", "dictConfig", "exit", "quit", "_exit", "input"}
"""Calls that belong to a command line; an application that upgrades itself wants none of them."""
EMPTY_NAMES = {"found", "heard", "it", "one", "said", "stuff", "thing", "told", "way", "what"}
"""Names of variables that don't say what is in them."""


@cache
def files() -> dict[str, Path]:
    found = {}
    paths = (ROOT / "service_migrations").rglob("*.py")
    for path in (path for path in paths if path.parent.name != "templates"):  # those are files of another repository
        parts = path.relative_to(ROOT / "service_migrations").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


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


def calls(root: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(root):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


EVERY = sorted(files())
LIBRARY = [name for name in EVERY if name.partition(".")[0] not in ("__main__", "tasks", "testing", "nox")]


def test_a_room_has_at_most_fifteen_modules() -> None:
    rooms = Counter(path.parent for path in files().values() if path.name != "__init__.py")
    library = ROOT / "service_migrations"
    for exempt in (library, library / "tasks"):  # modules below the rooms, and one for each group of tasks
        assert rooms.pop(exempt) > 15, "no exemption is needed"
    assert {room.relative_to(library).as_posix(): count for room, count in rooms.items() if count > 15} == {}


@pytest.mark.parametrize("name", EVERY, ids=lambda name: name or "__init__")
def test_a_variable_is_named_after_what_it_holds(name: str) -> None:
    nodes = list(ast.walk(tree(files()[name])))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert not (names | {node.arg for node in nodes if isinstance(node, ast.arg)}) & EMPTY_NAMES


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
    # the probe is a program of its own, in the interpreter of other code; of drivers two are imported by their names
    assert users == {"compat.probe", "models.importing", "side_effects", ""}
    lazy = [call for name, call in calls(tree(files()[""])) if name == "import_module"]
    assert [ast.unparse(call) for call in lazy] == ["import_module(_MODULES[name])"]


@pytest.mark.parametrize("name", LIBRARY, ids=lambda name: name or "__init__")
def test_the_library_never_prints_configures_logging_or_exits(name: str) -> None:
    root = tree(files()[name])
    assert not {call for call, _ in calls(root)} & OUTPUT
    raised = {ast.unparse(node.exc) for node in ast.walk(root) if isinstance(node, ast.Raise) and node.exc}
    assert not [one for one in raised if one.startswith(("SystemExit", "KeyboardInterrupt"))]
    puts_back = {"setLevel"} if name == "own_logging" else set()
    called = {call for call, _ in calls(root)} - puts_back
    assert not {"addHandler", "setLevel", "captureWarnings"} & called


@pytest.mark.parametrize(
    "name", [module for module in EVERY if module != "process_state"], ids=lambda name: name or "__init__"
)
def test_no_module_writes_to_the_environment_of_the_process(name: str) -> None:
    for node in ast.walk(tree(files()[name])):
        match node:
            case ast.Assign(targets=written) | ast.Delete(targets=written):
                pass
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.Call(func=target):
                written = [target]
            case _:
                continue
        for text in map(ast.unparse, written):
            assert not text.startswith("os.environ["), ast.unparse(node)
            assert text != "os.environ", ast.unparse(node)
            assert text not in {f"os.environ.{verb}" for verb in ("update", "setdefault", "pop", "popitem", "clear")}
            assert text not in ("os.putenv", "os.unsetenv")
            assert text.rpartition(".")[2] != "load_dotenv"


def test_only_two_modules_of_the_library_call_alembics_commands() -> None:
    users = {name for name, path in files().items() if "alembic.command" in imports(tree(path))}
    assert users == {"upgrade.commands", "authoring.revision"}


def test_tasks_import_neither_alembic_nor_a_driver_at_the_top() -> None:
    for name in [module for module in EVERY if module.partition(".")[0] == "tasks"]:
        top = ast.Module([node for node in tree(files()[name]).body if not isinstance(node, ast.FunctionDef)], [])
        heavy = {found.partition(".")[0] for found in imports(top)} & {"alembic", "sqlalchemy", "asyncpg", "rich"}
        assert not heavy, f"{name} imports {heavy}"


def test_the_noxfile_imports_of_ours_what_another_noxfile_imports() -> None:
    top = [node for node in tree(ROOT / "noxfile.py").body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {name for node in top for name in imports(node)}
    assert "nox" in found
    ours = {"service_migrations", "services", "shared_models", "tasks", "tests"}
    assert {name.rpartition(".")[0] for name in found if name.partition(".")[0] in ours} == {"service_migrations.nox"}


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
            assert not {"service_migrations"} & {name.partition(".")[0] for node in top for name in imports(node)}


def test_what_services_share_imports_neither_a_service_nor_the_library() -> None:
    paths = list((ROOT / "shared_models").rglob("*.py"))
    assert paths
    for path in paths:
        assert not {"service_migrations", "services"} & {name.partition(".")[0] for name in imports(tree(path))}

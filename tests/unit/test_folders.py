"""The folders of the tests: helpers are in tests/support, and no test is imported by another."""

import ast
from pathlib import Path

import pytest

from tests.support.monorepo import ROOT

FILES = sorted(ROOT.glob("tests/**/*.py"))


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, with the names that it takes from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {"." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT / "tests").as_posix())
def test_a_file_of_the_tests_imports_helpers_from_support_only(path: Path) -> None:
    ours = {name for name in imported(path) if name.startswith((".", "tests.", "conftest"))}
    assert {name for name in ours if not name.startswith("tests.support.")} == set()


def test_there_is_no_test_outside_the_folders() -> None:
    assert {path.name for path in ROOT.glob("tests/*.py")} == {"conftest.py"}
    assert not list(ROOT.glob("tests/support/**/test_*.py"))

"""What `nox -s mutants` names is there."""

from itertools import chain
from pathlib import Path

import pytest

from tests.support.mutants import ROOMS, mutants

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", ROOMS)
def test_each_module_has_mutants_and_each_of_its_tests_is_there(module: str) -> None:
    text = (ROOT / "service_migrations" / module).read_text(encoding="utf-8")
    assert next(mutants(module, text), None)
    assert [path for path in chain(*ROOMS[module]) if not (ROOT / path).exists()] == []

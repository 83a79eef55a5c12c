"""What `nox -s mutants` names is there."""

from ast import literal_eval
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


def test_a_member_less_leaves_a_list_what_it_is() -> None:
    """Of two members, one without a comma would be a text, in which `in` looks for a part."""
    kept = []
    for text in ("x = ('a', 'b')", "x = 'a', 'b'", "x = ('a', 'b', 'c')", "x = ['a', 'b']", "x = {'a', 'b'}"):
        for mutant in mutants("a.py", text):
            changed = text[: mutant.start] + mutant.text + text[mutant.end :]
            old, value = (literal_eval(one.partition("=")[2].strip()) for one in (text, changed))
            assert type(value) is type(old)
            kept.append("".join(sorted(value)))
    assert kept == ["b", "a"] * 2 + ["bc", "ac", "ab"] + ["b", "a"] * 2

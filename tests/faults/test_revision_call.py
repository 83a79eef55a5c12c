"""A revision that ends or doubles the process that runs it."""

import re

import pytest

from tests.support.database import query
from tests.support.world import World, failed

FORKS = """
import os, sys
child = os.fork()
if child == 0:
    {body}
    return
_, status = os.waitpid(child, 0)
op.execute(f"CREATE TABLE child_{{os.waitstatus_to_exitcode(status)}} (id int)")
"""

CHILDREN = {
    "returns": ("pass", 0),
    "exits": ("sys.exit(3)", 3),
    "exits without a number": ("sys.exit()", 0),
    "exits with a text": ("sys.exit('enough')", 1),
    "raises": ("raise ValueError('of the child')", 1),
    "ends at once": ("os._exit(4)", 4),
    "is replaced": ("os.execv('/bin/false', ['false'])", 1),
    "is replaced by another of the path": ("os.execlp('sh', 'sh', '-c', 'exit 6')", 6),
}


@pytest.fixture(params=["alone", "fleet"])
def fleet(request: pytest.FixtureRequest, world: World) -> bool:
    if request.param == "fleet":
        world.monorepo.service("catalog", dsn=world.dsn)
    return bool(request.param == "fleet")


def command(fleet: bool) -> tuple[str, ...]:
    return ("db.upgrade",) if fleet else ("db.upgrade", "--service", "billing")


EXITS = {
    "exit": ("import os\nos._exit(0)", r"os\._exit\(0\) would end the run without a word"),
    "exit with a code": ("import os\nos._exit(status=5)", r"os\._exit\(5\) would end the run without a word"),
    "exit by name": ("leave(0)", r"os\._exit\(0\) would end the run without a word"),
    **{
        f"exec{how}": (f"import os\nos.exec{how}({arguments})", "os.exec puts another program in the place of the run")
        for how, arguments in {
            "v": "'/bin/true', ['true']",
            "ve": "'/bin/true', ['true'], {}",
            "vp": "'true', ['true']",
            "lp": "'true', 'true'",
            "le": "'/bin/true', 'true', {}",
        }.items()
    },
    "exec by name": ("execv('/bin/true', ['true'])", "os.exec puts another program in the place of the run"),
}


@pytest.mark.parametrize(("body", "said"), EXITS.values(), ids=EXITS)
def test_a_revision_that_would_end_the_process_fails_instead(world: World, fleet: bool, body: str, said: str) -> None:
    world.history(r003=body)
    file = world.monorepo.root / "migrations/versions/billing/r003.py"
    imports = "from os import _exit as leave, execv\n" if "import os" not in body else ""
    file.write_text(imports + file.read_text(encoding="utf-8"), encoding="utf-8")
    text = failed(world, world.inv(*command(fleet)), 1)
    assert "r003.py:" in text
    assert re.search(said, text)
    assert world.at() == "r002"


@pytest.mark.parametrize(("body", "status"), CHILDREN.values(), ids=CHILDREN)
def test_a_process_that_a_revision_forks_ends_with_it(world: World, fleet: bool, body: str, status: int) -> None:
    world.history(4, r003=FORKS.format(body=body))
    ran = world.inv(*command(fleet))
    assert ran.code == 0, ran.text
    assert world.at() == "r004"
    assert query(world.admin, "SELECT to_regclass($1)::text", f"child_{status}") == [(f"child_{status}",)]
    assert ran.text.count("Running upgrade r003 -> r004") + ran.text.count("billing: 4 of 4, r004") == 1
    assert ("of the child" in ran.text) is ("of the child" in body)

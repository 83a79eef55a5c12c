"""A revision that ends or doubles the process that runs it."""

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
}


@pytest.fixture(params=["alone", "fleet"])
def fleet(request: pytest.FixtureRequest, world: World) -> bool:
    if request.param == "fleet":
        world.monorepo.service("catalog", dsn=world.dsn)
    return bool(request.param == "fleet")


def command(fleet: bool) -> tuple[str, ...]:
    return ("db.upgrade",) if fleet else ("db.upgrade", "--service", "billing")


@pytest.mark.parametrize("status", [0, 5])
def test_a_revision_that_would_end_the_process_fails_instead(world: World, fleet: bool, status: int) -> None:
    world.history(r003=f"import os\nos._exit({status})")
    said = failed(world, world.inv(*command(fleet)), 1)
    assert "r003.py:" in said
    assert f"os._exit({status}) would end the run without a word." in said
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

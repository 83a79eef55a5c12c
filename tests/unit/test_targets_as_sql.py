"""A target of SQL for another tool: what leads nowhere is refused instead of an empty script."""

import pytest

import service_migrations
from service_migrations.errors import UsageError
from tests.support.database import wait
from tests.support.monorepo import Monorepo

TARGETS = {
    "-1": "'-1' leads to no revision",
    "+0": r"'\+0' leads to no revision",
    "+9": "leads to no revision",
    "head-1": "'head-1' leads to no revision",
    "head+1": "'head\\+1' leads to no revision",
    "one:base": "base isn't ahead of one. `inv db.downgrade --service billing --sql --revision one:base` leads back",
    "head:base": "base isn't ahead of head",
    ":head": "'' leads to no revision",  # an empty variable of a pipeline before the colon
    "one:": "'' leads to no revision",
    "-1:head": "'-1' is counted from another revision, and the start of a range takes one by its id",
    "+1:head": r"'\+1' is counted from another revision",
    "one+1:head": r"'one\+1' is counted from another revision",
}

DOWNGRADES = {key: value for key, value in TARGETS.items() if ":" in key and key.endswith(("head", ":"))}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_leads_nowhere_is_wrong_use(monorepo: Monorepo, target: str) -> None:
    monorepo.revision("billing", "one", None, 'op.execute("SELECT 1")')
    service = monorepo.service("billing")
    with pytest.raises(UsageError, match=TARGETS[target]):
        wait(service_migrations.sql(service, target))


@pytest.mark.parametrize("target", DOWNGRADES)
def test_a_downgrade_from_nowhere_is_wrong_use(monorepo: Monorepo, target: str) -> None:
    monorepo.revision("billing", "one", None, 'op.execute("SELECT 1")')
    service = monorepo.service("billing")
    with pytest.raises(UsageError, match=DOWNGRADES[target]):
        wait(service_migrations.sql(service, target, down=True))


@pytest.mark.parametrize("target", ["head:head", "one:head", "base:base"])
def test_the_revision_that_is_there_needs_nothing(monorepo: Monorepo, target: str) -> None:
    monorepo.revision("billing", "one", None, 'op.execute("SELECT 1")')
    assert wait(service_migrations.sql(monorepo.service("billing"), target)).strip() == ""


@pytest.mark.parametrize(("target", "pieces"), [("head", 2), ("+1", 1), ("two", 2), ("one:+1", 1), ("head-1", 1)])
def test_a_target_that_leads_somewhere_is_written(monorepo: Monorepo, target: str, pieces: int) -> None:
    monorepo.revision("billing", "one", None, 'op.execute("SELECT 1 AS mark")')
    monorepo.revision("billing", "two", "one", 'op.execute("SELECT 2 AS mark")')
    assert wait(service_migrations.sql(monorepo.service("billing"), target)).count("AS mark") == pieces

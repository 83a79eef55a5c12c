"""A target that can't be reached: the message names it, and says why in words of ours."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import wait
from tests.support.monorepo import Monorepo

ABSENT = "is no revision that the database has, so a downgrade doesn't lead there"
SEVERAL = "leads to several revisions, since the history branches on the way"
NONE = "leads to no revision"


@pytest.fixture
def service(monorepo: Monorepo, database: Callable[..., Dsn]) -> Service:
    """A service whose history branches behind a1 and is merged in d1."""
    monorepo.revision("billing", "a1", None)
    monorepo.revision("billing", "b1", "a1")
    monorepo.revision("billing", "c1", "a1")
    merge = monorepo.revision("billing", "d1", None)
    merge.write_text(merge.read_text().replace("down_revision = None", 'down_revision = ("b1", "c1")'))
    return monorepo.service("billing", dsn=database())


@pytest.mark.parametrize(
    ("at", "target", "reason"),
    [
        (None, "d1", ABSENT),
        ("a1", "d1", ABSENT),
        ("b1", "c1", ABSENT),
        ("a1", "+1", NONE),
        ("a1", "-2", NONE),
        ("d1", "-1", SEVERAL),
        ("d1", "d1-1", SEVERAL),
    ],
)
def test_a_downgrade_says_why_its_target_cannot_be_reached(
    service: Service, at: str | None, target: str, reason: str
) -> None:
    if at:
        wait(service_migrations.upgrade(service, at))
    with pytest.raises(UsageError) as caught:
        wait(service_migrations.downgrade(service, target))
    assert f"billing: {target!r} {reason}. `inv db.history" in str(caught.value)


@pytest.mark.parametrize(
    ("at", "target", "reason"),
    [("a1", "+1", SEVERAL), ("a1", "a1+1", SEVERAL), ("b1", "+9", NONE), ("d1", "+1", NONE)],
)
def test_an_upgrade_says_why_its_target_cannot_be_reached(service: Service, at: str, target: str, reason: str) -> None:
    wait(service_migrations.upgrade(service, at))
    with pytest.raises(UsageError) as caught:
        wait(service_migrations.upgrade(service, target))
    assert f"billing: {target!r} {reason}. `inv db.history" in str(caught.value)

"""Upgrades and checks of what changed only, or of this machine's part only."""

import os
import re
from collections.abc import Callable

import pytest

from service_migrations.monorepo import discover
from service_migrations.rollout.shard import Shard
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load_many
from tests.support.database import query
from tests.support.git import NAMES, append, git, three_services
from tests.support.monorepo import MODELS, Monorepo, dsn_text


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    return three_services(monorepo)


def test_an_upgrade_takes_only_the_services_that_are_affected(repo, database):
    dsns = {name: database() for name in NAMES}
    for name, dsn in dsns.items():
        repo.service(name, ("import helpers.near\n" if name == "beta" else "") + MODELS.format(table=name), dsn=dsn)
    append(repo, "services/gamma/models.py")
    ran = repo.inv("db.upgrade", "--affected", "--base", "main")
    assert ran.code == 0, ran.text
    there = {name: query(dsn, "SELECT to_regclass($1)", name)[0][0] is not None for name, dsn in dsns.items()}
    assert there == {"alpha": False, "beta": False, "gamma": True}
    git(repo, "checkout", "--", ".")
    ran = repo.inv("db.upgrade", "--affected", "--base", "main")
    assert (ran.code, ran.out) == (0, "nothing to do: no service is left to upgrade\n")


def test_the_shards_together_upgrade_all(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsns = {name: database() for name in NAMES}
    for name, dsn in dsns.items():
        monorepo.service(name, dsn=dsn)
        monorepo.table_revision(name, "r1", None)
    seen: list[str] = []
    for index in range(2):
        ran = monorepo.inv("db.upgrade", "--shard", "/2", env={**os.environ, "JOB_COMPLETION_INDEX": str(index)})
        assert ran.code == 0, ran.text
        seen += re.findall(r"^(\w+): .* went from base to r1", ran.out, re.MULTILINE)
    assert sorted(seen) == NAMES


def test_a_canary_that_another_machine_upgrades_keeps_nobody_waiting(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    for name in NAMES:
        monorepo.service(name, dsn=database())
        monorepo.table_revision(name, "r1", None)
    services = discover(monorepo.root)
    loaded = list(zip(services, load_many(services), strict=True))
    for count in range(2, 50):  # the names of the databases decide, which are others in each run
        shards = {
            service.name: number for number in range(1, count + 1) for service, _ in Shard(number, count).part(loaded)
        }
        if shards["alpha"] != shards["beta"]:
            break
    ran = monorepo.inv("db.upgrade", "--shard", f"{shards['alpha']}/{count}", "--canary", "alpha")
    assert (ran.code, "not one of these" in ran.err) == (0, False), ran.text
    ran = monorepo.inv("db.upgrade", "--shard", f"{shards['beta']}/{count}", "--canary", "alpha")
    assert ran.code == 0, ran.text
    assert "beta: " in ran.out
    assert "--canary alpha is not one of these services: none of them goes first." in ran.err


def test_a_canary_that_is_not_affected_keeps_nobody_waiting(repo, database):
    repo.env("gamma", DATABASE_DSN=dsn_text(database()))
    append(repo, "services/gamma/models.py")
    ran = repo.inv("db.upgrade", "--affected", "--base", "main", "--canary", "alpha")
    assert ran.code == 0, ran.text
    assert "gamma: " in ran.out
    assert "--canary alpha is not one of these services" in ran.err


def test_a_check_of_what_changed_sees_a_change_that_is_not_committed(repo, database):
    repo.env("gamma", DATABASE_DSN=dsn_text(database()))
    assert repo.inv("db.upgrade", "--service", "gamma").code == 0
    # of another length: Python takes a module that was compiled in the same second for this one
    path = repo.root / "services" / "gamma" / "models.py"
    path.write_text(path.read_text(encoding="utf-8").replace("String(50)", "String(100)"), encoding="utf-8")
    ran = repo.inv("db.check", "--affected", "--base", "HEAD")
    assert ran.code == 3
    assert "gamma: " in ran.out
    assert "alpha" not in ran.text

"""A replay of branches: in the order of an upgrade to all heads, which a history may need without saying so."""

from collections.abc import Callable

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import Monorepo

NAMED = "op.execute('ALTER TABLE things RENAME CONSTRAINT things_pkey TO pk_things')"


def branches(monorepo: Monorepo) -> None:
    """Write a branch whose last revision needs what the other one does, as in a plain ``alembic upgrade heads``."""
    monorepo.revision("shop", "r1", None, "op.execute('CREATE TABLE things (id int PRIMARY KEY)')")
    for revision, down, label, body in (
        ("y1", "r1", "core", NAMED),
        ("b1", "r1", "files", "op.execute('CREATE TABLE files (id int)')"),
        ("b2", "b1", None, "op.execute('ALTER TABLE things DROP CONSTRAINT pk_things')"),
    ):
        path = monorepo.revision("shop", revision, down, body)
        if label:
            path.write_text(path.read_text() + f"\nbranch_labels = ({label!r},)\n")


def test_what_an_upgrade_runs_is_replayed(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", None, dsn)
    branches(monorepo)
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    assert ran.code == 0, ran
    for words in (["db.drift"], ["db.adopt", "--verify"], ["db.baseline"]):
        ran = monorepo.inv(*words, "--service", "shop")
        assert ran.code == 0, (words, ran)

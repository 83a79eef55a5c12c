"""A history with an operation of its team's own, which the env.py of before registered by an import."""

from collections.abc import Callable

from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.monorepo import Monorepo

OPERATION = """
from alembic.operations import MigrateOperation, Operations


@Operations.register_operation("own_table")
class OwnTable(MigrateOperation):
    @classmethod
    def own_table(cls, operations, name):
        return operations.execute(f"CREATE TABLE {name} (id int)")
"""


def test_an_operation_that_nothing_registers_is_told_with_the_way_to_register_it(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database(creates=True)
    monorepo.service("shop", "__all__ = []", dsn)
    (monorepo.root / "services/shop/operations.py").write_text(OPERATION)
    monorepo.revision("shop", "a1", None, "op.own_table('things')", "op.drop_table('things')")
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    assert ran.code == 1, ran
    assert "Then import the module that registers it in env.py." in ran.err
    for statement in (
        "CREATE TABLE things (id int)",
        "CREATE TABLE IF NOT EXISTS alembic_version_shop (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version_shop VALUES ('a1')",
    ):
        query(dsn, statement)
    for words in (["db.drift"], ["db.adopt", "--verify"]):
        ran = monorepo.inv(*words, "--service", "shop")
        assert "Then import the module that registers it in env.py." in ran.text
        assert "A history has to create everything" not in ran.text
    environment = monorepo.root / "migrations/env.py"
    environment.write_text(f"import services.shop.operations\n{environment.read_text()}")
    for words in (
        ["db.drift"],
        ["db.adopt", "--verify"],
        ["db.downgrade", "--revision", "base", "--yes"],
        ["db.upgrade"],
        ["db.drift"],
    ):
        ran = monorepo.inv(*words, "--service", "shop")
        assert ran.code == 0, (words, ran)

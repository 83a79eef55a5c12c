"""What has to be the first statement of a transaction may be that of a revision, also of the first one of a run."""

from collections.abc import Callable

import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.settings.dsn import Dsn
from service_migrations.testing.steps import go_step_by_step
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

FIRST = {
    "serializable": "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "deferrable": "-- why\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE, DEFERRABLE",
    "parameter": "SET LOCAL transaction_isolation TO 'serializable'",
}
LOCKED = 'op.execute("LOCK TABLE billing")\n'
LOOK = "assert op.get_bind().exec_driver_sql('SHOW transaction_isolation').scalar() == {!r}"


def write(monorepo: Monorepo, dsn: Dsn, driver: str) -> None:
    if driver == "psycopg":
        table = '[tool.service-migrations.service.billing]\ndriver = "psycopg"\n\n'
        pyproject = monorepo.root / "pyproject.toml"
        pyproject.write_text(table + pyproject.read_text(encoding="utf-8"), encoding="utf-8")
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "table", None)
    former = "table"
    for number, (name, statement) in enumerate(FIRST.items()):
        body = f"op.execute({statement!r})\n{LOOK.format('serializable')}"
        monorepo.revision("billing", name, former, (LOCKED if number else "") + body, body)
        former = name
    monorepo.revision("billing", "after", former, LOOK.format("read committed"))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_each_may_begin_a_run_up_and_down(monorepo: Monorepo, database: Callable[..., Dsn], driver: str) -> None:
    dsn = database()
    write(monorepo, dsn, driver)
    service = monorepo.find("billing")
    wait(service_migrations.upgrade(service, "table"))
    for _ in FIRST:
        wait(service_migrations.upgrade(service, "+1"))
    wait(service_migrations.downgrade(service, "base"))
    ran = monorepo.inv("db.alembic", "--service", "billing", "--", "upgrade", "head")
    assert ran.code == 0, ran.text
    wait(service_migrations.downgrade(service, "base"))

    async def over_an_engine() -> None:
        (host, port), *_ = dsn.hosts
        url = URL.create(f"postgresql+{driver}", dsn.user, dsn.password, host, port, dsn.database)
        engine = create_async_engine(url)
        await service_migrations.upgrade(service, engine=engine)
        await engine.dispose()

    wait(over_an_engine())
    assert query(dsn, "SELECT version_num FROM alembic_version_billing")[0][0] == "after"


def test_each_may_be_tested_step_by_step(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    write(monorepo, dsn, "asyncpg")
    wait(go_step_by_step(monorepo.find("billing"), dsn, {}))


def test_in_an_empty_database_nothing_is_left_of_a_first_revision_that_fails(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Alembic creates the version table in its transaction, so there it can't begin with one of these."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, f"op.execute({FIRST['serializable']!r})")
    ran = monorepo.inv("db.upgrade")
    assert (ran.code, "can't be: Alembic creates the version table" in ran.err) == (1, True), ran.text
    assert query(dsn, "SELECT to_regclass('alembic_version_billing')")[0][0] is None


def test_what_env_py_does_before_it_stays_in_its_transaction(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    env = monorepo.root / "migrations" / "env.py"
    text = env.read_text(encoding="utf-8")
    assert "context.run_migrations()" in text
    env.write_text(
        text.replace(
            "context.run_migrations()",
            "context.execute(\"SET LOCAL my.setting = 'kept'\")\n        context.run_migrations()",
        ),
        encoding="utf-8",
    )
    look = "assert op.get_bind().exec_driver_sql(\"SELECT current_setting('my.setting', true)\").scalar() == 'kept'"
    monorepo.revision("billing", "a2", "a1", look)
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text


def test_an_error_of_the_server_is_not_hidden_by_a_variable_without_a_value(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    monorepo.service("shop", dsn=dsn)
    body = """
        try:
            rows = op.get_bind().execute(sa.text("SELECT 1 / 0"))
        finally:
            print(rows)
        """
    monorepo.revision("shop", "a1", None, body)
    ran = monorepo.inv("db.upgrade", "--service", "shop")
    assert ran.code == 1, ran
    assert "a1.py:11: division by zero [22012]. It was rolled back." in ran.err, ran

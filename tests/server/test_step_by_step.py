"""The test of a history step by step sees each table of a team's, whatever its name."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from service_migrations.testing.steps import go_step_by_step
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo


@pytest.mark.parametrize("leaves", ["migration_log_entries", "migration_log_billings", "alembic_version_billing_old"])
def test_a_table_whose_name_only_begins_like_that_of_a_ledger_is_seen(
    leaves: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None, f"op.execute('CREATE TABLE {leaves} (id serial PRIMARY KEY)')")
    with pytest.raises(AssertionError, match=rf"(?s)down is not the way back\n.*is left: table public\.{leaves}\b"):
        wait(go_step_by_step(service, dsn, {}))


def test_the_ledger_of_a_sibling_is_no_part_of_a_history(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    dsn = database()
    service = monorepo.service("billing", dsn=dsn)
    monorepo.service("orders", dsn=dsn)
    up = "CREATE TABLE migration_log_orders (id serial PRIMARY KEY, revision text)"
    monorepo.revision("billing", "a1", None, f"op.execute({up.replace('TABLE', 'TABLE IF NOT EXISTS')!r})")
    wait(go_step_by_step(service, dsn, {}))
    assert query(dsn, "SELECT to_regclass('migration_log_orders')::text") == [("migration_log_orders",)]

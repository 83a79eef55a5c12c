"""The context of an application, as `flask db upgrade` opens it: env.py opens it, and revisions find it."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.drift.drift import drift
from service_migrations.errors import MigrationError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.shop import may_create

APPLICATION = """
from contextlib import contextmanager
from contextvars import ContextVar

current = ContextVar("current")


@contextmanager
def app_context():
    token = current.set({"SEED": "EUR"})
    try:
        yield
    finally:
        current.reset(token)


def config():
    try:
        return current.get()
    except LookupError:
        raise RuntimeError("Working outside of application context.\\n\\nThis typically means …") from None
"""
OPENED = "from application import app_context\n\nwith app_context(), environment.prepared() as connection:\n"


def test_revisions_run_in_the_context_that_env_py_opens(
    monorepo: Monorepo, server: Server, database: Callable[..., Dsn]
) -> None:
    """Without it, the message says where it is opened."""
    dsn = may_create(server, database())
    service = monorepo.service("billing", None, dsn)
    (monorepo.root / "application.py").write_text(APPLICATION)
    body = (
        "from application import config\nop.execute(f\"CREATE TABLE seed AS SELECT '{config()['SEED']}'::text AS c\")"
    )
    monorepo.revision("billing", "a1", None, body)
    with pytest.raises(MigrationError, match="outside of application context") as raised:
        wait(service_migrations.upgrade(service))
    assert "Open the application's context in env.py, around environment.prepared()." in str(raised.value)
    path = monorepo.root / "migrations/env.py"
    text = path.read_text()
    assert "with environment.prepared() as connection:\n" in text
    path.write_text(text.replace("with environment.prepared() as connection:\n", OPENED))
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT c FROM seed") == [("EUR",)]
    assert "CREATE TABLE seed AS SELECT 'EUR'" in wait(service_migrations.sql(service, "head"))
    assert wait(drift(service)).differences == ()

"""Passwords, and the settings that hold them: what was written arrives, and nobody else hears of it."""

import os
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.errors import AccessDeniedError
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from tests.support.database import PASSWORDS, query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.world import World


def test_any_password_connects_from_every_place(
    monorepo: Monorepo, database: Callable[..., Dsn], server: service_migrations.postgres.Server
) -> None:
    """Row 29: percent-encoded, single-quoted, in a file, and from the environment."""
    made = database()
    service = monorepo.service("billing")
    secret = monorepo.root / "secret"
    bare = dsn_text(Dsn(made.user, made.database, made.hosts)).replace(":@", "@")
    for password in PASSWORDS:
        literal = query(server.admin, "SELECT quote_literal($1::text)", password)[0][0]
        query(server.admin, f'ALTER ROLE "{made.user}" PASSWORD {literal}')
        dsn = Dsn(made.user, made.database, made.hosts, password)
        secret.write_text(f"{password}\n", encoding="utf-8")
        quoted = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
        files: tuple[dict[str, str], ...] = (
            {"DATABASE_DSN": dsn_text(dsn)},
            {"DATABASE_DSN": bare, "DATABASE_PASSWORD": quoted},
            {"DATABASE_DSN": bare, "DATABASE_PASSWORD_FILE": str(secret)},
        )
        for values in files:
            monorepo.env("billing", **values)
            assert query(load(service, Sources({})).dsn, "SELECT current_user")[0][0] == made.user, password
        monorepo.env("billing", DATABASE_DSN=bare)
        environment = {"BILLING_DATABASE_PASSWORD": password}
        assert query(load(service, Sources(environment)).dsn, "SELECT current_user")[0][0] == made.user, password


@pytest.mark.parametrize("password", ["hunter5%40", "hunter5@hunter6", "hunter5 hunter6", "%hunter5%s", "hunter5%(x)s"])
def test_a_wrong_password_is_told_to_nobody(world: World, password: str) -> None:
    """Row 30: neither in the message, nor in what a traceback shows of its causes, nor in the server's log."""
    world.history(1)
    world.aim(replace(world.dsn, password=password))
    with pytest.raises(AccessDeniedError) as caught:
        wait(service_migrations.upgrade(world.monorepo.find("billing")))
    assert "hunter" not in str(caught.value)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))
    if world.server.log:
        log = world.server.log.read_text(errors="replace")
        assert f'password authentication failed for user "{world.dsn.user}"' in log
        assert "hunter5" not in log


def test_two_services_in_one_process_each_talk_to_their_own_database(
    monorepo: Monorepo, database: Callable[..., Dsn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 32: what is left over in the environment aims at nobody."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://stale:x@nowhere/none")
    found = {name: database() for name in ("billing", "catalog")}
    services = [monorepo.service(name, dsn=dsn) for name, dsn in found.items()]
    for service in services:
        monorepo.table_revision(service.name, "a1", None)
    before = dict(os.environ)
    for service in services:
        wait(service_migrations.upgrade(service))
    assert dict(os.environ) == before
    for name, dsn in found.items():
        assert tables(dsn) == {name, f"alembic_version_{name}"}

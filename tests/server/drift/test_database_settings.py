"""What a database has beside its objects, such as a time zone, and what a replay does with it."""

import pytest

import service_migrations
from service_migrations.drift.drift import drift
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.shop import FIRST, MODELS, SECOND, Database, inside, may_create, write_history

CONSTANTS = [
    "CREATE TABLE visits (at timestamptz DEFAULT '2020-03-01 00:00', since date DEFAULT '04/05/2020')",
    "CREATE TABLE logs (at timestamptz) PARTITION BY RANGE (at)",
    "CREATE TABLE logs_2020 PARTITION OF logs FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
    """DO $$ BEGIN IF current_setting('app.tenant', true) = E'a \\\\b''c=d -c x' THEN
        CREATE TABLE of_a_tenant (id integer); END IF; END $$""",
]
SETTINGS = {
    "time zone": "ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'",
    "date style": "ALTER DATABASE {database} SET DateStyle = 'ISO, DMY'",
    "time zone of the role": "ALTER ROLE {role} IN DATABASE {database} SET TimeZone = 'Asia/Tokyo'",
    "a setting of its own": "ALTER DATABASE {database} SET app.tenant = E'a \\\\b''c=d -c x'",
    "what only a superuser may set": "ALTER DATABASE {database} SET log_statement = 'ddl'",
}


@pytest.fixture
def shop(monorepo: Monorepo, database: Database, server: Server) -> tuple[Service, Dsn, Dsn]:
    dsn = may_create(server, database())
    service = monorepo.service("shop", MODELS.format(schema=None), dsn)
    write_history(monorepo, "shop", [*FIRST, *CONSTANTS], SECOND)
    return service, dsn, inside(server, dsn)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_a_history_is_replayed_with_the_settings_of_the_database(setting: str, shop: tuple[Service, Dsn, Dsn]) -> None:
    service, dsn, admin = shop
    query(admin, setting.format(database=f'"{dsn.database}"', role=f'"{dsn.user}"'))
    wait(service_migrations.upgrade(service))
    assert [str(each) for each in wait(drift(service)).differences] == []


@pytest.mark.parametrize("place", ["", "IN SCHEMA public "], ids=["everywhere", "in the schema"])
def test_what_default_privileges_grant_and_revoke_is_no_difference(place: str, shop: tuple[Service, Dsn, Dsn]) -> None:
    service, dsn, admin = shop
    privileges = ["GRANT SELECT ON TABLES TO PUBLIC", "GRANT USAGE ON SEQUENCES TO PUBLIC"]
    if not place:  # in a schema, nothing is revoked that a role has everywhere
        privileges += ["REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", "REVOKE USAGE ON TYPES FROM PUBLIC"]
    run_script(admin, [f'ALTER DEFAULT PRIVILEGES FOR ROLE "{dsn.user}" {place}{each}' for each in privileges])
    wait(service_migrations.upgrade(service))
    assert [str(each) for each in wait(drift(service, grants=True)).differences] == []
    run_script(dsn, ["GRANT INSERT ON orders TO PUBLIC", "REVOKE SELECT ON customers FROM PUBLIC"])
    assert [each.sql for each in wait(drift(service, grants=True)).differences] == [
        "REVOKE INSERT ON TABLE public.orders FROM PUBLIC;"
    ]

"""Who claims what of a database: by models and by histories, of services that share it and of those that don't."""

import importlib
import shutil
import sys
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.connection.connector import Connector, connector
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from service_migrations.settings.siblings import Sibling, siblings
from service_migrations.sql.quoting import quoted
from tests.support.database import query, run_script, wait
from tests.support.monorepo import MODELS, Monorepo
from tests.support.shop import inside

EMPTY = """
from sqlalchemy.orm import DeclarativeBase

__all__ = ["Base"]

class Base(DeclarativeBase):
    pass
"""

Databases = Callable[..., Dsn]


def differences(service: Service) -> tuple[str, ...]:
    return wait(service_migrations.check(service)).differences


def remodel(monorepo: Monorepo, service: Service, models: str) -> None:
    """Write other models for a service, as the next process would import them."""
    shutil.rmtree(service.path / "__pycache__", ignore_errors=True)
    for name in [name for name in sys.modules if name.startswith(f"services.{service.name}")]:
        del sys.modules[name]
    monorepo.service(service.name, models)
    importlib.invalidate_caches()


def pair(monorepo: Monorepo, database: Databases, *, shared: bool = True) -> tuple[Service, Service, Dsn]:
    """Return two services with a table each, upgraded: in one database, or each in its own."""
    dsn = database()
    billing = monorepo.service("billing", dsn=dsn)
    orders = monorepo.service("orders", dsn=database(shared=dsn) if shared else database())
    for service in (billing, orders):
        monorepo.table_revision(service.name, f"{service.name}1", None)
        wait(service_migrations.upgrade(service))
    return billing, orders, dsn


def names(service: Service) -> dict[str, bool]:
    return {sibling.service.name: sibling.certain for sibling in siblings_over(connector(service))}


def siblings_over(way: Connector) -> tuple[Sibling, ...]:
    return siblings(way.service, way.databases, way.sources)


# which siblings count


def test_a_sibling_shares_where_its_settings_lead_to_the_same_database(monorepo: Monorepo, database: Databases) -> None:
    billing, _, _ = pair(monorepo, database)
    monorepo.service("far", dsn=database())
    assert names(billing) == {"orders": True}


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ("DATABASE_DSN=postgresql://x:<password>@localhost:5432/elsewhere", {}),
        ("DATABASE_DSN=postgresql://x:<password>@localhost:5432/<mine>", {"orders": True}),
        ("DATABASE_DSN=postgresql://x:<password>@localhost:5432/billing", {"orders": True}),
        ("DATABASE_DSN=no URL", {"orders": False}),
        ("NOTHING=1", {"orders": False}),
    ],
)
def test_a_sibling_without_settings_is_judged_by_its_example(
    example: str, expected: dict[str, bool], monorepo: Monorepo, database: Databases
) -> None:
    dsn = database()
    billing = monorepo.service("billing", dsn=dsn)
    orders = monorepo.service("orders")
    (orders.path / ".env.example").write_text(example.replace("<mine>", dsn.database) + "\n", encoding="utf-8")
    assert names(billing) == expected


def test_siblings_whose_examples_agree_are_no_strangers_wherever_the_settings_lead(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database, shared=False)
    for service in (billing, orders):
        (service.path / ".env.example").write_text("DATABASE_DSN=postgresql://x@h/shop\n", encoding="utf-8")
    assert names(billing) == {"orders": False}


def test_a_bare_variable_says_nothing_of_the_siblings(monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    billing = monorepo.service("billing")
    monorepo.service("orders")
    monkeypatch.setenv("DATABASE_DSN", "postgresql://x@h/shop")
    assert names(billing) == {}


def test_over_an_engine_of_the_callers_its_url_decides(monorepo: Monorepo, database: Databases) -> None:
    billing, _, dsn = pair(monorepo, database)
    elsewhere = create_async_engine(database().url)
    here = create_async_engine(dsn.url)
    found = [
        [sibling.service.name for sibling in siblings_over(connector(billing, engine))] for engine in (here, elsewhere)
    ]
    assert found == [["orders"], []]


def test_a_siblings_other_settings_are_noticed_in_the_same_process(monorepo: Monorepo, database: Databases) -> None:
    billing, _, _ = pair(monorepo, database)
    assert names(billing) == {"orders": True}
    monorepo.env("orders", DATABASE_DSN="postgresql://x@elsewhere.example/other")
    assert names(billing) == {}


@pytest.mark.parametrize("kept", ["version table", "ledger"])
@pytest.mark.parametrize("settings", ["an alias of the host", "a name that nobody resolves", "none"])
def test_a_sibling_whose_bookkeeping_is_in_the_database_shares_it_whatever_its_settings_say(
    settings: str, kept: str, monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database)
    theirs = load(orders).dsn
    query(theirs, f"DROP TABLE {orders.ledger_table if kept == 'version table' else orders.version_table}")
    if settings == "none":
        orders.env_file.unlink()
    else:
        host = "127.1" if settings == "an alias of the host" else "db.invalid"
        monorepo.env("orders", DATABASE_DSN=f"postgresql://x@{host}:{theirs.hosts[0][1]}/{theirs.database}")
    assert names(billing) == {}
    assert differences(billing) == ()
    assert wait(service_migrations.revision(billing, "nothing")) is None
    (ownership,) = wait(service_migrations.owners([billing]))
    owners = {owned.name: owned.owner for owned in ownership.objects}
    assert {owners[name] for name in ("orders", "orders_id_seq", "orders_pkey")} == {"orders"}


# models


def test_a_sibling_in_another_database_hides_no_drop_of_ones_own(monorepo: Monorepo, database: Databases) -> None:
    billing, orders, _ = pair(monorepo, database, shared=False)
    monorepo.table_revision("billing", "billing2", "billing1", "orders")
    wait(service_migrations.upgrade(billing))
    assert differences(billing) == ("drop_table orders",)
    assert differences(orders) == ()


def test_a_sibling_that_cannot_be_imported_is_no_matter_in_another_database(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database, shared=False)
    remodel(monorepo, orders, "1 / 0")
    assert differences(billing) == ()


def test_two_services_that_claim_one_table_are_refused_with_both_files(monorepo: Monorepo, database: Databases) -> None:
    billing, orders, dsn = pair(monorepo, database)
    remodel(monorepo, orders, MODELS.format(table="billing"))
    for run in (
        service_migrations.check(billing),
        service_migrations.check(orders),
        service_migrations.revision(billing, "x"),
        service_migrations.drift(orders),
    ):
        with pytest.raises(ConfigurationError) as caught:
            wait(run)
        assert (
            "services/billing/models.py and services/orders/models.py both claim the table public.billing of "
            in str(caught.value)
        )
        assert caught.value.hint.startswith("Keep it in the models of billing or orders alone, or give each another ")
        assert caught.value.exit_code == 78
        assert caught.value.service in ("billing", "orders")
    assert dsn.password not in str(caught.value)
    for service in (billing, orders):  # a comparison alone needs to know whose it is
        wait(service_migrations.downgrade(service, "base"))
        assert wait(service_migrations.upgrade(service)).applied
    third = monorepo.service("third", MODELS.format(table="billing"), dsn)
    (error,) = wait(service_migrations.owners([third]))[0].errors
    assert "and services/third/models.py all claim the table public.billing of " in str(error)
    assert "in the models of billing or orders or third alone" in str(error)


NUMBERED = """
from sqlalchemy import Column, Integer, MetaData, Sequence, Table

__all__ = ["numbered"]

numbered = Table({table!r}, MetaData(), Column("id", Integer, primary_key=True), Column("number", Integer, {numbers}))
"""


@pytest.mark.parametrize("numbers", ["Sequence({!r})", "server_default=Sequence({!r}).next_value()"])
def test_a_sequence_is_of_one_service_and_has_a_name_that_fits(
    numbers: str, monorepo: Monorepo, database: Databases
) -> None:
    dsn = database()
    models = {name: NUMBERED.format(table=name, numbers=numbers.format("numbers")) for name in ("billing", "orders")}
    billing = monorepo.service("billing", models["billing"], dsn)
    monorepo.service("orders", models["orders"], database(shared=dsn))
    with pytest.raises(ConfigurationError, match=r"claim the sequence public\.numbers of "):
        wait(service_migrations.check(billing))
    far = monorepo.service("far", NUMBERED.format(table="far", numbers=numbers.format("n" * 64)), database())
    with pytest.raises(ConfigurationError, match=r"sequence n{64}"):
        wait(service_migrations.check(far))


def test_two_services_may_have_a_table_of_one_name_in_different_databases(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database, shared=False)
    remodel(monorepo, orders, MODELS.format(table="billing"))
    assert differences(billing) == ()


# histories


def test_what_a_sibling_removed_and_has_not_migrated_yet_is_not_mine_to_drop(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database)
    remodel(monorepo, orders, EMPTY)
    assert differences(billing) == ()
    assert differences(orders) == ("drop_table orders",)


def test_what_a_sibling_renamed_or_dropped_is_followed(monorepo: Monorepo, database: Databases) -> None:
    billing, orders, dsn = pair(monorepo, database)
    monorepo.revision("orders", "orders2", "orders1", 'op.rename_table("orders", "parcels")')
    wait(service_migrations.upgrade(orders))
    remodel(monorepo, orders, EMPTY)
    assert differences(billing) == ()
    query(dsn, "CREATE TABLE orders (id int)")
    assert differences(billing) == ()
    assert sorted(differences(orders)) == ["drop_table orders", "drop_table parcels"]
    (ownership,) = wait(service_migrations.owners([billing]))
    said = [(owned.owner, owned.why) for owned in ownership.objects if (owned.kind, owned.name) == ("table", "orders")]
    assert said == [("orders", "history, which drops or renames it")]


PENDING = {
    "drop": ('op.drop_table("orders")\nop.execute("DROP TYPE mood")', EMPTY),
    "rename": (
        'op.rename_table("orders", "parcels")\nop.execute("ALTER TYPE mood RENAME TO humour")',
        MODELS.format(table="parcels"),
    ),
    "move": (
        'op.execute("ALTER TABLE orders SET SCHEMA far")\nop.execute("ALTER TYPE mood SET SCHEMA far")',
        EMPTY,
    ),
}
"""What a revision of orders does, and the models that go with it."""


@pytest.mark.parametrize("made_by_history", [True, False], ids=["made", "adopted"])
@pytest.mark.parametrize(("statements", "models"), PENDING.values(), ids=PENDING)
def test_what_a_sibling_drops_or_renames_in_a_revision_that_is_not_applied_is_not_mine_to_drop(
    statements: str, models: str, made_by_history: bool, monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database)
    monorepo.revision("orders", "orders2", "orders1", "op.execute(\"CREATE TYPE mood AS ENUM ('good')\")")
    wait(service_migrations.upgrade(orders))
    if not made_by_history:
        monorepo.revision("orders", "orders1", None)
        monorepo.revision("orders", "orders2", "orders1")
    remodel(monorepo, orders, models)
    monorepo.revision("orders", "orders3", "orders2", statements)
    assert differences(billing) == ()
    assert wait(service_migrations.revision(billing, "nothing")) is None
    (ownership,) = wait(service_migrations.owners([billing]))
    owners = {owned.name: owned.owner for owned in ownership.objects}
    assert {owners[name] for name in ("orders", "orders_id_seq", "orders_pkey", "mood")} == {"orders"}


@pytest.mark.parametrize("name", ["drop", "rename"])
def test_what_a_sibling_has_dropped_or_renamed_is_nobodys_matter(
    name: str, monorepo: Monorepo, database: Databases
) -> None:
    statements, models = PENDING[name]
    billing, orders, _ = pair(monorepo, database)
    monorepo.revision("orders", "orders2", "orders1", statements.partition("\n")[0])
    remodel(monorepo, orders, models)
    wait(service_migrations.upgrade(orders))
    assert differences(billing) == differences(orders) == ()
    (ownership,) = wait(service_migrations.owners([billing]))
    owners = {owned.name: owned.owner for owned in ownership.objects}
    assert "orders" not in owners
    assert owners.get("parcels") == ("orders" if name == "rename" else None)


def test_a_table_that_a_sibling_dropped_and_this_service_made_again_is_its_own(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, _ = pair(monorepo, database)
    monorepo.revision("orders", "orders2", "orders1", 'op.drop_table("orders")')
    remodel(monorepo, orders, EMPTY)
    wait(service_migrations.upgrade(orders))
    monorepo.table_revision("billing", "billing2", "billing1", "orders")
    wait(service_migrations.upgrade(billing))
    assert differences(billing) == ("drop_table orders",)
    assert differences(orders) == ()
    (ownership,) = wait(service_migrations.owners([orders]))
    assert {owned.owner for owned in ownership.objects if owned.name == "orders"} == {"billing"}


def test_a_history_that_asks_its_connection_claims_the_names_in_its_files(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, _orders, dsn = pair(monorepo, database)
    monorepo.revision(
        "orders",
        "orders2",
        "orders1",
        'op.get_bind().execute(sa.text("SELECT 1")).scalar_one()\nop.execute("CREATE TABLE " + "leaflets" + "()")',
    )
    query(dsn, "CREATE TABLE leaflets (id int)")
    query(dsn, "CREATE TABLE nobodys (id int)")
    assert differences(billing) == ("drop_table nobodys",)


DYNAMIC = {
    "a block": [
        """DO $$ DECLARE n text; BEGIN FOREACH n IN ARRAY ARRAY['a', 'b'] LOOP
        EXECUTE format('CREATE TABLE log_%s (id int)', n); END LOOP; END $$"""
    ],
    "a function": [
        """CREATE FUNCTION make(n text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN
        EXECUTE 'CREATE TABLE ' || quote_ident('log_' || n) || ' (id int)'; END $f$""",
        "SELECT make('a')",
        "SELECT make('b')",
    ],
}


@pytest.mark.parametrize("way", DYNAMIC)
def test_tables_whose_names_a_siblings_history_puts_together_are_not_dropped(
    monorepo: Monorepo, database: Databases, way: str
) -> None:
    billing, orders, dsn = pair(monorepo, database)
    body = "\n".join(f"op.execute({statement!r})" for statement in DYNAMIC[way])
    monorepo.revision("orders", "orders2", "orders1", body)
    wait(service_migrations.upgrade(orders))
    query(dsn, "CREATE TABLE nobodys (id int)")
    assert differences(billing) == ("drop_table nobodys",)
    assert {"drop_table log_a", "drop_table log_b"} <= set(differences(orders))
    (ownership,) = wait(service_migrations.owners([orders]))
    assert {owned.owner for owned in ownership.objects if owned.name in ("log_a", "log_b")} == {"orders"}


def test_a_siblings_history_that_cannot_be_read_claims_the_names_in_its_files(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, orders, dsn = pair(monorepo, database)
    (orders.versions / "broken.py").write_text('revision = "leaflets"\nx = (\n', encoding="utf-8")
    query(dsn, "CREATE TABLE leaflets (id int)")
    query(dsn, "CREATE TABLE nobodys (id int)")
    assert differences(billing) == ("drop_table nobodys",)


PATHS = {
    "App": "app",
    "'\"Odd, name\"'": "Odd, name",
    '\'"say ""x""", public\'': 'say "x"',
    "'\"$user\", Ä'": "Ä",
}
"""Values of MIGRATIONS_SEARCH_PATH, and the schema of new tables."""


@pytest.mark.parametrize(("path", "schema"), PATHS.items(), ids=PATHS.values())
def test_siblings_in_one_schema_see_nothing_of_each_other_however_it_is_written(
    path: str, schema: str, monorepo: Monorepo, database: Databases, server: Server
) -> None:
    dsn = database()
    run_script(inside(server, dsn), [f"CREATE SCHEMA {quoted(schema)}; GRANT ALL ON SCHEMA {quoted(schema)} TO PUBLIC"])
    billing = monorepo.service("billing", dsn=dsn, MIGRATIONS_SEARCH_PATH=path)
    orders = monorepo.service("orders", dsn=database(shared=dsn), MIGRATIONS_SEARCH_PATH=path)
    for service in (billing, orders):
        monorepo.table_revision(service.name, f"{service.name}1", None)
        wait(service_migrations.upgrade(service))
    made = query(dsn, "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('billing', 'orders')")
    assert [row["schemaname"] for row in made] == [schema]
    assert [differences(service) for service in (billing, orders)] == [(), ()]


def test_what_nobody_claims_is_seen(monorepo: Monorepo, database: Databases) -> None:
    billing, orders, dsn = pair(monorepo, database)
    query(dsn, "CREATE TABLE nobodys (id int)")
    assert differences(billing) == differences(orders) == ("drop_table nobodys",)


def test_histories_are_read_only_where_no_model_claims_what_is_there(
    monorepo: Monorepo, database: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing, orders, dsn = pair(monorepo, database)
    read: list[Service] = []
    module = importlib.import_module("service_migrations.ownership.claimants")
    original = module.history_claims
    monkeypatch.setattr(
        module, "history_claims", lambda service, schema: (read.append(service), original(service, schema))[1]
    )
    assert differences(billing) == ()
    assert read == []
    query(dsn, "CREATE TABLE nobodys (id int)")
    differences(billing)
    assert read == [billing, orders]


def test_a_table_that_ones_own_history_left_in_a_schema_without_models_is_dropped(
    monorepo: Monorepo, database: Databases
) -> None:
    billing, _, _dsn = pair(monorepo, database)
    monorepo.revision(
        "billing",
        "billing2",
        "billing1",
        'op.execute("CREATE SCHEMA archive")\nop.execute("CREATE TABLE archive.old (id int)")',
    )
    wait(service_migrations.upgrade(billing))
    assert differences(billing) == ('drop_table archive."old"',)


# extensions and partitions


def test_an_extensions_tables_and_a_partitioned_tables_children_are_part_of_it(
    monorepo: Monorepo, database: Databases, server
) -> None:
    dsn = database()
    models = MODELS.format(table="billing").replace(
        '__tablename__ = "billing"',
        '__tablename__ = "billing"\n    __table_args__ = {"postgresql_partition_by": "RANGE (id)"}',
    )
    service = monorepo.service("billing", models, dsn)
    wait(service_migrations.revision(service, "create"))
    wait(service_migrations.upgrade(service))
    query(dsn, "CREATE TABLE billing_1 PARTITION OF billing FOR VALUES FROM (1) TO (10)")
    query(dsn, "CREATE TABLE billing_2 PARTITION OF billing FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)")
    query(dsn, "CREATE TABLE billing_2_1 PARTITION OF billing_2 DEFAULT")
    admin = Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password)
    query(admin, "CREATE TABLE spatial_ref_sys (id int)")
    query(admin, "CREATE TYPE mood AS ENUM ('good')")
    assert len(differences(service)) == 2
    query(admin, "CREATE EXTENSION citext")
    query(admin, "ALTER EXTENSION citext ADD TABLE spatial_ref_sys")
    query(admin, "ALTER EXTENSION citext ADD TYPE mood")
    assert differences(service) == ()

"""Whose an object is: check, revision, owners and drift give one answer, for every kind of object."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import run_script, wait
from tests.support.monorepo import MODELS, Monorepo

Databases = Callable[..., Dsn]
Object = tuple[str, str]
"""Its kind, in PostgreSQL's words, and its name; public is left out."""

BOTH = frozenset(("billing", "orders"))
NONE = frozenset[str]()

ORDERS = (
    MODELS.format(table="orders").replace('"Thing"]', '"Thing", "Total"]')
    + """
class Total(Base):
    __tablename__ = "totals"
    __table_args__ = {"info": {"is_view": True}}
    id: Mapped[int] = mapped_column(primary_key=True)
"""
)

PARCELS = """
from sqlalchemy import MetaData, Table

__all__ = ["billing", "parcels"]

metadata = MetaData()
billing = Table("billing", metadata)
parcels = Table("parcels", metadata)
"""
"""Of a service that may have the database, or may not: nothing on this machine says."""


@dataclass(frozen=True)
class Situation:
    """An object, how it came there, whose it is, and which service's check or drift proposes to drop it."""

    kind: str
    name: str
    owner: str | None = None
    why: str = ""
    billing: str = ""
    orders: str = ""
    parcels: str = ""
    by_hand: str = ""
    checked: frozenset[str] = NONE
    drifted: frozenset[str] = NONE


HISTORY = "history"
GIVEN_UP = "history, which drops or renames it"
NAMED = "history, which names it where it can't be replayed"

SITUATIONS = [
    # models
    Situation("table", "billing", "billing", "models"),
    Situation("index", "billing_pkey", "billing", "part of table public.billing"),
    Situation("sequence", "billing_id_seq", "billing", "part of table public.billing"),
    Situation("table", "orders", "orders", "models"),
    Situation("view", "totals", "orders", "history", orders="CREATE VIEW totals AS SELECT 1 AS id"),
    Situation("table", "parcels", "parcels", "models", by_hand="CREATE TABLE parcels (id int)"),
    # histories
    Situation("table", "b1", "billing", HISTORY, billing="CREATE TABLE b1 (id int)", checked=frozenset(["billing"])),
    Situation("table", "o1", "orders", HISTORY, orders="CREATE TABLE o1 (id int)", checked=frozenset(["orders"])),
    Situation("enum", "o2", "orders", HISTORY, orders="CREATE TYPE o2 AS ENUM ('a')", checked=frozenset(["orders"])),
    Situation("domain", "o3", "orders", HISTORY, orders="CREATE DOMAIN o3 AS int"),
    Situation("sequence", "o4", "orders", HISTORY, orders="CREATE SEQUENCE o4"),
    Situation("view", "o5", "orders", HISTORY, orders="CREATE VIEW o5 AS SELECT 1 AS a"),
    Situation("function", "o6()", "orders", HISTORY,
              orders="CREATE FUNCTION o6() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    Situation("table", "p1", "parcels", HISTORY, parcels="CREATE TABLE p1 (id int)",
              by_hand="CREATE TABLE p1 (id int)"),
    Situation("table", "shared", "billing, orders", HISTORY, billing="CREATE TABLE IF NOT EXISTS shared (id int)",
              orders="CREATE TABLE IF NOT EXISTS shared (id int)"),
    Situation("table", "again", "orders", GIVEN_UP, orders="CREATE TABLE again (id int); DROP TABLE again",
              by_hand="CREATE TABLE again (id int)", checked=frozenset(["orders"]), drifted=frozenset(["orders"])),
    Situation("table", "taken", "billing", HISTORY, orders="CREATE TABLE taken (id int); DROP TABLE taken",
              billing="CREATE TABLE IF NOT EXISTS taken (id int)", checked=frozenset(["billing"])),
    Situation("table", "leaflets", "orders", NAMED, by_hand="CREATE TABLE leaflets (id int)",
              checked=frozenset(["orders"]), drifted=frozenset(["orders"])),
    Situation("table", "flyers", "billing, orders", GIVEN_UP, billing="CREATE TABLE flyers (id int); DROP TABLE flyers",
              by_hand="CREATE TABLE flyers (id int)"),
    # nobody
    Situation("table", "n1", by_hand="CREATE TABLE n1 (id int)", checked=BOTH, drifted=BOTH),
    Situation("enum", "n2", by_hand="CREATE TYPE n2 AS ENUM ('a')", checked=BOTH, drifted=BOTH),
    Situation("domain", "n3", by_hand="CREATE DOMAIN n3 AS int", drifted=BOTH),
    Situation("sequence", "n4", by_hand="CREATE SEQUENCE n4", drifted=BOTH),
    Situation("view", "n5", by_hand="CREATE VIEW n5 AS SELECT 1 AS a", drifted=BOTH),
    Situation("extension", "citext", by_hand="CREATE EXTENSION citext", drifted=BOTH),
    Situation("schema", "lonely", by_hand="CREATE SCHEMA lonely"),
    # extensions, partitions and other children
    Situation("table", "spatial_ref_sys", None, "extension citext",
              by_hand="CREATE TABLE spatial_ref_sys (id int); ALTER EXTENSION citext ADD TABLE spatial_ref_sys"),
    Situation("enum", "mood", None, "extension citext",
              by_hand="CREATE TYPE mood AS ENUM ('a'); ALTER EXTENSION citext ADD TYPE mood"),
    Situation("table", "events", "orders", HISTORY, orders="CREATE TABLE events (id int) PARTITION BY RANGE (id)",
              checked=frozenset(["orders"])),
    Situation("table", "events_1", "orders", "part of table public.events",
              by_hand="CREATE TABLE events_1 PARTITION OF events DEFAULT"),
    Situation("table", "o1_child", "orders", "part of table public.o1",
              by_hand="CREATE TABLE o1_child () INHERITS (o1)"),
    Situation("table", "n1_child", by_hand="CREATE TABLE n1_child () INHERITS (n1)"),
    Situation("table", "step_child",
              by_hand="CREATE TABLE step_child () INHERITS (o1, n1); ALTER TABLE step_child NO INHERIT o1"),
    # version tables and ledgers
    Situation("table", "alembic_version_billing", "billing", "version table"),
    Situation("table", "order_versions", "orders", "version table"),
    Situation("table", "migration_log_orders", "orders", "ledger"),
    Situation("table", "alembic_version_gone", None, "version table of no known service",
              by_hand="CREATE TABLE alembic_version_gone (id int)"),
    Situation("table", "migration_log_gone", None, "ledger of no known service",
              by_hand="CREATE TABLE migration_log_gone (id int)"),
    Situation("enum", "migration_log_kind", by_hand="CREATE TYPE migration_log_kind AS ENUM ('a')", checked=BOTH,
              drifted=BOTH),
    # schemas that no model names
    Situation("table", "attic.b2", "billing", HISTORY, billing="CREATE SCHEMA attic; CREATE TABLE attic.b2 (id int)",
              checked=frozenset(["billing"])),
    Situation("table", "shed.o7", "orders", HISTORY, orders="CREATE SCHEMA shed; CREATE TABLE shed.o7 (id int)",
              checked=frozenset(["orders"])),
    Situation("table", "attic.n6", by_hand="CREATE TABLE attic.n6 (id int)"),
    Situation("schema", "attic", "billing", HISTORY),
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """Billing and orders in one database, with a role each; parcels perhaps too."""

    monorepo: Monorepo
    billing: Service
    orders: Service
    admin: Dsn

    @classmethod
    def make(cls, monorepo: Monorepo, database: Databases, server: Server) -> "World":
        dsn = database(creates=True)
        theirs = database(shared=dsn, creates=True)
        admin = Dsn(server.admin.user, dsn.database, server.admin.hosts, server.admin.password)
        run_script(admin, [f'GRANT CREATE ON DATABASE "{dsn.database}" TO "{theirs.user}"'])
        parcels = monorepo.service("parcels", PARCELS)
        (parcels.path / ".env.example").write_text("NOTHING=1\n", encoding="utf-8")
        billing = monorepo.service("billing", dsn=dsn)
        orders = monorepo.service("orders", ORDERS, theirs, MIGRATIONS_VERSION_TABLE="order_versions")
        for name in ("billing", "orders"):
            monorepo.table_revision(name, f"{name}1", None)
        return cls(monorepo, billing, orders, admin)

    def revision(self, service: str, number: int, statements: Iterable[str], *lines: str) -> None:
        """Write a service's next revision, of the statements that aren't empty."""
        single = [statement for text in statements for statement in text.split("; ") if statement]
        body = "\n".join([*(f"op.execute({statement!r})" for statement in single), *lines]) or "pass"
        self.monorepo.revision(service, f"{service}{number}", f"{service}{number - 1}" if number > 1 else None, body)

    def owners(self) -> dict[Object, tuple[str | None, str]]:
        """Return the owner of each object, and why, as both services are told it."""
        (answer,) = wait(service_migrations.owners([self.billing, self.orders]))
        assert answer.errors == ()
        for service in (self.billing, self.orders):
            (alone,) = wait(service_migrations.owners([service]))
            assert alone.objects == answer.objects
        return {(item.kind, short(item.schema, item.name)): (item.owner, item.why) for item in answer.objects}

    def checked(self, service: Service) -> set[Object]:
        """Return what a service's check proposes to drop; an enum is the only type that it compares."""
        lines = [line.replace('"', "").split() for line in wait(service_migrations.check(service)).differences]
        kinds = {"drop_table": "table", "drop_type": "enum"}
        return {(kinds[line[0]], line[1]) for line in lines if line[0] in kinds}

    def written(self, service: Service) -> set[Object]:
        """Return what the upgrade of a service's next revision drops; its file is removed again, being a claim."""
        path = service.root / wait(service_migrations.revision(service, "clean up")).path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        path.unlink()
        upgrade = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
        dropped = set()
        for call in [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]:
            words = [*call.args, *(keyword.value for keyword in call.keywords)]
            values = [word.value for word in words if isinstance(word, ast.Constant)]
            if ast.unparse(call.func) == "op.drop_table":
                dropped.add(("table", ".".join(reversed(values))))
            elif ast.unparse(call.func) == "op.execute" and values[0].startswith("DROP TYPE "):
                dropped.add(("enum", values[0].removeprefix("DROP TYPE ")))
        return dropped

    def drifted(self, service: Service) -> set[Object]:
        """Return what a service's drift proposes to drop."""
        differences = wait(service_migrations.drift(service)).differences
        return {
            (difference.kind, difference.name)
            for difference in differences
            if difference.text == "is in the database but not in the history"
        }


def short(schema: str, name: str) -> str:
    return name if schema in ("public", name) else f"{schema}.{name}"


@pytest.fixture
def world(monorepo: Monorepo, database: Databases, server: Server) -> World:
    return World.make(monorepo, database, server)


def test_check_owners_and_drift_agree_on_every_object(world: World) -> None:
    words = 'op.get_bind().execute(sa.text("SELECT 1")).scalar_one()\nleaflets = flyers = None'
    world.revision("orders", 2, (each.orders for each in SITUATIONS))
    world.revision("orders", 3, (), words)
    wait(service_migrations.upgrade(world.orders))
    run_script(world.admin, ["GRANT ALL ON shared TO PUBLIC"])
    world.revision("billing", 2, (each.billing for each in SITUATIONS))
    world.revision("parcels", 1, (each.parcels for each in SITUATIONS))
    wait(service_migrations.upgrade(world.billing))
    run_script(world.admin, [part for each in SITUATIONS for part in each.by_hand.split("; ") if part])

    owners = world.owners()
    expected = {(each.kind, each.name): (each.owner, each.why) for each in SITUATIONS}
    assert {key: owners.get(key) for key in expected} == expected
    by_check = {service.name: world.checked(service) for service in (world.billing, world.orders)}
    by_drift = {service.name: world.drifted(service) for service in (world.billing, world.orders)}
    for name in sorted(BOTH):
        assert by_check[name] == {(each.kind, each.name) for each in SITUATIONS if name in each.checked}
        assert by_drift[name] == {(each.kind, each.name) for each in SITUATIONS if name in each.drifted}
        for key in by_check[name] | by_drift[name]:
            assert owners[key] in ((None, ""), (name, owners[key][1]))
        compared = {key for key in owners if key[0] in ("table", "enum") and owners[key][1] not in ("models", HISTORY)}
        assert by_check[name] & compared == by_drift[name] & compared
    run_script(world.admin, ["DROP TABLE n1_child, step_child, o1_child"])  # a table that has children stays
    for service in (world.billing, world.orders):
        assert world.written(service) == by_check[service.name]


PENDING = {
    "drop": "DROP TABLE letters",
    "rename": "ALTER TABLE letters RENAME TO mails",
    "move": "CREATE SCHEMA far; ALTER TABLE letters SET SCHEMA far",
}


@pytest.mark.parametrize("statements", PENDING.values(), ids=PENDING)
def test_all_agree_on_what_a_pending_revision_of_a_sibling_drops_or_renames(statements: str, world: World) -> None:
    world.revision("orders", 2, ["CREATE TABLE letters (id serial PRIMARY KEY)"])
    for service in (world.billing, world.orders):
        wait(service_migrations.upgrade(service))
    world.revision("orders", 3, [statements])
    owners = world.owners()
    assert owners["table", "letters"] == ("orders", GIVEN_UP)
    assert owners["sequence", "letters_id_seq"] == ("orders", "part of table public.letters")
    assert world.checked(world.billing) == world.drifted(world.billing) == world.drifted(world.orders) == set()
    assert wait(service_migrations.revision(world.billing, "nothing")) is None


CLASH = MODELS.format(table="billing")


def test_all_refuse_two_services_that_claim_one_object_and_a_third_goes_on(
    monorepo: Monorepo, database: Databases
) -> None:
    dsn = database(creates=True)
    services = {}
    for name, models in (("billing", None), ("orders", CLASH), ("catalog", None)):
        services[name] = monorepo.service(
            name, models, dsn if name == "billing" else database(shared=dsn, creates=True)
        )
        monorepo.table_revision(name, f"{name}1", None) if models is None else monorepo.revision(name, f"{name}1", None)
        wait(service_migrations.upgrade(services[name]))
    for name in ("billing", "orders"):
        (answer,) = wait(service_migrations.owners([services[name]]))
        refused = list(answer.errors)
        for run in (
            service_migrations.check(services[name]),
            service_migrations.revision(services[name], "x"),
            service_migrations.drift(services[name]),
        ):
            with pytest.raises(ConfigurationError) as caught:
                wait(run)
            refused.append(caught.value)
        for error in refused:
            assert error.exit_code == 78
            assert (
                "services/billing/models.py and services/orders/models.py both claim the table public.billing of "
                in (str(error))
            )
    catalog = services["catalog"]
    assert (
        wait(service_migrations.check(catalog)).differences == wait(service_migrations.drift(catalog)).differences == ()
    )
    assert wait(service_migrations.revision(catalog, "nothing")) is None


def test_a_service_with_a_search_path_of_its_own_looks_there_alone(monorepo: Monorepo, database: Databases) -> None:
    dsn = database(creates=True)
    models = MODELS.format(table="billing").replace("    pass", '    metadata = MetaData(schema="app")')
    models = models.replace("import String", "import MetaData, String")
    billing = monorepo.service("billing", models, dsn, MIGRATIONS_SEARCH_PATH="app")
    monorepo.table_revision("billing", "billing1", None)
    wait(service_migrations.upgrade(billing))
    run_script(dsn, ["CREATE TABLE app.inside (id int)", "CREATE TABLE public.outside (id int)"])
    assert wait(service_migrations.check(billing)).differences == ("drop_table inside",)
    assert [difference.name for difference in wait(service_migrations.drift(billing)).differences] == ["app.inside"]

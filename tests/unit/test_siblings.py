"""Siblings: which services share a database, by settings, examples and names of tables. Nothing is connected to."""

import pytest

from service_migrations.monorepo import Service
from service_migrations.postgres.cluster import Cluster
from service_migrations.postgres.local import write_env
from service_migrations.settings.database import Database
from service_migrations.settings.dsn import parse
from service_migrations.settings.example import made_here
from service_migrations.settings.model import load
from service_migrations.settings.siblings import Sibling, default_schema, sharing, siblings, version_tables_of_siblings
from service_migrations.settings.sources import Sources
from tests.support.monorepo import Monorepo
from tests.support.table import set_keys

HERE = "postgresql://app:x@h/shop"
ELSEWHERE = "postgresql://app:x@h/else"
OWN = frozenset({Database.of(parse(HERE, "here"))})


@pytest.fixture
def billing(monorepo: Monorepo) -> Service:
    (monorepo.root / ".env.example").write_text("NOTHING=1\n", encoding="utf-8")
    return monorepo.service("billing", dsn=HERE)


def of(service: Service, *tables: str) -> tuple[Sibling, ...]:
    return siblings(service, OWN, Sources({}), tables)


def certain(service: Service, *tables: str) -> dict[str, bool]:
    return {sibling.service.name: sibling.certain for sibling in of(service, *tables)}


def example(service: Service, dsn: str) -> None:
    (service.path / ".env.example").write_text(f"DATABASE_DSN={dsn}\n", encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "DATABASE_DSN={} # the database of several services\n",
        'DATABASE_DSN="{}"  # the database of several services\n',
        "  DATABASE_DSN={}\n",
        "\ufeffDATABASE_DSN={}\n",
        "DATABASE_DSN={}\r\n",
        "'DATABASE_DSN'='{}'\n",
    ],
)
def test_an_example_is_read_as_a_env_is(monorepo: Monorepo, billing: Service, text: str) -> None:
    """What the comment is taken for would be another database, and the sibling's tables would be nobody's."""
    orders = monorepo.service("orders")
    example(billing, HERE)
    (orders.path / ".env.example").write_bytes(text.format(HERE).encode())
    assert certain(billing) == {"orders": True}
    write_env(orders, Cluster(monorepo.root, "18", 54321, "secret"))
    assert load(orders, Sources({})).dsn.target == "app@127.0.0.1:54321/shop"


def test_a_env_that_an_editor_has_given_a_mark_of_its_encoding_was_made_here_all_the_same(monorepo: Monorepo) -> None:
    service = monorepo.service("orders")
    example(service, HERE)
    write_env(service, Cluster(monorepo.root, "18", 54321, "secret"))
    service.env_file.write_bytes(b"\xef\xbb\xbf" + service.env_file.read_bytes().replace(b"\n", b"\r\n"))
    assert made_here(service)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        (HERE, True),
        (HERE.replace("app:x", "other:y"), True),
        (HERE.replace("@h", "@H"), True),
        (ELSEWHERE, None),
        (HERE.replace("@h", "@g"), None),
        (HERE.replace("@h", "@h:1"), None),
    ],
)
@pytest.mark.parametrize("key", ["DATABASE_DSN", "DATABASE_DIRECT_DSN"])
def test_settings_that_lead_to_the_database_make_a_sibling(
    monorepo: Monorepo, billing: Service, key: str, dsn: str, expected: bool | None
) -> None:
    monorepo.service("orders")
    monorepo.env("orders", **{"DATABASE_DSN": ELSEWHERE, key: dsn})
    assert certain(billing).get("orders") == expected
    settings = [sibling.settings for sibling in of(billing)]
    assert [found.service.name for found in settings if found] == (["orders"] if expected else [])


@pytest.mark.parametrize(
    ("settings", "own_example", "other_example", "expected"),
    [
        # without settings the example decides
        (None, None, None, False),
        (None, None, "nonsense", False),
        (None, None, HERE, True),
        (None, None, HERE.replace("@h", "@g"), True),  # its name is all that an example shows
        (None, None, ELSEWHERE, None),
        (None, ELSEWHERE, ELSEWHERE, True),
        (None, HERE, ELSEWHERE, None),
        (None, HERE, None, False),
        # two examples that agree outweigh settings that lead elsewhere, which are this machine's
        (ELSEWHERE, HERE, HERE, False),
        (ELSEWHERE, ELSEWHERE, HERE, None),
        (ELSEWHERE, None, HERE, None),
        (ELSEWHERE, None, None, None),
        (HERE, HERE, ELSEWHERE, True),
    ],
)
def test_an_example_counts_where_settings_are_missing_or_both_examples_agree(
    monorepo: Monorepo,
    billing: Service,
    settings: str | None,
    own_example: str | None,
    other_example: str | None,
    expected: bool | None,
) -> None:
    orders = monorepo.service("orders", dsn=settings)
    for service, text in ((billing, own_example), (orders, other_example)):
        if text:
            example(service, text)
    assert certain(billing).get("orders") == expected


@pytest.mark.parametrize("table", ["alembic_version_orders", "migration_log_orders"])
def test_a_service_whose_table_is_in_the_database_is_a_sibling_that_is_not_certain(
    monorepo: Monorepo, billing: Service, table: str
) -> None:
    monorepo.service("orders", dsn=ELSEWHERE)
    assert certain(billing, "other") == {}
    assert certain(billing, table) == {"orders": False}
    assert [sibling.settings for sibling in of(billing, table)] == [None]


@pytest.mark.usefixtures("billing")
def test_a_name_that_several_version_tables_have_shows_nothing(monorepo: Monorepo) -> None:
    set_keys(monorepo, 'version_table = "alembic_version"')
    for name in ("orders", "stock"):
        monorepo.service(name, dsn=ELSEWHERE)
    assert certain(monorepo.find("billing"), "alembic_version") == {}
    set_keys(monorepo, 'version_table = "versions"', service="stock")
    assert certain(monorepo.find("billing"), "alembic_version", "versions") == {"stock": False}


def test_only_settings_that_lead_to_the_database_share_it_for_certain(monorepo: Monorepo, billing: Service) -> None:
    example(billing, HERE)
    monorepo.service("orders", dsn=HERE)
    for name, dsn, shown in (("elsewhere", ELSEWHERE, HERE), ("example", None, HERE), ("nothing", None, None)):
        service = monorepo.service(name, dsn=dsn)
        if shown:
            example(service, shown)
    assert certain(billing) == {"elsewhere": False, "example": True, "nothing": False, "orders": True}
    assert [sibling.service.name for sibling in sharing(load(billing, Sources({})))] == ["orders"]


def test_a_sibling_has_the_names_of_its_settings_and_is_a_key(monorepo: Monorepo, billing: Service) -> None:
    own = {"MIGRATIONS_VERSION_TABLE": "mine", "MIGRATIONS_SEARCH_PATH": '\'"$user", "app", public\''}
    monorepo.service("orders", dsn=HERE, **own)
    monorepo.service("stock")
    assert {sibling: sibling.schema for sibling in of(billing)}[of(billing)[0]] == "app"
    assert [(each.service.name, each.version_table, each.schema) for each in of(billing)] == [
        ("orders", "mine", "app"),
        ("stock", "alembic_version_stock", "public"),
    ]


@pytest.mark.usefixtures("billing")
def test_a_version_table_is_a_siblings_by_its_own_name_or_where_that_surely_has_the_database(
    monorepo: Monorepo,
) -> None:
    billing = monorepo.find("billing")
    monorepo.service("orders", dsn=HERE, MIGRATIONS_VERSION_TABLE="mine")
    monorepo.service("stock", dsn=ELSEWHERE, MIGRATIONS_VERSION_TABLE="elsewhere")
    names = version_tables_of_siblings(billing, "alembic_version_billing", OWN, Sources({}))
    assert names == {"alembic_version_orders", "alembic_version_stock", "mine"}
    # its own names are none of a sibling's, neither that of its settings nor the one that it would have without them
    names = version_tables_of_siblings(billing, "mine", OWN, Sources({}))
    assert names == {"alembic_version_orders", "alembic_version_stock"}
    set_keys(monorepo, 'version_table = "alembic_version"')
    names = version_tables_of_siblings(monorepo.find("billing"), "alembic_version", OWN, Sources({}))
    assert names == {"mine"}


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("app, public", "app"),
        ('"$user", app', "app"),
        ("$user", "public"),
        (" , app", "app"),
        ('"a b"', "a b"),
        ("Sales", "sales"),
        ('"Sales", public', "Sales"),
        ('"a,b", public', "a,b"),
        ('"a""b"', 'a"b'),
    ],
)
def test_the_schema_of_a_service_is_the_first_of_its_search_path(
    monorepo: Monorepo, billing: Service, path: str, schema: str
) -> None:
    assert default_schema(billing, Sources({"BILLING_MIGRATIONS_SEARCH_PATH": path})) == schema
    monorepo.env("billing", DATABASE_DSN="")
    assert default_schema(billing, Sources({"BILLING_MIGRATIONS_SEARCH_PATH": path})) == "public"

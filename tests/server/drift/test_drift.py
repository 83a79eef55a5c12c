"""A run of db.drift: what it compares with, where it replays the history, and that nothing of it stays."""

import json
import signal
import time

import pytest

import service_migrations
from service_migrations.drift.compare import compare
from service_migrations.drift.drift import drift
from service_migrations.drift.scratch import _LOCK
from service_migrations.errors import AccessDeniedError, ConfigurationError, LockNotObtainedError, MigrationError
from tests.support.database import query, run_script, wait
from tests.support.deadlines import until
from tests.support.monorepo import dsn_text
from tests.support.sessions import Session
from tests.support.shop import FIRST, MODELS, SECOND, scratches, split, write_history

DROPPED = "ALTER TABLE customers DROP CONSTRAINT ck_score"
LINE = (
    "shop: constraint customers.ck_score is in the history but not in the database: ALTER TABLE public.customers ADD "
)


def test_the_task_prints_a_line_for_each_difference_and_exits_with_3(shop):
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert (ran.code, ran.out) == (0, f"shop: {shop.dsn.target} is as its history says\n")
    assert ran.err == ""
    shop.by_hand(DROPPED)
    ran = shop.monorepo.inv("db.drift")
    assert ran.code == 3
    assert ran.out.startswith(LINE)
    assert ran.out.count("\n") == 1
    assert ran.err == "shop: 1 difference. Run the SQL, or write a revision for what is to stay.\n"


def test_json_holds_the_sql_and_what_to_know_before(shop):
    shop.by_hand(DROPPED, "ALTER TABLE customers ADD phone text")
    ran = shop.monorepo.inv("db.drift", "--service", "shop", "--json")
    assert ran.code == 3
    [told] = json.loads(ran.out)
    assert (told["service"], told["revisions"], told["pending"]) == ("shop", ["r2"], 0)
    column, constraint = told["differences"]
    assert (column["kind"], column["name"], column["note"]) == (
        "column",
        "customers.phone",
        "This loses what is in it.",
    )
    assert constraint["sql"].startswith("ALTER TABLE public.customers ADD CONSTRAINT ck_score ")
    assert constraint["note"] is None


def test_what_no_sql_can_fix_says_what_to_do(shop):
    shop.by_hand("ALTER TYPE state ADD VALUE 'lost'")
    [difference] = shop.drift().differences
    assert difference.sql is None
    assert str(difference).startswith(
        "enum state has the labels open, paid, shipped, lost in the database, open, paid, shipped in the "
    )
    assert "PostgreSQL can neither remove nor move a label." in str(difference)


@pytest.mark.parametrize(
    ("by_hand", "renames"),
    [
        (
            "ALTER TABLE customers RENAME COLUMN score TO points",
            "ALTER TABLE public.customers RENAME COLUMN points TO score;",
        ),
        ("ALTER TABLE orders RENAME TO purchases", "ALTER TABLE public.purchases RENAME TO orders;"),
    ],
    ids=["column", "table"],
)
def test_what_was_renamed_by_hand_can_be_renamed_back_instead_of_dropped(shop, by_hand, renames):
    shop.by_hand("INSERT INTO customers (email, score) VALUES ('a', 7)", by_hand)
    notes = [
        difference.note for difference in shop.drift().differences if difference.note and "renamed" in difference.note
    ]
    assert notes == [f"This loses what is in it. If it was only renamed, run this instead: {renames}"]
    shop.by_hand(renames)
    assert shop.drift().differences == ()
    assert query(shop.dsn, "SELECT score FROM customers")[0][0] == 7


def test_an_invalid_index_is_seen_and_built_again(shop):
    shop.by_hand("INSERT INTO customers (email) VALUES ('a')", "INSERT INTO orders (customer) VALUES (1)")
    query(shop.admin, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_orders_customer'::regclass")
    differences = shop.drift().differences
    assert [str(difference).partition(":")[0] for difference in differences] == [
        "index ix_orders_customer is INVALID in the database"
    ]
    shop.fix(differences)
    assert shop.drift().differences == ()


def test_a_foreign_key_whose_triggers_are_disabled_is_seen_and_made_again(shop):
    query(shop.admin, "ALTER TABLE orders DISABLE TRIGGER ALL")
    differences = shop.drift().differences
    assert [difference.name for difference in differences] == ["orders.fk_customer"]
    assert "is switched off in the database" in str(differences[0])
    shop.fix(differences)
    assert shop.drift().differences == ()


def test_an_extension_that_was_made_by_hand_is_seen_and_its_members_are_not(shop):
    shop.by_hand("CREATE EXTENSION hstore")
    differences = shop.drift().differences
    assert [str(difference) for difference in differences] == [
        "extension hstore is in the database but not in the history: DROP EXTENSION hstore;"
    ]
    shop.fix(differences)
    assert shop.drift().differences == ()


def test_partitions_that_something_makes_while_the_service_runs_are_no_drift(shop):
    shop.by_hand("CREATE TABLE events_2021 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')")
    assert shop.drift().differences == ()


def test_columns_in_another_order_are_no_drift(shop):
    shop.by_hand("ALTER TABLE customers DROP touched", "ALTER TABLE customers ADD touched timestamptz")
    assert shop.drift().differences == ()


def test_grants_and_owners_are_compared_on_request(shop):
    shop.by_hand("GRANT SELECT ON orders TO PUBLIC", "REVOKE EXECUTE ON FUNCTION twice(integer) FROM PUBLIC")
    query(shop.admin, "ALTER TABLE customers OWNER TO CURRENT_USER")
    assert shop.drift().differences == ()
    differences = shop.drift(grants=True).differences
    assert {(difference.kind, difference.name) for difference in differences} == {
        ("table", "orders"),
        ("function", "twice(n integer)"),
        ("table", "customers"),
    }
    run_script(shop.admin, [statement for each in differences for statement in split(each.sql)])
    assert shop.drift(grants=True).differences == ()


def test_a_database_behind_head_is_compared_at_its_revision(shop):
    shop.monorepo.revision("shop", "r3", "r2", 'op.execute("ALTER TABLE orders ADD paid boolean")')
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 0
    assert ran.out == f"shop: {shop.dsn.target} is as its history says\n"
    assert ran.err == f"shop: {shop.dsn.target} is behind head by 1; it was compared at its revision, r2.\n"
    shop.by_hand(DROPPED)
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 3
    assert ran.out.startswith(LINE)
    assert "paid" not in ran.out


def test_a_database_at_a_revision_of_another_checkout_is_refused(shop):
    query(shop.dsn, "UPDATE alembic_version_shop SET version_num = 'r9'")
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 3
    assert "is at r9, which migrations/versions/shop doesn't have" in ran.err


def test_a_database_that_was_never_upgraded_holds_no_drift_but_what_nobody_claims(monorepo, database, server):
    service = monorepo.service("shop", MODELS.format(schema=None), database())
    write_history(monorepo, "shop", FIRST, SECOND)
    result = wait(drift(service))
    assert (result.revisions, result.pending, result.differences) == ((), 2, ())
    assert scratches(server) == []


def test_a_role_that_may_not_create_databases_is_told_how_to_name_one(shop, server):
    query(server.admin, f'ALTER ROLE "{shop.dsn.user}" NOCREATEDB')
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 77
    assert ran.out == ""
    assert ran.err == (
        f"shop: {shop.dsn.user} may not create a scratch database beside {shop.dsn.target}. An administrator can run: "
        f"ALTER ROLE {shop.dsn.user} CREATEDB; or name an empty database in DATABASE_SCRATCH_DSN, or an "
        f"administrator in DATABASE_ADMIN_DSN.\n"
    )


def test_an_administrator_makes_the_scratch_database_where_the_role_may_not(shop, server):
    query(server.admin, f'ALTER ROLE "{shop.dsn.user}" NOCREATEDB')
    shop.monorepo.env("shop", DATABASE_DSN=dsn_text(shop.dsn), DATABASE_ADMIN_DSN=dsn_text(server.admin))
    shop.by_hand(DROPPED)
    [difference] = shop.drift().differences
    assert difference.name == "customers.ck_score"


@pytest.fixture
def named(shop, server, database):
    """The shop with a scratch database of its own, where its role may not make one."""
    query(server.admin, f'ALTER ROLE "{shop.dsn.user}" NOCREATEDB')
    dsn = database()
    shop.monorepo.env("shop", DATABASE_DSN=dsn_text(shop.dsn), DATABASE_SCRATCH_DSN=dsn_text(dsn),
                      MIGRATIONS_LOCK_WAIT="1s")  # fmt: skip
    return dsn


def nothing_in(dsn):
    return not query(
        dsn, "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^pg_' "
        "AND nspname <> 'information_schema' UNION ALL SELECT nspname FROM pg_namespace WHERE nspname ~ 'migrations'"
        " UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace UNION ALL "
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )  # fmt: skip


def test_a_named_scratch_database_is_empty_again_afterwards(shop, named):
    shop.by_hand(DROPPED)
    for _ in range(2):
        [difference] = shop.drift().differences
        assert difference.name == "customers.ck_score"
        assert nothing_in(named)


def test_a_named_scratch_database_that_holds_anything_is_refused_and_not_touched(shop, named):
    query(named, "CREATE TABLE precious (id integer)")
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 78
    assert ran.err == (
        f"shop: DATABASE_SCRATCH_DSN names {named.target}, which isn't empty: it has 1 objects, such as the table "
        f"precious. Nothing was changed. Name an empty database.\n"
    )
    assert query(named, "SELECT count(*) FROM precious")[0][0] == 0
    assert not query(named, "SELECT FROM pg_namespace WHERE nspname = 'migrations_scratch'")


def test_what_a_killed_run_left_in_a_named_scratch_database_is_cleared_away(shop, named):
    run_script(named, ["CREATE SCHEMA migrations_scratch", "CREATE TABLE customers (id integer)"])
    assert shop.drift().differences == ()
    assert nothing_in(named)


@pytest.mark.parametrize("text", ["ours", "[1]", '{"ab": 1}', '[["table"]]', '[["a", "b", "c", "d"]]'])
def test_a_named_scratch_database_whose_mark_was_altered_is_not_touched(shop, named, text):
    mark = f"COMMENT ON SCHEMA migrations_scratch IS '{text}'"
    run_script(named, ["CREATE SCHEMA migrations_scratch", mark, "CREATE TABLE precious (id integer)"])
    with pytest.raises(ConfigurationError, match="somebody altered the comment on the schema migrations_scratch"):
        shop.drift()
    assert query(named, "SELECT count(*) FROM precious")[0][0] == 0


OTHER_KINDS = [
    "CREATE COLLATION germanic (locale = 'C')",
    "CREATE FUNCTION alike(customers, customers) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR === (LEFTARG = customers, RIGHTARG = customers, FUNCTION = alike)",
    "CREATE PUBLICATION news",
    "CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple)",
    "CREATE TEXT SEARCH CONFIGURATION prose (PARSER = default)",
    "CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "SELECT lo_create(0)",
]
"""One of each kind that is compared by nothing, made after the table customers."""

LEFT = """
    SELECT 'collation ' || collname FROM pg_collation WHERE oid >= 16384
    UNION ALL SELECT 'operator ' || oprname FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication
    UNION ALL SELECT 'dictionary ' || dictname FROM pg_ts_dict WHERE oid >= 16384
    UNION ALL SELECT 'configuration ' || cfgname FROM pg_ts_config WHERE oid >= 16384
    UNION ALL SELECT 'conversion ' || conname FROM pg_conversion WHERE oid >= 16384
    UNION ALL SELECT 'large object' FROM pg_largeobject_metadata
    UNION ALL SELECT 'table ' || oid::regclass FROM pg_class WHERE relkind = 'r' AND relname = 'customers'
"""


def test_a_named_scratch_database_is_emptied_of_what_nothing_compares(shop, named):

    write_history(shop.monorepo, "shop", [*FIRST, *OTHER_KINDS], SECOND)
    for _ in range(2):
        assert [each.kind for each in shop.drift().differences] == ["function"]
        assert query(named, LEFT) == []


def test_a_named_scratch_database_that_holds_what_nothing_compares_is_refused_too(shop, named):
    query(named, OTHER_KINDS[0])
    with pytest.raises(ConfigurationError, match="has 1 objects, such as the collation public"):
        shop.drift()
    assert query(named, LEFT) == [("collation germanic",)]


def test_what_stays_in_a_named_scratch_database_is_known_by_its_schema(shop, named):
    kept = json.dumps([["schema", "other", "other"], ["table", "other", "customers"]])
    mark = f"COMMENT ON SCHEMA migrations_scratch IS '{kept}'"
    made = ["CREATE SCHEMA other", "CREATE TABLE other.customers ()", "CREATE TABLE customers ()"]
    run_script(named, ["CREATE SCHEMA migrations_scratch", mark, *made])
    assert shop.drift().differences == ()
    assert query(named, LEFT) == [("table other.customers",)]


def test_the_mark_of_an_older_version_says_nothing_of_kinds_that_it_did_not_see(shop, named):
    kept = json.dumps([["schema", "other"]])
    mark = f"COMMENT ON SCHEMA migrations_scratch IS '{kept}'"
    run_script(named, ["CREATE SCHEMA migrations_scratch", mark, "CREATE SCHEMA other", OTHER_KINDS[0]])
    assert shop.drift().differences == ()
    assert query(named, LEFT) == [("collation germanic",)]


def test_the_services_own_database_is_no_scratch_database(shop):
    shop.monorepo.env("shop", DATABASE_DSN=dsn_text(shop.dsn), DATABASE_SCRATCH_DSN=dsn_text(shop.dsn))
    with pytest.raises(ConfigurationError, match="which is the service's own database"):
        shop.drift()


def test_two_runs_take_turns_in_a_named_scratch_database(shop, named):
    other = Session(named)
    try:
        assert other.run(_LOCK)[0][0] is True
        with pytest.raises(LockNotObtainedError, match="which another run uses"):
            shop.drift()
    finally:
        other.close()
    assert shop.drift().differences == ()


def test_what_killed_runs_left_is_dropped_when_it_is_old_and_nobody_uses_it(shop, server):
    old, young, foreign, used = (
        f"migrations_scratch_{name}"
        for name in ("20200101000000_0123abcd", "29990101000000_0123abcd", "mine", "20200101000000_deadbeef")
    )
    for name in (old, young, foreign, used):
        query(server.admin, f'CREATE DATABASE {name} OWNER "{shop.dsn.user}"')
    user = Session(type(shop.dsn)(shop.dsn.user, used, shop.dsn.hosts, shop.dsn.password))
    try:
        shop.drift()
        assert scratches(server) == sorted([young, foreign, used])
    finally:
        user.close()
        for name in (young, foreign, used):
            query(server.admin, f"DROP DATABASE {name} WITH (FORCE)")


SLOW = (
    'op.execute("SELECT pg_sleep(600)") if op.get_bind().engine.url.database.startswith("migrations_scratch") else None'
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_leaves_no_scratch_database(shop, server, number):
    shop.monorepo.revision("shop", "r3", "r2", SLOW)
    wait(service_migrations.upgrade(shop.service))
    run = shop.monorepo.spawn("db.drift", "--service", "shop")
    sleeping = (
        "SELECT FROM pg_stat_activity WHERE datname LIKE 'migrations\\_scratch%' AND query LIKE '%pg_sleep(600)%'"
    )
    until(lambda: query(server.admin, sleeping), "the replay sleeps")
    assert len(scratches(server)) == 1
    run.send_signal(number)
    sent = time.monotonic()
    out, err = run.communicate(timeout=30)
    assert time.monotonic() - sent < 12
    assert run.returncode == 128 + number
    assert out == ""
    assert err.splitlines()[-1] == f"Stopped by {number.name}."
    assert scratches(server) == []


def test_a_replay_that_fails_leaves_no_scratch_database_and_says_where(shop, server):
    shop.monorepo.revision("shop", "r3", "r2", 'op.execute("ALTER TABLE nowhere ADD x integer")')
    query(shop.dsn, "UPDATE alembic_version_shop SET version_num = 'r3'")
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 2
    assert "migrations/versions/shop/r3.py:" in ran.err
    assert "The history can't be replayed into a scratch database." in ran.err
    assert scratches(server) == []


def test_a_lost_connection_leaves_no_scratch_database(shop, server):
    kill = (
        "if op.get_bind().engine.url.database.startswith('migrations_scratch'):\n"
        "    op.execute('SELECT pg_terminate_backend(pg_backend_pid())')"
    )
    shop.monorepo.revision("shop", "r3", "r2", kill)
    query(shop.dsn, "UPDATE alembic_version_shop SET version_num = 'r3'")
    with pytest.raises(MigrationError, match="connection") as caught:
        shop.drift()
    assert caught.value.exit_code == 69
    assert scratches(server) == []


def test_a_wrong_password_is_77_and_printed_nowhere(shop):
    wrong = type(shop.dsn)(shop.dsn.user, shop.dsn.database, shop.dsn.hosts, "hunter2")
    shop.monorepo.env("shop", DATABASE_DSN=dsn_text(wrong))
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 77
    assert "hunter2" not in ran.text
    assert len(ran.err.splitlines()) == 1


def test_a_server_that_is_down_is_69(shop):
    down = type(shop.dsn)(shop.dsn.user, shop.dsn.database, (("127.0.0.1", 1),), "secret")
    shop.monorepo.env("shop", DATABASE_DSN=dsn_text(down))
    ran = shop.monorepo.inv("db.drift", "--service", "shop")
    assert ran.code == 69
    assert len(ran.err.splitlines()) == 1


def test_runs_at_the_same_time_dont_disturb_each_other(shop):
    runs = [shop.monorepo.spawn("db.drift", "--service", "shop") for _ in range(3)]
    said = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said


def test_a_denied_role_is_an_error_of_the_library_too(shop, server):
    query(server.admin, f'ALTER ROLE "{shop.dsn.user}" NOCREATEDB')
    with pytest.raises(AccessDeniedError):
        shop.drift()


def test_two_empty_catalogs_are_equal():
    assert compare([], [], lambda _: True) == ()

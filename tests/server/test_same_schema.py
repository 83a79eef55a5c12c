"""A history gives the same schema on every PostgreSQL, or its tests fail with the revision and the object."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest

from service_migrations.catalog.objects import Object, read
from service_migrations.postgres import VERSIONS, Server
from service_migrations.testing import portable as rules
from service_migrations.testing.databases import Databases
from service_migrations.testing.event_loop import wait
from service_migrations.testing.portable import portable
from service_migrations.testing.schema import connected, execute
from service_migrations.testing.server import shared_server
from tests.support.monorepo import Monorepo, Ran
from tests.support.pytest_runs import given, pytest_in
from tests.support.shop import FIRST, SECOND

TEST = "test_every_revision_gives_the_same_schema_as_on_other_versions_of_postgresql"
MORE = (
    (
        "CREATE TABLE ids (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, PRIMARY KEY (id, at)) "
        "PARTITION BY RANGE (at)"
    ),
    "CREATE TABLE ids_1 PARTITION OF ids FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
    "CREATE TABLE refs (id bigint, at date, CONSTRAINT fk FOREIGN KEY (id, at) REFERENCES ids)",
    "CREATE TRIGGER touched AFTER INSERT ON ids FOR EACH ROW EXECUTE FUNCTION touch()",
    (
        "CREATE VIEW late AS SELECT o.id, c.email, extract(year FROM c.since) AS y, o.placed AT TIME ZONE 'utc' AS at "
        "FROM orders o JOIN customers c ON c.id = o.customer"
    ),
    "CREATE VIEW large AS SELECT * FROM orders WHERE total > (SELECT avg(total) FROM orders)",
    "CREATE VIEW pairs AS SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v (i, t)",
    (
        "CREATE FUNCTION of_customer(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC "
        "SELECT orders.id FROM orders WHERE orders.customer = a; END"
    ),
    "CREATE RULE kept AS ON UPDATE TO orders DO ALSO INSERT INTO events (at, what) SELECT new.placed::date, 'x'",
    (
        "CREATE TABLE misc (a int DEFAULT 1 + 2, b timestamp DEFAULT CURRENT_TIMESTAMP, c text DEFAULT 'x' || 'y', "
        "d jsonb DEFAULT '{}', e int[] DEFAULT '{1}', f date DEFAULT CURRENT_DATE, g text DEFAULT upper('a'), "
        "h interval DEFAULT '1 day', i numeric DEFAULT -1, j text DEFAULT current_user, "
        "k timestamp DEFAULT (now() AT TIME ZONE 'utc'), l uuid DEFAULT gen_random_uuid(), "
        "m text GENERATED ALWAYS AS (c || 'a') STORED, EXCLUDE USING gist (int4range(a, a + 1) WITH &&), "
        "CHECK (a BETWEEN 1 AND 3), CHECK (c IN ('a', 'b') AND c LIKE 'x%'), UNIQUE (a, b) DEFERRABLE)"
    ),
    "CREATE INDEX ie ON misc (lower(c) text_pattern_ops, (a + 1) DESC NULLS LAST) INCLUDE (i) WHERE a IS NOT NULL",
    "CREATE TABLE child (x int) INHERITS (misc)",
    "CREATE STATISTICS sums ON (a + 1), b FROM misc",
    "CREATE POLICY own ON misc USING (c = current_user AND EXISTS (SELECT FROM customers WHERE customers.id = misc.a))",
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Yield a server of each version."""
    with ExitStack() as stack:
        yield {
            version: stack.enter_context(shared_server(version, tmp_path_factory.mktemp(f"postgres-{version}")))
            for version in VERSIONS
        }


@pytest.fixture(scope="module")
def described(servers: dict[str, Server]) -> dict[str, tuple[Object, ...]]:
    """Return the objects of one of everything, on each version."""

    async def everything(server: Server) -> tuple[Object, ...]:
        databases = Databases(server)
        name = databases.new_name()
        async with databases.connected() as admin:
            await admin.execute(f'CREATE DATABASE "{name}"')
        async with connected(replace(server.admin, database=name)) as connection:
            for statement in (*FIRST, *SECOND, *MORE):
                await execute(connection, statement)
            objects = await read(connection)
        await databases.drop(name)
        return objects

    return {version: wait(partial(everything, server)) for version, server in servers.items()}


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_one_of_everything_is_the_same_everywhere(described: dict[str, tuple[Object, ...]], version: str) -> None:
    newest = portable(described[VERSIONS[-1]])
    assert portable(described[version]) == newest
    assert len(newest) > 100


RULES = {
    "clones on partitions": ("_is_clone", lambda _: False, "constraint public.refs.fk"),
    "qualifiers": ("_UNQUALIFIED", (), "view public.open_orders"),
    "the identity of a partition's column": ("_IDENTITY", "", "column public.ids_1.id"),
}


@pytest.mark.parametrize(("name", "without", "differs"), RULES.values(), ids=RULES)
def test_each_rule_is_needed(
    described: dict[str, tuple[Object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    without: object,
    differs: str,
) -> None:
    monkeypatch.setattr(rules, name, without)
    oldest, newest = portable(described[VERSIONS[0]]), portable(described[VERSIONS[-1]])
    assert any(key.startswith(differs) for key in oldest.keys() | newest.keys() if oldest.get(key) != newest.get(key))


TRAPS = {
    "a condition on the server": (
        "if op.get_bind().dialect.server_version_info >= (16,): op.execute('ALTER TABLE billing ADD COLUMN newer int')",
        "r002: column public.billing.newer: on PostgreSQL {new} not_null False; type integer; on {old} isn't changed",
    ),
    "a statement that is skipped": (
        (
            "op.execute(\"DO $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN "
            'CREATE INDEX ix ON billing (name); END IF; END $$")'
        ),
        (
            "r002: index public.billing.ix: on PostgreSQL {new} definition CREATE INDEX ix ON public.billing USING "
            "btree (name); valid True; on {old} isn't changed"
        ),
    ),
    "a default": (
        (
            "op.execute(\"DO $$ BEGIN EXECUTE format('ALTER TABLE billing ALTER name SET DEFAULT %L', "
            "current_setting('server_version_num')::int / 10000); END $$\")"
        ),
        (
            "r002: column public.billing.name: on PostgreSQL {new} default '{new}'::character varying; not_null True; "
            "type character varying(50); on {old} default '{old}'::character varying; not_null True; "
            "type character varying(50)"
        ),
    ),
    "an object that one version drops": (
        "if op.get_bind().dialect.server_version_info >= (16,): op.execute('ALTER TABLE billing DROP COLUMN name')",
        "r002: column public.billing.name: on PostgreSQL {new} isn't there; on {old} isn't changed",
    ),
}


def run(monorepo: Monorepo, server: Server) -> Ran:
    """Run the test with pytest's cache, which is in the monorepo."""
    return pytest_in(monorepo.root, "--pyargs", "service_migrations.testing", "-k", TEST, cache=True, **given(server))


@pytest.mark.parametrize(("body", "line"), TRAPS.values(), ids=TRAPS)
def test_a_revision_that_differs_is_named(monorepo: Monorepo, servers: dict[str, Server], body: str, line: str) -> None:
    old, new = servers["14"], servers["18"]
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    monorepo.revision("billing", "r002", "r001", body)
    monorepo.revision("billing", "r003", "r002", "op.execute('ALTER TABLE billing ADD COLUMN later int')")
    first, second = run(monorepo, old), run(monorepo, new)
    assert first.code == 0, first.text
    assert "schemas compared with those of PostgreSQL: none\n" in first.out
    assert second.code == 1, second.text
    assert f"AssertionError: {line.format(old='14', new='18')}\n" in second.out
    assert "r003" not in second.out.partition("AssertionError")[2].partition("\n")[0]


def test_records_of_another_history_do_not_count(monorepo: Monorepo, servers: dict[str, Server]) -> None:
    monorepo.service("billing")
    path = monorepo.table_revision("billing", "r001", None)
    assert run(monorepo, servers["14"]).code == 0
    path.write_text(path.read_text(encoding="utf-8").replace("50", "60"), encoding="utf-8")
    on_another_history = run(monorepo, servers["18"])
    assert on_another_history.code == 0
    assert "schemas compared with those of PostgreSQL: none\n" in on_another_history.out
    assert "schemas compared with those of PostgreSQL: 18\n" in run(monorepo, servers["14"]).out
    [cached] = monorepo.root.glob(".pytest_cache/d/*/billing.14.json")
    cached.write_text("{", encoding="utf-8")
    assert run(monorepo, servers["18"]).code == 0


def test_nor_do_those_of_before_an_edit_of_what_a_revision_uses(monorepo: Monorepo, servers: dict[str, Server]) -> None:
    """The test would fail on a difference of the two texts, and name the versions of PostgreSQL for it."""
    monorepo.service("billing")
    helper = monorepo.root / "billing_names.py"
    up = "import billing_names, pathlib\nop.create_table(billing_names.NAME)\n"
    up += "op.execute(pathlib.Path(__file__).with_name('more.sql').read_text())"
    script = monorepo.revision("billing", "r001", None, up).with_name("more.sql")
    for number, (path, text) in enumerate([(helper, "NAME = '{}'\n"), (script, "CREATE TABLE {} (id int)")]):
        helper.write_text(f"NAME = 'name{number}'\n", encoding="utf-8")
        script.write_text(f"CREATE TABLE more{number} (id int)", encoding="utf-8")
        assert run(monorepo, servers["14"]).code == 0
        path.write_text(text.format("another"), encoding="utf-8")
        ran = run(monorepo, servers["18"])
        assert ran.code == 0, ran.text
        assert "schemas compared with those of PostgreSQL: none\n" in ran.out


def test_without_a_cache_nothing_is_compared(monorepo: Monorepo, servers: dict[str, Server]) -> None:
    monorepo.service("billing")
    monorepo.table_revision("billing", "r001", None)
    ran = pytest_in(monorepo.root, "--pyargs", "service_migrations.testing", "-k", TEST, **given(servers["18"]))
    assert ran.code == 0, ran.text
    assert not (monorepo.root / ".pytest_cache").exists()

"""A column that becomes a generated one, ceases to be one or changes as one: no value changes in silence, both ways."""

from collections.abc import Callable

import pytest
import sqlalchemy

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, models, remodel, written
from tests.support.comparison import catalog, differences, version
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

WITHOUT_VIRTUAL = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2]) < (2, 1)
"""SQLAlchemy 2.0 refuses a virtual column of PostgreSQL itself."""


def column(kind: str = "Integer", rest: str = "") -> str:
    return f"Column('a', {kind}, {rest})"


def stored(expression: str = "number * 2", kind: str = "Integer", rest: str = "") -> str:
    return column(kind, f"Computed({expression!r}, persisted=True), {rest}")


def virtual(expression: str = "number * 2", kind: str = "Integer", rest: str = "") -> str:
    return column(kind, f"Computed({expression!r}, persisted=False), {rest}")


FILLED = "nullable=False, comment='twice'"
CHECKED = ("CheckConstraint('a > 0', name='positive')",)
INDEXED = (*CHECKED, "Index('ix', 'a')", "UniqueConstraint('a', name='one')")

CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...], list[str], list[str]]] = {}
"""Before and after; the values of the numbers 3 and 4 after the upgrade, and after the downgrade."""

for word, generated in {"stored": stored, "virtual": virtual}.items():
    CASES |= {
        f"{word} to plain": ((generated(),), (column(),), ["6", "8"], ["6", "8"]),
        f"{word} to plain, filled": (
            (generated(rest=FILLED), *CHECKED),
            (column(rest=FILLED), *CHECKED),
            ["6", "8"],
            ["6", "8"],
        ),
        f"{word} to plain with a default": (
            (generated(),),
            (column(rest="nullable=False, server_default='5'"),),
            ["6", "8"],
            ["6", "8"],
        ),
        f"{word} to plain of another type": (
            (generated(),),
            (column("String(9)", "nullable=False, server_default='x'"),),
            ["6", "8"],
            ["6", "8"],
        ),
        f"{word} to plain with indexes": ((generated(), *CHECKED), (column(), *INDEXED), ["6", "8"], ["6", "8"]),
        f"{word} to plain, and its source gets another type": (
            (generated("other * 2"), "Column('other', Integer, server_default='3')"),
            (column(), "Column('other', String(9), server_default='3')"),
            ["6", "6"],
            ["6", "6"],
        ),
        f"{word} to plain, and its source is dropped": (
            (generated("number * gone"), "Column('gone', Integer, server_default='2')"),
            (column(),),
            ["6", "8"],
            ["6", "8"],
        ),
        f"plain to {word}": (
            (column(rest="server_default='1'"),),
            (generated(rest=FILLED),),
            ["6", "8"],
            ["6", "8"],
        ),
        f"plain of another type to {word}": (
            (column("String(9)", "nullable=False"),),
            (generated("number * 3"),),
            ["9", "12"],
            ["9", "12"],
        ),
        f"another expression, {word}": ((generated(),), (generated("number + 1"),), ["4", "5"], ["6", "8"]),
        f"another expression, {word}, filled": (
            (generated(rest=FILLED), *CHECKED),
            (generated("number + 1", rest="nullable=False"), *CHECKED),
            ["4", "5"],
            ["6", "8"],
        ),
        f"another type, {word}": ((generated(),), (generated(kind="BigInteger"),), ["6", "8"], ["6", "8"]),
        f"another type and expression, {word}": (
            (generated("number / 2.0", "Numeric(8, 0)"),),
            (generated("number / 4.0", "Numeric(8, 2)"),),
            ["0.75", "1.00"],
            ["2", "2"],
        ),
        f"another expression of a new column, {word}": (
            (generated(), "Column('old', Integer, server_default='1')"),
            (generated("fresh + 1"), "Column('fresh', Integer, nullable=False, server_default='7')"),
            ["8", "8"],
            ["6", "8"],
        ),
        f"another expression instead of that of a dropped column, {word}": (
            (generated("number * gone"), "Column('gone', Integer, server_default='2')"),
            (generated("number + 1"),),
            ["4", "5"],
            ["6", "8"],
        ),
    }
CASES |= {
    "stored to virtual": ((stored(),), (virtual(),), ["6", "8"], ["6", "8"]),
    "virtual to stored": ((virtual(),), (stored(), *INDEXED), ["6", "8"], ["6", "8"]),
    "another expression, stored, with indexes": (
        (stored(), *INDEXED),
        (stored("number * 3"), *INDEXED),
        ["9", "12"],
        ["6", "8"],
    ),
}


@pytest.fixture
def built(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., tuple[service_migrations.Service, Dsn]]:
    """Migrate a service to some models with two rows, and write the next ones."""
    dsn = database()

    def go(before: tuple[str, ...], after: tuple[str, ...], *settings: str) -> tuple[service_migrations.Service, Dsn]:
        if "persisted=False" in str((before, after)) and (version(dsn) < 18 or WITHOUT_VIRTUAL):
            pytest.skip("no virtual columns")
        service = monorepo.service("shop", models(*before, kind=""), dsn)
        first_upgrade(monorepo, service)
        columns, values = ("id, number", "(1, 3), (2, 4)")
        if "Computed" not in before[0]:
            columns, values = "id, number, a", "(1, 3, '11'), (2, 4, '12')"
        run_script(dsn, [f"INSERT INTO things ({columns}) VALUES {values}", *settings])  # noqa: S608
        remodel(monorepo, service, models(*after, kind=""))
        return service, dsn

    return go


def values(dsn: Dsn) -> list[str | None]:
    return [row[0] for row in query(dsn, "SELECT a::text FROM things ORDER BY id")]


def becomes_virtual(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    return "persisted=False" in after[0] and "persisted=False" not in before[0]


SETTINGS = (
    "GRANT SELECT (a), SELECT (number) ON things TO pg_monitor",
    (
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'things'::regclass AND attname = 'a' "
        "AND attgenerated = 'v') THEN "
        "ALTER TABLE things ALTER a SET STATISTICS 44; CREATE STATISTICS s ON a, number FROM things; END IF; END $$"
    ),
)


@pytest.mark.parametrize(("before", "after", "up", "down"), CASES.values(), ids=CASES)
def test_the_values_are_kept_or_computed_in_both_directions(before, after, up, down, built, monorepo: Monorepo) -> None:
    service, dsn = built(before, after, *SETTINGS)
    first = catalog(dsn)
    lines = wait(service_migrations.check(service)).differences
    assert all(old != new for line in lines for old, arrow, new in [line.partition(": ")[2].partition(" -> ")] if arrow)
    upgrade, _, downgrade = written(monorepo, service).partition("def downgrade")
    assert ("the data of a are lost" in upgrade) == ("Computed" not in before[0])
    assert ("the storage and statistics settings of a: it is virtual" in upgrade) == becomes_virtual(before, after)
    assert ("- the statistics object s" in upgrade) == becomes_virtual(before, after)
    assert ("the data of a are lost" in downgrade) == ("Computed" not in after[0])
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert values(dsn) == up
    kept = {each.privilege for each in next(o for o in catalog(dsn) if (o.kind, o.name) == ("column", "a")).grants}
    assert kept == {"SELECT"}
    wait(service_migrations.downgrade(service, "-1"))
    assert values(dsn) == down
    assert [str(each) for each in differences(first, catalog(dsn))] == []


@pytest.mark.parametrize("to", ["plain", "generated"])
def test_what_is_on_a_table_has_no_say_in_the_values(to: str, built, monorepo: Monorepo) -> None:
    """An UPDATE would fire triggers and rules, and pass over rows that a policy hides."""
    before, after = ((virtual(),), (column(),)) if to == "plain" else ((stored(),), (stored("number + 1"),))
    service, dsn = built(
        before,
        after,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'",
        "CREATE TRIGGER no BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION no()",
        "ALTER TABLE things ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    )
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["ALTER TABLE things DISABLE ROW LEVEL SECURITY"])
    assert values(dsn) == (["6", "8"] if to == "plain" else ["4", "5"])


def test_an_expression_is_changed_in_its_place_where_the_server_can(built, monorepo: Monorepo) -> None:
    service, dsn = built((stored(), *INDEXED), (stored("number * 3"), *INDEXED))
    code = written(monorepo, service)
    assert ("SET EXPRESSION AS ((number * 3))" in code) == (version(dsn) >= 17)
    assert ("DROP COLUMN" in code) == (version(dsn) < 17)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (stored(), virtual(), "generated as (number * 2) STORED -> generated as (number * 2) VIRTUAL"),
        (stored(), stored(kind="BigInteger"), "type integer -> bigint"),
        (stored(), column(), "generated as (number * 2) STORED -> server_default None"),
    ],
)
def test_the_line_of_a_difference_has_what_differs(before: str, after: str, line: str, built) -> None:
    service, _ = built((before,), (after,))
    assert wait(service_migrations.check(service)).differences == (f"alter_column things.a: {line}",)


def test_a_generated_column_and_the_one_that_it_is_computed_from_change_places(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """The plain column was dropped first, with the other one (14), or not at all (18): the revision failed."""
    before = models("Column('a', Integer)", "Column('b', Integer, Computed('a * 2', persisted=True))", kind="")
    after = models("Column('a', Integer, Computed('b * 3', persisted=True))", "Column('b', Integer)", kind="")
    dsn = database(creates=True)
    service = monorepo.service("billing", before, dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    query(dsn, "INSERT INTO things (id, a) VALUES (1, 2)")
    remodel(monorepo, service, after)
    written(monorepo, service, "after")
    values = "SELECT a, b FROM things"
    for expected in ((12, 4), (72, 24)):
        wait(service_migrations.upgrade(service))
        assert query(dsn, values) == [expected]
        assert wait(service_migrations.check(service)).differences == ()
        wait(service_migrations.downgrade(service, "-1"))
        assert query(dsn, values) == [(expected[0], expected[0] * 2)]


def test_what_is_computed_from_a_column_is_dropped_before_that_is_generated(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """A downgrade dropped the plain column first, with the other one (14), or not at all (18)."""
    plain = ("Column('a', Integer)", "Column('b', Integer)", "Column('c', Integer, Computed('a * 2', persisted=True))")
    generated = ("Column('a', Integer, Computed('b * 3', persisted=True))", "Column('b', Integer)")
    dsn = database(creates=True)
    service = monorepo.service("billing", models(*generated, kind=""), dsn)
    written(monorepo, service, "generated")
    wait(service_migrations.upgrade(service))
    query(dsn, "INSERT INTO things (id, b) VALUES (1, 2)")
    for kinds in (plain, generated):
        remodel(monorepo, service, models(*kinds, kind=""))
        written(monorepo, service, "changed")
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
        assert query(dsn, "SELECT a, b FROM things") == [(6, 2)]
    wait(service_migrations.downgrade(service, "-2"))
    assert query(dsn, "SELECT a, b FROM things") == [(6, 2)]


@pytest.mark.parametrize("turned", [False, True], ids=["becomes generated", "becomes plain"])
@pytest.mark.parametrize("kind", ["Integer", "BigInteger"])
def test_a_column_becomes_generated_that_a_kept_generated_one_no_longer_uses(
    turned: bool, kind: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    """Where PostgreSQL can set an expression (17), it was refused, and the downgrade of the other way failed."""
    plain = ("Column('a', Integer)", "Column('b', Integer, Computed('a * 2', persisted=True))")
    generated = (
        f"Column('a', {kind}, Computed('number + 1', persisted=True))",
        "Column('b', Integer, Computed('number * 3', persisted=True))",
    )
    before, after = (generated, plain) if turned else (plain, generated)
    dsn = database()
    service = monorepo.service("billing", models(*before, kind=""), dsn)
    written(monorepo, service, "before")
    wait(service_migrations.upgrade(service))
    run_script(dsn, ["INSERT INTO things (id, number) VALUES (1, 4)"])
    was = catalog(dsn)
    remodel(monorepo, service, models(*after, kind=""))
    written(monorepo, service, "after")
    for _ in range(2):
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
        assert query(dsn, "SELECT a, b FROM things") == [(5, 10 if turned else 12)]
        wait(service_migrations.downgrade(service, "-1"))
        assert [str(each) for each in differences(was, catalog(dsn))] == []
        assert query(dsn, "SELECT b = CASE WHEN $1 THEN number * 3 ELSE a * 2 END FROM things", turned) == [(True,)]

"""What partitions and children have of their own in a column stays in each direction, where their table's changes."""

from collections.abc import Callable, Mapping

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.comparison import version
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.own_parts import EVENTS, PARTITIONS, changed

DEFAULTS = "SELECT table_name, column_default FROM information_schema.columns WHERE column_name = $1"


def defaults(dsn: Dsn, column: str = "place") -> dict[str, str | None]:
    return dict(map(tuple, query(dsn, DEFAULTS, column)))


def not_null(dsn: Dsn, table: str) -> bool:
    rows = query(dsn, "SELECT attnotnull FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'place'", table)
    return bool(rows[0][0])


def written_text(monorepo: Monorepo) -> str:
    folder = monorepo.root / "migrations" / "versions" / "billing"
    return next(path.read_text(encoding="utf-8") for path in folder.glob("*after*.py"))


def one_statement_each(text: str) -> bool:
    """Whether a revision has no line twice in a function, but for the empty ones."""
    functions = text.split("def downgrade")
    lines = [[line for line in each.splitlines() if "op.execute" in line or "WARNING" in line] for each in functions]
    return all(len(each) == len({*each}) for each in lines)


FAMILY = """
base = Table({base}, metadata, Column("place", Integer{of_base}))
kid = Table({kid}, metadata, Column("place", Integer{of_kid}), postgresql_inherits={base})
kid.add_is_dependent_on(base)
"""
SERIAL = ", primary_key=True"
KEY = ", primary_key=True, autoincrement=False"
EACH_NAME = pytest.mark.parametrize("names", [("base", "kid"), ("parent", "child")], ids=["base first", "child first"])
THREE, FOUR, FIVE = (f', server_default="{number}"' for number in (3, 4, 5))
MAPPED = {
    "a serial one": ((THREE, SERIAL), (FOUR, SERIAL), "nextval"),
    "one that was a serial": ((THREE, SERIAL), (FOUR, FIVE + KEY), "5"),
    "one that becomes a serial": ((THREE, FIVE + KEY), (FOUR, SERIAL), "nextval"),
    "that before": ((THREE, THREE), (FOUR, THREE), "3"),
    "none, but that of its table": ((THREE, ""), (FOUR, ""), "4"),
    "none any more": ((THREE, FIVE), (FOUR, ""), "4"),
    "none where its table's goes": ((THREE, FIVE), ("", ""), None),
    "another after": ((THREE, THREE), (FOUR, FIVE), "5"),
    "that of its table after": ((THREE, FIVE), (FOUR, FOUR), "4"),
    "that of its table before": ((THREE, THREE), ("", FOUR), "4"),
    "one where its table's goes": ((THREE, THREE), ("", THREE), "3"),
    "one beside a serial that comes": ((KEY, THREE), (SERIAL, THREE), "3"),
    "one beside a serial that goes": ((SERIAL, THREE), (KEY, THREE), "3"),
}


def family(names: tuple[str, str], columns: tuple[str, str]) -> str:
    """Return the models of a base and a kid that inherits from it, by their names and their columns."""
    (base, kid), (of_base, of_kid) = names, columns
    return FAMILY.format(base=repr(base), kid=repr(kid), of_base=of_base, of_kid=of_kid)


@EACH_NAME
@pytest.mark.parametrize(("before", "after", "expected"), MAPPED.values(), ids=MAPPED)
def test_a_mapped_child_gets_the_default_of_its_model_at_once(
    before: tuple[str, str],
    after: tuple[str, str],
    expected: str | None,
    names: tuple[str, str],
    monorepo: Monorepo,
    database: Callable[..., Dsn],
) -> None:
    dsn, (_, kid) = database(), names
    changed(monorepo, dsn, family(names, before), [], family(names, after))
    default = defaults(dsn)[kid]
    assert default == expected if expected != "nextval" else f"{kid}_place_seq" in str(default)


NOT_NULL = ", nullable=False"


@EACH_NAME
@pytest.mark.parametrize(
    ("before", "after"),
    [((NOT_NULL, NOT_NULL), ("", NOT_NULL)), (("", NOT_NULL), (NOT_NULL, NOT_NULL)), ((NOT_NULL, ""), ("", ""))],
    ids=["loses", "gets", "both lose"],
)
def test_a_mapped_child_keeps_the_not_null_of_its_model(
    before: tuple[str, str],
    after: tuple[str, str],
    names: tuple[str, str],
    monorepo: Monorepo,
    database: Callable[..., Dsn],
) -> None:
    dsn, (_, kid) = database(), names
    changed(monorepo, dsn, family(names, before), [], family(names, after))
    assert not_null(dsn, kid) == bool(after[1])


def test_a_child_without_a_model_loses_no_not_null_without_a_word(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    plain = 'base = Table("base", metadata, Column("place", Integer{more}))\n'
    own = ["CREATE TABLE kid (place integer NOT NULL) INHERITS (base)", "CREATE TABLE grandkid () INHERITS (kid)"]
    changed(monorepo, dsn, plain.format(more=NOT_NULL), own, plain.format(more=""))
    kept = not_null(dsn, "kid")
    warned = "WARNING: kid loses the NOT NULL of place too" in written_text(monorepo)
    assert (kept, warned) == ((True, False) if version(dsn) >= 18 else (False, True))


def place(more: str) -> str:
    return EVENTS.format(parts=f'Column("place", Integer{more})')


def own(**values: str) -> list[str]:
    names = {"below": '"Below"'}
    return [
        f"ALTER TABLE ONLY {names.get(name, name)} ALTER place SET DEFAULT {value}" for name, value in values.items()
    ]


PARTED = {
    "of two levels": (THREE, FOUR, own(second="7", below="8"), {"second": "7", "Below": "8", "first": "4"}),
    "the root's below another": (THREE, FOUR, own(second="7", below="3"), {"second": "7", "Below": "4", "first": "4"}),
    "one in common": (THREE, FOUR, own(second="7", below="7"), {"second": "7", "Below": "7", "first": "4"}),
    "one below": (THREE, "", own(below="7"), {"second": None, "Below": "7", "first": None}),
}


@pytest.mark.parametrize(("before", "after", "by_hand", "expected"), PARTED.values(), ids=PARTED)
def test_the_own_defaults_of_partitions_of_each_level_stay(
    before: str,
    after: str,
    by_hand: list[str],
    expected: Mapping[str, str | None],
    monorepo: Monorepo,
    database: Callable[..., Dsn],
) -> None:
    dsn = database()
    changed(monorepo, dsn, place(before), [*PARTITIONS, *by_hand], place(after))
    assert {**defaults(dsn), **expected} == defaults(dsn)
    assert one_statement_each(written_text(monorepo))


KEYED = (
    'Table("events", metadata, Column("id", Integer{of_id}, primary_key=True), postgresql_partition_by="RANGE (id)")\n'
)


@pytest.mark.parametrize(
    ("before", "after"), [(", autoincrement=False", ""), ("", ", autoincrement=False")], ids=["comes", "goes"]
)
def test_the_own_default_of_a_partition_stays_beside_a_serial(
    before: str, after: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    partitions = [each for each in PARTITIONS if each.startswith("CREATE")]
    by_hand = [*partitions, "ALTER TABLE first ALTER id SET DEFAULT 7"]
    changed(monorepo, dsn, KEYED.format(of_id=before), by_hand, KEYED.format(of_id=after))
    assert defaults(dsn, "id")["first"] == "7"


def test_a_child_without_a_model_follows_the_nearest_table_that_has_its_default(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    here, there = (
        FAMILY.format(base="'parent'", kid="'child'", of_base=of_base, of_kid=of_kid)
        for of_base, of_kid in ((THREE, FOUR), (FOUR, FIVE))
    )
    own = ["CREATE TABLE one () INHERITS (child)", "CREATE TABLE two () INHERITS (child)"]
    own += ["ALTER TABLE two ALTER place SET DEFAULT 7", "CREATE TABLE three () INHERITS (two)"]
    changed(monorepo, dsn, here, own, there)
    default_texts = defaults(dsn)
    assert (default_texts["child"], default_texts["one"], default_texts["two"], default_texts["three"]) == (
        "5",
        "5",
        "7",
        "7",
    )


def test_nothing_is_written_for_a_child_whose_default_is_that_of_its_table(
    monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    changed(monorepo, dsn, place(THREE), PARTITIONS, place(FOUR))
    assert "ONLY" not in written_text(monorepo)
    assert wait(service_migrations.check(monorepo.find("billing"))).differences == ()

"""The rules of ownership by themselves, without a database: their order, and what follows from it for each service."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, strategies as st

from service_migrations.catalog.objects import Object
from service_migrations.monorepo import Service
from service_migrations.ownership.attribution import Attribution, Owned, attribute
from service_migrations.ownership.candidates import Candidate
from service_migrations.ownership.claimants import Claimant, Claimants
from service_migrations.ownership.past import HistoryClaims
from service_migrations.ownership.view import visible_objects
from service_migrations.sql.created import ObjectName

TABLE = ObjectName("table", "public", "things")
PARENT = ObjectName("table", "public", "parents")
VIEW = ObjectName("view", "public", "things")
SCHEMA = ObjectName("schema", "archive", "archive")


def service(name: str) -> Service:
    return Service(name, Path(), Path(), Path(), f"{name}.models", (Path(),), f"alembic_version_{name}")


def claimant(
    name: str,
    *models: ObjectName,
    made: Iterable[ObjectName] = (),
    former: Iterable[ObjectName] = (),
    words: Iterable[str] = (),
    certain: bool = True,
    version_table: str = "",
    views: Iterable[ObjectName] = (),
) -> Claimant:
    return Claimant(
        service(name),
        certain,
        "public",
        frozenset(models),
        ObjectName("table", "public", version_table or f"alembic_version_{name}"),
        ObjectName("table", "public", f"migration_log_{name}"),
        lambda: HistoryClaims(frozenset(made), frozenset(words), frozenset(former)),
        frozenset(views),
    )


def owner(candidate: Candidate, *claimants: Claimant, others: Iterable[Candidate] = ()) -> tuple[str, str]:
    """Return the owners of an object, with commas, and why."""
    services, why = Attribution(Claimants(claimants), (candidate, *others)).owner(candidate)
    return ", ".join(plain_service.name for plain_service in services), why


def table(name: ObjectName = TABLE, **facts: object) -> Candidate:
    return Candidate("table", name, **facts)


HISTORY = "history"
GIVEN_UP = "history, which drops or renames it"
NAMED = "history, which names it where it can't be replayed"


@pytest.mark.parametrize(
    ("claimants", "expected"),
    [
        ([], ("", "")),
        ([claimant("a", TABLE)], ("a", "models")),
        ([claimant("a", made=[TABLE]), claimant("b", TABLE)], ("b", "models")),
        ([claimant("a", TABLE, certain=False), claimant("b", TABLE)], ("b", "models")),
        ([claimant("a", TABLE, certain=False), claimant("b", TABLE, certain=False)], ("a, b", "models")),
        ([claimant("a", TABLE), claimant("b", TABLE), claimant("c")], ("a, b", "models")),
        ([claimant("a", former=[TABLE], words=["things"]), claimant("b", made=[TABLE])], ("b", HISTORY)),
        ([claimant("a", made=[TABLE]), claimant("b", made=[TABLE], certain=False)], ("a, b", HISTORY)),
        ([claimant("a", former=[TABLE]), claimant("b")], ("a", GIVEN_UP)),
        ([claimant("a", former=[TABLE]), claimant("b", former=[TABLE])], ("a, b", GIVEN_UP)),
        ([claimant("a", former=[TABLE]), claimant("b", words=["things"])], ("a, b", GIVEN_UP)),
        ([claimant("a", words=["things"]), claimant("b", words=["other"])], ("a", NAMED)),
        ([claimant("a", words=["things"]), claimant("b", words=["things"])], ("a, b", NAMED)),
    ],
)
def test_models_come_before_histories_and_what_is_certain_before_what_is_possible(
    claimants: list[Claimant], expected: tuple[str, str]
) -> None:
    assert owner(table(), *claimants) == expected


def test_an_extensions_member_has_the_owner_of_the_extension_whoever_maps_it() -> None:
    extension = ObjectName("extension", "postgis", "postgis")
    member = table(extension="postgis")
    assert owner(member, claimant("a", TABLE)) == ("", "extension postgis")
    makers = claimant("a", TABLE), claimant("b", made=[extension])
    assert owner(member, *makers) == ("b", "extension postgis")
    listed = Candidate("extension", extension)
    assert owner(member, *makers, others=[listed]) == (*owner(listed, *makers)[:1], "extension postgis")


def test_a_part_has_the_owner_of_the_whole_unless_it_has_a_model() -> None:
    part, whole = table(parent=PARENT), table(PARENT)
    assert owner(part, claimant("a", PARENT), others=[whole]) == ("a", "part of table public.parents")
    assert owner(part, claimant("a", made=[PARENT]), others=[whole]) == ("a", "part of table public.parents")
    assert owner(part, claimant("a", PARENT), claimant("b", TABLE), others=[whole]) == ("b", "models")
    assert owner(part, claimant("a", PARENT), claimant("b", made=[TABLE]), others=[whole])[0] == "a"
    assert owner(part, claimant("a"), others=[whole]) == ("", "")
    inner = table(TABLE._replace(name="inner"), parent=TABLE)
    assert owner(inner, claimant("a", PARENT), others=[whole, part]) == ("a", "part of table public.things")
    ledger = part.name._replace(name="migration_log_2026")
    assert owner(table(ledger, parent=PARENT), claimant("a", PARENT), others=[whole])[0] == "a"


def test_a_version_table_and_a_ledger_are_their_services_even_where_a_model_maps_them() -> None:
    for name, why in (("alembic_version_b", "version table"), ("migration_log_b", "ledger")):
        books = ObjectName("table", "public", name)
        assert owner(table(books), claimant("a", books), claimant("b")) == ("b", why)
        b = claimant("b")
        assert visible_objects(Attribution(Claimants([b]), [table(books)]), b.service) == set()
    books = ObjectName("table", "public", "versions")
    assert owner(table(books), claimant("a", made=[books]), claimant("b", version_table="versions"))[0] == "b"


def test_a_version_table_in_another_schema_is_its_services_unless_a_model_has_that_name() -> None:
    elsewhere = ObjectName("table", "app", "versions")
    versions = claimant("b", version_table="versions")
    assert owner(table(elsewhere), claimant("a"), versions) == ("b", "version table")
    assert owner(table(elsewhere), claimant("a", elsewhere), versions) == ("a", "models")
    assert owner(table(elsewhere._replace(name="migration_log_b")), claimant("b")) == ("b", "ledger")


@pytest.mark.parametrize("name", ["alembic_version_gone", "alembic_version", "migration_log_gone"])
def test_the_bookkeeping_of_a_service_that_is_gone_is_nobodys_to_drop(name: str) -> None:
    left = table(ObjectName("table", "public", name))
    a = claimant("a", made=[left.name])
    services, why = owner(left, a)
    assert (services, why.endswith(" of no known service")) == ("", True)
    assert visible_objects(Attribution(Claimants([a]), [left]), a.service) == set()
    kind = Candidate("enum", left.name._replace(kind="type"))
    assert owner(kind, a) == ("", "")


@pytest.mark.parametrize(("kind", "name"), [("view", VIEW), ("materialized view", VIEW), ("foreign table", TABLE)])
def test_a_view_is_its_historys_and_else_of_those_that_map_it(kind: str, name: ObjectName) -> None:
    view = Candidate(kind, name)
    assert owner(view, claimant("a", views=[TABLE])) == ("a", "models")
    assert owner(view, claimant("a", views=[TABLE]), claimant("b", views=[TABLE])) == ("a, b", "models")
    assert owner(view, claimant("a", views=[TABLE]), claimant("b", made=[name])) == ("b", "history")


def test_a_view_is_claimed_by_the_history_that_created_it() -> None:
    assert owner(Candidate("view", VIEW), claimant("a", made=[VIEW]), claimant("b")) == ("a", "history")


def test_a_schema_is_of_all_that_have_a_model_in_it() -> None:
    inside = ObjectName("table", "archive", "old"), ObjectName("type", "archive", "mood")
    makers = claimant("a", inside[0]), claimant("b", inside[1]), claimant("c", made=[SCHEMA])
    assert owner(Candidate("schema", SCHEMA), *makers) == ("a, b", "models")
    assert owner(Candidate("schema", SCHEMA), makers[2]) == ("c", "history")


# what each service sees

NAMES = [ObjectName(kind, schema, name) for kind in ("table", "type") for schema in ("public", "far") for name in "xyz"]
NAMES += [ObjectName("extension", "x", "x"), ObjectName("schema", "far", "far")]
SOME = st.frozensets(st.sampled_from(NAMES), max_size=4)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Claimant], list[Candidate]]:
    """Return three services, the first two of which surely have the database, and a database."""
    claimants = [
        claimant(
            name,
            *draw(SOME),
            made=draw(SOME),
            former=draw(SOME),
            words=draw(st.frozensets(st.sampled_from("xyz"), max_size=1)),
            certain=name != "c",
        )
        for name in "abc"
    ]
    candidates = [
        Candidate(
            name.kind,
            name,
            draw(st.sampled_from((None, None, None, "x"))) if name.kind in ("table", "type") else None,
            draw(st.sampled_from((None, None, None, PARENT))) if name.kind == "table" else None,
        )
        for name in draw(SOME)
    ]
    return claimants, candidates


@given(worlds())
def test_what_a_service_sees_is_its_own_alone_or_nobodys(world: tuple[list[Claimant], list[Candidate]]) -> None:
    claimants, candidates = world
    attribution = Attribution(Claimants(claimants), candidates)
    views = {asking.service: visible_objects(attribution, asking.service) for asking in claimants}
    for candidate in candidates:
        services, why = attribution.owner(candidate)
        for asking in claimants:
            kept = candidate.extension is not None or why.startswith("part") or candidate.name.kind == "schema"
            here = (
                candidate.name in asking.models
                or candidate.name.kind == "extension"
                or candidate.name.schema in asking.schemas
                or candidate.name in asking.history.created
            )
            nobodys_part = candidate.parent is not None and not services
            expected = here and not kept and not nobodys_part and services in ((), (asking.service,))
            assert (candidate in views[asking.service]) == expected


@given(worlds())
def test_nobody_sees_what_anothers_models_claim_or_anothers_history_has_made(
    world: tuple[list[Claimant], list[Candidate]],
) -> None:
    claimants, candidates = world
    attribution = Attribution(Claimants(claimants), candidates)
    for asking in claimants:
        visible = visible_objects(attribution, asking.service)
        for other in claimants:
            for candidate in visible if other is not asking else ():
                assert candidate.name not in asking.models or asking.certain or candidate.name not in other.models
                if candidate.name not in asking.models:
                    assert candidate.name not in other.models | other.history.created


@given(worlds())
def test_one_sibling_more_never_makes_anything_visible(world: tuple[list[Claimant], list[Candidate]]) -> None:
    claimants, candidates = world
    asking = claimants[0]
    for other in claimants[1:]:
        alone = visible_objects(Attribution(Claimants([asking]), candidates), asking.service)
        both = visible_objects(Attribution(Claimants([asking, other]), candidates), asking.service)
        every = visible_objects(Attribution(Claimants(claimants), candidates), asking.service)
        assert every <= both <= alone


def test_no_history_is_asked_for_what_a_model_claims_or_for_what_another_application_has() -> None:
    def refuse() -> HistoryClaims:
        raise AssertionError("a history was replayed")

    far = ObjectName("table", "far", "things")
    asking = claimant("a", TABLE)
    sibling = claimant("b", PARENT, ObjectName("table", "theirs", "x"))
    lazy = Claimant(**{**vars(sibling), "replay": refuse})
    candidates = [table(), table(PARENT), table(ObjectName("table", "theirs", "x")), table(far)]
    candidates += [table(ObjectName("table", "public", "spatial_ref_sys"), extension="postgis")]
    candidates += [table(ObjectName("table", "public", "alembic_version_gone"))]
    assert visible_objects(Attribution(Claimants([asking, lazy]), candidates), asking.service) == {table()}
    with pytest.raises(AssertionError, match="a history was replayed"):
        visible_objects(
            Attribution(Claimants([asking, lazy]), [table(far._replace(schema="public", name="new"))]), asking.service
        )


def test_each_object_is_listed_with_its_owner_and_nobodys_last() -> None:
    def found(name: str, kind: str = "table", **facts: object) -> Object:
        return Object(kind, "public", None, name, f"public.{name}", MappingProxyType(facts))

    a, b = (
        claimant("a", TABLE, ObjectName("table", "public", "both")),
        claimant("b", ObjectName("table", "public", "both")),
    )
    ignoring = replace(b, service=replace(b.service, ignore=("*_archive",)))
    part = replace(found("part"), part_of=("table", "public", "old_archive"))
    objects = [*map(found, ("zoo", "both", "things", "old_archive", "app")), part, found("mood", "enum")]
    assert attribute(objects, Claimants([a, ignoring])) == (
        Owned("table", "public", "both", "a, b", "models"),
        Owned("table", "public", "things", "a", "models"),
        Owned("enum", "public", "mood", None, ""),
        Owned("table", "public", "app", None, ""),
        Owned("table", "public", "zoo", None, ""),
    )
    assert [owned.is_nobodys for owned in attribute(objects, Claimants([a, ignoring]))] == [False] * 2 + [True] * 3
    assert "old_archive" in [owned.name for owned in attribute(objects, Claimants([a, b]))]


def test_what_is_left_of_a_service_has_no_owner_and_is_not_nobodys() -> None:
    """It isn't among what nobody claims, which is to be looked at."""
    left, other = (
        Object("table", "public", None, name, f"public.{name}", MappingProxyType({}))
        for name in ("migration_log_gone", "app")
    )
    listed = attribute([other, left], Claimants([claimant("a")]))
    assert [(owned.name, owned.owner, owned.is_nobodys) for owned in listed] == [
        ("migration_log_gone", None, False),
        ("app", None, True),
    ]


def test_only_the_owner_of_an_object_can_ignore_it() -> None:
    a, b = claimant("a", TABLE), claimant("b")
    ignoring = replace(b, service=replace(b.service, ignore=("things", "archive")))
    things = Object("table", "public", None, "things", "public.things", MappingProxyType({}))
    # a pattern is of the names of tables: a schema or an extension of such a name is no match
    others = [Object(kind, "", None, "archive", "archive", MappingProxyType({})) for kind in ("extension", "schema")]
    listed = attribute([things, *others], Claimants([a, ignoring]))
    assert [owned.kind for owned in listed] == ["table", "extension", "schema"]
    assert attribute([things], Claimants([replace(a, service=ignoring.service)])) == ()

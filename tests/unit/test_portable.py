"""What a PostgreSQL describes in its own way is no difference between two versions."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from service_migrations.catalog.objects import Object
from service_migrations.testing.portable import _UNQUALIFIED, portable


def item(kind: str, name: str, table: str | None = None, **facts: Any) -> Object:
    part_of = ("table", "public", table) if table else None
    return Object(kind, "public", table, name, name, MappingProxyType(facts), part_of)


@pytest.mark.parametrize(
    ("definition", "described"),
    [
        (" SELECT orders.id FROM orders;", " SELECT id FROM orders;"),
        (' SELECT "or.ders".id FROM "or.ders";', ' SELECT id FROM "or.ders";'),
        (' SELECT o."Id" FROM public.orders o;', ' SELECT "Id" FROM orders o;'),
        (" SELECT 1.5, 'a.b'::text, t.x", " SELECT 1.5, 'a.b'::text, x"),
        (" SELECT 'it''s a.b', t.x", " SELECT 'it''s a.b', x"),
        (" SELECT E'\\'a.b', t.x", " SELECT E'\\'a.b', x"),
    ],
)
def test_qualifiers_of_a_query_are_left_out(definition: str, described: str) -> None:
    view = item("view", "v", definition=definition)
    assert portable([view]) == {"view public.v": f"definition {described}"}


def test_the_version_of_an_extension_is_the_servers() -> None:
    assert portable([item("extension", "citext", schema="public", version="1.6")]) == {
        "extension public.citext": "schema public"
    }


def test_a_change_of_any_other_fact_is_seen() -> None:
    column = item("column", "total", "orders", type="numeric(12,2)", not_null=True, default="0")
    table = item("table", "orders", persistence="LOGGED")
    assert portable([table, column])["column public.orders.total"] == "default 0; not_null True; type numeric(12,2)"


KINDS = ("column", "constraint", "index", "trigger", "policy")


@pytest.mark.parametrize("kind", KINDS)
def test_only_clones_whose_names_each_version_chooses_are_left_out(kind: str) -> None:
    clone, own = item(kind, "x", "t", inherited=True), item(kind, "x", "t", inherited=False)
    assert bool(portable([clone])) == (kind not in ("constraint", "index", "trigger"))
    assert portable([own]) == {f"{kind} public.t.x": "inherited False"}


def test_the_members_of_an_extension_are_the_servers() -> None:
    member = replace(item("function", "citext(text)", language="c"), extension="citext")
    assert portable([member, item("function", "f()", language="sql")]) == {"function public.f()": "language sql"}


def test_the_identity_of_a_column_is_left_out_of_a_partition_alone() -> None:
    column = item("column", "id", "t", identity="always", type="bigint")
    described = "column public.t.id"
    assert portable([item("table", "t", bound="FOR VALUES IN (1)"), column])[described] == "type bigint"
    assert portable([item("table", "t"), column])[described] == "identity always; type bigint"
    assert portable([column])[described] == "identity always; type bigint"
    policy = item("policy", "id", "t", identity="always")
    assert portable([item("table", "t", bound="DEFAULT"), policy])["policy public.t.id"] == "identity always"


@pytest.mark.parametrize("kind", sorted({*_UNQUALIFIED, "index", "trigger", "constraint", "statistics"}))
def test_qualifiers_are_left_out_of_what_is_deparsed_from_a_query_alone(kind: str) -> None:
    name = f"{kind} public.x"
    expected = "a" if kind in _UNQUALIFIED else "t.a"
    assert portable([item(kind, "x", definition="t.a", other="t.b")]) == {name: f"definition {expected}; other t.b"}
    assert portable([item(kind, "x", other="t.b")]) == {name: "other t.b"}


def test_a_comment_is_compared() -> None:
    view = replace(item("view", "v", definition="SELECT 1"), comment="t.x")
    assert portable([view]) == {"view public.v": "definition SELECT 1; comment t.x"}


def test_a_name_has_the_parts_that_its_kind_has() -> None:
    schema = replace(item("schema", "archive"), schema="")
    assert list(portable([schema, item("table", "t"), item("column", "c", "t")])) == [
        *("schema archive", "table public.t", "column public.t.c")
    ]

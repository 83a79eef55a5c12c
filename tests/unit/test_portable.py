"""What a PostgreSQL describes in its own way is no difference between two versions."""

from types import MappingProxyType
from typing import Any

import pytest

from service_migrations.catalog.objects import Object
from service_migrations.testing.portable import portable


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

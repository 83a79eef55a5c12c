"""Columns of types that an extension brings: those of pgvector and GeoAlchemy2.

The embedded servers have neither extension, so the first revision makes a type of the name, with the same modifiers.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel
from tests.support.database import query, wait
from tests.support.environment import write_hooks, written
from tests.support.monorepo import Monorepo

VECTOR = """
if op.get_bind().scalar(sa.text("SELECT to_regtype('public.vector')")) is None:
    for sql in (
        "CREATE TYPE vector",
        "CREATE FUNCTION vector_in(cstring) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'textin'",
        "CREATE FUNCTION vector_out(vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'",
        "CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer LANGUAGE internal IMMUTABLE STRICT "
        "AS 'varchartypmodin'",
        "CREATE FUNCTION vector_typmod_out(integer) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT "
        "AS 'varchartypmodout'",
        "CREATE TYPE vector (INPUT = vector_in, OUTPUT = vector_out, TYPMOD_IN = vector_typmod_in, "
        "TYPMOD_OUT = vector_typmod_out, LIKE = text)",
    ):
        op.execute(sql)
"""
GEOMETRY = """
if op.get_bind().scalar(sa.text("SELECT to_regtype('public.geometry')")) is None:
    for sql in (
        "CREATE TYPE geometry",
        "CREATE FUNCTION geometry_in(cstring) RETURNS geometry LANGUAGE internal IMMUTABLE STRICT AS 'box_in'",
        "CREATE FUNCTION geometry_out(geometry) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'box_out'",
        # of (POINT,4326), PostgreSQL keeps one number
        "CREATE FUNCTION geometry_typmod_in(cstring[]) RETURNS integer LANGUAGE sql IMMUTABLE STRICT "
        "AS 'SELECT ($1)[array_upper($1, 1)]::text::integer + 4'",
        "CREATE FUNCTION geometry_typmod_out(integer) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT "
        "AS 'varchartypmodout'",
        "CREATE TYPE geometry (INPUT = geometry_in, OUTPUT = geometry_out, TYPMOD_IN = geometry_typmod_in, "
        "TYPMOD_OUT = geometry_typmod_out, LIKE = box)",
        "CREATE OPERATOR CLASS gist_geometry_ops DEFAULT FOR TYPE geometry USING gist AS "
        "FUNCTION 1 gist_box_consistent(internal, box, smallint, oid, internal), "
        "FUNCTION 2 gist_box_union(internal, internal), "
        "FUNCTION 5 gist_box_penalty(internal, internal, internal), "
        "FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal)",
    ):
        op.execute(sql)
"""
MODELS = """
from sqlalchemy import Column, Integer, MetaData, Table
{imports}

__all__ = ["metadata"]
metadata = MetaData()
Table("{name}", metadata, Column("id", Integer, primary_key=True), {columns})
"""
OF_VECTOR = ("from pgvector.sqlalchemy import Vector", 'Column("place", Vector({number}))', VECTOR, "vector(3)")
OF_GEOMETRY = (
    "from geoalchemy2 import Geometry",
    'Column("place", Geometry("POINT", srid={number}))',
    GEOMETRY,
    "geometry(3)",
)
HOOKS = """
from geoalchemy2 import alembic_helpers

OPTIONS.update(
    include_object=alembic_helpers.include_object,
    process_revision_directives=alembic_helpers.writer,
    render_item=alembic_helpers.render_item,
)
"""
RENDER_VECTOR = """
def render_item(kind, item, context):
    if kind == "type" and isinstance(item, Vector):
        context.imports.add("from pgvector.sqlalchemy import Vector")
        return f"Vector({item.dim})"
    return False

from pgvector.sqlalchemy import Vector
OPTIONS["render_item"] = render_item
"""
CASES = {
    "pgvector, without a hook": (OF_VECTOR, "", 'SQLType("VECTOR(3)")'),
    "pgvector, rendered by a hook": (OF_VECTOR, RENDER_VECTOR, "Vector(3)"),
    "GeoAlchemy2, without its helpers": (OF_GEOMETRY, "", 'SQLType("geometry(POINT,3)")'),
    "GeoAlchemy2, with its helpers": (OF_GEOMETRY, HOOKS, 'geometry_type="POINT"'),
}


@pytest.mark.parametrize(("case", "hooks", "rendered"), CASES.values(), ids=CASES)
def test_a_type_of_an_extension_is_changed_once(
    monorepo: Monorepo,
    database: Callable[..., Dsn],
    server: Server,
    case: tuple[str, str, str, str],
    hooks: str,
    rendered: str,
) -> None:
    """In a new table, in a new column, with another modifier, and in the downgrade of all, beside a sibling."""
    imports, column, types, formatted = case
    dsn = replace(server.admin, database=database().database)
    write_hooks(monorepo, hooks)
    services = []

    def models(name: str, columns: str) -> str:
        return MODELS.format(imports=imports, name=name, columns=columns)

    def agree() -> None:
        for service in services:
            assert wait(service_migrations.check(service)).differences == ()
            assert written(monorepo, service) == ""

    for name in ("billing", "catalog"):
        service = monorepo.service(name, models(name, column.format(number=3)), dsn)
        monorepo.revision(name, f"{name}0", None, types)
        wait(service_migrations.upgrade(service))
        code = written(monorepo, service)
        assert rendered in code
        assert "billing" not in code.replace("billing0", "") or name == "billing"
        wait(service_migrations.upgrade(service))
        services.append(service)
        agree()
    columns = query(dsn, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'place'")
    assert {of_type for (of_type,) in columns} == {formatted}
    for number in (3, 4):
        second = column.format(number=number).replace("place", "second")
        remodel(monorepo, services[0], models("billing", f"{column.format(number=number)}, {second}"))
        services[0] = monorepo.find("billing")
        assert written(monorepo, services[0])
        wait(service_migrations.upgrade(services[0]))
        agree()
    for service in services:
        assert monorepo.inv("db.drift", "--service", str(service)).code == 0
        wait(service_migrations.downgrade(service, f"{service}0"))
        wait(service_migrations.upgrade(service))
    agree()

"""A revision never names a class of the models: types come from SQLAlchemy, or are SQL."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel, written
from tests.support.catalog import catalog
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo

MODELS = """
import enum
import json
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType
from shared_models import NAMING_CONVENTION

__all__ = ["metadata", "things", "lone"]
lone = None
metadata = MetaData(naming_convention=NAMING_CONVENTION)

class Color{name}(str, enum.Enum):
    RED = "red"
    GREEN = "green"

class Collation{name}(enum.StrEnum):
    C = "C"

class Names{name}(enum.StrEnum):
    LONE = "lone"
    A = "a"

class Using{name}(enum.StrEnum):
    HASH = "hash"

class Own{name}(UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **kw):
        return "varchar(7)"

class Decorated{name}(TypeDecorator):
    impl = Own{name}
    cache_ok = True

class Chosen{name}(TypeDecorator):
    impl = Text
    cache_ok = True
    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(ENUM("x", "y", name="chosen"))

class Adapted{name}(TypeDecorator):
    impl = Text
    cache_ok = True
    def __init__(self, chosen):
        super().__init__()
        self.chosen = chosen
    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(self.chosen)

class Derived{name}(String):
    pass

class Compiled{name}(TypeEngine):
    __visit_name__ = "compiled"
    cache_ok = True

class Key{name}(BigInteger):
    pass

class Number{name}(Integer):
    pass

@compiles(Number{name}, "postgresql")
def _(type_, compiler, **kw):
    return "bigint"

class Several{name}(ARRAY):
    pass

class Labels{name}(Enum):
    pass

class Generated{name}(Computed):
    pass

class Numbered{name}(Identity):
    pass

class Default{name}(FetchedValue):
    pass

class stamp{name}(FunctionElement):
    type = DateTime()
    inherit_cache = True

@compiles(stamp{name}, "postgresql")
def _(element, compiler, **kw):
    return "timezone('utc', now())"

class Positive{name}(CheckConstraint):
    pass

@compiles(Compiled{name}, "postgresql")
def _(type_, compiler, **kw):
    return "timestamp(3) with time zone"

things = Table("things", metadata, Column("id", Integer, primary_key=True){columns})
if lone is None:
    __all__.remove("lone")
"""
COLUMNS = {
    "own type": ("'a', Own{name}()", "SQLType('varchar(7)')"),
    "own type, default and keys": ("'a', Own{name}(), server_default='x', index=True, unique=True",
                                  "SQLType('varchar(7)')"),
    "decorated own type": ("'a', Decorated{name}()", "SQLType('varchar(7)')"),
    "array of an own type": ("'a', ARRAY(Own{name}(), dimensions=2)", "SQLType('varchar(7)[][]')"),
    "array of a decorated type": ("'a', ARRAY(Decorated{name}())", "SQLType('varchar(7)[]')"),
    "enum that a decorator chooses": ("'a', Chosen{name}()", "postgresql.ENUM('x', 'y', name='chosen'"),
    "array of such an enum": ("'a', ARRAY(Chosen{name}())", "postgresql.ARRAY(postgresql.ENUM('x', 'y', name='chosen'"),
    "types that decorators adapt to the driver": (
        "'a', Adapted{name}(DateTime(timezone=True))), "
        + ", ".join(
            f"Column('{letter}', Adapted{{name}}({kind}))"
            for letter, kind in zip(
                "bcdefghi",
                ("UUID()", "ARRAY(Text)", "INTERVAL", "TSRANGE", "JSONPATH", "Boolean", "Numeric(5, 2)", "BIT(4)"),
                strict=True,
            )
        ).removesuffix(")"),
        "sa.DateTime(timezone=True)",
    ),
    "derived type": ("'a', Derived{name}(9)", "sa.String(length=9)"),
    "compiled type": ("'a', Compiled{name}()", "SQLType('timestamp(3) with time zone')"),
    "derived array": ("'a', Several{name}(Integer)", "postgresql.ARRAY(sa.Integer())"),
    "derived array of an enum": ("'a', Several{name}(Enum('x', name='few'))", "postgresql.ENUM('x', name='few'"),
    "derived enum": ("'a', Labels{name}('x', name='few')", "postgresql.ENUM('x', name='few'"),
    "derived enum that is text": ("'a', Labels{name}('xyz', name='few', native_enum=False)", "SQLType('VARCHAR(3)')"),
    "variant of PostgreSQL": ("'a', Text().with_variant(Own{name}(), 'postgresql')", "SQLType('varchar(7)')"),
    "variant that is an enum": ("'a', Text().with_variant(Enum('x', name='few'), 'postgresql')", "postgresql.ENUM('x'"),
    "variant of another database": ("'a', Text().with_variant(Own{name}(), 'sqlite')", "sa.Text()"),
    "variant of an array's elements": ("'a', ARRAY(Text().with_variant(Own{name}(), 'postgresql'))",
                                       "SQLType('varchar(7)[]')"),
    "text of JSON": ("'a', JSONB(astext_type=Derived{name}())", "SQLType('JSONB')"),
    "decorated type of SQLAlchemy": ("'a', PickleType(pickler=json)", "sa.LargeBinary()"),
    "cast in a default": ("'a', Text, server_default=cast(text(\"'x'\"), Own{name}())",
                          "CAST('x' AS varchar(7))"),
    "generated column": ("'a', Own{name}(), Generated{name}(cast(text(\"'x'\"), Own{name}()), persisted=True)",
                         "AS varchar(7)"),
    "identity": ("'a', BigInteger, Numbered{name}(start=3)", "GENERATED BY DEFAULT AS IDENTITY"),
    "default that is fetched": ("'a', Own{name}(), Default{name}()", "SQLType('varchar(7)')"),
    "Enum of a class": ("'a', Enum(Color{name}, name='few'), server_default=Color{name}.RED.name",
                        "postgresql.ENUM('RED', 'GREEN', name='few'"),
    "Enum of a class's members": (
        "'a', Enum(Color{name}, values_callable=list, name='few'), server_default=Color{name}.RED",
                                  "postgresql.ENUM('red', 'green', name='few'"),
    "Enum of a class that is text": ("'a', Enum(Color{name}, native_enum=False)", "sa.Enum('RED', 'GREEN'"),
    "Enum of a class's members that is text": ("'a', Enum(Color{name}, values_callable=list, native_enum=False)",
                                               "SQLType('VARCHAR(5)')"),
    "Enum of a class that is text with a CHECK": (
        "'a', Enum(Color{name}, native_enum=False, create_constraint=True, name='few')", "sa.Enum('RED', 'GREEN'"),
    "member as a comment": ("'a', Text, comment=Color{name}.RED", "comment='red'"),
    "member as a collation": ("'a', Text(collation=Collation{name}.C)", "SQLType('TEXT COLLATE"),
    "function as a default": ("'a', DateTime, server_default=stamp{name}()", "timezone("),
}  # fmt: skip
"""The arguments of a column, and what the revision says of it."""
PARTS = {
    "exclusion": ", Column('a', Own{name}()), "
                 "ExcludeConstraint((cast(column('a'), Own{name}()), '='), name='x', using='btree')",
    "CHECK of an own class": ", Column('a', Integer))\n"
                             "things.append_constraint(Positive{name}(things.c.a > len(Color{name}), name='more')",
    "members in a CHECK": ", Column('a', Text))\n"
                          "things.append_constraint(CheckConstraint(things.c.a.in_([*Color{name}]), name='one')",
    "cast in a CHECK": ", Column('a', Text))\nthings.append_constraint("
                       "CheckConstraint(cast(things.c.a, Own{name}()) != text(\"'x'\"), name='not_x')",
    "index": ", Column('a', Text))\nIndex('i', cast(things.c.a, Own{name}()), "
             "postgresql_where=cast(things.c.a, Own{name}()) != text(\"'x'\")",
    "key of an own class": ")\nlone = Table('lone', metadata, Column('id', Key{name}, primary_key=True), "
                           "Column('number', Number{name})",
    "key of a compiled class": ")\nlone = Table('lone', metadata, Column('id', Number{name}(), primary_key=True)",
    "info": ", Column('a', Text, info={'of': Own{name}}), info={'of': Own{name}}",
    "members as names": ", Column(Names{name}.A, Integer, index=True, unique=True), comment=Names{name}.A)\n"
                        "lone = Table(Names{name}.LONE, metadata, Column(Names{name}.A, Integer), "
                        "Index(Names{name}.A, Names{name}.A, postgresql_using=Using{name}.HASH), "
                        "CheckConstraint('a > 0', name=Names{name}.A)",
    "partitioned table": ", Column('a', Own{name}(), primary_key=True), postgresql_partition_by='LIST (a)'",
    "comment": ", Column('a', Own{name}(), comment='it''s'), Column('b', Own{name}(), nullable=False), comment='of'",
}  # fmt: skip


def models(columns: str, name: str = "") -> str:
    return MODELS.replace("{columns}", columns).replace("{name}", name)


def independent(code: str) -> None:
    assert not re.search(r"\b(services|shared_models|models)\b|<\w", code), code


@pytest.mark.parametrize("columns", [f", Column({line})" for line, _ in COLUMNS.values()] + list(PARTS.values()),
                         ids=[*COLUMNS, *PARTS])  # fmt: skip
def test_a_renamed_class_of_the_models_changes_no_revision(
    columns: str, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn, replayed = database(), database()
    service = monorepo.service("billing", models(""), dsn)
    if columns not in PARTS.values():
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
    expected = next((said for line, said in COLUMNS.values() if f", Column({line})" == columns), "")
    remodel(monorepo, service, models(columns))
    revision = wait(service_migrations.revision(service, "after"))
    text = (monorepo.root / revision.path).read_text(encoding="utf-8")
    independent(text[text.index("from alembic import op") :])
    code = text.replace('"', "'").replace("''", "'")
    assert expected in re.sub(r"\(\n\s+", "(", code)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    remodel(monorepo, service, models(columns, "Renamed"))
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.sql(service, "head"))
    monorepo.service("billing", models(columns, "Renamed"), replayed)
    wait(service_migrations.upgrade(service))
    assert catalog(replayed) == catalog(dsn)
    wait(service_migrations.downgrade(service, "base"))


def test_without_temporary_tables_a_type_is_sql_too(
    monorepo: Monorepo, database: Callable[..., Dsn], server: Server
) -> None:
    dsn = database()
    query(server.admin, f'REVOKE TEMPORARY ON DATABASE "{dsn.database}" FROM PUBLIC, "{dsn.user}"')
    # where everybody may create in the schema, as on 14, such a comparison is refused
    inside = replace(server.admin, database=dsn.database)
    query(inside, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    query(inside, f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"')
    service = monorepo.service(
        "billing",
        models(
            ", Column('a', ARRAY(Own())), Column('b', Decorated()), Column('c', Derived(3)), "
            "info={'of': Own}, comment=Color.RED"
        ),
        dsn,
    )
    code = written(monorepo, service, "create")
    independent(code)
    assert code.count("SQLType(") == 2
    wait(service_migrations.upgrade(service))

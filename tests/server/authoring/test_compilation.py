"""What SQLAlchemy can't write as SQL is named with its place: the models' file, the table and the part."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.authoring.check import Check
from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, remodel
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo
from tests.support.shop import inside

MODELS = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from sqlalchemy.types import UserDefinedType

__all__ = ["metadata", "first", "things"]
metadata = MetaData()
first = Table("first", metadata, Column("id", Integer, primary_key=True))

class Broken(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **options):
        raise ValueError("no such type here")

things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("t", Text), {part})
"""
LONG = "a" * 75
TOO_LONG = f"Identifier '{LONG}' exceeds maximum length of 63 characters."
NO_LITERAL = "No literal value renderer is available for literal value \"'english'\" with datatype REGCONFIG."
PARTS = {
    "the name of an index": (f"Index({LONG!r}, 't')", f"index {LONG}: {TOO_LONG}"),
    "an expression of an index": (
        'Index("i", func.to_tsvector("english", text("t")))',
        f"index i: {NO_LITERAL}",
    ),
    "the condition of an index": (
        'Index("i", "t", postgresql_where=func.to_tsvector("english", text("t")) == text("t"))',
        f"index i: {NO_LITERAL}",
    ),
    "the name of a unique constraint": (
        f"UniqueConstraint('t', name={LONG!r})",
        f"unique constraint {LONG}: {TOO_LONG}",
    ),
    "the name of a CHECK": (f"CheckConstraint('id > 0', name={LONG!r})", f"CHECK {LONG}: {TOO_LONG}"),
    "a CHECK": (
        'CheckConstraint(func.to_tsvector("english", column("t")) == column("t"), name="c")',
        f"CHECK c: {NO_LITERAL}",
    ),
    "the name of a foreign key": (
        f"ForeignKeyConstraint(['id'], ['first.id'], name={LONG!r})",
        f"foreign key {LONG}: {TOO_LONG}",
    ),
    "the name of an exclusion": (
        f"ExcludeConstraint(('id', '='), using='btree', name={LONG!r})",
        f"exclusion constraint {LONG}: {TOO_LONG}",
    ),
    "an index without columns": ('Index("empty")', "index empty: ValueError: it has no columns."),
    "a column without a type": ('Column("x")', "column x: "),
    "a generated column": (
        'Column("x", TSVECTOR, Computed(func.to_tsvector("english", column("t")), persisted=True))',
        f"column x: {NO_LITERAL}",
    ),
    "a server default": (
        'Column("x", TSVECTOR, server_default=func.to_tsvector("english", "x"))',
        f"column x: {NO_LITERAL}",
    ),
    "a type's own code": ('Column("x", Broken)', "column x: ValueError: no such type here."),
}
EMPTY = MODELS.format(part="")


def refused(function: Callable[..., object], *arguments: object) -> str:
    try:
        result = wait(function(*arguments))  # type: ignore[arg-type]
    except ConfigurationError as refusal:
        error = refusal
    else:  # there are other differences, too
        assert isinstance(result, Check), result
        (error,) = result.uncompared  # type: ignore[assignment]
    assert (error.exit_code, error.service, error.path) == (78, "shop", "services/shop/models.py")
    assert "rolled back" not in str(error)
    assert len(str(error).splitlines()) == 1
    return error.message


@pytest.mark.parametrize("exists", [False, True], ids=["new table", "existing table"])
@pytest.mark.parametrize(("part", "message"), PARTS.values(), ids=PARTS)
def test_a_part_that_cannot_be_written_is_named(
    monorepo: Monorepo, database: Callable[..., Dsn], part: str, message: str, exists: bool
) -> None:
    service = monorepo.service("shop", EMPTY, database())
    if exists:
        first_upgrade(monorepo, service)
    remodel(monorepo, service, MODELS.format(part=part))
    service = monorepo.find("shop")
    assert refused(service_migrations.check, service).startswith(f"table things, {message}")
    if exists:
        assert refused(service_migrations.revision, service, "change").startswith(f"table things, {message}")
    else:  # the others are written
        path = wait(service_migrations.revision(service, "change")).path
        assert "'things'" not in (monorepo.root / path).read_text(encoding="utf-8")
    assert len(wait(service_migrations.history(service)).revisions) == 1


@pytest.mark.parametrize("exists", [False, True], ids=["new table", "existing table"])
def test_an_index_without_a_name_is_named_by_its_column_and_the_convention(
    monorepo: Monorepo, database: Callable[..., Dsn], exists: bool
) -> None:
    convention = 'MetaData(naming_convention={"pk": "pk_%(table_name)s"})'
    service = monorepo.service("shop", EMPTY, database())
    if exists:
        first_upgrade(monorepo, service)
    remodel(monorepo, service, MODELS.format(part='Column("x", Integer, index=True)').replace("MetaData()", convention))
    [error] = wait(service_migrations.check(monorepo.find("shop"))).uncompared
    assert str(error).endswith(
        'table things, index (x): it has no name. Add "ix" to the naming_convention of the MetaData, or name the index.'
    )


def test_it_is_named_where_alembic_compares(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> None:
    dsn = database()
    service = monorepo.service("shop", MODELS.format(part=PARTS["the name of an index"][0]), dsn)
    admin = inside(server, dsn)
    query(admin, f'REVOKE TEMPORARY ON DATABASE "{dsn.database}" FROM PUBLIC, "{dsn.user}"')
    query(admin, f'ALTER DATABASE "{dsn.database}" OWNER TO CURRENT_USER')
    query(admin, f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"')
    assert refused(service_migrations.check, service).startswith("table things, index ")


def test_a_comparison_that_fails_has_rolled_nothing_back(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    service = monorepo.service("shop", EMPTY, database())
    env = monorepo.root / "migrations" / "env.py"
    hook = "def broken(*_):\n    raise ValueError(\"'NoneType' of a team\")\n\n"
    options = "OPTIONS: dict[str, object] = {"
    text = env.read_text(encoding="utf-8").replace(options, f"{hook}{options}'process_revision_directives': broken", 1)
    env.write_text(text, encoding="utf-8")
    with pytest.raises(MigrationError, match=r"^shop: migrations/env\.py:\d+: ValueError: 'NoneType' of a team\.$"):
        wait(service_migrations.check(service))

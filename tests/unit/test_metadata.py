"""From ``models.__all__`` to a MetaData, and to what a service claims of a shared database."""

import sys

import pytest
from sqlalchemy import CheckConstraint, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from service_migrations.errors import ConfigurationError
from service_migrations.models.claims import Claims, load_claims
from service_migrations.models.faults import faults_of
from service_migrations.models.metadata import assemble, schema_of
from service_migrations.monorepo import Service, discover
from tests.support.monorepo import Monorepo

HEAD = """
import enum
from datetime import datetime
from sqlalchemy import ARRAY, CheckConstraint, Column, Enum, ForeignKey, Index, MetaData, String, Table, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(column_0_label)s",
        }
    )
"""


def write(monorepo: Monorepo, *lines: str, name: str = "billing", head: str = HEAD) -> Service:
    return monorepo.service(name, head + "\n".join(lines) + "\n")


def model(name: str, *columns: str, base: str = "Base") -> str:
    lines = [f"class {name}({base}):", f'    __tablename__ = "{name.lower()}"']
    lines += ["    id: Mapped[int] = mapped_column(primary_key=True)", *(f"    {column}" for column in columns), ""]
    return "\n".join(lines)


def names(service: Service) -> set[str]:
    return set(assemble(service).tables)


def refused(service: Service) -> str:
    try:
        (error,) = faults_of(assemble(service)).values()
    except ConfigurationError as raised:
        error = raised
    message = str(error)
    assert len(message.splitlines()) == 1
    return message


def test_all_gives_the_tables_and_nothing_else_does(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["Base", "Kind", "Mixin", "One", "Short", "loose", "number"]',
        'class Kind(enum.Enum):\n    A = "a"',
        "class Mixin:\n    made: Mapped[datetime]",
        "Short = String(5)",
        "number = 7",
        model("One", base="Mixin, Base"),
        'loose = Table("loose", Base.metadata, Column("id", String, primary_key=True))',
    )
    assert names(service) == {"one", "loose"}


def test_a_service_without_a_table_yet_is_no_mistake(monorepo: Monorepo) -> None:
    assert names(write(monorepo, '__all__ = ["Base"]')) == set()


def test_a_package_may_spread_its_models_over_modules(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    folder = service.path / "models"
    folder.mkdir()
    (service.path / "models.py").unlink()
    (folder / "base.py").write_text(HEAD, encoding="utf-8")
    (folder / "one.py").write_text("from services.billing.models.base import *\n" + model("One"), encoding="utf-8")
    (folder / "__init__.py").write_text(
        "from services.billing.models.base import Base\nfrom services.billing.models.one import One\n"
        '__all__ = ["Base", "One"]\n',
        encoding="utf-8",
    )
    assert names(service) == {"one"}


def test_a_forgotten_module_of_the_package_is_found(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    folder = service.path / "models"
    folder.mkdir()
    (service.path / "models.py").unlink()
    (folder / "__init__.py").write_text(HEAD + '__all__ = ["Base"]\n', encoding="utf-8")
    (folder / "forgotten.py").write_text(
        "from services.billing.models import *\nfrom services.billing.models import Mapped, mapped_column\n"
        + model("Forgotten"),
        encoding="utf-8",
    )
    message = refused(service)
    assert message.startswith("services/billing/models/forgotten.py: Forgotten maps the table forgotten")
    assert message.endswith("Add it to __all__ in services/billing/models/__init__.py.")


def test_joined_inheritance_brings_its_parents(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["Child"]',
        model("Parent"),
        'class Child(Parent):\n    __tablename__ = "child"\n'
        '    id: Mapped[int] = mapped_column(ForeignKey("parent.id"), primary_key=True)',
    )
    assert names(service) == {"parent", "child"}


def test_single_table_inheritance_is_one_table(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["Parent", "Child"]',
        model("Parent", "kind: Mapped[str]", '__mapper_args__ = {"polymorphic_on": "kind"}'),
        'class Child(Parent):\n    __mapper_args__ = {"polymorphic_identity": "child"}',
    )
    assert names(service) == {"parent"}


def test_an_association_table_comes_with_its_relationship(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["One", "Two"]',
        'link = Table("link", Base.metadata, Column("one_id", ForeignKey("one.id"), primary_key=True),'
        ' Column("two_id", ForeignKey("two.id"), primary_key=True))',
        model("One", 'twos: Mapped[list["Two"]] = relationship(secondary=link)'),
        model("Two"),
    )
    assert names(service) == {"one", "two", "link"}


def test_two_services_may_share_one_base_and_get_their_own_tables(monorepo: Monorepo) -> None:
    (monorepo.root / "shared_models" / "common.py").write_text(HEAD, encoding="utf-8")
    head = "from shared_models.common import Base, Mapped, mapped_column\n"
    services = [
        write(monorepo, f'__all__ = ["{name.title()}"]', model(name.title()), name=name, head=head)
        for name in ("billing", "catalog")
    ]
    sys.modules.pop("shared_models", None)
    assert [names(service) for service in services] == [{"billing"}, {"catalog"}]


def test_a_table_that_is_shared_belongs_to_whoever_exports_it(monorepo: Monorepo) -> None:
    (monorepo.root / "shared_models" / "common.py").write_text(HEAD + model("Outbox"), encoding="utf-8")
    head = "from shared_models.common import Base, Mapped, Outbox, mapped_column\n"
    sys.modules.pop("shared_models", None)
    billing = write(monorepo, '__all__ = ["Billing", "Outbox"]', model("Billing"), head=head)
    catalog = write(monorepo, '__all__ = ["Catalog"]', model("Catalog"), name="catalog", head=head)
    assert (names(billing), names(catalog)) == ({"billing", "outbox"}, {"catalog"})


def test_a_missing_all_is_told_with_its_file_and_the_line_to_add(monorepo: Monorepo) -> None:
    assert refused(write(monorepo, model("One"), 'loose = Table("loose", Base.metadata, Column("id", String))')) == (
        'services/billing/models.py: __all__ is missing. List "Base" and every model in it: '
        '__all__ = ["Base", "One", "loose"]'
    )
    assert refused(write(monorepo, "", name="catalog", head="")) == (
        'services/catalog/models.py: __all__ is missing. List "Base" and every model in it.'
    )


def test_a_name_in_all_that_isnt_there_is_told(monorepo: Monorepo) -> None:
    assert refused(write(monorepo, '__all__ = ["Base", "Invoice"]')) == (
        "services/billing/models.py: __all__ names 'Invoice', which isn't there. Import it, or remove it."
    )


def test_a_class_that_is_mapped_and_not_exported_is_told(monorepo: Monorepo) -> None:
    message = refused(write(monorepo, '__all__ = ["Base", "One"]', model("One"), model("Two")))
    assert message == (
        "services/billing/models.py: Two maps the table two, but models.__all__ doesn't name it. "
        "Add it to __all__ in services/billing/models.py."
    )


def test_a_foreign_key_to_a_column_that_isnt_there_is_told(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["One", "Two"]',
        model("One", 'two_id: Mapped[int] = mapped_column(ForeignKey("two.nr"))'),
        model("Two"),
    )
    message = refused(service)
    assert message.startswith("services/billing/models.py: one.two_id: ")
    assert "nr" in message


def test_two_models_of_one_table_are_told(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["One", "other"]',
        model("One"),
        'other = Table("one", MetaData(), Column("id", String, primary_key=True))',
    )
    assert refused(service) == (
        "services/billing/models.py: two exported models map the table one. Remove one from __all__."
    )


def test_a_relationship_that_leads_nowhere_is_told(monorepo: Monorepo) -> None:
    service = write(monorepo, '__all__ = ["One"]', model("One", 'two: Mapped["Two"] = relationship()'))
    message = refused(service)
    assert message.startswith("services/billing/models.py: ")
    assert "Two" in message


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("from nowhere import x", "ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ('raise SyntaxError("of no file")', "SyntaxError: of no file"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ('raise ValueError("first\\nsecond")', "ValueError: first second"),
    ],
)
def test_models_that_cant_be_imported_tell_their_own_error_and_line(monorepo: Monorepo, line: str, says: str) -> None:
    message = refused(write(monorepo, line, head="\n\n"))
    assert message.startswith("billing: services.billing.models can't be imported: services/billing/models.py:3: ")
    assert says in message


def test_a_package_above_the_service_that_cant_be_imported_is_told_with_its_line(monorepo: Monorepo) -> None:
    service = write(monorepo, '__all__ = ["One"]', model("One"))
    (monorepo.root / "services" / "__init__.py").write_text("1 / 0\n", encoding="utf-8")
    assert refused(service) == (
        "billing: services.billing.models can't be imported: services/__init__.py:1: "
        "ZeroDivisionError: division by zero."
    )


def test_the_copies_are_faithful(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["Base", "One", "Two", "State"]',
        'class State(enum.Enum):\n    NEW = "new"\n    OLD = "old"',
        model("Two"),
        model(
            "One",
            'state: Mapped[State] = mapped_column(server_default="NEW", comment="where it is")',
            'two_id: Mapped[int | None] = mapped_column(ForeignKey("two.id", ondelete="SET NULL"), index=True)',
            '__table_args__ = (Index("only_new", "state", postgresql_where=text("state = \'NEW\'")),)',
        ),
    )
    copies = assemble(service)
    originals: MetaData = sys.modules["services.billing.models"].Base.metadata
    assert copies is not originals

    def ddl(table: Table) -> list[str]:
        dialect = postgresql.dialect()
        indexes = [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
        return [str(CreateTable(table).compile(dialect=dialect)), *sorted(indexes)]

    assert set(copies.tables) == set(originals.tables) == {"one", "two"}
    for name, table in originals.tables.items():
        assert ddl(copies.tables[name]) == ddl(table)
    assert "CONSTRAINT fk_one_two_id" in ddl(copies.tables["one"])[0]
    assert copies.naming_convention == originals.naming_convention


def test_a_check_inside_a_column_is_not_lost(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["One"]',
        model("One", 'amount: Mapped[int] = mapped_column(CheckConstraint("amount > 0", name="positive"))'),
    )
    table = assemble(service).tables["one"]
    assert [constraint.name for constraint in table.constraints if isinstance(constraint, CheckConstraint)] == [
        "positive"
    ]
    assert not table.c.amount.constraints


def test_a_schema_of_its_own_is_where_the_service_lives(monorepo: Monorepo) -> None:
    head = HEAD.replace("MetaData(\n", 'MetaData(\n        schema="billing",\n')
    assert schema_of(assemble(write(monorepo, '__all__ = ["Base", "One"]', model("One"), head=head))) == "billing"
    assert schema_of(assemble(write(monorepo, '__all__ = ["Base"]', name="catalog"))) is None


def test_a_service_claims_its_tables_and_its_enum_types(monorepo: Monorepo) -> None:
    service = write(
        monorepo,
        '__all__ = ["One"]',
        'class State(enum.Enum):\n    NEW = "new"',
        'class Colour(enum.Enum):\n    RED = "red"',
        model(
            "One",
            "state: Mapped[State]",
            "colours: Mapped[list[Colour]] = mapped_column(ARRAY(Enum(Colour)))",
            'kind: Mapped[str] = mapped_column(Enum("a", "b", name="kind", native_enum=False))',
        ),
    )
    claims = Claims.of(assemble(service))
    assert claims.tables == {(None, "one")}
    assert claims.enums == {(None, "state"), (None, "colour")}


def test_a_sibling_whose_models_are_broken_is_named(monorepo: Monorepo) -> None:
    catalog = write(monorepo, "1 / 0", name="catalog")
    with pytest.raises(ConfigurationError) as caught:
        load_claims([catalog])
    assert "services/catalog/models.py:" in str(caught.value)
    assert "Until then nobody can tell which tables are catalog's own." in str(caught.value)


def test_models_of_another_services_package_are_refused(monorepo: Monorepo) -> None:
    """Two checkouts in one process: ``services`` is whichever was imported first."""
    service = write(monorepo, '__all__ = ["One"]', model("One"))
    assemble(service)
    other = Monorepo.make(monorepo.root.parent / "other")
    message = refused(write(other, '__all__ = ["One"]', model("One")))
    assert "Another package named 'services' comes first on sys.path." in message


def test_the_real_services_assemble_and_claim_what_only_they_have() -> None:
    claims = load_claims(discover())
    assert len(claims) >= 4
    tables = [table for claimed in claims.values() for table in claimed.tables]
    assert {name for _, name in tables if tables.count((None, name)) > 1} <= {"outbox"}
    assert all(claimed.tables for claimed in claims.values())


NAME = "ü" * 32  # 32 characters, and 64 bytes
CUT = {
    "a table": (f'Table("{NAME}", m, Column("id", Integer))', f"table {NAME}: table {NAME}"),
    "a schema": (f'Table("t", m, Column("id", Integer), schema="{NAME}")', f"table {NAME}.t: schema {NAME}"),
    "a column": (f'Table("t", m, Column("{NAME}", Integer))', f"table t: column {NAME}"),
    "an enum": (f'Table("t", m, Column("c", Enum("a", name="{NAME}")))', f"table t: enum {NAME}"),
    "an enum in an array": (f'Table("t", m, Column("c", ARRAY(Enum("a", name="{NAME}"))))', f"table t: enum {NAME}"),
    "a domain": (f'Table("t", m, Column("c", DOMAIN("{NAME}", Integer)))', f"table t: domain {NAME}"),
    "a sequence": (f'Table("t", m, Column("c", Integer, Sequence("{NAME}")))', f"table t: sequence {NAME}"),
    "an index": (f'Table("t", m, Column("c", Integer), Index("{NAME}", "c"))', f"table t: index {NAME}"),
    "a key": (
        f'Table("t", m, Column("c", Integer), UniqueConstraint("c", name="{NAME}"))',
        f"table t: constraint {NAME}",
    ),
    "a CHECK of a column": (
        f'Table("t", m, Column("c", Integer, CheckConstraint("c > 0", name="{NAME}")))',
        f"table t: constraint {NAME}",
    ),
    "a name by the convention": (
        f'Table("t", m, Column("{"ü" * 30}", Integer, index=True))',
        f"table t: index ix_t_{'ü' * 30}",
    ),
}


@pytest.mark.parametrize(("line", "name"), CUT.values(), ids=CUT)
def test_a_name_that_postgresql_would_cut_is_refused(monorepo: Monorepo, line: str, name: str) -> None:
    head = "from sqlalchemy import *\nfrom sqlalchemy.dialects.postgresql import *\n"
    service = write(monorepo, '__all__ = ["t"]', 'm = MetaData(naming_convention={"ix": "ix_%(column_0_label)s"})',
                    f"t = {line}", head=head)  # fmt: skip
    assert refused(service) == (
        f"services/billing/models.py: {name} has more than the 63 bytes that PostgreSQL keeps of a name. Shorten it."
    )
    assert assemble(write(monorepo, '__all__ = ["t"]', "m = MetaData()", f"t = {line.replace('ü', 'u')}", name="short",
                          head=head))  # fmt: skip


@pytest.mark.parametrize("character", ["%", '"', "'", ":"])
@pytest.mark.parametrize("place", ["{0}{1}", "{1}{0}"], ids=["last", "first"])
def test_a_name_is_as_long_as_it_is_in_the_database(monorepo: Monorepo, character: str, place: str) -> None:
    """Without what SQL and drivers double in it, and with the quotes that are its own."""

    def service(name: str) -> Service:
        parts = f"Index({name!r}, 'c'), UniqueConstraint('c', name={'u' + name[1:]!r})"
        return write(monorepo, '__all__ = ["t"]', "m = MetaData()", f"t = Table('t', m, Column('c', Integer), {parts})",
                     name=f"of_{len(name.encode())}", head="from sqlalchemy import *\n")  # fmt: skip

    assert not faults_of(assemble(service(place.format("u" * 62, character))))
    name = place.format("ü" * 31 + "u", character)
    assert "has more than the 63 bytes" in refused(service(name))


FOLDED = {
    "a table": ('Table("{}", m, Column("c", Integer), quote=False)', "Things", "table {0}: table {0}"),
    "a schema": (
        'Table("t", m, Column("c", Integer), schema="{}", quote_schema=False)',
        "App",
        "table {0}.t: schema {0}",
    ),
    "a column": ('Table("t", m, Column("{}", Integer, quote=False))', "createdAt", "table t: column {0}"),
}


@pytest.mark.parametrize(("line", "name", "said"), FOLDED.values(), ids=FOLDED)
def test_a_name_that_postgresql_would_fold_is_refused(monorepo: Monorepo, line: str, name: str, said: str) -> None:
    head = "from sqlalchemy import *\n"
    lines = '__all__ = ["t"]', "m = MetaData()"
    assert refused(write(monorepo, *lines, f"t = {line.format(name)}", head=head)) == (
        f"services/billing/models.py: {said.format(name)} isn't quoted, so PostgreSQL has it in small letters. "
        "Leave quote=False out, or write the name in small letters."
    )
    assert assemble(write(monorepo, *lines, f"t = {line.format(name.lower())}", name="small", head=head))

"""Models that only re-export those of another package, and tables that several services share."""

import sys
from collections.abc import Iterator
from itertools import count

import pytest

from service_migrations.errors import ConfigurationError
from service_migrations.models import service_code
from service_migrations.models.claims import load_claims
from service_migrations.models.faults import faults_of
from service_migrations.models.metadata import assemble, place_of_table
from tests.support.monorepo import Monorepo

HEAD = "from sqlalchemy import Column, Integer, MetaData, Table\nfrom sqlalchemy.orm import *\n"
BASE = HEAD + "class Base(DeclarativeBase):\n    pass\n"
_numbers = count()


def model(name: str, base: str = "Base") -> str:
    return (
        f"class {name}({base}):\n    __tablename__ = {name.lower()!r}\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    )


def core(name: str, metadata: str = "Base.metadata") -> str:
    return f"{name} = Table({name!r}, {metadata}, Column('id', Integer, primary_key=True))\n"


class Library:
    """A package of the workspace, with sources of its own; each has another name, as sys.modules is one."""

    def __init__(self, monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.monorepo = f"app_models_{next(_numbers)}", monorepo
        self.folder = monorepo.root / "libs" / "app-models" / "src"
        (self.folder / self.name).mkdir(parents=True)
        self.write("__init__", "")
        monkeypatch.syspath_prepend(str(self.folder))

    def write(self, module: str, text: str) -> None:
        (self.folder / self.name / f"{module}.py").write_text(text.replace("LIB", self.name), encoding="utf-8")

    def service(self, name: str, *lines: str) -> None:
        self.monorepo.service(name, "\n".join(lines).replace("LIB", self.name) + "\n")

    def names(self, service: str) -> set[str]:
        return set(assemble(self.monorepo.find(service)).tables)

    def refused(self, service: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.names(service)
        return str(caught.value)


@pytest.fixture
def library(monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    before = set(sys.modules)
    yield Library(monorepo, monkeypatch)
    for name in set(sys.modules) - before:
        if name.startswith(("app_models_", "services")):
            del sys.modules[name]


def test_a_base_that_is_re_exported_brings_every_table_of_its_metadata(library: Library) -> None:
    library.write("__init__", BASE + model("Order") + core("lines"))
    library.service("billing", "from LIB import Base", '__all__ = ["Base"]')
    assert library.names("billing") == {"order", "lines"}


def test_a_class_that_a_re_export_forgot_is_an_error_that_names_it(library: Library) -> None:
    library.write("base", BASE)
    library.write("orders", "from LIB.base import *\n" + HEAD + model("Order") + core("lines"))
    library.write("refunds", "from LIB.base import *\n" + HEAD + model("Refund"))
    library.write("__init__", "from LIB.base import Base\nfrom LIB.orders import Order\nfrom .refunds import Refund\n")
    library.service("billing", "from LIB import Base, Order", '__all__ = ["Base", "Order"]')
    message = library.refused("billing")
    assert message.startswith(f"libs/app-models/src/{library.name}/refunds.py: Refund maps the table refund, but")
    assert "Add it to __all__ in services/billing/models.py" in message
    library.service("billing", "from LIB import Base, Order, Refund", '__all__ = ["Base", "Order", "Refund"]')
    del sys.modules["services.billing.models"]
    assert library.names("billing") == {"order", "refund", "lines"}


@pytest.mark.parametrize("metadata", ["metadata", "Base.metadata"])
def test_an_exported_metadata_is_enough(library: Library, metadata: str) -> None:
    library.write("__init__", BASE + "metadata = Base.metadata\n" + model("Order") + core("lines"))
    library.service("billing", "from LIB import *", f"everything = {metadata}", '__all__ = ["everything"]')
    assert library.names("billing") == {"order", "lines"}


def test_an_exported_metadata_brings_all_also_where_the_base_and_one_class_are_exported(library: Library) -> None:
    library.write("__init__", BASE + "metadata = Base.metadata\n" + model("Order") + model("Invoice"))
    library.service("billing", "from LIB import *", '__all__ = ["Base", "metadata", "Order"]')
    assert library.names("billing") == {"order", "invoice"}


def test_a_table_in_no_modules_globals_is_the_services_unless_others_have_its_metadata(library: Library) -> None:
    hidden = f"def _():\n    {core('hidden')}_()\n"
    library.write("__init__", BASE + hidden)
    exported = ("from LIB import Base", "everything = Base.metadata", '__all__ = ["everything"]')
    library.service("billing", *exported)
    assert library.names("billing") == {"hidden"}
    library.service("catalog", "from LIB import Base", '__all__ = ["Base"]')
    del sys.modules["services.billing.models"]
    assert library.refused("billing").startswith(
        "services/billing/models.py: the table hidden is in the exported MetaData, which other services have too"
    )


def test_an_exported_metadata_of_the_services_own_is_enough(library: Library) -> None:
    library.service(
        "billing", HEAD, "metadata = MetaData(schema='own')", core("lines", "metadata"), '__all__ = ["metadata"]'
    )
    copy = assemble(library.monorepo.find("billing"))
    assert (set(copy.tables), copy.schema) == ({"own.lines"}, "own")


@pytest.mark.parametrize("order", [("billing", "catalog"), ("catalog", "billing")])
@pytest.mark.parametrize("exported", ["Base", "metadata"])
def test_a_shared_base_brings_no_table_of_another_service(
    library: Library, order: tuple[str, str], exported: str
) -> None:
    """Whatever was imported before: a fleet imports all of them."""
    library.write("__init__", BASE + "metadata = Base.metadata\n")
    for name in ("billing", "catalog"):
        library.write(name, "from LIB import Base\n" + HEAD + model(name.title()) + core(f"{name}_lines"))
        names = f'["{exported}", "{name.title()}"]'
        library.service(
            name, f"from LIB import Base, metadata\nfrom LIB.{name} import {name.title()}", f"__all__ = {names}"
        )
    assert {name: library.names(name) for name in order} == {
        name: {name, f"{name}_lines"} for name in ("billing", "catalog")
    }


def test_a_module_that_several_services_import_has_optional_tables_unless_none_names_them(library: Library) -> None:
    library.write("__init__", BASE + model("Order") + model("Invoice"))
    library.service("billing", "from LIB import Base, Invoice", '__all__ = ["Base", "Invoice"]')
    library.service("orders", "from LIB import Base, Order", '__all__ = ["Base", "Order"]')
    assert (library.names("billing"), library.names("orders")) == ({"invoice"}, {"order"})


def test_a_class_that_no_service_names_is_forgotten_by_all(library: Library) -> None:
    library.write("__init__", BASE + model("Order") + model("Invoice") + model("Refund"))
    library.service("billing", "from LIB import Base, Invoice", '__all__ = ["Base", "Invoice"]')
    library.service("orders", "from LIB import Base, Order", '__all__ = ["Base", "Order"]')
    for name in ("billing", "orders"):
        assert "Refund maps the table refund" in library.refused(name)


SPECIAL = "class Invoice(Outbox):\n    pass\n"


@pytest.mark.parametrize(
    ("own", "expected"), [(model("Invoice"), {"invoice"}), (core("Invoice"), {"Invoice"}), (SPECIAL, {"outbox"})]
)
def test_beside_models_of_its_own_a_library_has_building_blocks(library: Library, own: str, expected: set[str]) -> None:
    library.write("__init__", BASE + model("Outbox") + model("Inbox"))
    library.service("billing", "from LIB import *", HEAD, own, '__all__ = ["Base", "Invoice"]')
    assert library.names("billing") == expected


def test_what_only_a_type_checker_imports_is_no_model(library: Library) -> None:
    library.write("base", BASE + "metadata = Base.metadata\n")
    library.write("orders", "from LIB.base import *\n" + HEAD + model("Order"))
    library.write("invoices", "from LIB.base import *\n" + HEAD + model("Invoice"))
    library.service("orders", "from LIB.orders import Order", '__all__ = ["Order"]')
    checked = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from LIB.orders import Order"
    library.service("billing", checked, "from LIB.base import metadata\nimport LIB.invoices", '__all__ = ["metadata"]')
    assert library.names("orders") == {"order"}
    assert library.names("billing") == {"invoice"}


def apart(monorepo: Monorepo, *names: str, more: str = "") -> None:
    """Write services whose packages all have the name ``app_of_all``."""
    text = '[tool.service-migrations]\nservices = ["apps/*"]\nsource = "{path}/src"\nmodels = "app_of_all.models"\n'
    (monorepo.root / "pyproject.toml").write_text(text, encoding="utf-8")
    for name in names:
        package = monorepo.root / "apps" / name / "src" / "app_of_all"
        (package / "models").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "base.py").write_text(BASE, encoding="utf-8")
        own = "from app_of_all.base import *\n" + HEAD + model(name.title()) + more
        (package / "models" / "own.py").write_text(own, encoding="utf-8")
        text = f'from app_of_all.models.own import Base, {name.title()}\n__all__ = ["Base", "{name.title()}"]\n'
        (package / "models" / "__init__.py").write_text(text, encoding="utf-8")


@pytest.fixture
def _forgotten_modules() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("app_of_all")]:
        del sys.modules[name]
    service_code._apart.clear()  # a folder may be that of an earlier test


@pytest.mark.usefixtures("_forgotten_modules")
def test_packages_of_one_name_in_sources_of_their_own_are_kept_apart(monorepo: Monorepo) -> None:
    apart(monorepo, "billing", "catalog")
    for name in ("billing", "catalog", "billing", "catalog"):
        copy = assemble(monorepo.find(name))
        assert set(copy.tables) == {name}
        assert place_of_table(copy.tables[name]) == f"apps/{name}/src/app_of_all/models/own.py"
        loaded = sys.modules["app_of_all.models.own"]
        assert "/billing/" in str(loaded.__file__)
    claims = load_claims([monorepo.find("catalog"), monorepo.find("billing")])
    assert [claimed.tables for claimed in claims.values()] == [{(None, "catalog")}, {(None, "billing")}]


@pytest.mark.usefixtures("_forgotten_modules")
@pytest.mark.parametrize("first", ["billing", "catalog"])
def test_a_forgotten_class_of_such_a_package_is_found_in_its_own_file(monorepo: Monorepo, first: str) -> None:
    apart(monorepo, "billing", "catalog", more=model("Lost"))
    for name in (first, "catalog"):
        (fault,) = faults_of(assemble(monorepo.find(name))).values()
        assert str(fault).startswith(f"apps/{name}/src/app_of_all/models/own.py: Lost maps")
